//! Who wakes whom: one named signal per controller, and the feed of changes for open pages.
//!
//! A signal says only "look again": controllers read the state and never trust the messenger, so a lost signal costs time, not work.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

/// The controllers that can be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Imports,
    ImportRules,
    Completions,
    Inspect,
    Triggers,
    Builds,
    Rollouts,
    Packages,
    Notices,
    Search,
}

/// Something in a project changed; open pages of that project look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub project: String,
}

/// The signals. Clones share them.
#[derive(Debug, Clone)]
pub struct Wake {
    imports: Arc<Notify>,
    import_rules: Arc<Notify>,
    completions: Arc<Notify>,
    inspect: Arc<Notify>,
    triggers: Arc<Notify>,
    builds: Arc<Notify>,
    rollouts: Arc<Notify>,
    packages: Arc<Notify>,
    notices: Arc<Notify>,
    search: Arc<Notify>,
    logs: broadcast::Sender<String>,
    changes: broadcast::Sender<Changed>,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            imports: Arc::default(),
            import_rules: Arc::default(),
            completions: Arc::default(),
            inspect: Arc::default(),
            triggers: Arc::default(),
            builds: Arc::default(),
            rollouts: Arc::default(),
            packages: Arc::default(),
            notices: Arc::default(),
            search: Arc::default(),
            logs: broadcast::channel(1024).0,
            changes: broadcast::channel(1024).0,
        }
    }
}

impl Wake {
    /// The signal of one controller. A signal sent while nobody waits is kept for the next who does.
    pub fn of(&self, controller: Controller) -> &Notify {
        match controller {
            Controller::Imports => &self.imports,
            Controller::ImportRules => &self.import_rules,
            Controller::Completions => &self.completions,
            Controller::Inspect => &self.inspect,
            Controller::Triggers => &self.triggers,
            Controller::Builds => &self.builds,
            Controller::Rollouts => &self.rollouts,
            Controller::Packages => &self.packages,
            Controller::Notices => &self.notices,
            Controller::Search => &self.search,
        }
    }

    /// Tells open pages that the project changed.
    pub fn changed(&self, project: &str) {
        // Nobody listening is the usual case, not a failure.
        let _ = self.changes.send(Changed { project: project.to_owned() });
    }

    /// The feed of changes from now on. A reader that falls behind sees a gap and looks again.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Tells readers of a build's log that it grew.
    pub fn logged(&self, build_id: &str) {
        let _ = self.logs.send(build_id.to_owned());
    }

    /// Ids of builds whose log grew, from now on.
    pub fn logs(&self) -> broadcast::Receiver<String> {
        self.logs.subscribe()
    }
}
