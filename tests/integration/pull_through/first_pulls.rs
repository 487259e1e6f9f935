//! Tags that follow another registry and have no image yet, with Debian's `docker-registry` as the other one.

use axum::http::Method;
use bytes::Bytes;
use futures_util::future::join_all;
use weir::server::hash::sha256;
use weir::server::store::SecretData;

use super::Story;
use crate::support::tester;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::{DockerRegistry, Proxy};

#[tokio::test]
async fn fifty_pulls_at_once_fetch_everything_once() {
    let (mut upstream, image) = (DockerRegistry::start(), TestImage::large("fifty", 3_000_000));
    image.push(upstream.address(), "org/base", "1").await;
    let mut proxy = Proxy::before(upstream.address()).await;
    let story = Story::following(&proxy.reference("org/base:1")).await;
    join_all((0..50).map(|_| story.pulls_image("latest", &image))).await;
    let passed = proxy.take();
    let fetched = |what: &str| passed.iter().filter(|p| p.method == Method::GET && p.path.ends_with(what)).count();
    assert_eq!(fetched("/manifests/1"), 1, "{passed:?}");
    for blob in [&image.config, &image.layer] {
        assert_eq!(fetched(sha256(blob).as_str()), 1, "{passed:?}");
    }

    // What the schedule does now is one HEAD: all that was pulled is here.
    story.weir.settle().await;
    let passed = proxy.take();
    assert!(passed.iter().all(|p| p.method == Method::HEAD) && passed.len() <= 1, "{passed:?}");
    upstream.stop();
    proxy.shut().await;
    story.pulls_image("latest", &image).await;
    let needed = story.weir.store().list_needed_blobs("", "t").await.expect("listed");
    assert_eq!(needed.len(), 2, "the image counts as complete");
    story.weir.stop().await;
}

#[tokio::test]
async fn c2_a_hundred_pulls_ask_nothing_and_each_interval_asks_once() {
    let (upstream, image) = (DockerRegistry::start(), TestImage::new("hundred"));
    image.push(upstream.address(), "org/base", "1").await;
    let proxy = Proxy::before(upstream.address()).await;
    let story = Story::following(&proxy.reference("org/base:1")).await;
    story.weir.settle().await;
    proxy.take();
    join_all((0..100).map(|_| story.pulls_image("latest", &image))).await;
    assert_eq!(proxy.take().len(), 0);
    // The interval is over: one question for all of them.
    story.weir.run_sql("update tag_imports set next_at = 1").await;
    story.weir.settle().await;
    join_all((0..100).map(|_| story.pulls_image("latest", &image))).await;
    let passed = proxy.take();
    assert_eq!(passed.iter().map(|passed| &passed.method).collect::<Vec<_>>(), [Method::HEAD], "{passed:?}");
    story.weir.stop().await;
}

