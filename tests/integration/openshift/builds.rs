//! `buildconfigs` and `builds`.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Rest, builds};

fn config(name: &str, dockerfile: &str, output: &str) -> Value {
    json!({
        "kind": "BuildConfig", "apiVersion": "build.openshift.io/v1",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "source": {"type": "Dockerfile", "dockerfile": dockerfile},
            "strategy": {"type": "Docker", "dockerStrategy": {"env": [{"name": "A", "value": "b"}]}},
            "output": {"to": {"kind": "ImageStreamTag", "name": output}},
            "triggers": [{"type": "ConfigChange"}, {"type": "ImageChange", "imageChange": {}}],
            "runPolicy": "Serial", "nodeSelector": null, "resources": {}, "postCommit": {},
        },
    })
}

#[tokio::test]
async fn a_config_is_made_read_changed_and_built() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let body = config("app", "FROM base:latest\n", "app:latest");
    let made = rest.post(StatusCode::CREATED, &builds("buildconfigs"), &body).await;
    insta::assert_json_snapshot!("config_created", rest.redacted(made.clone()));
    let path = builds("buildconfigs/app");
    let mut changed = rest.ada.get_json(&path).await;
    assert_eq!(changed, made);
    changed["spec"]["triggers"][1]["imageChange"]["paused"] = true.into();
    let updated = rest.expect(StatusCode::OK, Method::PUT, &path, &changed).await;
    assert_eq!(updated["spec"]["triggers"][1]["imageChange"]["paused"], true);
    rest.expect(StatusCode::CONFLICT, Method::PUT, &path, &changed).await;

    let request = json!({
        "kind": "BuildRequest", "apiVersion": "build.openshift.io/v1", "metadata": {"name": "app"},
        "triggeredBy": [{"message": "Manually triggered"}], "dockerStrategyOptions": {}, "sourceStrategyOptions": {},
    });
    let build = rest.post(StatusCode::CREATED, &format!("{path}/instantiate"), &request).await;
    insta::assert_json_snapshot!("build_started", rest.redacted(build.clone()));
    assert_eq!(rest.ada.get_json(&builds("builds/app-1")).await, build);

    let mut cancelled = build;
    cancelled["status"]["cancelled"] = true.into();
    let cancelled = rest.expect(StatusCode::OK, Method::PUT, &builds("builds/app-1"), &cancelled).await;
    assert_eq!(cancelled["status"]["phase"], "Cancelled");
    let log = rest.expect(StatusCode::BAD_REQUEST, Method::GET, &builds("builds/app-1/log"), &json!({})).await;
    assert_eq!(log["message"], "build app-1 was cancelled. No logs are available.");
    let clone =
        rest.post(StatusCode::CREATED, &builds("builds/app-1/clone"), &json!({"metadata": {"name": "app-1"}})).await;
    assert_eq!(clone["metadata"]["annotations"]["openshift.io/build.clone-of"], "app-1");

    let list = async |query: &str| {
        let list = rest.ada.get_json(&builds(&format!("builds?{query}"))).await;
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("labelSelector=openshift.io/build-config.name%3Dapp").await, ["app-1", "app-2"]);
    assert_eq!(list("fieldSelector=metadata.name%3Dapp-2").await, ["app-2"]);
    assert_eq!(list("fieldSelector=status%3DCancelled").await, ["app-1"]);
    assert_eq!(list("labelSelector=app%3Dother").await, Vec::<String>::new());
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &builds("builds/app-9"), &json!({})).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &builds("builds/app"), &json!({})).await;
}

#[tokio::test]
async fn a_build_runs_and_its_log_is_read_to_its_end() {
    let rest = Rest::live().await;
    rest.push("base", "latest", 1).await;
    let mut body = config("app", "FROM base:latest\n", "app:latest");
    body["spec"]["triggers"] = json!([]);
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &body).await;
    rest.post(StatusCode::CREATED, &builds("buildconfigs/app/instantiate"), &json!({})).await;
    let log = rest.ada.get(&builds("builds/app-1/log?follow=true")).await;
    assert_eq!(log.status(), StatusCode::OK);
    let text = log.text().await.expect("the log to its end");
    assert!(!text.is_empty() && text.ends_with('\n'), "{text:?}");
    let build = rest.ada.get_json(&builds("builds/app-1")).await;
    assert!(["Complete", "Failed", "Error"].contains(&build["status"]["phase"].as_str().unwrap()), "{build:#}");
    let last = rest.ada.get(&builds("builds/app-1/log?tailLines=1")).await.text().await.unwrap();
    assert_eq!(last.lines().count(), 1);
    assert!(text.ends_with(&last));
}

#[tokio::test]
async fn bad_configs_are_refused_in_words() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let path = builds("buildconfigs");
    let mut own_output = config("loop", "x", "base:latest");
    own_output["spec"]["source"] = json!({"git": {"uri": "https://git.invalid/x.git"}});
    own_output["spec"]["strategy"]["dockerStrategy"]["from"] = json!({"kind": "ImageStreamTag", "name": "base:latest"});
    let mut slip = config("slip", "FROM base\n", "app:latest");
    slip["spec"]["triggers"][1]["imageChange"] = json!({"pause": true});
    let mut source_strategy = config("s2i", "FROM base\n", "app:latest");
    source_strategy["spec"]["strategy"] = json!({"sourceStrategy": {"from": {}}});
    let mut no_source = config("none", "FROM base\n", "app:latest");
    no_source["spec"]["source"] = json!({});
    for (label, body) in [
        ("own_output", own_output),
        ("dockerfile_on_own_output", config("loop", "FROM base:latest\n", "base:latest")),
        ("dockerfile", config("broken", "FORM base\n", "app:latest")),
        ("slip", slip),
        ("strategy", source_strategy),
        ("no_source", no_source),
        ("name", config("My_App", "FROM base\n", "app:latest")),
    ] {
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &path, &body).await;
        insta::assert_json_snapshot!(format!("config_bad_{label}"), refused);
    }
    rest.post(StatusCode::CREATED, &path, &config("middle", "FROM base:latest\n", "app:latest")).await;
    let circle = config("circle", "FROM app:latest\n", "base:latest");
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &path, &circle).await;
    insta::assert_json_snapshot!("config_bad_circle", refused);
    rest.post(StatusCode::CREATED, &path, &config("early", "FROM later:latest\n", "x:latest")).await;
    let refused = rest.call(Method::POST, &builds("buildconfigs/none/instantiate"), &json!({})).await;
    assert_eq!(refused.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_build_is_cancelled_by_a_patch() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &config("app", "FROM base:latest\n", "app:latest")).await;
    rest.post(StatusCode::CREATED, &builds("buildconfigs/app/instantiate"), &json!({"metadata": {"name": "app"}}))
        .await;
    let patch = async |patch: Value| -> Value {
        let request = rest.ada.request(Method::PATCH, &builds("builds/app-1"));
        let request = request.header("content-type", "application/merge-patch+json").body(patch.to_string());
        request.send().await.expect("an answer").json().await.expect("JSON")
    };
    let labelled = patch(json!({"metadata": {"annotations": {"why": "none"}}})).await;
    assert_eq!(labelled["status"]["phase"], "New", "{labelled:#}");
    let cancelled = patch(json!({"status": {"cancelled": true}})).await;
    assert_eq!(cancelled["status"]["phase"], "Cancelled", "{cancelled:#}");
}
