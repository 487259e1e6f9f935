//! One run of a build: where it came from, how far it is, what went in and came out, and its log.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::build::{below, cancel_button, commit, path_of};
use super::builds::phase_badge;
use super::past_run;
use super::run_log::{self, Window};
use super::sight::Sight;
use crate::model::{Action, Build, BuildPhase, BuildStep, ResolvedInput, TagEvent, counted, now};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AsOf, DigestText, Who, duration_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// Links of a cause chain; more would be a loop.
const LONGEST_CHAIN: usize = 8;

/// What a run's buttons post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/builds/{build}/runs/{number}/cancel", post(post_cancel))
        .route("/p/{project}/builds/{build}/runs/{number}/rebuild", post(post_rebuild))
        .merge(run_log::router())
}

/// The run of the path and the project it is in, as it is now.
pub async fn open(cx: &Cx, right: Right) -> Result<(InProject, Build), UiError> {
    if !AsOf::text(cx).is_empty() {
        let message = "Only the page of a run knows the past: its log is told without a moment";
        return Err(UiError::field(AsOf::NAME, message));
    }
    let project = cx.project(right).await?;
    let (config, number) = (cx.param("build"), cx.param("number"));
    let missing = || UiError::not_found("Run", &format!("{config} #{number}"));
    let known = number.parse().map_err(|_| missing())?;
    let run = cx.store().find_build(&project.name, config, known).await?.ok_or_else(missing)?;
    Ok((project, run))
}

/// `/p/:project/builds/:build/runs/:number`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_run::page(cx, as_of).await;
    }
    let (project, run) = open(&cx, Right::View).await?;
    let path = path_of(&cx);
    let here = format!("{path}/runs/{}", run.number);
    let window = Window::of(&cx, &run).await?;
    let chain = chain(&cx, &project, &run, None).await?;
    let failed = matches!(run.phase, BuildPhase::Failed | BuildPhase::Error);
    let failure = if failed { Some(failure(&cx, &project, &run, &path).await?) } else { None };
    let config_path = path.clone();
    let body = view! {
        <div data-live="steps">{steps(&run, Some(""))}</div>
        <div class="split">
            <section class="stack gap-2" id="log-section">
                <h2>"Log"</h2>
                {window.view(&run, &here)}
            </section>
            <aside class="stack">
                <section class="card">
                    <h2>"Run"</h2>
                    <div data-live="facts">{facts(&project, &run, None)}</div>
                </section>
                <section class="card">
                    <h2>"Inputs"</h2>
                    <div data-live="inputs">{inputs(&project, &run, None)}</div>
                </section>
                <section class="card">
                    <h2>"Output"</h2>
                    <div data-live="output">{output(&project, &run, None)}</div>
                </section>
            </aside>
        </div>
    };
    let badge = phase_badge(run.phase);
    let mut page = below(&project, Page::new(format!("{} #{}", run.config, run.number), body))
        .kind("build run")
        .crumb(run.config.clone(), config_path)
        .beside(view! { <span data-live="phase" role="status">{badge}</span> })
        .meta(chain);
    if project.can_edit() {
        page = page.actions(view! { <div class="cluster" data-live="buttons">{buttons(&run, &path)}</div> });
    }
    if let Some(failure) = failure {
        page = page.banner(failure);
    }
    Ok(page)
}

fn buttons(run: &Build, path: &str) -> AnyView {
    if !run.phase.is_final() {
        return cancel_button(run, path);
    }
    view! {
        <Act action=format!("{path}/runs/{}/rebuild", run.number) label="Rebuild" class="btn-primary" />
        <Act action=format!("{path}/start") label="Start build" class="" />
    }
    .into_any()
}

