//! What fails is told of when it begins to, and when it goes well again: rollouts, images that are not whole, and rules of imports.

use axum::http::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use weir::model::{Actor, Role};
use weir::server::controllers::Proof;
use weir::server::hash::sha256;

use super::{Told, document, own};
use crate::ui::sample::{digest, push};
use crate::upstreams::images::TestImage;
use crate::upstreams::lister;

#[tokio::test]
async fn a_rollout_that_fails_and_the_next_one_that_does_not_are_told() {
    let told = Told::start().await;
    let (client, ada) = (told.weir.user("developer", "demo", Role::Editor).await, Actor::person("ada"));
    push(&told.weir, "web", "latest", 1, &ada).await;
    let app = [("name", "web"), ("image", "web:latest"), ("replicas", "1"), ("automatic", "on")];
    client.done("/p/demo/apps/new", &app).await;
    told.weir.settle().await;
    told.target(&["rollout.failing", "rollout.recovered"]).await;

    for bad in [2, 3] {
        told.weir.engine.fail_image(&digest(bad).parse().unwrap(), "task: non-zero exit (1)");
        push(&told.weir, "web", "latest", bad, &ada).await;
        told.weir.settle().await;
    }
    assert_eq!(told.kinds(), ["rollout.failing"], "that the next one fails, too, is no news");
    let data = &document(&told.receiver.seen()[0])["data"];
    assert_eq!((&data["state"], &data["object"]), (&json!("failing"), &json!("web rollout 2")), "{data:#}");
    assert!(data["reason"].as_str().is_some_and(|why| why.contains("non-zero exit")), "{data:#}");
    for good in [4, 5] {
        push(&told.weir, "web", "latest", good, &ada).await;
        told.weir.settle().await;
    }
    assert_eq!(told.kinds(), ["rollout.failing", "rollout.recovered"]);
    let data = &document(&told.receiver.seen()[1])["data"];
    assert_eq!((&data["state"], &data["object"]), (&json!("well"), &json!("web rollout 4")), "{data:#}");
    told.weir.stop().await;
}

#[tokio::test]
async fn an_image_that_loses_a_part_and_gets_it_back_is_told_twice() {
    let told = Told::start().await;
    told.target(&["image.broken", "image.mended"]).await;
    let image = TestImage::new("whole");
    image.push_as(Some(("boss", told.boss.token())), told.weir.registry(), "demo/base", "latest").await;
    let prove = async || {
        let (store, importer) = (told.weir.store().clone(), told.weir.state.importer.clone());
        let proof = Proof::new(store, told.weir.state.blobs.clone(), importer, CancellationToken::new());
        let broken = proof.prove_now().await.expect("proved").expect("nobody else proves").broken;
        told.weir.settle().await;
        broken
    };
    let layer = sha256(&image.layer);
    let file = format!("data/blobs/blobs/{}/{}/{}", layer.algorithm(), &layer.hex()[..2], layer.hex());
    let file = told.weir.directory().join(file);
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!((prove().await, prove().await), (1, 1));
    assert_eq!(told.kinds(), ["image.broken"], "found so again is no news");
    let data = &document(&told.receiver.seen()[0])["data"];
    assert_eq!(data["object"], json!(format!("base@{}", image.digest())), "{data:#}");
    assert!(data["reason"].as_str().is_some_and(|why| !why.is_empty()), "{data:#}");
    std::fs::write(&file, &image.layer).expect("written");
    assert_eq!((prove().await, prove().await), (0, 0));
    assert_eq!(told.kinds(), ["image.broken", "image.mended"]);
    told.weir.stop().await;
}

#[tokio::test]
async fn a_rule_of_imports_that_fails_and_recovers_is_told_twice_however_often_it_lists() {
    let told = Told::start().await;
    told.target(&["import.failing", "import.recovered"]).await;
    push(&told.weir, "base", "latest", 1, &Actor::person("ada")).await;
    let upstream = lister().await;
    let rules = own("streams/base/import-rules");
    let rule = |repository: &str| {
        let repository = format!("{}/{repository}", upstream.address());
        json!({"name": "all", "repository": repository, "patternKind": "semver", "pattern": ">=9", "insecure": true})
    };
    assert_eq!(told.boss.post(&rules, &rule("org/none")).await.status(), 201);
    let check = async || {
        told.weir.store().request_listing("demo", "base", "all", &Actor::person("ada")).await.expect("asked");
        told.weir.settle().await;
    };
    told.weir.settle().await;
    check().await;
    assert_eq!(told.kinds(), ["import.failing"]);
    let data = &document(&told.receiver.seen()[0])["data"];
    assert_eq!((&data["state"], &data["object"]), (&json!("failing"), &json!("base import rule all")), "{data:#}");
    assert!(data["reason"].as_str().is_some_and(|why| !why.is_empty()), "{data:#}");

    let mut changed = rule("org/app");
    changed["version"] = told.boss.get_json(&format!("{rules}/all")).await["version"].clone();
    let answer = told.boss.request(Method::PUT, &format!("{rules}/all")).json(&changed).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    told.weir.settle().await;
    check().await;
    assert_eq!(told.kinds(), ["import.failing", "import.recovered"]);
    told.weir.stop().await;
}
