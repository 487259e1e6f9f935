//! What a stream forbids its tags, and deleted tags that come back, in Weir's own dialect.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::{Rest, builds, digest, images, own};
use crate::support::Client;

/// The rules' path of stream `base`.
fn rules() -> String {
    own("streams/base/tag-rules")
}

async fn put(client: &Client, body: &Value) -> (StatusCode, Value) {
    let answer = client.request(Method::PUT, &rules()).json(body).send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

/// A server with `base:v1` pushed, and the project's admin.
async fn start() -> (Rest, Client) {
    let rest = Rest::start().await;
    rest.push("base", "v1", 1).await;
    let boss = rest.weir.user("boss", "demo", Role::Admin).await;
    (rest, boss)
}

#[tokio::test]
async fn admins_set_a_streams_rules() {
    let (rest, boss) = start().await;
    let fresh = rest.ada.get_json(&rules()).await;
    assert_eq!((&fresh["immutable"], &fresh["kindChanges"]), (&json!([]), &json!(false)));
    let wanted = json!({"immutable": ["v*", "*-release"], "kindChanges": true, "version": fresh["version"]});
    let (status, refused) = put(&rest.ada, &wanted).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "an editor could otherwise take away what binds them: {refused}");
    let (status, set) = put(&boss, &wanted).await;
    assert_eq!((status, &set["immutable"], &set["kindChanges"]), (StatusCode::OK, &wanted["immutable"], &json!(true)));
    assert_eq!(rest.ada.get_json(&rules()).await, set);
    let (status, stale) = put(&boss, &wanted).await;
    assert_eq!(status, StatusCode::CONFLICT, "{stale}");
    let activity = rest.ada.get_json(&own("activity")).await;
    let row = &activity["items"][0];
    assert_eq!(
        (&row["action"], &row["actor"], &row["object"]),
        (&json!("stream.tag-rules"), &json!("boss"), &json!("base"))
    );
    assert_eq!(row["to"], "immutable [\"v*\",\"*-release\"], kinds may change");
    for (field, body) in [
        ("immutable[1]", json!({"immutable": ["v*", "v["]})),
        ("immutable[0]", json!({"immutable": ["a b"]})),
        ("immutable", json!({"immutable": "v*"})),
        ("imutable", json!({"imutable": ["v*"]})),
    ] {
        let (status, refused) = put(&boss, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert_eq!(refused["details"]["causes"][0]["field"], field, "{refused}");
    }
    let none = rest.call(Method::GET, &own("streams/none/tag-rules"), &json!({})).await;
    assert_eq!(none.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_immutable_tag_obeys_admins_alone() {
    let (rest, boss) = start().await;
    rest.push("base", "v1", 2).await;
    put(&boss, &json!({"immutable": ["v*"]})).await;
    let tag = own("streams/base/tags/v1");
    assert_eq!(rest.ada.get_json(&tag).await["immutable"], true);
    let history = rest.ada.get_json(&format!("{tag}/history")).await;
    let body = json!({"to": history["items"][1]["sequence"], "reason": "it is broken"});
    rest.post(StatusCode::CONFLICT, &format!("{tag}/rollback?dry_run=1"), &body).await;
    let refused = rest.post(StatusCode::CONFLICT, &format!("{tag}/rollback"), &body).await;
    assert!(refused["message"].as_str().unwrap().contains("base:v1 is immutable"), "{refused}");
    let path = images("imagestreamtags/base:v1");
    let pin = json!({"metadata": {"name": "base:v1"}, "tag": {"name": "v1", "from": {"kind": "ImageStreamImage", "name": format!("base@{}", digest(1))}}});
    rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &pin).await;
    rest.expect(StatusCode::CONFLICT, Method::DELETE, &path, &json!({})).await;
    rest.expect(StatusCode::CONFLICT, Method::DELETE, &images("imagestreams/base"), &json!({})).await;
    assert_eq!(rest.ada.get_json(&tag).await["digest"], digest(2));

    let without = json!({"to": body["to"]});
    boss.post_json(&format!("{tag}/rollback"), &without, StatusCode::CONFLICT).await;
    boss.post_json(&format!("{tag}/rollback?dry_run=1"), &without, StatusCode::CONFLICT).await;
    boss.post_json(&format!("{tag}/rollback?dry_run=1"), &body, StatusCode::OK).await;
    let row = boss.post_json(&format!("{tag}/rollback"), &body, StatusCode::OK).await;
    assert_eq!(
        (&row["digest"], &row["reason"], &row["actor"]),
        (&json!(digest(1)), &json!("it is broken"), &json!("boss"))
    );
    let gone = boss.request(Method::DELETE, &path).send().await.expect("an answer");
    assert_eq!(gone.status(), StatusCode::OK);
}

/// The build's image comes through the registry's door like any other push: what is refused there ends the build, with the words.
#[tokio::test]
async fn a_build_into_an_immutable_tag_fails_and_says_why() {
    let (rest, boss) = start().await;
    let config = json!({
        "metadata": {"name": "app"},
        "spec": {
            "source": {"type": "Dockerfile", "dockerfile": "FROM scratch\nENV A=b\n"},
            "strategy": {"type": "Docker", "dockerStrategy": {}},
            "output": {"to": {"kind": "ImageStreamTag", "name": "app:v1"}},
            "triggers": [],
        },
    });
    let path = builds("buildconfigs/app/instantiate");
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &config).await;
    let answer =
        boss.request(Method::PUT, &own("streams/app/tag-rules")).json(&json!({"immutable": ["v1"]})).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
    for (build, phase) in [("app-1", "Complete"), ("app-2", "Failed")] {
        rest.post(StatusCode::CREATED, &path, &json!({"metadata": {"name": "app"}})).await;
        rest.weir.settle().await;
        let ended = rest.ada.get_json(&builds(&format!("builds/{build}"))).await;
        assert_eq!(ended["status"]["phase"], phase, "{:#}", ended["status"]);
        let message = ended["status"]["message"].as_str().unwrap_or_default();
        assert_eq!(message.contains("app:v1 is immutable"), phase == "Failed", "{message}");
    }
    let history = rest.ada.get_json(&own("streams/app/tags/v1/history")).await;
    let rows = history["items"].as_array().unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| (row["kind"].as_str(), row["outcome"].as_str(), row["build"].as_str())).collect();
    let expected = [("immutable", "app-2"), ("moved", "app-1")];
    assert_eq!(told, expected.map(|(outcome, build)| (Some("build"), Some(outcome), Some(build))));
}

