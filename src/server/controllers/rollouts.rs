//! Makes apps run what their newest rollout says, and writes down what was seen running. Nothing is called done before the engine was
//! seen to run it: while the engine is away a rollout is *Not confirmed*, however far it may be.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use tracing::{debug, info, warn};

use self::progress::Progress;
use super::Controller;
use crate::model::{Actor, App, Digest, RepositoryName, RolloutPhase, RolloutRow, counted, served_at};
use crate::server::rollout::{Desired, Observed, Rollout, RolloutError};
use crate::server::store::{NewToken, PROHIBITED, Store};
use crate::server::wake;

mod progress;
#[cfg(test)]
mod tests;

/// How often every app is looked at.
const SWEEP: Duration = Duration::from_secs(15);
/// How often one is looked at while it is rolled out.
const LOOK: Duration = Duration::from_secs(1);
/// Apps looked at at the same time.
const AT_ONCE: usize = 8;
/// An engine that does not take a state within this time is busy.
const APPLY_TIMEOUT: Duration = Duration::from_secs(45);
/// Longer than one step can take.
const LEASE_MS: i64 = 120_000;
/// What engines log in with beside the token, which alone counts.
const PULL_USER: &str = "pull";

/// The controller.
pub struct Rollouts {
    store: Store,
    engine: Arc<dyn Rollout>,
    /// `host:port` under which the engine's nodes reach the registry.
    registry: String,
    progress: Progress,
}

/// How soon to look at an app again; `None` leaves it to the next sweep.
type Again = Option<Duration>;

impl Rollouts {
    /// `registry` is `host:port` under which the engine's nodes reach Weir's own registry.
    pub fn new(store: Store, engine: Arc<dyn Rollout>, registry: impl Into<String>) -> Self {
        Self { store, engine, registry: registry.into(), progress: Progress::default() }
    }

    /// The engine as a whole does not answer: nothing can be confirmed.
    async fn away(&self, error: &RolloutError) -> anyhow::Result<Duration> {
        let (wait, first) = self.progress.away();
        if first {
            warn!("Apps cannot be looked after: {error}");
        }
        for app in self.store.list_all_apps().await?.iter().filter(|app| app.deleted_at.is_none()) {
            self.store.observe_app(app, Err(&error.to_string())).await?;
            if let Some(rollout) = self.newest(app).await?.filter(is_active) {
                self.not_confirmed(&rollout, error).await?;
            }
        }
        Ok(wait)
    }

    /// Services of apps that are in no table: their project was deleted with all it had.
    async fn remove_strangers(&self, running: &[(String, String)], apps: &[App]) {
        let known: HashSet<(&str, &str)> = apps.iter().map(|app| (app.project.as_str(), app.name.as_str())).collect();
        for (project, app) in running.iter().filter(|(project, app)| !known.contains(&(project, app))) {
            match self.engine.remove(project, app).await {
                Ok(()) => info!("Removed {project}/{app} from the engine: its project is gone"),
                Err(error) => warn!("Cannot remove {project}/{app} from the engine: {error}"),
            }
        }
    }

    /// One app's turn, unless another server has it.
    async fn look_after(&self, app: &App) -> Again {
        match self.leased(app).await {
            Ok(again) => again,
            Err(cause) => {
                warn!(app.id = %app.id, "Cannot look after app {}/{}: {cause:#}", app.project, app.name);
                is_under_way(app).then_some(SWEEP)
            }
        }
    }

    async fn leased(&self, app: &App) -> anyhow::Result<Again> {
        let owner = self.store.owner();
        if !self.store.claim_app(&app.id, owner, LEASE_MS).await? {
            return Ok(is_under_way(app).then_some(LOOK));
        }
        let again = match app.deleted_at {
            Some(_) => self.forget(app).await.map(|()| None),
            None => self.follow(app).await,
        };
        self.store.release_app(&app.id, owner).await?;
        again
    }

    async fn forget(&self, app: &App) -> anyhow::Result<()> {
        self.engine.remove(&app.project, &app.name).await?;
        self.store.end_pull_tokens(&token_name(app), true).await?;
        self.store.forget_app(&app.id).await?;
        info!(app.id = %app.id, "Removed app {}/{} from the engine", app.project, app.name);
        Ok(())
    }

