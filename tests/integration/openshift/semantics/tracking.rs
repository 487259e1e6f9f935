//! Sections 3.6 and 3.7: what becomes of a tag's history, and tags that follow tags.

use axum::http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::super::{Rest, digest, images, own};
use super::{cause, following, spec_of};

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
