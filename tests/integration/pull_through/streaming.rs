//! Layers on their way: read while they come, once for everybody, and never wrong to the end.

use bytes::BytesMut;
use reqwest::{Method, Response};
use weir::server::hash::sha256;

use super::{Story, until};
use crate::upstreams::images::TestImage;
use crate::upstreams::{Flow, Tap};

/// More than what is kept in memory of a download.
const LARGE: usize = 5_000_000;

async fn story(tap: &Tap) -> Story {
    let story = Story::following(&tap.reference()).await;
    story.pulls("manifests/latest", &tap.image.manifest).await;
    story
}

/// Reads at least so many bytes of a body.
async fn read(answer: &mut Response, at_least: usize) -> BytesMut {
    let mut read = BytesMut::new();
    while read.len() < at_least {
        let piece = tokio::time::timeout(super::PATIENCE, answer.chunk()).await.expect("bytes come");
        read.extend_from_slice(&piece.expect("no error").expect("not the end"));
    }
    read
}

#[tokio::test]
async fn c13_the_manifest_is_answered_before_blobs_arrive() {
    let tap = Tap::shut(&TestImage::large("one", LARGE)).await;
    let story = Story::following(&tap.reference()).await;
    // Nothing of the layer comes until the end of all this: what is answered does not wait for it.
    let head = story.head("manifests/latest").await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["docker-content-digest"], tap.image.digest().as_str());
    story.pulls("manifests/latest", &tap.image.manifest).await;
    story.pulls(&format!("manifests/{}", tap.image.digest()), &tap.image.manifest).await;
    assert_eq!(tap.downloads_of(&tap.image.layer), 0, "nobody asked for the layer");
    // Nor while somebody waits for the layer.
    let waiting = story.get_blob(&tap.image.layer).await;
    assert_eq!((waiting.status().as_u16(), tap.downloads_of(&tap.image.layer)), (200, 1));
    story.pulls("manifests/latest", &tap.image.manifest).await;
    assert!(!story.has(&tap.image.layer).await, "not a byte of it is here");
    let tag = story.weir.store().tag("demo", "base", "latest").await.expect("the tag");
    let history = story.weir.store().list_history(&tag.id, None, 10).await.expect("its history");
    assert_eq!((history.len(), history[0].kind.as_str()), (1, "import"));

    // The rest comes behind it, and then the other registry is needed no more.
    tap.open_wide();
    assert!(waiting.bytes().await.expect("the layer") == tap.image.layer);
    story.weir.settle().await;
    assert!(story.has(&tap.image.layer).await);
    tap.set(Flow::Limited(100));
    let before = tap.asked();
    story.pulls_image("latest", &tap.image).await;
    assert_eq!((tap.asked(), tap.downloads_of(&tap.image.layer)), (before, 1));
    story.weir.stop().await;
}

#[tokio::test]
async fn bytes_are_read_while_they_come_and_late_readers_get_them_all() {
    let tap = Tap::shut(&TestImage::large("two", LARGE)).await;
    let story = story(&tap).await;
    tap.open(2_000_000);
    let mut first = story.get_blob(&tap.image.layer).await;
    assert_eq!((first.status().as_u16(), first.content_length()), (200, Some(LARGE as u64)));
    let mut got = read(&mut first, 1_999_000).await;
    // What came first has left the memory by now: a late reader reads what was stored.
    let mut late = story.get_blob(&tap.image.layer).await;
    let mut got_late = read(&mut late, 1_500_000).await;
    let idle = story.get_blob(&tap.image.layer).await;
    assert!(!story.has(&tap.image.layer).await, "it is not whole yet");

    tap.open_wide();
    // One who does not read holds nobody back.
    until("the layer is stored", async || story.has(&tap.image.layer).await).await;
    got.extend_from_slice(&first.bytes().await.expect("the rest"));
    got_late.extend_from_slice(&late.bytes().await.expect("the rest"));
    let got_idle = idle.bytes().await.expect("all of it");
    assert!(got == tap.image.layer && got_late == tap.image.layer && got_idle == tap.image.layer);
    assert_eq!(tap.downloads_of(&tap.image.layer), 1);
    assert_eq!(tap.downloads_of(&tap.image.config), 1);
    story.weir.stop().await;
}

