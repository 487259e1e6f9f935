//! `resolve`, and what the registry, builds and apps make of the same references.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::apps::deployment;
use super::{Rest, apps, digest, images, own};

async fn resolve(rest: &Rest, reference: &str) -> Value {
    rest.ada.get_json(&own(&format!("resolve?reference={}", urlencoding::encode(reference)))).await
}

/// Says whether short names mean the stream.
pub async fn set_lookup(rest: &Rest, stream: &str, local: bool) {
    let path = images(&format!("imagestreams/{stream}"));
    let mut object = rest.ada.get_json(&path).await;
    object["spec"]["lookupPolicy"]["local"] = local.into();
    rest.expect(StatusCode::OK, Method::PUT, &path, &object).await;
}

#[tokio::test]
async fn a_reference_is_resolved_with_its_why() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    set_lookup(&rest, "app", true).await;
    let host = rest.weir.registry().to_owned();
    insta::assert_json_snapshot!("resolved", rest.redacted(resolve(&rest, "app").await));
    let whole = resolve(&rest, &format!("{host}/demo/app:latest")).await;
    assert_eq!(whole["pullSpec"], format!("{host}/demo/app@{}", digest(1)));
    let external = resolve(&rest, "quay.io/org/tool:1").await;
    insta::assert_json_snapshot!("resolved_elsewhere", rest.redacted(external));
    let at_digest = resolve(&rest, &format!("app@{}", digest(1))).await;
    assert_eq!((&at_digest["digest"], &at_digest["why"][1]), (&json!(digest(1)), &json!("the digest is written")));
    for (query, status) in [
        ("", StatusCode::UNPROCESSABLE_ENTITY),
        ("reference=Foo", StatusCode::UNPROCESSABLE_ENTITY),
        ("reference=app&lookup=oldest", StatusCode::UNPROCESSABLE_ENTITY),
        ("reference=app&for=cat", StatusCode::UNPROCESSABLE_ENTITY),
        ("reference=app:none&lookup=image", StatusCode::CONFLICT),
        (&format!("reference={host}/demo/none"), StatusCode::NOT_FOUND),
        (&format!("reference={host}/secret/app"), StatusCode::FORBIDDEN),
    ] {
        rest.expect(status, Method::GET, &own(&format!("resolve?{query}")), &json!({})).await;
    }
    let refused =
        rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::GET, &own("resolve?reference=Foo"), &json!({})).await;
    assert!(refused["message"].as_str().unwrap().contains("repository name must be lowercase"), "{refused}");
    let stranger = rest.weir.user("eve", "other", Role::Admin).await;
    assert_eq!(stranger.get(&own("resolve?reference=app")).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_registry_serves_what_a_reference_resolves_to() {
    let rest = Rest::start().await;
    let host = rest.weir.registry().to_owned();
    for (tag, n) in [("latest", 1), ("1", 2), ("latest", 3), ("2", 1), ("latest", 1)] {
        rest.push("app", tag, n).await;
        for tag in ["latest", "1", "2", "none"] {
            let answer = rest.ada.get(&format!("/v2/demo/app/manifests/{tag}")).await;
            let served = answer.headers().get("docker-content-digest").map(|value| value.to_str().unwrap().to_owned());
            let resolved = resolve(&rest, &format!("{host}/demo/app:{tag}")).await;
            assert_eq!(json!(served), resolved["digest"], "{tag} after {n}");
            let tagged = rest.call(Method::GET, &images(&format!("imagestreamtags/app:{tag}")), &json!({})).await.1;
            assert_eq!(tagged["image"]["metadata"]["name"], resolved["digest"], "{tag}");
            if !resolved["digest"].is_null() {
                assert_eq!(tagged["image"]["dockerImageReference"], resolved["pullSpec"]);
            }
        }
    }
}

#[tokio::test]
async fn section_7_3_a_workloads_short_name_needs_the_streams_consent() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let body = deployment("web", "app:latest");
    let refused = rest.post(StatusCode::UNPROCESSABLE_ENTITY, &apps("deployments"), &body).await;
    let cause = &refused["details"]["causes"][0];
    assert_eq!(cause["field"], "spec.template.spec.containers[0].image");
    let message = cause["message"].as_str().unwrap();
    assert!(message.contains("demo has a stream app, but short names do not mean it"), "{message}");
    let full = deployment("full", &format!("{}/demo/app:latest", rest.weir.registry()));
    rest.post(StatusCode::CREATED, &apps("deployments"), &full).await;
    let mut asks = deployment("asks", "app:latest");
    asks["metadata"]["annotations"] = json!({"alpha.image.policy.openshift.io/resolve-names": "*"});
    rest.post(StatusCode::CREATED, &apps("deployments"), &asks).await;
    set_lookup(&rest, "app", true).await;
    rest.post(StatusCode::CREATED, &apps("deployments"), &body).await;
    rest.weir.settle().await;
    let running = rest.ada.get_json(&apps("deployments/web")).await;
    let image = running["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("{}/demo/app@{}", rest.weir.registry(), digest(1)));
}

#[tokio::test]
async fn the_console_says_why() {
    let rest = Rest::start().await;
    rest.push("app", "latest", 1).await;
    let full = deployment("web", &format!("{}/demo/app:latest", rest.weir.registry()));
    rest.post(StatusCode::CREATED, &apps("deployments"), &full).await;
    for path in ["/p/demo/streams/app/tags/latest", "/p/demo/apps/web"] {
        let page = rest.ada.get(path).await.text().await.unwrap();
        for words in ["since its move #1, push by ada", "the image came about here: pulled from this registry"] {
            assert!(page.contains(words), "{path} lacks {words:?}");
        }
    }
}
