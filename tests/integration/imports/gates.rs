//! Cool-downs, paused registries and the state of credentials, as pages and REST have them.

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::store::{SecretData, TagSpec};

use super::follow;
use super::upstream::Misbehaving;
use crate::support::{TestWeir, tester};
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

const HOUR_MS: i64 = 60 * 60 * 1000;

#[tokio::test]
async fn what_waits_is_shown_and_let_pass_without_script() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let upstream = Misbehaving::start(&one).await;
    let spec = TagSpec { cool_down_ms: Some(HOUR_MS), ..TagSpec::import(upstream.reference("org/app:1")) };
    follow(&weir, "demo", "base:1", spec).await;
    weir.settle().await;
    let tag = "/weir/v1/projects/demo/streams/base/tags/1";
    let first = ada.get_json(tag).await;
    assert_eq!((&first["import"]["coolDownSeconds"], &first["import"]["cooling"]), (&json!(3600), &Value::Null));
    upstream.set(&two);
    ada.post_json(&format!("{tag}/check"), &json!({}), StatusCode::OK).await;
    weir.settle().await;
    let waiting = ada.get_json(tag).await;
    assert_eq!((&waiting["digest"], &waiting["import"]["outcome"]), (&first["digest"], &json!("waiting")));
    let digest = waiting["import"]["cooling"]["digest"].as_str().expect("what waits").to_owned();
    assert!(waiting["import"]["cooling"]["adoptedFrom"].is_string(), "{waiting}");

    let page = "/p/demo/streams/base/tags/1";
    for path in [page, "/p/demo/imports", "/p/demo/imports?f=waiting", "/p/demo/streams/base/imports"] {
        let html = ada.get(path).await.text().await.expect("a page");
        for words in ["first seen", "at the earliest", "Adopt now", &digest[7..14]] {
            assert!(html.contains(words), "{path} does not say {words:?}");
        }
    }
    let html = ada.get(page).await.text().await.expect("a page");
    assert!(html.contains("does not make this one pass earlier") && html.contains("Cool-down"), "{html}");
    let edit = ada.get(&format!("{page}/edit")).await.text().await.expect("a page");
    assert!(edit.contains(r#"<option value="60" selected>1 hour"#), "{edit}");

    let viewer = weir.user("bob", "demo", Role::Viewer).await;
    assert!(!viewer.get(page).await.text().await.expect("a page").contains("tags/1/adopt"), "no button for viewers");
    assert_eq!(viewer.post(&format!("{tag}/adopt"), &json!({"digest": digest})).await.status(), 403);
    let other = ada.post(&format!("{tag}/adopt"), &json!({"digest": first["digest"]})).await;
    assert_eq!(other.status(), 409, "it names what it lets pass");
    assert_eq!(ada.done(&format!("{page}/adopt"), &[("digest", &digest)]).await, page);
    weir.settle().await;
    let after = ada.get_json(tag).await;
    let refused = ada.refused(&format!("{page}/adopt"), &[], StatusCode::CONFLICT).await;
    assert!(refused.contains("othing waits for the cool-down of base:1"), "{refused}");
    assert_eq!((&after["digest"], &after["import"]["cooling"]), (&json!(digest), &Value::Null));
    let history = ada.get_json(&format!("{tag}/history")).await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(history["items"][0]["actor"], json!("ada"));

    // As OpenShift's clients have it: on the tag, and it stays what it is when they write back what they read.
    let path = "/apis/image.openshift.io/v1/namespaces/demo/imagestreams/base";
    let stream = ada.get_json(path).await;
    assert_eq!(stream["spec"]["tags"][0]["annotations"]["weir.dev/import-cool-down"], json!("1h"));
    let kept = ada.request(reqwest::Method::PUT, path).json(&stream).send().await.expect("an answer");
    assert_eq!(kept.status(), 200);
    assert_eq!(weir.store().tag("demo", "base", "1").await.expect("the tag").cool_down_ms, Some(HOUR_MS));
    weir.stop().await;
}

#[tokio::test]
async fn a_paused_registry_says_so_wherever_it_is_wanted() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    let host = upstream.upstream.address().to_owned();
    follow(&weir, "demo", "base:1", TagSpec::import(upstream.reference("org/app:1"))).await;
    weir.settle().await;
    let pause = format!("/weir/v1/registries/{host}/pause");
    assert_eq!(ada.post(&pause, &json!({})).await.status(), 403, "it concerns all projects");
    let admin = weir.admin().await;
    admin.done(&format!("/imports/registries/{host}/pause"), &[("reason", "they have an outage")]).await;
    assert_eq!(admin.post(&pause, &json!({})).await.status(), 409);

    let refused = ada.post("/weir/v1/projects/demo/streams/base/tags/1/check", &json!({})).await;
    assert_eq!(refused.status(), 409);
    let said = refused.text().await.expect("a body");
    assert!(said.contains("paused by admin") && said.contains("they have an outage"), "{said}");
    let page = ada.get("/p/demo/streams/base/tags/1").await.text().await.expect("a page");
    assert!(page.contains("not while admin has its registry paused"), "{page}");
    let card = admin.get("/imports/registries").await.text().await.expect("a page");
    assert!(card.contains(&format!("{host} is paused by admin")) && card.contains("Resume"), "{card}");

    follow(&weir, "demo", "base:new", TagSpec { scheduled: false, ..TagSpec::import(upstream.reference("org/app:2")) })
        .await;
    let pulled = ada.get("/v2/demo/base/manifests/new").await;
    assert_eq!(pulled.status(), 503);
    assert!(pulled.text().await.expect("a body").contains("they have an outage"));
    let shown = admin.get_json("/weir/v1/registries").await;
    assert_eq!((&shown["items"][0]["paused"]["by"], &shown["paused"][0]["host"]), (&json!("admin"), &json!(host)));

    let resume = format!("/weir/v1/registries/{host}/resume");
    admin.post_json(&resume, &json!({}), StatusCode::OK).await;
    weir.settle().await;
    assert_eq!(ada.get("/v2/demo/base/manifests/new").await.status(), 200);
    let actions = ledger(&weir).await;
    assert_eq!(actions, ["registry.pause", "registry.resume"]);
    weir.stop().await;
}

