//! What is never asked for elsewhere.

use std::time::{Duration, Instant};

use weir::server::hash::sha256;
use weir::server::store::SecretData;

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
async fn a_server_does_not_import_from_itself() {
    let story = Story::begin().await;
    let own = format!("{}/demo/other:1", story.weir.registry());
    story.follow("base", &own).await;
    let refused = story.get("manifests/latest").await;
    assert_eq!(refused.status(), 502);
    let text = refused.text().await.expect("a body");
    assert!(text.contains("is in this very registry") && text.contains("ImageStreamTag"), "{text}");
    assert_eq!(story.import().await.reason.as_deref(), Some("own-registry"));
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
