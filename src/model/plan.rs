//! The graph of tags, builds and apps, and what an action on it would do: one pure function for previews, dialogs and dry runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// The graph of one project and of what it is tied to in others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Graph {
    pub tags: Vec<GraphTag>,
    pub configs: Vec<GraphConfig>,
    pub apps: Vec<GraphApp>,
    /// Tags that nothing hangs on are left out: there are too many of them.
    pub only_tied: bool,
    /// Projects in which automation starts nothing now, with the words that say until when.
    pub frozen: BTreeMap<String, String>,
}

/// A stream's tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphTag {
    pub id: String,
    pub project: String,
    pub stream: String,
    pub tag: String,
    pub digest: Option<String>,
    pub held: bool,
    /// Id of the tag it follows.
    pub follows: Option<String>,
    /// The external reference it imports.
    pub imports: Option<String>,
    /// Its last check failed.
    pub failing: bool,
}

/// A build config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphConfig {
    pub id: String,
    pub project: String,
    pub name: String,
    /// Id of the tag that takes its image.
    pub output: String,
    pub inputs: Vec<GraphInput>,
    /// Builds by itself when an input moves.
    pub automatic: bool,
    /// Phase and number of its newest build.
    pub last: Option<(String, i64)>,
    /// How long its last ten successful builds took on average, in milliseconds.
    pub usual_ms: Option<i64>,
}

/// What a build takes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphInput {
    /// `FROM`, `COPY --from`, …
    pub kind: String,
    pub reference: String,
    /// Id of the tag it stands for; absent for an external image.
    pub tag: Option<String>,
    pub used_digest: Option<String>,
    pub triggering: bool,
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphApp {
    pub id: String,
    pub project: String,
    pub name: String,
    /// Id of the tag whose image it runs.
    pub tag: String,
    pub automatic: bool,
    pub held: bool,
    pub replicas: u32,
    /// Replicas observed running.
    pub ready: u32,
    /// Digest of its newest rollout.
    pub digest: Option<String>,
}

/// Something that would change the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// The tag with this id would point to another image. Its dependents follow or, with `dependents` false, keep what they have.
    /// `decided`: somebody goes back or resumes the tag, which a freeze of its project does not hold up.
    Move { tag: &'a str, dependents: bool, decided: bool },
    /// Somebody starts a build of the config with this id. What the image leads to is a change like any other.
    Build { config: &'a str },
}

/// One thing that would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// Steps of one wave can run side by side; waves count from 1.
    pub wave: u32,
    /// `build`, `rollout` or `skip`
    pub kind: &'static str,
    /// Id of the config or app.
    pub id: String,
    pub project: String,
    pub name: String,
    /// Replicas that roll, for a rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Why it is skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// Why it would not begin once what comes before it is done: `frozen until …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How long it usually takes, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_ms: Option<i64>,
}

impl PlanStep {
    /// Takes away what names things of a project that the reader may not see, and the freeze they wait for.
    pub fn veil(&mut self) {
        (self.id, self.project, self.name, self.waits) = Default::default();
    }

    /// Its name for readers of a project, or words in its place where it is veiled.
    pub fn shown_name(&self, project: &str) -> String {
        match self.project.as_str() {
            "" => "something in a project that you may not see".to_owned(),
            own if own == project => self.name.clone(),
            other => format!("{other}/{}", self.name),
        }
    }
}

/// What an action would do, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    pub steps: Vec<PlanStep>,
}

impl Plan {
    /// Builds that would run.
    pub fn builds(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter().filter(|step| step.kind == "build")
    }

    /// Apps that would roll.
    pub fn rollouts(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter().filter(|step| step.kind == "rollout")
    }

    /// What would not be touched, with the reason.
    pub fn skipped(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter().filter(|step| step.kind == "skip")
    }

    /// What would wait for the end of a freeze.
    pub fn waiting(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter().filter(|step| step.waits.is_some())
    }

    /// Replicas that would roll.
    pub fn replicas(&self) -> u32 {
        self.rollouts().filter_map(|step| step.replicas).sum()
    }

    /// Number of waves.
    pub fn waves(&self) -> u32 {
        self.steps.iter().filter(|step| step.kind != "skip").map(|step| step.wave).max().unwrap_or(0)
    }

    /// How long the builds usually take, wave after wave; `None` when a build never ran.
    pub fn usual_ms(&self) -> Option<i64> {
        let mut waves: BTreeMap<u32, i64> = BTreeMap::new();
        for step in self.builds() {
            let longest = waves.entry(step.wave).or_default();
            *longest = (*longest).max(step.usual_ms?);
        }
        Some(waves.values().sum())
    }
}

/// What `action` would do to the graph, by the rules the controllers follow. Every build and app appears once, in the wave in which
/// the last of what it waits for is done.
pub fn plan<'a>(graph: &'a Graph, action: &Action<'a>) -> Plan {
    let mut planner = Planner::new(graph);
    match action {
        Action::Move { tag, dependents, decided } => {
            planner.decided_in = planner.tags.get(tag).copied().filter(|_| *decided).map(|tag| tag.project.as_str());
            planner.tag_moves(tag, 0, *dependents);
        }
        Action::Build { config } => {
            planner.asked = Some(*config);
            planner.build(config, 1);
        }
    }
    planner.finish()
}

