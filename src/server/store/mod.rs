//! All the SQL. One concrete type over SQLite or PostgreSQL, one text per query, one transaction per verb.
//!
//! Reading verbs take a connection from the pool. Whatever reads and then writes goes through [`Store::write_tx`]: there is one writer
//! at a time on both databases, so a verb never has to fear that what it read has changed under it. Committing wakes whom it concerns.

mod allowed;
mod app_list;
mod apps;
mod as_of;
mod asked_imports;
mod assigned;
mod bases;
mod budgets;
mod build_list;
mod build_work;
mod builds;
mod bulk;
mod cascades;
mod catalog;
mod checks;
mod claims;
mod configs;
mod cool_down;
mod deletions;
mod digests;
mod downloads;
mod durable;
mod duties;
mod expected;
mod following;
mod freezes;
mod garbage;
mod graph;
mod hints;
mod holds;
mod hooks;
mod image_origins;
mod image_repository;
mod import_looks;
mod import_rule_claims;
mod import_rule_tags;
mod import_rule_work;
mod import_rules;
mod imports;
mod leases;
mod ledger;
mod ledger_histories;
mod limits;
mod links;
mod logins;
mod lookup;
mod manifests;
mod media_types;
mod members;
mod memory;
#[cfg(test)]
mod model;
mod moves;
mod new_tags;
mod notice_delivery;
mod notice_targets;
mod notices;
mod open;
mod outage;
mod overview;
mod packages;
mod past;
mod past_lists;
mod pauses;
mod platforms;
mod policy;
mod projects;
mod proofs;
mod propagation;
mod pull_tokens;
mod references;
mod registry;
mod rejections;
mod repeats;
mod resolution;
mod restore;
mod retention;
mod rollback;
mod rollouts;
mod schedule;
mod seal;
mod search;
mod search_bases;
mod search_fill;
mod search_index;
mod secrets;
mod serving;
mod sessions;
mod shown_images;
mod sources;
mod streams;
mod tag_rules;
mod tag_schedules;
mod tag_specs;
mod tags;
#[cfg(test)]
pub(in crate::server) mod testing;
mod tokens;
mod traffic;
mod turns;
mod undo;
mod usage;
mod users;
mod waiting;
mod whole_streams;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::model::{AllowedRegistries, BeyondLimit, ForbiddenRegistry, size_words};
use crate::server::wake::{Controller, Wake};
use durable::Durable;
use memory::{Ending, Leaves};

