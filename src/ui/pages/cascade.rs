//! One cascade: its cause, how far it is, each step with its state and the reason when it does not run, and what it moved.

use std::collections::BTreeSet;

use leptos::prelude::*;

use super::cascade_steps::{Step, steps};
use super::cascades::{can_undo, number_of, path_of, pause_button, state};
use super::graph::mark_waves;
use super::past_cascades;
use super::sight::Sight;
use crate::model::{Action, Build, Graph, Outcome, Plan, RolloutRow, TagEvent, is_decided};
use crate::server::auth::Right;
use crate::server::store::CascadeSummary;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AsOf, Badge, Col, DataTable, DigestText, Tone, Who, duration_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::graph::{Direction, Drawing, Edge, Node, Picture, State, svg};
use crate::ui::shell::{Page, Section};

/// A cascade and all that belongs to it.
struct Open {
    project: InProject,
    cascade: CascadeSummary,
    graph: Graph,
    events: Vec<TagEvent>,
    /// Of these, what happened in the project.
    moves: Vec<TagEvent>,
    builds: Vec<Build>,
    rollouts: Vec<RolloutRow>,
    plan: Option<Plan>,
    /// Those that the viewer may see, and how many there are beside them: a cascade goes on into other projects.
    steps: Vec<Step>,
    others: Option<String>,
}

async fn open(cx: &Cx, right: Right) -> Result<Open, UiError> {
    let project = cx.project(right).await?;
    let store = cx.store();
    let cascade = store.cascade_summary(&project.name, number_of(cx)?).await?;
    let events = store.list_cascade_events(&cascade.id).await?;
    let moves = store.list_own_cascade_events(&cascade.id).await?;
    let builds = store.list_cascade_builds(&cascade.id).await?;
    let rollouts = store.list_cascade_rollouts(&cascade.id).await?;
    let graph = store.graph(&project.name, first_move(&events).map(|event| event.tag_id.as_str())).await?;
    let stopped = cascade.cancelled_at.is_some() || cascade.undone_at.is_some();
    let plan = match root(&cascade, &events, &builds).filter(|_| !stopped) {
        Some(action) => Some(store.plan(&action).await?),
        None => None,
    };
    let mut sight = Sight::of(cx, &project.name);
    let mut seen = Vec::new();
    for step in steps(&graph, plan.as_ref(), &builds, &rollouts, cascade.paused_at.is_some()) {
        if sight.reaches(&step.project).await {
            seen.push(step);
        }
    }
    let others = sight.in_words();
    Ok(Open { project, cascade, graph, events, moves, builds, rollouts, plan, steps: seen, others })
}

/// The first tag that it moved.
fn first_move(events: &[TagEvent]) -> Option<&TagEvent> {
    events.iter().filter(|event| event.outcome == Outcome::Moved).min_by_key(|event| event.sequence)
}

/// What began it, as something to plan with: a build somebody started, or the first tag that moved.
fn root<'a>(cascade: &CascadeSummary, events: &'a [TagEvent], builds: &'a [Build]) -> Option<Action<'a>> {
    let first_build = builds.iter().min_by_key(|build| build.sequence);
    let decided = is_decided(&cascade.kind, &cascade.actor_kind);
    match (first_build, first_move(events)) {
        (Some(build), _) if build.sequence == cascade.root_sequence => Some(Action::Build { config: &build.config_id }),
        (_, Some(event)) => Some(Action::Move { tag: &event.tag_id, dependents: true, decided }),
        (Some(build), None) => Some(Action::Build { config: &build.config_id }),
        (None, None) => None,
    }
}

