//! Who may do what at the registry, and how they prove who they are.

use axum::http::Method;
use reqwest::Response;
use serde_json::Value;
use weir::server::hash::sha256;
use weir::server::store::NewToken;

use super::door::{Door, PASSWORD, header, refused};
use crate::upstreams::images::TestImage;

async fn ticket(door: &Door, user: &str, password: &str, scope: &str) -> Response {
    let get = door.anonymous(Method::GET, "token").query(&[("service", "weir"), ("scope", scope), ("account", user)]);
    get.basic_auth(user, Some(password)).send().await.expect("an answer")
}

async fn token(response: Response) -> (String, String) {
    assert_eq!(response.status(), 200);
    let body: Value = response.json().await.expect("a ticket");
    assert_eq!(body["token"], body["access_token"]);
    (body["token"].as_str().expect("text").to_owned(), body["scope"].as_str().expect("text").to_owned())
}

#[tokio::test]
async fn nobody_is_told_where_to_get_a_token() {
    let door = Door::open().await;
    let realm = format!("Bearer realm=\"http://{}/v2/token\",service=\"weir\"", door.address);
    for (method, path, scope) in [
        (Method::GET, "", ""),
        (Method::GET, "demo/app/manifests/latest", ",scope=\"repository:demo/app:pull\""),
        (Method::POST, "demo/app/blobs/uploads/", ",scope=\"repository:demo/app:pull,push\""),
        (Method::GET, "other/app/tags/list", ",scope=\"repository:other/app:pull\""),
        (
            Method::POST,
            "demo/app/blobs/uploads/?mount=sha256:x&from=demo/base",
            ",scope=\"repository:demo/app:pull,push repository:demo/base:pull\"",
        ),
        (Method::GET, "a/b/c/d", ""),
    ] {
        let answer = door.anonymous(method, path).send().await.expect("an answer");
        let challenge = header(&answer, "www-authenticate");
        assert!(challenge.starts_with(&realm) && challenge.contains(scope), "{path}: {challenge}");
        refused(answer, 401, "UNAUTHORIZED").await;
    }
}

#[tokio::test]
async fn passwords_and_tokens_are_taken_directly() {
    let door = Door::open().await;
    for (user, password) in [("ada", PASSWORD), ("whoever", &*door.token)] {
        let basic = door.anonymous(Method::GET, "").basic_auth(user, Some(password)).send().await;
        assert_eq!(basic.expect("an answer").status(), 200);
    }
    assert_eq!(door.get("").await.status(), 200);
    for (user, password) in [("ada", "wrong"), ("nobody", PASSWORD), ("ada", "weir_u_wrong")] {
        let basic = door.anonymous(Method::GET, "").basic_auth(user, Some(password)).send().await;
        refused(basic.expect("an answer"), 401, "UNAUTHORIZED").await;
    }
    for garbage in ["Bearer x", "Bearer ", "Basic !", "Negotiate x", "x"] {
        let answer = door.anonymous(Method::GET, "").header("authorization", garbage).send().await.expect("an answer");
        refused(answer, 401, "UNAUTHORIZED").await;
    }
}

#[tokio::test]
async fn a_ticket_is_for_what_one_may() {
    let door = Door::open().await;
    door.push("demo/app", "1", &TestImage::new("x")).await;
    let both = "repository:demo/app:pull,push repository:other/app:pull registry:catalog:*";
    let (ada, scope) = token(ticket(&door, "ada", PASSWORD, both).await).await;
    assert_eq!(scope, "repository:demo/app:pull,push registry:catalog:*");
    let (vic, scope) = token(ticket(&door, "vic", PASSWORD, both).await).await;
    assert_eq!(scope, "repository:demo/app:pull registry:catalog:*");
    let ask = |method: Method, path: &'static str, ticket: &str| {
        let request = door.anonymous(method, path).bearer_auth(ticket);
        async { request.send().await.expect("an answer") }
    };
    for ticket in [&ada, &vic] {
        assert_eq!(ask(Method::GET, "", ticket).await.status(), 200);
        assert_eq!(ask(Method::GET, "demo/app/manifests/1", ticket).await.status(), 200);
    }
    assert_eq!(ask(Method::POST, "demo/app/blobs/uploads/", &ada).await.status(), 202);
    // Too narrow a ticket is no refusal for good: the client may fetch a wider one.
    let elsewhere = ask(Method::GET, "demo/more/tags/list", &ada).await;
    let challenge = header(&elsewhere, "www-authenticate");
    assert!(challenge.ends_with("scope=\"repository:demo/more:pull\",error=\"insufficient_scope\""), "{challenge}");
    refused(elsewhere, 401, "UNAUTHORIZED").await;
    // No right is.
    let message = refused(ask(Method::POST, "demo/app/blobs/uploads/", &vic).await, 403, "DENIED").await;
    assert_eq!(message, "vic may not push images in project demo: ask one of its admins for the role editor");

    let wrong = ticket(&door, "ada", "wrong", "").await;
    assert_eq!(header(&wrong, "www-authenticate"), "Basic realm=\"weir\"");
    refused(wrong, 401, "UNAUTHORIZED").await;
    refused(door.anonymous(Method::GET, "token").send().await.expect("an answer"), 401, "UNAUTHORIZED").await;
}

