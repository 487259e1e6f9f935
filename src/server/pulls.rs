//! Pulls on their way into the database: counted in memory, so that a pull costs no write, and written together every few seconds and
//! when the server stops. A crash loses the last few seconds of them, which are no one's decision and no one's image.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::store::{self, PullCount, Pulled, Store};
use crate::model::{day_of, now};

/// What was pulled: the stream, what of it, and on which day.
type Key = (String, Pulled, i64);

/// Pulls that are not written yet. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pulls(Arc<Mutex<HashMap<Key, i64>>>);

impl Pulls {
    /// Counts one pull.
    pub fn note(&self, stream_id: &str, pulled: Pulled) {
        self.add((stream_id.to_owned(), pulled, day_of(now())), 1);
    }

    /// Writes what was counted. When that fails it is counted still.
    pub async fn flush(&self, store: &Store) -> Result<(), store::Error> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let pulls: Vec<_> = taken
            .into_iter()
            .map(|((stream_id, pulled, day), count)| PullCount { stream_id, pulled, day, count })
            .collect();
        let written = store.add_pulls(&pulls).await;
        if written.is_err() {
            for PullCount { stream_id, pulled, day, count } in pulls {
                self.add((stream_id, pulled, day), count);
            }
        }
        written
    }

    fn add(&self, key: Key, count: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += count;
    }
}
