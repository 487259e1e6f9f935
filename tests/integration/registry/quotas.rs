//! Quotas at the door: what does not fit is refused with words, and leaves nothing behind.

use axum::http::Method;
use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::Response;
use serde_json::Value;
use weir::model::ProjectUsage;
use weir::server::blobs::{Blobs as _, Filesystem};
use weir::server::hash::sha256;

use super::door::{Door, refused};
use crate::upstreams::images::TestImage;

const FULL: &str = "the project demo may hold 10.0 kB and holds 9.0 kB: delete images or ask for a larger quota";

async fn usage(door: &Door) -> ProjectUsage {
    door.store.project_usage("demo").await.expect("figures")
}

/// Neither the blob's bytes nor an upload are on the disk.
async fn leaves_nothing(door: &Door, bytes: &Bytes) {
    let blobs = Filesystem::open(door.directory.path().join("blobs")).await.expect("the blobs");
    assert_eq!(blobs.size(&sha256(bytes)).await.expect("looked"), None);
    assert_eq!(blobs.uploads().count().await, 0);
}

fn of_size(size: usize, fill: u8) -> Bytes {
    Bytes::from(vec![fill; size])
}

/// A door whose project may hold 10 kB and holds 9 kB.
async fn nearly_full() -> Door {
    let door = Door::open().await;
    door.store.set_quota("demo", Some(10_000), &door.actor).await.expect("a quota");
    door.put_blob("demo/app", &of_size(9000, 1)).await;
    door
}

async fn in_two_steps(door: &Door, repository: &str, bytes: &Bytes) -> Response {
    let upload = door.begin(repository).await;
    let patch = door.request(Method::PATCH, &upload).body(bytes.clone()).send().await.expect("an answer");
    assert_eq!(patch.status(), 202);
    let put = door.request(Method::PUT, &format!("{upload}?digest={}", sha256(bytes)));
    put.send().await.expect("an answer")
}

#[tokio::test]
async fn what_does_not_fit_is_refused_however_it_comes() {
    let door = nearly_full().await;
    let large = of_size(1001, 2);
    let once = format!("demo/app/blobs/uploads/?digest={}", sha256(&large));
    let once = door.request(Method::POST, &once).body(large.clone()).send().await.expect("an answer");
    assert_eq!(refused(once, 403, "DENIED").await, FULL);
    leaves_nothing(&door, &large).await;
    let twice = in_two_steps(&door, "demo/new", &large).await;
    let body: Value = twice.json().await.expect("JSON");
    insta::assert_json_snapshot!("beyond_the_quota", body);
    leaves_nothing(&door, &large).await;

    // What other projects have costs like anything else.
    door.store.grant_role("other", "ada", weir::model::Role::Editor, &door.actor).await.expect("a role");
    door.put_blob("other/app", &large).await;
    let mount = format!("demo/app/blobs/uploads/?mount={}&from=other/app", sha256(&large));
    let mount = door.request(Method::POST, &mount).send().await.expect("an answer");
    assert_eq!(refused(mount, 403, "DENIED").await, FULL);
    assert_eq!(usage(&door).await, ProjectUsage { bytes: 9000, own_bytes: 9000, quota_bytes: Some(10_000) });

    // What the project has already costs nothing in its other streams; the last byte may be used.
    assert_eq!(in_two_steps(&door, "demo/new", &of_size(9000, 1)).await.status(), 201);
    door.put_blob("demo/new", &of_size(1000, 3)).await;
    assert_eq!(usage(&door).await.bytes, 10_000);
    let begun = door.request(Method::POST, "demo/new/blobs/uploads/").send().await.expect("an answer");
    assert!(refused(begun, 403, "DENIED").await.contains("holds 10.0 kB"), "no byte need be sent");

    // Room comes back with what is deleted.
    let deleted = door.delete(&format!("demo/new/blobs/{}", sha256(&of_size(1000, 3)))).await;
    assert_eq!(deleted.status(), 202);
    door.put_blob("demo/new", &of_size(1000, 4)).await;
}

