//! Where the parts are put together: opening what the server stands on, its doors in one router, its controllers, and its end.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::auth::origin::{PublicOrigin, same_site_only};
use super::auth::{Auth, hash_password, session};
use super::blobs::{Blobs, BucketUrl, Filesystem, ObjectStore, S3Args};
use super::builder::Builder;
use super::builder::buildah::{Buildah, BuildahConfig};
use super::collector::Collector;
use super::config::{BlobStore, BuilderChoice, Config, RolloutChoice, StorageArgs};
use super::controllers::{
    BuildSettings, Builds, Completions, Controller, Freezes, Gc, GcSettings, Holds, Housekeeping, ImportRules, Imports,
    Inspect, Notices, Packages, Proof, Rollouts, Runner, SearchFill, Traffic, Triggers,
};
use super::importer::{Importer, MirrorSets, SiteLogins, Surroundings};
use super::notices;
use super::packages::Views;
use super::pulls::Pulls;
use super::rollout::Rollout;
use super::rollout::none::NoEngine;
use super::rollout::swarm::Swarm;
use super::state::{AppState, Settings};
use super::store::{self, Backend, Outage, Store};
use super::wake::Wake;
use super::{api, assets, demo, oci, registry};
use super::{health, listen, telemetry};
use crate::model::Actor;

/// How long requests and controllers may take to end what they are in.
const GRACE: Duration = Duration::from_secs(8);
/// How long what is left may take to be dropped.
const LAST_GRACE: Duration = Duration::from_secs(1);
/// Of gzip, for pages and JSON, which are made anew for each request: half the time of the usual 6, and a twentieth more bytes.
const COMPRESSION: CompressionLevel = CompressionLevel::Precise(3);
const MEBIBYTE: usize = 1024 * 1024;
/// The largest body of a form, and of an object at the REST door, where it is what Kubernetes takes at most: a stream lists all its tags.
const FORM_LIMIT: usize = MEBIBYTE;
const OBJECT_LIMIT: usize = 3 * MEBIBYTE;

/// The parts of a server that is about to run.
pub struct Weir {
    pub state: AppState,
    /// The automations, in the order in which changes flow through them.
    pub controllers: Vec<Arc<dyn Controller>>,
    /// Where controllers and their tasks run.
    pub runner: Runner,
    _lock: File,
}

/// What builds and apps run on.
#[derive(Clone, Default)]
pub struct Backends {
    pub builder: Option<Arc<dyn Builder>>,
    pub rollout: Option<Arc<dyn Rollout>>,
}

impl Backends {
    /// Those that were chosen. They are not asked anything yet: `/readyz` and the pages tell how they are.
    pub fn chosen(config: &Config, store: &Store) -> anyhow::Result<Self> {
        let builder = match config.builder {
            BuilderChoice::Buildah => {
                let mut buildah = BuildahConfig::below(absolute(&config.storage.data_dir)?.join("builder"));
                buildah.git.file_roots.clone_from(&config.git_file_roots);
                // The demo's sources are nobody's secret.
                buildah.git.file_roots.push(absolute(&config.storage.data_dir)?.join(demo::SOURCES));
                Some(Arc::new(Buildah::new(buildah)) as Arc<dyn Builder>)
            }
            BuilderChoice::None => None,
        };
        let rollout = match config.rollout {
            RolloutChoice::Docker => {
                let swarm = Swarm::new(&config.docker_host, store.instance())
                    .map_err(|cause| anyhow!("--docker-host: {cause}"))?;
                Some(Arc::new(swarm) as Arc<dyn Rollout>)
            }
            RolloutChoice::None => None,
        };
        Ok(Self { builder, rollout })
    }
}

/// Opens the database that was chosen.
pub async fn open_store(storage: &StorageArgs) -> anyhow::Result<Store> {
    Ok(Store::open(&storage.database_url(), &storage.key_file(), Wake::default()).await?)
}

/// Opens the blobs where they were chosen to be.
pub async fn open_blobs(storage: &StorageArgs) -> anyhow::Result<Arc<dyn Blobs>> {
    let root = match storage.blobs() {
        BlobStore::Directory(root) => root,
        BlobStore::Bucket(bucket) => return open_bucket(bucket, &storage.s3).await,
    };
    let blobs = Filesystem::open(&root).await;
    let blobs = blobs
        .with_context(|| format!("cannot keep blobs in {}; choose another place with --blob-store", root.display()))?;
    Ok(Arc::new(blobs))
}

