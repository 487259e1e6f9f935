//! Fresh databases for the store's tests: SQLite always, PostgreSQL when `WEIR_TEST_POSTGRES_URL` names a server.

use std::ops::Deref;

use sqlx::Executor as _;

use super::{Store, new_id};
use crate::model::now;
use crate::server::wake::Wake;

/// A store in a database of its own. PostgreSQL's databases stay until their server's directory goes.
pub struct TestStore {
    store: Store,
    _directory: tempfile::TempDir,
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
    let mut stores = vec![open(&url, directory).await];
    if let Some(url) = fresh_postgres().await {
        stores.push(open(&url, tempfile::tempdir().expect("a temporary directory")).await);
    }
    stores
}

async fn open(url: &str, directory: tempfile::TempDir) -> TestStore {
    let store = Store::open(url, &directory.path().join("key"), Wake::default()).await.expect("a fresh store");
    TestStore { store, _directory: directory }
}

#[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
async fn fresh_postgres() -> Option<String> {
    let server = std::env::var("WEIR_TEST_POSTGRES_URL").ok()?;
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&server).await.expect("WEIR_TEST_POSTGRES_URL answers");
    let name = format!("weir_{}", uuid::Uuid::now_v7().simple());
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    pool.execute(sqlx::query(create)).await.expect("a fresh database");
    pool.close().await;
    let (base, _) = server.rsplit_once('/').expect("a URL that names a database");
    Some(format!("{base}/{name}"))
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
