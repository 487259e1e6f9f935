//! A build's log as a stream of text: what there is, then what comes, until the build ends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::model::{Build, BuildPhase};
use crate::server::store::{self, Store};

/// Lines read at a time.
const BATCH: i64 = 500;
/// How long a reader trusts in being told; a lost signal costs this much time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which part of a log.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Go on until the build ends.
    pub follow: bool,
    /// Wait for a build that has not started.
    pub wait: bool,
    /// The first line, counted from 1.
    pub from: i64,
    pub limit_bytes: Option<usize>,
}

struct Reader {
    store: Store,
    build: Build,
    wanted: Wanted,
    next: i64,
    left: usize,
    signals: Receiver<String>,
    ended: bool,
    stop: CancellationToken,
}

/// The log's text, in pieces of whole lines.
pub fn read(
    store: Store,
    build: Build,
    wanted: Wanted,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, store::Error>> {
    // Listening begins before the first read: no line can come between the two unnoticed.
    let signals = store.wake().logs();
    let left = wanted.limit_bytes.unwrap_or(usize::MAX);
    let reader = Reader { store, build, wanted, next: wanted.from, left, signals, ended: false, stop };
    stream::try_unfold(reader, |mut reader| async move {
        let piece = reader.piece().await?;
        Ok(piece.map(|piece| (piece, reader)))
    })
}

impl Reader {
    async fn piece(&mut self) -> store::Result<Option<Bytes>> {
        loop {
            if self.left == 0 || self.stop.is_cancelled() {
                return Ok(None);
            }
            let lines = self.store.read_log(&self.build.id, self.next, BATCH).await?;
            if let Some((last, _)) = lines.last() {
                self.next = last + 1;
                let mut text: String = lines.into_iter().flat_map(|(_, line)| [line, "\n".to_owned()]).collect();
                while text.len() > self.left {
                    text.pop();
                }
                self.left -= text.len();
                return Ok(Some(text.into()));
            }
            if self.ended {
                return Ok(None);
            }
            let waits = matches!(self.build.phase, BuildPhase::New | BuildPhase::Pending);
            if !self.build.phase.is_final() && if waits { self.wanted.wait } else { self.wanted.follow } {
                self.signal().await;
                self.build = self.store.build_by_id(&self.build.id).await?;
            } else {
                // What was written between the last read and the end is still to come.
                self.ended = true;
            }
        }
    }

    async fn signal(&mut self) {
        let told = async {
            loop {
                match self.signals.recv().await {
                    Ok(id) if id != self.build.id => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    // Nobody will tell any more: the clock alone decides.
                    Err(RecvError::Closed) => std::future::pending::<()>().await,
                }
            }
        };
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
