//! What deleting leaves alone: histories, and what others still need.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use weir::model::{AppSpec, EventKind, GarbageKind, HoldUntil, Outcome, RetentionRule, RollbackMode, now};
use weir::server::hash::sha256;
use weir::server::store::{AppFields, Error, RollbackDepth, TagRollback};

use super::door::{Door, header, refused};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};

#[tokio::test]
async fn a_deleted_tag_leaves_its_image_and_its_history() {
    let (door, image) = (Door::open().await, TestImage::new("deleted"));
    door.push("demo/app", "old", &image).await;
    let tag = door.store.tag("demo", "app", "old").await.expect("a tag");
    assert_eq!(door.delete("demo/app/manifests/old").await.status(), 202);
    assert_eq!(door.get(&format!("demo/app/manifests/{}", image.digest())).await.status(), 200);
    for blob in [&image.config, &image.layer] {
        assert_eq!(door.head(&format!("demo/app/blobs/{}", sha256(blob))).await.status(), 200);
    }
    let history = door.store.list_history(&tag.id, None, 10).await.expect("its history");
    let outcomes: Vec<_> = history.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [Outcome::Deleted, Outcome::Moved]);
    door.push("demo/app", "old", &image).await;
    assert_eq!(door.history("app", "old").await.len(), 3, "and goes on when the tag is pushed again");
}

/// An image has as many names as it is given: taking one away takes nothing from the others.
#[tokio::test]
async fn b8_deleting_one_tag_of_an_image_leaves_its_other_tags() {
    let (door, image) = (Door::open().await, TestImage::new("twice"));
    for tag in ["one", "two"] {
        door.push("demo/app", tag, &image).await;
    }
    assert_eq!(door.delete("demo/app/manifests/one").await.status(), 202);
    assert_eq!(door.get("demo/app/manifests/one").await.status(), 404);
    let pulled = door.get("demo/app/manifests/two").await;
    assert_eq!(header(&pulled, "docker-content-digest"), image.digest().as_str());
    assert_eq!(pulled.bytes().await.expect("the manifest"), image.manifest);
    for blob in [&image.config, &image.layer] {
        let pulled = door.get(&format!("demo/app/blobs/{}", sha256(blob))).await;
        assert_eq!(&pulled.bytes().await.expect("the blob"), blob);
    }
    let outcomes = door.history("app", "two").await.iter().map(|row| row.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes, [Outcome::Moved], "nothing happened to the other");
}

#[tokio::test]
async fn a_deleted_tag_is_restored_to_the_image_it_had() {
    let (door, old, image) = (Door::open().await, TestImage::new("old"), TestImage::new("restored"));
    let restore = async |tag: &str| door.store.restore_tag("demo", "app", tag, Some("a slip"), &door.actor).await;
    for image in [&old, &image] {
        door.push("demo/app", "v1", image).await;
    }
    let early = restore("v1").await;
    assert!(matches!(&early, Err(Error::Conflict(why)) if why.contains("is not deleted")), "{early:?}");
    assert!(matches!(restore("none").await, Err(Error::NotFound { .. })));

    door.delete("demo/app/manifests/v1").await;
    let stream = door.store.stream("demo", "app").await.expect("the stream");
    let deleted = door.store.list_deleted_tags(&stream.id, "", 10).await.expect("the list");
    let told: Vec<_> =
        deleted.iter().map(|tag| (tag.name.as_str(), tag.digest.as_deref(), tag.actor.as_str())).collect();
    assert_eq!(told, [("v1", Some(image.digest().as_str()), "ada")]);
    restore("v1").await.expect("restored");
    let pulled = door.get("demo/app/manifests/v1").await;
    assert_eq!(header(&pulled, "docker-content-digest"), image.digest().as_str());
    let history = door.history("app", "v1").await;
    let first = &history[0];
    assert_eq!(
        (first.kind, first.outcome, first.reason.as_deref()),
        (EventKind::Restore, Outcome::Moved, Some("a slip"))
    );
    assert_eq!((first.to_number, history.len()), (Some(2), 4), "the history goes on");
    assert_eq!(door.store.list_deleted_tags(&stream.id, "", 10).await.expect("the list"), []);
}

