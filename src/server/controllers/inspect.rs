//! Reads the Dockerfiles of build configs as soon as they are defined, so that the graph has its edges before the first build.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tracing::{info, warn};

use super::builds::git_credentials;
use super::{Controller, Runner};
use crate::model::{BuildConfig, NewConfigInput};
use crate::server::builder::{Builder, dockerfile};
use crate::server::store::{self, Store};
use crate::server::wake;

/// How long a config may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(10);
/// How many repositories are read at once.
const AT_ONCE: usize = 4;

/// The controller.
pub struct Inspect {
    work: Arc<Work>,
    runner: Runner,
}

struct Work {
    store: Store,
    builder: Arc<dyn Builder>,
    /// Names by which a Dockerfile may mean Weir's own registry.
    own_hosts: Vec<String>,
    /// Ids of the configs being read.
    under_way: Mutex<HashSet<String>>,
}

impl Inspect {
    /// Over this store; repositories are read by `builder`, in tasks of `runner`.
    pub fn new(store: Store, builder: Arc<dyn Builder>, own_hosts: Vec<String>, runner: Runner) -> Self {
        Self { work: Arc::new(Work { store, builder, own_hosts, under_way: Mutex::default() }), runner }
    }
}

#[async_trait]
impl Controller for Inspect {
    fn name(&self) -> &'static str {
        "inspect"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Inspect)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        for config in self.work.store.list_uninspected_configs().await? {
            let Some(entered) = Entered::enter(&self.work, &config.id) else { continue };
            let (work, stop, wake) = (Arc::clone(&self.work), self.runner.stop.clone(), self.runner.wake.clone());
            self.runner.tracker.spawn(async move {
                let recorded = tokio::select! {
                    recorded = work.inspect(&config) => recorded,
                    () = stop.cancelled() => false,
                };
                drop(entered);
                // There is room for another now. What could not be recorded waits for the timer instead.
                if recorded {
                    wake.of(wake::Controller::Inspect).notify_one();
                }
            });
        }
        Ok(Some(RESYNC))
    }
}

/// A config being read, until dropped.
struct Entered {
    work: Arc<Work>,
    config_id: String,
}

impl Entered {
    /// `None` when it is being read already, or when there is no room.
    fn enter(work: &Arc<Work>, config_id: &str) -> Option<Self> {
        let mut under_way = work.lock();
        let room = under_way.len() < AT_ONCE && under_way.insert(config_id.to_owned());
        room.then(|| Self { work: Arc::clone(work), config_id: config_id.to_owned() })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.work.lock().remove(&self.config_id);
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn inspect(&self, config: &BuildConfig) -> bool {
        let read = self.read(config).await;
        let inputs = read.as_deref().map_err(String::as_str);
        match self.store.record_inspection(&config.id, config.generation, inputs).await {
            Ok(()) => {
                info!(config.name = %config.name, "Read the Dockerfile of {}/{}", config.project, config.name);
                true
            }
            Err(problem) => {
                warn!(config.name = %config.name, "What {} takes in cannot be recorded: {problem}", config.name);
                false
            }
        }
    }

    /// What the config takes in, or in words why that cannot be told.
    async fn read(&self, config: &BuildConfig) -> Result<Vec<NewConfigInput>, String> {
        let spec = config.spec().map_err(|problem| format!("The definition does not read: {problem}"))?;
        let text = match &spec.source.dockerfile {
            Some(inline) => inline.clone(),
            None => {
                let credentials = git_credentials(&self.store, &config.project, &spec.source).await.map_err(
                    |problem| match problem {
                        store::Error::Db(_) => "The source's secret cannot be read now: try again.".to_owned(),
                        problem => problem.to_string(),
                    },
                )?;
                let fetched = self.builder.fetch(&spec.source, credentials.as_ref()).await;
                fetched.map_err(|failure| failure.to_string())?.dockerfile
            }
        };
        dockerfile::inputs_of_config(&text, &spec, &config.project, &self.own_hosts)
            .map_err(|problem| problem.to_string())
    }
}
