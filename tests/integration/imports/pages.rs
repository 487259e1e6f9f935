//! What the console says of other registries: to site admins what is left of what they allow, and on a tag's page what that means for it.

use reqwest::Method;
use weir::model::Role;
use weir::server::store::TagSpec;

use super::follow;
use super::upstream::Misbehaving;
use crate::pull_through::until;
use crate::support::{Client, TestWeir, tester};
use crate::ui::form::text;
use crate::upstreams::Seen;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

async fn words(client: &Client, path: &str) -> String {
    let answer = client.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    text(&answer.text().await.expect("a page"))
}

/// Answers HEADs with an allowance of which so much remains.
fn allow(registry: &Misbehaving, image: &TestImage, remaining: u32) {
    let (digest, media_type, length) = (image.digest(), image.media_type, image.manifest.len().to_string());
    registry.misbehave(move |seen: &Seen| {
        let remaining = remaining.to_string();
        let headers = [
            ("docker-content-digest", digest.as_str()),
            ("content-type", media_type),
            ("content-length", &length),
            ("ratelimit-limit", "100"),
            ("ratelimit-remaining", &remaining),
            ("ratelimit-reset", "1800"),
        ];
        (seen.method == Method::HEAD).then(|| answer(200, &headers, ""))
    });
}

#[tokio::test]
async fn the_budget_page_shows_limit_remaining_spend_by_project_and_forecast() {
    let weir = TestWeir::start().await;
    let admin = weir.admin().await;
    let image = TestImage::new("one");
    let registry = Misbehaving::start(&image).await;
    let path = format!("/imports/registries/{}", registry.upstream.address());
    allow(&registry, &image, 76);
    for (project, tag) in [("demo", "org/app:1"), ("other", "org/app:2")] {
        weir.make_project(project).await;
        follow(&weir, project, "base:1", TagSpec::import(registry.reference(tag))).await;
    }
    weir.settle().await;
    let shows = async |expected: &[&str]| {
        until(&format!("the page says {expected:?}"), async || {
            weir.state.importer.write_down_answers().await.expect("written");
            let page = words(&admin, &path).await;
            expected.iter().all(|words| page.contains(words))
        })
        .await;
    };
    // Of 76 the two manifests are taken off that were asked for since, and told nothing.
    shows(&[
        "Limit 100 in",
        "Remaining 74",
        "told by the registry",
        "whole again",
        "Counted manifests; checks are free",
    ])
    .await;
    shows(&["Forecast enough", "Tags 2 tags, 2 different questions", " demo ", " other "]).await;
    // Both projects' rows, with what each asked: a HEAD or two and a manifest.
    let page = words(&admin, &path).await;
    let rows = page.split("Project Checks Manifests In the last hour").nth(1).expect("the spend");
    for project in ["demo", "other"] {
        let figures = rows.split(project).nth(1).expect("its row").split_whitespace().take(3);
        let figures: Vec<u32> = figures.filter_map(|figure| figure.parse().ok()).collect();
        // Whoever came first found out whether HEADs are counted.
        assert!(matches!(figures[..], [heads @ 0..=2, 1, both] if both == heads + 1), "{project}: {rows}");
    }
    allow(&registry, &image, 0);
    weir.store().request_check("demo", "base", "1", &tester()).await.expect("asked");
    weir.settle().await;
    shows(&["Remaining 0", "Forecast used up: what changed waits until something is allowed again"]).await;
    weir.stop().await;
}

#[tokio::test]
async fn c1_the_tags_page_says_since_when_upstream_is_away_and_how_old_the_copy_is() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Viewer).await;
    let image = TestImage::new("one");
    let registry = Misbehaving::start(&image).await;
    follow(&weir, "demo", "base:1", TagSpec::import(registry.reference("org/app:1"))).await;
    weir.settle().await;
    let page = async || words(&ada, "/p/demo/streams/base/tags/1").await;
    assert!(!page().await.contains("upstream unreachable"));
    weir.run_sql("update tag_imports set last_ok_at = 1795230660000").await;
    registry.misbehave(|_| Some(answer(429, &[("retry-after", "120")], "Too Many Requests")));
    weir.store().request_check("demo", "base", "1", &tester()).await.expect("asked");
    weir.settle().await;
    let html = ada.get("/p/demo/streams/base/tags/1").await.text().await.expect("a page");
    let badge = html.split("upstream unreachable since").nth(1).expect("the badge").split("</span>").next().unwrap();
    assert!(badge.contains(", copy of") && badge.contains("datetime=\"2026-11-21T03:11:00Z\""), "{badge}");
    assert!(page().await.contains("pulls work"));
    let pulled = ada.get("/v2/demo/base/manifests/1").await;
    assert_eq!((pulled.status().as_u16(), pulled.bytes().await.expect("bytes")), (200, image.manifest));

    registry.behave();
    weir.run_sql("update registry_budgets set rest_until = null").await;
    weir.store().request_check("demo", "base", "1", &tester()).await.expect("asked");
    weir.settle().await;
    assert!(!page().await.contains("upstream unreachable"));
    weir.stop().await;
}

#[tokio::test]
async fn c7_a_used_up_allowance_too_many_questions_and_an_outage_are_told_apart_on_pages() {
    const HUB: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let weir = TestWeir::start().await;
    let (admin, ada) = (weir.admin().await, weir.user("ada", "demo", Role::Viewer).await);
    for (tag, status, body, mood, advice, message) in [
        (
            "limit",
            429,
            HUB,
            "Limit used up",
            "Add credentials of an account with a higher limit",
            "the pull limit of registry",
        ),
        (
            "abuse",
            429,
            "Too Many Requests",
            "Asked too often",
            "whatever the account",
            "turned this address away for asking too often",
        ),
        ("away", 503, "", "Away for a while", "there is nothing to be done here", "it answered 503"),
    ] {
        let registry = Misbehaving::start(&TestImage::new("one")).await;
        registry.misbehave(move |seen| {
            let refuses = seen.method != Method::HEAD || body.is_empty();
            refuses.then(|| answer(status, &[("retry-after", "600")], body))
        });
        follow(&weir, "demo", &format!("base:{tag}"), TagSpec::import(registry.reference("org/app:1"))).await;
        weir.settle().await;
        let page = words(&admin, &format!("/imports/registries/{}", registry.upstream.address())).await;
        for words in [mood, advice, "Nothing is asked of it until"] {
            assert!(page.contains(words), "{tag} does not say {words:?}: {page}");
        }
        for other in ["Limit used up", "Asked too often", "Away for a while"] {
            assert_eq!(page.contains(other), other == mood, "{tag}: {page}");
        }
        let page = words(&ada, &format!("/p/demo/streams/base/tags/{tag}")).await;
        assert!(page.contains(message) && page.contains("wants to be left alone until then"), "{tag}: {page}");
    }
    weir.stop().await;
}