/// What led to this run, from the root on, as far as the viewer may see it. Like the parts below it, its links keep the moment that is looked
/// back at.
pub async fn chain(cx: &Cx, project: &InProject, run: &Build, as_of: Option<&AsOf>) -> Result<AnyView, UiError> {
    let mut sight = Sight::of(cx, &project.name);
    let mut links = vec![view! { <li>"this run"</li> }.into_any()];
    let (mut cause, mut last) = (run.cause, run.trigger_text.clone());
    let mut actor = (run.actor_kind.parse().ok(), run.actor.clone());
    while let Some(sequence) = cause.filter(|_| links.len() < LONGEST_CHAIN) {
        let Some(event) = cx.store().find_event(sequence).await? else { break };
        if !sight.reaches(&event.project).await {
            links.extend(sight.in_words().map(|words| view! { <li class="muted">{words}</li> }.into_any()));
            break;
        }
        links.push(event_link(&project.name, &event, as_of));
        last = format!("{} of {}", event.kind, event.stream_tag().title_in(&project.name));
        // Where the run that moved the tag was deleted, the row of the history tells what is left to tell.
        cause = event.cause;
        actor = (Some(event.actor_kind), event.actor.clone());
        if let Some(build) = run_of(cx, &event, as_of).await? {
            links.push(run_link(&build, as_of));
            (cause, last) = (build.cause, build.trigger_text);
            actor = (build.actor_kind.parse().ok(), build.actor);
        }
    }
    links.reverse();
    let who = actor.0.map(|kind| view! { <Who kind name=actor.1 /> });
    let cascade = run.cascade_number.map(|number| {
        let href = AsOf::keep(as_of, &format!("/p/{}/cascades/{number}", project.name));
        view! { <a href=href>{format!("Cascade {number}")}</a> }
    });
    Ok(view! {
        <nav class="breadcrumb" aria-label="Cause">
            <ol>
                <li>{last} " " {who}</li>
                {links}
            </ol>
        </nav>
        {cascade}
    }
    .into_any())
}

/// The run that moved a tag, if one did and it is there.
async fn run_of(cx: &Cx, event: &TagEvent, as_of: Option<&AsOf>) -> Result<Option<Build>, UiError> {
    let Some(id) = &event.build_id else { return Ok(None) };
    Ok(match as_of {
        None => cx.store().find_build_by_id(id).await?,
        Some(as_of) => cx.store().find_build_by_id_then(id, &as_of.0).await?,
    })
}

/// The row of a tag's history; a tag of another project than `own` is named with it.
fn event_link(own: &str, event: &TagEvent, as_of: Option<&AsOf>) -> AnyView {
    let href = format!("/p/{}/streams/{}/tags/{}", event.project, event.stream, event.tag);
    let (href, name) = (AsOf::keep(as_of, &href), event.stream_tag().title_in(own));
    view! { <li><a href=href>{name}</a>{format!(" #{}", event.number)}</li> }.into_any()
}

fn run_link(run: &Build, as_of: Option<&AsOf>) -> AnyView {
    let href = format!("/p/{}/builds/{}/runs/{}", run.project, run.config, run.number);
    let href = AsOf::keep(as_of, &href);
    view! { <li><a href=href>{format!("{} #{}", run.config, run.number)}</a></li> }.into_any()
}

/// Reason codes in words; what the builder said comes with them.
pub fn reason_words(reason: &str) -> &'static str {
    match reason {
        "FetchSourceFailed" => "The source could not be fetched.",
        "PullBuilderImageFailed" => "An image it takes in could not be pulled.",
        "DockerBuildFailed" => "A step of the Dockerfile failed.",
        "PushImageToRegistryFailed" => "The image was made, but the registry did not take it.",
        "OutOfMemoryKilled" => "Memory ran out.",
        "BuildPodDeleted" => "The server stopped while it ran.",
        "CannotCreateBuildPod" => "The build could not be begun on this server.",
        "InvalidOutputReference" => "Its output is no stream's tag.",
        "CancelledBuild" => "It was cancelled.",
        _ => "It did not end well.",
    }
}

