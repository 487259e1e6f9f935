//! Registries that want to know who asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::Method;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use weir::server::oci::{Client, Error};

use super::{as_user, insecure};
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;
use crate::upstreams::{Seen, Upstream};

fn manifest(image: &TestImage) -> Response {
    answer(200, &[("content-type", image.media_type)], image.manifest.clone())
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{username}:{password}")))
}

/// A registry whose token server is its own `/token`, for user `ann` with password `right` and for nobody in `public/`.
/// A token is the word `token-` and how many were given before; only the newest is taken.
async fn token_registry(image: TestImage) -> Upstream {
    let given = Arc::new(AtomicUsize::new(0));
    Upstream::answering(move |seen: &Seen| {
        if seen.path() == "/token" {
            let anonymous = seen.authorization().is_none();
            if !(anonymous && seen.uri.contains("public")) && seen.authorization() != Some(&basic("ann", "right")) {
                return answer(401, &[], r#"{"details":"unauthorized"}"#);
            }
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return answer(200, &[], format!(r#"{{"token":"token-{number}","expires_in":300}}"#));
        }
        let valid = format!("Bearer token-{}", given.load(Ordering::SeqCst));
        if seen.authorization() == Some(&valid) {
            return manifest(&image);
        }
        let host = seen.header("host").unwrap_or_default();
        let challenge = format!(
            r#"Bearer realm="http://{host}/token",service="the registry",scope="repository:{}:pull""#,
            seen.path().trim_start_matches("/v2/").split("/manifests").next().unwrap_or_default()
        );
        answer(401, &[("www-authenticate", &challenge)], "")
    })
    .await
}

fn tokens_asked(upstream: &Upstream) -> Vec<Seen> {
    upstream.seen().into_iter().filter(|seen| seen.path() == "/token").collect()
}

#[tokio::test]
async fn basic_is_met_once_and_then_sent_ahead() {
    let image = TestImage::new("basic");
    let served = image.clone();
    let upstream = Upstream::answering(move |seen| match seen.authorization() == Some(&basic("ann", "right")) {
        true => manifest(&served),
        false => answer(401, &[("www-authenticate", "Basic realm=\"Registry Realm\"")], ""),
    })
    .await;
    let (client, reference) = (Client::default(), upstream.reference("org/app:1"));
    for _ in 0..3 {
        let fetched = client.get_manifest(&reference, &as_user("ann", "right")).await.expect("fetched");
        assert_eq!(fetched.manifest.digest, image.digest());
    }
    assert_eq!(upstream.count(&Method::GET), 4, "one 401, then three answers");

    let wrong = client.get_manifest(&reference, &as_user("ann", "wrong")).await;
    assert_eq!(wrong, Err(Error::WrongPassword { reference: reference.exact() }));
    let anonymous = client.get_manifest(&reference, &insecure()).await.expect_err("denied");
    let expected = format!("you may not have access to the container image \"{}\"", reference.exact());
    assert_eq!(anonymous.to_string(), expected);
    client.get_manifest(&reference, &as_user("ann", "right")).await.expect("the right one still works");
}

#[tokio::test]
async fn tokens_are_fetched_once_for_many() {
    let image = TestImage::new("token");
    let upstream = token_registry(image.clone()).await;
    let (client, reference) = (Client::default(), upstream.reference("org/app:1"));
    let access = as_user("ann", "right");
    for fetched in join_all((0..20).map(|_| client.get_manifest(&reference, &access))).await {
        assert_eq!(fetched.expect("fetched").manifest.digest, image.digest());
    }
    let asked = tokens_asked(&upstream);
    assert_eq!(asked.len(), 1);
    for part in ["service=the+registry", "scope=repository%3Aorg%2Fapp%3Apull", "account=ann"] {
        assert!(asked[0].uri.contains(part), "{}", asked[0].uri);
    }
    assert!(
        upstream.seen().iter().filter(|s| s.path() != "/token").all(|s| s.authorization() != asked[0].authorization())
    );
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_renewed() {
    let image = TestImage::new("renew");
    let upstream = token_registry(image.clone()).await;
    let access = as_user("ann", "right");
    let (client, other) = (Client::default(), Client::default());
    let reference = upstream.reference("org/app:1");
    client.get_manifest(&reference, &access).await.expect("fetched");
    other.get_manifest(&reference, &access).await.expect("fetched, with a newer token");
    client.get_manifest(&reference, &access).await.expect("fetched again");
    assert_eq!(tokens_asked(&upstream).len(), 3);
}

#[tokio::test]
async fn anonymous_tokens_and_refusals() {
    let upstream = token_registry(TestImage::new("public")).await;
    let client = Client::default();
    client.get_manifest(&upstream.reference("public/app:1"), &insecure()).await.expect("anybody may");
    let denied = client.get_manifest(&upstream.reference("private/app:1"), &insecure()).await;
    assert_eq!(denied.expect_err("denied").reason(), "denied");
    let wrong = client.get_manifest(&upstream.reference("private/app:1"), &as_user("ann", "wrong")).await;
    let wrong = wrong.expect_err("refused").to_string();
    assert!(wrong.starts_with("incorrect username or password for image \""), "{wrong}");
}

/// SEMANTICS 6.4: "If any 401 mentions username/password, the whole import is repeated anonymously."
#[tokio::test]
async fn section_6_4_what_is_public_needs_no_password_that_works() {
    let upstream = token_registry(TestImage::new("public")).await;
    let (client, reference) = (Client::default(), upstream.reference("public/app:1"));
    let wrong = as_user("ann", "wrong");
    assert!(!client.is_refused(&reference, &wrong));
    for _ in 0..3 {
        client.get_manifest(&reference, &wrong).await.expect("anybody may");
    }
    assert!(client.is_refused(&reference, &wrong) && !client.is_signed_in(&reference, &wrong).await);
    let shown = tokens_asked(&upstream).iter().filter(|seen| seen.authorization().is_some()).count();
    assert_eq!(shown, 1, "a password that was refused is not shown again and again");
    client.get_manifest(&reference, &as_user("ann", "right")).await.expect("another one is tried at once");
    assert!(!client.is_refused(&upstream.reference("private/app:1"), &wrong), "it went without nowhere else");
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let image = TestImage::new("identity");
    let served = image.clone();
    let upstream = Upstream::answering(move |seen| {
        let host = seen.header("host").unwrap_or_default();
        match (seen.path(), seen.authorization()) {
            ("/token", None) if seen.method == Method::POST && seen.body.contains("refresh_token=the-identity") => {
                answer(200, &[], r#"{"access_token":"good"}"#)
            }
            ("/token", _) => answer(400, &[], ""),
            (_, Some("Bearer good")) => manifest(&served),
            _ => answer(401, &[("www-authenticate", &format!("Bearer realm=\"http://{host}/token\""))], ""),
        }
    })
    .await;
    let access = as_user("<token>", "the-identity");
    let fetched = Client::default().get_manifest(&upstream.reference("a:1"), &access).await.expect("fetched");
    assert_eq!(fetched.manifest.digest, image.digest());
}

#[tokio::test]
async fn odd_challenges_are_refusals_not_crashes() {
    let client = Client::default();
    for challenge in
        ["", "Negotiate", "Bearer realm=\"not a url\"", "Bearer realm=\"ftp://x/\"", "Bearer", "Digest realm=\"x\""]
    {
        let upstream =
            Upstream::answering(move |_| answer(401, &[("www-authenticate", challenge)], "<html>no</html>")).await;
        let error =
            client.get_manifest(&upstream.reference("a:1"), &as_user("ann", "right")).await.expect_err(challenge);
        assert!(["denied", "other"].contains(&error.reason()), "{challenge}: {error}");
        assert!(upstream.seen().iter().all(|seen| seen.authorization().is_none()), "{challenge}: a password went out");
    }
}
