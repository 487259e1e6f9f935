//! Registries that are slow, wrong, busy, or send us elsewhere.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use weir::model::Digest;
use weir::server::hash::sha256;
use weir::server::oci::{Client, Error, Options, RateLimit};

use super::{as_user, insecure, list_tags};
use crate::upstreams::Upstream;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

fn impatient() -> Client {
    let short = Duration::from_millis(300);
    let options =
        Options { connect_timeout: short, question_timeout: short, idle_timeout: short, ..Options::default() };
    Client::new(options)
}

async fn error_of(answer_with: impl Fn() -> Response + Send + Sync + 'static) -> (Error, Upstream) {
    let upstream = Upstream::answering(move |_| answer_with()).await;
    let error = Client::default().get_manifest(&upstream.reference("org/app:1"), &insecure()).await;
    (error.expect_err("an error"), upstream)
}

#[tokio::test]
async fn limits_are_told_apart() {
    let hub = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let (pulls, upstream) = error_of(move || answer(429, &[("retry-after", "120")], hub)).await;
    let registry = upstream.address().to_owned();
    let retry_after = Some(Duration::from_secs(120));
    assert_eq!(pulls, Error::RateLimited { registry: registry.clone(), retry_after, abuse: false });
    let (abuse, upstream) = error_of(|| answer(429, &[], "Too Many Requests")).await;
    assert_eq!(abuse, Error::RateLimited { registry: upstream.address().into(), retry_after: None, abuse: true });
    assert_ne!(pulls.to_string().replace(&registry, ""), abuse.to_string().replace(upstream.address(), ""));
    assert_eq!(upstream.seen().len(), 1, "a limited registry is asked once and left alone");
}

#[tokio::test]
async fn allowances_are_read() {
    let image = TestImage::new("limited");
    let (digest, manifest) = (image.digest().to_string(), image.manifest.clone());
    let upstream = Upstream::answering(move |_| {
        let headers = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "7;w=21600"),
            ("docker-content-digest", &*digest),
        ];
        answer(200, &headers, manifest.clone())
    })
    .await;
    let (limit, remaining, window_seconds) = (Some(100), Some(7), Some(21600));
    let expected = Some(RateLimit { limit, remaining, window_seconds, reset_seconds: None });
    let (client, reference) = (Client::default(), upstream.reference("a:1"));
    let head = client.head_manifest(&reference, None, &insecure()).await.expect("asked").expect("told");
    assert_eq!((head.digest, head.rate_limit), (image.digest(), expected));
    assert_eq!(client.get_manifest(&reference, &insecure()).await.expect("fetched").rate_limit, expected);
}

#[tokio::test]
async fn statuses_have_names() {
    for (status, reason, transient) in [
        (403, "denied", false),
        (404, "not-found", false),
        (418, "other", false),
        (500, "upstream", true),
        (503, "upstream", true),
    ] {
        let body = r#"{"errors":[{"code":"UNKNOWN","message":"no"}]}"#;
        let (error, upstream) = error_of(move || answer(status, &[], body)).await;
        assert_eq!((error.reason(), error.is_transient()), (reason, transient), "{status}: {error}");
        assert_eq!(upstream.seen().len(), 1, "{status} is not asked again");
    }
}

