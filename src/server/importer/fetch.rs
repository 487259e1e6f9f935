//! One blob on its way from another registry: fetched and stored once, and read meanwhile by everybody who asked for it.
//!
//! ```text
//!   other registry ──> recent (memory, bounded) ──> upload ──> blob
//!                          └──> readers that keep up   └──> slow and late readers
//! ```
//!
//! Readers never hold the fetch back: who falls out of what is recent reads what was stored. The last byte of each reader waits until the
//! digest was checked, so a body that ends well was right, and any other breaks off.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::watch;

use super::ImportError;
use super::places::Projects;
use crate::model::Digest;
use crate::server::blobs::{Blobs, Outgoing, UploadId};

/// How many of the newest bytes are kept for readers who keep up. More than a blob store holds back before it writes.
const RECENT: usize = 1024 * 1024;
/// Each piece may hold on to a whole receive buffer, however few of its bytes it shows.
const RECENT_PIECES: usize = 128;

/// A blob that a repository here is to have.
pub(super) struct Wanted<'a> {
    pub(super) digest: &'a Digest,
    /// What the manifest says; anything else is refused.
    pub(super) size: u64,
    /// The repository of another registry that has it.
    pub(super) repository: &'a str,
}

/// A fetch under way, or at its end.
pub struct Fetch {
    pub(super) digest: Digest,
    repository: String,
    pub(super) size: u64,
    pub(super) upload: UploadId,
    state: watch::Receiver<State>,
    recent: Mutex<Recent>,
    /// The repositories that will have the blob.
    pub(super) streams: Mutex<BTreeSet<String>>,
    /// Their projects.
    pub(super) projects: Projects,
}

/// How a fetch ended, for everybody who waited.
pub(super) type End = Result<(), Arc<ImportError>>;

/// ```text
/// asked ──> answered (bytes come) ──> end
///   └────────────────────────────────^
/// ```
#[derive(Clone, Default)]
struct State {
    answered: bool,
    received: u64,
    end: Option<End>,
}

/// The side of a fetch that tells how it goes. When it is dropped without an end, readers break off.
pub(super) struct Progress(watch::Sender<State>);

impl Progress {
    pub(super) fn answered(&self) {
        self.0.send_modify(|state| state.answered = true);
    }

    pub(super) fn end(&self, end: End) {
        self.0.send_modify(|state| state.end = Some(end));
    }
}

impl Fetch {
    pub(super) fn new(blob: &Wanted<'_>) -> (Arc<Self>, Progress) {
        let (progress, state) = watch::channel(State::default());
        let fetch = Self {
            digest: blob.digest.clone(),
            repository: blob.repository.to_owned(),
            size: blob.size,
            upload: UploadId::random(),
            state,
            recent: Mutex::default(),
            streams: Mutex::default(),
            projects: Projects::default(),
        };
        (Arc::new(fetch), Progress(progress))
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { digest: &self.digest, size: self.size, repository: &self.repository }
    }

    /// Takes in the next bytes; false when there are more than there should be.
    pub(super) fn receive(&self, bytes: &Bytes, progress: &Progress) -> bool {
        let end = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.push(bytes.clone());
            recent.end()
        };
        progress.0.send_modify(|state| state.received = end);
        end <= self.size
    }

    pub(super) fn received(&self) -> u64 {
        self.state.borrow().received
    }

    /// Whether the other registry has begun to answer.
    pub(super) fn is_answered(&self) -> bool {
        self.state.borrow().answered
    }

    /// Waits until the other registry has answered that the blob comes, or why it does not.
    pub async fn answered(&self) -> Result<(), Arc<ImportError>> {
        self.wait(|state| state.answered || state.end.is_some()).await
    }

    /// Waits until the blob is stored, or why it is not.
    pub async fn stored(&self) -> Result<(), Arc<ImportError>> {
        self.wait(|state| state.end.is_some()).await
    }

    async fn wait(&self, enough: impl FnMut(&State) -> bool) -> End {
        let mut state = self.state.clone();
        let end = match state.wait_for(enough).await {
            Ok(state) => state.end.clone(),
            Err(_) => Some(Err(Arc::new(ImportError::Stopping))),
        };
        end.unwrap_or(Ok(()))
    }

    /// The bytes of a range within the blob, as they come.
    pub fn read(
        self: &Arc<Self>,
        blobs: Arc<dyn Blobs>,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes, Arc<ImportError>>> {
        let state = self.state.clone();
        let reader = Reader { fetch: Arc::clone(self), blobs, state, at: range.start, end: range.end, stored: None };
        stream::try_unfold(reader, Reader::step).boxed()
    }
}

