//! What is pushed: blobs that share their bytes but for the last few, so that hundreds of large ones fit into memory and none is like
//! another, and small images made of them.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use weir::model::Digest;
use weir::server::hash::{Hasher, sha256};

use super::wire::{Connection, Pieces};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Blobs of one size.
pub struct Family {
    common: Bytes,
    hashed: Hasher,
}

/// One blob.
#[derive(Clone)]
pub struct Blob {
    pieces: [Bytes; 2],
    pub digest: Digest,
}

impl Family {
    pub fn new(size: usize) -> Self {
        let mut common = vec![0; size];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut common);
        let mut hashed = Hasher::sha256();
        hashed.update(&common);
        Self { common: common.into(), hashed }
    }

    /// Another blob; its size is the family's and a little.
    pub fn blob(&self) -> Blob {
        let own = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        let mut hasher = self.hashed.clone();
        hasher.update(&own);
        Blob { pieces: [self.common.clone(), own], digest: hasher.finish() }
    }
}

impl Blob {
    /// A blob of these bytes.
    pub fn of(text: String) -> Self {
        let bytes = Bytes::from(text);
        Self { digest: sha256(&bytes), pieces: [bytes, Bytes::new()] }
    }

    pub fn size(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Uploads it as Docker does: begin, all bytes, end.
    pub async fn upload(&self, connection: &mut Connection, repository: &str) -> anyhow::Result<u64> {
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let begun = connection.change(Method::POST, &begin, None, Pieces::default(), StatusCode::ACCEPTED).await?;
        let body = Pieces::from(self.pieces.clone());
        let kind = Some("application/octet-stream");
        let sent = connection.change(Method::PATCH, &begun, kind, body, StatusCode::ACCEPTED).await?;
        let and = if sent.contains('?') { '&' } else { '?' };
        let end = format!("{sent}{and}digest={}", self.digest);
        connection.change(Method::PUT, &end, None, Pieces::default(), StatusCode::CREATED).await?;
        Ok(self.size())
    }
}

/// A configuration, some layers, and the manifest that names them.
pub struct Image {
    pub config: Blob,
    pub layers: Vec<Blob>,
    pub manifest: Bytes,
}

impl Image {
    pub fn new(layers: Vec<Blob>) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Blob::of(config.to_string());
        let descriptor = |kind: &str, blob: &Blob| serde_json::json!({"mediaType": kind, "digest": blob.digest, "size": blob.size()});
        let named: Vec<_> =
            layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": named,
        });
        Self { config, layers, manifest: Bytes::from(manifest.to_string()) }
    }

    pub fn digest(&self) -> Digest {
        sha256(&self.manifest)
    }

    /// Pushes it under a tag; tells the bytes of its blobs.
    pub async fn push(&self, connection: &mut Connection, repository: &str, tag: &str) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for blob in self.layers.iter().chain([&self.config]) {
            bytes += blob.upload(connection, repository).await?;
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let body = Pieces::from([self.manifest.clone()]);
        connection.change(Method::PUT, &path, Some(MANIFEST), body, StatusCode::CREATED).await?;
        Ok(bytes)
    }
}
