//! What is never asked for elsewhere.

use std::time::{Duration, Instant};

use weir::server::hash::sha256;
use weir::server::store::{SecretData, TagSpec};

use super::Story;
use crate::support::tester;
use crate::upstreams::Tap;
use crate::upstreams::images::TestImage;

#[tokio::test]
async fn only_what_the_history_names_is_asked_for() {
    let tap = Tap::shut(&TestImage::new("known")).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.weir.settle().await;
    let before = tap.asked();
    let other = TestImage::new("other");
    for path in [
        format!("blobs/{}", sha256(&other.layer)),
        format!("manifests/{}", other.digest()),
        "manifests/2".to_owned(),
        "manifests/never".to_owned(),
    ] {
        assert_eq!(story.get(&path).await.status(), 404, "{path}");
        assert_eq!(story.head(&path).await.status(), 404, "{path}");
    }
    // Another repository does not get it for knowing its digest.
    let token = story.ada.token();
    other.push_as(Some(("ada", token)), story.weir.registry(), "demo/own", "1").await;
    for path in [format!("blobs/{}", sha256(&tap.image.layer)), format!("manifests/{}", tap.image.digest())] {
        assert_eq!(story.ada.get(&format!("/v2/demo/own/{path}")).await.status(), 404, "{path}");
    }
    assert_eq!(tap.asked(), before);
    story.weir.stop().await;
}

#[tokio::test]
async fn a_pull_does_not_ask_the_server_itself_and_an_import_takes_what_is_there() {
    let story = Story::begin().await;
    let own = format!("{}/demo/other:1", story.weir.registry());
    story.follow("base", &own).await;
    let refused = story.get("manifests/latest").await;
    assert_eq!(refused.status(), 502);
    let text = refused.text().await.expect("a body");
    assert!(text.contains("is in this very registry") && text.contains("ImageStreamTag"), "{text}");
    assert_eq!(story.import().await.reason.as_deref(), Some("own-registry"));

    let (image, token) = (TestImage::new("own"), story.ada.token());
    image.push_as(Some(("ada", token)), story.weir.registry(), "demo/other", "1").await;
    let secret = SecretData::Registry {
        host: story.weir.registry().to_owned(),
        username: "ada".to_owned(),
        password: token.into(),
    };
    let name = "itself".parse().expect("a name");
    story.weir.store().create_secret("demo", &name, &secret, &tester()).await.expect("a secret");
    story.weir.store().request_check("demo", "base", "latest", &tester()).await.expect("asked");
    story.weir.settle().await;
    assert_eq!(story.import().await.reason, None);
    story.pulls_image("latest", &image).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn a_server_that_asks_itself_under_another_name_notices() {
    let story = Story::begin().await;
    let (_, port) = story.weir.registry().split_once(':').expect("a port");
    let alias = format!("localhost:{port}");
    let password = story.ada.token().into();
    let secret = SecretData::Registry { host: alias.clone(), username: "ada".to_owned(), password };
    let name = "itself".parse().expect("a name");
    story.weir.store().create_secret("demo", &name, &secret, &tester()).await.expect("a secret");
    story.follow("base", &format!("{alias}/demo/base:latest")).await;
    let began = Instant::now();
    let refused = story.get("manifests/latest").await;
    assert_eq!(refused.status(), 502);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let message = story.import().await.message.expect("a message");
    assert!(message.contains("508"), "{message}");
    story.weir.stop().await;
}

#[tokio::test]
async fn naming_a_strangers_blob_does_not_give_it() {
    let private = TestImage::new("private");
    // A registry that names the layer and does not have it.
    let tap = Tap::serving(&private, vec![0; private.layer.len()].into()).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.weir.make_project("vault").await;
    let admin = story.weir.admin().await;
    private.push_as(Some(("admin", admin.token())), story.weir.registry(), "vault/own", "1").await;
    assert!(story.has(&private.layer).await);
    // A first pull answers the manifest, but the layer is refused, or breaks off before its last byte.
    assert_eq!(story.get("manifests/latest").await.status(), 200);
    let layer = story.get_blob(&private.layer).await;
    let status = layer.status();
    let body = layer.bytes().await;
    assert!(status == 502 || body.is_err(), "{status} {body:?}");
    assert_eq!(tap.downloads_of(&private.layer), 1);
    // An import fails as a whole.
    story.follow("copy", &tap.reference()).await;
    story.weir.settle().await;
    let path = format!("/v2/demo/copy/blobs/{}", sha256(&private.layer));
    assert_eq!(story.ada.get(&path).await.status(), 404);
    assert_eq!(story.ada.get("/v2/demo/copy/manifests/latest").await.status(), 502);
    story.weir.stop().await;
}

#[tokio::test]
async fn what_was_imported_from_the_same_place_is_not_fetched_twice() {
    let tap = Tap::shut(&TestImage::new("shared")).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.weir.settle().await;
    story.weir.make_project("other").await;
    let spec = TagSpec { insecure: true, ..TagSpec::import(tap.reference()) };
    let (stream, latest) = ("mine".parse().expect("a name"), "latest".parse().expect("a name"));
    story.weir.store().set_tag("other", &stream, &latest, &spec, None, &tester()).await.expect("the tag follows");
    story.weir.settle().await;
    let admin = story.weir.admin().await;
    let layer = sha256(&tap.image.layer);
    assert_eq!(admin.get(&format!("/v2/other/mine/blobs/{layer}")).await.status(), 200);
    assert_eq!(tap.downloads_of(&tap.image.layer), 1);
    story.weir.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_not_fetched_behind_a_first_pull() {
    let tap = Tap::shut(&TestImage::large("quota", 100_000)).await;
    tap.open_wide();
    let story = Story::following(&tap.reference()).await;
    story.pulls("manifests/latest", &tap.image.manifest).await;
    story.weir.store().set_quota("demo", Some(10_000), &tester()).await.expect("a quota");
    story.weir.settle().await;
    assert_eq!(tap.downloads_of(&tap.image.layer), 0, "it would not fit");
    let waits = story.weir.store().next_completion_at().await.expect("asked");
    assert!(waits.is_some(), "the image is not taken for whole");

    story.weir.store().set_quota("demo", None, &tester()).await.expect("no quota");
    story.pulls_image("latest", &tap.image).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn a_held_tag_is_asked_for_once() {
    let tap = Tap::shut(&TestImage::new("held")).await;
    let story = Story::following(&tap.reference()).await;
    story.weir.store().hold_tag("demo", "base", "latest", None, &tester()).await.expect("held");
    for _ in 0..3 {
        assert_eq!(story.get("manifests/latest").await.status(), 404);
        assert_eq!(story.head("manifests/latest").await.status(), 404);
    }
    let manifests = tap.upstream.seen().iter().filter(|seen| seen.path().contains("/manifests/")).count();
    assert_eq!(manifests, 1, "its image waits here, and stays there");
    story.weir.stop().await;
}
