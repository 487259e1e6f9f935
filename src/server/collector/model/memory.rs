//! Blobs in memory, with the test's clock: what the model pushes to, and reads back at every step.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};

use crate::model::{Digest, now};
use crate::server::blobs::{Blob, BlobEntry, Blobs, Error, Incoming, UploadEntry, UploadId};
use crate::server::hash::digest_like;

/// Bytes, and when they came in milliseconds.
type Entry = (Vec<u8>, i64);

/// Blobs in memory.
#[derive(Default)]
pub struct Memory {
    all: Mutex<All>,
    /// One append at a time, of whichever upload.
    appending: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct All {
    blobs: BTreeMap<String, Entry>,
    uploads: BTreeMap<String, Entry>,
    broken: Option<String>,
}

impl Memory {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the blob's bytes are here.
    pub fn has(&self, digest: &str) -> bool {
        self.all().blobs.contains_key(digest)
    }

    /// Digests of all blobs.
    pub fn digests(&self) -> Vec<String> {
        self.all().blobs.keys().cloned().collect()
    }

    /// When the blob came.
    pub fn came_at(&self, digest: &str) -> Option<i64> {
        self.all().blobs.get(digest).map(|(_, at)| *at)
    }

    /// Makes deleting one blob fail.
    pub fn break_blob(&self, digest: Option<&str>) {
        self.all().broken = digest.map(str::to_owned);
    }
}

fn time(ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs())
}

#[async_trait]
impl Blobs for Memory {
    async fn begin(&self, id: &UploadId) -> Result<(), Error> {
        self.all().uploads.insert(id.to_string(), (Vec::new(), now()));
        Ok(())
    }

    async fn offset(&self, id: &UploadId) -> Result<u64, Error> {
        self.all().uploads.get(id.as_str()).map(|(bytes, _)| bytes.len() as u64).ok_or(Error::NotFound)
    }

    async fn append(&self, id: &UploadId, offset: u64, mut body: Incoming) -> Result<u64, Error> {
        let _turn = self.appending.lock().await;
        let expected = self.offset(id).await?;
        if expected != offset {
            return Err(Error::OffsetMismatch { expected });
        }
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(Error::Body)?;
            let mut all = self.all();
            let upload = all.uploads.get_mut(id.as_str()).ok_or(Error::NotFound)?;
            upload.0.extend_from_slice(&bytes);
            upload.1 = now();
        }
        self.offset(id).await
    }

    async fn finish(&self, id: &UploadId, expected: &Digest) -> Result<u64, Error> {
        let mut all = self.all();
        let (bytes, _) = all.uploads.get(id.as_str()).ok_or(Error::NotFound)?;
        let found = digest_like(expected, bytes);
        if found != *expected {
            return Err(Error::DigestMismatch { expected: expected.clone(), found });
        }
        let entry = all.uploads.remove(id.as_str()).ok_or(Error::NotFound)?;
        let size = entry.0.len() as u64;
        all.blobs.insert(expected.to_string(), entry);
        Ok(size)
    }

    async fn abort(&self, id: &UploadId) -> Result<(), Error> {
        self.all().uploads.remove(id.as_str());
        Ok(())
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let found = digest_like(digest, &bytes);
        if found != *digest {
            return Err(Error::DigestMismatch { expected: digest.clone(), found });
        }
        self.all().blobs.insert(digest.to_string(), (bytes.to_vec(), now()));
        Ok(())
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.all().blobs.get(digest.as_str()).map(|(bytes, _)| bytes.len() as u64))
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<Blob, Error> {
        let bytes = self.all().blobs.get(digest.as_str()).map(|(bytes, _)| bytes.clone()).ok_or(Error::NotFound)?;
        let size = bytes.len() as u64;
        let range = range.map_or(0..size, |range| range.start..range.end.min(size));
        if range.is_empty() && size > 0 || range.start > range.end {
            return Err(Error::RangeNotSatisfiable { size });
        }
        let part = Bytes::from(bytes).slice(range.start as usize..range.end as usize);
        Ok(Blob { size, range, stream: stream::iter([Ok(part)]).boxed() })
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        let mut all = self.all();
        if all.broken.as_deref() == Some(digest.as_str()) {
            return Err(Error::Io { doing: "deleting".to_owned(), source: io::Error::other("broken on purpose") });
        }
        Ok(all.blobs.remove(digest.as_str()).is_some())
    }

    fn list(&self) -> BoxStream<'static, Result<BlobEntry, Error>> {
        let all = self.all();
        let entries: Vec<_> = all
            .blobs
            .iter()
            .filter_map(|(digest, (bytes, at))| {
                let digest = digest.parse().ok()?;
                Some(Ok(BlobEntry { digest, size: bytes.len() as u64, modified: time(*at) }))
            })
            .collect();
        stream::iter(entries).boxed()
    }

    fn uploads(&self) -> BoxStream<'static, Result<UploadEntry, Error>> {
        let all = self.all();
        let entries: Vec<_> = all
            .uploads
            .iter()
            .filter_map(|(id, (bytes, at))| {
                let id = id.parse().ok()?;
                Some(Ok(UploadEntry { id, size: bytes.len() as u64, modified: time(*at) }))
            })
            .collect();
        stream::iter(entries).boxed()
    }

    async fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes_the_suite_of_blob_stores() {
    let memory: std::sync::Arc<dyn Blobs> = std::sync::Arc::new(Memory::default());
    crate::server::blobs::conformance::run(|| futures_util::future::ready(memory.clone()).boxed()).await;
}
