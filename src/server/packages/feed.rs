//! Bytes on their way from the blob store, where they come asynchronously, to the reader of layers, which waits for them on a thread of
//! its own.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::layer::{Unread, read_layer};
use super::{Limits, trouble};
use crate::model::{Digest, LayerContents};
use crate::server::blobs::{self, Blobs};

/// Pieces that may wait for the reader. The stores give pieces of at most 256 KiB.
const AHEAD: usize = 4;

/// How long the blob store may give nothing: other layers wait behind this one.
const SILENCE: Duration = Duration::from_secs(60);

/// Reads the layer that is stored as a blob. The inner error says in words why the layer cannot be read; the outer one, why not now.
/// When this is dropped, the reader ends with its next piece.
pub async fn read_blob(
    blobs: &Arc<dyn Blobs>,
    digest: &Digest,
    limits: Limits,
) -> anyhow::Result<Result<LayerContents, String>> {
    let mut stream = match blobs.read(digest, None).await {
        Ok(blob) => blob.stream,
        Err(blobs::Error::NotFound) => bail!("its bytes are not stored here"),
        Err(error) => return Err(error).context("opening the layer"),
    };
    let (pieces, fed) = channel(AHEAD);
    let reading = spawn_blocking(move || read_layer(Fed { pieces: fed, piece: Bytes::new(), ended: false }, &limits));
    while let Some(piece) = timeout(SILENCE, stream.next()).await.context("the blob store fell silent")? {
        let piece = piece.context("reading the layer")?;
        // The reader may have seen enough.
        if pieces.send(Some(piece)).await.is_err() {
            break;
        }
    }
    let _ = pieces.send(None).await;
    match reading.await {
        Ok(Ok(contents)) => Ok(Ok(contents)),
        Ok(Err(Unread::Refused(why))) => Ok(Err(why)),
        Ok(Err(Unread::Failed(cause))) => Err(cause).context("keeping a part of the layer aside"),
        Err(panic) if panic.is_panic() => Ok(Err("reading it failed, which is a fault of Weir's".to_owned())),
        Err(stopped) => Err(stopped).context("waiting for the reader"),
    }
}

/// The reader's end.
struct Fed {
    /// The last one is `None`: a feed that just ends broke off.
    pieces: Receiver<Option<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.ended = true,
                None => return Err(trouble(io::Error::other("nobody waits for it any more"))),
            }
        }
        let part = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..part]);
        Ok(part)
    }
}