async fn open_bucket(bucket: BucketUrl, s3: &S3Args) -> anyhow::Result<Arc<dyn Blobs>> {
    let shown = bucket.to_string();
    let secret = match (&s3.secret_key, &s3.secret_key_file) {
        (Some(secret), _) => Some(secret.clone()),
        (None, Some(file)) => Some(read_secret(file, "secret key").await?),
        (None, None) => None,
    };
    let blobs = ObjectStore::open(bucket, s3, secret.as_ref()).await;
    Ok(Arc::new(blobs.map_err(|cause| anyhow!("cannot keep blobs in {shown}: {cause}"))?))
}

impl Weir {
    /// Opens everything. `backends` takes the place of those that were chosen.
    pub async fn open(config: &Config, public_url: String, backends: Option<Backends>) -> anyhow::Result<Self> {
        // reqwest's clients find it there. A second server in this process finds it set already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = read_authorities(&config.upstream_cas).await?;
        let lock = claim_directory(&config.storage.data_dir)?;
        let store = open_store(&config.storage).await?;
        let store = store.allowing(config.allowed_registries.clone().unwrap_or_default()).keeping(config.depth.depth());
        let store = store.scheduling(!config.import_interval.is_zero());
        if store.backend() == Backend::Sqlite {
            // Nobody else uses this database: leases of an earlier process are nobody's.
            store.end_all_leases().await?;
        }
        let blobs = open_blobs(&config.storage).await?;
        let Backends { builder, rollout } = match backends {
            Some(backends) => backends,
            None => Backends::chosen(config, &store)?,
        };
        let runner = Runner { wake: store.wake().clone(), ..Runner::default() };
        let settings = Settings {
            public_url,
            listen: config.listen,
            import_interval: config.import_interval,
            repository_import_limit: usize::try_from(config.repository_import_limit).ok(),
            import_patience: config.import_patience,
            upload_silence: config.upload_silence,
            build_concurrency: config.build_concurrency.into(),
            gc_grace: config.gc_grace,
            notice_reach: if config.notices_to_private { notices::Reach::Private } else { notices::Reach::Public },
            tag_history: config.tag_history,
        };
        let logins = SiteLogins::open(config.registry_auth_file.as_deref()).await.context("--registry-auth-file")?;
        let around = Surroundings {
            own_hosts: settings.own_hosts(),
            logins,
            insecure: config.insecure_registries.clone().unwrap_or_default(),
            mirrors: MirrorSets {
                digests: config.registry_mirrors.clone().unwrap_or_default(),
                tags: config.registry_tag_mirrors.clone().unwrap_or_default(),
            },
            tracker: runner.tracker.clone(),
            stop: runner.stop.clone(),
        };
        let client =
            oci::Client::new(oci::Options { via: Some(store.instance()), authorities, ..oci::Options::default() });
        let state = AppState {
            auth: Auth::new(store.clone()),
            importer: Importer::new(store.clone(), blobs.clone(), Arc::new(client), around),
            store,
            blobs,
            builder,
            rollout,
            settings: Arc::new(settings),
            views: Views::default(),
            pulls: Pulls::default(),
            stop: runner.stop.clone(),
        };
        let controllers = controllers(&state, &runner, config.gc_interval)?;
        Ok(Self { state, controllers, runner, _lock: lock })
    }

    /// Every door in one router.
    pub fn router(&self) -> Router {
        let state = &self.state;
        let pages_and_rest = limited(crate::ui::router(state.clone()), FORM_LIMIT, state).merge(limited(
            api::rest(state),
            OBJECT_LIMIT,
            state,
        ));
        Router::new()
            .merge(health::router(state.clone()))
            .merge(assets::router())
            .merge(registry::router(state))
            .merge(pages_and_rest)
            .layer(from_fn(head_of_root))
            .layer(from_fn(telemetry::observe))
            // Whatever is not to be had now may be soon.
            .layer(SetResponseHeaderLayer::if_not_present(header::RETRY_AFTER, |response: &Response| {
                (response.status() == StatusCode::SERVICE_UNAVAILABLE).then(|| Outage::RETRY_AFTER.into())
            }))
            // Outside of what answers panics, so that those answers carry them, too.
            .layer(header_unless_set("x-content-type-options", "nosniff"))
            .layer(header_unless_set("referrer-policy", "same-origin"))
            .layer(header_unless_set("x-frame-options", "DENY"))
            .layer(header_unless_set("content-security-policy", "default-src 'none'; frame-ancestors 'none'"))
    }

