//! Pulling a tag as it was: `<tag>--asof-YYYYMMDDTHHMMZ`.

use sqlx::AnyPool;
use weir::model::{SourceKind, rfc3339};
use weir::server::store::TagSpec;

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

/// `demo/app` with `old` until a deletion at 14:10 and `new` from 14:05 on, and `demo/young` of today.
async fn listed_door() -> Door {
    let door = Door::open().await;
    for (repository, tag) in [("demo/app", "old"), ("demo/app", "new"), ("demo/app", "b"), ("demo/young", "1")] {
        door.push(repository, tag, &TestImage::new(tag)).await;
    }
    door.delete("demo/app/manifests/old").await;
    set_times(&door, "old", &[0, 10 * MINUTE]).await;
    set_times(&door, "new", &[5 * MINUTE]).await;
    set_times(&door, "b", &[0]).await;
    let made = sqlx::query("update streams set created_at = $1 where name = 'app'").bind(TWO_O_CLOCK);
    made.execute(&pool(&door).await).await.expect("set");
    door
}

fn moment(minute: i64) -> String {
    rfc3339(TWO_O_CLOCK + minute * MINUTE)[..16].to_owned()
}

async fn list(door: &Door, path: &str) -> (serde_json::Value, String) {
    let answer = door.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    let link = header(&answer, "link");
    (answer.json().await.expect("a list"), link)
}

#[tokio::test]
async fn lists_are_of_the_moment_and_never_of_now() {
    let door = listed_door().await;
    let tags = async |minute: i64| {
        let (list, _) = list(&door, &format!("demo/app/tags/list?as_of={}Z", moment(minute))).await;
        assert_eq!(list["name"], "demo/app");
        list["tags"]
            .as_array()
            .expect("tags")
            .iter()
            .map(|tag| tag.as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(1).await, ["b", "old"]);
    assert_eq!(tags(6).await, ["b", "new", "old"]);
    assert_eq!(tags(11).await, ["b", "new"]);
    let (first, link) = list(&door, &format!("demo/app/tags/list?n=2&as-of={}", moment(6))).await;
    assert_eq!(first["tags"], serde_json::json!(["b", "new"]));
    let next = link.strip_prefix("</v2/").and_then(|link| link.split_once('>')).expect("a link").0.to_owned();
    assert!(next.contains("as_of="), "{next}");
    assert_eq!(list(&door, &next).await.0["tags"], serde_json::json!(["old"]));

    let catalog = format!("_catalog?as_of={}", moment(6));
    assert_eq!(list(&door, &catalog).await.0["repositories"], serde_json::json!(["demo/app"]));
    let before = list(&door, &format!("_catalog?as_of={}", moment(-2))).await.0;
    assert_eq!(before["repositories"], serde_json::json!([]));
    assert_eq!(list(&door, "_catalog").await.0["repositories"], serde_json::json!(["demo/app", "demo/young"]));

    // A repository that was deleted since is there, and its tags are.
    door.store.delete_stream("demo", "app", &door.actor).await.expect("deleted");
    assert_eq!(tags(6).await, ["b", "new", "old"]);
    assert_eq!(list(&door, &catalog).await.0["repositories"], serde_json::json!(["demo/app"]));
    let young = door.get(&format!("demo/young/tags/list?as_of={}", moment(6))).await;
    let message = refused(young, 404, "NAME_UNKNOWN").await;
    assert!(message.contains("had no stream \"young\" at"), "{message}");
}

#[tokio::test]
async fn what_only_named_an_image_then_is_neither_pulled_nor_listed() {
    let (door, image) = (Door::open().await, TestImage::new("named"));
    door.push("demo/app", "latest", &image).await;
    let follow = TagSpec { source: Some((SourceKind::ImageStreamTag, "latest".into())), ..TagSpec::default() };
    let bare = TagSpec { reference_only: true, scheduled: false, ..TagSpec::import("c.io/x:1") };
    for (tag, spec) in [("follower", follow), ("latest", bare)] {
        let (stream, tag) = ("app".parse().expect("a name"), tag.parse().expect("a name"));
        door.store.set_tag("demo", &stream, &tag, &spec, None, &door.actor).await.expect("set");
    }
    for tag in ["latest", "follower"] {
        set_times(&door, tag, &[0]).await;
    }
    let pool = pool(&door).await;
    for (row, minute) in [
        ("update streams set created_at = $1", 0),
        ("update ledger set at = $1, sorted_at = $1 where action = 'tag.refer'", 5),
    ] {
        sqlx::query(row).bind(TWO_O_CLOCK + minute * MINUTE).execute(&pool).await.expect("set");
    }
    assert_eq!(door.head(&at("follower", 3)).await.status(), 200);
    let message = refused(door.get(&at("follower", 6)).await, 404, "MANIFEST_UNKNOWN").await;
    assert!(message.contains("demo/app:follower only named c.io/x:1 then"), "{message}");
    for (minute, tags) in [(3, vec!["follower", "latest"]), (6, vec!["latest"])] {
        let (list, _) = list(&door, &format!("demo/app/tags/list?as_of={}Z", moment(minute))).await;
        assert_eq!(list["tags"], serde_json::json!(tags));
    }
}

#[tokio::test]
async fn what_is_no_list_of_the_past_is_refused() {
    let door = listed_door().await;
    for (query, words) in [
        ("as_of=yesterday", "is no moment"),
        ("as-of=now", "is no moment"),
        ("as_of=2999-01-01T00:00Z", "is not over yet"),
    ] {
        for path in ["demo/app/tags/list", "_catalog"] {
            let message = refused(door.get(&format!("{path}?{query}")).await, 400, "UNSUPPORTED").await;
            assert!(message.contains(words), "{path}?{query}: {message}");
        }
    }
    let digest = TestImage::new("new").digest();
    for path in ["manifests/new".to_owned(), format!("manifests/{digest}"), format!("referrers/{digest}")] {
        let answer = door.get(&format!("demo/app/{path}?as_of={}", moment(6))).await;
        let message = refused(answer, 400, "UNSUPPORTED").await;
        assert!(message.contains("<tag>--asof-YYYYMMDDTHHMMZ"), "{path}: {message}");
    }
}
