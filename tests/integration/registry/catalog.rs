//! Which repositories there are, told to those who may know.

use axum::http::Method;
use serde_json::{Value, json};
use weir::server::store::NewToken;

use super::door::{Door, PASSWORD, header, refused};
use crate::upstreams::images::TestImage;

async fn door_with_streams() -> Door {
    let door = Door::open().await;
    for (project, name) in [("demo", "b"), ("demo", "a"), ("demo", "a-b"), ("other", "secret")] {
        let name = name.parse().expect("a name");
        door.store.ensure_stream(project, &name, &door.actor).await.expect("a stream");
    }
    door
}

async fn listed(door: &Door, path: &str, password: &str) -> Value {
    let answer = door.anonymous(Method::GET, path).basic_auth("ada", Some(password)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.expect("a list")["repositories"].clone()
}

#[tokio::test]
async fn members_are_told_of_their_projects() {
    let door = door_with_streams().await;
    let of_demo = json!(["demo/a", "demo/a-b", "demo/b"]);
    assert_eq!(listed(&door, "_catalog", PASSWORD).await, of_demo);
    assert_eq!(listed(&door, "_catalog", &door.token_of("vic").await).await, of_demo);
    let project = door.store.project("demo").await.expect("a project");
    let engine = door.create_token(NewToken::pull("engine", &project.id)).await;
    assert_eq!(listed(&door, "_catalog", &engine).await, of_demo);
    door.store.create_user("root", "", None, true, &door.actor).await.expect("a user");
    let all = json!(["demo/a", "demo/a-b", "demo/b", "other/secret"]);
    assert_eq!(listed(&door, "_catalog", &door.token_of("root").await).await, all);
    door.store.create_user("new", "", None, false, &door.actor).await.expect("a user");
    assert_eq!(listed(&door, "_catalog", &door.token_of("new").await).await, json!([]));
}

#[tokio::test]
async fn the_catalog_comes_in_pages() {
    let door = door_with_streams().await;
    let first = door.get("_catalog?n=2").await;
    assert_eq!(header(&first, "link"), "</v2/_catalog?n=2&last=demo%2Fa-b>; rel=\"next\"");
    assert_eq!(first.json::<Value>().await.expect("a list"), json!({"repositories": ["demo/a", "demo/a-b"]}));
    let last = door.get("_catalog?n=2&last=demo%2Fa-b").await;
    assert_eq!(header(&last, "link"), "");
    assert_eq!(last.json::<Value>().await.expect("a list")["repositories"], json!(["demo/b"]));
    refused(door.get("_catalog?n=all").await, 400, "UNSUPPORTED").await;
}

#[tokio::test]
async fn a_ticket_must_be_for_the_catalog() {
    let door = door_with_streams().await;
    door.push("demo/a", "1", &TestImage::new("x")).await;
    let nobody = door.anonymous(Method::GET, "_catalog").send().await.expect("an answer");
    assert!(header(&nobody, "www-authenticate").ends_with("scope=\"registry:catalog:*\""));
    refused(nobody, 401, "UNAUTHORIZED").await;
    for (scope, status) in [("repository:demo/a:pull", 401), ("registry:catalog:*", 200)] {
        let get = door.anonymous(Method::GET, "token").query(&[("service", "weir"), ("scope", scope)]);
        let ticket: Value =
            get.basic_auth("ada", Some(PASSWORD)).send().await.expect("an answer").json().await.expect("a ticket");
        let ticket = ticket["token"].as_str().expect("text");
        let answer = door.anonymous(Method::GET, "_catalog").bearer_auth(ticket).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{scope}");
    }
}
