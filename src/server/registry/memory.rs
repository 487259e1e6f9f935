//! What pulls ask for again and again, remembered until a commit could have changed it (`store/memory.rs`): that somebody may enter a
//! repository, what its references lead to, and how large its blobs are.

use axum::http::HeaderValue;
use bytes::Bytes;

use super::blobs::{header, parse_digest};
use super::error::Result;
use crate::model::{Digest, ProjectName, StoredManifest, Stream, StreamName, TagName};
use crate::server::auth::{Badge, Right};
use crate::server::store::{self, Ground, Memory, Reading, Store};

/// How many entrances and blobs are remembered at most.
const AT_MOST: usize = 4096;
/// The most bytes of manifests that are remembered.
const MANIFEST_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of what stands around a manifest.
const AROUND: usize = 512;

/// Somebody who may do something in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Entrance {
    badge: Badge,
    right: Right,
    /// `<project>/<stream>`
    repository: String,
}

impl Entrance {
    pub(super) fn new(badge: Badge, project: &ProjectName, stream: &StreamName, right: Right) -> Self {
        Self { badge, right, repository: format!("{project}/{stream}") }
    }
}

/// A manifest as it is sent.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) digest: Digest,
    pub(super) media_type: HeaderValue,
    pub(super) manifest: Bytes,
}

impl Served {
    pub(super) fn new(stored: StoredManifest) -> Result<Self> {
        let StoredManifest { digest, media_type, manifest } = stored;
        Ok(Self { digest: parse_digest(&digest)?, media_type: header(&media_type), manifest: manifest.into() })
    }
}

/// The memories of this door. Keys of the last two are a stream's id and a reference in it.
pub(super) struct Memories {
    entrances: Memory<Entrance, Stream>,
    manifests: Memory<(String, String), Served>,
    blobs: Memory<(String, String), u64>,
}

impl Memories {
    pub(super) fn of(store: &Store) -> Self {
        Self {
            entrances: Memory::new(store, Ground::Rights, AT_MOST),
            manifests: Memory::new(store, Ground::Content, MANIFEST_BYTES),
            blobs: Memory::new(store, Ground::Content, AT_MOST),
        }
    }

    /// Now, for [`Memories::remember_entrance`].
    pub(super) fn moment(&self) -> Reading {
        self.entrances.moment()
    }

    /// The stream of a repository that somebody entered before in the same way.
    pub(super) fn entered(&self, entrance: &Entrance) -> Option<Stream> {
        self.entrances.recall(entrance)
    }

    /// Remembers that the way in is open, and where it leads to. Its stream's version may be an older one later.
    pub(super) fn remember_entrance(&self, entrance: Entrance, stream: Stream, before: Reading) {
        self.entrances.keep(entrance, stream, 1, before);
    }

    /// The manifest a tag points to.
    pub(super) async fn manifest_by_tag(
        &self,
        store: &Store,
        stream: &Stream,
        tag: &TagName,
    ) -> Result<Option<Served>> {
        let find = async || store.find_manifest_by_tag(&stream.id, tag.as_str()).await;
        self.manifest(&stream.id, tag.as_str(), find).await
    }

    /// The manifest of that digest, if the repository serves it.
    pub(super) async fn manifest_by_digest(
        &self,
        store: &Store,
        stream: &Stream,
        digest: &Digest,
    ) -> Result<Option<Served>> {
        let find = async || store.find_manifest_by_digest(&stream.id, digest.as_str()).await;
        self.manifest(&stream.id, digest.as_str(), find).await
    }

    async fn manifest(
        &self,
        stream_id: &str,
        reference: &str,
        find: impl AsyncFnOnce() -> store::Result<Option<StoredManifest>>,
    ) -> Result<Option<Served>> {
        let key = (stream_id.to_owned(), reference.to_owned());
        if let Some(served) = self.manifests.recall(&key) {
            return Ok(Some(served));
        }
        let before = self.manifests.moment();
        let Some(stored) = find().await? else { return Ok(None) };
        let served = Served::new(stored)?;
        self.manifests.keep(key, served.clone(), served.manifest.len() + AROUND, before);
        Ok(Some(served))
    }

    /// The size of a blob that the repository may serve.
    pub(super) async fn blob_size(&self, store: &Store, stream: &Stream, digest: &Digest) -> Result<Option<u64>> {
        let key = (stream.id.clone(), digest.to_string());
        if let Some(size) = self.blobs.recall(&key) {
            return Ok(Some(size));
        }
        let before = self.blobs.moment();
        let size = store.find_blob(&stream.id, digest.as_str()).await?.and_then(|size| u64::try_from(size).ok());
        if let Some(size) = size {
            self.blobs.keep(key, size, 1, before);
        }
        Ok(size)
    }
}