/// Why it failed, the last lines it wrote, what did not start because of it, and what to do.
async fn failure(cx: &Cx, project: &InProject, run: &Build, path: &str) -> Result<AnyView, UiError> {
    let lines = cx.store().read_log(&run.id, (run.log_lines - 19).max(1), 20).await?;
    let plan = cx.store().plan(&Action::Build { config: &run.config_id }).await?;
    let (builds, apps) = (plan.builds().count().saturating_sub(1), plan.rollouts().count());
    let dependents = match (builds, apps) {
        (0, 0) => None,
        (builds, apps) => Some(format!("Not started because of it: {}.", builds_and_apps(builds, apps))),
    };
    let reason = run.reason.clone().unwrap_or_default();
    let message = run.message.clone().map(|message| view! { <p class="break">{message}</p> });
    let lines: String = lines.iter().map(|(number, line)| run_log::line(*number, line, true)).collect();
    // A short log stands whole below.
    let lines = (run.log_lines > 20).then(|| {
        view! {
            <details open>
                <summary>"The last lines of its log"</summary>
                <div class="log" inner_html=lines></div>
            </details>
        }
    });
    let buttons = project.can_edit().then(|| {
        view! {
            <div class="banner-actions">
                <Act action=format!("{path}/runs/{}/rebuild", run.number) label="Retry" />
            </div>
        }
    });
    Ok(view! {
        <section class="banner banner-fail" aria-label="Failure">
            <strong>{reason_words(&reason)}</strong>
            {message}
            {dependents.map(|words| view! { <p>{words}</p> })}
            {lines}
            {buttons}
            <small><code>{reason}</code></small>
        </section>
    }
    .into_any())
}

