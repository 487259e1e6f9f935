//! Commits that wait for the disk together.
//!
//! SQLite could sync its journal within each commit, but then one writer after the other waits for the disk while all others wait for it.
//! So commits only write (`synchronous = normal`, which keeps the database whole whatever happens), and whoever has to know that theirs
//! lasts waits here: one sync is for all who came before it began. See `docs/decisions/0010`.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// The journal of a database whose commits do not sync it themselves.
#[derive(Debug, Default)]
pub(super) struct Durable {
    /// None for databases that see to it themselves.
    journal: Option<PathBuf>,
    /// How many have come.
    came: AtomicU64,
    done: Mutex<Done>,
}

#[derive(Debug, Default)]
struct Done {
    /// How many of those who came have what they came for.
    served: u64,
    has_failed: bool,
}

impl Durable {
    /// For the write-ahead log beside a database file.
    pub(super) fn beside(database: &str) -> Self {
        // A database in memory has no file, and no promise to keep.
        let journal = (!database.is_empty()).then(|| PathBuf::from(format!("{database}-wal")));
        Self { journal, ..Self::default() }
    }

    /// Returns when everything that was committed before is on disk.
    pub(super) async fn reached(&self) -> io::Result<()> {
        let Some(journal) = self.journal.clone() else { return Ok(()) };
        let mine = self.came.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().await;
        if done.has_failed {
            return Err(io::Error::other(
                "the disk has failed to keep the database's journal: restart once it is well",
            ));
        }
        if done.served >= mine {
            return Ok(());
        }
        let everybody = self.came.load(Ordering::SeqCst);
        let synced = spawn_blocking(move || sync(journal)).await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
        // After a sync that failed the system takes the pages for written: no later one may be believed.
        *done = Done { served: everybody, has_failed: synced.is_err() };
        synced
    }
}

/// By its name each time: SQLite deletes the journal with its last connection, when all of it is in the database, and begins another.
fn sync(journal: PathBuf) -> io::Result<()> {
    match File::open(journal) {
        Ok(file) => file.sync_data(),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_together_is_served_together() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("db").display().to_string();
        std::fs::write(format!("{database}-wal"), b"frames").unwrap();
        let durable = Arc::new(Durable::beside(&database));
        let waiting = (0..50).map(|_| {
            tokio::spawn({
                let durable = Arc::clone(&durable);
                async move { durable.reached().await }
            })
        });
        for one in waiting.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
        assert_eq!(durable.done.lock().await.served, 50);
        std::fs::remove_file(format!("{database}-wal")).unwrap();
        durable.reached().await.expect("a journal that SQLite has deleted is in the database");
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_promised_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("db").display().to_string();
        // What cannot be opened cannot be synced.
        std::os::unix::fs::symlink("db-wal", format!("{database}-wal")).unwrap();
        let durable = Durable::beside(&database);
        durable.reached().await.unwrap_err();
        std::fs::remove_file(format!("{database}-wal")).unwrap();
        durable.reached().await.unwrap_err();
        assert!(Durable::default().reached().await.is_ok(), "PostgreSQL syncs by itself");
    }
}
