//! A database of its own on the test run's PostgreSQL. The integration tests take this file in, too: it uses nothing else of Weir.

use sqlx::Executor as _;

/// A new database, which is dropped with this: a run of all tests would fill some gigabytes otherwise.
pub struct FreshPostgres {
    /// Where the run's server is, `postgres://user@host:port/postgres`.
    server: String,
    name: String,
}

impl FreshPostgres {
    /// Makes one on the server that `WEIR_TEST_POSTGRES_URL` names, if it names one.
    #[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
    pub async fn make() -> Option<Self> {
        let server = std::env::var("WEIR_TEST_POSTGRES_URL").ok()?;
        let name = format!("weir_{}", uuid::Uuid::now_v7().simple());
        run(&server, format!("create database {name}")).await.expect("a fresh database");
        Some(Self { server, name })
    }

    /// `postgres://user@host:port/name`
    pub fn url(&self) -> String {
        let (base, _) = self.server.rsplit_once('/').expect("a URL that names a database");
        format!("{base}/{}", self.name)
    }
}

impl Drop for FreshPostgres {
    /// Ends the connections that are left, and drops the database, in a thread of its own: the test's runtime is busy with being left.
    fn drop(&mut self) {
        let (server, statement) = (self.server.clone(), format!("drop database {} with (force)", self.name));
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(&server, statement))
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("database {} of the test run is left over", self.name);
        }
    }
}

async fn run(server: &str, statement: String) -> Result<(), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(server).await?;
    pool.execute(sqlx::query(sqlx::AssertSqlSafe(statement))).await?;
    pool.close().await;
    Ok(())
}