    async fn follow(&self, app: &App) -> anyhow::Result<Again> {
        let rollout = self.newest(app).await?;
        let seen = match self.observe(app).await? {
            Ok(seen) => seen,
            Err(error) => {
                let Some(rollout) = rollout.filter(is_active) else { return Ok(None) };
                return self.not_confirmed(&rollout, &error).await.map(Some);
            }
        };
        match rollout {
            Some(rollout) if is_active(&rollout) => self.advance(app, &rollout, seen).await,
            Some(rollout) if rollout.phase == RolloutPhase::Complete && has_left(&rollout, &seen) => {
                self.put_back(app, &rollout).await?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    async fn newest(&self, app: &App) -> anyhow::Result<Option<RolloutRow>> {
        Ok(self.store.find_rollout(&app.id, app.last_number).await?)
    }

    /// Asks the engine and writes down its answer, or that there was none.
    async fn observe(&self, app: &App) -> anyhow::Result<Result<Observed, RolloutError>> {
        let seen = self.engine.observe(&app.project, &app.name).await;
        match &seen {
            Ok(seen) => self.store.observe_app(app, Ok(&serde_json::to_string(seen)?)).await?,
            Err(error) => self.store.observe_app(app, Err(&error.to_string())).await?,
        }
        Ok(seen)
    }

    /// One step of a rollout: tell the engine, if it does not know yet, and judge what was seen.
    async fn advance(&self, app: &App, rollout: &RolloutRow, mut seen: Observed) -> anyhow::Result<Again> {
        let wait = self.progress.wait(&rollout.id);
        // Running, but the engine has another number: an older server was slower, or the engine lost it.
        if rollout.phase == RolloutPhase::Pending || seen.rollout != Some(rollout.number) {
            if wait.is_some() {
                return Ok(wait);
            }
            if let Err(error) = self.apply(app, rollout).await? {
                return self.refused(rollout, &error).await;
            }
            self.store.record_rollout(rollout, RolloutPhase::Running, None).await?;
            seen = match self.observe(app).await? {
                Ok(seen) => seen,
                Err(error) => return self.not_confirmed(rollout, &error).await.map(Some),
            };
            if seen.rollout != Some(rollout.number) {
                return Ok(Some(LOOK));
            }
        }
        let digest: Digest = rollout.digest.parse()?;
        let wanted = rollout.spec()?.replicas;
        if seen.settled(&digest, wanted) {
            let message = format!("{wanted} of {} seen running this image", counted(wanted, "replica"));
            self.finish(app, rollout, RolloutPhase::Complete, &message).await?;
            return Ok(None);
        }
        let ready = seen.ready_with(&digest);
        match seen.failed {
            // The last attempt has not had its time yet.
            Some(_) if wait.is_some() => Ok(Some(LOOK)),
            Some(reason) if seen.retryable => self.try_again(app, rollout, &reason).await,
            Some(reason) => self.fail(app, rollout, &reason).await.map(|()| None),
            None if self.progress.is_overdue(&rollout.id, ready, rollout.spec()?.delay_ms) => {
                let minutes = progress::DEADLINE.as_secs() / 60;
                let last = seen.replicas.iter().find_map(|replica| replica.message.clone());
                let last = last.map_or_else(String::new, |last| format!(": {last}"));
                let reason = format!("no further replica became ready within {minutes} minutes{last}");
                self.fail(app, rollout, &reason).await.map(|()| None)
            }
            None => {
                let message = format!("{ready} of {wanted} replicas run this image");
                self.store.record_rollout(rollout, RolloutPhase::Running, Some(&message)).await?;
                Ok(Some(LOOK))
            }
        }
    }

    /// Gives the engine the rollout, with a new token to pull its image.
    async fn apply(&self, app: &App, rollout: &RolloutRow) -> anyhow::Result<Result<(), RolloutError>> {
        if self.store.is_prohibited(&rollout.digest).await? {
            return Ok(Err(RolloutError::Permanent(PROHIBITED.to_owned())));
        }
        // An app may run an image of another project: the token is for the project that has it.
        let repository: RepositoryName = rollout.repository.parse()?;
        let Some(project) = self.store.find_project(repository.project.as_str()).await? else {
            let gone = format!("project {}, which had the image, is gone", repository.project);
            return Ok(Err(RolloutError::Permanent(gone)));
        };
        let name = token_name(app);
        let token = NewToken::pull(&name, &project.id);
        let (_, token) = self.store.create_token(token, &Actor::system("rollouts")).await?;
        let desired = Desired {
            project: app.project.clone(),
            app: app.name.clone(),
            image: served_at(&self.registry, &project.name, repository.stream.as_str(), &rollout.digest),
            digest: rollout.digest.parse()?,
            rollout: rollout.number,
            spec: rollout.spec()?,
            registry: Some((PULL_USER.to_owned(), token)),
        };
        debug!(rollout.id = %rollout.id, "Applying {} rollout {}: {}", app.name, rollout.number, desired.image);
        let busy = Err(RolloutError::Transient("the engine is busy and did not take the new state in time".to_owned()));
        Ok(tokio::time::timeout(APPLY_TIMEOUT, self.engine.apply(&desired)).await.unwrap_or(busy))
    }

    async fn refused(&self, rollout: &RolloutRow, error: &RolloutError) -> anyhow::Result<Again> {
        match error {
            RolloutError::Transient(_) => self.not_confirmed(rollout, error).await.map(Some),
            RolloutError::Permanent(reason) => {
                warn!(rollout.id = %rollout.id, "{} rollout {} was refused: {reason}", rollout.app, rollout.number);
                self.progress.end(&rollout.id);
                self.store.record_rollout(rollout, RolloutPhase::Failed, Some(reason)).await?;
                Ok(None)
            }
        }
    }

    /// Nobody knows how far it is. Gives when to ask again.
    async fn not_confirmed(&self, rollout: &RolloutRow, error: &RolloutError) -> anyhow::Result<Duration> {
        let message = format!("Not confirmed: {error}");
        self.store.record_rollout(rollout, rollout.phase, Some(&message)).await?;
        Ok(self.progress.unanswered(&rollout.id))
    }

    /// The image could not be fetched, perhaps because this very server was not up: asks the engine to try again, a few times.
    async fn try_again(&self, app: &App, rollout: &RolloutRow, reason: &str) -> anyhow::Result<Again> {
        let Some(wait) = self.progress.another_attempt(&rollout.id) else {
            return self.fail(app, rollout, reason).await.map(|()| None);
        };
        info!(rollout.id = %rollout.id, "{} rollout {} tries again: {reason}", app.name, rollout.number);
        if let Err(error) = self.apply(app, rollout).await? {
            return self.refused(rollout, &error).await;
        }
        let message = format!("tries again: {reason}");
        self.store.record_rollout(rollout, RolloutPhase::Running, Some(&message)).await?;
        Ok(Some(wait))
    }

    async fn fail(&self, app: &App, rollout: &RolloutRow, reason: &str) -> anyhow::Result<()> {
        self.finish(app, rollout, RolloutPhase::Failed, reason).await
    }

    async fn finish(&self, app: &App, rollout: &RolloutRow, phase: RolloutPhase, message: &str) -> anyhow::Result<()> {
        self.progress.end(&rollout.id);
        if self.store.record_rollout(rollout, phase, Some(message)).await? {
            info!(rollout.id = %rollout.id, "{} rollout {}: {phase}, {message}", app.name, rollout.number);
        }
        // The engine has a newer one since this rollout was applied.
        Ok(self.store.end_pull_tokens(&token_name(app), false).await?)
    }

    /// Someone removed or changed the service behind Weir's back, or the engine was set up anew.
    async fn put_back(&self, app: &App, rollout: &RolloutRow) -> anyhow::Result<()> {
        match self.apply(app, rollout).await? {
            Ok(()) => {
                info!(app.id = %app.id, "Put {} back to rollout {} on the engine", app.name, rollout.number);
                self.store.end_pull_tokens(&token_name(app), false).await?;
            }
            Err(error) => warn!(app.id = %app.id, "Cannot put {} back on the engine: {error}", app.name),
        }
        Ok(())
    }
}

#[async_trait]
impl Controller for Rollouts {
    fn name(&self) -> &'static str {
        "rollouts"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Rollouts)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        // The engine first: what it runs and no table read later knows is surely gone.
        let running = match self.engine.list().await {
            Ok(running) => running,
            Err(error) => return self.away(&error).await.map(Some),
        };
        self.progress.back();
        let apps = self.store.list_all_apps().await?;
        self.remove_strangers(&running, &apps).await;
        let sweep = self.progress.sweep(SWEEP);
        let mut due = apps;
        due.retain(|app| sweep || app.deleted_at.is_some() || is_under_way(app));
        let looks = stream::iter(due).map(|app| async move { self.look_after(&app).await });
        let again: Vec<Again> = looks.buffer_unordered(AT_ONCE).collect().await;
        let next_sweep = self.progress.next_sweep(SWEEP, Instant::now());
        Ok(again.into_iter().flatten().chain([next_sweep]).min())
    }
}

fn is_active(rollout: &RolloutRow) -> bool {
    matches!(rollout.phase, RolloutPhase::Pending | RolloutPhase::Running)
}

fn is_under_way(app: &App) -> bool {
    let phase = app.wanted_phase.as_deref();
    phase == Some(RolloutPhase::Pending.as_str()) || phase == Some(RolloutPhase::Running.as_str())
}

/// Something else than the complete rollout runs. Replicas that are missing, fail or wait are the engine's own business.
fn has_left(rollout: &RolloutRow, seen: &Observed) -> bool {
    let other = |digest: &Digest| digest.as_str() != rollout.digest;
    let other_image = seen.replicas.iter().any(|replica| replica.ready && replica.digest.as_ref().is_some_and(other));
    !seen.exists || seen.rollout != Some(rollout.number) || (other_image && !seen.updating && seen.failed.is_none())
}

/// Under which the app's pull tokens are found again.
fn token_name(app: &App) -> String {
    format!("{}/{}", app.project, app.name)
}
