//! What deleting leaves alone: histories, and what others still need.

use serde_json::json;
use weir::model::{AppSpec, Outcome, RollbackMode};
use weir::server::hash::sha256;
use weir::server::store::{AppFields, TagRollback};

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
    let back = TagRollback { to: row, mode: RollbackMode::Tag, reason: None, seen: None, reject: true };
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

#[tokio::test]
async fn what_an_app_may_go_back_to_stays() {
    let (door, old, new) = (Door::open().await, TestImage::new("old"), TestImage::new("new"));
    door.push("demo/app", "latest", &old).await;
    let image = serde_json::from_value(json!({"project": "demo", "stream": "app", "tag": "latest"})).expect("a tag");
    let fields =
        AppFields { labels: "{}".into(), annotations: "{}".into(), spec: AppSpec::default(), image, automatic: true };
    door.store.create_app("demo", &"web".parse().unwrap(), &fields, &door.actor).await.expect("an app");
    door.store.request_ready_rollouts().await.expect("rolled out");
    door.push("demo/app", "latest", &new).await;
    door.store.request_ready_rollouts().await.expect("rolled out");
    for image in [&old, &new] {
        let message =
            refused(door.delete(&format!("demo/app/manifests/{}", image.digest())).await, 409, "DENIED").await;
        assert!(message.contains("web"), "{message}");
        assert_eq!(door.get(&format!("demo/app/manifests/{}", image.digest())).await.status(), 200);
    }
}