/// `3 builds and 1 app`
fn builds_and_apps(builds: usize, apps: usize) -> String {
    let some = |count: usize, what: &str| (count > 0).then(|| counted(count, what));
    [some(builds, "build"), some(apps, "app")].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

/// What it did, each step with the way to its lines of the log, which is on the page `log`.
pub fn steps(run: &Build, log: Option<&str>) -> AnyView {
    let steps: Vec<BuildStep> = run.steps().unwrap_or_default();
    if steps.is_empty() {
        let words = match run.phase {
            BuildPhase::New => "It waits for its turn.",
            BuildPhase::Pending => "It is about to begin.",
            _ => "",
        };
        return if words.is_empty() { ().into_any() } else { view! { <p class="muted">{words}</p> }.into_any() };
    }
    let last = steps.len() - 1;
    let items: Vec<_> = steps
        .iter()
        .enumerate()
        .map(|(index, step)| {
            let end = step.finished_at.or(run.finished_at);
            let took = duration_words(end.unwrap_or_else(now) - step.started_at);
            let phase = match (end, index == last) {
                (None, _) => BuildPhase::Running,
                (Some(_), true) if run.phase.is_final() => run.phase,
                _ => BuildPhase::Complete,
            };
            let word = match phase {
                BuildPhase::Running => "running",
                BuildPhase::Complete => "done",
                BuildPhase::Cancelled => "cancelled",
                _ => "failed",
            };
            let from = (step.first_line - 5).max(1);
            let name = step.name.clone();
            let name = match log {
                Some(page) => {
                    let href = format!("{page}?from={from}#L{}", step.first_line.max(1));
                    view! { <a href=href>{name}</a> }.into_any()
                }
                None => name.into_any(),
            };
            view! {
                <li>
                    {name}
                    <span class="muted small">{format!("{word}, {took}")}</span>
                </li>
            }
        })
        .collect();
    view! {
        <ol class="steps" aria-label="Steps">
            {items}
        </ol>
    }
    .into_any()
}

/// Who asked for it and why, and how long it took.
pub fn facts(project: &InProject, run: &Build, as_of: Option<&AsOf>) -> AnyView {
    let mut facts: Vec<(&str, AnyView)> = vec![("Cause", run.trigger_text.clone().into_any())];
    if let Ok(kind) = run.actor_kind.parse() {
        facts.push(("By", view! { <Who kind name=run.actor.clone() /> }.into_any()));
    }
    if let Some((commit, subject)) = commit(run) {
        let short = commit.get(..12).unwrap_or(&commit).to_owned();
        let author = run.revision.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let author = author.and_then(|revision| revision["author"].as_str().map(str::to_owned));
        let author = author.map(|author| view! { <span class="cell-sub">{author}</span> });
        let shown = view! {
            <code title=commit>{short}</code>
            " "
            {subject}
            {author}
        };
        facts.push(("Commit", shown.into_any()));
    }
    facts.push(("Requested", view! { <Ago at=run.queued_at /> }.into_any()));
    if let Some(started) = run.started_at {
        facts.push(("Waited", duration_words(started - run.queued_at).into_any()));
        let (words, took) = match run.finished_at {
            Some(finished) => ("Took", finished - started),
            None => ("Runs for", as_of.map_or_else(now, |as_of| as_of.0.end) - started),
        };
        facts.push((words, duration_words(took).into_any()));
    }
    if run.attempt > 1 {
        facts.push(("Try", format!("{} of the same request", super::builds::ordinal(run.attempt)).into_any()));
    }
    if let Some(number) = run.rebuild_of {
        let href = AsOf::keep(as_of, &format!("/p/{}/builds/{}/runs/{number}", project.name, run.config));
        facts.push(("Rebuild of", view! { <a href=href>{format!("#{number}")}</a> }.into_any()));
    }
    if let (Some(by), Some(at)) = (&run.cancel_requested_by, run.cancel_requested_at) {
        facts.push(("Cancelled", view! { {format!("by {by}, ")} <Ago at /> }.into_any()));
    }
    let rows: Vec<_> = facts
        .into_iter()
        .map(|(words, value)| {
            view! {
                <dt>{words}</dt>
                <dd>{value}</dd>
            }
        })
        .collect();
    view! { <dl class="facts">{rows}</dl> }.into_any()
}

/// The images that it took in.
pub fn inputs(project: &InProject, run: &Build, as_of: Option<&AsOf>) -> AnyView {
    let inputs: Vec<ResolvedInput> = run.inputs().unwrap_or_default();
    if inputs.is_empty() {
        let words = match (run.phase, as_of) {
            (phase, _) if phase.is_final() => "It took in no image.",
            (BuildPhase::New, Some(_)) => "It had taken in nothing yet.",
            _ => "Found when the Dockerfile is read.",
        };
        return view! { <p class="muted">{words}</p> }.into_any();
    }
    let items: Vec<_> = inputs
        .into_iter()
        .map(|input| {
            let name = match &input.tag {
                Some(tag) => {
                    let href = format!("/p/{}/streams/{}/tags/{}", tag.project, tag.stream, tag.tag);
                    let (href, name) = (AsOf::keep(as_of, &href), tag.title_in(&project.name));
                    view! { <a href=href>{name}</a> }.into_any()
                }
                None => view! { <span class="break">{input.reference.clone()}</span> }.into_any(),
            };
            view! {
                <li>
                    {name} " " <code>{input.kind.as_str()}</code>
                    {input.digest.map(|digest| view! { <div><DigestText digest /></div> })}
                </li>
            }
        })
        .collect();
    view! { <ul class="stack gap-2">{items}</ul> }.into_any()
}

/// The image that came out.
pub fn output(project: &InProject, run: &Build, as_of: Option<&AsOf>) -> AnyView {
    let Ok(spec) = run.spec() else { return ().into_any() };
    let tag = format!("{}:{}", spec.output_stream, spec.output_tag);
    let stream = format!("/p/{}/streams/{}", project.name, spec.output_stream);
    let tag_path = AsOf::keep(as_of, &format!("{stream}/tags/{}", spec.output_tag));
    let image = match &run.output_digest {
        Some(digest) => {
            let href = AsOf::keep(as_of, &format!("{stream}/images/{digest}"));
            view! { <div><DigestText digest=digest.clone() href /></div> }.into_any()
        }
        None if run.phase.is_final() => view! { <p class="muted">"No image came out."</p> }.into_any(),
        None => view! { <p class="muted">"The image comes when the run ends."</p> }.into_any(),
    };
    view! {
        <a href=tag_path>{tag}</a>
        {image}
    }
    .into_any()
}

async fn post_cancel(cx: Cx, fields: Fields) -> Response {
    let here = cx.path().trim_end_matches("/cancel").to_owned();
    let work = async {
        let (project, run) = open(&cx, Right::Edit).await?;
        cx.store().cancel_build(&project.name, &run.config, run.number, &cx.actor()?).await?;
        Ok(here.clone())
    };
    cx.submit(&fields, &here, work).await
}

async fn post_rebuild(cx: Cx, fields: Fields) -> Response {
    let here = cx.path().trim_end_matches("/rebuild").to_owned();
    let work = async {
        let (project, run) = open(&cx, Right::Edit).await?;
        let build = cx.store().rebuild(&project.name, &run.config, run.number, cx.actor()?).await?;
        Ok(format!("{}/runs/{}", path_of(&cx), build.number))
    };
    cx.submit(&fields, &here, work).await
}
