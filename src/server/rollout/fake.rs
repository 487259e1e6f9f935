//! An engine in memory that behaves like one: it rolls out step by step, keeps old replicas until new ones run, stops
//! at images it cannot start. For tests, and for a look at Weir on a machine without containers; it runs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{Desired, Observed, Replica, Rollout, RolloutError};
use crate::model::{AppPort, Digest, now};

/// When the engine works on what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// At once, before `apply` returns.
    #[default]
    Immediate,
    /// One step each time someone looks, so that those who look often enough see it end.
    EachLook,
    /// Only when told, by [`Fake::step`] and [`Fake::settle`].
    Manual,
}

/// The engine. Keep it in an `Arc` to steer it while Weir uses it.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    pace: Pace,
}

#[derive(Default)]
struct State {
    apps: BTreeMap<(String, String), App>,
    away: Option<String>,
    slow: Duration,
    failing: HashMap<Digest, String>,
    tasks: u64,
    ports: u16,
    applied: u64,
}

struct App {
    desired: Desired,
    replicas: Vec<Replica>,
    updating: bool,
    failed: Option<String>,
}

impl Fake {
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// From now on nothing is answered, with this reason; `None` brings the engine back. Replicas go on meanwhile.
    pub fn set_away(&self, reason: Option<&str>) {
        self.state().away = reason.map(str::to_owned);
    }

    /// Every call takes so long.
    pub fn set_slow(&self, delay: Duration) {
        self.state().slow = delay;
    }

    /// Replicas of this image fail with this reason, until [`Fake::heal_image`].
    pub fn fail_image(&self, digest: &Digest, reason: &str) {
        self.state().failing.insert(digest.clone(), reason.to_owned());
    }

    pub fn heal_image(&self, digest: &Digest) {
        self.state().failing.remove(digest);
    }

    /// Ends all replicas of an app, as a crash or someone with a shell would; the engine starts new ones in its steps.
    pub fn kill_replicas(&self, project: &str, app: &str) {
        if let Some(app) = self.state().apps.get_mut(&key(project, app)) {
            app.replicas.clear();
            app.updating = true;
        }
    }

    /// How often the engine accepted a changed state.
    pub fn applied(&self) -> u64 {
        self.state().applied
    }

    /// What an app was last given.
    pub fn desired(&self, project: &str, app: &str) -> Option<Desired> {
        self.state().apps.get(&key(project, app)).map(|app| app.desired.clone())
    }

    /// One step of every app; `false` when there was nothing to do.
    pub fn step(&self) -> bool {
        self.state().step()
    }

    /// Steps until nothing is left to do.
    pub fn settle(&self) {
        while self.step() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What every call goes through first.
    async fn reach(&self) -> Result<(), RolloutError> {
        let slow = self.state().slow;
        if !slow.is_zero() {
            tokio::time::sleep(slow).await;
        }
        match &self.state().away {
            Some(reason) => Err(RolloutError::Transient(reason.clone())),
            None => Ok(()),
        }
    }
}

impl State {
    fn step(&mut self) -> bool {
        let mut moved = false;
        for app in self.apps.values_mut().filter(|app| app.updating) {
            moved |= app.step(&self.failing, &mut self.tasks, &mut self.ports);
        }
        moved
    }
}

impl App {
    /// As engines do: first finish what starts, then take away what is too much, then start a batch of new ones.
    fn step(&mut self, failing: &HashMap<Digest, String>, tasks: &mut u64, ports: &mut u16) -> bool {
        let digest = self.desired.digest.clone();
        let wanted = self.desired.spec.replicas as usize;
        if let Some(reason) = failing.get(&digest) {
            // Replicas of the image before are left running, as engines leave them.
            self.replicas.retain(|replica| replica.digest.as_ref() != Some(&digest) || replica.ready);
            self.failed = Some(reason.clone());
            self.updating = false;
            return true;
        }
        if let Some(replica) = self.replicas.iter_mut().find(|replica| !replica.ready) {
            replica.state = if replica.state == "preparing" { "starting" } else { "running" }.to_owned();
            replica.ready = replica.state == "running";
            replica.since = now();
            return true;
        }
        if self.replicas.len() > wanted {
            // The old before the new, the last before the first.
            let old = self.replicas.iter().rposition(|replica| replica.digest.as_ref() != Some(&digest));
            self.replicas.remove(old.unwrap_or(self.replicas.len() - 1));
            return true;
        }
        let current = self.replicas.iter().filter(|replica| replica.digest.as_ref() == Some(&digest)).count();
        if current < wanted {
            let batch = (wanted - current).min(self.desired.spec.parallelism.max(1) as usize);
            for _ in 0..batch {
                *tasks += 1;
                self.replicas.push(self.desired.replica(*tasks, ports));
            }
            return true;
        }
        self.updating = false;
        false
    }
}

impl Desired {
    fn replica(&self, task: u64, ports: &mut u16) -> Replica {
        let mut published = |port: &AppPort| {
            port.published.unwrap_or_else(|| {
                *ports = (*ports + 1) % 16_384;
                32_768 + *ports
            })
        };
        Replica {
            id: format!("task-{task}"),
            node: "memory".to_owned(),
            digest: Some(self.digest.clone()),
            state: "preparing".to_owned(),
            ready: false,
            since: now(),
            message: None,
            ports: self.spec.ports.iter().map(|port| (port.container, published(port))).collect(),
        }
    }

