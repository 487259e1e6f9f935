//! Sections 3.6 and 3.7: what becomes of a tag's history, and tags that follow tags.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;

use super::super::{Rest, digest, images, own};
use super::{cause, following, spec_of};
use crate::support::tester;

#[tokio::test]
async fn section_3_6_a_history_grows_by_what_is_different_from_its_newest_image() {
    let rest = Rest::start().await;
    for (number, (pushed, items)) in [
        (vec![1], vec![1]),
        (vec![1, 1], vec![1]),
        (vec![1, 2], vec![2, 1]),
        (vec![1, 2, 2, 2], vec![2, 1]),
        (vec![1, 2, 1], vec![1, 2, 1]),
        (vec![1, 2, 3, 2, 3], vec![3, 2, 3, 2, 1]),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = format!("app{number}");
        for image in &pushed {
            rest.push(&stream, "t", *image).await;
        }
        let expected: Vec<String> = items.into_iter().map(digest).collect();
        assert_eq!(rest.items(&stream, "t").await, expected, "{pushed:?}");
    }
}

#[tokio::test]
async fn section_3_6_the_same_image_again_keeps_the_time_it_first_came() {
    let rest = Rest::start().await;
    rest.push("app", "t", 1).await;
    let first = rest.ada.get_json(&images("imagestreams/app")).await;
    rest.push("app", "t", 1).await;
    let again = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(again["status"]["tags"], first["status"]["tags"]);
    assert_eq!(again["metadata"]["generation"], first["metadata"]["generation"], "section 5: a push specifies nothing");
}

#[tokio::test]
async fn section_3_6_what_comes_to_the_same_again_is_counted_on_its_row() {
    let rest = Rest::start().await;
    for image in [1, 1, 2, 2, 2] {
        rest.push("app", "t", image).await;
    }
    let history = "/weir/v1/projects/demo/streams/app/tags/t";
    rest.expect(StatusCode::OK, Method::POST, &format!("{history}/hold"), &json!({})).await;
    for _ in 0..3 {
        rest.push("app", "t", 3).await;
    }
    let rows = rest.ada.get_json(&format!("{history}/history")).await;
    let rows: Vec<_> = rows["items"].as_array().unwrap().iter().map(|row| (&row["outcome"], &row["repeats"])).collect();
    let (moved, held) = (json!("moved"), json!("held"));
    assert_eq!(rows, [(&held, &json!(2)), (&moved, &json!(2)), (&moved, &json!(1))]);
    let page = rest.ada.get("/p/demo/streams/app/tags/t").await.text().await.unwrap();
    assert!(page.contains("2 more times, last ") && page.contains("1 more time, last "), "{page}");
}

#[tokio::test]
async fn section_3_7_all_that_follow_directly_or_not_get_each_move_once() {
    let rest = Rest::start().await;
    rest.push("base", "a", 1).await;
    rest.edit("base", |stream| {
        stream["spec"]["tags"] =
            json!([following("b", "a"), following("c", "base:b"), following("d", "c"), following("e", "a")]);
    })
    .await;
    rest.make("other", json!([following("x", "base:d"), following("y", "x")])).await;
    let followers = [("base", "b"), ("base", "c"), ("base", "d"), ("base", "e"), ("other", "x"), ("other", "y")];
    for image in [2, 3, 3] {
        rest.push("base", "a", image).await;
        for (stream, tag) in followers {
            assert_eq!(rest.items(stream, tag).await.first(), Some(&digest(image)), "{stream}:{tag} after {image}");
        }
    }
    for (stream, tag) in followers {
        assert_eq!(
            rest.items(stream, tag).await,
            [digest(3), digest(2), digest(1)],
            "{stream}:{tag}: one row for each"
        );
    }
}

#[tokio::test]
async fn section_3_7_circles_are_refused_with_their_path() {
    let rest = Rest::start().await;
    rest.make("app", json!([following("b", "a"), following("c", "b")])).await;
    for (tag, source, path) in [
        ("a", "a", "app:a → app:a"),
        ("a", "b", "app:a → app:b → app:a"),
        ("a", "app:c", "app:a → app:c → app:b → app:a"),
    ] {
        let name = format!("imagestreamtags/app:{tag}");
        let body = json!({"metadata": {"name": format!("app:{tag}")}, "tag": following(tag, source)});
        let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &images(&name), &body).await;
        let (field, words) = cause(&refused);
        assert_eq!(field, format!("spec.tags[{tag}].from.name"));
        assert_eq!(words, format!("the tags would follow each other in a circle: {path}"));
    }
}

#[tokio::test]
async fn section_3_7_a_source_that_is_deleted_leaves_what_followed_it_and_goes_on_when_it_is_back() {
    let rest = Rest::start().await;
    rest.push("base", "a", 1).await;
    rest.make("app", json!([following("t", "base:a")])).await;
    rest.delete(&images("imagestreamtags/base:a")).await;
    assert_eq!(rest.items("app", "t").await, [digest(1)]);
    rest.push("base", "a", 2).await;
    assert_eq!(rest.items("app", "t").await, [digest(2), digest(1)]);
}

