//! The demo's base image: this machine's static busybox as an OCI image, pushed as any client would.

use std::path::Path;

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::model::Digest;
use crate::server::hash;

/// Where Debian's busybox-static puts it.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
/// What the demo's Dockerfiles and pages call.
const COMMANDS: [&str; 14] =
    ["ash", "cat", "cp", "cut", "date", "echo", "env", "httpd", "ls", "mkdir", "sed", "sh", "sleep", "uname"];

/// An image in memory; it is small.
pub(super) struct BaseImage {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

/// The image: busybox, links to it, and a file that says which base this is.
pub(super) fn from_busybox() -> anyhow::Result<BaseImage> {
    let path = BUSYBOX.into_iter().find(|path| Path::new(path).exists());
    let path = path.context("there is no busybox on this machine: apt-get install busybox-static")?;
    let busybox = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    if !is_static(&busybox) {
        bail!("{path} needs libraries that the image will not have: apt-get install busybox-static");
    }
    let layer = layer(&busybox)?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Labels": {"org.opencontainers.image.title": "busybox"}},
        "rootfs": {"type": "layers", "diff_ids": [hash::sha256(&layer)]},
        "history": [{"created_by": "this machine's static busybox"}],
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": hash::sha256(config.as_bytes()),
            "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": hash::sha256(&layer),
            "size": layer.len(),
        }],
    })
    .to_string();
    Ok(BaseImage { layer, config: config.into_bytes(), manifest: manifest.into_bytes() })
}

/// A dynamic executable names its interpreter, which ends up in the file as text.
fn is_static(elf: &[u8]) -> bool {
    let head = &elf[..elf.len().min(4096)];
    !head.windows(7).any(|window| window == b"ld-linu" || window == b"ld-musl")
}

fn layer(busybox: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777), ("www/", 0o755)] {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        archive.append_data(&mut header, path, std::io::empty())?;
    }
    for (path, mode, content) in [("bin/busybox", 0o755, busybox), ("etc/base-version", 0o644, b"base 1\n".as_slice())]
    {
        let mut header = header(tar::EntryType::Regular, mode, content.len());
        archive.append_data(&mut header, path, content)?;
    }
    for command in COMMANDS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{command}"), "busybox")?;
    }
    Ok(archive.into_inner()?)
}

/// The same bytes on every run: no times, no owners.
fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

impl BaseImage {
    /// Pushes it through the registry's door (OCI distribution-spec, "Pushing manifests").
    pub(super) async fn push(
        &self,
        url: &str,
        repository: &str,
        tag: &str,
        user: &str,
        token: &SecretString,
    ) -> anyhow::Result<()> {
        let client = reqwest::Client::new();
        let base = format!("{url}/v2/{repository}");
        for blob in [&self.layer, &self.config] {
            let digest: Digest = hash::sha256(blob);
            let request = client.post(format!("{base}/blobs/uploads/?digest={digest}"));
            let request = request.header("content-type", "application/octet-stream").body(blob.clone());
            accepted(request.basic_auth(user, Some(token.expose_secret())).send().await?).await?;
        }
        let request = client.put(format!("{base}/manifests/{tag}")).body(self.manifest.clone());
        let request = request.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        accepted(request.basic_auth(user, Some(token.expose_secret())).send().await?).await
    }
}

async fn accepted(response: reqwest::Response) -> anyhow::Result<()> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    bail!("the registry answered {status}: {}", response.text().await.unwrap_or_default());
}
