//! A server with nothing but the registry door, and a client that knows its words.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use weir::model::{Actor, InsecureRegistries, Role, TagEvent};
use weir::server::auth::{Auth, hash_password};
use weir::server::blobs::Filesystem;
use weir::server::hash::sha256;
use weir::server::importer::{Importer, MirrorSets, SiteLogins, Surroundings};
use weir::server::oci;
use weir::server::packages::Views;
use weir::server::pulls::Pulls;
use weir::server::registry;
use weir::server::state::{AppState, Settings};
use weir::server::store::{NewToken, Store};
use weir::server::wake::Wake;

use crate::support::FreshPostgres;
use crate::upstreams::images::{TestImage, client};

/// A running door with project `demo`, its editor `ada` and its viewer `vic`, and project `other`, which is neither's.
pub struct Door {
    pub store: Store,
    pub actor: Actor,
    /// `127.0.0.1:port`
    pub address: String,
    /// Ada's token, which may do all she may.
    pub token: String,
    pub directory: TempDir,
    /// Where its database is.
    pub database_url: String,
    _stop: DropGuard,
    _database: Option<FreshPostgres>,
}

/// The password of every user.
pub const PASSWORD: &str = "correct horse";

impl Door {
    pub async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let sqlite = || format!("sqlite://{}/weir.db", directory.path().display());
        let database = FreshPostgres::make().await;
        let url = database.as_ref().map_or_else(sqlite, FreshPostgres::url);
        let store = Store::open(&url, &directory.path().join("key"), Wake::default()).await.expect("a store");
        let actor = Actor::system("test");
        for name in ["demo", "other"] {
            let name = name.parse().expect("a name");
            store.create_project(&name, "", "", None, &actor).await.expect("a project");
        }
        let hash = hash_password(&PASSWORD.into()).await.expect("a hash");
        for (user, role) in [("ada", Role::Editor), ("vic", Role::Viewer)] {
            store.create_user(user, "", Some(&hash), false, &actor).await.expect("a user");
            store.grant_role("demo", user, role, &actor).await.expect("a role");
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let stop = CancellationToken::new();
        let settings = Settings {
            public_url: format!("http://{address}"),
            listen: address.parse().expect("an address"),
            import_interval: Duration::from_secs(900),
            repository_import_limit: Some(50),
            import_patience: Duration::from_secs(300),
            upload_silence: Duration::from_secs(60),
            build_concurrency: 1,
            gc_grace: Duration::from_secs(24 * 60 * 60),
            notice_reach: weir::server::notices::Reach::Public,
            tag_history: true,
        };
        let blobs = Arc::new(Filesystem::open(directory.path().join("blobs")).await.expect("blobs"));
        let around = Surroundings {
            own_hosts: vec![address.clone()],
            mirrors: MirrorSets::default(),
            logins: SiteLogins::default(),
            insecure: InsecureRegistries::default(),
            tracker: TaskTracker::new(),
            stop: stop.clone(),
        };
        let state = AppState {
            auth: Auth::new(store.clone()),
            store: store.clone(),
            importer: Importer::new(store.clone(), blobs.clone(), Arc::new(oci::Client::default()), around),
            blobs,
            builder: None,
            rollout: None,
            settings: Arc::new(settings),
            views: Views::default(),
            pulls: Pulls::default(),
            stop: stop.clone(),
        };
        let app = registry::router(&state).into_make_service_with_connect_info::<SocketAddr>();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.expect("served"),
                () = stopped.cancelled() => {}
            }
        });
        let _stop = stop.drop_guard();
        let mut door = Self {
            store,
            actor,
            address,
            token: String::new(),
            directory,
            database_url: url,
            _stop,
            _database: database,
        };
        door.token = door.token_of("ada").await;
        door
    }

    /// A token of a user.
    pub async fn token_of(&self, user: &str) -> String {
        let user = self.store.user(user).await.expect("a user");
        self.create_token(NewToken::user("test", &user.id)).await
    }

    pub async fn create_token(&self, new: NewToken<'_>) -> String {
        let (_, token) = self.store.create_token(new, &self.actor).await.expect("a token");
        token.expose_secret().to_owned()
    }

    /// A request without credentials; `path` begins behind `/v2/`.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("http://{}/v2/{path}", self.address))
    }

    /// A request of Ada's.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    pub async fn head(&self, path: &str) -> Response {
        self.request(Method::HEAD, path).send().await.expect("an answer")
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await.expect("an answer")
    }

    /// Begins an upload; gives its path behind `/v2/`.
    pub async fn begin(&self, repository: &str) -> String {
        let begun =
            self.request(Method::POST, &format!("{repository}/blobs/uploads/")).send().await.expect("an answer");
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        header(&begun, "location").trim_start_matches("/v2/").to_owned()
    }

    pub async fn put_blob(&self, repository: &str, bytes: &Bytes) {
        let path = format!("{repository}/blobs/uploads/?digest={}", sha256(bytes));
        let put = self.request(Method::POST, &path).body(bytes.clone()).send().await.expect("an answer");
        assert_eq!(put.status(), StatusCode::CREATED, "{}", put.text().await.unwrap_or_default());
    }

    pub async fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &Bytes) -> Response {
        let put = self.request(Method::PUT, &format!("{repository}/manifests/{reference}"));
        put.header("content-type", media_type).body(bytes.clone()).send().await.expect("an answer")
    }

    /// Pushes a whole image.
    pub async fn push(&self, repository: &str, tag: &str, image: &TestImage) -> Response {
        for blob in [&image.config, &image.layer] {
            self.put_blob(repository, blob).await;
        }
        self.put_manifest(repository, tag, image.media_type, &image.manifest).await
    }

    /// A tag's history, newest first.
    pub async fn history(&self, stream: &str, tag: &str) -> Vec<TagEvent> {
        let tag = self.store.tag("demo", stream, tag).await.expect("a tag");
        self.store.list_history(&tag.id, None, 100).await.expect("its history")
    }
}

pub fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Checks an error's status and code; gives its message.
pub async fn refused(response: Response, status: u16, code: &str) -> String {
    let (found, body) = (response.status(), response.text().await.expect("a body"));
    assert_eq!(found.as_u16(), status, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert_eq!(body["errors"][0]["code"], code, "{body}");
    body["errors"][0]["message"].as_str().expect("a message").to_owned()
}
