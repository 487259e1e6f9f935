//! Streams that chose platforms: their imports bring those of an index and leave the others in the other registry, Debian's
//! `docker-registry`, until somebody pulls them.

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use weir::model::{BeyondLimit, ProjectLimits};
use weir::server::hash::sha256;

use super::Story;
use crate::support::tester;
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::{DockerRegistry, Proxy};

const STREAM: &str = "/apis/image.openshift.io/v1/namespaces/demo/imagestreams/base";

/// An upstream with an index of two platforms as `org/base:1`, and a server whose `base:latest` follows it.
struct Two {
    upstream: DockerRegistry,
    proxy: Proxy,
    story: Story,
    amd64: TestImage,
    arm64: TestImage,
    index: Bytes,
}

impl Two {
    async fn begin(platforms: &str) -> Self {
        let (upstream, [amd64, arm64]) = (DockerRegistry::start(), ["amd64", "arm64"].map(TestImage::new));
        for image in [&amd64, &arm64] {
            image.push(upstream.address(), "org/base", image.digest().as_str()).await;
        }
        let index = index_of(&[("amd64", &amd64), ("arm64", &arm64)]);
        push_manifest(upstream.address(), "org/base", "1", OCI_INDEX, index.clone()).await;
        let proxy = Proxy::before(upstream.address()).await;
        let story = Story::following(&proxy.reference("org/base:1")).await;
        let two = Self { upstream, proxy, story, amd64, arm64, index };
        two.choose(platforms).await;
        two
    }

    /// Sets the annotation, as `oc annotate` does.
    async fn choose(&self, platforms: &str) {
        let (status, answer) = self.annotate(platforms).await;
        assert_eq!(status, 200, "{answer:#}");
    }

    async fn annotate(&self, platforms: &str) -> (u16, Value) {
        let mut stream = self.story.ada.get_json(STREAM).await;
        stream["metadata"]["annotations"] = json!({"weir.dev/platforms": platforms});
        let put = self.story.ada.request(Method::PUT, STREAM).json(&stream).send().await.expect("an answer");
        (put.status().as_u16(), put.json().await.expect("JSON"))
    }

    /// What of an image was asked for over there since the last look.
    fn asked(&self, image: &TestImage) -> usize {
        let parts = [&image.manifest, &image.config, &image.layer].map(|bytes| sha256(bytes).to_string());
        self.proxy.take().iter().filter(|passed| parts.iter().any(|part| passed.path.ends_with(part))).count()
    }

    async fn cut(mut self) -> Self {
        self.upstream.stop();
        self.proxy.shut().await;
        self
    }
}

#[tokio::test]
async fn chosen_platforms_come_and_others_stay_until_they_are_pulled() {
    let two = Two::begin("linux/amd64").await;
    two.story.weir.settle().await;
    let tag = two.story.weir.store().tag("demo", "base", "latest").await.expect("the tag");
    assert_eq!(tag.digest, Some(sha256(&two.index).to_string()), "the digest is that of the whole index");
    assert_eq!(two.asked(&two.arm64), 0, "nothing of the other platform was asked for");
    assert!(two.story.has(&two.amd64.layer).await && !two.story.has(&two.arm64.layer).await);
    let page = format!("/p/demo/streams/base/images/{}", sha256(&two.index));
    let page = two.story.ada.get(&page).await.text().await.expect("a page");
    assert!(page.contains("left in the other registry: it is fetched when somebody pulls it"));

    two.story.pulls("manifests/latest", &two.index).await;
    two.story.pulls_image(two.arm64.digest().as_str(), &two.arm64).await;
    assert_eq!(two.asked(&two.arm64), 3, "who pulls it, gets it");
    two.story.weir.settle().await;
    let two = two.cut().await;
    for image in [&two.amd64, &two.arm64] {
        two.story.pulls_image(image.digest().as_str(), image).await;
    }
    two.story.weir.stop().await;
}

