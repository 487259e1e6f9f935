//! Bodies on their way in: ended when their sender has as good as gone, and heard out when what they bring is refused.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::error::{Error, Result};
use crate::server::oci::ManifestError;

/// Who sends less than this in all the time that is given is as good as silent: a byte a minute is no upload.
const LEAST: usize = 1024;
/// How long a sender is heard out whose bytes are not wanted.
const HEARD_OUT: Duration = Duration::from_secs(10);

/// A request's body. Clones are the same body.
#[derive(Clone)]
pub(super) struct Sender(Arc<Mutex<Listening>>);

struct Listening {
    body: BodyDataStream,
    silence: Duration,
    /// How much of the silence is left; it starts anew with every [`LEAST`] bytes.
    left: Duration,
    heard: usize,
    /// Since when the sender is waited for. What the server does between two looks is not the sender's time.
    waiting_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// No more than this may come.
    room: u64,
    over: bool,
}

impl Sender {
    /// The body, whose sender may be silent for so long.
    pub(super) fn new(body: Body, silence: Duration) -> Self {
        Self(Arc::new(Mutex::new(Listening {
            body: body.into_data_stream(),
            silence,
            left: silence,
            heard: 0,
            waiting_since: None,
            timer: Box::pin(sleep(silence)),
            room: u64::MAX,
            over: false,
        })))
    }

    /// Fails when more than so many bytes come: for those who said how many they would send.
    pub(super) fn expect(&self, bytes: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).room = bytes;
    }

    /// All bytes of a manifest.
    pub(super) async fn manifest(mut self, most: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await {
            all.extend_from_slice(&bytes.map_err(Error::broken_off)?);
            if all.len() > most {
                self.hear_out().await;
                return Err(ManifestError::TooLarge.into());
            }
        }
        Ok(all.freeze())
    }

    /// Reads on for a while and keeps nothing. Were the connection closed on a sender in mid-sentence, it would be reset, and the
    /// refusal lost with it: clients would report a broken pipe instead of what is wrong.
    pub(super) async fn hear_out(mut self) {
        let rest = async { while let Some(Ok(_)) = self.next().await {} };
        let _ = timeout(HEARD_OUT, rest).await;
    }
}

impl Stream for Sender {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut listening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listening.over {
            return Poll::Ready(None);
        }
        let next = listening.poll(context);
        listening.over = matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}

impl Listening {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self.body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(self.take(bytes))),
            Poll::Ready(Some(Err(cause))) => Poll::Ready(Some(Err(io::Error::other(cause)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                if self.waiting_since.is_none() {
                    let now = Instant::now();
                    self.waiting_since = Some(now);
                    self.timer.as_mut().reset(now + self.left);
                }
                let silent = || Some(Err(io::Error::new(ErrorKind::TimedOut, "the sender fell silent")));
                self.timer.as_mut().poll(context).map(|()| silent())
            }
        }
    }

    fn take(&mut self, bytes: Bytes) -> io::Result<Bytes> {
        if let Some(since) = self.waiting_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.heard += bytes.len();
        if self.heard >= LEAST {
            (self.heard, self.left) = (0, self.silence);
        }
        let size = bytes.len() as u64;
        self.room = self
            .room
            .checked_sub(size)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "more bytes came than Content-Range says"))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    const SILENCE: Duration = Duration::from_millis(300);

    /// A body of pieces, each after a pause.
    fn body(pieces: usize, size: usize, pause: Duration) -> Body {
        Body::from_stream(stream::iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, io::Error>(Bytes::from(vec![7; size]))
        }))
    }

    async fn received(sender: Sender) -> io::Result<usize> {
        let pieces: Vec<_> = sender.collect().await;
        pieces.into_iter().map(|piece| piece.map(|bytes| bytes.len())).sum()
    }

    #[tokio::test]
    async fn who_goes_on_is_listened_to_for_as_long_as_it_takes() {
        let sender = Sender::new(body(6, LEAST, SILENCE / 3), SILENCE);
        assert_eq!(received(sender).await.expect("all of it"), 6 * LEAST);
    }

    #[tokio::test]
    async fn a_byte_now_and_then_is_silence() {
        let sender = Sender::new(body(1000, 1, SILENCE / 30), SILENCE);
        let silent = received(sender.clone()).await.expect_err("it takes too long");
        assert_eq!(silent.kind(), ErrorKind::TimedOut);
        assert_eq!(received(sender).await.expect("nothing"), 0, "it is over");
    }

    #[tokio::test]
    async fn the_servers_own_time_does_not_count() {
        let mut sender = Sender::new(body(4, 1, Duration::from_millis(1)), SILENCE);
        while let Some(piece) = sender.next().await {
            piece.expect("it was not the sender who was slow");
            sleep(SILENCE / 2).await;
        }
    }

    #[tokio::test]
    async fn more_than_was_said_is_refused() {
        let sender = Sender::new(body(2, 10, Duration::ZERO), SILENCE);
        sender.expect(15);
        assert_eq!(received(sender).await.expect_err("too much").kind(), ErrorKind::InvalidInput);
    }
}
