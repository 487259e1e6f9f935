//! Cascades, the graph, plans and the ledger, in Weir's own dialect.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::json;

use super::{Rest, apps, builds, digest, images, own};

async fn chain(rest: &Rest) {
    rest.push("base", "latest", 1).await;
    rest.push("app", "latest", 2).await;
    let config = json!({
        "metadata": {"name": "app"},
        "spec": {"source": {"dockerfile": "FROM base:latest\n"}, "output": {"to": {"kind": "ImageStreamTag", "name": "app:latest"}},
                 "triggers": [{"type": "ImageChange"}]},
    });
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &config).await;
    let image = format!("{}/demo/app:latest", rest.weir.registry());
    let app = json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
    });
    rest.post(StatusCode::CREATED, &apps("deployments"), &app).await;
}

#[tokio::test]
async fn the_graph_and_what_an_action_would_do() {
    let rest = Rest::start().await;
    chain(&rest).await;
    let graph = rest.ada.get_json(&own("graph")).await;
    assert_eq!(graph["onlyTied"], false, "all tags are in it while they are few");
    let nodes = graph["nodes"].as_array().unwrap();
    let name = |id: &serde_json::Value| {
        let node = nodes.iter().find(|node| node["id"] == *id).expect("an edge's end is a node");
        format!("{} {}", node["kind"].as_str().unwrap(), node["name"].as_str().unwrap())
    };
    let edges = graph["edges"].as_array().unwrap();
    let edges: Vec<String> =
        edges.iter().map(|edge| format!("{} -> {}", name(&edge["from"]), name(&edge["to"]))).collect();
    assert_eq!(edges, ["tag base:latest -> build app", "build app -> tag app:latest", "tag app:latest -> app web"]);

    let plan =
        rest.post(StatusCode::OK, &own("plan"), &json!({"action": "move", "stream": "base", "tag": "latest"})).await;
    insta::assert_json_snapshot!("plan_move", rest.redacted(plan));
    let only = json!({"action": "move", "stream": "base", "tag": "latest", "mode": "tag"});
    let plan = rest.post(StatusCode::OK, &own("plan"), &only).await;
    assert!(plan["steps"].as_array().unwrap().iter().all(|step| step["kind"] != "build"), "{plan:#}");
    let plan = rest.post(StatusCode::OK, &own("plan"), &json!({"action": "build", "config": "app"})).await;
    assert_eq!(plan["steps"][0]["name"], "app");
    rest.post(StatusCode::UNPROCESSABLE_ENTITY, &own("plan"), &json!({"action": "dance"})).await;
    rest.post(StatusCode::NOT_FOUND, &own("plan"), &json!({"action": "build", "config": "none"})).await;
}

#[tokio::test]
async fn a_cascade_is_read_and_undone_whole() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    rest.push("base", "latest", 2).await;
    let list = rest.ada.get_json(&own("cascades")).await;
    insta::assert_json_snapshot!("cascades", rest.redacted(list.clone()));
    let number = &list["items"][0]["number"];
    let one = rest.ada.get_json(&own(&format!("cascades/{number}"))).await;
    insta::assert_json_snapshot!("cascade", rest.redacted(one));
    let paused = rest.post(StatusCode::OK, &own(&format!("cascades/{number}/pause")), &json!({})).await;
    assert!(paused["pausedAt"].is_string());
    let resumed = rest.post(StatusCode::OK, &own(&format!("cascades/{number}/resume")), &json!({})).await;
    assert!(resumed["pausedAt"].is_null());
    let undone = rest.post(StatusCode::OK, &own(&format!("cascades/{number}/undo")), &json!({})).await;
    assert_eq!(undone["tags"], 1);
    let tag = rest.ada.get_json(&images("imagestreamtags/base:latest")).await;
    assert_eq!(tag["image"]["metadata"]["name"], digest(1));
    rest.post(StatusCode::CONFLICT, &own(&format!("cascades/{number}/undo")), &json!({})).await;
    rest.post(StatusCode::OK, &own(&format!("cascades/{number}/cancel")), &json!({})).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &own("cascades/99"), &json!({})).await;
    rest.expect(StatusCode::NOT_FOUND, Method::GET, &own("cascades/x"), &json!({})).await;

    let activity = rest.ada.get_json(&own("activity?limit=3")).await;
    assert_eq!(activity["items"].as_array().unwrap().len(), 3);
    assert_eq!(activity["items"][0]["action"], "cascade.cancel");
    let older = rest.ada.get_json(&own(&format!("activity?limit=1&before={}", activity["next"]))).await;
    assert_eq!(older["items"][0]["sequence"], json!(activity["next"].as_i64().unwrap() - 1));
}

