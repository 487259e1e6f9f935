//! Tags that follow another registry, Debian's `docker-registry`, with a proxy before it that counts what it is asked.

use std::time::{Duration, Instant};

use axum::http::Method;
use bytes::Bytes;
use tokio::time::sleep;
use weir::model::{ActorKind, BuildPhase, EventKind, Role, Tag, TagEvent, TagImport};
use weir::server::hash::sha256;
use weir::server::store::{SecretData, TagSpec};

use super::inline_config;
use crate::support::{Client, TestWeir, tester};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage, index_of, push_manifest};
use crate::upstreams::{DockerRegistry, Proxy};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long anything may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// An upstream with `org/base:1`, and a server whose tag `base:latest` follows it.
struct Story {
    upstream: DockerRegistry,
    proxy: Proxy,
    weir: TestWeir,
    ada: Client,
}

impl Story {
    async fn begin(weir: TestWeir, upstream: DockerRegistry) -> Self {
        let proxy = Proxy::before(upstream.address()).await;
        let ada = weir.user("ada", "demo", Role::Editor).await;
        Self { upstream, proxy, weir, ada }
    }

    /// A server that checks by itself, every second, once it has imported `image`.
    async fn scheduled(image: &TestImage) -> Self {
        let story = Self::begin(TestWeir::live().await, DockerRegistry::start()).await;
        image.push(story.upstream.address(), "org/base", "1").await;
        let interval_ms = Some(i64::try_from(INTERVAL.as_millis()).expect("milliseconds"));
        story.follow(TagSpec { insecure: true, interval_ms, ..story.spec() }).await;
        story.until("the image is here", async || story.digest().await == Some(image.digest().to_string())).await;
        story
    }

    fn spec(&self) -> TagSpec {
        TagSpec::import(self.proxy.reference("org/base:1"))
    }

    async fn follow(&self, spec: TagSpec) {
        let names = ("base".parse().expect("a name"), "latest".parse().expect("a name"));
        let set = self.weir.store().set_tag("demo", &names.0, &names.1, &spec, None, &tester()).await;
        set.expect("the tag follows");
    }

    async fn check_now(&self) {
        let asked = self.weir.store().request_check("demo", "base", "latest", &weir::model::Actor::person("ada")).await;
        asked.expect("asked");
    }

    async fn tag(&self) -> Tag {
        self.weir.store().tag("demo", "base", "latest").await.expect("the tag")
    }

    async fn digest(&self) -> Option<String> {
        self.tag().await.digest
    }

    async fn import(&self) -> TagImport {
        self.weir.store().find_import(&self.tag().await.id).await.expect("asked").expect("it follows")
    }

    async fn history(&self) -> Vec<TagEvent> {
        self.weir.store().list_history(&self.tag().await.id, None, 100).await.expect("its history")
    }

    /// Waits for what controllers do by themselves.
    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !holds().await {
            let import = self.import().await;
            assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?} still not: {what}; {import:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// What Weir itself serves must be these bytes.
    async fn pulls(&self, path: &str, bytes: &Bytes) {
        let answer = self.ada.get(&format!("/v2/demo/base/{path}")).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.bytes().await.expect("bytes") == *bytes, "{path} has other bytes");
    }

    async fn pulls_image(&self, reference: &str, image: &TestImage) {
        self.pulls(&format!("manifests/{reference}"), &image.manifest).await;
        for blob in [&image.config, &image.layer] {
            self.pulls(&format!("blobs/{}", sha256(blob)), blob).await;
        }
    }
}

