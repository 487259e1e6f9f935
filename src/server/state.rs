//! What doors are made from. Each takes the parts it needs and knows nothing of the others.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::auth::Auth;
use super::blobs::Blobs;
use super::builder::Builder;
use super::importer::Importer;
use super::notices::Reach;
use super::pulls::Pulls;
use super::rollout::Rollout;
use super::store::Store;

/// The server's parts. Handlers ask for one of them: `State<Store>`.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub auth: Auth,
    pub blobs: Arc<dyn Blobs>,
    /// What brings images of other registries here.
    pub importer: Importer,
    /// What runs builds; `None` when it was switched off.
    pub builder: Option<Arc<dyn Builder>>,
    /// What runs apps; `None` when it was switched off.
    pub rollout: Option<Arc<dyn Rollout>>,
    pub settings: Arc<Settings>,
    /// Pulls that are not written yet.
    pub pulls: Pulls,
    /// Cancelled when the server stops: what streams without end has to end then.
    pub stop: CancellationToken,
}

/// What was configured, as far as doors and controllers need it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people and clients reach the server, without a slash at the end.
    pub public_url: String,
    /// Time between two scheduled checks, where a tag says nothing else.
    pub import_interval: Duration,
    /// How long the sender of a body may be silent before it counts as gone.
    pub upload_silence: Duration,
    /// How many builds run at once.
    pub build_concurrency: usize,
    /// How long what nothing needs rests before it goes.
    pub gc_grace: Duration,
    /// Which addresses notices may go to.
    pub notice_reach: Reach,
}

impl Settings {
    /// The registry as clients type it, `host` or `host:port`.
    pub fn registry_host(&self) -> &str {
        self.public_url.split_once("://").map_or(self.public_url.as_str(), |(_, host)| host)
    }

    /// Whether people reach the server by HTTPS: cookies are for HTTPS only then, and the registry is not an insecure one.
    pub fn is_secure(&self) -> bool {
        self.public_url.starts_with("https://")
    }
}

macro_rules! parts {
    ($($part:ident: $type:ty),+ $(,)?) => {
        $(impl FromRef<AppState> for $type {
            fn from_ref(state: &AppState) -> Self {
                state.$part.clone()
            }
        })+
    };
}

parts! {
    store: Store,
    auth: Auth,
    blobs: Arc<dyn Blobs>,
    builder: Option<Arc<dyn Builder>>,
    rollout: Option<Arc<dyn Rollout>>,
    settings: Arc<Settings>,
}
