//! Runs queued builds: claims them by lease, as many at once as allowed, and hands each to the builder in a task of its own.
//!
//! A build is somebody's while its lease runs. Whoever finds one whose lease has run out kills what is left of it and gives it up;
//! the store requests it again when that makes sense.

mod job;
mod worker;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::{Controller, Runner};
use crate::model::Build;
use crate::server::builder::Builder;
use crate::server::store::{Lost, Store};
use crate::server::wake;

pub(super) use job::git_credentials;
use worker::Worker;

/// How long a change may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(5);
/// How long to wait with queued builds while the builder cannot run any.
const BUILDER_RETRY: Duration = Duration::from_secs(15);
/// A worker that has not been heard of for this long is taken for dead.
const LEASE: Duration = Duration::from_secs(45);
/// How often a worker makes itself heard.
const HEARTBEAT: Duration = Duration::from_secs(10);

const LEASE_MS: i64 = LEASE.as_millis() as i64;

/// How builds run here.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// How many builds run at once in this process.
    pub concurrency: usize,
    /// Weir's own registry as builds reach it, `host:port`.
    pub registry_host: String,
    /// It speaks plain HTTP.
    pub registry_insecure: bool,
    /// All names by which a Dockerfile may mean Weir's own registry.
    pub own_hosts: Vec<String>,
}

/// The builds under way in this process, and how to stop each.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<String, CancellationToken>>>);

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, build_id: &str, cancel: CancellationToken) -> Entered {
        self.lock().insert(build_id.to_owned(), cancel);
        Entered { under_way: self.clone(), build_id: build_id.to_owned() }
    }
}

/// Leaves the list when dropped, also by a panic: a build that is not in it loses its lease and is found.
struct Entered {
    under_way: UnderWay,
    build_id: String,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.build_id);
    }
}

/// The controller.
pub struct Builds {
    store: Store,
    builder: Arc<dyn Builder>,
    settings: Arc<BuildSettings>,
    runner: Runner,
    under_way: UnderWay,
}

impl Builds {
    /// Over this store and builder; builds run in tasks of `runner` and end when it stops.
    pub fn new(store: Store, builder: Arc<dyn Builder>, settings: BuildSettings, runner: Runner) -> Self {
        Self { store, builder, settings: Arc::new(settings), runner, under_way: UnderWay::default() }
    }

    /// Renews the leases; whoever may not go on is told to stop.
    async fn renew(&self) -> anyhow::Result<()> {
        let under_way: Vec<(String, CancellationToken)> =
            self.under_way.lock().iter().map(|(id, cancel)| (id.clone(), cancel.clone())).collect();
        for (id, cancel) in under_way {
            if !self.store.renew_build(&id, self.store.owner(), LEASE_MS).await? {
                cancel.cancel();
            }
        }
        Ok(())
    }

    /// Ends the builds whose worker is gone.
    async fn give_up_lost(&self) -> anyhow::Result<()> {
        for build in self.store.list_lost_builds().await? {
            if self.under_way.lock().contains_key(&build.id) {
                continue;
            }
            warn!(build.id = %build.id, "Build {}/{} lost its worker; giving it up", build.project, build.name());
            if let Err(problem) = self.builder.reap(&build.id).await {
                // Its token ends with it, so whatever is left cannot push.
                warn!(build.id = %build.id, "Processes or files of build {} are left: {problem:#}", build.name());
            }
            self.store.give_up_build(&build, Lost::Worker).await?;
        }
        Ok(())
    }

    /// Starts queued builds while there is room. Gives false when the builder cannot run any.
    async fn start_queued(&self) -> anyhow::Result<bool> {
        while self.under_way.lock().len() < self.settings.concurrency && !self.runner.stop.is_cancelled() {
            if self.builder.check().await.is_err() {
                return Ok(false);
            }
            let Some(build) = self.store.claim_build(self.store.owner(), LEASE_MS).await? else { break };
            self.start(build);
        }
        Ok(true)
    }

    fn start(&self, build: Build) {
        info!(build.id = %build.id, "Starting build {}/{}", build.project, build.name());
        let cancel = self.runner.stop.child_token();
        let entered = self.under_way.enter(&build.id, cancel.clone());
        let span = info_span!("build", build.id = %build.id, build.name = %build.name());
        let worker = Worker {
            store: self.store.clone(),
            builder: Arc::clone(&self.builder),
            settings: Arc::clone(&self.settings),
            stop: self.runner.stop.clone(),
            cancel,
            build,
        };
        let wake = self.runner.wake.clone();
        let task = async move {
            worker.run().await;
            drop(entered);
            // There is room for another now.
            wake.of(wake::Controller::Builds).notify_one();
        };
        self.runner.tracker.spawn(task.instrument(span));
    }
}

#[async_trait]
impl Controller for Builds {
    fn name(&self) -> &'static str {
        "builds"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Builds)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        self.renew().await?;
        self.give_up_lost().await?;
        let able = self.start_queued().await?;
        Ok(Some(if able { RESYNC } else { BUILDER_RETRY }))
    }
}

#[cfg(test)]
mod tests;