#[tokio::test]
async fn an_unchanged_upstream_costs_only_heads_and_a_changed_one_starts_the_chain() {
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let story = Story::scheduled(&one).await;
    let store = story.weir.store();
    let config = inline_config("demo", "app", "FROM base:latest\n");
    let config = store.create_config("demo", &"app".parse().expect("a name"), &config, &tester()).await.expect("made");
    let newest = async || store.list_builds(&config.id, None, 1).await.expect("builds").into_iter().next();
    let built = async || newest().await.is_some_and(|build| build.phase == BuildPhase::Complete);
    story.until("the config is built", built).await;

    story.proxy.take();
    story.until("eight checks were made", async || story.proxy.heads() >= 8).await;
    let passed = story.proxy.take();
    let others: Vec<_> = passed.iter().filter(|passed| passed.method != Method::HEAD).collect();
    assert!(others.is_empty(), "an unchanged upstream was asked more than HEADs: {others:?}");
    // A busy machine holds up a question on its way, and the next one does not wait for that: what counts is how many there are in all.
    // Each is drawn from 78 to 98 hundredths of the interval.
    let took = passed[passed.len() - 1].at - passed[0].at;
    let least = INTERVAL.mul_f64(0.78 * (passed.len() - 1) as f64) - INTERVAL;
    assert!(took >= least, "{} checks, one every {INTERVAL:?} at the most, took {took:?}", passed.len());
    let import = story.import().await;
    assert_eq!((import.outcome.as_str(), import.failures), ("unchanged", 0));
    assert_eq!(story.history().await.len(), 1, "a check that finds nothing is no row of the history");

    let number = newest().await.expect("a build").number;
    two.push(story.upstream.address(), "org/base", "1").await;
    story.until("the tag moved", async || story.digest().await == Some(two.digest().to_string())).await;
    let history = story.history().await;
    assert_eq!((history.len(), history[0].kind, history[0].actor_kind), (2, EventKind::Import, ActorKind::Schedule));
    assert_eq!(history[0].reference, Some(format!("{}@{}", story.proxy.reference("org/base"), two.digest())));
    story
        .until("its dependent is built again", async || built().await && newest().await.unwrap().number > number)
        .await;
    let build = newest().await.expect("a build");
    assert_eq!(build.inputs().expect("inputs")[0].digest, Some(two.digest().to_string()));
    assert_eq!((build.trigger_kind.as_str(), build.cause), ("image", Some(history[0].sequence)));
    let fetched = story.proxy.take();
    let fetched = fetched.iter().filter(|passed| passed.method == Method::GET && passed.is_manifest()).count();
    assert_eq!(fetched, 1, "a changed manifest is fetched once");
    story.pulls_image("latest", &two).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn c12_an_index_is_kept_with_all_its_platforms() {
    let story = Story::begin(TestWeir::start().await, DockerRegistry::start()).await;
    let (amd64, arm64) = (TestImage::new("amd64"), TestImage::new("arm64"));
    for image in [&amd64, &arm64] {
        image.push(story.upstream.address(), "org/base", image.digest().as_str()).await;
    }
    let platforms = index_of(&[("amd64", &amd64), ("arm64", &arm64)]);
    push_manifest(story.upstream.address(), "org/base", "platforms", OCI_INDEX, platforms.clone()).await;
    // An index of indexes, as images made for several variants have it.
    let listed = [(OCI_MANIFEST, &amd64.manifest), (OCI_INDEX, &platforms)].map(|(media_type, bytes)| {
        serde_json::json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
    });
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    let index = Bytes::from(index.to_string());
    push_manifest(story.upstream.address(), "org/base", "1", OCI_INDEX, index.clone()).await;
    story.follow(TagSpec { insecure: true, ..story.spec() }).await;
    story.weir.settle().await;
    assert_eq!(story.digest().await, Some(sha256(&index).to_string()));

    let Story { mut upstream, mut proxy, weir, ada } = story;
    upstream.stop();
    proxy.shut().await;
    let story = Story { upstream, proxy, weir, ada };
    story.pulls("manifests/latest", &index).await;
    story.pulls(&format!("manifests/{}", sha256(&platforms)), &platforms).await;
    for image in [&amd64, &arm64] {
        story.pulls_image(image.digest().as_str(), image).await;
    }
    story.weir.stop().await;
}

#[tokio::test]
async fn an_upstream_that_is_away_is_told_and_disturbs_nothing() {
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let mut story = Story::scheduled(&one).await;
    story.upstream.stop();
    story.proxy.shut().await;
    story.until("the failure is told", async || story.import().await.outcome == "failed").await;
    story.until("it was tried again", async || story.import().await.failures >= 2).await;
    let import = story.import().await;
    assert_eq!(import.reason.as_deref(), Some("unreachable"));
    let message = import.message.expect("a message");
    assert!(message.contains(story.proxy.address()) && message.contains("cannot be reached"), "{message}");
    assert_eq!(import.upstream_digest, Some(one.digest().to_string()), "the last good digest");
    for path in ["/p/demo/imports", "/p/demo/streams/base/tags/latest"] {
        let page = story.ada.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        let page = page.text().await.expect("a page");
        let told = format!("registry {} cannot be reached", story.proxy.address());
        assert!(page.contains(&told), "{path} does not tell: {told}");
    }
    assert!(import.last_ok_at < import.failing_since && import.failing_since <= import.last_try_at, "the times");
    assert_eq!(story.digest().await, Some(one.digest().to_string()));
    assert_eq!(story.history().await.len(), 1, "a failure is no row of the history");
    story.pulls_image("latest", &one).await;
    story.pulls_image(one.digest().as_str(), &one).await;

    story.upstream.start_again();
    two.push(story.upstream.address(), "org/base", "1").await;
    let address = story.upstream.address().to_owned();
    story.proxy.open_again(&address).await;
    story.until("it recovers", async || story.digest().await == Some(two.digest().to_string())).await;
    story.until("nothing is told any more", async || story.import().await.outcome == "unchanged").await;
    let import = story.import().await;
    assert_eq!((import.failures, import.failing_since, import.reason, import.message), (0, None, None, None));
    story.weir.stop().await;
}

#[tokio::test]
async fn plain_http_and_passwords_are_asked_for_in_words() {
    let story = Story::begin(TestWeir::start().await, DockerRegistry::start_with_password()).await;
    let image = TestImage::new("private");
    image.push_as(Some(DockerRegistry::CREDENTIALS), story.upstream.address(), "org/base", "1").await;
    // Only checked when somebody asks.
    let unscheduled = |insecure| TagSpec { insecure, scheduled: false, ..story.spec() };
    let failure = async || {
        story.weir.settle().await;
        assert_eq!(story.digest().await, None);
        let import = story.import().await;
        (import.reason.unwrap_or_default(), import.message.unwrap_or_default())
    };

    story.follow(unscheduled(false)).await;
    let (reason, message) = failure().await;
    assert_eq!(reason, "plain-http", "{message}");
    let says = format!("{} is HTTP only and requires the insecure flag to import", story.proxy.reference("org/base"));
    assert!(message.contains(&says), "{message}");

    story.follow(unscheduled(true)).await;
    let (reason, message) = failure().await;
    assert_eq!(reason, "denied", "{message}");
    assert!(message.contains("you may not have access"), "{message}");

    let (username, password) = DockerRegistry::CREDENTIALS;
    let secret = |password: &str| SecretData::Registry {
        host: story.proxy.address().to_owned(),
        username: username.to_owned(),
        password: password.into(),
    };
    let (store, name) = (story.weir.store(), "upstream".parse().expect("a name"));
    store.create_secret("demo", &name, &secret("wrong"), &tester()).await.expect("a secret");
    story.check_now().await;
    let (reason, message) = failure().await;
    assert_eq!(reason, "wrong-password", "{message}");
    assert!(message.contains("incorrect username or password") && !message.contains("wrong\""), "{message}");

    store.replace_secret("demo", "upstream", &secret(password), &tester()).await.expect("replaced");
    story.weir.settle().await;
    assert_eq!(story.digest().await, None, "nobody asked for a check");
    story.check_now().await;
    story.weir.settle().await;
    assert_eq!(story.digest().await, Some(image.digest().to_string()));
    let history = story.history().await;
    assert_eq!((history[0].kind, history[0].actor.as_str()), (EventKind::Import, "ada"), "who asked");
    story.pulls_image("latest", &image).await;
    story.weir.stop().await;
}

#[tokio::test]
async fn an_import_that_does_not_fit_fails_with_words_and_leaves_the_tag_alone() {
    let one = TestImage::new("one");
    let story = Story::scheduled(&one).await;
    let store = story.weir.store();
    let holds = store.project_usage("demo").await.expect("figures").bytes;
    store.set_quota("demo", Some(holds + 1000), &tester()).await.expect("a quota");
    let large = TestImage::new(&"large ".repeat(1000));
    large.push(story.upstream.address(), "org/base", "1").await;
    story.until("the check failed", async || story.import().await.failures > 0).await;
    let import = story.import().await;
    assert_eq!(import.reason.as_deref(), Some("quota"));
    let message = import.message.expect("a message");
    assert!(
        message.starts_with("the project demo may hold 1.") && message.ends_with("ask for a larger quota"),
        "{message}"
    );
    assert_eq!(story.digest().await.as_deref(), Some(one.digest().as_str()));
    assert_eq!(store.project_usage("demo").await.expect("figures").bytes, holds, "nothing of it was kept");
    story.pulls_image("latest", &one).await;

    store.set_quota("demo", None, &tester()).await.expect("no quota");
    story.until("the large one is here", async || story.digest().await == Some(large.digest().to_string())).await;
    // The tag moves first; that the check went well is written after it.
    story.until("the check is told to be well", async || story.import().await.reason.is_none()).await;
}

#[tokio::test]
async fn an_import_beyond_a_limit_fails_with_words_and_leaves_the_tag_alone() {
    let one = TestImage::new("one");
    let story = Story::scheduled(&one).await;
    let store = story.weir.store();
    let limits = weir::model::ProjectLimits { stream_images: Some(1), ..weir::model::ProjectLimits::default() };
    store.set_project_limits("demo", &limits, &tester()).await.expect("limits");
    let two = TestImage::new("two");
    two.push(story.upstream.address(), "org/base", "1").await;
    story.until("the check failed", async || story.import().await.failures > 0).await;
    let import = story.import().await;
    assert_eq!(import.reason.as_deref(), Some("limit"));
    let message = import.message.expect("a message");
    assert!(message.contains("may have 1 different image"), "{message}");
    assert_eq!(story.digest().await.as_deref(), Some(one.digest().as_str()));
    store.set_project_limits("demo", &weir::model::ProjectLimits::default(), &tester()).await.expect("no limits");
    story.until("the other one is here", async || story.digest().await == Some(two.digest().to_string())).await;
}