#[tokio::test]
async fn a_deleted_tag_is_restored() {
    let (rest, _) = start().await;
    let restore = own("streams/base/tags/v1/restore");
    let early = rest.post(StatusCode::CONFLICT, &restore, &json!({})).await;
    assert_eq!(early["message"], "base:v1 is not deleted: there is nothing to restore");
    rest.delete(&images("imagestreamtags/base:v1")).await;
    let row = rest.post(StatusCode::OK, &restore, &json!({"reason": "a slip"})).await;
    for (key, value) in [("kind", "restore"), ("outcome", "moved"), ("reason", "a slip"), ("actor", "ada")] {
        assert_eq!(row[key], value, "{row}");
    }
    assert_eq!((&row["digest"], &row["toNumber"]), (&json!(digest(1)), &json!(1)));
    assert_eq!(rest.ada.get_json(&own("streams/base/tags/v1")).await["digest"], digest(1));
    rest.post(StatusCode::NOT_FOUND, &own("streams/base/tags/none/restore"), &json!({})).await;
    rest.post(StatusCode::BAD_REQUEST, &format!("{restore}?dry_run=1"), &json!({})).await;
    let viewer = rest.weir.user("vera", "demo", Role::Viewer).await;
    viewer.post_json(&restore, &json!({}), StatusCode::FORBIDDEN).await;
}

#[tokio::test]
async fn no_door_makes_a_tag_of_the_past() {
    let (rest, _) = start().await;
    let name = "base:v1--asof-20261101T1403Z";
    let body = json!({"metadata": {"name": name}, "tag": {"name": "x", "from": {"kind": "ImageStreamImage", "name": format!("base@{}", digest(1))}}});
    for (method, path) in
        [(Method::PUT, format!("imagestreamtags/{name}")), (Method::POST, "imagestreamtags".to_owned())]
    {
        let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, method, &images(&path), &body).await;
        assert!(refused["message"].as_str().unwrap().contains("choose another name"), "{refused}");
    }
}
