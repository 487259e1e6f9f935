//! What doors are made from. Each takes the parts it needs and knows nothing of the others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::auth::Auth;
use super::blobs::Blobs;
use super::builder::Builder;
use super::importer::Importer;
use super::notices::Reach;
use super::packages::Views;
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
    /// What images hold and how they differ, as it is shown.
    pub views: Views,
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
    /// Where it listens.
    pub listen: SocketAddr,
    /// Time between two scheduled checks, where a tag says nothing else.
    pub import_interval: Duration,
    /// How many tags of a whole repository one request imports.
    pub repository_import_limit: Option<usize>,
    /// How long one request waits for what it imports.
    pub import_patience: Duration,
    /// How long the sender of a body may be silent before it counts as gone.
    pub upload_silence: Duration,
    /// How many builds run at once.
    pub build_concurrency: usize,
    /// How long what nothing needs rests before it goes.
    pub gc_grace: Duration,
    /// Which addresses notices may go to.
    pub notice_reach: Reach,
    /// Whether the registry tells the histories of tags.
    pub tag_history: bool,
}

impl Settings {
    /// The registry as clients type it, `host` or `host:port`.
    pub fn registry_host(&self) -> &str {
        self.public_url.split_once("://").map_or(self.public_url.as_str(), |(_, host)| host)
    }

    /// Every name by which a reference may mean this very registry, `host` or `host:port`: its public one, and where it listens.
    pub fn own_hosts(&self) -> Vec<String> {
        let (public, listen) = (self.registry_host().to_owned(), self.listen);
        let port = if self.is_secure() { 443 } else { 80 };
        let with_port = if public.contains(':') { public.clone() } else { format!("{public}:{port}") };
        let mut hosts = vec![public, with_port, listen.to_string()];
        if listen.ip().is_unspecified() || listen.ip().is_loopback() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{host}:{}", listen.port())));
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
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

#[cfg(test)]
mod tests {
    use super::*;

    fn own_hosts(public_url: &str, listen: &str) -> Vec<String> {
        let second = Duration::from_secs(1);
        let settings = Settings {
            public_url: public_url.to_owned(),
            listen: listen.parse().unwrap(),
            import_interval: second,
            repository_import_limit: Some(50),
            import_patience: second,
            upload_silence: second,
            build_concurrency: 1,
            gc_grace: second,
            notice_reach: Reach::Public,
            tag_history: false,
        };
        settings.own_hosts()
    }

    #[test]
    fn a_server_knows_the_names_it_goes_by() {
        let public = own_hosts("https://weir.example.com", "10.0.0.7:8080");
        assert_eq!(public, ["10.0.0.7:8080", "weir.example.com", "weir.example.com:443"]);
        let local = own_hosts("http://127.0.0.1:8080", "127.0.0.1:8080");
        assert_eq!(local, ["127.0.0.1:8080", "[::1]:8080", "localhost:8080"]);
        let everywhere = own_hosts("http://weir:80", "0.0.0.0:80");
        assert_eq!(everywhere, ["0.0.0.0:80", "127.0.0.1:80", "[::1]:80", "localhost:80", "weir:80"]);
    }
}
