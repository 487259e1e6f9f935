//! Signing in as a browser does, forms that are refused, and tokens that are shown once.

use reqwest::StatusCode;

use super::sample::{demo, html, send, text};
use crate::support::{ADMIN_PASSWORD, Client, TestWeir};

/// A client with a cookie jar of one cookie.
async fn signed_in(weir: &TestWeir) -> String {
    let fields = [("user", "admin"), ("password", ADMIN_PASSWORD), ("next", "/p/demo?q=a")];
    let answer = send(&weir.anon(), "/login", &fields).await;
    assert_eq!(
        (answer.status(), answer.headers()["location"].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "/p/demo?q=a")
    );
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn get(anon: &Client, path: &str, cookie: &str) -> reqwest::Response {
    anon.request(reqwest::Method::GET, path).header("cookie", cookie).send().await.unwrap()
}

#[tokio::test]
async fn a_session_opens_pages_until_signed_out() {
    let (weir, _) = demo().await;
    let anon = weir.anon();
    let cookie = signed_in(&weir).await;
    let page = html(get(&anon, "/p/demo", &cookie).await, StatusCode::OK).await;
    assert!(text(&page).contains("Sign out"));
    let out = anon.request(reqwest::Method::POST, "/logout").header("cookie", &cookie);
    let out = out.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert_eq!(get(&anon, "/p/demo", &cookie).await.status(), StatusCode::SEE_OTHER);
    weir.stop().await;
}

#[tokio::test]
async fn wrong_passwords_are_told_and_then_limited() {
    let weir = TestWeir::start().await;
    for _ in 0..5 {
        let answer = send(&weir.anon(), "/login", &[("user", "admin"), ("password", "guess")]).await;
        let page = html(answer, StatusCode::UNAUTHORIZED).await;
        assert!(text(&page).contains("The user name or the password is wrong"), "{page}");
        assert!(page.contains("value=\"admin\"") && !page.contains("guess"));
    }
    let answer = send(&weir.anon(), "/login", &[("user", "admin"), ("password", ADMIN_PASSWORD)]).await;
    let page = html(answer, StatusCode::TOO_MANY_REQUESTS).await;
    assert!(text(&page).contains("Too many attempts to sign in: try again in"), "{}", text(&page));
    weir.stop().await;
}

#[tokio::test]
async fn refused_forms_keep_what_was_typed() {
    let (weir, ada) = demo().await;
    let fields = [("way", "empty"), ("name", "a--b"), ("description", "two dashes")];
    let page = html(send(&ada, "/p/demo/streams/new", &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(page.contains("value=\"a--b\"") && page.contains("value=\"two dashes\""), "{page}");
    assert!(text(&page).contains("Not done Must match"), "{}", text(&page));
    let fields = [("way", "empty"), ("name", "base")];
    let page = html(send(&ada, "/p/demo/streams/new", &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(text(&page).contains("Stream base exists already"), "{}", text(&page));
    let fields = [("way", "import"), ("reference", "Foo/Bar:x")];
    let page = html(send(&ada, "/p/demo/streams/new", &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(text(&page).contains("epository name must be lowercase"), "{}", text(&page));
    weir.stop().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_works() {
    let (weir, ada) = demo().await;
    let refused = send(&ada, "/tokens", &[("name", "ci")]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT, "a token makes no tokens");
    let (anon, cookie) = (weir.anon(), signed_in(&weir).await);
    let form = anon.request(reqwest::Method::POST, "/tokens").header("cookie", &cookie);
    let page =
        html(form.form(&[("name", "ci"), ("role", "viewer"), ("days", "30")]).send().await.unwrap(), StatusCode::OK)
            .await;
    let token = page
        .split("data-copy=\"")
        .find(|part| part.starts_with("weir_"))
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let page = html(get(&anon, "/tokens", &cookie).await, StatusCode::OK).await;
    assert!(page.contains("ci") && !page.contains(&token));
    assert_eq!(Client::new(&weir.url, Some(token)).get("/p/demo").await.status(), StatusCode::OK);
    weir.stop().await;
}