struct Planner<'a> {
    graph: &'a Graph,
    configs: BTreeMap<&'a str, &'a GraphConfig>,
    tags: BTreeMap<&'a str, &'a GraphTag>,
    /// Wave of every build that would run.
    builds: BTreeMap<&'a str, u32>,
    /// Wave of every app that would roll, or that would be skipped with a reason.
    apps: BTreeMap<&'a str, (u32, Option<&'static str>)>,
    skipped: BTreeMap<&'a str, &'static str>,
    /// Builds on the path being walked: a database edited by hand could hold a cycle.
    path: BTreeSet<&'a str>,
    /// The project whose freeze does not count, as somebody there decided this.
    decided_in: Option<&'a str>,
    /// The build that somebody starts.
    asked: Option<&'a str>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph) -> Self {
        Self {
            graph,
            configs: graph.configs.iter().map(|config| (config.id.as_str(), config)).collect(),
            tags: graph.tags.iter().map(|tag| (tag.id.as_str(), tag)).collect(),
            builds: BTreeMap::new(),
            apps: BTreeMap::new(),
            skipped: BTreeMap::new(),
            path: BTreeSet::new(),
            decided_in: None,
            asked: None,
        }
    }

    /// Why the build or app with that id does not begin by itself now.
    fn waits(&self, id: &str, project: &str) -> Option<String> {
        let goes = self.decided_in == Some(project) || self.asked == Some(id);
        self.graph.frozen.get(project).filter(|_| !goes).cloned()
    }

    /// The tag moves once wave `wave` is done.
    fn tag_moves(&mut self, tag: &str, wave: u32, dependents: bool) {
        for app in self.graph.apps.iter().filter(|app| app.tag == tag) {
            let why = match app {
                _ if app.held => Some("held"),
                _ if !app.automatic => Some("not automatic"),
                _ => None,
            };
            let entry = self.apps.entry(&app.id).or_insert((wave + 1, why));
            entry.0 = entry.0.max(wave + 1);
        }
        for follower in self.graph.tags.iter().filter(|other| other.follows.as_deref() == Some(tag)) {
            if !follower.held {
                self.tag_moves(&follower.id, wave, dependents);
            }
        }
        let fed = |config: &&GraphConfig| {
            config.inputs.iter().any(|input| input.tag.as_deref() == Some(tag) && input.triggering)
        };
        for config in self.graph.configs.iter().filter(fed) {
            if !dependents {
                self.skipped.insert(&config.id, "keeps what it has");
            } else if !config.automatic {
                self.skipped.insert(&config.id, "its trigger is off");
            } else {
                self.build(&config.id, wave + 1);
            }
        }
    }

    fn build(&mut self, config: &str, wave: u32) {
        let Some(config) = self.configs.get(config).copied() else { return };
        let known = self.builds.get(config.id.as_str()).copied();
        if known.is_some_and(|known| known >= wave) || !self.path.insert(&config.id) {
            return;
        }
        self.builds.insert(&config.id, wave);
        let output_held = self.tags.get(config.output.as_str()).is_some_and(|tag| tag.held);
        if !output_held {
            self.tag_moves(&config.output, wave, true);
        }
        self.path.remove(config.id.as_str());
    }

    fn finish(self) -> Plan {
        let mut steps = Vec::new();
        for (id, wave) in &self.builds {
            let config = self.configs[id];
            let (project, name) = (config.project.clone(), config.name.clone());
            let waits = self.waits(id, &project);
            let id = (*id).to_owned();
            steps.push(PlanStep {
                wave: *wave,
                kind: "build",
                id,
                project,
                name,
                replicas: None,
                why: None,
                waits,
                usual_ms: config.usual_ms,
            });
        }
        for (id, why) in self.skipped.iter().filter(|(id, _)| !self.builds.contains_key(*id)) {
            let config = self.configs[id];
            let (project, name) = (config.project.clone(), config.name.clone());
            let id = (*id).to_owned();
            steps.push(PlanStep {
                wave: 0,
                kind: "skip",
                id,
                project,
                name,
                replicas: None,
                why: Some(why),
                waits: None,
                usual_ms: None,
            });
        }
        for app in &self.graph.apps {
            let Some((wave, why)) = self.apps.get(app.id.as_str()).copied() else { continue };
            let kind = if why.is_some() { "skip" } else { "rollout" };
            let (id, project, name) = (app.id.clone(), app.project.clone(), app.name.clone());
            let wave = if why.is_some() { 0 } else { wave };
            let waits = self.waits(&id, &project).filter(|_| why.is_none());
            let replicas = Some(app.replicas);
            steps.push(PlanStep { wave, kind, id, project, name, replicas, why, waits, usual_ms: None });
        }
        steps.sort_by(|a, b| (a.wave, a.kind, &a.project, &a.name).cmp(&(b.wave, b.kind, &b.project, &b.name)));
        Plan { steps }
    }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
