//! A whole Weir for a test: a real listener, a fresh database, blobs in a temporary directory, a builder and an engine that need no
//! containers, and clients that speak for different people.
//!
//! The database is SQLite, or PostgreSQL when `WEIR_TEST_POSTGRES_URL` names a server (`tools/test-postgres`).

mod binary;
mod bucket;
mod cable;
mod client;
#[path = "../../../src/server/store/testing/postgres.rs"]
mod postgres;
mod settle;
mod tmpfs;

use std::path::Path;
use std::sync::Arc;

use clap::Parser as _;
use sqlx::Executor as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir::model::{Actor, Role, User};
use weir::server::assembly::{Backends, Weir, make_first_user};
use weir::server::builder::fake::Fake as FakeBuilder;
use weir::server::builder::git::GitConfig;
use weir::server::config::{Cli, Command, Config};
use weir::server::controllers::{Controller, Runner};
use weir::server::rollout::fake::{Fake as FakeRollout, Pace};
use weir::server::state::AppState;
use weir::server::store::{NewToken, Store};

pub use binary::{Finished, RunningWeir, run_weir};
pub use bucket::{ACCESS_KEY, S3Server, SECRET_KEY};
pub use cable::Cable;
pub use client::Client;
pub use postgres::FreshPostgres;
pub use tmpfs::Tmpfs;

/// Password of `admin` in every test.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple";

/// A running server. Its controllers run only in [`TestWeir::settle`], unless it was started [`TestWeir::live`].
pub struct TestWeir {
    /// `http://127.0.0.1:port`
    pub url: String,
    pub state: AppState,
    /// Pushes real images to the registry, and builds nothing.
    pub builder: Arc<FakeBuilder>,
    /// Runs nothing, and behaves as if it did.
    pub engine: Arc<FakeRollout>,
    controllers: Vec<Arc<dyn Controller>>,
    runner: Runner,
    database_url: String,
    stop: CancellationToken,
    served: JoinHandle<anyhow::Result<()>>,
    directory: TempDir,
    database: Option<FreshPostgres>,
}

impl TestWeir {
    /// A server whose controllers wait for [`TestWeir::settle`].
    pub async fn start() -> Self {
        Self::start_with(|_| (), false).await
    }

    /// A server whose controllers run by themselves, as in production.
    pub async fn live() -> Self {
        Self::start_with(|_| (), true).await
    }

    /// A server with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config), live: bool) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("the port"));
        let mut config = config(directory.path());
        let database = FreshPostgres::make().await;
        config.storage.database_url = database.as_ref().map(FreshPostgres::url);
        change(&mut config);
        let git = GitConfig { file_roots: vec![directory.path().to_owned()], ..GitConfig::default() };
        let builder = FakeBuilder::new(directory.path().join("builder"), git).expect("a fake builder");
        let (builder, engine) = (Arc::new(builder), Arc::new(FakeRollout::new(Pace::EachLook)));
        let backends = Backends { builder: Some(builder.clone()), rollout: Some(engine.clone()) };
        let weir = Weir::open(&config, url.clone(), Some(backends)).await.expect("a server");
        make_first_user(&config, &weir.state.store).await.expect("the first user");
        let (state, controllers, runner) = (weir.state.clone(), weir.controllers.clone(), weir.runner.clone());
        if live {
            weir.spawn_controllers();
        }
        let stop = CancellationToken::new();
        let served = tokio::spawn(weir.serve(listener, stop.clone()));
        let database_url = config.storage.database_url();
        Self { url, state, builder, engine, controllers, runner, database_url, stop, served, directory, database }
    }

    /// The store, for what a test sets up or looks up behind the doors.
    pub fn store(&self) -> &Store {
        &self.state.store
    }

    /// Runs a statement behind the server's back.
    pub async fn run_sql(&self, statement: &'static str) {
        let pool = sqlx::AnyPool::connect(&self.database_url).await.expect("the database");
        pool.execute(sqlx::query(statement)).await.expect("it runs");
        pool.close().await;
    }

    /// Puts a blob where its bytes would be that has the right size and nothing in it: whoever goes back to an image looks no closer.
    pub fn put_hollow_blob(&self, digest: &str, size: i64) {
        let (algorithm, hex) = digest.split_once(':').expect("a digest");
        let path = self.directory.path().join("data/blobs/blobs").join(algorithm).join(&hex[..2]).join(hex);
        let file = std::fs::File::create(path).expect("a file");
        file.set_len(size.unsigned_abs()).expect("a size");
    }

    /// A temporary directory. Builds may read `file://` sources below it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The registry as clients type it, `127.0.0.1:port`.
    pub fn registry(&self) -> &str {
        self.state.settings.registry_host()
    }

    /// A client that is nobody.
    pub fn anon(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// A client that may do everything.
    pub async fn admin(&self) -> Client {
        Client::new(&self.url, Some(self.token("admin").await))
    }

    /// A client that speaks for a user with this role in the project. Both are made when there are none.
    pub async fn user(&self, name: &str, project: &str, role: Role) -> Client {
        self.make_user(name).await;
        self.make_project(project).await;
        self.store().grant_role(project, name, role, &tester()).await.expect("a role");
        Client::new(&self.url, Some(self.token(name).await))
    }

    /// The text of a new token of a user.
    pub async fn token(&self, user: &str) -> String {
        let user = self.store().user(user).await.expect("the user");
        self.token_for(NewToken::user("test", &user.id)).await
    }

    /// The text of any new token.
    pub async fn token_for(&self, new: NewToken<'_>) -> String {
        use secrecy::ExposeSecret as _;
        let (_, text) = self.store().create_token(new, &tester()).await.expect("a token");
        text.expose_secret().to_owned()
    }

    /// A project with nothing in it, unless there is one; gives its id.
    pub async fn make_project(&self, name: &str) -> String {
        if let Some(project) = self.store().find_project(name).await.expect("the projects") {
            return project.id;
        }
        let name = name.parse().expect("a project's name");
        self.store().create_project(&name, "", "", None, &tester()).await.expect("a project").id
    }

    /// A user without a password, unless there is one.
    pub async fn make_user(&self, name: &str) -> User {
        if let Some(user) = self.store().find_user(name).await.expect("the users") {
            return user;
        }
        self.store().create_user(name, "", None, false, &tester()).await.expect("a user")
    }

    /// Stops the server in an orderly way; fails when that failed. Gives its database, for tests in which another server uses it, too.
    pub async fn stop(self) -> Option<FreshPostgres> {
        self.stop.cancel();
        self.served.await.expect("the server did not panic").expect("the server stopped in good order");
        self.database
    }
}

/// Whoever sets things up.
pub fn tester() -> Actor {
    Actor::system("test")
}

/// A configuration with everything below `directory`, read as the program reads it.
pub fn config(directory: &Path) -> Config {
    let data = directory.join("data");
    let data = data.to_str().expect("a path in UTF-8");
    let line = ["weir", "serve", "--data-dir", data, "--admin-password", ADMIN_PASSWORD];
    match Cli::try_parse_from(line).expect("a command line").command {
        Command::Serve(config) => *config,
        _ => unreachable!("it is `serve`"),
    }
}
