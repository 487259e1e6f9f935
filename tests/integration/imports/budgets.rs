//! What pages and REST tell of registries: the same, from one verb.

use serde_json::{Value, json};
use weir::model::Role;
use weir::server::store::{SecretData, TagSpec};

use super::follow;
use super::upstream::Misbehaving;
use crate::support::{TestWeir, tester};
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

#[tokio::test]
async fn site_admins_see_what_registries_allow_and_who_asks() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let limited = Misbehaving::start(&TestImage::new("one")).await;
    limited.misbehave(|seen| {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        seen.path()
            .contains("/used-up/")
            .then(|| answer(429, &[("retry-after", "120"), ("ratelimit-remaining", "0;w=21600")], body))
    });
    let host = limited.upstream.address().to_owned();
    let secret = SecretData::Registry { host: host.clone(), username: "robot".into(), password: "hunter2".into() };
    weir.make_project("other").await;
    let name = "there".parse().expect("a name");
    weir.store().create_secret("other", &name, &secret, &tester()).await.expect("a secret");
    follow(&weir, "demo", "base:1", TagSpec::import(limited.reference("org/app:1"))).await;
    follow(&weir, "other", "base:1", TagSpec::import(limited.reference("org/used-up/app:1"))).await;
    weir.settle().await;
    weir.state.importer.write_down_answers().await.expect("written");

    assert_eq!(ada.get("/weir/v1/registries").await.status(), 403);
    assert_eq!(ada.get("/imports/registries").await.status(), 403);
    let admin = weir.admin().await;
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    weir.state.importer.write_down_answers().await.expect("written");
    let shown: Value = admin.get("/weir/v1/registries").await.json().await.expect("JSON");
    let items = shown["items"].as_array().expect("a list");
    assert_eq!(items.len(), 2, "{shown}");
    let accounts: Vec<_> = items.iter().map(|one| (one["host"].clone(), one["account"].clone())).collect();
    assert_eq!(accounts, [(json!(host), json!("")), (json!(host), json!("robot"))]);
    assert_eq!((&items[0]["restsUntil"], &items[0]["spend24h"][0]["project"]), (&Value::Null, &json!("demo")));
    assert_eq!(items[0]["spend24h"][0]["manifests"], json!(1), "{shown}");
    assert_eq!((&items[1]["restReason"], &items[1]["tags"]), (&json!("rate-limit"), &json!(1)));
    assert!(items[1]["restsUntil"].is_string(), "{shown}");
    for path in ["/imports/registries".to_owned(), format!("/imports/registries/{host}")] {
        let page = admin.get(&path).await.text().await.expect("a page");
        for words in [&*host, "As robot", "Limit used up", "Nothing is asked of it until", "higher limit"] {
            assert!(page.contains(words), "{path} does not say {words:?}: {page}");
        }
        assert!(!page.contains("hunter2") && !shown.to_string().contains("hunter2"));
    }
    let project = admin.get("/p/other/imports?f=limited").await.text().await.expect("a page");
    assert!(project.contains("base:1") && project.contains("rate-limit"), "{project}");
    let tag = admin.get("/p/other/streams/base/tags/1").await.text().await.expect("a page");
    assert!(tag.contains("the registry wants to be left alone until then"), "{tag}");
    let rest: Value = admin.get("/weir/v1/projects/other/streams/base/tags/1").await.json().await.expect("JSON");
    assert_eq!((&rest["import"]["overdue"], &rest["import"]["reason"]), (&json!(false), &json!("rate-limit")));
    weir.stop().await;
}

#[tokio::test]
async fn site_admins_see_which_registries_do_not_answer() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let admin = weir.admin().await;
    let image = TestImage::new("one");
    let (tags, rules) = (Misbehaving::start(&image).await, Misbehaving::start(&image).await);
    follow(&weir, "demo", "base:1", TagSpec::import(tags.reference("org/app:1"))).await;
    weir.settle().await;
    for registry in [&tags, &rules] {
        registry.misbehave(|_| Some(answer(500, &[], "")));
    }
    let rule = json!({"name": "all", "repository": rules.reference("org/app"), "patternKind": "all", "insecure": true});
    let path = "/weir/v1/projects/demo/streams/base/import-rules";
    let made = ada.post(path, &rule).await;
    assert_eq!(made.status(), 201, "{}", made.text().await.unwrap_or_default());
    weir.settle().await;
    weir.state.importer.write_down_answers().await.expect("written");
    let card = async |registry: &Misbehaving| {
        let host = registry.upstream.address();
        let shown: Value = admin.get("/weir/v1/registries").await.json().await.expect("JSON");
        let items = shown["items"].as_array().expect("a list");
        let one = items.iter().find(|one| one["host"] == *host).expect("the registry").clone();
        let page = admin.get(&format!("/imports/registries/{host}")).await.text().await.expect("a page");
        ((one["unanswered"].as_i64(), one["unlisted"].as_i64()), page)
    };
    let (counts, page) = card(&rules).await;
    assert_eq!(counts, (Some(0), Some(1)));
    assert!(page.contains("No answer for 1 import rule"), "{page}");
    assert!(card(&tags).await.1.contains(">Answers<"));

    let check = "/weir/v1/projects/demo/streams/base/tags/1/check";
    assert_eq!(ada.post(check, &json!({})).await.status(), 200);
    weir.settle().await;
    weir.state.importer.write_down_answers().await.expect("written");
    let (counts, page) = card(&tags).await;
    assert_eq!(counts, (Some(1), Some(0)));
    assert!(page.contains("Does not answer"), "{page}");
    weir.stop().await;
}
