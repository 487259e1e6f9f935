//! Section 6.5 of the semantics: mirrors are asked before the registry that a reference names, and what comes of it is recorded as from
//! there. Both are Debian's `docker-registry`, each behind a door that counts.

use axum::http::Method;
use weir::model::{Mirrors, Role};
use weir::server::store::TagSpec;

use super::follow;
use crate::support::TestWeir;
use crate::upstreams::images::TestImage;
use crate::upstreams::{DockerRegistry, Proxy};

/// A registry, the door before it, and what of it was asked since the last look: manifests and blobs.
struct Place {
    registry: DockerRegistry,
    door: Proxy,
}

impl Place {
    async fn start() -> Self {
        let registry = DockerRegistry::start();
        let door = Proxy::before(registry.address()).await;
        Self { registry, door }
    }

    async fn has(&self, image: &TestImage, repository: &str) {
        image.push(self.registry.address(), repository, "1").await;
    }

    fn asked(&self) -> (usize, usize) {
        let passed = self.door.take();
        let manifests = passed.iter().filter(|one| one.is_manifest() && one.method != Method::HEAD).count();
        (manifests, passed.iter().filter(|one| one.path.contains("/blobs/")).count())
    }
}

/// A server whose `base:latest` follows `org/base:1` of the source, with these mirrors for digests and for tags.
async fn importing(source: &Place, digests: &str, tags: &str) -> TestWeir {
    let [digests, tags] = [digests, tags].map(|text| text.parse::<Mirrors>().expect("mirrors"));
    let mirrored = |config: &mut weir::server::config::Config| {
        (config.registry_mirrors, config.registry_tag_mirrors) = (Some(digests), Some(tags));
    };
    let weir = TestWeir::start_with(mirrored, false).await;
    weir.user("ada", "demo", Role::Editor).await;
    follow(&weir, "demo", "base:latest", TagSpec::import(source.door.reference("org/base:1"))).await;
    weir.settle().await;
    weir
}

async fn digest_and_reference(weir: &TestWeir) -> (Option<String>, Option<String>) {
    let tag = weir.store().tag("demo", "base", "latest").await.expect("the tag");
    (tag.digest, tag.reference)
}

fn entry(source: &Place, mirror: &Place, below: &str) -> String {
    format!("{}=http://{}{below}", source.door.address(), mirror.door.address())
}

#[tokio::test]
async fn section_6_5_what_has_a_digest_comes_from_the_mirror_and_what_a_tag_means_from_the_source() {
    let (source, mirror, image) = (Place::start().await, Place::start().await, TestImage::new("mirrored"));
    source.has(&image, "org/base").await;
    mirror.has(&image, "copies/org/base").await;
    let weir = importing(&source, &entry(&source, &mirror, "/copies"), "").await;
    let expected = format!("{}@{}", source.door.reference("org/base"), image.digest());
    assert_eq!(digest_and_reference(&weir).await, (Some(image.digest().to_string()), Some(expected)));
    assert_eq!(
        (source.asked(), mirror.asked()),
        ((1, 0), (0, 3)),
        "layer and config, read first and then kept, are content"
    );
    weir.stop().await;
}

#[tokio::test]
async fn section_6_5_a_mirror_without_it_or_without_an_answer_is_passed_over() {
    let (source, image) = (Place::start().await, TestImage::new("only at the source"));
    source.has(&image, "org/base").await;
    let (empty, mut silent) = (Place::start().await, Place::start().await);
    silent.door.shut().await;
    let both = format!("{},{}", entry(&source, &empty, ""), entry(&source, &silent, ""));
    let weir = importing(&source, &both, &both).await;
    assert_eq!(digest_and_reference(&weir).await.0, Some(image.digest().to_string()));
    assert_eq!(source.asked(), (1, 3));
    assert!(empty.asked().0 > 0, "it was asked first");
    let import = weir.store().tag("demo", "base", "latest").await.expect("the tag").id;
    let import = weir.store().find_import(&import).await.expect("asked").expect("it follows");
    assert_eq!((import.outcome.as_str(), import.failures), ("ok", 0), "a mirror's trouble is nobody's failure");
    weir.stop().await;
}

#[tokio::test]
async fn section_6_5_a_mirror_of_tags_says_what_they_mean() {
    let (source, mirror, image) = (Place::start().await, Place::start().await, TestImage::new("mirrored"));
    mirror.has(&image, "org/base").await;
    let entry = entry(&source, &mirror, "");
    let weir = importing(&source, &entry, &entry).await;
    let expected = format!("{}@{}", source.door.reference("org/base"), image.digest());
    assert_eq!(digest_and_reference(&weir).await, (Some(image.digest().to_string()), Some(expected)));
    assert_eq!(source.asked(), (0, 0), "the source was not needed");
    weir.stop().await;
}
