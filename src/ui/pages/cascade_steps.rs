//! The steps of a cascade: what it did, does, and has still to do, each step that does not run with the reason. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Build, BuildPhase, Graph, GraphConfig, Plan, PlanStep, RolloutPhase, RolloutRow};
use crate::ui::graph::State;

/// One build or rollout of a cascade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Id of the build config or app.
    pub id: String,
    pub wave: u32,
    /// `build` or `rollout`
    pub kind: &'static str,
    pub project: String,
    pub name: String,
    /// The run's or rollout's number, once there is one.
    pub number: Option<i64>,
    pub state: State,
    /// `waiting`, `queued`, `running`, `done`, `failed`, `cancelled`, `not started`, `skipped`
    pub word: &'static str,
    /// Why it does not run.
    pub reason: String,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
}

impl Step {
    /// Nothing more will happen to it.
    pub fn is_over(&self) -> bool {
        !matches!(self.word, "waiting" | "queued" | "running")
    }

    /// Its page.
    pub fn href(&self) -> String {
        match (self.kind, self.number) {
            ("build", Some(number)) => format!("/p/{}/builds/{}/runs/{number}", self.project, self.name),
            ("build", None) => format!("/p/{}/builds/{}", self.project, self.name),
            _ => format!("/p/{}/apps/{}", self.project, self.name),
        }
    }
}

/// The steps in order. `plan` is what the cascade's root would do now; steps of it that have not begun are told when something of the
/// cascade they wait for is still under way or has failed, or when they wait for the end of a freeze.
pub fn steps(graph: &Graph, plan: Option<&Plan>, builds: &[Build], rollouts: &[RolloutRow], paused: bool) -> Vec<Step> {
    let empty = Plan::default();
    let plan = plan.unwrap_or(&empty);
    let waves: BTreeMap<&str, u32> = plan.steps.iter().map(|step| (step.id.as_str(), step.wave)).collect();
    let mut steps: Vec<Step> = Vec::new();
    for build in builds {
        let wave = waves.get(build.config_id.as_str()).copied().unwrap_or(1);
        steps.push(build_step(build, wave, paused));
    }
    let last = steps.iter().map(|step| step.wave).max().unwrap_or_default();
    for rollout in rollouts {
        let wave = waves.get(rollout.app_id.as_str()).copied().unwrap_or(last + 1);
        steps.push(rollout_step(rollout, wave.max(1)));
    }
    let begun: BTreeSet<String> = steps.iter().map(|step| step.id.clone()).collect();
    let makers = Makers::new(graph);
    // Wave after wave, so that what waits for something that waits is known to wait.
    for planned in plan.steps.iter().filter(|step| !begun.contains(&step.id)) {
        let before: Vec<&Step> =
            makers.before(&planned.id).into_iter().filter_map(|id| steps.iter().rfind(|step| step.id == id)).collect();
        if let Some(step) = not_begun(planned, &before, is_behind(graph, &planned.id)) {
            steps.push(step);
        }
    }
    steps.sort_by(|a, b| {
        (a.wave == 0, a.wave, a.kind, &a.project, &a.name, a.number).cmp(&(
            b.wave == 0,
            b.wave,
            b.kind,
            &b.project,
            &b.name,
            b.number,
        ))
    });
    steps
}