#[tokio::test]
async fn section_3_7_a_tag_that_follows_may_be_pushed_to_until_its_source_moves() {
    let rest = Rest::start().await;
    rest.push("base", "a", 1).await;
    let made = rest.make("app", json!([following("t", "base:a")])).await;
    rest.push("app", "t", 2).await;
    let pushed = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(spec_of(&pushed, "t"), spec_of(&made, "t"), "what it should be is as before");
    rest.push("base", "a", 3).await;
    assert_eq!(rest.items("app", "t").await, [3, 2, 1].map(digest));
}

#[tokio::test]
async fn section_3_7b_latest_follows_what_it_is_told_and_a_pin_is_a_way_back() {
    let rest = Rest::start().await;
    rest.push("app", "3.5", 1).await;
    rest.push("app", "3.6", 2).await;
    let latest = |from: Value| json!({"metadata": {"name": "app:latest"}, "tag": {"name": "latest", "from": from}});
    let path = images("imagestreamtags/app:latest");
    let alias = |tag: &str| latest(json!({"kind": "ImageStreamTag", "name": tag}));
    rest.expect(StatusCode::CREATED, Method::PUT, &path, &alias("3.5")).await;
    rest.expect(StatusCode::OK, Method::PUT, &path, &alias("3.6")).await;
    rest.push("app", "3.5", 3).await;
    assert_eq!(rest.items("app", "latest").await, [2, 1].map(digest), "it follows the new one alone");
    let pin = latest(json!({"kind": "ImageStreamImage", "name": format!("app@{}", digest(1))}));
    rest.expect(StatusCode::OK, Method::PUT, &path, &pin).await;
    rest.push("app", "3.6", 4).await;
    assert_eq!(rest.items("app", "latest").await, [1, 2, 1].map(digest), "and a pin stays");
    let history = rest.ada.get_json(&own("streams/app/tags/latest/history")).await;
    assert_eq!(history["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn section_3_7_a_source_whose_stream_went_is_followed_again_when_it_is_back() {
    let rest = Rest::start().await;
    let store = rest.weir.store();
    store.grant_role("demo", "ada", Role::Admin, &tester()).await.unwrap();
    rest.push("base", "a", 1).await;
    rest.make("app", json!([following("t", "base:a"), following("u", "t")])).await;
    rest.delete(&images("imagestreams/base")).await;
    assert_eq!(rest.items("app", "t").await, [digest(1)]);
    // What is about something else goes on meanwhile: the source is not looked up again, and its absence is told by its name.
    let path = images("imagestreamtags/app:t");
    let noted = json!({"metadata": {"name": "app:t", "annotations": {"a": "b"}}});
    rest.expect(StatusCode::OK, Method::PUT, &path, &noted).await;
    let again =
        |tag: &str, source: &str| json!({"metadata": {"name": format!("app:{tag}")}, "tag": following(tag, source)});
    let behind = images("imagestreamtags/app:v");
    rest.expect(StatusCode::CREATED, Method::PUT, &behind, &again("v", "t")).await;
    let refused =
        rest.expect(StatusCode::NOT_FOUND, Method::PUT, &images("imagestreamtags/app:w"), &again("w", "base:a")).await;
    assert_eq!((&refused["details"]["kind"], &refused["details"]["name"]), (&json!("imagestreams"), &json!("base")));

    rest.push("base", "a", 2).await;
    for tag in ["t", "u", "v"] {
        assert_eq!(rest.items("app", tag).await, [digest(2), digest(1)], "{tag}");
    }
    // The same over projects: `far/app:t` follows `demo/base:a`.
    let eve = rest.weir.user("eve", "far", Role::Admin).await;
    store.grant_role("demo", "eve", Role::Viewer, &tester()).await.unwrap();
    let mut follow = following("t", "base:a");
    follow["from"]["namespace"] = json!("demo");
    let body = json!({"metadata": {"name": "app"}, "spec": {"tags": [follow]}});
    let far = "/apis/image.openshift.io/v1/namespaces/far/imagestreams";
    eve.post_json(far, &body, StatusCode::CREATED).await;
    let newest = async || eve.get_json(&format!("{far}/app")).await["status"]["tags"][0]["items"][0]["image"].clone();
    rest.delete(&images("imagestreams/base")).await;
    rest.push("base", "a", 3).await;
    assert_eq!(newest().await, digest(3));
    // Another project of the same name is not what somebody was allowed to follow.
    store.delete_project("demo", &tester()).await.unwrap();
    rest.weir.make_project("demo").await;
    rest.push("base", "a", 4).await;
    assert_eq!(newest().await, digest(3));
}

#[tokio::test]
async fn section_3_7_circles_count_as_they_are_in_the_end() {
    let rest = Rest::start().await;
    rest.push("app", "z", 1).await;
    rest.push("app", "z", 2).await;
    rest.make("base", json!([])).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("b", "a"), following("a", "z")])).await;
    // a → b, and b somewhere else: what was before is no part of it, and what is refused is refused whole.
    let pinned = |name: &str, n: u8| json!({"name": name, "from": {"kind": "ImageStreamImage", "name": format!("app@{}", digest(n))}});
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("a", "b"), pinned("b", 1)])).await;
    assert_eq!(rest.items("app", "a").await, [digest(1), digest(2)], "it took what its source has now, once");
    // Both at once, through a tag of another stream that is not touched.
    rest.edit("base", |stream| stream["spec"]["tags"] = json!([following("m", "app:y")])).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("a", "base:m"), pinned("y", 2)])).await;
    assert_eq!(rest.items("app", "a").await, [digest(2), digest(1), digest(2)]);
    assert_eq!(rest.items("app", "y").await, [digest(2)]);

    let path = images("imagestreams/app");
    let mut circle = rest.ada.get_json(&path).await;
    let before = circle.clone();
    circle["spec"]["tags"] = json!([following("a", "b"), following("b", "c"), following("c", "a")]);
    let refused = rest.expect(StatusCode::UNPROCESSABLE_ENTITY, Method::PUT, &path, &circle).await;
    assert!(cause(&refused).1.starts_with("the tags would follow each other in a circle: "), "{refused:#}");
    assert_eq!(rest.ada.get_json(&path).await, before);
    let new = json!({"metadata": {"name": "new"}, "spec": {"tags": [following("a", "b"), following("b", "app:z")]}});
    rest.post(StatusCode::CREATED, &images("imagestreams"), &new).await;
    for tag in ["a", "b"] {
        assert_eq!(rest.items("new", tag).await, [digest(2)], "{tag}");
    }
}