#[tokio::test]
async fn ranges_are_served_from_what_is_coming() {
    let tap = Tap::shut(&TestImage::large("ranges", LARGE)).await;
    let story = story(&tap).await;
    let path = format!("/v2/demo/base/blobs/{}", sha256(&tap.image.layer));
    let range = |range: &'static str| story.ada.request(Method::GET, &path).header("range", range).send();
    tap.open(200_000);
    let mut within = range("bytes=100000-3999999").await.expect("an answer");
    assert_eq!(within.status(), 206);
    assert_eq!(within.headers()["content-range"], format!("bytes 100000-3999999/{LARGE}"));
    let mut got = read(&mut within, 90_000).await;
    let last = range("bytes=-10").await.expect("an answer");
    assert_eq!(range("bytes=5000000-").await.expect("an answer").status(), 416);
    tap.open_wide();
    got.extend_from_slice(&within.bytes().await.expect("the rest"));
    assert!(got == tap.image.layer[100_000..4_000_000]);
    assert!(last.bytes().await.expect("ten bytes") == tap.image.layer[LARGE - 10..]);
    story.weir.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_download() {
    let tap = Tap::shut(&TestImage::large("left", LARGE)).await;
    let story = story(&tap).await;
    tap.open(300_000);
    let mut leaving = story.get_blob(&tap.image.layer).await;
    read(&mut leaving, 100_000).await;
    drop(leaving);
    tap.open_wide();
    until("the layer is stored all the same", async || story.has(&tap.image.layer).await).await;
    story.pulls_image("latest", &tap.image).await;
    assert_eq!(tap.downloads_of(&tap.image.layer), 1);
    story.weir.stop().await;
}

#[tokio::test]
async fn a_download_that_breaks_off_breaks_off_for_all_and_begins_anew() {
    let tap = Tap::shut(&TestImage::large("cut", LARGE)).await;
    let story = story(&tap).await;
    tap.open(2_500_000);
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(story.get_blob(&tap.image.layer).await);
    }
    tap.set(Flow::Cut);
    for answer in answers {
        assert_eq!(answer.status(), 200);
        let body = answer.bytes().await;
        assert!(body.is_err(), "a body that ended well at {} bytes", body.map_or(0, |bytes| bytes.len()));
    }
    until("nothing is left of it", async || story.uploads().await == 0).await;
    assert!(!story.has(&tap.image.layer).await);
    tap.open_wide();
    story.pulls_image("latest", &tap.image).await;
    assert_eq!(tap.downloads_of(&tap.image.layer), 2);
    story.weir.stop().await;
}

#[tokio::test]
async fn wrong_bytes_never_arrive_whole() {
    let image = TestImage::large("right", LARGE);
    let mut wrong = image.layer.to_vec();
    wrong[LARGE - 1] ^= 1;
    let tap = Tap::serving(&image, wrong.into()).await;
    let story = story(&tap).await;
    tap.open_wide();
    for _ in 0..3 {
        let answer = story.get_blob(&image.layer).await;
        // Once it has failed twice the other registry is left alone for a while.
        let is_refused = answer.status() == 502;
        assert!(answer.bytes().await.is_err() || is_refused, "wrong bytes were passed on as right ones");
    }
    assert!(!story.has(&image.layer).await);
    assert_eq!(story.uploads().await, 0);

    // Another image: this one is known at two places, and the second is asked where the first has something else.
    let image = TestImage::large("longer", LARGE);
    let longer = Tap::serving(&image, [&image.layer[..], b"more"].concat().into()).await;
    story.follow("longer", &longer.reference()).await;
    longer.open_wide();
    assert_eq!(story.ada.get("/v2/demo/longer/manifests/latest").await.status(), 200);
    let refused = story.ada.get(&format!("/v2/demo/longer/blobs/{}", sha256(&image.layer))).await;
    assert_eq!(refused.status(), 502, "its length alone gives it away");
    story.weir.stop().await;
}
