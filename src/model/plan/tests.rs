//! What actions would do to small graphs.

use super::testing::diamond;
use super::*;

fn brief(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {} {}", step.wave, step.kind, step.name)).collect()
}

#[test]
fn a_diamond_builds_its_bottom_once_and_last() {
    let graph = diamond();
    let plan = plan(&graph, &Action::Move { tag: "base", dependents: true, decided: false });
    assert_eq!(brief(&plan), ["1 build x", "1 build y", "2 build z", "3 rollout web"]);
    assert_eq!((plan.waves(), plan.replicas(), plan.usual_ms()), (3, 2, Some(2000)));
}

#[test]
fn only_this_tag_touches_no_build() {
    let graph = diamond();
    let plan = plan(&graph, &Action::Move { tag: "base", dependents: false, decided: false });
    assert_eq!(brief(&plan), ["0 skip x", "0 skip y"]);
}

#[test]
fn holds_and_switched_off_triggers_end_the_way() {
    let mut graph = diamond();
    graph.apps[0].held = true;
    graph.configs[0].automatic = false;
    let plan = plan(&graph, &Action::Build { config: "c-y" });
    assert_eq!(brief(&plan), ["0 skip web", "1 build y", "2 build z"]);
    graph.tags[2].held = true;
    assert_eq!(brief(&super::plan(&graph, &Action::Build { config: "c-y" })), ["1 build y"]);
}

/// Names of the steps that wait, and that do not.
fn halves(graph: &Graph, action: &Action<'_>) -> (Vec<String>, Vec<String>) {
    let plan = plan(graph, action);
    let (waiting, going): (Vec<_>, Vec<_>) = plan.steps.into_iter().partition(|step| step.waits.is_some());
    assert!(waiting.iter().all(|step| step.waits.as_deref() == Some("frozen until noon")), "{waiting:?}");
    let names = |steps: Vec<PlanStep>| steps.into_iter().map(|step| step.name).collect();
    (names(waiting), names(going))
}

#[test]
fn in_a_freeze_what_a_push_leads_to_waits_and_what_somebody_decides_goes() {
    let mut graph = diamond();
    graph.frozen.insert("p".into(), "frozen until noon".into());
    let pushed = Action::Move { tag: "base", dependents: true, decided: false };
    let back = Action::Move { tag: "base", dependents: true, decided: true };
    let all = ["x", "y", "z", "web"].map(str::to_owned).to_vec();
    assert_eq!(halves(&graph, &pushed), (all.clone(), Vec::new()));
    assert_eq!(halves(&graph, &back), (Vec::new(), all));
    // The build that is started runs; what it leads to is a change like any other.
    let started = halves(&graph, &Action::Build { config: "c-x" });
    assert_eq!(started, (vec!["z".to_owned(), "web".to_owned()], vec!["x".to_owned()]));
}

#[test]
fn a_freeze_is_of_one_project_and_yields_to_nobody_of_another() {
    let mut graph = diamond();
    graph.apps[0].project = "q".into();
    graph.frozen.insert("q".into(), "frozen until noon".into());
    let back = Action::Move { tag: "base", dependents: true, decided: true };
    let (waiting, going) = halves(&graph, &back);
    assert_eq!((waiting, going.len()), (vec!["web".to_owned()], 3));
    graph.apps[0].held = true;
    assert_eq!(brief(&plan(&graph, &back))[0], "0 skip web");
    assert_eq!(plan(&graph, &back).waiting().count(), 0, "what is not touched does not wait");
}
