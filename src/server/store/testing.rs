//! Fresh databases for the store's tests: SQLite always, PostgreSQL when `WEIR_TEST_POSTGRES_URL` names a server.

mod postgres;
pub mod tags;

use std::ops::Deref;

use postgres::FreshPostgres;

use super::{Backend, Store, new_id};
use crate::model::now;
use crate::server::wake::Wake;

/// A store in a database of its own, which goes with it.
pub struct TestStore {
    store: Store,
    _directory: tempfile::TempDir,
    _database: Option<FreshPostgres>,
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// One fresh store for each database there is.
pub async fn each_store() -> Vec<TestStore> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite://{}/weir.db", directory.path().display());
    let mut stores = vec![open(&url, directory, None).await];
    if let Some(database) = FreshPostgres::make().await {
        let directory = tempfile::tempdir().expect("a temporary directory");
        stores.push(open(&database.url(), directory, Some(database)).await);
    }
    stores
}

async fn open(url: &str, directory: tempfile::TempDir, database: Option<FreshPostgres>) -> TestStore {
    let store = Store::open(url, &directory.path().join("key"), Wake::default()).await.expect("a fresh store");
    TestStore { store, _directory: directory, _database: database }
}

/// Runs a statement behind the store's back, in a transaction that others wait for.
pub async fn run(store: &Store, statement: &'static str) {
    let mut tx = store.write_tx().await.expect("a transaction");
    sqlx::query(statement).execute(&mut *tx).await.expect("it runs");
    tx.commit().await.expect("it is committed");
}

/// The steps by which the database would answer a statement with these values, as SQL has them. PostgreSQL reads a table whole, which is
/// best for one of a few rows, only where it has no index for what is asked.
pub async fn plan(store: &Store, statement: &str, values: &[&str]) -> Vec<String> {
    let mut statement = statement.to_owned();
    for (place, value) in values.iter().enumerate().rev() {
        statement = statement.replace(&format!("${}", place + 1), value);
    }
    let mut connection = store.pool().acquire().await.expect("a connection");
    let explained = |how: &str| sqlx::AssertSqlSafe(format!("{how} {statement}"));
    if store.backend() == Backend::Sqlite {
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explained("explain query plan")).fetch_all(&mut *connection).await.expect("a plan");
        return steps.into_iter().map(|(.., step)| step).collect();
    }
    sqlx::query("set enable_seqscan = off").execute(&mut *connection).await.expect("set");
    let steps: Vec<(String,)> = sqlx::query_as(explained("explain")).fetch_all(&mut *connection).await.expect("a plan");
    sqlx::query("reset enable_seqscan").execute(&mut *connection).await.expect("reset");
    steps.into_iter().map(|(step,)| step).collect()
}

/// A project with nothing in it; gives its id.
pub async fn project(store: &Store, name: &str) -> String {
    let id = new_id();
    let mut tx = store.write_tx().await.expect("a transaction");
    sqlx::query("insert into projects (id, name, created_at, created_by, version) values ($1, $2, $3, 'test', 0)")
        .bind(&id)
        .bind(name)
        .bind(now())
        .execute(&mut *tx)
        .await
        .expect("a project");
    tx.commit().await.expect("a commit");
    id
}

/// Everything that the collector looks at and takes away, row by row.
#[derive(Debug, Default)]
pub struct Contents {
    /// Stream, digest, time.
    pub served: Vec<(String, String, i64)>,
    /// Stream, digest, time.
    pub links: Vec<(String, String, i64)>,
    /// Digest, first seen.
    pub images: Vec<(String, i64)>,
    /// Digest, recorded.
    pub blobs: Vec<(String, i64)>,
    /// Stream, digest.
    pub tags: Vec<(String, String)>,
    /// Stream, tag, number, outcome, digest, time.
    pub history: Vec<(String, String, i64, String, String, i64)>,
    /// App, number, repository's stream, digest, time.
    pub rollouts: Vec<(String, i64, String, String, i64)>,
    /// Stream, versions, days, untagged days; -1 for none.
    pub rules: Vec<(String, i64, i64, i64)>,
    /// Digest, until.
    pub kept: Vec<(String, i64)>,
    /// Digest, the deleter's lease.
    pub deleting: Vec<(String, i64)>,
}

