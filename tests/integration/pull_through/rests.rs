//! Blobs and manifests that another registry fails to give are not asked for at each pull.

use axum::http::Method;
use reqwest::StatusCode;

use super::Story;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of};
use crate::upstreams::programmable::answer;
use crate::upstreams::{Flow, Tap, Upstream};
use weir::server::hash::sha256;

#[tokio::test]
async fn a_blob_that_failed_is_answered_with_its_failure_for_a_while() {
    let tap = Tap::shut(&TestImage::new("failing")).await;
    let story = Story::following(&tap.reference()).await;
    assert_eq!(story.get("manifests/latest").await.status(), 200);
    for (flow, expected) in [
        (Flow::Failing(500), StatusCode::BAD_GATEWAY),
        (Flow::Failing(404), StatusCode::NOT_FOUND),
        (Flow::Limited(120), StatusCode::TOO_MANY_REQUESTS),
    ] {
        // Another repository each time, as each has a memory of its own.
        let stream = format!("of-{}", expected.as_u16());
        story.follow(&stream, &tap.reference()).await;
        tap.open(0);
        assert_eq!(story.ada.get(&format!("/v2/demo/{stream}/manifests/latest")).await.status(), 200);
        tap.set(flow);
        let before = tap.downloads_of(&tap.image.layer);
        let path = format!("/v2/demo/{stream}/blobs/{}", sha256(&tap.image.layer));
        let mut texts = Vec::new();
        for method in [Method::GET, Method::GET, Method::HEAD, Method::GET] {
            let refused = story.ada.request(method.clone(), &path).send().await.expect("an answer");
            assert_eq!(refused.status(), expected, "{method}");
            if expected == StatusCode::TOO_MANY_REQUESTS {
                let wait: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
                assert!((100..=120).contains(&wait), "{wait}");
            }
            texts.extend(Some(refused.text().await.expect("a body")).filter(|text| !text.is_empty()));
        }
        assert!(texts.len() == 3 && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        assert_eq!(tap.downloads_of(&tap.image.layer) - before, 1, "it is asked once");
    }
    story.weir.stop().await;
}

#[tokio::test]
async fn a_manifest_of_an_index_that_failed_is_not_asked_for_again_at_once() {
    let platform = TestImage::new("amd64");
    let index = index_of(&[("amd64", &platform)]);
    let served = index.clone();
    let upstream = Upstream::start(move |asked| {
        let index = served.clone();
        Box::pin(async move {
            let digest = sha256(&index).to_string();
            match asked.path() {
                "/v2/" => answer(200, &[], ""),
                "/v2/org/base/manifests/1" => {
                    answer(200, &[("docker-content-digest", &digest), ("content-type", OCI_INDEX)], index)
                }
                _ => answer(503, &[], ""),
            }
        })
    })
    .await;
    let story = Story::following(&format!("{}/org/base:1", upstream.address())).await;
    story.pulls("manifests/latest", &index).await;
    let path = format!("manifests/{}", platform.digest());
    for _ in 0..4 {
        let refused = story.get(&path).await;
        assert_eq!(refused.status(), 502);
        assert!(refused.text().await.expect("a body").contains("it answered 503"));
    }
    let asked = upstream.seen().iter().filter(|seen| seen.path().ends_with(platform.digest().as_str())).count();
    assert_eq!(asked, 1);
    story.weir.stop().await;
}
