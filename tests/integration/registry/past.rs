//! Pulling a tag as it was: `<tag>--asof-YYYYMMDDTHHMMZ`.

use sqlx::AnyPool;
use weir::model::rfc3339;

use super::door::{Door, header, refused};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

/// 2025-11-01T14:00:00Z
const TWO_O_CLOCK: i64 = 1_762_005_600_000;
const MINUTE: i64 = 60_000;

/// Says when the rows of a tag's history are from, oldest first, in milliseconds after two o'clock.
async fn set_times(door: &Door, tag: &str, times: &[i64]) {
    let (id,): (String,) = {
        let pool = pool(door).await;
        let found = sqlx::query_as("select id from tags where name = $1").bind(tag).fetch_one(&pool).await;
        found.expect("the tag")
    };
    let pool = pool(door).await;
    for (number, at) in (1_i64..).zip(times) {
        let statement = "update tag_events set at = $3, sorted_at = $3 where tag_id = $1 and number = $2";
        let set = sqlx::query(statement).bind(&id).bind(number).bind(TWO_O_CLOCK + at).execute(&pool).await;
        assert_eq!(set.expect("set").rows_affected(), 1, "row {number} of {tag}");
    }
}

async fn pool(door: &Door) -> AnyPool {
    AnyPool::connect(&door.database_url).await.expect("the database")
}

fn at(tag: &str, minute: i64) -> String {
    let time: String = rfc3339(TWO_O_CLOCK + minute * MINUTE).replace(['-', ':'], "");
    format!("demo/app/manifests/{tag}--asof-{}Z", &time[..13])
}

#[tokio::test]
async fn a_tag_is_pulled_as_it_was() {
    let door = Door::open().await;
    let (one, two, three) = (TestImage::new("one"), TestImage::new("two"), TestImage::new("three"));
    for image in [&one, &two, &one] {
        door.push("demo/app", "latest", image).await;
    }
    door.delete("demo/app/manifests/latest").await;
    door.push("demo/app", "latest", &three).await;
    // Moved at 14:00:00, 14:05:30 and 14:05:59.999, deleted at 14:10:00, moved again at 14:20:00.
    let times = [0, 5 * MINUTE + 30_000, 6 * MINUTE - 1, 10 * MINUTE, 20 * MINUTE];
    set_times(&door, "latest", &times).await;
    assert_eq!(at("latest", 5), "demo/app/manifests/latest--asof-20251101T1405Z");
    for (minute, image) in [(0, &one), (4, &one), (5, &one), (6, &one), (9, &one), (20, &three), (600, &three)] {
        let path = at("latest", minute);
        let (head, get) = (door.head(&path).await, door.get(&path).await);
        for answer in [&head, &get] {
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(header(answer, "docker-content-digest"), image.digest().as_str(), "{path}");
            assert_eq!(header(answer, "content-type"), OCI_MANIFEST);
        }
        assert_eq!(get.bytes().await.expect("the manifest"), image.manifest, "{path}");
    }
    set_times(&door, "latest", &[0, 5 * MINUTE + 30_000, 6 * MINUTE]).await;
    let five = door.head(&at("latest", 5)).await;
    assert_eq!(header(&five, "docker-content-digest"), two.digest().as_str(), "a minute is read at its end");
    for (minute, why) in [(-1, "had no image then"), (10, "was deleted then"), (19, "was deleted then")] {
        let message = refused(door.get(&at("latest", minute)).await, 404, "MANIFEST_UNKNOWN").await;
        assert!(message.contains("demo/app:latest") && message.contains(why), "{minute}: {message}");
        assert_eq!(door.head(&at("latest", minute)).await.status(), 404);
    }
}

#[tokio::test]
async fn a_tag_deleted_since_is_pulled_as_it_was() {
    let (door, image) = (Door::open().await, TestImage::new("gone"));
    door.push("demo/app", "old", &image).await;
    door.delete("demo/app/manifests/old").await;
    set_times(&door, "old", &[0, 10 * MINUTE]).await;
    let pulled = door.get(&at("old", 3)).await;
    assert_eq!(pulled.bytes().await.expect("the manifest"), image.manifest);
    assert_eq!(door.delete(&format!("demo/app/manifests/{}", image.digest())).await.status(), 202);
    let message = refused(door.get(&at("old", 3)).await, 404, "MANIFEST_UNKNOWN").await;
    assert!(message.contains(image.digest().as_str()) && message.contains("does not have any more"), "{message}");
}

#[tokio::test]
async fn there_is_no_future_and_no_such_minute() {
    let (door, image) = (Door::open().await, TestImage::new("now"));
    door.push("demo/app", "latest", &image).await;
    let now = rfc3339(weir::model::now()).replace(['-', ':'], "");
    for minute in [&now[..13], "29991231T2359"] {
        let future = door.get(&format!("demo/app/manifests/latest--asof-{minute}Z")).await;
        let message = refused(future, 404, "MANIFEST_UNKNOWN").await;
        assert!(message.contains("that minute is not over"), "{message}");
    }
    for name in ["latest--asof-20261301T1400Z", "latest--asof-yesterday", "latest--asof-20261101T140000Z"] {
        let message = refused(door.get(&format!("demo/app/manifests/{name}")).await, 404, "MANIFEST_UNKNOWN").await;
        assert!(message.contains("YYYYMMDDTHHMMZ"), "{message}");
    }
    refused(door.get("demo/app/manifests/none--asof-20261101T1400Z").await, 404, "MANIFEST_UNKNOWN").await;
}

#[tokio::test]
async fn nobody_pushes_into_the_past() {
    let (door, image) = (Door::open().await, TestImage::new("past"));
    for name in ["latest--asof-20261101T1403Z", "latest--asof-x"] {
        let message = refused(door.push("demo/app", name, &image).await, 400, "MANIFEST_INVALID").await;
        assert!(message.contains(name) && message.contains("choose another name"), "{message}");
        let by_query = format!("{}?tag={name}", image.digest());
        let put = door.put_manifest("demo/app", &by_query, OCI_MANIFEST, &image.manifest).await;
        refused(put, 400, "MANIFEST_INVALID").await;
        refused(door.delete(&format!("demo/app/manifests/{name}")).await, 404, "MANIFEST_UNKNOWN").await;
    }
    let tags = door.get("demo/app/tags/list").await;
    assert!(tags.text().await.expect("a list").contains("\"tags\":[]"));
}
