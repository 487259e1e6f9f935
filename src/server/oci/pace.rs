//! How slowly another registry may send: one that sends a byte a minute would keep whoever waits for it, and what that holds, for ever.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use super::Error;

/// The least that has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Over so much time, of which only that counts in which the registry is waited for.
    pub window: Duration,
    pub bytes_per_second: u64,
}

impl Default for Pace {
    /// At 4 KiB/s a layer of 100 MB takes seven hours, which no client waits. A minute lets a line that stalls recover.
    fn default() -> Self {
        Self { window: Duration::from_secs(60), bytes_per_second: 4096 }
    }
}

impl Pace {
    fn is_kept(self, received: u64) -> bool {
        let least = u128::from(self.bytes_per_second) * self.window.as_millis();
        u128::from(received) * 1000 >= least
    }

    /// The pieces as they come, until too few of them come.
    pub(super) fn keep<S>(self, registry: String, pieces: S) -> impl Stream<Item = Result<Bytes, Error>> + Send
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
    {
        let waiting = Waiting { pieces, waited: Duration::ZERO, received: 0 };
        stream::try_unfold((waiting, registry), move |(mut waiting, registry)| async move {
            match waiting.next(self).await {
                Some(Ok(piece)) => Ok(Some((piece, (waiting, registry)))),
                Some(Err(Ended::TooSlow)) => {
                    Err(Error::TooSlow { registry, window: self.window, least: self.bytes_per_second })
                }
                Some(Err(Ended::Failed(cause))) => Err(cause),
                None => Ok(None),
            }
        })
    }
}

struct Waiting<S> {
    pieces: S,
    /// Since the window began.
    waited: Duration,
    received: u64,
}

enum Ended {
    TooSlow,
    Failed(Error),
}

impl<S: Stream<Item = Result<Bytes, Error>> + Unpin> Waiting<S> {
    async fn next(&mut self, pace: Pace) -> Option<Result<Bytes, Ended>> {
        loop {
            let began = Instant::now();
            let next = timeout(pace.window.saturating_sub(self.waited), self.pieces.next()).await;
            self.waited += began.elapsed();
            match next {
                Ok(Some(Ok(piece))) => {
                    self.received += piece.len() as u64;
                    return Some(Ok(piece));
                }
                Ok(Some(Err(cause))) => return Some(Err(Ended::Failed(cause))),
                Ok(None) => return None,
                Err(_) if !pace.is_kept(self.received) => return Some(Err(Ended::TooSlow)),
                Err(_) => (self.waited, self.received) = (Duration::ZERO, 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt as _;
    use tokio::time::sleep;

    use super::*;

    /// Pieces of 100 bytes, one each `every`.
    fn dripping(pieces: usize, every: Duration) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin {
        let drop = move |_| async move {
            sleep(every).await;
            Ok(Bytes::from(vec![7; 100]))
        };
        stream::iter(0..pieces).then(drop).boxed()
    }

    #[tokio::test]
    async fn who_sends_too_little_is_not_waited_for() {
        let pace = Pace { window: Duration::from_millis(200), bytes_per_second: 2000 };
        let kept = |pieces, every| pace.keep("quay.io".to_owned(), dripping(pieces, Duration::from_millis(every)));
        let read = kept(100, 150).try_collect::<Vec<_>>().await;
        let window = pace.window;
        assert_eq!(read, Err(Error::TooSlow { registry: "quay.io".to_owned(), window, least: 2000 }));
        let steady = kept(40, 15).try_collect::<Vec<_>>().await.expect("all of it");
        assert_eq!(steady.len(), 40, "windows begin anew");
    }

    #[tokio::test]
    async fn time_that_others_take_does_not_count() {
        let pace = Pace { window: Duration::from_millis(100), bytes_per_second: 1_000_000 };
        let kept = pace.keep("quay.io".to_owned(), dripping(5, Duration::ZERO));
        let slowly = kept.and_then(|piece| async move {
            sleep(Duration::from_millis(60)).await;
            Ok(piece)
        });
        assert_eq!(slowly.try_collect::<Vec<_>>().await.expect("all of it").len(), 5);
    }
}
