//! What clients get while the other registry is away, or wants to be left alone.

use std::fs;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use weir::model::Actor;
use weir::server::controllers::Proof;
use weir::server::hash::sha256;

use super::Story;
use crate::upstreams::images::TestImage;
use crate::upstreams::{Flow, Tap};

#[tokio::test]
async fn c1_the_last_good_copy_is_served_with_a_warning() {
    let tap = Tap::shut(&TestImage::new("good")).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.weir.settle().await;
    let good = story.get("manifests/latest").await;
    assert!(good.headers().get("warning").is_none());

    tap.set(Flow::Limited(8));
    let ada = Actor::person("ada");
    story.weir.store().request_check("demo", "base", "latest", &ada).await.expect("asked");
    story.weir.settle().await;
    let limited = Instant::now();
    assert_eq!(story.import().await.reason.as_deref(), Some("rate-limit"));
    let before = tap.asked();
    join_all((0..100).map(|_| story.pulls_image("latest", &tap.image))).await;
    assert_eq!(tap.asked(), before, "pulls ask nothing");
    for answer in [story.get("manifests/latest").await, story.head("manifests/latest").await] {
        assert_eq!(answer.status(), 200);
        let warning = answer.headers()["warning"].to_str().expect("text").to_owned();
        let limit = format!("111 weir \"the pull limit of registry {} is used up", tap.upstream.address());
        assert!(warning.starts_with(&limit), "{warning}");
        let copy = warning.split(": this is the copy of ").nth(1).expect("how old it is");
        assert!(copy.starts_with("20") && copy.ends_with("Z\""), "{warning}");
    }
    let by_digest = story.get(&format!("manifests/{}", tap.image.digest())).await;
    assert!(by_digest.headers().get("warning").is_none(), "a digest cannot be out of date");

    tap.open_wide();
    story.weir.store().request_check("demo", "base", "latest", &ada).await.expect("asked");
    tokio::time::sleep(Duration::from_secs(8).saturating_sub(limited.elapsed())).await;
    story.weir.settle().await;
    // Another server of ours would know a second later.
    super::until("nothing is warned of", async || {
        story.get("manifests/latest").await.headers().get("warning").is_none()
    })
    .await;
    story.weir.stop().await;
}

#[tokio::test]
async fn c1_a_copy_is_served_while_the_other_registry_is_being_asked_and_says_nothing() {
    let tap = Tap::shut(&TestImage::new("silent")).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.weir.settle().await;
    let before = tap.asked();
    tap.set(Flow::Silent);
    story.weir.store().request_check("demo", "base", "latest", &Actor::person("ada")).await.expect("asked");
    let pulls = async {
        super::until("a check is under way", async || tap.asked() == before + 1).await;
        // None of them waits for the answer, which only comes behind them all.
        join_all((0..20).map(|_| story.pulls_image("latest", &tap.image))).await;
        assert_eq!(story.head("manifests/latest").await.status(), 200);
        assert_eq!(tap.asked(), before + 1, "pulls ask nothing");
        tap.open_wide();
    };
    tokio::join!(story.weir.settle(), pulls);
    assert_eq!(story.import().await.outcome, "unchanged", "the check came to its end");
    story.weir.stop().await;
}

#[tokio::test]
async fn a_registry_that_refused_the_first_pull_is_left_alone() {
    let tap = Tap::shut(&TestImage::new("refused")).await;
    tap.set(Flow::Limited(8));
    let story = Story::following(&tap.reference()).await;
    let began = Instant::now();
    for _ in 0..3 {
        let answer = story.get("manifests/latest").await;
        assert_eq!(answer.status(), 429);
        let wait: u64 = answer.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=8).contains(&wait), "{wait}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains("TOOMANYREQUESTS") && text.contains("pull limit"), "{text}");
    }
    let asked = tap.asked();
    assert_eq!(asked, 1, "a limit that was told is kept to");
    story.weir.settle().await;
    assert_eq!(tap.asked(), asked, "by the schedule, too");

    tap.open_wide();
    let ada = Actor::person("ada");
    story.weir.store().request_check("demo", "base", "latest", &ada).await.expect("asked");
    let early = story.get("manifests/latest").await;
    assert_eq!(early.status(), 429, "nobody's wish ends what the registry asked for");
    tokio::time::sleep(Duration::from_secs(9).saturating_sub(began.elapsed())).await;
    story.pulls_image("latest", &tap.image).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_told_at_once() {
    let story = Story::following("127.0.0.1:1/org/base:1").await;
    let began = Instant::now();
    for _ in 0..3 {
        let answer = story.get("manifests/latest").await;
        assert_eq!(answer.status(), 502);
        let text = answer.text().await.expect("a body");
        assert!(text.contains("registry 127.0.0.1:1 cannot be reached"), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    let failures = story.import().await.failures;
    assert_eq!(failures, 1, "asked once, then left alone for a while");
    story.weir.stop().await;
}

#[tokio::test]
async fn the_daily_proof_brings_back_what_was_imported() {
    let tap = Tap::shut(&TestImage::new("proved")).await;
    tap.open_wide();
    let (story, image) = (Story::following(&tap.reference()).await, tap.image.clone());
    story.weir.settle().await;
    let prove = async || {
        let (store, importer) = (story.weir.store().clone(), story.weir.state.importer.clone());
        let proof = Proof::new(store, story.weir.state.blobs.clone(), importer, CancellationToken::new());
        proof.prove_now().await.expect("proved").expect("nobody else proves").broken
    };
    // The layer has the right number of bytes, and not the right ones.
    let layer = sha256(&image.layer);
    let file = format!("data/blobs/blobs/{}/{}/{}", layer.algorithm(), &layer.hex()[..2], layer.hex());
    let file = story.weir.directory().join(file);
    assert_eq!(fs::read(&file).expect("the blob's file"), image.layer);
    fs::write(&file, vec![b'x'; image.layer.len()]).expect("damaged");
    assert!(story.weir.state.blobs.delete(&sha256(&image.config)).await.expect("deleted"));
    tap.set(Flow::Limited(1));
    assert_eq!(prove().await, 1, "it cannot be fetched again");
    tap.open_wide();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(prove().await, 0, "it was fetched again");
    story.pulls_image("latest", &image).await;
    story.weir.stop().await;
}
