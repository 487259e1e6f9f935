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

/// What registries send when `org/app` got a new image under this tag, and how they show the secret: in the address, in `Authorization`, or
/// by signing with it.
fn messages(tag: &str) -> [(&'static str, Shown, Value); 5] {
    [
        (
            "Docker Hub",
            Shown::InAddress,
            json!({"callback_url": "https://registry.hub.docker.com/u/org/app/hook/1/", "push_data": {"pusher": "ada", "tag": tag},
                "repository": {"name": "app", "namespace": "org", "repo_name": "org/app"}}),
        ),
        (
            "Quay",
            Shown::InAddress,
            json!({"name": "app", "repository": "org/app", "namespace": "org", "docker_url": "quay.io/org/app",
                "homepage": "https://quay.io/repository/org/app", "updated_tags": [tag]}),
        ),
        (
            "Harbor",
            Shown::InHeader,
            json!({"type": "PUSH_ARTIFACT", "occur_at": 1, "operator": "ada", "event_data": {
                "resources": [{"digest": "sha256:0", "tag": tag, "resource_url": format!("harbor.example.com/org/app:{tag}")}],
                "repository": {"name": "app", "namespace": "org", "repo_full_name": "org/app", "repo_type": "private"}}}),
        ),
        (
            "GHCR",
            Shown::BySignature,
            json!({"action": "published", "registry_package": {"name": "App", "namespace": "Org", "package_type": "CONTAINER",
                "package_version": {"container_metadata": {"tag": {"name": tag, "digest": "sha256:0"}}}}}),
        ),
        (
            "distribution",
            Shown::InHeader,
            json!({"events": [
                {"action": "push", "target": {"mediaType": "application/octet-stream", "repository": "org/app", "digest": "sha256:0"}},
                {"action": "push", "target": {"repository": "org/app", "tag": tag}, "request": {"host": "registry:5000"}}]}),
        ),
    ]
}

#[derive(Clone, Copy)]
enum Shown {
    InAddress,
    InHeader,
    BySignature,
}

#[tokio::test]
async fn c16_each_registrys_message_moves_the_check_of_a_tag_and_the_listing_of_a_rule_that_wants_a_new_one() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Admin).await;
    let registry = crate::upstreams::lister().await;
    let secret = ada.get_json(HOOK).await["secret"].as_str().expect("a secret").to_owned();
    follow(&weir, "demo", "base:1", TagSpec::import(format!("{}/org/app:1", registry.address()))).await;
    let rule = json!({"name": "nine", "repository": format!("{}/org/app", registry.address()), "patternKind": "glob",
        "pattern": "9.*", "insecure": true});
    weir.store().ensure_stream("demo", &"rules".parse().unwrap(), &crate::support::tester()).await.expect("a stream");
    ada.post_json("/weir/v1/projects/demo/streams/rules/import-rules", &rule, reqwest::StatusCode::CREATED).await;
    weir.settle().await;
    let send = async |how: Shown, message: &Value| {
        let body = message.to_string();
        let path = if matches!(how, Shown::InAddress) { format!("{HOOK}/{secret}") } else { HOOK.to_owned() };
        let request = weir.anon().request(Method::POST, &path).header("content-type", "application/json");
        let request = match how {
            Shown::InAddress => request,
            Shown::InHeader => request.header("authorization", format!("Bearer {secret}")),
            Shown::BySignature => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
                let signature = hex::encode(ring::hmac::sign(&key, body.as_bytes()));
                request.header("x-hub-signature-256", format!("sha256={signature}"))
            }
        };
        let answer = request.body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        let told: Value = answer.json().await.expect("JSON");
        (told["checks"].as_u64(), told["listings"].as_u64())
    };
    let known = messages("1").into_iter().zip(messages("9.1"));
    for ((name, how, of_known), (_, _, of_new)) in known {
        weir.run_sql("update tag_imports set last_try_at = 0, next_at = 9000000000000, overdue_at = 9000000000000")
            .await;
        weir.run_sql("update import_rules set tried_at = 0, next_at = 9000000000000").await;
        assert_eq!(send(how, &of_known).await, (Some(1), Some(0)), "{name}");
        assert_eq!(send(how, &of_known).await, (Some(0), Some(0)), "{name}: once is enough");
        assert_eq!(send(how, &of_new).await, (Some(0), Some(1)), "{name}: a new tag that a rule wants");
        assert_eq!(send(how, &of_new).await, (Some(0), Some(0)), "{name}: once is enough");
        let lists = || registry.seen().iter().filter(|seen| seen.path().ends_with("/tags/list")).count();
        let before = lists();
        weir.settle().await;
        assert!(lists() > before, "{name}: the repository is listed");
        // The last listing is less than a minute ago: the next comes when that is over, and not at once.
        assert_eq!(send(how, &of_new).await, (Some(0), Some(1)), "{name}");
        let rule = ada.get_json("/weir/v1/projects/demo/streams/rules/import-rules/nine").await;
        assert_eq!(rule["listing"]["outcome"], json!("ok"), "{name}: {rule}");
        let (before, next) = (lists(), rule["listing"]["nextAt"].clone());
        weir.settle().await;
        assert_eq!(lists(), before, "{name}: {next}");
    }
    weir.stop().await;
}