/// `/p/:project/cascades/:cascade`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_cascades::one_page(cx, as_of).await;
    }
    let open = open(&cx, Right::View).await?;
    let path = path_of(&cx);
    let over = open.steps.iter().filter(|step| step.is_over()).count();
    let running = open.cascade.is_running() || over < open.steps.len();
    let progress = progress(&open, over);
    let drawing = drawing(&open);
    let drawing = drawing.map(|drawing| {
        view! { <div class="graph-wrap" tabindex="0" role="region" aria-label="What it reaches" inner_html=drawing></div> }
    });
    let body = view! {
        <div data-live="progress">{progress}</div>
        {drawing}
        <section class="stack gap-2">
            <h2>"Steps"</h2>
            <div data-live="steps" class="stack gap-2">
                {step_table(&open.steps, None)}
                {open.others.clone().map(|words| view! { <p class="muted">{words}</p> })}
            </div>
        </section>
        <section class="stack gap-2">
            <h2>"Tags it moved"</h2>
            <div data-live="moves">{moves(&open.project.name, &open.moves, None)}</div>
        </section>
    };
    let cascade = &open.cascade;
    let meta = view! {
        <span>{format!("{} by ", cascade.kind)} {cascade.actor_kind.parse().ok().map(|kind| view! { <Who kind name=cascade.actor.clone() /> })}</span>
        <Ago at=cascade.created_at />
        {cascade.undone_by.clone().map(|by| view! { <span>{format!("undone by {by}")}</span> })}
    };
    let mut page = Page::new(cascade.title.clone(), body)
        .kind("cascade")
        .within(&open.project, Section::Cascades)
        .crumb("Cascades", format!("/p/{}/cascades", open.project.name))
        .crumb(format!("#{}", cascade.number), path.clone())
        .beside(view! { <span data-live="state" role="status">{state(cascade)}</span> })
        .meta(meta);
    if open.project.can_edit() {
        page =
            page.actions(view! { <div class="cluster" data-live="buttons">{buttons(cascade, running, &path)}</div> });
    }
    Ok(page)
}

fn buttons(cascade: &CascadeSummary, running: bool, path: &str) -> AnyView {
    let live = running && cascade.cancelled_at.is_none() && cascade.undone_at.is_none();
    let pause = live.then(|| pause_button(cascade, path, "btn-primary"));
    let cancel = live.then(|| {
        view! {
            <a class="btn" href=format!("{path}/cancel")>
                "Cancel…"
            </a>
        }
    });
    let undo = can_undo(cascade)
        .then(|| view! { <Act action=format!("{path}/undo") label="Undo" class="" on="the whole cascade" /> });
    view! {
        {pause}
        {cancel}
        {undo}
    }
    .into_any()
}

/// `4 of 12 done, 1 failed (app-b)`
fn progress(open: &Open, over: usize) -> AnyView {
    if open.steps.is_empty() {
        let words = match open.others {
            Some(_) => "It started no builds and no rollouts in this project.",
            None => "It started no builds and no rollouts.",
        };
        return view! { <p class="muted">{words}</p> }.into_any();
    }
    let all = open.steps.len();
    let named = |words: &[&str], what: &str| {
        let names: Vec<&str> =
            open.steps.iter().filter(|step| words.contains(&step.word)).map(|step| step.name.as_str()).collect();
        if names.is_empty() { String::new() } else { format!(", {} {what} ({})", names.len(), names.join(", ")) }
    };
    let done = open.steps.iter().filter(|step| step.word == "done").count();
    let failed =
        format!("{}{}", named(&["failed"], "failed"), named(&["cancelled", "not started", "skipped"], "not done"));
    let usual = open.plan.as_ref().and_then(Plan::usual_ms).filter(|_| over < all);
    let usual =
        usual.filter(|ms| *ms > 0).map(|ms| format!("; usually {} in all", duration_words(ms))).unwrap_or_default();
    view! {
        <div class="stack gap-2">
            <p role="status">{format!("{done} of {all} done{failed}{usual}")}</p>
            <svg class="meter" width="100%" height="8" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
                <rect class="meter-fill" width=(over * 100 / all).to_string() height="8" />
            </svg>
        </div>
    }
    .into_any()
}