#[tokio::test]
async fn section_3_7_what_is_written_together_moves_each_tag_once() {
    let rest = Rest::start().await;
    for image in [1, 2, 3] {
        rest.push("app", "z", image).await;
    }
    let pinned =
        |n: u8| json!({"name": "b", "from": {"kind": "ImageStreamImage", "name": format!("app@{}", digest(n))}});
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([pinned(1), following("a", "z"), following("c", "a")]))
        .await;
    rest.expect(StatusCode::OK, Method::POST, &own("streams/app/tags/a/hold"), &json!({})).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("a", "b"), pinned(2), following("c", "a")]))
        .await;
    for (tag, expected) in [("a", vec![2, 3]), ("b", vec![2, 1]), ("c", vec![2, 3])] {
        assert_eq!(rest.items("app", tag).await, expected.into_iter().map(digest).collect::<Vec<_>>(), "{tag}");
        let history = rest.ada.get_json(&own(&format!("streams/app/tags/{tag}/history"))).await;
        assert_eq!(history["items"].as_array().unwrap().len(), 2, "{tag}: one row for each write");
    }
}

#[tokio::test]
async fn section_3_7_a_source_whose_spec_is_taken_back_and_set_again_goes_on() {
    let rest = Rest::start().await;
    rest.push("app", "z", 1).await;
    rest.push("app", "z", 2).await;
    let pinned =
        |n: u8| json!({"name": "s", "from": {"kind": "ImageStreamImage", "name": format!("app@{}", digest(n))}});
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([pinned(1), following("t", "s")])).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("t", "s")])).await;
    assert_eq!(rest.items("app", "s").await, [digest(1)], "its history stays");
    assert_eq!(rest.items("app", "t").await, [digest(1)], "and what follows it is as it was");
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([pinned(2), following("t", "s")])).await;
    assert_eq!(rest.items("app", "s").await, [digest(2), digest(1)]);
    assert_eq!(rest.items("app", "t").await, [digest(2), digest(1)]);
}

#[tokio::test]
async fn section_3_7b_a_tag_deleted_as_a_tag_begins_anew_and_with_its_spec_alone_goes_on() {
    let rest = Rest::start().await;
    for (tag, image) in [("t", 1), ("t", 2), ("u", 1), ("u", 2), ("z", 3)] {
        rest.push("app", tag, image).await;
    }
    let pinned = |name: &str| json!({"name": name, "from": {"kind": "ImageStreamTag", "name": "z"}});
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([{"name": "u"}])).await;
    rest.delete(&images("imagestreamtags/app:t")).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([])).await;
    assert_eq!(rest.items("app", "t").await, Vec::<String>::new());
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([pinned("t"), pinned("u")])).await;
    assert_eq!(rest.items("app", "t").await, [digest(3)], "empty, and then what it is now");
    assert_eq!(rest.items("app", "u").await, [3, 2, 1].map(digest));
}

#[tokio::test]
async fn section_3_4_a_tag_that_follows_leaves_its_sources_generation() {
    let rest = Rest::start().await;
    rest.push("app", "s", 1).await;
    let before = rest.ada.get_json(&images("imagestreams/app")).await;
    rest.edit("app", |stream| stream["spec"]["tags"] = json!([following("t", "s")])).await;
    let after = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(after["status"]["tags"][0], before["status"]["tags"][0]);
    assert_eq!(after["status"]["tags"][1]["items"][0]["generation"], after["metadata"]["generation"]);
}
