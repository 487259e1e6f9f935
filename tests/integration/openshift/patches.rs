//! `PATCH` as `oc annotate`, `oc label`, `oc set image-lookup`, `oc edit` and `oc patch` send it.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::apps::deployment;
use super::{Rest, apps, digest, images};
use crate::support::Client;

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const STEPS: &str = "application/json-patch+json";

async fn send(client: &Client, path: &str, way: &str, patch: &Value) -> (StatusCode, Value) {
    let request = client.request(Method::PATCH, path).header("content-type", way).body(patch.to_string());
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    (status, answer.json().await.expect("a JSON answer"))
}

/// A patch by ada, which must be taken.
async fn patched(rest: &Rest, path: &str, way: &str, patch: &Value) -> Value {
    let (status, answer) = send(&rest.ada, &images(path), way, patch).await;
    assert_eq!(status, StatusCode::OK, "{path}: {answer:#}");
    answer
}

fn tag_names(stream: &Value) -> Vec<&str> {
    stream["spec"]["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect()
}

fn following(name: &str) -> Value {
    json!({"name": name, "from": {"kind": "ImageStreamTag", "name": "latest"}})
}

#[tokio::test]
async fn streams_are_labelled_annotated_and_set_to_be_looked_up() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let labelled = json!({"metadata": {"labels": {"team": "a"}, "annotations": {"why": "because"}}});
    let stream = patched(&rest, "imagestreams/base?fieldManager=kubectl-label", MERGE, &labelled).await;
    assert_eq!((&stream["metadata"]["labels"]["team"], &stream["kind"]), (&json!("a"), &json!("ImageStream")));
    assert_eq!(stream["metadata"]["annotations"]["why"], "because");
    let unlabelled = json!({"metadata": {"labels": {"team": null}}});
    let stream = patched(&rest, "imagestreams/base", MERGE, &unlabelled).await;
    assert_eq!(stream["metadata"]["labels"].get("team"), None);
    let lookup = json!({"spec": {"lookupPolicy": {"local": true}}});
    let stream = patched(&rest, "imagestreams/base?fieldManager=kubectl-set", STRATEGIC, &lookup).await;
    assert_eq!(stream["spec"]["lookupPolicy"]["local"], true);
    assert_eq!(stream["status"]["tags"][0]["items"][0]["image"], digest(1), "the history is nobody's to patch");
}

#[tokio::test]
async fn tags_of_a_stream_come_and_go() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let one = json!({"spec": {"tags": [following("one")]}});
    patched(&rest, "imagestreams/base", STRATEGIC, &one).await;
    let two =
        json!({"spec": {"$setElementOrder/tags": [{"name": "one"}, {"name": "two"}], "tags": [following("two")]}});
    let stream = patched(&rest, "imagestreams/base", STRATEGIC, &two).await;
    assert_eq!(tag_names(&stream), ["one", "two"]);
    let step = json!([{"op": "add", "path": "/spec/tags/-", "value": following("three")}]);
    let stream = patched(&rest, "imagestreams/base", STEPS, &step).await;
    assert_eq!(tag_names(&stream), ["one", "three", "two"]);
    let without = json!({"spec": {"tags": [{"name": "two", "$patch": "delete"}]}});
    let stream = patched(&rest, "imagestreams/base", STRATEGIC, &without).await;
    assert_eq!(tag_names(&stream), ["one", "three"]);
    let whole = json!({"spec": {"tags": [following("one")]}});
    let stream = patched(&rest, "imagestreams/base", MERGE, &whole).await;
    assert_eq!(tag_names(&stream), ["one"]);
    let stream = patched(&rest, "imagestreams/base", MERGE, &json!({"spec": {"tags": null}})).await;
    assert_eq!(tag_names(&stream), Vec::<&str>::new());
    assert_eq!(stream["status"]["tags"].as_array().unwrap().len(), 4, "what they became stays");
}

#[tokio::test]
async fn tags_are_annotated_in_both_places() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    patched(&rest, "imagestreams/base", STRATEGIC, &json!({"spec": {"tags": [following("one")]}})).await;
    for (path, spec) in [("imagestreamtags/base:one", "tag"), ("imagetags/base:one", "spec")] {
        for (key, value) in [("a", json!("1")), ("b", json!("2")), ("a", Value::Null)] {
            let patch = json!({"metadata": {"annotations": {key: value}}});
            let tag = patched(&rest, path, MERGE, &patch).await;
            let (here, there) = (&tag["metadata"]["annotations"], &tag[spec]["annotations"]);
            assert_eq!((&here[key], &there[key]), (&value, &value), "{path}: {tag:#}");
        }
        let patch = json!({spec: {"annotations": {"c": "3"}}});
        let tag = patched(&rest, path, MERGE, &patch).await;
        assert_eq!(tag["metadata"]["annotations"], json!({"b": "2", "c": "3"}), "{path}");
        patched(&rest, path, MERGE, &json!({"metadata": {"annotations": null}})).await;
    }
}