/// A mount takes from one repository what it puts into another: the ticket has to be for both, and the answer says so where a wider one can
/// be had. Where it cannot, the client uploads.
#[tokio::test]
async fn a_mount_takes_a_ticket_for_both_repositories() {
    let (door, image) = (Door::open().await, TestImage::new("mounted"));
    door.push("demo/from", "1", &image).await;
    let layer = sha256(&image.layer);
    let mount = async |query: &str, ticket: &str| {
        let path = format!("demo/to/blobs/uploads/?mount={query}");
        door.anonymous(Method::POST, &path).bearer_auth(ticket).send().await.expect("an answer")
    };
    let (narrow, _) = token(ticket(&door, "ada", PASSWORD, "repository:demo/to:pull,push").await).await;
    for query in ["sha256:0&from=demo/from", "sha256:0&from=other/secret", "sha256:0"] {
        let query = query.replace("sha256:0", sha256(b"nobody has this").as_str());
        assert_eq!(mount(&query, &narrow).await.status(), 202, "{query}");
    }
    assert_eq!(mount(&format!("{layer}&from=other/secret"), &narrow).await.status(), 202);
    for query in [format!("{layer}&from=demo/from"), layer.to_string()] {
        let answer = mount(&query, &narrow).await;
        let challenge = header(&answer, "www-authenticate");
        let both = "repository:demo/to:pull,push repository:demo/from:pull";
        assert!(challenge.ends_with(&format!("scope=\"{both}\",error=\"insufficient_scope\"")), "{challenge}");
        refused(answer, 401, "UNAUTHORIZED").await;
        let (wide, _) = token(ticket(&door, "ada", PASSWORD, both).await).await;
        assert_eq!(mount(&query, &wide).await.status(), 201, "{query}");
        assert_eq!(mount(&query, &narrow).await.status(), 201, "it is there already: {query}");
        let blob = format!("demo/to/blobs/{layer}");
        assert_eq!(door.delete(&blob).await.status(), 202);
    }
}

#[tokio::test]
async fn tickets_come_by_post_too() {
    let door = Door::open().await;
    let form = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", PASSWORD),
        ("service", "weir"),
        ("scope", "repository:demo/app:pull"),
    ];
    let (ticket, _) = token(door.anonymous(Method::POST, "token").form(&form).send().await.expect("an answer")).await;
    let answer = door.anonymous(Method::GET, "").bearer_auth(ticket).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "x")];
    let refusal = door.anonymous(Method::POST, "token").form(&refresh).send().await.expect("an answer");
    refused(refusal, 401, "UNAUTHORIZED").await;
}

#[tokio::test]
async fn viewers_pull_and_strangers_see_nothing() {
    let door = Door::open().await;
    let image = TestImage::new("seen");
    door.push("demo/app", "1", &image).await;
    let as_vic = door.token_of("vic").await;
    let ask = |method: Method, path: &str| {
        let request = door.anonymous(method, path).bearer_auth(&as_vic).body("x");
        async { request.send().await.expect("an answer") }
    };
    assert_eq!(ask(Method::GET, "demo/app/manifests/1").await.status(), 200);
    for (method, path) in [
        (Method::POST, "demo/app/blobs/uploads/"),
        (Method::PUT, "demo/app/manifests/1"),
        (Method::DELETE, "demo/app/manifests/1"),
    ] {
        refused(ask(method, path).await, 403, "DENIED").await;
    }
    for project in ["other", "none"] {
        for method in [Method::GET, Method::PUT] {
            let message = refused(ask(method, &format!("{project}/app/manifests/1")).await, 404, "NAME_UNKNOWN").await;
            assert_eq!(message, format!("projects \"{project}\" not found"), "one cannot tell which of them is there");
        }
    }
}

#[tokio::test]
async fn an_engines_token_pulls_in_its_project() {
    let door = Door::open().await;
    door.push("demo/app", "1", &TestImage::new("pulled")).await;
    let project = door.store.project("demo").await.expect("a project");
    let engine = door.create_token(NewToken::pull("engine", &project.id)).await;
    let ask = |method: Method, path: &str| {
        let request = door.anonymous(method, path).basic_auth("engine", Some(&engine));
        async { request.send().await.expect("an answer") }
    };
    assert_eq!(ask(Method::GET, "demo/app/manifests/1").await.status(), 200);
    refused(ask(Method::POST, "demo/app/blobs/uploads/").await, 403, "DENIED").await;
    refused(ask(Method::GET, "other/app/manifests/1").await, 404, "NAME_UNKNOWN").await;
}
