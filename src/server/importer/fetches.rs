//! The downloads under way, one for each blob of another registry's repository however many want it. A download belongs to nobody: it
//! goes on when those who asked have left, and all that ask meanwhile share it.
//!
//! That a blob is stored here does not make it everybody's. A repository gets it without a download when its project has it already, or
//! when somebody imported it from the same repository of the other registry; else the bytes have to come from where the image says, so
//! that naming a digest in a manifest of one's own opens nobody's blobs.

use std::collections::{BTreeSet, HashMap};
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tracing::{debug, warn};

use super::allowances::Asks;
use super::fetch::{Fetch, Progress, Wanted};
use super::places::{Place, Places};
use super::{ImportError, Importer, Source};
use crate::model::Digest;
use crate::server::blobs::{self, Incoming};
use crate::server::oci::{BlobDownload, Error as OciError};
use crate::server::store::Claim;

/// Which downloads are one: the repository of the other registry, and the blob.
type Key = (String, Digest);

#[derive(Default)]
pub(super) struct Fetches {
    under_way: Mutex<HashMap<Key, Arc<Fetch>>>,
    places: Places,
}

/// A repository that wants a blob.
pub(super) struct Wanting<'a> {
    pub(super) stream_id: &'a str,
    /// Whose share of the places the download takes.
    pub(super) project_id: &'a str,
}

impl Fetches {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Fetch>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fetch of this blob, and its other end when it has just begun. What it brings will be this repository's, too.
    fn join_or_begin(&self, wanting: &Wanting<'_>, blob: &Wanted<'_>) -> (Arc<Fetch>, Option<Progress>) {
        let mut under_way = self.lock();
        let mut begun = None;
        let fetch = under_way.entry((blob.repository.to_owned(), blob.digest.clone())).or_insert_with(|| {
            let (fetch, progress) = Fetch::new(blob);
            begun = Some(progress);
            fetch
        });
        fetch.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(wanting.stream_id.to_owned());
        let is_new =
            fetch.projects.lock().unwrap_or_else(PoisonError::into_inner).insert(wanting.project_id.to_owned());
        let fetch = Arc::clone(fetch);
        drop(under_way);
        if is_new && begun.is_none() {
            // It may have waited for a share that was used up.
            self.places.hand_out();
        }
        (fetch, begun)
    }

    /// Whether this blob is on its way.
    pub(super) fn is_under_way(&self, blob: &Wanted<'_>) -> bool {
        self.lock().contains_key(&(blob.repository.to_owned(), blob.digest.clone()))
    }

    /// The repositories that want what has arrived, since this was asked last. When there are none any more nobody joins it after that.
    fn next_streams(&self, fetch: &Arc<Fetch>) -> BTreeSet<String> {
        let mut under_way = self.lock();
        let streams = std::mem::take(&mut *fetch.streams.lock().unwrap_or_else(PoisonError::into_inner));
        if streams.is_empty() {
            under_way.retain(|_, listed| !Arc::ptr_eq(listed, fetch));
        }
        streams
    }

    fn leave(&self, fetch: &Arc<Fetch>) {
        self.lock().retain(|_, listed| !Arc::ptr_eq(listed, fetch));
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
    /// Makes sure that a repository has a blob: linked when it may have the bytes that are here, fetched when not.
    pub(super) async fn bring_blob(
        &self,
        stream_id: &str,
        blob: &Wanted<'_>,
        sources: &[Source],
    ) -> Result<(), ImportError> {
        if self.link_stored(stream_id, blob).await? {
            return Ok(());
        }
        // What does not fit is not fetched, and what no longer fits when it is here could not be linked.
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        let part = [(blob.digest.as_str(), size)];
        let check_room = || self.store.check_room(stream_id, &part);
        check_room().await?;
        let project_id = self.store.project_of_stream(stream_id).await?;
        self.fetch(&Wanting { stream_id, project_id: &project_id }, blob, sources).stored().await?;
        if self.store.find_blob(stream_id, blob.digest.as_str()).await?.is_none() {
            check_room().await?;
            return Err(ImportError::Late);
        }
        Ok(())
    }

    /// Links a blob whose bytes are here; false when they are not, or not all of them, or not for this repository.
    pub(super) async fn link_stored(&self, stream_id: &str, blob: &Wanted<'_>) -> Result<bool, ImportError> {
        let claim = self.stored(stream_id, blob).await?;
        if let Some(claim) = &claim {
            self.link(claim, stream_id, blob.size).await?;
        }
        Ok(claim.is_some())
    }

    /// A claim on a blob whose bytes are here, and which the repository may have without another download.
    async fn stored(&self, stream_id: &str, blob: &Wanted<'_>) -> Result<Option<Claim>, ImportError> {
        let digest = blob.digest.as_str();
        if !self.store.is_blob_granted(stream_id, digest, blob.repository).await? {
            return Ok(None);
        }
        let claim = self.store.claim_blob(digest).await?;
        let is_whole = self.blobs.size(blob.digest).await? == Some(blob.size);
        Ok(is_whole.then_some(claim))
    }

    async fn link(&self, claim: &Claim, stream_id: &str, size: u64) -> Result<(), ImportError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(self.store.link_claimed_blob(claim, stream_id, size, None).await?)
    }

