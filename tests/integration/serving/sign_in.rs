//! Passwords and their limits, as every door uses them.

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use weir::server::auth::{AuthError, hash_password};

use crate::support::{ADMIN_PASSWORD, TestWeir, tester};

#[tokio::test]
async fn wrong_passwords_are_limited_by_user_and_address() {
    let weir = TestWeir::start().await;
    let auth = &weir.state.auth;
    let (right, wrong) = (SecretString::from(ADMIN_PASSWORD), SecretString::from("wrong"));
    for _ in 0..5 {
        let refused = auth.check_password("admin", &wrong, "192.0.2.1").await;
        assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
    }
    let limited = auth.check_password("admin", &right, "192.0.2.1").await;
    assert!(matches!(limited, Err(AuthError::Limited { .. })), "{limited:?}");
    let elsewhere = auth.check_password("admin", &right, "192.0.2.2").await;
    assert_eq!(elsewhere.unwrap().name, "admin");
}

#[tokio::test]
async fn a_right_password_may_come_with_every_request() {
    let weir = TestWeir::start().await;
    let right = SecretString::from(ADMIN_PASSWORD);
    for _ in 0..50 {
        weir.state.auth.check_password("admin", &right, "192.0.2.1").await.unwrap();
    }
}

#[tokio::test]
async fn disabled_users_and_users_without_a_password_stay_out() {
    let weir = TestWeir::start().await;
    weir.make_user("ada").await;
    let empty = SecretString::from("");
    assert!(weir.state.auth.check_password("ada", &empty, "").await.is_err());
    weir.store().create_user("root", "", None, true, &tester()).await.unwrap();
    weir.store().disable_user("admin", &tester()).await.unwrap();
    let refused = weir.state.auth.check_password("admin", &ADMIN_PASSWORD.into(), "").await;
    assert!(matches!(refused, Err(AuthError::Wrong)), "{refused:?}");
}

#[tokio::test]
async fn signing_in_makes_a_session_that_a_new_password_ends() {
    let weir = TestWeir::start().await;
    let form = [("user", "admin"), ("password", ADMIN_PASSWORD)];
    let answer = weir.anon().request(Method::POST, "/login").form(&form).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    for word in ["weir_session=", "HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(word), "{word}: {cookie}");
    }
    assert!(!cookie.contains("Secure"), "the console is on plain HTTP here: {cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let status = async |path: &str| {
        weir.anon().request(Method::GET, path).header("cookie", &cookie).send().await.unwrap().status()
    };
    assert_eq!(status("/").await, StatusCode::OK);
    let hash = hash_password(&"another password".into()).await.unwrap();
    weir.store().set_password_hash("admin", &hash, &tester()).await.unwrap();
    assert_ne!(status("/").await, StatusCode::OK, "the session began with the old password");
}

#[tokio::test]
async fn other_sites_cannot_post_and_nobody_posts_a_megabyte() {
    let weir = TestWeir::start().await;
    let post = || weir.anon().request(Method::POST, "/login");
    let form = [("user", "admin"), ("password", ADMIN_PASSWORD)];
    let cross_site = post().header("sec-fetch-site", "cross-site").form(&form).send().await.unwrap();
    assert_eq!(cross_site.status(), StatusCode::FORBIDDEN);
    let other_origin = post().header("origin", "https://evil.example").form(&form).send().await.unwrap();
    assert_eq!(other_origin.status(), StatusCode::FORBIDDEN);

    let large = format!("user=admin&password={}", "x".repeat(1024 * 1024));
    let large = post().header("content-type", "application/x-www-form-urlencoded").body(large).send().await.unwrap();
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.text().await.unwrap().contains("1 MiB"));
}

#[tokio::test]
async fn basic_credentials_are_limited_too_and_tokens_are_not() {
    let weir = TestWeir::start().await;
    let basic = async |user: &str, password: &str| {
        weir.anon().request(Method::GET, "/v2/token").basic_auth(user, Some(password)).send().await.unwrap()
    };
    for _ in 0..5 {
        assert_eq!(basic("admin", "wrong").await.status(), StatusCode::UNAUTHORIZED);
    }
    let limited = basic("admin", ADMIN_PASSWORD).await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(limited.headers().contains_key("retry-after"));
    let token = weir.token("admin").await;
    assert_eq!(basic("whoever", &token).await.status(), StatusCode::OK);
    assert_eq!(basic("whoever", "weir_u_forged").await.status(), StatusCode::UNAUTHORIZED);
}
