//! Blobs as objects in an S3 bucket. Several servers may share it.
//!
//! ```text
//! <prefix>/
//!   blobs/<algorithm>/<first two hex digits>/<all hex digits>     a blob; only ever put whole
//!   uploads/<id>      an upload: one line of JSON with its multipart upload and its parts, then the bytes that are too few
//!                     for a part; its length is in its metadata
//!   staging/<id>      where that multipart upload goes; there only between its completion and the copy to the blob
//!   check             written again and again to see whether that is possible
//! ```
//!
//! An object of S3 appears whole or not at all, so a name in `blobs/` always has its bytes. A multipart upload becomes an
//! object only when it is completed and cannot be renamed: hence the copy, which the bucket does by itself up to 5 GiB.
//! Servers do not disturb one another's uploads: an upload's object is replaced only by who has seen its present version.

mod append;
mod bucket;
mod finish;
mod kept;
mod reading;
mod settings;
mod upload;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::object_store::signer::{Method, Signer as _};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Blob, BlobEntry, Blobs, Error, Incoming, UploadEntry, UploadId};
use crate::model::Digest;
use crate::server::hash::digest_like;
use bucket::Bucket;
use upload::Upload;

pub use settings::{BucketUrl, S3Args};

/// The size of a part. S3 wants 5 MiB at least.
const PART: usize = 8 * 1024 * 1024;
/// Parts that one upload may have: so a blob has 80 GiB at most.
const PARTS: usize = 10_000;
/// What S3 copies in one request.
const COPY_LIMIT: u64 = 5 * 1024 * 1024 * 1024;
/// Uploads that gather a part at once. Each holds two, one gathered and one on its way: 256 MiB together.
const ROOMS: usize = 16;
/// Uploads of which this process remembers the hash so far. What is forgotten is read again at the end.
const REMEMBERED: usize = 1024;
/// How long a client may take to follow a redirect.
const SIGNED_FOR: Duration = Duration::from_secs(10 * 60);

/// An S3 bucket, or a part of one.
pub struct ObjectStore {
    shared: Arc<Shared>,
    redirects: bool,
    /// The uploads this process has touched, with what it knows of them; all of it can be read from the bucket.
    uploads: Mutex<HashMap<UploadId, Memory>>,
}

/// What is known of an upload, none or all, and the right to change it.
type Memory = Arc<tokio::sync::Mutex<Option<Upload>>>;

/// What outlives a call.
struct Shared {
    bucket: Bucket,
    rooms: Arc<Semaphore>,
}

impl ObjectStore {
    /// Opens the bucket; the error says why it cannot be written.
    pub async fn open(url: BucketUrl, args: &S3Args, secret: Option<&SecretString>) -> Result<Self, Error> {
        // The client finds it there. It may be set already; either way there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bucket =
            Bucket::new(url, args, secret).map_err(|cause| Error::io("configuring S3")(io::Error::other(cause)))?;
        bucket.try_to_write().await?;
        let shared = Shared { bucket, rooms: Arc::new(Semaphore::new(ROOMS)) };
        Ok(Self { shared: Arc::new(shared), redirects: args.redirect, uploads: Mutex::default() })
    }

    /// The sole right, in this process, to change an upload.
    async fn claim(&self, id: &UploadId) -> OwnedMutexGuard<Option<Upload>> {
        let memory = {
            let mut all = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= REMEMBERED && !all.contains_key(id) {
                all.retain(|_, memory| Arc::strong_count(memory) > 1);
            }
            Arc::clone(all.entry(id.clone()).or_default())
        };
        memory.lock_owned().await
    }

    fn forget(&self, id: &UploadId) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl Shared {
    /// The right to hold a part in memory.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.rooms).acquire_owned().await.ok()
    }
}

#[async_trait]
impl Blobs for ObjectStore {
    async fn begin(&self, id: &UploadId) -> Result<(), Error> {
        let mut memory = self.claim(id).await;
        *memory = None;
        *memory = Some(Upload::begin(&self.shared.bucket, id).await?);
        Ok(())
    }

    async fn offset(&self, id: &UploadId) -> Result<u64, Error> {
        Ok(kept::glance(&self.shared.bucket, id).await?.length)
    }

    async fn append(&self, id: &UploadId, offset: u64, body: Incoming) -> Result<u64, Error> {
        let memory = self.claim(id).await;
        let appended = append::append(Arc::clone(&self.shared), memory, id, offset, body).await;
        if matches!(appended, Err(Error::NotFound)) {
            self.forget(id);
        }
        appended
    }

    async fn finish(&self, id: &UploadId, expected: &Digest) -> Result<u64, Error> {
        let memory = self.claim(id).await;
        // It runs to its end even when the caller goes away: half a commit would be found and repeated, but why.
        let work = finish::finish(Arc::clone(&self.shared), memory, id.clone(), expected.clone());
        let finished = joined(tokio::spawn(work)).await;
        if matches!(finished, Ok(_) | Err(Error::NotFound)) {
            self.forget(id);
        }
        finished
    }

    async fn abort(&self, id: &UploadId) -> Result<(), Error> {
        // Does not wait for an append in progress: that one finds the upload gone when it next saves what it has.
        self.forget(id);
        kept::remove(&self.shared.bucket, id).await
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let (like, hashed) = (digest.clone(), bytes.clone());
        let found = joined(spawn_blocking(move || Ok(digest_like(&like, &hashed)))).await?;
        if found != *digest {
            return Err(Error::DigestMismatch { expected: digest.clone(), found });
        }
        self.shared.bucket.put(&self.shared.bucket.blob(digest), bytes).await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.shared.bucket.size(&self.shared.bucket.blob(digest)).await
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<Blob, Error> {
        reading::read(&self.shared.bucket, &self.shared.bucket.blob(digest), range).await
    }

    async fn url(&self, digest: &Digest) -> Result<Option<String>, Error> {
        if !self.redirects {
            return Ok(None);
        }
        let bucket = &self.shared.bucket;
        let signed = bucket.client.signed_url(Method::GET, &bucket.blob(digest), SIGNED_FOR).await;
        signed.map(|url| Some(url.into())).map_err(bucket.failed("signing a URL"))
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        let bucket = &self.shared.bucket;
        let path = bucket.blob(digest);
        // S3 does not tell whether there was something to delete.
        if bucket.size(&path).await?.is_none() {
            return Ok(false);
        }
        bucket.delete(&path).await.map(|()| true)
    }

    fn list(&self) -> BoxStream<'static, Result<BlobEntry, Error>> {
        reading::blobs(Arc::clone(&self.shared)).boxed()
    }

    fn uploads(&self) -> BoxStream<'static, Result<UploadEntry, Error>> {
        reading::uploads(Arc::clone(&self.shared)).boxed()
    }

    async fn check(&self) -> Result<(), Error> {
        self.shared.bucket.try_to_write().await
    }
}

/// The result of a task of its own, which runs to its end even when the caller goes away.
async fn joined<T>(work: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    work.await.unwrap_or_else(|e| Err(Error::io("working on blobs")(io::Error::other(e))))
}

#[cfg(test)]
#[path = "../../../tests/integration/support/bucket.rs"]
mod testing;
#[cfg(test)]
mod tests;