#[tokio::test]
async fn a_manifest_has_to_fit_and_a_tag_stays_where_it_is() {
    let door = Door::open().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    assert_eq!(door.push("demo/app", "1", &one).await.status(), 201);
    for blob in [&two.config, &two.layer] {
        door.put_blob("demo/app", blob).await;
    }
    let holds = usage(&door).await.bytes;
    let expected = [&one.config, &one.layer, &one.manifest, &two.config, &two.layer].map(|part| part.len() as i64);
    assert_eq!(holds, expected.iter().sum::<i64>());
    door.store.set_quota("demo", Some(holds + 1), &door.actor).await.expect("a quota");
    let put = door.put_manifest("demo/app", "1", two.media_type, &two.manifest).await;
    assert!(refused(put, 403, "DENIED").await.starts_with("the project demo may hold"));
    assert_eq!(door.history("app", "1").await.len(), 1);
    assert_eq!(door.get("demo/app/manifests/1").await.bytes().await.expect("the manifest"), one.manifest);
    let again = door.put_manifest("demo/app", "2", one.media_type, &one.manifest).await;
    assert_eq!(again.status(), 201, "what is there already may have another tag");
}

#[tokio::test]
async fn of_many_at_once_only_those_pass_that_fit() {
    let door = nearly_full().await;
    let sends = (0..8u8).map(|n| {
        let door = &door;
        async move { in_two_steps(door, "demo/app", &of_size(400, 10 + n)).await.status().as_u16() }
    });
    let mut answers = futures_util::future::join_all(sends).await;
    answers.sort_unstable();
    assert_eq!(answers, [201, 201, 403, 403, 403, 403, 403, 403]);
    assert_eq!(usage(&door).await.bytes, 9800);
    assert_eq!(door.store.list_usage_faults().await.expect("counted"), []);
}

#[tokio::test]
async fn a_quota_that_is_lowered_meets_what_is_under_way_and_takes_nothing_away() {
    let door = nearly_full().await;
    let blob = of_size(500, 7);
    let begun = door.request(Method::POST, "demo/app/blobs/uploads/").send().await.expect("an answer");
    assert_eq!(begun.status(), 202);
    let upload = begun.headers()["location"].to_str().expect("an address").trim_start_matches("/v2/").to_owned();
    let sent = door.request(Method::PATCH, &upload).body(blob.clone()).send().await.expect("an answer");
    assert_eq!(sent.status(), 202);
    door.store.set_quota("demo", Some(8000), &door.actor).await.expect("a smaller quota");
    let upload = sent.headers()["location"].to_str().expect("an address").trim_start_matches("/v2/").to_owned();
    let ended = format!("{upload}{}digest={}", if upload.contains('?') { '&' } else { '?' }, sha256(&blob));
    let refused_end = door.request(Method::PUT, &ended).send().await.expect("an answer");
    assert!(refused(refused_end, 403, "DENIED").await.starts_with("the project demo may hold 8.0 kB"));
    assert_eq!(usage(&door).await, ProjectUsage { bytes: 9000, own_bytes: 9000, quota_bytes: Some(8000) });
    assert_eq!(door.get(&format!("demo/app/blobs/{}", sha256(&of_size(9000, 1)))).await.status(), 200, "it stays");
}

#[tokio::test]
async fn section_5_2_beyond_a_limit_a_push_is_denied_with_words() {
    let door = Door::open().await;
    let limits = weir::model::ProjectLimits { stream_images: Some(1), ..weir::model::ProjectLimits::default() };
    door.store.set_project_limits("demo", &limits, &door.actor).await.expect("limits");
    assert_eq!(door.push("demo/app", "1", &TestImage::new("one")).await.status(), 201);
    let two = TestImage::new("two");
    let response = door.push("demo/app", "1", &two).await;
    assert_eq!(
        refused(response, 403, "DENIED").await,
        "the stream demo/app may have 1 different image in the histories of its tags: delete tags or ask for a larger limit"
    );
}
