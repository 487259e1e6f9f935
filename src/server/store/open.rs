//! Opening the database: SQLite's settings, PostgreSQL's pool, migrations, and the key that seals secrets.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::durable::Durable;
use super::{Backend, RollbackDepth, Store, new_id};
use crate::model::{natural_key, version_key};
use crate::server::wake::Wake;

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a request may wait for a connection to a server that is away, before it is told so.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(4);

/// Why the database cannot be used; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is not a database URL: use sqlite:///path/to/file.db or postgres://user@host/database")]
    Url(String),
    #[error(
        "cannot open the database at {url}: {cause}. Check that it runs, that the URL is right and that it lets you in"
    )]
    Connect { url: String, cause: sqlx::Error },
    #[error(
        "cannot bring the database up to date: {0}. It may have been made by a newer Weir; use that version, or restore a backup"
    )]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("cannot read or make the key file {path}: {cause}")]
    Key { path: String, cause: std::io::Error },
    #[error("the key file {0} does not hold 32 bytes; restore it from your backup, or stored secrets are lost")]
    KeyLength(String),
}

impl Store {
    /// Opens the database at `url`, migrates it, and reads the key at `key_file`, or makes one if there is none.
    pub async fn open(url: &str, key_file: &Path, wake: Wake) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let backend = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Backend::Sqlite,
            Some("postgres" | "postgresql") => Backend::Postgres,
            _ => return Err(OpenError::Url(without_password(url))),
        };
        let connect = match backend {
            Backend::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
            _ => url.to_owned(),
        };
        // A pool tries again until it times out and then says only that; one connection says what is wrong.
        let refused = |cause| OpenError::Connect { url: without_password(url), cause };
        match timeout(CONNECT_WITHIN, AnyConnection::connect(&connect)).await {
            Ok(connection) => connection.map_err(refused)?.close().await.map_err(refused)?,
            Err(_) => return Err(refused(sqlx::Error::PoolTimedOut)),
        }
        let pool = AnyPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(match backend {
                Backend::Sqlite => CONNECT_WITHIN,
                Backend::Postgres => ACQUIRE_WITHIN,
            })
            // On a full disk SQLite ends a transaction by itself; sqlx believes it open from then on and could begin none.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if backend == Backend::Sqlite {
                        // The system keeps the file's pages already; 8 MB more for each of 16 connections was most of the server's memory.
                        // Commits are synced together, by `Durable`: what was acknowledged survives a power cut, not only a crash.
                        connection
                            .execute(
                                "pragma busy_timeout = 15000; pragma journal_mode = wal; pragma synchronous = normal; \
                                 pragma foreign_keys = on; pragma cache_size = -2000; pragma temp_store = memory",
                            )
                            .await?;
                    }
                    Ok(())
                })
            })
            .connect(&connect)
            .await
            .map_err(refused)?;
        sqlx::migrate!().run(&pool).await?;
        let key = Arc::new(load_or_make_key(key_file)?);
        let durable = Arc::new(match backend {
            Backend::Sqlite => Durable::beside(&database_file(&pool).await.map_err(refused)?),
            Backend::Postgres => Durable::default(),
        });
        let (writer, commits, allowed) = (Arc::new(Mutex::new(None)), Arc::default(), Arc::default());
        let depth = RollbackDepth::default();
        let (owner, schedules) = (new_id().into(), true);
        let graphs = Arc::new(super::graph::remembered(&commits, backend));
        let store =
            Self { pool, wake, backend, writer, key, owner, commits, durable, allowed, depth, graphs, schedules };
        if backend == Backend::Postgres {
            store.compare_by_bytes().await.map_err(refused)?;
        }
        store.fill_sort_keys().await.map_err(refused)?;
        store.complete_older_rows().await.map_err(refused)?;
        Ok(store)
    }

    /// Gives tags of before an upgrade, and those that an older server beside this one made, the keys that they are sorted by. Those of
    /// deleted streams are listed in pages of the past.
    pub async fn fill_sort_keys(&self) -> Result<(), sqlx::Error> {
        self.fill_sort_keys_of(
            "select id, name from tags where name_key = '' order by id limit $1",
            "update tags set name_key = $2, version_key = $3 where id = $1",
        )
        .await?;
        self.fill_sort_keys_of(
            "select id, name from ended_tags where name_key = '' order by id limit $1",
            "update ended_tags set name_key = $2, version_key = $3 where id = $1",
        )
        .await
    }

    async fn fill_sort_keys_of(&self, without: &'static str, update: &'static str) -> Result<(), sqlx::Error> {
        const IN_ONE_GO: i64 = 2000;
        loop {
            let tags: Vec<(String, String)> = sqlx::query_as(without).bind(IN_ONE_GO).fetch_all(&self.pool).await?;
            if tags.is_empty() {
                return Ok(());
            }
            let mut tx = self.begin().await?;
            for (id, name) in tags {
                sqlx::query(update)
                    .bind(id)
                    .bind(natural_key(&name))
                    .bind(version_key(&name))
                    .execute(&mut *tx)
                    .await?;
            }
            tx.commit().await?;
        }
    }

    /// Gives PostgreSQL the collation that SQLite has under the name `binary`: lists whose order the outside relies on must not depend
    /// on the language of the database.
    async fn compare_by_bytes(&self) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        for statement in [
            "lock table write_lock in exclusive mode",
            "create collation if not exists \"binary\" from \"C\"",
            "create index if not exists tags_stream_name_bytes on tags (stream_id, name collate \"binary\")",
        ] {
            sqlx::query(statement).execute(&mut *tx).await?;
        }
        // The beginning of a term is a range of its bytes. The table is empty when this is done.
        let is_done = sqlx::query(
            "select 1 from pg_attribute a join pg_collation c on c.oid = a.attcollation \
             where a.attrelid = 'search_terms'::regclass and a.attname = 'term' and c.collname = 'binary'",
        );
        if is_done.fetch_optional(&mut *tx).await?.is_none() {
            let compare = "alter table search_terms alter column term type text collate \"binary\"";
            sqlx::query(compare).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}

/// Where SQLite keeps the database, whatever the URL says; empty for one in memory.
async fn database_file(pool: &AnyPool) -> Result<String, sqlx::Error> {
    let (file,): (String,) =
        sqlx::query_as("select file from pragma_database_list where name = 'main'").fetch_one(pool).await?;
    Ok(file)
}

/// Messages and logs must not show the password in a URL.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((login, host)) => format!("{scheme}://{}@{host}", login.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

fn load_or_make_key(path: &Path) -> Result<chacha20poly1305::Key, OpenError> {
    let failed = |cause| OpenError::Key { path: path.display().to_string(), cause };
    match std::fs::read(path) {
        Ok(bytes) => {
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| OpenError::KeyLength(path.display().to_string()))?;
            Ok(bytes.into())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key: [u8; 32] = rand::random();
            let mut file =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(key.into())
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_do_not_show() {
        assert_eq!(without_password("postgres://weir:secret@db/weir"), "postgres://weir@db/weir");
        assert_eq!(without_password("sqlite:///tmp/a.db"), "sqlite:///tmp/a.db");
    }
}
