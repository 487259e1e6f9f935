//! Sections 1.1 and 1.5: names of streams as clients give them, and updates that do not say of what.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::super::{Rest, images};
use super::cause;

#[tokio::test]
async fn section_1_1_a_streams_name_is_refused_in_words() {
    let rest = Rest::start().await;
    let form = r#"must match "[a-z0-9]+(?:[._-][a-z0-9]+)*""#;
    for (name, words) in [
        (".", "may not be '.'"),
        ("..", "may not be '..'"),
        ("a/b", "may not contain '/'"),
        ("a%b", "may not contain '%'"),
        ("foo--bar", form),
        ("foo__bar", form),
        ("foo..bar", form),
        ("-a", form),
        ("a-", form),
        ("_a", form),
        ("Foo", form),
    ] {
        let body = json!({"metadata": {"name": name}});
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &images("imagestreams"), &body).await;
        let (field, message) = cause(&refused);
        assert_eq!(field, "metadata.name", "{refused:#}");
        assert!(message.starts_with(&format!("Invalid value: {name:?}: {words}")), "{message}");
    }
    for name in ["1", "a", "foo_bar", "foo.bar", "a.b-c_d"] {
        rest.post(StatusCode::CREATED, &images("imagestreams"), &json!({"metadata": {"name": name}})).await;
    }
}

#[tokio::test]
async fn section_1_1_project_and_stream_have_255_characters_together() {
    let rest = Rest::start().await;
    let project = "p".repeat(63);
    let ada = rest.weir.user("ada", &project, weir::model::Role::Editor).await;
    let path = format!("/apis/image.openshift.io/v1/namespaces/{project}/imagestreams");
    let body = |length: usize| json!({"metadata": {"name": "s".repeat(length)}});
    let made: Value = ada.post_json(&path, &body(191), StatusCode::CREATED).await;
    assert_eq!(made["metadata"]["name"].as_str().map(str::len), Some(191));
    let refused = ada.post_json(&path, &body(192), StatusCode::UNPROCESSABLE_ENTITY).await;
    let (field, message) = cause(&refused);
    assert_eq!(field, "metadata.name", "{refused:#}");
    assert!(message.ends_with("'namespace/name' cannot be longer than 255 characters"), "{message}");
}

#[tokio::test]
async fn section_1_5_an_update_says_of_which_version() {
    let rest = Rest::start().await;
    let made = rest.make("app", json!([])).await;
    let path = images("imagestreams/app");
    for version in [Value::Null, json!("")] {
        let mut body = made.clone();
        body["metadata"]["resourceVersion"] = version;
        let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &path, &body).await;
        let words = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
        assert_eq!(refused["message"], format!("ImageStream.image.openshift.io \"app\" is invalid: {words}"));
        assert_eq!(refused["details"]["causes"][0]["field"], "metadata.resourceVersion");
    }
    assert_eq!(rest.ada.get_json(&path).await, made);
}