#[tokio::test]
async fn an_index_is_answered_at_once_and_its_platforms_as_they_are_asked_for() {
    let (mut upstream, platforms) = (DockerRegistry::start(), ["amd64", "arm64"].map(TestImage::new));
    for image in &platforms {
        image.push(upstream.address(), "org/base", image.digest().as_str()).await;
    }
    let index = index_of(&[("amd64", &platforms[0]), ("arm64", &platforms[1])]);
    push_manifest(upstream.address(), "org/base", "1", OCI_INDEX, index.clone()).await;
    let mut proxy = Proxy::before(upstream.address()).await;
    let story = Story::following(&proxy.reference("org/base:1")).await;
    story.pulls("manifests/latest", &index).await;
    let passed = proxy.take();
    assert_eq!(passed.len(), 1, "the index alone: {passed:?}");
    let arm64 = platforms[1].digest();
    join_all((0..10).map(|_| story.pulls_image(arm64.as_str(), &platforms[1]))).await;
    let passed = proxy.take();
    assert_eq!(passed.len(), 3, "manifest, configuration and layer of one platform: {passed:?}");

    story.weir.settle().await;
    upstream.stop();
    proxy.shut().await;
    for image in &platforms {
        story.pulls_image(image.digest().as_str(), image).await;
    }
    story.pulls("manifests/latest", &index).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn followers_pull_what_is_on_its_way() {
    let (upstream, image) = (DockerRegistry::start(), TestImage::new("followed"));
    image.push(upstream.address(), "org/base", "1").await;
    let story = Story::following(&format!("{}/org/base:1", upstream.address())).await;
    let spec = weir::server::store::TagSpec {
        source: Some((weir::model::SourceKind::ImageStreamTag, "base:latest".to_owned())),
        ..Default::default()
    };
    let names = ("web".parse().expect("a name"), "stable".parse().expect("a name"));
    story.weir.store().set_tag("demo", &names.0, &names.1, &spec, None, &tester()).await.expect("it follows");
    story.pulls("manifests/latest", &image.manifest).await;
    for (path, bytes) in [
        ("manifests/stable".to_owned(), &image.manifest),
        (format!("blobs/{}", sha256(&image.layer)), &image.layer),
        (format!("blobs/{}", sha256(&image.config)), &image.config),
    ] {
        let answer = story.ada.get(&format!("/v2/demo/web/{path}")).await;
        assert_eq!((answer.status().as_u16(), &answer.bytes().await.expect("bytes")), (200, bytes), "{path}");
    }
    story.weir.settle().await;
    let needed = story.weir.store().list_needed_blobs("", "t").await.expect("listed");
    assert_eq!(needed.len(), 2, "complete in both repositories");
    story.weir.stop().await;
}

#[tokio::test]
async fn the_projects_secret_is_asked_with() {
    let (upstream, image) = (DockerRegistry::start_with_password(), TestImage::new("private"));
    image.push_as(Some(DockerRegistry::CREDENTIALS), upstream.address(), "org/base", "1").await;
    let story = Story::following(&format!("{}/org/base:1", upstream.address())).await;
    let refused = story.get("manifests/latest").await;
    assert_eq!(refused.status(), 502);
    let text = refused.text().await.expect("a body");
    assert!(text.contains("you may not have access"), "{text}");
    assert_eq!(story.import().await.reason.as_deref(), Some("denied"), "it is told on the tag's page, too");

    let (username, password) = DockerRegistry::CREDENTIALS;
    let host = upstream.address().to_owned();
    let secret = SecretData::Registry { host, username: username.to_owned(), password: password.into() };
    let name = "upstream".parse().expect("a name");
    story.weir.store().create_secret("demo", &name, &secret, &tester()).await.expect("a secret");
    let ada = weir::model::Actor::person("ada");
    story.weir.store().request_check("demo", "base", "latest", &ada).await.expect("asked");
    story.pulls_image("latest", &image).await;
    assert_eq!(story.import().await.outcome, "ok");
    story.weir.stop().await;
}

#[tokio::test]
async fn bytes_that_were_lost_are_fetched_again() {
    let (upstream, image) = (DockerRegistry::start(), TestImage::new("lost"));
    image.push(upstream.address(), "org/base", "1").await;
    let story = Story::following(&format!("{}/org/base:1", upstream.address())).await;
    story.weir.settle().await;
    let blobs = &story.weir.state.blobs;
    assert!(blobs.delete(&sha256(&image.layer)).await.expect("deleted"));
    story.pulls_image("latest", &image).await;
    assert!(story.has(&image.layer).await, "it is stored again");

    // Cut short by a full disk, say.
    let hex = sha256(&image.layer).hex().to_owned();
    let path = story.weir.directory().join("data/blobs/blobs/sha256").join(&hex[..2]).join(&hex);
    std::fs::write(&path, &image.layer[..3]).expect("cut");
    story.pulls_image("latest", &image).await;
    assert_eq!(std::fs::read(&path).expect("the file"), image.layer, "it is whole again");

    let pushed = TestImage::new("pushed here");
    let token = story.ada.token();
    pushed.push_as(Some(("ada", token)), story.weir.registry(), "demo/own", "1").await;
    assert!(blobs.delete(&sha256(&pushed.layer)).await.expect("deleted"));
    let gone = story.ada.get(&format!("/v2/demo/own/blobs/{}", sha256(&pushed.layer))).await;
    assert_eq!(gone.status(), 404, "what was pushed here is nowhere else");
    let whole: Bytes = story.get("manifests/latest").await.bytes().await.expect("bytes");
    assert_eq!(whole, image.manifest);
    story.weir.stop().await;
}
