//! Debian's registry: what any upstream of today answers.

use std::process::Command;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use weir::model::ImageConfig;
use weir::server::hash::sha256;
use weir::server::oci::{Access, Client, Error, Kind};

use super::{insecure, list_tags};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::{DockerRegistry, Upstream, programmable};

#[tokio::test]
async fn fetches_an_image_whole() {
    let (registry, client) = (DockerRegistry::start(), Client::default());
    let image = TestImage::new("one");
    image.push(registry.address(), "org/app", "v1").await;
    let reference = registry.reference("org/app:v1");

    let head = client.head_manifest(&reference, None, &insecure()).await.expect("asked").expect("told");
    assert_eq!(head.digest, image.digest());
    assert_eq!(head.media_type.as_deref(), Some(image.media_type));
    assert!(head.etag.is_some());

    let fetched = client.get_manifest(&reference, &insecure()).await.expect("fetched").manifest;
    assert_eq!((&fetched.digest, &fetched.bytes), (&image.digest(), &image.manifest));
    let Kind::Image { config, layers } = &fetched.kind else { panic!("an image") };
    let text = client.get_small_blob(&reference, &config.digest, &insecure()).await.expect("its configuration");
    let config: ImageConfig = serde_json::from_slice(&text).expect("a configuration");
    assert_eq!((config.env("CONTENT"), &*config.architecture), (Some("one"), "amd64"));

    let layer = client.get_blob(&reference, &layers[0].digest, &insecure()).await.expect("a layer");
    assert_eq!(layer.size, Some(image.layer.len() as u64));
    let bytes: BytesMut = layer.stream.try_collect().await.expect("its bytes");
    assert_eq!(bytes.freeze(), image.layer);

    let by_digest = reference.at_digest(&image.digest());
    assert_eq!(client.get_manifest(&by_digest, &insecure()).await.expect("fetched").manifest, fetched);
}

#[tokio::test]
async fn keeps_indexes() {
    let (registry, client) = (DockerRegistry::start(), Client::default());
    let (amd64, arm64) = (TestImage::new("amd64"), TestImage::new("arm64"));
    for image in [&amd64, &arm64] {
        image.push(registry.address(), "multi", image.digest().as_str()).await;
    }
    let index = index_of(&[("amd64", &amd64), ("arm64", &arm64)]);
    push_manifest(registry.address(), "multi", "latest", OCI_INDEX, index.clone()).await;
    let fetched = client.get_manifest(&registry.reference("multi"), &insecure()).await.expect("fetched").manifest;
    assert_eq!((&fetched.digest, &fetched.bytes), (&sha256(&index), &index));
    let children: Vec<_> = fetched.children().iter().map(|child| child.digest.clone()).collect();
    assert_eq!(children, [amd64.digest(), arm64.digest()]);
}

#[tokio::test]
async fn reads_what_skopeo_pushed() {
    let (registry, client) = (DockerRegistry::start(), Client::default());
    TestImage::new("by skopeo").push(registry.address(), "from", "1").await;
    let address = registry.address();
    let copied = Command::new("skopeo")
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2"])
        .args([format!("docker://{address}/from:1"), format!("docker://{address}/to:1")])
        .output()
        .expect("skopeo runs");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let fetched = client.get_manifest(&registry.reference("to:1"), &insecure()).await.expect("fetched").manifest;
    assert_eq!(fetched.media_type, "application/vnd.docker.distribution.manifest.v2+json");
    assert!(fetched.blobs().next().is_some_and(weir::server::oci::Descriptor::is_image_config));
}

#[tokio::test]
async fn lists_tags_to_the_end() {
    let (registry, client) = (DockerRegistry::start(), Client::default());
    let image = TestImage::new("tagged");
    image.push(registry.address(), "many", "t000").await;
    for n in 1..25 {
        push_manifest(registry.address(), "many", &format!("t{n:03}"), image.media_type, image.manifest.clone()).await;
    }
    let tags = list_tags(&client, &registry.reference("many")).await.expect("listed");
    assert_eq!(tags.len(), 25);
    let missing = list_tags(&client, &registry.reference("none")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn tells_what_is_not_there() {
    let (mut registry, client) = (DockerRegistry::start(), Client::default());
    TestImage::new("x").push(registry.address(), "there", "1").await;
    for missing in ["there:2", "nowhere:1", &format!("there@{}", sha256(b"no manifest"))] {
        let reference = registry.reference(missing);
        let head = client.head_manifest(&reference, None, &insecure()).await;
        assert_eq!(head, Err(Error::NotFound { reference: reference.exact() }));
        let get = client.get_manifest(&reference, &insecure()).await;
        assert_eq!(get.expect_err("missing").reason(), "not-found");
    }
    registry.stop();
    let gone = client.head_manifest(&registry.reference("there:1"), None, &insecure()).await.expect_err("stopped");
    assert_eq!((gone.reason(), gone.is_transient()), ("unreachable", true), "{gone}");
}

#[tokio::test]
async fn plain_http_needs_the_flag() {
    let (registry, client) = (DockerRegistry::start(), Client::default());
    TestImage::new("plain").push(registry.address(), "org/app", "1").await;
    let error = client.get_manifest(&registry.reference("org/app:1"), &Access::default()).await.expect_err("refused");
    let expected =
        format!("the repository {}/org/app is HTTP only and requires the insecure flag to import", registry.address());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_unknown_certificate_needs_the_flag() {
    let (registry, client) = (DockerRegistry::start_with_tls(), Client::default());
    let reference = registry.reference("app:1");
    let error = client.head_manifest(&reference, None, &Access::default()).await.expect_err("refused");
    assert_eq!(error.reason(), "tls", "{error}");
    // The registry answers through TLS then, if only that it has no such image.
    let error = client.head_manifest(&reference, None, &insecure()).await.expect_err("there is no image");
    assert_eq!(error.reason(), "not-found", "{error}");
}

#[tokio::test]
async fn says_who_asks() {
    let upstream = Upstream::answering(|_| programmable::answer(404, &[], "")).await;
    let _ = Client::default().head_manifest(&upstream.reference("a"), None, &insecure()).await;
    let agent = format!("weir/{}", env!("CARGO_PKG_VERSION"));
    let seen = upstream.seen();
    assert_eq!(seen[0].header("user-agent"), Some(agent.as_str()));
    assert!(seen[0].header("accept").is_some_and(|accept| accept.contains(OCI_INDEX)));
}