#[tokio::test]
async fn a_tag_whose_image_is_gone_is_not_restored() {
    let (door, image) = (Door::open().await, TestImage::new("gone"));
    door.push("demo/app", "v1", &image).await;
    // The tag goes with its manifest, and comes back with it while the bytes are there.
    assert_eq!(door.delete(&format!("demo/app/manifests/{}", image.digest())).await.status(), 202);
    door.store.restore_tag("demo", "app", "v1", None, &door.actor).await.expect("restored");
    assert_eq!(door.get("demo/app/manifests/v1").await.status(), 200);
    door.delete("demo/app/manifests/v1").await;
    let pool = sqlx::AnyPool::connect(&door.database_url).await.expect("the database");
    let layer = sha256(&image.layer);
    let statement = "delete from blobs where digest = $1";
    sqlx::query(statement).bind(layer.as_str()).execute(&pool).await.expect("collected");
    match door.store.restore_tag("demo", "app", "v1", None, &door.actor).await {
        Err(Error::Conflict(why)) => {
            assert!(why.contains("cannot be restored") && why.contains(layer.as_str()), "{why}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(door.get("demo/app/manifests/v1").await.status(), 404);
}

#[tokio::test]
async fn a_deleted_manifest_comes_back_with_a_rollback() {
    let (door, first, second) = (Door::open().await, TestImage::new("first"), TestImage::new("second"));
    door.push("demo/app", "latest", &first).await;
    door.push("demo/app", "latest", &second).await;
    let by_digest = format!("demo/app/manifests/{}", first.digest());
    assert_eq!(door.delete(&by_digest).await.status(), 202);
    let blob = format!("demo/app/blobs/{}", sha256(&first.layer));
    assert_eq!(door.delete(&blob).await.status(), 202);
    assert_eq!(
        (door.get(&by_digest).await.status(), door.get(&blob).await.status()),
        (404.try_into().unwrap(), 404.try_into().unwrap())
    );
    let row = door.history("app", "latest").await.last().expect("a row").sequence;
    let back = TagRollback { mode: RollbackMode::Tag, ..TagRollback::to(row) };
    door.store.roll_back_tag("demo", "app", "latest", &back, &door.actor).await.expect("rolled back");
    let now = door.get("demo/app/manifests/latest").await;
    assert_eq!(header(&now, "docker-content-digest"), first.digest().as_str());
    assert_eq!(door.get(&blob).await.bytes().await.expect("the layer"), first.layer);
}

#[tokio::test]
async fn what_a_manifest_names_stays_as_long_as_it() {
    let (door, child) = (Door::open().await, TestImage::new("child"));
    door.push("demo/app", child.digest().as_str(), &child).await;
    let index = index_of(&[("amd64", &child)]);
    assert_eq!(door.put_manifest("demo/app", "latest", OCI_INDEX, &index).await.status(), 201);
    let message = refused(door.delete(&format!("demo/app/blobs/{}", sha256(&child.config))).await, 409, "DENIED").await;
    assert!(message.contains(child.digest().as_str()), "{message}");
    let path = format!("demo/app/manifests/{}", child.digest());
    let message = refused(door.delete(&path).await, 409, "DENIED").await;
    assert!(message.contains(sha256(&index).as_str()), "{message}");
    assert_eq!(door.get(&path).await.status(), 200, "a refusal changes nothing");
    assert_eq!(door.delete(&format!("demo/app/manifests/{}", sha256(&index))).await.status(), 202);
    assert_eq!(door.delete(&path).await.status(), 202);
    assert_eq!(door.delete(&format!("demo/app/blobs/{}", sha256(&child.config))).await.status(), 202);
}

async fn app(door: &Door) {
    let image = serde_json::from_value(json!({"project": "demo", "stream": "app", "tag": "latest"})).expect("a tag");
    let fields =
        AppFields { labels: "{}".into(), annotations: "{}".into(), spec: AppSpec::default(), image, automatic: true };
    door.store.create_app("demo", &"web".parse().unwrap(), &fields, &door.actor).await.expect("an app");
}

#[tokio::test]
async fn what_an_app_may_go_back_to_stays() {
    let door = Door::open().await;
    let images: Vec<_> = (0..7).map(|n| TestImage::new(&format!("version {n}"))).collect();
    for (n, image) in images.iter().enumerate() {
        door.push("demo/app", "latest", image).await;
        if n == 0 {
            app(&door).await;
        }
        door.store.request_ready_rollouts().await.expect("rolled out");
    }
    // The last five versions, and all of the last thirty days.
    for image in &images {
        let message =
            refused(door.delete(&format!("demo/app/manifests/{}", image.digest())).await, 409, "DENIED").await;
        assert!(message.contains("web"), "{message}");
        assert_eq!(door.get(&format!("demo/app/manifests/{}", image.digest())).await.status(), 200);
    }
}

#[tokio::test]
async fn what_an_app_goes_back_to_is_there_for_its_engine() {
    let (mut door, old, new) = (Door::open().await, TestImage::new("old"), TestImage::new("new"));
    door.push("demo/app", "latest", &old).await;
    app(&door).await;
    door.store.request_ready_rollouts().await.expect("rolled out");
    door.push("demo/app", "latest", &new).await;
    door.store.request_ready_rollouts().await.expect("rolled out");
    // Where less is kept, the older one may be deleted; its bytes rest for the grace.
    let stream = door.store.stream("demo", "app").await.expect("the stream");
    door.store = door.store.clone().keeping(RollbackDepth { versions: 1, days: 0 });
    assert!(door.store.delete_manifest(&stream, old.digest().as_str(), &door.actor).await.expect("deleted"));
    let path = format!("demo/app/manifests/{}", old.digest());
    assert_eq!(door.get(&path).await.status(), 404);
    door.store.roll_back_app("demo", "web", 1, None, HoldUntil::Resumed, &door.actor).await.expect("went back");
    assert_eq!(door.get(&path).await.status(), 200);
    for blob in [&old.config, &old.layer] {
        assert_eq!(door.get(&format!("demo/app/blobs/{}", sha256(blob))).await.status(), 200);
    }
}

#[tokio::test]
async fn who_may_push_and_asks_keeps_an_image_from_the_collector_and_who_may_only_pull_does_not() {
    let (door, image) = (Door::open().await, TestImage::new("unneeded"));
    let digest = image.digest();
    assert_eq!(door.push("demo/app", digest.as_str(), &image).await.status(), 201);
    let stream = door.store.stream("demo", "app").await.expect("the stream");
    // What came a moment ago is old, where there is no grace.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let moment = door.store.moment(now(), 0);
    let rule = RetentionRule { untagged_days: Some(0), ..RetentionRule::default() };
    door.store.set_retention(&stream, &rule, &moment, &door.actor).await.expect("a rule");
    door.store.mark_unneeded(GarbageKind::Manifest, &stream.id, &moment).await.expect("marked");
    let is_marked = async || door.store.is_marked(&stream.id, digest.as_str()).await.expect("asked");
    assert!(is_marked().await, "no tag leads to it");

    let path = format!("demo/app/manifests/{digest}");
    let viewer = door.token_of("vic").await;
    // Twice, as the second answer comes from memory.
    for _ in 0..2 {
        let asked = door.anonymous(Method::HEAD, &path).bearer_auth(&viewer).send().await.expect("an answer");
        assert_eq!((asked.status().as_u16(), is_marked().await), (200, true));
    }
    assert_eq!(door.head(&path).await.status(), 200);
    assert!(!is_marked().await, "a push may rely on it now");
}