#[tokio::test]
async fn what_makes_no_sense_or_is_not_allowed_changes_nothing() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let before = rest.ada.get_json(&images("imagestreams/base")).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let path = images("imagestreams/base");
    for (way, patch, expected) in [
        ("application/json", label.clone(), 415),
        ("application/apply-patch+yaml", label.clone(), 415),
        (MERGE, json!([1]), 400),
        (STEPS, label.clone(), 400),
        (STEPS, json!([{"op": "remove", "path": "/spec/nothing"}]), 422),
        (STEPS, json!([{"op": "test", "path": "/metadata/name", "value": "other"}]), 422),
        (STRATEGIC, json!({"spec": {"tags": [{"from": {"name": "x"}}]}}), 422),
        (MERGE, json!({"spec": {"tagz": []}}), 422),
        (MERGE, json!({"spec": {"tags": [{"name": "x", "from": {"kind": "Nothing", "name": "y"}}]}}), 422),
        (MERGE, json!({"metadata": {"resourceVersion": "1"}}), 409),
        (MERGE, json!({"metadata": {"name": "other"}}), 400),
    ] {
        let (status, answer) = send(&rest.ada, &path, way, &patch).await;
        assert_eq!(status.as_u16(), expected, "{way} {patch}: {answer:#}");
        assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Failure")));
    }
    let (_, answer) = send(&rest.ada, &path, "text/plain", &label).await;
    assert!(answer["message"].as_str().unwrap().contains(&[STEPS, MERGE, STRATEGIC].join(", ")), "{answer}");

    let vera = rest.weir.user("vera", "demo", Role::Viewer).await;
    let nobody = rest.weir.anon();
    assert_eq!(send(&vera, &path, MERGE, &label).await.0, StatusCode::FORBIDDEN);
    assert_eq!(send(&nobody, &path, MERGE, &label).await.0, StatusCode::UNAUTHORIZED);
    // What would double the object forty times is no work for whoever may only read, and little for others.
    let copy = |n| json!({"op": "copy", "from": "", "path": format!("/{n}")});
    let copies = Value::Array((0..40).map(copy).collect());
    assert_eq!(send(&vera, &path, STEPS, &copies).await.0, StatusCode::FORBIDDEN);
    assert_eq!(send(&rest.ada, &path, STEPS, &copies).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let odd = json!({"metadata": "x", "tag": {"annotations": {"a": "b"}}});
    let (status, answer) = send(&rest.ada, &images("imagestreamtags/base:latest"), MERGE, &odd).await;
    assert!(status.is_client_error(), "{answer:#}");
    for (path, expected) in [
        ("imagestreams/none", StatusCode::NOT_FOUND),
        ("imagestreams", StatusCode::METHOD_NOT_ALLOWED),
        ("imagestreams/base?dryRun=All", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(send(&rest.ada, &images(path), MERGE, &label).await.0, expected, "{path}");
    }
    assert_eq!(rest.ada.get_json(&path).await, before);
}

#[tokio::test]
async fn a_stream_of_thousands_of_tags_is_patched_and_none_grows_beyond_what_can_be_put() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let tags = |count: usize, padding: &str| {
        let annotated = |n| json!({"name": format!("t{n}"), "annotations": {"why": padding}});
        json!({"spec": {"tags": (0..count).map(annotated).collect::<Vec<_>>()}})
    };
    let (status, stream) = send(&rest.ada, &images("imagestreams/base"), STRATEGIC, &tags(2000, "x")).await;
    assert_eq!((status, tag_names(&stream).len()), (StatusCode::OK, 2000));
    let padding = "x".repeat(500);
    let first = send(&rest.ada, &images("imagestreams/base"), STRATEGIC, &tags(2000, &padding)).await;
    assert_eq!(first.0, StatusCode::OK);
    let long = json!({"metadata": {"annotations": {"why": "x".repeat(2_000_000)}}});
    let (status, answer) = send(&rest.ada, &images("imagestreams/base"), MERGE, &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:#}");
}

#[tokio::test]
async fn who_patches_with_others_waits_for_nobody_and_loses_nothing() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let path = images("imagestreams/base");
    let labels: Vec<Value> = (0..4).map(|n| json!({"metadata": {"labels": {format!("l{n}"): "x"}}})).collect();
    let sent = labels.iter().map(|label| send(&rest.ada, &path, MERGE, label));
    for (status, answer) in futures_util::future::join_all(sent).await {
        assert_eq!(status, StatusCode::OK, "{answer:#}");
    }
    let stream = rest.ada.get_json(&path).await;
    assert_eq!(stream["metadata"]["labels"].as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn deployments_are_patched_by_the_names_of_their_containers() {
    let rest = Rest::start().await;
    rest.push("web", "latest", 1).await;
    let made = deployment("web", &format!("{}/demo/web:latest", rest.weir.registry()));
    rest.post(StatusCode::CREATED, &apps("deployments"), &made).await;
    let patch = json!({"metadata": {"labels": {"tier": "front"}}, "spec": {"replicas": 3}});
    let (status, app) = send(&rest.ada, &apps("deployments/web"), STRATEGIC, &patch).await;
    assert_eq!(status, StatusCode::OK, "{app:#}");
    assert_eq!((&app["spec"]["replicas"], &app["metadata"]["labels"]["tier"]), (&json!(3), &json!("front")));
    let name = app["spec"]["template"]["spec"]["containers"][0]["name"].clone();
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": name, "env": [{"name": "PATCHED", "value": "yes"}]},
    ]}}}});
    let (status, app) = send(&rest.ada, &apps("deployments/web"), STRATEGIC, &patch).await;
    assert_eq!(status, StatusCode::OK, "{app:#}");
    let container = &app["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], name);
    assert!(container["env"].as_array().unwrap().contains(&json!({"name": "PATCHED", "value": "yes"})));
}