pub use app_list::ListedRollout;
pub use apps::AppFields;
pub use as_of::{AppThen, COUNT_TO_THEN, CatalogThen, DeletedThen, HoldThen, StreamThen, TagThen};
pub use asked_imports::{AskedImport, ImportTarget};
pub use assigned::{Assigned, HistoryPart};
pub use budgets::{Allowance, Answers, BudgetKey, RestKind};
pub use build_list::ListedConfig;
pub use build_work::{BuildEnd, Lost};
pub use builds::BuildRequest;
pub use bulk::{FailingImport, ShownMove, StreamParts, TagParts};
pub use cascades::CascadeSummary;
pub use catalog::{COUNT_TO, CatalogStream, CatalogTag, NEVER_MOVED, StreamFilter};
pub use checks::NeededBlob;
pub use claims::{Claim, DELETION_LEASE, Deletion};
pub use configs::ConfigFields;
pub use cool_down::Passage;
pub use downloads::Free;
pub use duties::Duty;
pub use expected::{Expected, TAG_PRECONDITION};
pub use freezes::NewFreeze;
pub use garbage::{Moment, Preview, RollbackDepth, bytes_of};
pub use hints::Hinted;
pub use hooks::RegistryHook;
pub use image_origins::ImageOrigin;
pub use image_repository::ImageRepository;
pub use import_rule_tags::RulePlan;
pub use import_rule_work::{ListedPage, RuleFailure};
pub use imports::{CheckEnd, DueImport, ImportTrouble, NextCheck};
pub use ledger::{Entry, LedgerFault};
pub use ledger_histories::{HistoryFault, HistoryPlace};
pub use logins::{LoginNews, Refused};
pub use lookup::{ImageTag, LedgerFilter, StreamUser};
pub use manifests::{MANIFEST_PARTS, Referrer, TagMove};
pub use members::Membership;
pub use memory::{GOOD_FOR, Ground, Memory, Reading};
pub use moves::{Move, Moved};
pub use notice_delivery::DueNotice;
pub use notice_targets::NoticeTargetFields;
pub use notices::{NewNotice, NewsPage};
pub use open::OpenError;
pub use outage::Outage;
pub use overview::{FailedBuild, HeldThing, RecentMove};
pub use packages::WantedLayer;
pub use past::Past;
pub use past_lists::{CascadeSteps, ConfigThen};
pub use policy::PROHIBITED;
pub use proofs::{BrokenImage, Depth, ImagePart};
pub use registry::{BlobSource, Upload};
pub use resolution::{Asker, Resolution};
pub use restore::DeletedTag;
pub use rollback::TagRollback;
pub use schedule::{Assignment, ClaimedChecks};
pub use search::{Found, Others, SEARCHED_KINDS, Scope, SearchCursor};
pub use search_fill::{FillPlace, SEARCH_FILLING};
pub use secrets::{RegistryCredentials, SecretData};
pub use sessions::Sessions;
pub use sources::{ImportPlace, IncompleteImage};
pub use streams::StreamFields;
pub use tag_rules::{ImmutableTags, TagRules};
pub use tag_specs::{TagSet, TagSpec};
pub use tokens::{NewToken, looks_like_token};
pub use traffic::{DayOfTraffic, PullCount, Pulled};
pub use turns::{Share, Slot, slots_of};
pub use undo::Undone;
pub use usage::UsageFault;
pub use whole_streams::{WantedTag, WholeStream};

/// The database, and the signals that a commit sends. Clones share both.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    wake: Wake,
    backend: Backend,
    /// Queues this process's writers, so that they wait in order instead of polling SQLite's busy handler. Holds when the last of them
    /// found the database away.
    writer: Arc<Mutex<Option<Instant>>>,
    /// Seals secrets at rest.
    key: Arc<chacha20poly1305::Key>,
    /// Names this process in leases.
    owner: Arc<str>,
    /// Ends what was remembered of the state before a commit.
    commits: Arc<memory::Commits>,
    durable: Arc<Durable>,
    allowed: Arc<AllowedRegistries>,
    depth: RollbackDepth,
    graphs: Arc<graph::Remembered>,
    /// Whether tags are checked by schedule.
    schedules: bool,
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
    /// The project would hold more than it may.
    #[error(
        "the project {project} may hold {} and holds {}: delete images or ask for a larger quota",
        size_words(*.quota),
        size_words(*.holds)
    )]
    Quota { project: String, quota: i64, holds: i64 },
    /// A stream would grow beyond what its project lets it.
    #[error(transparent)]
    Limit(#[from] BeyondLimit),
    /// The request can never work as written; `field` is a path into it.
    #[error("{message}")]
    Invalid { field: String, message: String },
    /// People may not take images from there; `field` is a path into the request.
    #[error("{cause}")]
    Forbidden { field: String, cause: ForbiddenRegistry },
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
    news: News,
    ending: Ending,
    turn: Turn,
    durable: Arc<Durable>,
    allowed: Arc<AllowedRegistries>,
    depth: RollbackDepth,
    schedules: bool,
    /// How many holds ended in it because somebody came upon them when their time was over.
    holds_ended: usize,
}

/// The right to write, which one writer of this process has at a time.
type Turn = OwnedMutexGuard<Option<Instant>>;

/// Whom a commit concerns.
struct News {
    wake: Wake,
    woken: BTreeSet<Controller>,
    changed: BTreeSet<String>,
}

/// News of a commit, told when this is dropped: also when nobody waits any more for it to last.
struct Told(News);

