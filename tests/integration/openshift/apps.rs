//! `deployments`, and apps in Weir's own dialect.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::resolution::set_lookup;
use super::{Rest, apps, digest, own};

pub fn deployment(name: &str, image: &str) -> Value {
    json!({
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "web", "image": image, "ports": [{"containerPort": 80, "hostPort": 18080}], "env": [{"name": "A", "value": "b"}]},
            ]}},
        },
    })
}

pub fn with_trigger(name: &str, trigger: &Value) -> Value {
    let mut body = deployment(name, " ");
    body["metadata"]["annotations"] = json!({"image.openshift.io/triggers": json!([trigger]).to_string()});
    body
}

#[tokio::test]
async fn an_app_is_made_runs_and_is_rolled_back() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let trigger = json!({
        "from": {"kind": "ImageStreamTag", "name": "app:latest"},
        "fieldPath": "spec.template.spec.containers[?(@.name==\"web\")].image",
    });
    let made = rest.post(StatusCode::CREATED, &apps("deployments"), &with_trigger("web", &trigger)).await;
    insta::assert_json_snapshot!("app_created", rest.redacted(made));
    rest.weir.settle().await;
    let running = rest.ada.get_json(&apps("deployments/web")).await;
    insta::assert_json_snapshot!("app_running", rest.redacted(running.clone()));

    let mut scaled = running;
    scaled["spec"]["replicas"] = 3.into();
    let scaled = rest.expect(StatusCode::OK, Method::PUT, &apps("deployments/web"), &scaled).await;
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(scaled["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"], 18080);
    rest.push("app", "latest", 2).await;
    rest.weir.settle().await;
    let list = rest.ada.get_json(&apps("deployments?labelSelector=app%3Dweb")).await;
    assert_eq!(list["items"][0]["status"]["updatedReplicas"], 3);
    let app = own("apps/web");
    let rollouts = rest.ada.get_json(&format!("{app}/rollouts")).await;
    insta::assert_json_snapshot!("rollouts", rest.redacted(rollouts));

    let dry = rest.post(StatusCode::OK, &format!("{app}/rollback?dry_run=1"), &json!({"to": 1})).await;
    assert_eq!((&dry["from"], &dry["to"]), (&json!(digest(2)), &json!(digest(1))));
    let back = rest.post(StatusCode::OK, &format!("{app}/rollback"), &json!({"to": 1, "reason": "slow"})).await;
    assert_eq!(
        (&back["kind"], &back["digest"], &back["reason"]),
        (&json!("rollback"), &json!(digest(1)), &json!("slow"))
    );
    rest.push("app", "latest", 3).await;
    rest.weir.settle().await;
    let held = rest.ada.get_json(&apps("deployments/web")).await;
    let image = held["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.ends_with(&digest(1)), "a person's rollback stays: {image}");
    let waits = rest.post(StatusCode::OK, &format!("{app}/resume?dry_run=1"), &json!({})).await;
    assert_eq!(waits["steps"].as_array().unwrap().len(), 1);
    rest.post(StatusCode::OK, &format!("{app}/resume"), &json!({})).await;
    rest.weir.settle().await;
    let rollouts = rest.ada.get_json(&format!("{app}/rollouts?limit=1")).await;
    assert_eq!(rollouts["items"][0]["digest"], digest(3));
    rest.post(StatusCode::CONFLICT, &format!("{app}/deploy"), &json!({})).await;
    rest.post(StatusCode::OK, &format!("{app}/hold"), &json!({})).await;
    rest.post(StatusCode::NOT_FOUND, &format!("{app}/rollback"), &json!({"to": 99})).await;

    rest.delete(&apps("deployments/web")).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &apps("deployments/web"), &json!({})).await;
}

#[tokio::test]
async fn bad_apps_are_refused_in_words() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    set_lookup(&rest, "app", true).await;
    let trigger = |more: Value| {
        let mut trigger = json!({"from": {"kind": "ImageStreamTag", "name": "app:latest"}});
        trigger.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with_trigger("web", &trigger)
    };
    for (label, body) in [
        ("no_such_tag", deployment("web", "app:v9")),
        ("external_image", deployment("web", "docker.io/library/nginx:1")),
        ("slip_in_trigger", trigger(json!({"pause": true}))),
        ("paused_is_no_flag", trigger(json!({"paused": "no"}))),
        ("name", deployment("Web", "app:latest")),
    ] {
        let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &apps("deployments"), &body).await;
        insta::assert_json_snapshot!(format!("app_bad_{label}"), refused);
    }
    let mut volumes = deployment("web", "app:latest");
    volumes["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    let made = rest.ada.post(&apps("deployments"), &volumes).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let warning = made.headers()["warning"].to_str().unwrap();
    assert!(warning.contains("spec.template.spec.volumes has no effect here"), "{warning}");
}
