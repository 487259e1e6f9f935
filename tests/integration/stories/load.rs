//! Images with random content, and clients that go on pushing until the server is gone, and remember what it acknowledged.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use reqwest::{RequestBuilder, StatusCode};
use weir::server::hash::sha256;

use crate::upstreams::images::{OCI_MANIFEST, TestImage, client};

/// The largest layer.
const LARGEST: usize = 300_000;
/// Between two pushes of one client: this is about kills, not about speed.
const PAUSE: Duration = Duration::from_millis(40);

/// A push that the server said it has.
pub struct Acknowledged {
    pub stream: String,
    pub tag: String,
    pub image: TestImage,
}

/// A registry and whoever pushes there.
#[derive(Clone)]
pub struct Pusher {
    http: reqwest::Client,
    /// `http://host:port/v2/project`
    base: String,
    token: String,
}

/// What did not come through, as far as a killed server explains it.
type Lost = reqwest::Error;

impl Pusher {
    pub fn new(url: &str, project: &str, token: &str) -> Self {
        Self { http: client(), base: format!("{url}/v2/{project}"), token: token.to_owned() }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}/{path}", self.base)).bearer_auth(&self.token)
    }

    /// Pushes one image. Any answer but the right one fails the test; none at all is the server's death.
    pub async fn push(&self, stream: &str, tag: &str, image: &TestImage, in_parts: bool) -> Result<(), Lost> {
        for blob in [&image.layer, &image.config] {
            if in_parts { self.blob_in_parts(stream, blob).await? } else { self.blob(stream, blob).await? }
        }
        let put = self.http.put(format!("{}/{stream}/manifests/{tag}", self.base));
        let put = put.header("content-type", image.media_type).body(image.manifest.clone());
        self.expect(put, StatusCode::CREATED).await.map(drop)
    }

    async fn blob(&self, stream: &str, blob: &Bytes) -> Result<(), Lost> {
        let path = format!("{}/{stream}/blobs/uploads/?digest={}", self.base, sha256(blob));
        self.expect(self.http.post(path).body(blob.clone()), StatusCode::CREATED).await.map(drop)
    }

    async fn blob_in_parts(&self, stream: &str, blob: &Bytes) -> Result<(), Lost> {
        let begin = self.http.post(format!("{}/{stream}/blobs/uploads/", self.base));
        let mut at = self.expect(begin, StatusCode::ACCEPTED).await?;
        let (head, tail) = (blob.slice(..blob.len() / 2), blob.slice(blob.len() / 2..));
        for part in [head, tail] {
            at = self.expect(self.http.patch(&at).body(part), StatusCode::ACCEPTED).await?;
        }
        let end = self.http.put(at).query(&[("digest", sha256(blob).as_str())]);
        self.expect(end, StatusCode::CREATED).await.map(drop)
    }

    /// Sends it; gives where the answer points to.
    async fn expect(&self, request: RequestBuilder, status: StatusCode) -> Result<String, Lost> {
        let answer = request.bearer_auth(&self.token).send().await?;
        let (got, url) = (answer.status(), answer.url().clone());
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
        if got != status {
            panic!("{url}: {got} {}", answer.text().await?);
        }
        Ok(location.and_then(|location| url.join(&location).ok()).map(String::from).unwrap_or_default())
    }

    /// Pushes random images until the server does not answer any more.
    pub async fn push_until_killed(self, number: usize, seed: u64) -> Vec<Acknowledged> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut acknowledged = Vec::new();
        loop {
            let image = random_image(&mut random);
            // Most tags are this client's own, some are fought for.
            let (stream, tag) = match random.random_range(0..4) {
                0 => ("shared".to_owned(), "latest".to_owned()),
                n => (format!("stream-{number}"), format!("t{n}")),
            };
            let in_parts = random.random_bool(0.4);
            if self.push(&stream, &tag, &image, in_parts).await.is_err() {
                return acknowledged;
            }
            acknowledged.push(Acknowledged { stream, tag, image });
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn random_image(random: &mut StdRng) -> TestImage {
    let mut layer = vec![0; random.random_range(0..LARGEST)];
    random.fill(layer.as_mut_slice());
    image(layer.into(), &format!("N={}", random.random::<u64>()), "/nothing")
}

/// An image that really runs: this machine's static busybox. `variable` tells one from the next, the layer stays.
pub fn busybox(variable: &str) -> TestImage {
    let path = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = std::fs::read(path.expect("Debian's package busybox-static")).expect("busybox");
    let mut archive = tar::Builder::new(Vec::new());
    for directory in ["bin/", "etc/", "tmp/"] {
        let mut header = header(tar::EntryType::Directory, 0);
        archive.append_data(&mut header, directory, std::io::empty()).expect("a directory");
    }
    let mut file = header(tar::EntryType::Regular, busybox.len());
    archive.append_data(&mut file, "bin/busybox", busybox.as_slice()).expect("a file");
    for command in ["sh", "sleep"] {
        let mut link = header(tar::EntryType::Symlink, 0);
        archive.append_link(&mut link, format!("bin/{command}"), "busybox").expect("a link");
    }
    image(archive.into_inner().expect("an archive").into(), variable, "/bin/sleep")
}

fn header(kind: tar::EntryType, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(size as u64);
    header
}

fn image(layer: Bytes, variable: &str, command: &str) -> TestImage {
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin", variable], "Cmd": [command, "100000"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
        // buildah counts the layers here.
        "history": [{"created_by": "a test"}],
    });
    let config = Bytes::from(config.to_string());
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": sha256(&config),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": sha256(&layer),
            "size": layer.len(),
        }],
    });
    TestImage { media_type: OCI_MANIFEST, config, layer, manifest: manifest.to_string().into() }
}