    /// The fetch of a blob: the one under way, or a new one.
    pub(super) fn fetch(&self, wanting: &Wanting<'_>, blob: &Wanted<'_>, sources: &[Source]) -> Arc<Fetch> {
        let (fetch, begun) = self.shared.fetches.join_or_begin(wanting, blob);
        if let Some(progress) = begun {
            let (importer, fetch, stream_id) = (self.clone(), Arc::clone(&fetch), wanting.stream_id.to_owned());
            let sources = sources.to_vec();
            let work = async move { importer.carry_out(&stream_id, &fetch, progress, &sources).await };
            self.shared.around.tracker.spawn(work);
        }
        fetch
    }

    /// Fetches an image's blob anew whose bytes here are missing or wrong; false when the image did not come from elsewhere.
    pub async fn fetch_again(&self, image: &str, digest: &Digest, size: u64) -> Result<bool, ImportError> {
        let sources = self.sources("", image).await?;
        if sources.is_empty() {
            return Ok(false);
        }
        let (fetch, progress) = Fetch::new(&Wanted { digest, size, repository: "" });
        // This server itself wants it, with a share like any project's.
        fetch.projects.lock().unwrap_or_else(PoisonError::into_inner).insert(String::new());
        let received = self.receive(&fetch, &Arc::new(progress), &sources).await;
        if received.is_err() {
            self.blobs.abort(&fetch.upload).await?;
        }
        received.map(|_| true)
    }

    async fn carry_out(&self, stream_id: &str, fetch: &Arc<Fetch>, progress: Progress, sources: &[Source]) {
        let listed = Listed(&self.shared.fetches, fetch);
        let progress = Arc::new(progress);
        let received = tokio::select! {
            received = self.receive_once(stream_id, fetch, &progress, sources) => received,
            () = self.shared.around.stop.cancelled() => Err(ImportError::Stopping),
        };
        match &received {
            Ok(claim) => self.share_out(fetch, claim).await,
            Err(cause) => {
                for stream_id in &*fetch.streams.lock().unwrap_or_else(PoisonError::into_inner) {
                    self.shared.failures.note(stream_id, &fetch.digest, Err(cause), fetch.is_answered());
                }
                if let Err(problem) = self.blobs.abort(&fetch.upload).await {
                    warn!("A broken download stays behind as upload {}: {problem}", fetch.upload);
                }
            }
        }
        // Off the list first: who comes after a failure begins anew, who comes after a success finds the blob.
        drop(listed);
        progress.end(received.map(|_| ()).map_err(Arc::new));
    }

    /// Links what has arrived to every repository that asked for it. Where that fails the bytes are here all the same, and the next who
    /// asks links them: the repository may have been deleted, which is nothing to the others.
    async fn share_out(&self, fetch: &Arc<Fetch>, claim: &Claim) {
        loop {
            let streams = self.shared.fetches.next_streams(fetch);
            if streams.is_empty() {
                return;
            }
            for stream_id in streams {
                self.shared.failures.note(&stream_id, &fetch.digest, Ok(()), true);
                if let Err(problem) = self.link(claim, &stream_id, fetch.size).await {
                    warn!(blob.digest = %fetch.digest, "Blob {} arrived but could not be linked: {problem}", fetch.digest);
                }
            }
        }
    }

    /// As [`Importer::receive`], unless the blob arrived between the question and this fetch.
    async fn receive_once(
        &self,
        stream_id: &str,
        fetch: &Arc<Fetch>,
        progress: &Arc<Progress>,
        sources: &[Source],
    ) -> Result<Claim, ImportError> {
        match self.stored(stream_id, &fetch.wanted()).await? {
            Some(claim) => Ok(claim),
            None => self.receive(fetch, progress, sources).await,
        }
    }

    /// Fetches and stores the bytes.
    async fn receive(
        &self,
        fetch: &Arc<Fetch>,
        progress: &Arc<Progress>,
        sources: &[Source],
    ) -> Result<Claim, ImportError> {
        let (download, _place) = self.open(fetch, sources).await?;
        self.blobs.begin(&fetch.upload).await?;
        progress.answered();
        let body = tee(fetch, progress, download);
        self.blobs.append(&fetch.upload, 0, body).await.map_err(cause_of)?;
        // Only now, as the bytes may have taken hours.
        let claim = self.store.claim_blob(fetch.digest.as_str()).await?;
        self.blobs.finish(&fetch.upload, &fetch.digest).await.map_err(cause_of)?;
        Ok(claim)
    }

    /// The first source that has the blob, or mirror of one, and the download's place there.
    async fn open(&self, fetch: &Fetch, sources: &[Source]) -> Result<(BlobDownload, Place), ImportError> {
        let mut places = Vec::new();
        for source in sources {
            places.extend(self.mirrors_of_digests(source).await?);
            places.push(source.clone());
        }
        let mut first = None;
        for source in &places {
            let host = source.reference.docker_client_defaults().registry;
            let place = self.shared.fetches.places.enter(&host, &fetch.projects).await;
            let place = place.ok_or(ImportError::Stopping)?;
            debug!("Fetching blob {} of {}", fetch.digest, source.reference.exact());
            let question = self.client.get_blob(&source.reference, &fetch.digest, &source.access);
            match self.ask(source, Asks::Blob, question).await {
                Ok(download) if download.size.is_none_or(|size| size == fetch.size) => return Ok((download, place)),
                Ok(download) => _ = first.get_or_insert(wrong_size(fetch, download.size.unwrap_or_default()).into()),
                Err(cause) => _ = first.get_or_insert(cause),
            }
        }
        Err(first.unwrap_or_else(|| OciError::NotFound { reference: fetch.digest.to_string() }.into()))
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
