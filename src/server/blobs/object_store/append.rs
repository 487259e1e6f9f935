//! Bytes on their way into an upload.
//!
//! While one part is on its way to the bucket the next is gathered. What has come is written down when the stream ends
//! and when the sender pauses, so that other servers, and this one after a restart, can go on from there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::upload::Upload;
use super::{Shared, joined};
use crate::server::blobs::{Error, Incoming, UploadId};
use crate::server::hash::Hasher;

/// What an upload may hold in memory without asking. Most blobs are smaller; larger ones wait for room.
const SMALL: usize = 256 * 1024;
/// How long a sender may be silent before what it sent is written down; longer each time, for that is a request.
const QUIET: Duration = Duration::from_millis(500);
/// How long one upload may keep its room without filling a part, however busily it trickles.
const ROOM: Duration = Duration::from_secs(30);

/// Appends the stream to the upload; tells its new length.
pub(super) async fn append(
    shared: Arc<Shared>,
    mut memory: OwnedMutexGuard<Option<Upload>>,
    id: &UploadId,
    offset: u64,
    body: Incoming,
) -> Result<u64, Error> {
    let upload = match memory.take() {
        // Nothing to read. Should another process have changed it, that is found when it is saved.
        Some(known) if known.length() == offset && known.tail_length() == 0 => known,
        known => Upload::load(&shared.bucket, id, known).await?,
    };
    if upload.length() != offset {
        let expected = upload.length();
        *memory = Some(upload.rested());
        return Err(Error::OffsetMismatch { expected });
    }
    let part = usize::try_from(upload.part_size()).unwrap_or(usize::MAX);
    // How much the upload has behind its parts once all that was handed over is stored.
    let mut tail = usize::try_from(upload.tail_length()).unwrap_or(usize::MAX);
    let mut sender = Sender { body, rest: Bytes::new(), quiet: QUIET, hasher: upload.hasher() };
    let mut hand = Hand::Idle(Box::new(Writer { shared: Arc::clone(&shared), memory, upload }));
    let (mut room, mut is_waiting) = (None, false);
    loop {
        let wanted = if room.is_some() { part - tail } else { SMALL.min(part - tail) };
        let (bytes, end) = sender.gather(wanted, is_waiting).await;
        tail += bytes.len();
        if room.is_none() && (tail > SMALL || matches!(end, End::Full)) {
            room = shared.room().await;
        }
        tail %= part;
        let writer = hand.writer().await?;
        let hasher = sender.hasher.clone();
        match end {
            End::Full => hand = Hand::Busy(tokio::spawn(writer.push(bytes))),
            End::Quiet => {
                hand = Hand::Idle(Box::new(joined(tokio::spawn(writer.save(bytes, hasher))).await?));
                room = None;
            }
            End::Ended(result) => {
                let writer = joined(tokio::spawn(writer.save(bytes, hasher))).await?;
                let length = writer.done();
                return result.map(|()| length).map_err(Error::Body);
            }
        }
        is_waiting = room.is_some();
    }
}

/// An upload while it is appended to, and the sole right to do so in this process. Both travel into the task that
/// writes, so that a writer whose request has gone still keeps others out until its last write is done.
struct Writer {
    shared: Arc<Shared>,
    memory: OwnedMutexGuard<Option<Upload>>,
    upload: Upload,
}

impl Writer {
    async fn push(mut self, bytes: BytesMut) -> Result<Self, Error> {
        self.upload.push(&self.shared.bucket, bytes).await?;
        Ok(self)
    }

    async fn save(mut self, bytes: BytesMut, hasher: Option<Hasher>) -> Result<Self, Error> {
        self.upload.push(&self.shared.bucket, bytes).await?;
        self.upload.save(&self.shared.bucket, hasher).await?;
        self.upload.rest();
        Ok(self)
    }

    /// Remembers the upload; tells its length.
    fn done(mut self) -> u64 {
        let length = self.upload.length();
        *self.memory = Some(self.upload);
        length
    }
}

enum Hand {
    Idle(Box<Writer>),
    Busy(JoinHandle<Result<Writer, Error>>),
}

impl Hand {
    async fn writer(self) -> Result<Writer, Error> {
        match self {
            Self::Idle(writer) => Ok(*writer),
            Self::Busy(work) => joined(work).await,
        }
    }
}

enum End {
    /// As many bytes as were wanted; there may be more.
    Full,
    /// The sender pauses, or is too slow.
    Quiet,
    Ended(io::Result<()>),
}

struct Sender {
    body: Incoming,
    /// What came with the last bytes and was more than wanted.
    rest: Bytes,
    quiet: Duration,
    /// Of all bytes so far; none when some came another way.
    hasher: Option<Hasher>,
}

impl Sender {
    /// The next bytes. With nothing gathered and nothing that waits to be saved, the sender may be silent for as long as
    /// its stream allows.
    async fn gather(&mut self, wanted: usize, is_waiting: bool) -> (BytesMut, End) {
        let mut bytes = BytesMut::with_capacity(if is_waiting { wanted } else { 0 });
        let last = Instant::now() + ROOM;
        while bytes.len() < wanted {
            if self.rest.is_empty() {
                let next = if bytes.is_empty() && !is_waiting {
                    self.body.next().await
                } else {
                    let Ok(next) = timeout_at(last.min(Instant::now() + self.quiet), self.body.next()).await else {
                        self.quiet *= 2;
                        return (bytes, End::Quiet);
                    };
                    next
                };
                match next {
                    Some(Ok(next)) => self.rest = next,
                    Some(Err(cause)) => return (bytes, End::Ended(Err(cause))),
                    None => return (bytes, End::Ended(Ok(()))),
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(wanted - bytes.len()));
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&taken);
            }
            bytes.extend_from_slice(&taken);
        }
        (bytes, End::Full)
    }
}
