//! Every way in which another registry can fail, in one table: what it is called, what people are told, how long the registry is left
//! alone, and that the tag stays where it is and goes on once the registry does. One that never answers is in `words`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use reqwest::Method;
use weir::model::{EventKind, Outcome, Role, now};
use weir::server::hash::sha256;
use weir::server::store::TagSpec;

use super::follow;
use super::upstream::{Misbehaving, Mood};
use super::words::import;
use crate::support::{TestWeir, tester};
use crate::upstreams::Seen;
use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;

struct Trouble {
    name: &'static str,
    mood: Mood,
    /// The word and the text that people are told.
    reason: &'static str,
    told: &'static str,
    /// Seconds that the registry is left alone.
    rest: Option<RangeInclusive<i64>>,
}

impl Trouble {
    fn new(
        name: &'static str,
        reason: &'static str,
        told: &'static str,
        mood: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self { name, mood: Arc::new(mood), reason, told, rest: None }
    }

    /// Whatever is asked is answered so.
    fn answering(
        name: &'static str,
        reason: &'static str,
        told: &'static str,
        status: u16,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
    ) -> Self {
        Self::new(name, reason, told, move |_| Some(answer(status, headers, body)))
    }

    fn resting(self, seconds: RangeInclusive<i64>) -> Self {
        Self { rest: Some(seconds), ..self }
    }
}

/// What the registry of a trouble has once it has changed; everything of it is new.
fn image_of(name: &str) -> TestImage {
    TestImage::new(&format!("two of {name}"))
}

const HUB: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
/// The first rest after a refusal that gives no time: a minute, give or take a tenth, on a machine that may be slow.
const A_MINUTE: RangeInclusive<i64> = 25..=66;

fn refusals() -> Vec<Trouble> {
    const DENIED: &str = "you may not have access to the container image \"";
    let row = Trouble::answering;
    // Only an answer with a body says so.
    let words = Trouble::new("401-words", "wrong-password", "incorrect username or password for image \"", |seen| {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
        Some(if seen.method == Method::HEAD { answer(405, &[], "") } else { answer(401, &[], body) })
    });
    vec![
        row("401", "denied", DENIED, 401, &[], ""),
        row("401-basic", "denied", DENIED, 401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        row("401-odd", "denied", DENIED, 401, &[("www-authenticate", "Negotiate")], ""),
        words,
        row("403", "denied", DENIED, 403, &[], ""),
        row("404", "not-found", "was not found: check its name and tag", 404, &[], ""),
        row("410", "not-found", "was not found: check its name and tag", 410, &[], ""),
        row("418", "other", "the registry answered 418", 418, &[], ""),
        row("500", "upstream", "has trouble of its own: it answered 500", 500, &[], ""),
        row("503", "upstream", "has trouble of its own: it answered 503", 503, &[], ""),
        row(
            "503-seconds",
            "upstream",
            "it answered 503; Weir asks it nothing more for 2 min",
            503,
            &[("retry-after", "120")],
            "",
        )
        .resting(67..=120),
    ]
}

/// A registry that refuses for now. What a body tells is told where there is one: not to a HEAD, which goes well then.
fn limit(
    name: &'static str,
    reason: &'static str,
    told: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> Trouble {
    let refuses = move |seen: &Seen| body.is_empty() || seen.method != Method::HEAD;
    Trouble::new(name, reason, told, move |seen| refuses(seen).then(|| answer(429, headers, body)))
}

fn limits() -> Vec<Trouble> {
    const USED_UP: &str = "Credentials of an account with a higher limit help";
    const TOO_OFTEN: &str = "for asking too often";
    let (limited, abused) = ("rate-limit", "abuse-limit");
    let dated = Trouble::new("429-date", limited, "asks it nothing more for", |seen| {
        let at = Timestamp::now() + jiff::SignedDuration::from_secs(300);
        let at = at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        (seen.method != Method::HEAD).then(|| answer(429, &[("retry-after", &at)], HUB))
    });
    let allowance = &[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")];
    vec![
        limit("429-seconds", limited, "nothing more for 2 min", &[("retry-after", "120")], HUB).resting(67..=120),
        dated.resting(200..=300),
        limit("429-allowance", limited, USED_UP, allowance, "").resting(A_MINUTE),
        limit("429-coded", limited, USED_UP, &[], HUB).resting(A_MINUTE),
        limit("429-no-time", limited, USED_UP, &[("retry-after", "0")], HUB).resting(A_MINUTE),
        limit("429-soon", limited, USED_UP, &[("retry-after", "soon")], HUB).resting(A_MINUTE),
        limit("429-ever", limited, USED_UP, &[("retry-after", "99999999999")], HUB).resting(86_000..=86_400),
        limit("429-bare", abused, TOO_OFTEN, &[], "Too Many Requests").resting(A_MINUTE),
        limit("429-head", abused, TOO_OFTEN, &[("retry-after", "900")], "").resting(800..=900),
    ]
}

fn redirects() -> Vec<Trouble> {
    const TOO_MANY: &str = "it redirects more than 5 times";
    let hop = AtomicUsize::new(0);
    vec![
        Trouble::answering("loop", "other", TOO_MANY, 301, &[("location", "/v2/org/app/manifests/1")], ""),
        Trouble::new("pair", "other", TOO_MANY, |seen| {
            let to = if seen.path() == "/there" { "/back" } else { "/there" };
            Some(answer(307, &[("location", to)], ""))
        }),
        Trouble::new("for-ever", "other", TOO_MANY, move |_| {
            let to = format!("/hop/{}", hop.fetch_add(1, Ordering::Relaxed));
            Some(answer(302, &[("location", &to)], ""))
        }),
        Trouble::answering("to-ftp", "other", "which is not https", 302, &[("location", "ftp://example.com/x")], ""),
        Trouble::answering("to-nowhere", "other", "it redirects to nowhere", 302, &[("location", "http://[")], ""),
    ]
}

fn spaces() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, String>(Bytes::from_static(&[b' '; 65536]))))
}