#[tokio::test]
async fn silence_ends_in_time() {
    let upstream = Upstream::start(|_| Box::pin(std::future::pending())).await;
    let (client, reference) = (impatient(), upstream.reference("a:1"));
    let begun = Instant::now();
    let expected = Error::Timeout { registry: upstream.address().into() };
    assert_eq!(client.get_manifest(&reference, &insecure()).await, Err(expected.clone()));
    assert_eq!(client.head_manifest(&reference, None, &insecure()).await, Err(expected.clone()));
    assert_eq!(list_tags(&client, &reference).await, Err(expected));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_is_an_error() {
    let stalls = || stream::iter([Ok(Bytes::from_static(b"some"))]).chain(stream::pending::<Result<Bytes, String>>());
    let upstream = Upstream::answering(move |_| answer(200, &[], Body::from_stream(stalls()))).await;
    let (client, digest) = (impatient(), sha256(b"whatever"));
    let blob = client.get_blob(&upstream.reference("a"), &digest, &insecure()).await.expect("begun");
    let broken = blob.stream.try_collect::<Vec<_>>().await.expect_err("stalled");
    assert_eq!(broken.reason(), "timeout", "{broken}");

    let breaks = || stream::iter([Ok(Bytes::from_static(b"some")), Err("broken")]);
    let upstream = Upstream::answering(move |_| answer(200, &[], Body::from_stream(breaks()))).await;
    // Whether the head of the answer still gets out is a matter of luck.
    let broken = match client.get_blob(&upstream.reference("a"), &digest, &insecure()).await {
        Ok(blob) => blob.stream.try_collect::<Vec<_>>().await.expect_err("broken off"),
        Err(e) => e,
    };
    assert_eq!(broken.reason(), "unreachable", "{broken}");
}

#[tokio::test]
async fn lies_about_content_are_found() {
    let image = TestImage::new("honest");
    let lie = sha256(b"something else");
    let bytes = image.manifest.clone();
    let claimed = lie.to_string();
    let upstream = Upstream::answering(move |seen| {
        let headers: &[_] = if seen.uri.contains("lies") { &[("docker-content-digest", &*claimed)] } else { &[] };
        answer(200, headers, bytes.clone())
    })
    .await;
    let client = Client::default();
    let get = |path: &str| {
        let (client, reference) = (&client, upstream.reference(path));
        async move { client.get_manifest(&reference, &insecure()).await }
    };
    let wrong = get(&format!("honest@{lie}")).await.expect_err("other content");
    assert_eq!(wrong.to_string(), format!("content integrity error: expected {lie}, received {}", image.digest()));
    assert_eq!(get("lies:1").await.expect_err("another claim").reason(), "integrity");
    get("honest:1").await.expect("no claim, no lie");
    let config = client.get_small_blob(&upstream.reference("honest"), &lie, &insecure()).await;
    assert_eq!(config.expect_err("other content").reason(), "integrity");

    let sha512: Digest = weir::server::hash::digest_like(
        &format!("sha512:{}", "0".repeat(128)).parse().expect("a digest"),
        &image.manifest,
    );
    assert_eq!(get(&format!("honest@{sha512}")).await.expect("proven by sha512").manifest.digest, sha512);
}

#[tokio::test]
async fn what_is_no_manifest_is_refused() {
    for body in ["", "<html>", "{}", r#"{"schemaVersion":1}"#, r#"{"schemaVersion":2,"mediaType":"x/y","config":null}"#]
    {
        let (error, _) = error_of(move || answer(200, &[], body)).await;
        assert_eq!(error.reason(), "other", "{body}: {error}");
    }
    let endless = || Body::from_stream(stream::repeat_with(|| Ok::<_, String>(Bytes::from_static(&[b' '; 65536]))));
    let (error, _) = error_of(move || answer(200, &[], endless())).await;
    assert!(error.to_string().ends_with("the manifest is larger than 4 MiB"), "{error}");
}

#[tokio::test]
async fn a_head_that_tells_nothing_is_no_answer() {
    for status in [200, 405] {
        let upstream = Upstream::answering(move |_| answer(status, &[], "")).await;
        let head = Client::default().head_manifest(&upstream.reference("a:1"), None, &insecure()).await;
        assert_eq!(head, Ok(None), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_password() {
    let elsewhere = Upstream::answering(|_| answer(200, &[], "the bytes")).await;
    let target = format!("http://{}/signed?key=1", elsewhere.address());
    let upstream = Upstream::answering(move |seen| match seen.authorization() {
        None => answer(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        Some(_) if seen.uri.contains("/moved/") => answer(307, &[("location", &target)], ""),
        Some(_) => answer(302, &[("location", "/v2/moved/blobs/here")], ""),
    })
    .await;
    let access = as_user("ann", "right");
    let blob = Client::default().get_blob(&upstream.reference("a"), &sha256(b"the bytes"), &access).await;
    let bytes: Vec<Bytes> = blob.expect("begun").stream.try_collect().await.expect("its bytes");
    assert_eq!(bytes.concat(), b"the bytes");
    assert!(upstream.seen().iter().any(|seen| seen.uri.contains("/moved/") && seen.authorization().is_some()));
    let seen = elsewhere.seen();
    assert_eq!((seen.len(), seen[0].method.clone()), (1, Method::GET));
    assert_eq!(seen[0].authorization(), None, "the password went to another host");
}

#[tokio::test]
async fn circles_end() {
    let (error, upstream) = error_of(|| answer(301, &[("location", "/v2/org/app/manifests/1")], "")).await;
    assert!(error.to_string().ends_with("it redirects more than 5 times"), "{error}");
    assert_eq!(upstream.seen().len(), 6);
    let (error, _) = error_of(|| answer(301, &[("location", "file:///etc/passwd")], "")).await;
    assert_eq!(error.reason(), "other", "{error}");
}

#[tokio::test]
async fn nine_thousand_tags_are_all_seen() {
    let upstream = Upstream::answering(|seen| {
        let after: usize = seen.uri.split("last=").nth(1).and_then(|last| last.parse().ok()).unwrap_or(0);
        let end = (after + 1000).min(9036);
        let tags: Vec<String> = (after..end).map(|n| format!("\"{n}\"")).collect();
        let body = format!(r#"{{"name":"node","tags":[{}]}}"#, tags.join(","));
        // As Docker Hub writes it: relative, with the page's size.
        let link = format!("</v2/node/tags/list?n=1000&last={end}>; rel=\"next\"");
        let headers = [("link", link.as_str())];
        answer(200, if end < 9036 { &headers } else { &[] }, body)
    })
    .await;
    let (client, reference) = (Client::default(), upstream.reference("node"));
    let tags = list_tags(&client, &reference).await.expect("listed");
    assert_eq!(tags.len(), 9036);
    assert_eq!(tags.last().map(String::as_str), Some("9035"));
    let page = client.list_tags_page(&reference, Some("n=1000&last=9000"), &insecure()).await.expect("resumed");
    assert_eq!((page.tags.len(), page.next), (36, None));
}

#[tokio::test]
async fn a_listing_that_never_ends_ends() {
    let page = || answer(200, &[("link", "</v2/a/tags/list?n=1>; rel=\"next\"")], r#"{"tags":["x"]}"#);
    let upstream = Upstream::answering(move |_| page()).await;
    let tags = list_tags(&Client::default(), &upstream.reference("a")).await.expect("listed");
    assert!(tags.len() <= 3, "{}", tags.len());
    let page =
        Client::default().list_tags_page(&upstream.reference("a"), Some("n=1"), &insecure()).await.expect("a page");
    assert!(page.next.is_none() && page.breaks_off, "it is not the end");
}
