//! All the SQL. One concrete type over SQLite or PostgreSQL, one text per query, one transaction per verb.
//!
//! Reading verbs take a connection from the pool. Whatever reads and then writes goes through [`Store::write_tx`]: there is one writer
//! at a time on both databases, so a verb never has to fear that what it read has changed under it. Committing wakes whom it concerns.

mod app_list;
mod apps;
mod build_list;
mod build_work;
mod builds;
mod bulk;
mod cascades;
mod catalog;
mod checks;
mod configs;
mod graph;
mod holds;
mod imports;
mod leases;
mod ledger;
mod lookup;
mod manifests;
mod members;
mod moves;
mod open;
mod overview;
mod projects;
mod propagation;
mod pull_tokens;
mod registry;
mod rollback;
mod rollouts;
mod seal;
mod secrets;
mod serving;
mod sessions;
mod sources;
mod streams;
mod tags;
#[cfg(test)]
pub(in crate::server) mod testing;
mod tokens;
mod users;
mod whole_streams;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::server::wake::{Controller, Wake};

pub use app_list::ListedRollout;
pub use apps::AppFields;
pub use build_list::ListedConfig;
pub use build_work::{BuildEnd, Lost};
pub use builds::BuildRequest;
pub use bulk::{FailingImport, ShownMove, StreamParts};
pub use cascades::CascadeSummary;
pub use catalog::{CatalogStream, CatalogTag, NEVER_MOVED, StreamFilter};
pub use checks::NeededBlob;
pub use configs::ConfigFields;
pub use imports::{CheckEnd, DueImport, ImportTrouble};
pub use ledger::{Entry, LedgerFault};
pub use lookup::{Found, ImageTag, LedgerFilter, StreamUser};
pub use manifests::{MANIFEST_PARTS, Referrer, TagMove};
pub use members::Membership;
pub use moves::{Move, Moved};
pub use open::OpenError;
pub use overview::{FailedBuild, HeldThing, RecentMove};
pub use registry::{BlobSource, Upload};
pub use rollback::{TagRollback, Undone};
pub use secrets::{RegistryCredentials, SecretData};
pub use sessions::Sessions;
pub use sources::{ImportPlace, IncompleteImage};
pub use streams::StreamFields;
pub use tags::{TagSet, TagSpec};
pub use tokens::{NewToken, looks_like_token};
pub use whole_streams::WantedTag;

/// The database, and the signals that a commit sends. Clones share both.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    wake: Wake,
    backend: Backend,
    /// Queues this process's writers, so that they wait in order instead of polling SQLite's busy handler.
    writer: Arc<Mutex<()>>,
    /// Seals secrets at rest.
    key: Arc<chacha20poly1305::Key>,
    /// Names this process in leases.
    owner: Arc<str>,
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// Why a verb did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `kind` is the plural noun, for instance `imagestreams`.
    #[error("{kind} \"{name}\" not found")]
    NotFound { kind: &'static str, name: String },
    #[error("{kind} \"{name}\" already exists")]
    Exists { kind: &'static str, name: String },
    /// The state is not what the caller believed, or does not allow what it asked.
    #[error("{0}")]
    Conflict(String),
    /// The request can never work as written; `field` is a path into it.
    #[error("{message}")]
    Invalid { field: String, message: String },
    #[error("the database failed: {0}")]
    Db(#[from] sqlx::Error),
    #[error("stored data does not read: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// `kind` (plural noun) `name` is not there.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into() }
    }

    /// `field` cannot be what it is, because of `message`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }
}

/// Optimistic concurrency (Kubernetes' resourceVersion): `asked` is the version the caller's change is meant for, if it says so.
fn check_version(current: i64, asked: Option<i64>) -> Result<()> {
    if asked.is_none_or(|asked| asked == current) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "the object has been modified: it is at version {current} now; read it again and apply your change to that"
    )))
}

/// The result of every verb.
pub type Result<T> = std::result::Result<T, Error>;

/// A transaction that may write. Dropping it rolls back.
pub struct WriteTx {
    tx: Transaction<'static, Any>,
    wake: Wake,
    woken: BTreeSet<Controller>,
    changed: BTreeSet<String>,
    _turn: OwnedMutexGuard<()>,
}

impl Store {
    /// Begins a transaction that may read and then write: `BEGIN IMMEDIATE` on SQLite, a lock on `write_lock` on PostgreSQL.
    pub async fn write_tx(&self) -> Result<WriteTx> {
        let turn = Arc::clone(&self.writer).lock_owned().await;
        let tx = match self.backend {
            Backend::Sqlite => self.pool.begin_with("begin immediate").await?,
            Backend::Postgres => {
                let mut tx = self.pool.begin().await?;
                sqlx::query("lock table write_lock in exclusive mode").execute(&mut *tx).await?;
                tx
            }
        };
        Ok(WriteTx { tx, wake: self.wake.clone(), woken: BTreeSet::new(), changed: BTreeSet::new(), _turn: turn })
    }

    /// The signals this store sends.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Under which name this process takes leases: random at each start, so that nobody takes an earlier process's lease for their own.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    pub(in crate::server::store) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub(in crate::server::store) fn key(&self) -> &chacha20poly1305::Key {
        &self.key
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Waits for the pool's connections to end.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl WriteTx {
    /// Wakes a controller once this commits.
    pub fn wake(&mut self, controller: Controller) {
        self.woken.insert(controller);
    }

    /// Tells open pages of the project once this commits. [`WriteTx::record`] does so by itself.
    pub fn touch(&mut self, project: &str) {
        self.changed.insert(project.to_owned());
    }

    /// Makes it last, then wakes whom it concerns.
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await?;
        for controller in self.woken {
            self.wake.of(controller).notify_one();
        }
        for project in self.changed {
            self.wake.changed(&project);
        }
        Ok(())
    }
}

impl Deref for WriteTx {
    type Target = AnyConnection;

    fn deref(&self) -> &Self::Target {
        &self.tx
    }
}

impl DerefMut for WriteTx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.tx
    }
}

/// A fresh id: UUIDv7, so that ids sort by age.
pub(in crate::server::store) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