    /// Everything a replica is made of.
    fn same_task(&self, other: &Self) -> bool {
        let (a, b) = (&self.spec, &other.spec);
        self.image == other.image && a.ports == b.ports && a.env == b.env && a.command == b.command && a.args == b.args
    }
}

#[async_trait]
impl Rollout for Fake {
    async fn check(&self) -> Result<(), String> {
        self.reach().await.map_err(|error| error.to_string())
    }

    async fn apply(&self, desired: &Desired) -> Result<(), RolloutError> {
        self.reach().await?;
        let mut state = self.state();
        let app = state.apps.entry(key(&desired.project, &desired.app)).or_insert_with(|| App {
            desired: Desired { rollout: -1, ..desired.clone() },
            replicas: Vec::new(),
            updating: true,
            failed: None,
        });
        let changed = app.desired.rollout != desired.rollout
            || app.desired.spec != desired.spec
            || !app.desired.same_task(desired)
            || app.failed.is_some();
        if !app.desired.same_task(desired) {
            // Replicas of another environment are old ones, whatever their image.
            for replica in &mut app.replicas {
                replica.digest = replica.digest.take().filter(|digest| *digest != desired.digest);
            }
        }
        app.updating |= changed;
        app.failed = None;
        app.desired = desired.clone();
        state.applied += u64::from(changed);
        if self.pace == Pace::Immediate {
            while state.step() {}
        }
        Ok(())
    }

    async fn observe(&self, project: &str, app: &str) -> Result<Observed, RolloutError> {
        self.reach().await?;
        let mut state = self.state();
        match self.pace {
            Pace::Immediate => while state.step() {},
            Pace::EachLook => {
                state.step();
            }
            Pace::Manual => {}
        }
        Ok(state.apps.get(&key(project, app)).map_or_else(Observed::default, |app| Observed {
            exists: true,
            rollout: Some(app.desired.rollout),
            updating: app.updating,
            failed: app.failed.clone(),
            retryable: app.failed.as_ref().is_some_and(|reason| reason.contains("fetch")),
            replicas: app.replicas.clone(),
        }))
    }

    async fn remove(&self, project: &str, app: &str) -> Result<(), RolloutError> {
        self.reach().await?;
        self.state().apps.remove(&key(project, app));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, String)>, RolloutError> {
        self.reach().await?;
        Ok(self.state().apps.keys().cloned().collect())
    }
}

fn key(project: &str, app: &str) -> (String, String) {
    (project.to_owned(), app.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, Images};
    use super::*;

    fn images() -> Images {
        let image = |letter: &str| {
            let digest: Digest = format!("sha256:{}", letter.repeat(64)).parse().unwrap();
            (format!("127.0.0.1:5000/demo/app@{digest}"), digest)
        };
        Images { first: image("a"), second: image("b"), missing: image("c"), registry: None }
    }

    #[tokio::test]
    async fn behaves_like_an_engine_at_every_pace() {
        for pace in [Pace::Immediate, Pace::EachLook] {
            let engine = Fake::new(pace);
            engine.fail_image(&images().missing.1, "the image could not be fetched (No such image)");
            conformance::suite(&engine, &images()).await;
        }
    }

    #[tokio::test]
    async fn replicas_arrive_one_step_after_the_other() {
        let engine = Fake::new(Pace::Manual);
        let desired = conformance::desired(&images().first, 1, 1, &images());
        engine.apply(&desired).await.unwrap();
        let mut states = Vec::new();
        loop {
            let seen = engine.observe("demo", "app").await.unwrap();
            states.push(seen.replicas.first().map_or("none".to_owned(), |replica| replica.state.clone()));
            if !engine.step() {
                break;
            }
        }
        assert_eq!(states, ["none", "preparing", "starting", "running"]);
    }

    #[tokio::test]
    async fn an_engine_that_is_away_confirms_nothing_and_forgets_nothing() {
        let engine = Fake::default();
        let desired = conformance::desired(&images().first, 1, 2, &images());
        engine.apply(&desired).await.unwrap();
        engine.set_away(Some("gone"));
        assert_eq!(engine.observe("demo", "app").await, Err(RolloutError::Transient("gone".to_owned())));
        assert_eq!(engine.check().await, Err("gone".to_owned()));
        engine.set_away(None);
        assert!(engine.observe("demo", "app").await.unwrap().settled(&desired.digest, 2));
    }
}
