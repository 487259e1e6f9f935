//! What is told of checks: by REST, in time, and in every list. What each kind of trouble is called is in `troubles`.

use std::time::{Duration, Instant};

use reqwest::Method;
use weir::model::{Role, TagImport};
use weir::server::store::TagSpec;

use super::follow;
use super::upstream::Misbehaving;
use crate::pull_through::until;
use crate::support::{Client, TestWeir};
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

pub async fn import(weir: &TestWeir, title: &str) -> TagImport {
    let (stream, tag) = title.split_once(':').expect("stream:tag");
    let tag = weir.store().tag("demo", stream, tag).await.expect("the tag");
    weir.store().find_import(&tag.id).await.expect("asked").expect("it follows")
}

async fn check(ada: &Client, title: &str) -> reqwest::Response {
    let (stream, tag) = title.split_once(':').expect("stream:tag");
    let path = format!("/weir/v1/projects/demo/streams/{stream}/tags/{tag}/check");
    ada.request(Method::POST, &path).send().await.expect("an answer")
}

#[tokio::test]
async fn c9_check_now_answers_at_once_and_a_registry_that_never_answers_fails_within_a_minute() {
    let weir = TestWeir::live().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let silent = crate::upstreams::Upstream::start(|_| Box::pin(std::future::pending())).await;
    let well = Misbehaving::start(&TestImage::new("well")).await;
    let (unscheduled, silence) = (false, format!("{}/org/app:1", silent.address()));
    follow(&weir, "demo", "base:silent", TagSpec { scheduled: unscheduled, ..TagSpec::import(silence) }).await;
    let began = Instant::now();
    assert_eq!(check(&ada, "base:silent").await.status(), 200);
    let waits = async || import(&weir, "base:silent").await.outcome == "new";
    assert!(waits().await, "the caller did not wait for the registry");
    // Meanwhile everything else is checked.
    follow(&weir, "demo", "base:well", TagSpec::import(well.reference("org/app:1"))).await;
    until("the other tag is here", async || import(&weir, "base:well").await.outcome == "ok").await;
    assert!(waits().await, "nor did the other tag");
    loop {
        let told = import(&weir, "base:silent").await;
        if told.outcome == "failed" {
            assert_eq!(told.reason.as_deref(), Some("timeout"), "{told:?}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{told:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    weir.stop().await;
}

#[tokio::test]
async fn a_head_says_what_is_known_and_a_304_is_no_change() {
    let weir = TestWeir::start().await;
    let _ada = weir.user("ada", "demo", Role::Editor).await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    follow(&weir, "demo", "base:1", TagSpec::import(registry.reference("org/app:1"))).await;
    weir.settle().await;
    // One that does not answer HEADs is asked by a GET, which says what is known, too.
    for no_heads in [false, true] {
        if no_heads {
            registry.misbehave(|seen| (seen.method == Method::HEAD).then(|| answer(405, &[], "")));
        }
        let before = registry.upstream.seen().len();
        weir.store().request_check("demo", "base", "1", &crate::support::tester()).await.expect("asked");
        weir.settle().await;
        assert_eq!(import(&weir, "base:1").await.outcome, "unchanged");
        let seen = registry.upstream.seen().split_off(before);
        let known = format!("\"{}\"", TestImage::new("one").digest());
        assert!(seen.iter().all(|one| one.header("if-none-match") == Some(known.as_str())), "{seen:?}");
        assert_eq!(seen.len(), if no_heads { 2 } else { 1 });
    }
    weir.stop().await;
}

#[tokio::test]
async fn c10_a_tag_that_never_imported_is_in_every_list_with_its_reason() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}"#;
    registry.misbehave(move |_| Some(answer(404, &[], unknown)));
    follow(&weir, "demo", "base:1", TagSpec::import(registry.reference("org/missing:1"))).await;
    weir.settle().await;
    for (path, words) in [
        ("/p/demo/streams?health=never", vec!["base", "Failing 1"]),
        ("/p/demo/streams?health=failing", vec!["base", "Failing 1"]),
        ("/p/demo/streams/base/tags", vec!["Never imported", "not-found"]),
        ("/p/demo/imports?f=failed", vec!["base:1", "not-found", "check its name and tag"]),
        ("/p/demo/streams/base/tags/1", vec!["check its name and tag"]),
    ] {
        let page = ada.get(path).await.text().await.expect("a page");
        for word in words {
            assert!(page.contains(word), "{path} does not say {word:?}");
        }
    }
    weir.stop().await;
}