#[tokio::test]
async fn a_platform_chosen_later_is_brought_then() {
    let two = Two::begin("linux/amd64").await;
    two.story.weir.settle().await;
    two.proxy.take();
    two.choose("linux/amd64, linux/arm64/v8").await;
    two.story.weir.settle().await;
    assert_eq!(two.asked(&two.arm64), 3, "its manifest, configuration and layer, each once");
    two.choose("linux/amd64").await;
    two.story.weir.settle().await;
    assert_eq!(two.proxy.take().len(), 0, "fewer platforms ask for nothing");
    let two = two.cut().await;
    two.story.pulls_image(two.arm64.digest().as_str(), &two.arm64).await;
    two.story.weir.stop().await;
}

#[tokio::test]
async fn a_platform_that_comes_later_is_held_to_the_limit_of_images() {
    let two = Two::begin("linux/amd64").await;
    two.story.weir.settle().await;
    let store = two.story.weir.store();
    let limits = ProjectLimits { image_bytes: Some(10), ..ProjectLimits::default() };
    store.set_project_limits("demo", &limits, &tester()).await.expect("limits");
    let bytes = (two.arm64.config.len() + two.arm64.layer.len()).try_into().expect("a size");
    let beyond = BeyondLimit::ImageBytes { project: "demo".to_owned(), bytes, most: 10 };
    let refused = two.story.get(&format!("manifests/{}", two.arm64.digest())).await;
    assert_eq!(refused.status(), 403);
    let answer: Value = refused.json().await.expect("JSON");
    assert_eq!(answer["errors"][0]["code"], "DENIED");
    assert_eq!(answer["errors"][0]["message"], beyond.to_string());
    // Nor does it come behind that, when its platform is chosen.
    two.choose("linux/amd64, linux/arm64/v8").await;
    two.story.weir.settle().await;
    assert!(!two.story.has(&two.arm64.layer).await);
    two.story.pulls_image(two.amd64.digest().as_str(), &two.amd64).await;

    store.set_project_limits("demo", &ProjectLimits::default(), &tester()).await.expect("no limits");
    two.story.pulls_image(two.arm64.digest().as_str(), &two.arm64).await;
    two.story.weir.stop().await;
}

#[tokio::test]
async fn an_image_whose_first_pull_was_answered_early_is_completed_for_the_chosen_platforms() {
    let two = Two::begin("linux/arm64").await;
    two.story.pulls("manifests/latest", &two.index).await;
    two.story.weir.settle().await;
    assert!(!two.story.has(&two.amd64.layer).await && two.story.has(&two.arm64.layer).await);
    assert_eq!(two.asked(&two.amd64), 0);
    let needed = two.story.weir.store().list_needed_blobs("", "t").await.expect("listed");
    assert_eq!(needed.len(), 2, "what was chosen counts as complete");
    two.story.weir.stop().await;
}

#[tokio::test]
async fn what_nothing_here_could_run_is_not_imported() {
    let two = Two::begin("linux/s390x").await;
    two.story.weir.settle().await;
    let import = two.story.import().await;
    assert_eq!((import.outcome.as_str(), import.reason.as_deref()), ("failed", Some("no-platform")));
    let message = import.message.expect("a message");
    assert!(message.contains("linux/s390x") && message.contains("linux/amd64, linux/arm64"), "{message}");
    let refused = two.story.get("manifests/latest").await;
    assert_eq!(refused.status(), 502, "{}", refused.text().await.expect("a body"));

    for bad in ["s390x", "linux/amd64/v1/x"] {
        let (status, answer) = two.annotate(bad).await;
        assert_eq!(
            (status, &answer["details"]["causes"][0]["field"]),
            (422, &json!("metadata.annotations")),
            "{answer:#}"
        );
    }
    let form = [("version", ""), ("platforms", "linux amd64"), ("description", "")];
    let posted = two.story.ada.request(Method::POST, "/p/demo/streams/base/settings").form(&form).send().await;
    let page = posted.expect("an answer").text().await.expect("a page");
    assert!(page.contains("is not a platform: write os/architecture"), "{page}");
    let form = [("version", ""), ("platforms", "linux/arm64"), ("description", "ours")];
    let posted = two.story.ada.request(Method::POST, "/p/demo/streams/base/settings").form(&form).send().await;
    assert!(posted.expect("an answer").status().is_redirection());
    let stream = two.story.ada.get_json(STREAM).await;
    assert_eq!(stream["metadata"]["annotations"]["weir.dev/platforms"], "linux/arm64", "{stream:#}");
    two.story.weir.stop().await;
}