fn is_manifest(seen: &Seen) -> bool {
    seen.method == Method::GET && seen.path().contains("/manifests/")
}

/// A registry whose answer to a question for these bytes is another one.
fn instead_of(bytes: Bytes, other: impl Fn() -> Response) -> impl Fn(&Seen) -> Option<Response> {
    let digest = sha256(&bytes).to_string();
    move |seen| seen.path().ends_with(&digest).then(&other)
}

fn lies() -> Vec<Trouble> {
    const MISMATCH: &str = "content integrity error";
    let manifest = |name, reason, told, other: fn(&TestImage) -> Response| {
        let image = image_of(name);
        Trouble::new(name, reason, told, move |seen| is_manifest(seen).then(|| other(&image)))
    };
    let config = |name, reason, told, other: fn() -> Response| {
        Trouble::new(name, reason, told, instead_of(image_of(name).config, other))
    };
    let layer = |name, reason, told, other: fn(usize) -> Response| {
        let bytes = image_of(name).layer;
        let length = bytes.len();
        Trouble::new(name, reason, told, instead_of(bytes, move || other(length)))
    };
    let broken = || {
        let pieces = stream::iter([Ok(Bytes::from_static(b"la"))]).chain(stream::once(async { Err("broken") }));
        Body::from_stream(pieces)
    };
    vec![
        manifest("endless", "other", "the manifest is larger than 4 MiB", |_| answer(200, &[], spaces())),
        manifest("html", "other", "the manifest is not valid", |_| answer(200, &[], "<html>")),
        manifest("schema-1", "other", "Docker schema 1", |_| answer(200, &[], r#"{"schemaVersion":1}"#)),
        manifest("other-type", "other", "but was sent as \"text/html\"", |image| {
            answer(200, &[("content-type", "text/html")], image.manifest.clone())
        }),
        manifest("wrong-digest", "integrity", MISMATCH, |image| {
            let another = sha256(b"another").to_string();
            answer(200, &[("docker-content-digest", another.as_str())], image.manifest.clone())
        }),
        manifest("gone-since", "not-found", "was not found", |_| answer(404, &[], "")),
        config("endless-config", "other", "its configuration is larger than 4 MiB", || answer(200, &[], spaces())),
        config("wrong-config", "integrity", MISMATCH, || answer(200, &[], "{}")),
        config("no-config", "not-found", "was not found", || answer(404, &[], "")),
        layer("wrong-bytes", "integrity", "", |length| answer(200, &[], vec![b'x'; length])),
        layer("too-short", "integrity", "", |length| answer(200, &[], vec![b'x'; length - 1])),
        layer("too-long", "integrity", "", |length| answer(200, &[], vec![b'x'; length + 1])),
        layer("endless-layer", "integrity", "", |_| answer(200, &[], spaces())),
        layer("no-layer", "not-found", "was not found", |_| answer(404, &[], "")),
        layer("denied-layer", "denied", "you may not have access", |_| answer(403, &[], "")),
        Trouble::new(
            "broken-layer",
            "unreachable",
            "cannot be reached",
            instead_of(image_of("broken-layer").layer, move || answer(200, &[], broken())),
        ),
    ]
}

#[tokio::test]
async fn each_trouble_is_told_by_its_name_and_the_tag_stays_where_it_is() {
    let weir = TestWeir::start().await;
    let ada = weir.user("ada", "demo", Role::Editor).await;
    let one = TestImage::new("one");
    let troubles: Vec<Trouble> = [refusals(), limits(), redirects(), lies()].into_iter().flatten().collect();
    // Each at a registry of its own: what one does is no other's trouble.
    let mut registries = Vec::new();
    for trouble in &troubles {
        let registry = Misbehaving::start(&one).await;
        let spec = TagSpec::import(registry.reference("org/app:1"));
        follow(&weir, "demo", &format!("base:{}", trouble.name), spec).await;
        registries.push(registry);
    }
    let rows = || troubles.iter().zip(&registries);
    let check_all = async || {
        for trouble in &troubles {
            weir.store().request_check("demo", "base", trouble.name, &tester()).await.expect("asked");
        }
        weir.settle().await;
    };
    let told = async |name: &str| import(&weir, &format!("base:{name}")).await;
    check_all().await;
    for (Trouble { name, mood, .. }, registry) in rows() {
        assert_eq!(told(name).await.failures, 0, "{name}");
        registry.set(&image_of(name));
        let mood = Mood::clone(mood);
        registry.misbehave(move |seen| mood(seen));
    }

    check_all().await;
    for (trouble, registry) in rows() {
        let Trouble { name, reason, told: words, .. } = trouble;
        let import = told(name).await;
        assert_eq!(
            (import.outcome.as_str(), import.reason.as_deref()),
            ("failed", Some(*reason)),
            "{name}: {import:?}"
        );
        let message = import.message.unwrap_or_default();
        assert!(message.contains(words), "{name}: {message}");
        let tag = weir.store().tag("demo", "base", name).await.expect("the tag");
        assert_eq!(tag.digest, Some(one.digest().to_string()), "{name}: it still points to the last good image");
        let pulled = ada.get(&format!("/v2/demo/base/manifests/{name}")).await;
        assert_eq!(pulled.status(), 200, "{name}");
        assert!(pulled.bytes().await.expect("bytes") == one.manifest, "{name}: and that is pulled");
        assert_rests(&weir, trouble, registry).await;
    }

    // What rests is asked nothing, whoever wants a check.
    let asked = || registries.iter().map(|registry| registry.upstream.seen().len()).collect::<Vec<_>>();
    let before = asked();
    check_all().await;
    for (((name, rest), before), after) in rows().map(|(row, _)| (row.name, &row.rest)).zip(before).zip(asked()) {
        assert_eq!(after > before, rest.is_none(), "{name} was asked {} times more", after - before);
    }

    registries.iter().for_each(Misbehaving::behave);
    weir.run_sql("update registry_budgets set rest_until = null").await;
    check_all().await;
    for (Trouble { name, .. }, _) in rows() {
        let import = told(name).await;
        assert_eq!((import.outcome.as_str(), import.failures), ("ok", 0), "{name}: {import:?}");
        let tag = weir.store().tag("demo", "base", name).await.expect("the tag");
        assert_eq!(tag.digest, Some(image_of(name).digest().to_string()), "{name}");
        let history = weir.store().list_history(&tag.id, None, 10).await.expect("its history");
        let kinds: Vec<_> = history.iter().map(|row| (row.kind, row.outcome)).collect();
        assert_eq!(kinds, [(EventKind::Import, Outcome::Moved); 2], "{name}: a failure is no row");
    }
    weir.stop().await;
}

/// The registry is left alone as long as it should be.
async fn assert_rests(weir: &TestWeir, trouble: &Trouble, registry: &Misbehaving) {
    let budget = weir.store().find_budget(registry.upstream.address()).await.expect("asked").expect("it was asked");
    let left = budget.rests_until(now()).map(|until| (until - now() + 999) / 1000);
    let name = trouble.name;
    match (&trouble.rest, left) {
        (Some(rest), Some(left)) => assert!(rest.contains(&left), "{name}: it rests for {left} s"),
        (rest, left) => assert!(rest.is_none() && left.is_none(), "{name}: {left:?} instead of {rest:?}"),
    }
}

#[tokio::test]
async fn a_registry_that_is_slow_but_in_time_is_waited_for() {
    let weir = TestWeir::start().await;
    let _ada = weir.user("ada", "demo", Role::Editor).await;
    let registry = Misbehaving::start(&TestImage::new("one")).await;
    registry.delay.store(700, Ordering::Relaxed);
    follow(&weir, "demo", "base:1", TagSpec::import(registry.reference("org/app:1"))).await;
    weir.settle().await;
    assert_eq!(import(&weir, "base:1").await.outcome, "ok");
    weir.stop().await;
}