    /// Starts the controllers' loops.
    pub fn spawn_controllers(&self) {
        for controller in &self.controllers {
            self.runner.spawn(Arc::clone(controller));
        }
    }

    /// Serves until `stop` is cancelled, then ends everything in an orderly way within ten seconds.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        let (connections, abort) = (TaskTracker::new(), CancellationToken::new());
        listen::serve(listener, self.router(), stop, connections.clone(), abort.clone()).await;
        tracing::info!("Stopping: no new connections; waiting for requests and controllers to end");
        self.runner.stop.cancel();
        connections.close();
        self.runner.tracker.close();
        let ended = async { tokio::join!(connections.wait(), self.runner.tracker.wait()) };
        if timeout(GRACE, ended).await.is_err() {
            tracing::warn!("Some requests or controllers did not end within {} s and are dropped", GRACE.as_secs());
            abort.cancel();
            let _ = timeout(LAST_GRACE, connections.wait()).await;
        }
        match timeout(LAST_GRACE, self.state.pulls.flush(&self.state.store)).await {
            Ok(written) => written.context("writing the last pulls")?,
            Err(_) => tracing::warn!("The database did not answer in time to write the pulls of the last seconds"),
        }
        // What cannot be released runs out by itself.
        match timeout(LAST_GRACE, self.state.store.release_leases()).await {
            Ok(released) => released.context("releasing leases")?,
            Err(_) => tracing::warn!("The database did not answer in time to release leases"),
        }
        let _ = timeout(LAST_GRACE, self.state.store.close()).await;
        tracing::info!("Stopped");
        Ok(())
    }
}

/// The CAs in these files.
async fn read_authorities(files: &[PathBuf]) -> anyhow::Result<oci::Authorities> {
    let mut authorities = oci::Authorities::default();
    for file in files {
        let pem = tokio::fs::read(file).await.with_context(|| format!("cannot read the CAs in {}", file.display()))?;
        authorities.add(&pem).map_err(|why| anyhow!("cannot use the CAs in {}: {why}", file.display()))?;
    }
    Ok(authorities)
}

/// The automations, in the order in which changes flow through them. Without a back end there is nothing for its controller to do.
fn controllers(state: &AppState, runner: &Runner, gc_interval: Duration) -> anyhow::Result<Vec<Arc<dyn Controller>>> {
    let store = || state.store.clone();
    let registry = state.settings.registry_host().to_owned();
    let mut controllers: Vec<Arc<dyn Controller>> = vec![
        Arc::new(Proof::new(store(), state.blobs.clone(), state.importer.clone(), runner.stop.clone())),
        Arc::new(ImportRules::new(store(), state.importer.clone(), runner.clone())),
        Arc::new(Imports::new(store(), state.importer.clone(), state.settings.import_interval, runner.clone())),
        Arc::new(Completions::new(store(), state.importer.clone(), runner.clone())),
        Arc::new(Holds { store: store() }),
        Arc::new(Freezes { store: store() }),
        Arc::new(Triggers::new(store())),
        Arc::new(Housekeeping { store: store(), blobs: state.blobs.clone() }),
        Arc::new(Packages::new(store(), state.blobs.clone(), runner.clone())),
        Arc::new(Traffic { store: store(), pulls: state.pulls.clone() }),
        Arc::new(SearchFill::new(store())),
    ];
    if !gc_interval.is_zero() {
        let collector = Collector::new(store(), state.blobs.clone());
        let settings = GcSettings { interval: gc_interval, grace: state.settings.gc_grace };
        controllers.push(Arc::new(Gc::new(store(), collector, settings, runner.stop.clone())));
    }
    if let Some(builder) = &state.builder {
        let own_hosts = state.settings.own_hosts();
        controllers.push(Arc::new(Inspect::new(store(), builder.clone(), own_hosts.clone(), runner.clone())));
        let settings = BuildSettings {
            concurrency: state.settings.build_concurrency,
            registry_host: registry.clone(),
            registry_insecure: !state.settings.is_secure(),
            own_hosts,
        };
        controllers.push(Arc::new(Builds::new(store(), builder.clone(), settings, runner.clone())));
    }
    // With rollouts switched off, apps still say why they do not run.
    let engine = state.rollout.clone().unwrap_or_else(|| Arc::new(NoEngine));
    controllers.push(Arc::new(Rollouts::new(store(), engine, registry)));
    let sender = notices::Sender::new(state.settings.notice_reach).context("preparing to send notices")?;
    controllers.push(Arc::new(Notices::new(store(), sender, state.settings.public_url.clone(), runner.clone())));
    Ok(controllers)
}