/// What had begun by a moment, in the order in which it was requested: there is no plan of then, so no step has a wave.
pub fn steps_then(builds: &[Build], rollouts: &[RolloutRow]) -> Vec<Step> {
    let builds = builds.iter().map(|build| (build.sequence, build_step(build, 0, false)));
    let rollouts = rollouts.iter().map(|rollout| (rollout.sequence, rollout_step(rollout, 0)));
    let mut steps: Vec<(i64, Step)> = builds.chain(rollouts).collect();
    steps.sort_by_key(|(sequence, _)| *sequence);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// Whether a config or an app has something else than its tags point to.
fn is_behind(graph: &Graph, id: &str) -> bool {
    let digest = |id: &str| graph.tags.iter().find(|tag| tag.id == id).and_then(|tag| tag.digest.as_ref());
    let moved = |tag: &str, has: Option<&String>| digest(tag).is_some_and(|digest| Some(digest) != has);
    match graph.configs.iter().find(|config| config.id == id) {
        Some(config) => config
            .inputs
            .iter()
            .filter(|input| input.triggering)
            .any(|input| input.tag.as_deref().is_some_and(|tag| moved(tag, input.used_digest.as_ref()))),
        None => graph.apps.iter().any(|app| app.id == id && moved(&app.tag, app.digest.as_ref())),
    }
}

fn build_step(build: &Build, wave: u32, paused: bool) -> Step {
    let message = || build.message.clone().or_else(|| build.reason.clone()).unwrap_or_default();
    let (state, word, reason) = match build.phase {
        BuildPhase::New if paused => (State::Held, "queued", "the cascade is paused".to_owned()),
        BuildPhase::New => (State::Running, "queued", "waits for its turn".to_owned()),
        BuildPhase::Pending | BuildPhase::Running => (State::Running, "running", String::new()),
        BuildPhase::Complete => (State::Ok, "done", String::new()),
        BuildPhase::Failed | BuildPhase::Error => (State::Fail, "failed", message()),
        BuildPhase::Cancelled => (State::Plain, "cancelled", message()),
    };
    Step {
        id: build.config_id.clone(),
        wave,
        kind: "build",
        project: build.project.clone(),
        name: build.config.clone(),
        number: Some(build.number),
        state,
        word,
        reason,
        started_at: build.started_at,
        finished_at: build.finished_at,
    }
}

fn rollout_step(rollout: &RolloutRow, wave: u32) -> Step {
    let message = rollout.message.clone().unwrap_or_default();
    let (state, word, reason) = match rollout.phase {
        RolloutPhase::Pending => (State::Running, "queued", "the engine was not told yet".to_owned()),
        RolloutPhase::Running => (State::Running, "running", message),
        RolloutPhase::Complete => (State::Ok, "done", message),
        RolloutPhase::Failed => (State::Fail, "failed", message),
        RolloutPhase::Cancelled => (State::Plain, "skipped", message),
    };
    Step {
        id: rollout.app_id.clone(),
        wave,
        kind: "rollout",
        project: rollout.project.clone(),
        name: rollout.app.clone(),
        number: Some(rollout.number),
        state,
        word,
        reason,
        started_at: rollout.started_at,
        finished_at: rollout.finished_at,
    }
}

/// A planned step that has no build or rollout in the cascade; `None` when nothing leads to it any more.
fn not_begun(planned: &PlanStep, before: &[&Step], is_behind: bool) -> Option<Step> {
    let names = |steps: &[&&Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>().join(", ");
    let open: Vec<_> = before.iter().filter(|step| !step.is_over()).collect();
    let broken: Vec<_> =
        before.iter().filter(|step| matches!(step.word, "failed" | "cancelled" | "not started")).collect();
    let (state, word, reason) = match (planned.why, &open[..], &broken[..]) {
        (Some("held"), ..) => (State::Held, "skipped", "held".to_owned()),
        (Some(why), ..) => (State::Plain, "skipped", why.to_owned()),
        (None, [], []) => match planned.waits.clone().filter(|_| is_behind) {
            Some(why) => (State::Held, "waiting", why),
            None => return None,
        },
        (None, [], broken) => (State::Plain, "not started", format!("{} did not succeed", names(broken))),
        (None, open, _) => (State::Plain, "waiting", format!("for {}", names(open))),
    };
    Some(Step {
        id: planned.id.clone(),
        wave: planned.wave,
        kind: if planned.replicas.is_some() { "rollout" } else { "build" },
        project: planned.project.clone(),
        name: planned.name.clone(),
        number: None,
        state,
        word,
        reason,
        started_at: None,
        finished_at: None,
    })
}

/// Which builds lead to which build or app: through their output tags and those that follow them.
struct Makers<'a> {
    graph: &'a Graph,
    /// Ids of configs by the tag they make.
    of_tag: BTreeMap<&'a str, Vec<&'a str>>,
    follows: BTreeMap<&'a str, &'a str>,
}

impl<'a> Makers<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut of_tag: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for config in &graph.configs {
            of_tag.entry(&config.output).or_default().push(&config.id);
        }
        let follows = graph.tags.iter().filter_map(|tag| Some((tag.id.as_str(), tag.follows.as_deref()?))).collect();
        Self { graph, of_tag, follows }
    }

    /// Ids of the configs whose images the config or app with that id takes in.
    fn before(&self, id: &str) -> Vec<&'a str> {
        let tags: Vec<&str> = match self.graph.configs.iter().find(|config| config.id == id) {
            Some(GraphConfig { inputs, .. }) => {
                inputs.iter().filter(|input| input.triggering).filter_map(|input| input.tag.as_deref()).collect()
            }
            None => self.graph.apps.iter().filter(|app| app.id == id).map(|app| app.tag.as_str()).collect(),
        };
        let mut found = Vec::new();
        for tag in tags {
            let mut at = Some(tag);
            // Follows form no cycles; the bound only guards against a database edited by hand.
            for _ in 0..64 {
                let Some(tag) = at else { break };
                found.extend(self.of_tag.get(tag).into_iter().flatten());
                at = self.follows.get(tag).copied();
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::testing::diamond;
    use crate::model::{Action, plan};

    fn build(config: &str, phase: BuildPhase) -> Build {
        let text = String::new;
        Build {
            id: text(),
            config_id: format!("c-{config}"),
            config: config.to_owned(),
            project_id: text(),
            project: "p".to_owned(),
            number: 2,
            phase,
            reason: None,
            message: Some("exit status 1".to_owned()),
            spec: text(),
            inputs: text(),
            revision: None,
            commit_requested: None,
            trigger_kind: text(),
            trigger_text: text(),
            actor_kind: text(),
            actor: text(),
            sequence: 1,
            cause: None,
            cascade_id: text(),
            cascade_number: None,
            rebuild_of: None,
            attempt: 1,
            steps: text(),
            output_digest: None,
            output_sequence: None,
            queued_at: 0,
            started_at: None,
            finished_at: None,
            cancel_requested_at: None,
            cancel_requested_by: None,
            log_lines: 0,
            version: 1,
        }
    }

    fn told(builds: &[Build]) -> Vec<String> {
        told_of(&diamond(), builds)
    }

    fn told_of(graph: &Graph, builds: &[Build]) -> Vec<String> {
        let plan = plan(graph, &Action::Move { tag: "base", dependents: true, decided: false });
        let steps = steps(graph, Some(&plan), builds, &[], false);
        steps
            .iter()
            .map(|step| format!("{} {} {} {}", step.wave, step.name, step.word, step.reason).trim().to_owned())
            .collect()
    }

    #[test]
    fn steps_of_then_are_in_the_order_of_their_requests() {
        let later = Build { sequence: 9, ..build("a", BuildPhase::Running) };
        let steps = steps_then(&[later, build("z", BuildPhase::Complete)], &[]);
        assert_eq!(steps.iter().map(|step| (step.name.as_str(), step.wave)).collect::<Vec<_>>(), [("z", 0), ("a", 0)]);
    }

    #[test]
    fn what_waits_says_for_what() {
        let told = told(&[build("x", BuildPhase::Complete), build("y", BuildPhase::Running)]);
        assert_eq!(told, ["1 x done", "1 y running", "2 z waiting for y", "3 web waiting for z"]);
    }

    #[test]
    fn what_did_not_start_says_why() {
        let told = told(&[build("x", BuildPhase::Failed), build("y", BuildPhase::Complete)]);
        assert_eq!(
            told,
            [
                "1 x failed exit status 1",
                "1 y done",
                "2 z not started x did not succeed",
                "3 web not started z did not succeed"
            ]
        );
    }

    #[test]
    fn what_nothing_leads_to_is_not_listed() {
        assert_eq!(
            told(&[build("x", BuildPhase::Complete), build("y", BuildPhase::Complete)]),
            ["1 x done", "1 y done"]
        );
    }

    #[test]
    fn what_waits_for_the_end_of_a_freeze_says_so() {
        let mut graph = diamond();
        graph.frozen.insert("p".into(), "frozen until noon".into());
        let done = [build("x", BuildPhase::Complete), build("y", BuildPhase::Complete)];
        assert_eq!(told_of(&graph, &done), ["1 x done", "1 y done"], "what has everything waits for nothing");
        for input in &mut graph.configs[2].inputs {
            input.used_digest = None;
        }
        assert_eq!(
            told_of(&graph, &done),
            ["1 x done", "1 y done", "2 z waiting frozen until noon", "3 web waiting for z"]
        );
    }
}
