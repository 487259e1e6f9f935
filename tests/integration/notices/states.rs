//! What has a state is told of when that changes, not each time it is still so.

use reqwest::StatusCode;
use serde_json::json;
use weir::model::{Actor, Role};
use weir::server::store::TagSpec;

use super::{Told, document};
use crate::imports::upstream::Misbehaving;
use crate::support::tester;
use crate::ui::form::text;
use crate::ui::sample::{push, sequences};
use crate::upstreams::DockerRegistry;
use crate::upstreams::images::TestImage;

#[tokio::test]
async fn an_import_that_fails_and_recovers_is_told_twice_however_often_it_is_checked() {
    let told = Told::start().await;
    told.target(&["import.failing", "import.recovered", "tag.imported"]).await;
    let upstream = DockerRegistry::start();
    let reference = format!("{}/org/base:1", upstream.address());
    let spec = TagSpec { insecure: true, ..TagSpec::import(reference.parse::<weir::model::ImageReference>().unwrap()) };
    let store = told.weir.store();
    store.set_tag("demo", &"base".parse().unwrap(), &"latest".parse().unwrap(), &spec, None, &tester()).await.unwrap();
    let check = async |times: usize| {
        for _ in 0..times {
            store.request_check("demo", "base", "latest", &Actor::person("ada")).await.unwrap();
            told.weir.settle().await;
        }
    };
    check(4).await;
    assert_eq!(told.kinds(), ["import.failing"]);
    let body = document(&told.receiver.seen()[0]);
    assert_eq!(body["data"]["state"], "failing");
    assert!(body["data"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{body}");
    TestImage::new("one").push(upstream.address(), "org/base", "1").await;
    check(5).await;
    let mut kinds = told.kinds();
    kinds.sort();
    assert_eq!(kinds, ["import.failing", "import.recovered", "tag.imported"], "unchanged checks are no news");
}

#[tokio::test]
async fn builds_are_told_of_when_they_begin_to_fail_and_go_well_again_and_apps_when_they_go_back() {
    let told = Told::start().await;
    told.target(&["build.failing", "build.recovered", "rollout.failing", "rollout.recovered", "app.rolled-back"]).await;
    let client = told.weir.user("developer", "demo", Role::Editor).await;
    let build = |dockerfile: &'static str| {
        [("name", "web"), ("output", "web:latest"), ("dockerfile", dockerfile), ("image_trigger", "on")]
    };
    client.done("/p/demo/builds/new", &build("FROM scratch\nRUN false\n")).await;
    for _ in 0..3 {
        client.done("/p/demo/builds/web/start", &[]).await;
        told.weir.settle().await;
    }
    assert_eq!(told.kinds(), ["build.failing"]);
    client.done("/p/demo/builds/web/edit", &build("FROM scratch\nRUN echo one\n")).await;
    for _ in 0..2 {
        client.done("/p/demo/builds/web/start", &[]).await;
        told.weir.settle().await;
    }
    assert_eq!(told.kinds(), ["build.failing", "build.recovered"]);

    let app = [("name", "web"), ("image", "web:latest"), ("replicas", "1"), ("automatic", "on")];
    client.done("/p/demo/apps/new", &app).await;
    told.weir.settle().await;
    client.done("/p/demo/builds/web/edit", &build("FROM scratch\nRUN echo two\n")).await;
    client.done("/p/demo/builds/web/start", &[]).await;
    told.weir.settle().await;
    assert_eq!(told.kinds().len(), 2, "a rollout that goes well as always is no news");
    client.done("/p/demo/apps/web/rollback", &[("to", "1")]).await;
    told.weir.settle().await;
    assert_eq!(told.kinds()[2..], ["app.rolled-back"]);
    let body = document(&told.receiver.seen()[2]);
    let link = body["data"]["link"].as_str().unwrap().strip_prefix(&told.weir.url).unwrap();
    assert!(text(&client.page(link).await).contains("web"));
}

#[tokio::test]
async fn holds_rollbacks_and_what_they_keep_back_are_told() {
    let told = Told::start().await;
    let actor = Actor::person("ada");
    for n in 1..=2 {
        push(&told.weir, "base", "latest", n, &actor).await;
    }
    told.target(&["tag.rolled-back", "tag.kept-back", "hold.set", "hold.ended", "tag.deleted"]).await;
    let to = sequences(&told.weir, "base", "latest").await[1].to_string();
    told.boss.done("/p/demo/streams/base/tags/latest/rollback", &[("to", &to)]).await;
    told.weir.settle().await;
    let mut kinds = told.kinds();
    kinds.sort();
    assert_eq!(kinds, ["hold.set", "tag.rolled-back"]);
    for _ in 0..3 {
        push(&told.weir, "base", "latest", 3, &actor).await;
    }
    told.weir.settle().await;
    assert_eq!(told.kinds()[2..], ["tag.kept-back"], "the same refused again is no news");
    told.boss.done("/p/demo/streams/base/tags/latest/delete", &[]).await;
    told.weir.settle().await;
    assert_eq!(told.kinds()[3..], ["tag.deleted", "hold.ended"], "a tag that is gone is held no more");
}

#[tokio::test]
async fn a_project_that_fills_up_is_told_of_once_and_so_is_room_again() {
    let told = Told::start().await;
    told.target(&["quota.short", "quota.enough"]).await;
    push(&told.weir, "base", "latest", 1, &Actor::person("ada")).await;
    let bytes = told.weir.store().project_usage("demo").await.unwrap().bytes;
    let set = async |quota: i64| {
        told.weir.store().set_quota("demo", Some(quota), &tester()).await.unwrap();
        told.weir.store().record_shortages().await.unwrap();
        told.weir.store().record_shortages().await.unwrap();
        told.weir.settle().await;
    };
    set(bytes).await;
    assert_eq!(told.kinds(), ["quota.short"]);
    assert_eq!(document(&told.receiver.seen()[0])["data"]["state"], json!("short"));
    set(bytes * 100).await;
    set(bytes * 200).await;
    assert_eq!(told.kinds(), ["quota.short", "quota.enough"]);
    assert_eq!(told.boss.get("/p/demo/settings").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn c8_checks_that_are_overdue_are_told_of_once_and_so_is_their_end() {
    let told = Told::start().await;
    told.target(&["import.overdue", "import.on-time"]).await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    let spec = TagSpec { insecure: true, ..TagSpec::import(registry.reference("org/app:1")) };
    let names = ("base".parse().unwrap(), "1".parse().unwrap());
    told.weir.store().set_tag("demo", &names.0, &names.1, &spec, None, &tester()).await.unwrap();
    told.weir.settle().await;
    let look = async || {
        for _ in 0..2 {
            told.weir.store().record_overdue().await.unwrap();
        }
        told.weir.settle().await;
    };
    look().await;
    assert_eq!(told.kinds(), Vec::<String>::new(), "all is in time");
    // Its worker hangs: it is claimed, and never ends.
    told.weir
        .run_sql(
            "update tag_imports set next_at = 1, overdue_at = 2, lease_owner = 'stuck', lease_until = 9000000000000",
        )
        .await;
    assert_eq!(told.weir.store().count_all_overdue_imports().await.unwrap(), 1);
    look().await;
    assert_eq!(told.kinds(), ["import.overdue"]);
    let document = document(&told.receiver.seen()[0]);
    assert_eq!((&document["data"]["state"], &document["data"]["object"]), (&json!("overdue"), &json!("demo")));
    assert_eq!(document["data"]["reason"], json!("1 check not made in time"));
    assert!(document["data"]["link"].as_str().unwrap().ends_with("/p/demo/imports"), "{document}");
    let page = told.boss.get("/p/demo/streams/base/tags/1").await.text().await.unwrap();
    assert!(page.contains(">Overdue<"), "the tag's page says so, too: {page}");

    told.weir.run_sql("update tag_imports set lease_owner = null, lease_until = null").await;
    look().await;
    look().await;
    assert_eq!(told.kinds(), ["import.overdue", "import.on-time"]);
    assert_eq!(told.weir.store().count_all_overdue_imports().await.unwrap(), 0);
    let page = told.boss.get("/p/demo/streams/base/tags/1").await.text().await.unwrap();
    assert!(!page.contains(">Overdue<"), "{page}");
    told.weir.stop().await;
}