/// What console and REST have in common, and the registry has not: sessions, small bodies, compressed answers.
fn limited(routes: Router, most: usize, state: &AppState) -> Router {
    let origin = PublicOrigin(state.settings.public_url.clone());
    routes
        .layer(DefaultBodyLimit::max(most))
        .layer(RequestBodyLimitLayer::new(most))
        .layer(from_fn_with_state(most, small_bodies_only))
        .layer(session::layer(&state.store, state.settings.is_secure()))
        .layer(from_fn_with_state(origin, same_site_only))
        // What is packed once, the assets, has brotli. Its encoder clears megabytes of memory before the first byte of each page.
        .layer(CompressionLayer::new().quality(COMPRESSION))
}

/// Says in words what [`RequestBodyLimitLayer`] would only say by a status.
async fn small_bodies_only(State(most): State<usize>, request: Request, next: Next) -> Response {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        let text = format!("what was sent is too large: at most {} MiB is accepted here\n", most / MEBIBYTE);
        return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
    }
    next.run(request).await
}

/// `oc login` asks `HEAD /` first and gives up when that is HTML, as if it had been given the console's address.
async fn head_of_root(request: Request, next: Next) -> Response {
    let is_browser = |request: &Request| {
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    if request.method() == Method::HEAD && request.uri().path() == "/" && !is_browser(&request) {
        return StatusCode::OK.into_response();
    }
    next.run(request).await
}

fn header_unless_set(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Makes the data directory and claims it for this process: blobs and SQLite are one server's at a time.
fn claim_directory(directory: &Path) -> anyhow::Result<File> {
    let shown = directory.display();
    let advice = "choose another with --data-dir, or make it yours";
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make the data directory {shown}; {advice}"))?;
    let lock = directory.join("lock");
    let lock = File::options().create(true).truncate(false).write(true).open(lock);
    let lock = lock.with_context(|| format!("cannot write to the data directory {shown}; {advice}"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            bail!("another server uses the data directory {shown}; stop it, or choose another with --data-dir")
        }
        Err(TryLockError::Error(cause)) => {
            Err(cause).with_context(|| format!("cannot lock the data directory {shown}"))
        }
    }
}

/// Builds change directories; their paths must not depend on where the server was started.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("reading the path {}", path.display()))
}

/// Makes the user `admin` when there is no user yet. Gives the password when it was made up and has to be told.
pub async fn make_first_user(config: &Config, store: &Store) -> anyhow::Result<Option<SecretString>> {
    if store.has_users().await? {
        return Ok(None);
    }
    let given = match (&config.admin_password, &config.admin_password_file) {
        (Some(password), _) => Some(password.clone()),
        (None, Some(file)) => Some(read_password(file).await?),
        (None, None) => None,
    };
    let password = given.clone().unwrap_or_else(random_password);
    let hash = hash_password(&password).await?;
    match store.create_user("admin", "", Some(&hash), true, &Actor::system("first start")).await {
        Ok(_) => Ok(if given.is_none() { Some(password) } else { None }),
        // Another server that shares the database was quicker.
        Err(store::Error::Exists { .. }) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

/// A password from a file, without the line break at its end.
pub async fn read_password(file: &Path) -> anyhow::Result<SecretString> {
    read_secret(file, "password").await
}

async fn read_secret(file: &Path, what: &str) -> anyhow::Result<SecretString> {
    let text = tokio::fs::read_to_string(file).await;
    let text = SecretString::from(text.with_context(|| format!("cannot read the {what} file {}", file.display()))?);
    let secret = text.expose_secret().trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        bail!("the {what} file {} is empty", file.display());
    }
    Ok(secret.into())
}

/// 100 bits in letters and digits that are hard to confuse.
fn random_password() -> SecretString {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 20] = rand::random();
    let text: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    text.into()
}
