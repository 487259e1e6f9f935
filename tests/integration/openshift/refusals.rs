//! Who may not, and what is no request at all.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::{Rest, apps, builds, images, own, set_up_project};
use crate::support::Client;

#[tokio::test]
async fn nobody_and_strangers_are_refused_everywhere() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let anon = rest.weir.anon();
    let wrong = Client::new(&rest.weir.url, Some("weir_nonsense".to_owned()));
    let stranger = rest.weir.user("sam", "elsewhere", Role::Admin).await;
    for path in [
        images("imagestreams"),
        images("imagestreams/base"),
        images("imagestreamtags"),
        images("imagestreamtags/base:latest"),
        images("imagestreamimages/base@1111"),
        builds("buildconfigs"),
        builds("builds"),
        apps("deployments"),
        own("streams/base/tags/latest"),
        own("streams/base/tags/latest/history"),
        own("apps/x/rollouts"),
        own("cascades"),
        own("graph"),
        own("secrets"),
        own("activity"),
    ] {
        for (client, expected) in
            [(&anon, StatusCode::UNAUTHORIZED), (&wrong, StatusCode::UNAUTHORIZED), (&stranger, StatusCode::FORBIDDEN)]
        {
            let answer = client.get(&path).await;
            assert_eq!(answer.status(), expected, "{path}");
            let body: Value = answer.json().await.expect("a Status");
            assert_eq!((&body["kind"], &body["code"]), (&json!("Status"), &json!(expected.as_u16())), "{path}");
        }
    }
}

#[tokio::test]
async fn viewers_change_nothing() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let viewer = rest.weir.user("vera", "demo", Role::Viewer).await;
    viewer.get_json(&images("imagestreamtags/base:latest")).await;
    for (method, path) in [
        (Method::POST, images("imagestreams")),
        (Method::PUT, images("imagestreams/base")),
        (Method::DELETE, images("imagestreams/base")),
        (Method::POST, images("imagestreamtags")),
        (Method::PUT, images("imagestreamtags/base:latest")),
        (Method::DELETE, images("imagestreamtags/base:latest")),
        (Method::POST, images("imagestreamimports")),
        (Method::POST, builds("buildconfigs")),
        (Method::PUT, builds("buildconfigs/x")),
        (Method::DELETE, builds("buildconfigs/x")),
        (Method::POST, builds("buildconfigs/x/instantiate")),
        (Method::PUT, builds("builds/x-1")),
        (Method::DELETE, builds("builds/x-1")),
        (Method::POST, builds("builds/x-1/clone")),
        (Method::POST, apps("deployments")),
        (Method::PUT, apps("deployments/x")),
        (Method::DELETE, apps("deployments/x")),
        (Method::POST, own("streams/base/tags/latest/rollback")),
        (Method::POST, own("streams/base/tags/latest/hold")),
        (Method::POST, own("streams/base/tags/latest/resume")),
        (Method::POST, own("streams/base/tags/latest/check")),
        (Method::POST, own("apps/x/rollback")),
        (Method::POST, own("apps/x/hold")),
        (Method::POST, own("apps/x/resume")),
        (Method::POST, own("apps/x/deploy")),
        (Method::POST, own("cascades/1/undo")),
        (Method::POST, own("cascades/1/pause")),
        (Method::POST, own("cascades/1/resume")),
        (Method::POST, own("cascades/1/cancel")),
        (Method::POST, own("secrets")),
        (Method::DELETE, own("secrets/x")),
    ] {
        let answer = viewer.request(method.clone(), &path).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
    }
    let refused = viewer.post_json(&images("imagestreams"), &json!({}), StatusCode::FORBIDDEN).await;
    insta::assert_json_snapshot!("forbidden", refused);
}

#[tokio::test]
async fn a_stream_of_a_hidden_project_is_no_source() {
    let rest = Rest::start().await;
    set_up_project(&rest.weir, "hidden").await;
    let tag = json!({
        "metadata": {"name": "app:latest"},
        "tag": {"from": {"kind": "ImageStreamTag", "name": "x:latest", "namespace": "hidden"}},
    });
    rest.post(StatusCode::FORBIDDEN, &images("imagestreamtags"), &tag).await;
    let trigger = json!([{"from": {"kind": "ImageStreamTag", "name": "x:latest", "namespace": "hidden"}}]).to_string();
    let app = json!({
        "metadata": {"name": "web", "annotations": {"image.openshift.io/triggers": trigger}},
        "spec": {"template": {"spec": {"containers": [{"name": "web"}]}}},
    });
    rest.post(StatusCode::FORBIDDEN, &apps("deployments"), &app).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_words() {
    let rest = Rest::start().await;
    let path = images("imagestreams");
    let send = async |content_type: &str, body: &'static str| {
        let request = rest.ada.request(Method::POST, &path).header("content-type", content_type).body(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.expect("a Status")["message"].to_string())
    };
    assert_eq!(send("application/vnd.kubernetes.protobuf", "k8s").await.0, 415);
    assert_eq!(send("application/yaml", "kind: ImageStream").await.0, 415);
    let (status, message) = send("application/json", "{").await;
    assert!(status == 400 && message.contains("not JSON"), "{message}");
    assert_eq!(send("application/json", "[]").await.0, 400);
    let wrong_kind = json!({"kind": "Pod", "metadata": {"name": "x"}});
    rest.post(StatusCode::BAD_REQUEST, &path, &wrong_kind).await;
    let other_project = json!({"metadata": {"name": "x", "namespace": "other"}});
    rest.post(StatusCode::BAD_REQUEST, &path, &other_project).await;
    let dry =
        rest.post(StatusCode::BAD_REQUEST, &format!("{path}?dryRun=All"), &json!({"metadata": {"name": "x"}})).await;
    assert!(dry["message"].as_str().unwrap().contains("nothing was changed"));
    let method = rest.expect(StatusCode::METHOD_NOT_ALLOWED, Method::PATCH, &path, &json!({})).await;
    assert_eq!(method["reason"], "MethodNotAllowed");
}
