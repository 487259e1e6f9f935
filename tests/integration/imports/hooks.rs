//! Webhooks from registries.

use reqwest::Method;
use serde_json::{Value, json};
use weir::model::Role;
use weir::server::store::TagSpec;

use super::follow;
use super::upstream::Misbehaving;
use crate::support::TestWeir;
use crate::upstreams::images::TestImage;

const HOOK: &str = "/weir/v1/projects/demo/registry-hook";

#[tokio::test]
async fn a_message_moves_the_check_forward_and_tells_nothing_else() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let eve = weir.user("eve", "other", Role::Admin).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    follow(&weir, "demo", "base:1", TagSpec::import(registry.reference("org/app:1"))).await;
    weir.settle().await;
    let tag = async || weir.store().tag("demo", "base", "1").await.expect("the tag");
    let next = async || weir.store().find_import(&tag().await.id).await.expect("asked").expect("it follows").next_at;
    let planned = next().await;

    assert_eq!(eve.get(HOOK).await.status(), 403, "the secret is for the project's admins");
    let shown: Value = ada.get(HOOK).await.json().await.expect("JSON");
    let secret = shown["secret"].as_str().expect("a secret").to_owned();
    let lie = json!({"events": [{"action": "push", "target": {"repository": "org/app", "tag": "1",
        "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000"}}]});
    let anon = weir.anon();
    let post = async |path: &str, authorization: Option<&str>, body: &Value| {
        let request = anon.request(Method::POST, path).json(body);
        let request = match authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default()["checks"].clone())
    };
    for (path, authorization) in [
        (HOOK.to_owned(), None),
        (HOOK.to_owned(), Some("Bearer wrong")),
        (format!("{HOOK}/wrong"), None),
        (format!("/weir/v1/projects/none/registry-hook/{secret}"), None),
        (format!("/weir/v1/projects/other/registry-hook/{secret}"), None),
    ] {
        assert_eq!(post(&path, authorization, &lie).await.0, 401, "{path}");
    }
    assert_eq!(next().await, planned);

    let bearer = format!("Bearer {secret}");
    assert_eq!(post(HOOK, Some(&bearer), &json!({"events": []})).await, (202, json!(0)));
    assert_eq!(post(HOOK, Some(&bearer), &lie).await, (202, json!(1)));
    let moved = next().await;
    assert!(moved < planned, "{moved:?} is not before {planned:?}");
    assert_eq!(post(&format!("{HOOK}/{secret}"), None, &lie).await, (202, json!(0)), "once is enough");
    weir.settle().await;
    assert_eq!(tag().await.digest, Some(one.digest().to_string()), "what the message claims is not believed");
    registry.set(&two);

    let long = json!({"events": [], "padding": "x".repeat(300_000)});
    assert_eq!(post(HOOK, Some(&bearer), &long).await.0, 413);
    let renewed: Value = ada.request(Method::DELETE, HOOK).send().await.expect("an answer").json().await.expect("JSON");
    assert_ne!(renewed["secret"], json!(secret));
    assert_eq!(post(HOOK, Some(&bearer), &lie).await.0, 401, "the old secret is good for nothing");
    weir.stop().await;
}
