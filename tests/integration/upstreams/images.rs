//! Small images, made and pushed by plain HTTP calls.

use bytes::Bytes;
use reqwest::RequestBuilder;
use weir::model::Digest;
use weir::server::hash::sha256;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image with one layer.
#[derive(Clone)]
pub struct TestImage {
    pub media_type: &'static str,
    pub config: Bytes,
    pub layer: Bytes,
    pub manifest: Bytes,
}

impl TestImage {
    /// An image whose bytes follow from `content`.
    pub fn new(content: &str) -> Self {
        Self::with_layer(content, Bytes::from(format!("layer of {content}")))
    }

    /// An image with a layer of that many bytes.
    pub fn large(content: &str, size: usize) -> Self {
        let layer: Vec<u8> =
            content.bytes().cycle().zip(0u32..).map(|(byte, n)| byte ^ (n >> 8) as u8).take(size).collect();
        Self::with_layer(content, layer.into())
    }

    fn with_layer(content: &str, layer: Bytes) -> Self {
        let config = Bytes::from(format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["CONTENT={content}"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            sha256(&layer)
        ));
        let manifest = Bytes::from(format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
            sha256(&config),
            config.len(),
            sha256(&layer),
            layer.len()
        ));
        Self { media_type: OCI_MANIFEST, config, layer, manifest }
    }

    pub fn digest(&self) -> Digest {
        sha256(&self.manifest)
    }

    /// Pushes the image to `http://{registry}/v2/{repository}`, under a tag or its digest.
    pub async fn push(&self, registry: &str, repository: &str, tag: &str) {
        self.push_as(None, registry, repository, tag).await;
    }

    /// Pushes it as somebody, with user name and password.
    pub async fn push_as(&self, who: Option<(&str, &str)>, registry: &str, repository: &str, tag: &str) {
        let client = client();
        let signed = |request: RequestBuilder| match who {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        for blob in [&self.config, &self.layer] {
            let start = format!("http://{registry}/v2/{repository}/blobs/uploads/");
            let begun = signed(client.post(start)).send().await.expect("an upload");
            assert_eq!(begun.status(), 202);
            let location = begun.headers()["location"].to_str().expect("an address").to_owned();
            let location = begun.url().join(&location).expect("an address");
            let digest = sha256(blob).to_string();
            let stored = client.put(location).query(&[("digest", &digest)]).body(blob.clone());
            assert_eq!(signed(stored).send().await.expect("stored").status(), 201);
        }
        let put = client.put(format!("http://{registry}/v2/{repository}/manifests/{tag}"));
        let put = signed(put).header("content-type", self.media_type).body(self.manifest.clone());
        assert_eq!(put.send().await.expect("pushed").status(), 201);
    }
}

/// Pushes a manifest or an index whose parts are there.
pub async fn push_manifest(registry: &str, repository: &str, tag: &str, media_type: &str, manifest: Bytes) {
    let url = format!("http://{registry}/v2/{repository}/manifests/{tag}");
    let put = client().put(url).header("content-type", media_type).body(manifest).send().await.expect("pushed");
    let status = put.status();
    assert_eq!(status, 201, "{}", put.text().await.unwrap_or_default());
}

/// An index over images, one platform each.
pub fn index_of(images: &[(&str, &TestImage)]) -> Bytes {
    let manifests: Vec<String> = images
        .iter()
        .map(|(architecture, image)| {
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"architecture":"{architecture}","os":"linux"}}}}"#,
                image.media_type,
                image.digest(),
                image.manifest.len()
            )
        })
        .collect();
    Bytes::from(format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, manifests.join(",")))
}

/// An HTTP client that follows nothing and trusts plain HTTP.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client")
}