/// What the root reaches, each node with its step's state.
fn drawing(open: &Open) -> Option<String> {
    let mut picture = Picture::of(&open.graph, &open.project.name);
    if let Some(plan) = &open.plan {
        mark_waves(&mut picture, &open.graph, plan);
    }
    for step in &open.steps {
        for node in picture.nodes.iter_mut().filter(|node| node.id == step.id) {
            node.state = step.state;
            node.word = if step.word == "waiting" { format!("waiting {}", step.reason) } else { step.word.to_owned() };
            node.sub = node.word.clone();
        }
    }
    let first = first_move(&open.events);
    let build = open.builds.iter().min_by_key(|build| build.sequence).map(|build| &build.config_id);
    let root = match (build, first) {
        (Some(config), Some(_)) if open.builds.iter().any(|build| build.sequence == open.cascade.root_sequence) => {
            config.clone()
        }
        (_, Some(event)) => event.tag_id.clone(),
        (Some(config), None) => config.clone(),
        (None, None) => open.rollouts.first()?.app_id.clone(),
    };
    let key = picture.nodes.iter().find(|node| node.id == root)?.key.clone();
    let picture = picture.focused(&key, Direction::Down).collapsed(&key);
    let moved: BTreeSet<&str> =
        open.events.iter().filter(|event| event.outcome == Outcome::Moved).map(|event| event.tag_id.as_str()).collect();
    let done: BTreeSet<&str> =
        open.steps.iter().filter(|step| step.number.is_some()).map(|step| step.id.as_str()).collect();
    let ids: Vec<String> = picture.nodes.iter().map(|node| node.id.clone()).collect();
    let reached = |index: usize| moved.contains(ids[index].as_str()) || done.contains(ids[index].as_str());
    let passed = |edge: &Edge| reached(edge.from) && reached(edge.to);
    let project = open.project.name.clone();
    let link = |node: &Node| node.href.clone().unwrap_or_else(|| format!("/p/{project}/graph?node={}", node.key));
    let title = format!("What {} reaches: {} nodes, listed below as steps", open.cascade.title, picture.nodes.len());
    Some(svg(&picture, &Drawing { title: &title, selected: &key, link: &link, fit: false, passed: &passed }))
}

fn step_badge(step: &Step) -> AnyView {
    let tone = match step.state {
        State::Ok => Tone::Ok,
        State::Running => Tone::Running,
        State::Warn => Tone::Warn,
        State::Held => Tone::Held,
        State::Fail => Tone::Fail,
        State::Plain => Tone::Muted,
    };
    view! { <Badge tone text=step.word /> }.into_any()
}

/// Steps with how they stand. Links keep the moment that is looked back at; which of a plan's steps each was is not known of then.
pub fn step_table(steps: &[Step], as_of: Option<&AsOf>) -> AnyView {
    if steps.is_empty() {
        return view! { <p class="muted">"None."</p> }.into_any();
    }
    let rows: Vec<_> = steps
        .iter()
        .map(|step| {
            let number = step.number.map(|number| format!(" #{number}"));
            let took = step.started_at.zip(step.finished_at).map(|(from, to)| duration_words(to - from));
            let wave = as_of.is_none().then(|| {
                let wave = if step.wave == 0 { "—".to_owned() } else { step.wave.to_string() };
                view! { <td data-label="Step">{wave}</td> }
            });
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=AsOf::keep(as_of, &step.href())>
                            {step.name.clone()}
                            {number}
                        </a>
                        <span class="cell-sub">{step.kind}</span>
                    </th>
                    {wave}
                    <td data-label="State">
                        {step_badge(step)}
                        {(!step.reason.is_empty()).then(|| view! { <span class="cell-sub break">{step.reason.clone()}</span> })}
                    </td>
                    <td data-label="Took">{took}</td>
                </tr>
            }
        })
        .collect();
    let columns = ["What", "Step", "State", "Took"].into_iter().filter(|name| *name != "Step" || as_of.is_none());
    let columns: Vec<_> = columns.map(Col::Text).collect();
    view! { <DataTable columns>{rows}</DataTable> }.into_any()
}