/// What happened to registries, in order.
async fn ledger(weir: &TestWeir) -> Vec<String> {
    let rows = weir.store().list_ledger(None, None, 500).await.expect("the ledger");
    rows.into_iter().rev().map(|row| row.action).filter(|action| action.starts_with("registry.")).collect()
}

#[tokio::test]
async fn a_secret_is_unused_valid_or_failing_as_answers_show() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let upstream = Misbehaving::start(&TestImage::new("one")).await;
    let host = upstream.upstream.address().to_owned();
    upstream.misbehave(|seen| {
        // robot:good
        (seen.authorization() != Some("Basic cm9ib3Q6Z29vZA=="))
            .then(|| answer(401, &[("www-authenticate", "Basic realm=\"here\"")], ""))
    });
    let secret = |password: &str| SecretData::Registry {
        host: host.clone(),
        username: "robot".into(),
        password: password.into(),
    };
    let name = "there".parse().expect("a name");
    weir.store().create_secret("demo", &name, &secret("good"), &tester()).await.expect("a secret");
    let state = async || {
        let shown = ada.get_json("/weir/v1/projects/demo/secrets").await;
        let one = &shown["items"][0]["registries"][0];
        (one["state"].clone(), one["reason"].clone())
    };
    assert_eq!(state().await, (json!("unused"), Value::Null));
    let settings = ada.get("/p/demo/settings").await.text().await.expect("a page");
    assert!(settings.contains("not used yet"), "{settings}");

    follow(&weir, "demo", "base:1", TagSpec::import(upstream.reference("org/app:1"))).await;
    weir.settle().await;
    written(&weir).await;
    assert_eq!(state().await, (json!("valid"), Value::Null));
    upstream.misbehave(|_| Some(answer(401, &[("www-authenticate", "Basic realm=\"here\"")], "")));
    let check = "/weir/v1/projects/demo/streams/base/tags/1/check";
    ada.post_json(check, &json!({}), StatusCode::OK).await;
    weir.settle().await;
    written(&weir).await;
    assert_eq!(state().await, (json!("failing"), json!("wrong-password")));
    let settings = ada.get("/p/demo/settings").await.text().await.expect("a page");
    assert!(settings.contains("Failing") && settings.contains("incorrect username or password"), "{settings}");
    let admin = weir.admin().await;
    let card = admin.get("/imports/registries").await.text().await.expect("a page");
    assert!(card.contains("demo: there") && card.contains("Failing"), "{card}");
    let shown = admin.get_json("/weir/v1/registries").await;
    assert_eq!(
        (&shown["credentials"][0]["secret"], &shown["credentials"][0]["state"]),
        (&json!("there"), &json!("failing"))
    );
    assert!(!shown.to_string().contains("good") && !card.contains("Z29vZA"));

    weir.store().replace_secret("demo", "there", &secret("other"), &tester()).await.expect("replaced");
    assert_eq!(state().await, (json!("unused"), Value::Null));
    weir.stop().await;
}

/// Waits until what answers told is written down.
async fn written(weir: &TestWeir) {
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    weir.state.importer.write_down_answers().await.expect("written");
}