#[tokio::test]
async fn a_tag_that_only_names_an_image_builds_nothing_and_holds_up_nobody() {
    let rest = Rest::start().await;
    chain(&rest).await;
    rest.weir.settle().await;
    let rollouts = async |app: &str| rest.weir.store().app("demo", app).await.unwrap().last_number;
    let runs = async || {
        let config = rest.weir.store().config("demo", "app").await.unwrap();
        (config.last_number, config.paused_at)
    };
    let mere = |name: &str| {
        let from = json!({"kind": "DockerImage", "name": "registry.invalid/x:1"});
        json!([{"name": name, "reference": true, "from": from}])
    };
    rest.push("other", "latest", 3).await;
    rest.edit("other", |stream| stream["spec"]["tags"] = mere("latest")).await;
    let image = format!("{}/demo/other:latest", rest.weir.registry());
    let containers = json!([{"name": "a", "image": image}]);
    let app = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {"containers": containers}}}});
    rest.post(StatusCode::CREATED, &apps("deployments"), &app).await;
    rest.edit("base", |stream| stream["spec"]["tags"] = mere("latest")).await;
    let before = runs().await;
    rest.weir.settle().await;
    assert_eq!(rollouts("a").await, 0, "the image from before is no answer any more");
    assert_eq!(runs().await, before);

    let web = rollouts("web").await;
    rest.push("app", "latest", 4).await;
    rest.weir.settle().await;
    assert_eq!(rollouts("web").await, web + 1, "others go on");
    rest.push("other", "latest", 3).await;
    rest.weir.settle().await;
    assert_eq!(rollouts("a").await, 1, "an image is one again");
}

#[tokio::test]
async fn a_cascade_tells_what_happened_in_its_own_project() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let store = rest.weir.store();
    let actor = weir::model::Actor::person("ada");
    store.create_project(&"hidden".parse().unwrap(), "", "", None, &actor).await.unwrap();
    let source = Some((weir::model::SourceKind::ImageStreamTag, "base:latest".to_owned()));
    let spec = weir::server::store::TagSpec { source, source_project: Some("demo".to_owned()), ..Default::default() };
    let names = ("secret".parse().unwrap(), "latest".parse().unwrap());
    store.set_tag("hidden", &names.0, &names.1, &spec, None, &actor).await.unwrap();
    rest.push("base", "latest", 2).await;
    let cascades = rest.ada.get_json(&own("cascades")).await;
    let number = cascades["items"][0]["number"].as_i64().unwrap();
    let cascade = rest.ada.get_json(&own(&format!("cascades/{number}"))).await;
    assert_eq!(cascade["events"].as_array().unwrap().len(), 1, "{cascade:#}");
    assert!(!cascade.to_string().contains("secret"), "{cascade:#}");
    let page = rest.ada.get(&format!("/p/demo/cascades/{number}")).await.text().await.unwrap();
    assert!(page.contains("base:latest") && !page.contains("secret"), "{page}");
    let moved = store.tag("hidden", "secret", "latest").await.unwrap().digest;
    assert_eq!(moved, store.tag("demo", "base", "latest").await.unwrap().digest, "though it did move there");
}