/// Digests of what one repository serves: blobs, and manifests.
pub async fn repository(store: &Store, stream_id: &str) -> (Vec<String>, Vec<String>) {
    let mut both = Vec::new();
    for statement in [
        "select digest from repository_blobs where stream_id = $1 order by digest",
        "select digest from repository_images where stream_id = $1 order by digest",
    ] {
        let rows: Vec<(String,)> =
            sqlx::query_as(statement).bind(stream_id).fetch_all(store.pool()).await.expect("an answer");
        both.push(rows.into_iter().map(|(digest,)| digest).collect());
    }
    let manifests = both.pop().unwrap_or_default();
    (both.pop().unwrap_or_default(), manifests)
}

impl Contents {
    /// Reads it all.
    pub async fn read(store: &Store) -> Result<Self, sqlx::Error> {
        let mut c = store.pool().acquire().await?;
        Ok(Self {
            served: sqlx::query_as("select stream_id, digest, at from repository_images").fetch_all(&mut *c).await?,
            links: sqlx::query_as("select stream_id, digest, at from repository_blobs").fetch_all(&mut *c).await?,
            images: sqlx::query_as("select digest, first_seen_at from images").fetch_all(&mut *c).await?,
            blobs: sqlx::query_as("select digest, created_at from blobs").fetch_all(&mut *c).await?,
            tags: sqlx::query_as("select stream_id, digest from tags where digest is not null").fetch_all(&mut *c).await?,
            history: sqlx::query_as(
                "select t.stream_id, e.tag_id, e.number, e.outcome, e.digest, e.at from tag_events e join tags t on t.id = e.tag_id \
                 where e.digest is not null",
            )
            .fetch_all(&mut *c)
            .await?,
            rollouts: sqlx::query_as(
                "select r.app_id, r.number, s.id, r.digest, r.created_at from rollouts r join apps a on a.id = r.app_id \
                 join projects p on r.repository like p.name || '/%' join streams s on s.project_id = p.id \
                 where p.name || '/' || s.name = r.repository and a.deleted_at is null",
            )
            .fetch_all(&mut *c)
            .await?,
            rules: sqlx::query_as(
                "select stream_id, coalesce(keep_versions, -1), coalesce(keep_days, -1), coalesce(untagged_days, -1) from retention_rules",
            )
            .fetch_all(&mut *c)
            .await?,
            kept: sqlx::query_as("select digest, until from kept_digests").fetch_all(&mut *c).await?,
            deleting: sqlx::query_as("select digest, until from blob_deletions where until is not null")
                .fetch_all(&mut *c)
                .await?,
        })
    }
}

/// A store in a SQLite database in memory as far as the machine has a file system for that: for tests that write very much.
pub async fn quick_store() -> TestStore {
    let memory = std::path::Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let directory = directory.expect("a temporary directory");
    let url = format!("sqlite://{}/weir.db", directory.path().display());
    open(&url, directory, None).await
}

/// A world of a random walk does so many steps, then the next one begins: long histories make every step slower and none different.
pub const STEPS_OF_A_WORLD: usize = 500;

/// Does half of the steps of a random walk, in worlds of their own, every other one from `offset` on: two cores do both halves in half the
/// time. `run` makes the world of a seed and does so many steps in it.
pub async fn half_of_the_worlds(offset: u64, usual: usize, run: impl AsyncFn(TestStore, u64, usize)) {
    let mut seed = first_seed() + offset;
    let mut left = steps(usual) / 2;
    while left > 0 {
        let steps = left.min(STEPS_OF_A_WORLD);
        run(quick_store().await, seed, steps).await;
        left -= steps;
        seed += 2;
    }
}

/// How much a long test does: `usual`, or what `WEIR_MODEL_STEPS` says.
#[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
pub fn steps(usual: usize) -> usize {
    std::env::var("WEIR_MODEL_STEPS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Behind which world a long test begins: the first one, or the one that `WEIR_MODEL_SEED` names.
#[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
fn first_seed() -> u64 {
    std::env::var("WEIR_MODEL_SEED").map_or(0, |seed| seed.parse().expect("WEIR_MODEL_SEED is a number"))
}