impl Drop for Told {
    fn drop(&mut self) {
        let News { wake, woken, changed } = &self.0;
        for controller in woken {
            wake.of(*controller).notify_one();
        }
        for project in changed {
            wake.changed(project);
        }
    }
}

impl Store {
    /// Begins a transaction that may read and then write: `BEGIN IMMEDIATE` on SQLite, a lock on `write_lock` on PostgreSQL.
    pub async fn write_tx(&self) -> Result<WriteTx> {
        let came = Instant::now();
        let mut turn = Arc::clone(&self.writer).lock_owned().await;
        // Whoever stood in line behind one that waited in vain has waited enough: all of them one after the other would be minutes.
        if turn.is_some_and(|found_away| found_away > came) {
            return Err(sqlx::Error::PoolTimedOut.into());
        }
        let tx = self.begin().await.inspect_err(|cause| {
            if Outage::of(cause) == Some(Outage::Away) {
                *turn = Some(Instant::now());
            }
        })?;
        let news = News { wake: self.wake.clone(), woken: BTreeSet::new(), changed: BTreeSet::new() };
        let (durable, allowed) = (Arc::clone(&self.durable), Arc::clone(&self.allowed));
        Ok(WriteTx {
            tx,
            news,
            ending: Ending::of(&self.commits),
            turn,
            durable,
            allowed,
            depth: self.depth,
            schedules: self.schedules,
            holds_ended: 0,
        })
    }

    async fn begin(&self) -> sqlx::Result<Transaction<'static, Any>> {
        match self.backend {
            Backend::Sqlite => self.pool.begin_with("begin immediate").await,
            Backend::Postgres => {
                let mut tx = self.pool.begin().await?;
                sqlx::query("lock table write_lock in exclusive mode").execute(&mut *tx).await?;
                Ok(tx)
            }
        }
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

    /// This process's turn to write, for single statements, which need no transaction but would else wait by polling. They last like
    /// [`WriteTx::commit_soon`], and must leave everything that is remembered as it is.
    pub(in crate::server::store) async fn turn(&self) -> Turn {
        Arc::clone(&self.writer).lock_owned().await
    }

    /// Lets people take images from these registries only.
    #[must_use]
    pub fn allowing(self, registries: AllowedRegistries) -> Self {
        Self { allowed: Arc::new(registries), ..self }
    }

    /// Lets apps go back so far.
    #[must_use]
    pub fn keeping(self, depth: RollbackDepth) -> Self {
        Self { depth, ..self }
    }

    /// Lets tags that follow other registries be checked by schedule, or only when somebody or a webhook asks.
    #[must_use]
    pub fn scheduling(self, schedules: bool) -> Self {
        Self { schedules, ..self }
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
        self.news.woken.insert(controller);
    }

    /// Tells open pages of the project once this commits. [`WriteTx::record`] does so by itself.
    pub fn touch(&mut self, project: &str) {
        self.news.changed.insert(project.to_owned());
    }

    /// Says what this leaves as it is, so that it may go on to be remembered.
    pub(in crate::server::store) fn leaves(&mut self, leaves: Leaves) {
        self.ending.leaves = leaves;
    }

    /// Leaves everything as it was. Dropping does so, too, at some later time.
    pub(in crate::server::store) async fn abandon(self) -> Result<()> {
        Ok(self.tx.rollback().await?)
    }

    /// Makes it last, then wakes whom it concerns.
    pub async fn commit(self) -> Result<()> {
        let durable = Arc::clone(&self.durable);
        let _told = self.commit_and_tell().await?;
        Ok(durable.reached().await.map_err(sqlx::Error::Io)?)
    }

    /// Makes it last as long as this machine runs, and for good with the next [`WriteTx::commit`] of anybody. For what is of use only
    /// together with something that is committed later.
    pub(in crate::server::store) async fn commit_soon(self) -> Result<()> {
        self.commit_and_tell().await.map(drop)
    }

    async fn commit_and_tell(self) -> Result<Told> {
        self.tx.commit().await?;
        let told = Told(self.news);
        drop(self.ending);
        // The next writer need not wait for the disk.
        drop(self.turn);
        Ok(told)
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