/// The newest bytes of a fetch.
#[derive(Default)]
struct Recent {
    pieces: VecDeque<Bytes>,
    /// Where the first piece begins.
    start: u64,
    held: usize,
}

impl Recent {
    fn push(&mut self, bytes: Bytes) {
        self.held += bytes.len();
        self.pieces.push_back(bytes);
        while self.pieces.len() > 1 && (self.held > RECENT || self.pieces.len() > RECENT_PIECES) {
            let gone = self.pieces.pop_front().map_or(0, |piece| piece.len());
            self.held -= gone;
            self.start += gone as u64;
        }
    }

    fn end(&self) -> u64 {
        self.start + self.held as u64
    }

    /// Bytes from `range.start` on, at most up to `range.end`, if they are still here.
    fn read(&self, range: &Range<u64>) -> Option<Bytes> {
        let mut start = self.start;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if (start..end).contains(&range.start) {
                // Both lie within a piece, which is in memory: no number is cut off.
                return Some(piece.slice((range.start - start) as usize..(range.end.min(end) - start) as usize));
            }
            start = end;
        }
        None
    }
}

struct Reader {
    fetch: Arc<Fetch>,
    blobs: Arc<dyn Blobs>,
    state: watch::Receiver<State>,
    at: u64,
    end: u64,
    /// The rest, once the blob is stored.
    stored: Option<Outgoing>,
}

impl Reader {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>, Arc<ImportError>> {
        loop {
            if let Some(stored) = &mut self.stored {
                let bytes = stored.try_next().await.map_err(|cause| Arc::new(cause.into()))?;
                return Ok(bytes.map(|bytes| (bytes, self)));
            }
            let (received, end) = {
                let state = self.state.borrow_and_update();
                (state.received, state.end.clone())
            };
            match end {
                Some(Err(cause)) => return Err(cause),
                Some(Ok(())) if self.at >= self.end => return Ok(None),
                Some(Ok(())) => {
                    let rest = self.blobs.read(&self.fetch.digest, Some(self.at..self.end)).await;
                    self.stored = Some(rest.map_err(|cause| Arc::new(cause.into()))?.stream);
                    continue;
                }
                None => {}
            }
            // The last byte is for those who waited for the digest.
            let ready = self.at..received.min(self.end.saturating_sub(1));
            if let Some(bytes) = read_ready(&self.fetch, &*self.blobs, ready).await? {
                self.at += bytes.len() as u64;
                return Ok(Some((bytes, self)));
            }
            if self.state.changed().await.is_err() && self.state.borrow().end.is_none() {
                return Err(Arc::new(ImportError::Stopping));
            }
        }
    }
}

/// Some bytes from where `ready` begins: those in memory, else those stored; none yet for a store that holds them back.
async fn read_ready(fetch: &Fetch, blobs: &dyn Blobs, ready: Range<u64>) -> Result<Option<Bytes>, Arc<ImportError>> {
    if ready.is_empty() {
        return Ok(None);
    }
    let recent = fetch.recent.lock().unwrap_or_else(PoisonError::into_inner).read(&ready);
    if recent.is_some() {
        return Ok(recent);
    }
    blobs.read_upload(&fetch.upload, ready).await.map_err(|cause| Arc::new(cause.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept_and_no_more() {
        let mut recent = Recent::default();
        let piece = Bytes::from(vec![7; 300_000]);
        for _ in 0..10 {
            recent.push(piece.clone());
        }
        assert_eq!((recent.end(), recent.held), (3_000_000, 900_000));
        assert_eq!(recent.read(&(0..10)), None, "it has gone");
        assert_eq!(recent.read(&(2_099_999..2_100_001)), None);
        assert_eq!(recent.read(&(2_100_000..3_000_000)).map(|bytes| bytes.len()), Some(300_000), "a piece at a time");
        assert_eq!(recent.read(&(2_999_999..3_000_000)).map(|bytes| bytes.len()), Some(1));
        assert_eq!(recent.read(&(3_000_000..3_000_001)), None, "not there yet");
        for _ in 0..1000 {
            recent.push(Bytes::from_static(b"x"));
        }
        assert_eq!((recent.pieces.len(), recent.end()), (RECENT_PIECES, 3_001_000));
    }
}