/// What happened to tags, those of other projects with their project.
pub fn moves(project: &str, events: &[TagEvent], as_of: Option<&AsOf>) -> AnyView {
    if events.is_empty() {
        return view! { <p class="muted">"None."</p> }.into_any();
    }
    let rows: Vec<_> = events
        .iter()
        .map(|event| {
            let stream = format!("/p/{}/streams/{}", event.project, event.stream);
            let from = event.from_digest.clone().map_or_else(
                || view! { <span class="muted">"nothing"</span> }.into_any(),
                |digest| view! { <DigestText digest /> }.into_any(),
            );
            let to = event.digest.clone().map(|digest| {
                let href = AsOf::keep(as_of, &format!("{stream}/images/{digest}"));
                view! { <DigestText digest href /> }
            });
            let tag = AsOf::keep(as_of, &format!("{stream}/tags/{}", event.tag));
            let outcome = match event.outcome {
                Outcome::Moved => event.kind.to_string(),
                Outcome::Held => format!("{}, kept back: held", event.kind),
                Outcome::Rejected => format!("{}, skipped: rejected", event.kind),
                Outcome::Immutable => format!("{}, refused: the tag is immutable", event.kind),
                Outcome::OtherKind => format!("{}, refused: image and artifact do not share a tag", event.kind),
                Outcome::Deleted => "deleted".to_owned(),
            };
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=tag>
                            {event.stream_tag().title_in(project)}
                        </a>
                        <span class="cell-sub">{format!("#{}", event.number)}</span>
                    </th>
                    <td data-label="From">{from}</td>
                    <td data-label="To">{to}</td>
                    <td data-label="How">{outcome}</td>
                    <td data-label="By">
                        <Who kind=event.actor_kind name=event.actor.clone() />
                    </td>
                    <td data-label="When">
                        <Ago at=event.at />
                    </td>
                </tr>
            }
        })
        .collect();
    view! {
        <DataTable
            columns=&[Col::Text("Tag"), Col::Text("From"), Col::Text("To"), Col::Text("How"), Col::Text("By"), Col::Text("When")]
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

/// `/p/:project/cascades/:cascade/cancel`
pub async fn cancel_page(cx: Cx) -> PageResult {
    let open = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let names = |words: &[&str]| {
        let steps = open.steps.iter().filter(|step| words.contains(&step.word));
        let names: Vec<String> = steps.map(|step| format!("{} {}", step.kind, step.name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let body = view! {
        <form class="card stack" method="post">
            <dl class="facts">
                <dt>"Done"</dt>
                <dd>{names(&["done"])}</dd>
                <dt>"Running"</dt>
                <dd>{names(&["running", "queued"])}</dd>
                <dt>"Not begun"</dt>
                <dd>{names(&["waiting"])}</dd>
            </dl>
            {open.others.clone().map(|words| view! { <p class="muted">{words}</p> })}
            <fieldset class="stack gap-1">
                <legend>"And then"</legend>
                <label class="choice">
                    <input type="radio" name="then" value="stop" checked />
                    <span>"Stop"<span class="hint cell-sub">"Builds that run or wait are cancelled; what is done stays."</span></span>
                </label>
                <label class="choice">
                    <input type="radio" name="then" value="undo" />
                    <span>
                        "Stop and put back"
                        <span class="hint cell-sub">"Also every tag and app it moved goes back to what it was, without builds."</span>
                    </span>
                </label>
            </fieldset>
            <div class="form-actions">
                <a class="btn" href=path.clone()>
                    "Back"
                </a>
                <button class="btn btn-danger">"Cancel cascade"</button>
            </div>
        </form>
    };
    let title = format!("Cancel cascade {}?", open.cascade.number);
    Ok(Page::new(title, body)
        .kind("cascade")
        .within(&open.project, Section::Cascades)
        .crumb("Cascades", format!("/p/{}/cascades", open.project.name))
        .crumb(format!("#{}", open.cascade.number), path)
        .narrow())
}
