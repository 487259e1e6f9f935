//! The downloads under way, one for each blob however many want it. A download belongs to nobody: it goes on when those who asked have
//! left, and all that ask meanwhile share it.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::fetch::{Fetch, Progress};
use super::{ImportError, Importer, Source};
use crate::model::Digest;
use crate::server::blobs::{self, Incoming};
use crate::server::oci::{BlobDownload, Error as OciError};

/// Downloads at a time; each holds 1 MiB for those who read along. Others wait their turn.
const AT_ONCE: usize = 32;

pub(super) struct Fetches {
    under_way: Mutex<HashMap<Digest, Arc<Fetch>>>,
    places: Semaphore,
}

impl Default for Fetches {
    fn default() -> Self {
        Self { under_way: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Fetch>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetch of this blob, and its other end when it has just begun. What it brings will be this repository's, too.
    fn join_or_begin(&self, stream_id: &str, digest: &Digest, size: u64) -> (Arc<Fetch>, Option<Progress>) {
        let mut under_way = self.lock();
        let mut begun = None;
        let fetch = under_way.entry(digest.clone()).or_insert_with(|| {
            let (fetch, progress) = Fetch::new(digest.clone(), size);
            begun = Some(progress);
            fetch
        });
        fetch.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(stream_id.to_owned());
        (Arc::clone(fetch), begun)
    }

    /// Nobody joins it any more; gives the repositories that want what it brought.
    fn leave(&self, fetch: &Arc<Fetch>) -> BTreeSet<String> {
        let mut under_way = self.lock();
        if under_way.get(&fetch.digest).is_some_and(|listed| Arc::ptr_eq(listed, fetch)) {
            under_way.remove(&fetch.digest);
        }
        std::mem::take(&mut *fetch.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes a fetch off the list even when its task is dropped.
struct Listed<'a>(&'a Fetches, &'a Arc<Fetch>);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

impl Importer {
    /// Makes sure that a repository has a blob: linked when its bytes are here, fetched when not.
    pub(super) async fn bring_blob(
        &self,
        stream_id: &str,
        digest: &Digest,
        size: u64,
        sources: &[Source],
    ) -> Result<(), ImportError> {
        if self.link_stored(stream_id, digest, size).await? {
            return Ok(());
        }
        Ok(self.fetch(stream_id, digest, size, sources).stored().await?)
    }

    /// Links a blob whose bytes are here; false when they are not, or not all of them.
    pub(super) async fn link_stored(&self, stream_id: &str, digest: &Digest, size: u64) -> Result<bool, ImportError> {
        let is_whole = self.blobs.size(digest).await? == Some(size);
        if is_whole {
            self.link(stream_id, digest, size).await?;
        }
        Ok(is_whole)
    }

    async fn link(&self, stream_id: &str, digest: &Digest, size: u64) -> Result<(), ImportError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(self.store.link_blob(stream_id, digest.as_str(), size, None).await?)
    }

    /// The fetch of a blob: the one under way, or a new one.
    pub(super) fn fetch(&self, stream_id: &str, digest: &Digest, size: u64, sources: &[Source]) -> Arc<Fetch> {
        let (fetch, begun) = self.shared.fetches.join_or_begin(stream_id, digest, size);
        if let Some(progress) = begun {
            let (importer, fetch, sources) = (self.clone(), Arc::clone(&fetch), sources.to_vec());
            self.shared.around.tracker.spawn(async move { importer.carry_out(&fetch, progress, &sources).await });
        }
        fetch
    }

    async fn carry_out(&self, fetch: &Arc<Fetch>, progress: Progress, sources: &[Source]) {
        let listed = Listed(&self.shared.fetches, fetch);
        let progress = Arc::new(progress);
        let received = tokio::select! {
            received = self.receive(fetch, &progress, sources) => received,
            () = self.shared.around.stop.cancelled() => Err(ImportError::Stopping),
        };
        match &received {
            Ok(()) => self.share_out(fetch).await,
            Err(_) => {
                if let Err(problem) = self.blobs.abort(&fetch.upload).await {
                    warn!("A broken download stays behind as upload {}: {problem}", fetch.upload);
                }
            }
        }
        // Off the list first: who comes after a failure begins anew, who comes after a success finds the blob.
        drop(listed);
        progress.end(received.map_err(Arc::new));
    }

    /// Links what has arrived to every repository that asked for it. Where that fails the bytes are here all the same, and the next who
    /// asks links them: the repository may have been deleted, which is nothing to the others.
    async fn share_out(&self, fetch: &Arc<Fetch>) {
        for stream_id in self.shared.fetches.leave(fetch) {
            if let Err(problem) = self.link(&stream_id, &fetch.digest, fetch.size).await {
                warn!(blob.digest = %fetch.digest, "Blob {} arrived but could not be linked: {problem}", fetch.digest);
            }
        }
    }

    /// Fetches and stores the bytes.
    async fn receive(
        &self,
        fetch: &Arc<Fetch>,
        progress: &Arc<Progress>,
        sources: &[Source],
    ) -> Result<(), ImportError> {
        let _place = self.shared.fetches.places.acquire().await.map_err(|_| ImportError::Stopping)?;
        if self.blobs.size(&fetch.digest).await? == Some(fetch.size) {
            // It arrived between the question and this fetch.
            return Ok(());
        }
        let download = self.open(fetch, sources).await?;
        self.blobs.begin(&fetch.upload).await?;
        progress.answered();
        let body = tee(fetch, progress, download);
        self.blobs.append(&fetch.upload, 0, body).await.map_err(cause_of)?;
        self.blobs.finish(&fetch.upload, &fetch.digest).await.map_err(cause_of)?;
        Ok(())
    }

    /// The first source that has the blob.
    async fn open(&self, fetch: &Fetch, sources: &[Source]) -> Result<BlobDownload, ImportError> {
        let mut first = None;
        for source in sources {
            debug!("Fetching blob {} of {}", fetch.digest, source.reference.exact());
            match self.client.get_blob(&source.reference, &fetch.digest, &source.access).await {
                Ok(download) if download.size.is_none_or(|size| size == fetch.size) => return Ok(download),
                Ok(download) => _ = first.get_or_insert(wrong_size(fetch, download.size.unwrap_or_default())),
                Err(cause) => _ = first.get_or_insert(cause),
            }
        }
        Err(first.unwrap_or_else(|| OciError::NotFound { reference: fetch.digest.to_string() }).into())
    }
}

/// The download as the store takes it in, seen by readers on its way. Too many bytes end it, and too few.
fn tee(fetch: &Arc<Fetch>, progress: &Arc<Progress>, download: BlobDownload) -> Incoming {
    let (seen, progress) = (Arc::clone(fetch), Arc::clone(progress));
    let pieces = download.stream.map(move |piece| {
        let piece = piece.map_err(io::Error::other)?;
        match seen.receive(&piece, &progress) {
            true => Ok(piece),
            false => Err(io::Error::other(wrong_size(&seen, seen.received()))),
        }
    });
    let whole = Arc::clone(fetch);
    let end = stream::once(async move {
        let received = whole.received();
        if received == whole.size { Ok(Bytes::new()) } else { Err(io::Error::other(wrong_size(&whole, received))) }
    });
    pieces.chain(end).try_filter(|piece| ready(!piece.is_empty())).boxed()
}

fn wrong_size(fetch: &Fetch, found: u64) -> OciError {
    let detail = format!("blob {} should have {} bytes, the registry sent {found}", fetch.digest, fetch.size);
    OciError::Integrity { detail }
}

/// What the other registry did wrong, where it was that.
fn cause_of(error: blobs::Error) -> ImportError {
    match error {
        blobs::Error::Body(cause) => match cause.downcast::<OciError>() {
            Ok(cause) => cause.into(),
            Err(cause) => blobs::Error::Body(cause).into(),
        },
        blobs::Error::DigestMismatch { expected, found } => {
            OciError::Integrity { detail: format!("expected {expected}, received {found}") }.into()
        }
        other => other.into(),
    }
}
