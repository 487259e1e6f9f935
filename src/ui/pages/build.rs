//! A build config: what it builds, what it takes in and whether that is current, its runs; and what its buttons post to.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::build_parts::{facts, inputs_table};
use super::builds::phase_badge;
use super::past_build;
use crate::model::{Build, BuildConfig, counted};
use crate::server::auth::Right;
use crate::server::store::BuildRequest;
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, Ago, AsOf, AsOfForm, Badge, Col, DataTable, DigestText, Empty, More, PageSize, Pager, TextField, Tone, Who,
    duration_words,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What a build's buttons post to; editing is in `build_form`, runs in `run`.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/builds/{build}/start", post(post_start))
        .route("/p/{project}/builds/{build}/start-with", post(post_start_with))
        .route("/p/{project}/builds/{build}/pause", post(post_pause))
        .route("/p/{project}/builds/{build}/resume", post(post_resume))
        .route("/p/{project}/builds/{build}/inspect", post(post_inspect))
        .route("/p/{project}/builds/{build}/delete", post(post_delete))
}

/// The build config of the path and the project it is in.
pub async fn open(cx: &Cx, right: Right) -> Result<(InProject, BuildConfig), UiError> {
    let project = cx.project(right).await?;
    let config = cx.store().config(&project.name, cx.param("build")).await?;
    Ok((project, config))
}

/// `/p/<project>/builds/<build>` of the request.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/builds/{}", cx.param("project"), cx.param("build"))
}

/// A page about one build config, below its list.
pub fn below(project: &InProject, page: Page) -> Page {
    page.within(project, Section::Builds).crumb("Builds", format!("/p/{}/builds", project.name))
}

/// `/p/:project/builds/:build`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_build::page(cx, as_of).await;
    }
    let (project, config) = open(&cx, Right::View).await?;
    let spec = config.spec().map_err(|error| UiError::Internal(error.to_string()))?;
    let inputs = cx.store().list_inputs(&config.id).await?;
    let size = PageSize::of(&cx);
    let mut runs = cx.store().list_builds(&config.id, cx.query("after").parse().ok(), size.limit()).await?;
    let newest = cx.store().find_build(&project.name, &config.name, config.last_number).await?;
    let more = size.cut(&mut runs);
    let next = runs.last().filter(|_| more).map(|run| run.number.to_string());
    let path = path_of(&cx);
    let runs = if runs.is_empty() {
        view! {
            <Empty heading="It has not run yet">
                <p>"Start build runs it now. It also runs by itself when an image it takes in moves."</p>
            </Empty>
        }
        .into_any()
    } else {
        runs_table(&path, runs, project.can_edit())
    };
    let body = view! {
        <section class="stack gap-2">
            <h2>"Inputs"</h2>
            {inputs_table(&project, &config, &inputs, cx.settings().registry_host())}
        </section>
        <section class="stack gap-2">
            <div class="cluster">
                <h2>"Runs"</h2>
                <AsOfForm />
            </div>
            <a class="pill-new" data-new-pill hidden href="">"New runs"</a>
            {runs}
            <Pager cx=cx.clone() next />
        </section>
        <section class="stack gap-2">
            <h2>"How it builds"</h2>
            <div class="card">{facts(&project, &config, &spec)}</div>
        </section>
    };
    let output = format!("{}:{}", config.output_stream, config.output_tag);
    let output_path = format!("/p/{}/streams/{}/tags/{}", project.name, config.output_stream, config.output_tag);
    let meta = view! {
        <span>"Makes "<a href=output_path>{output}</a></span>
        <span data-live="last">{newest.as_ref().map(|run| last_line(&path, run))}</span>
    };
    let mut page = below(&project, Page::new(config.name.clone(), body)).kind("build").meta(meta);
    if config.paused_at.is_some() {
        page = page.beside(view! { <Badge tone=Tone::Held text="Triggers paused" /> });
    }
    if project.can_edit() {
        page = page.actions(buttons(&config, newest.as_ref(), &path));
    }
    if let Some(problem) = &config.inspect_error {
        page = page.banner(unreadable(problem, &path, project.can_edit()));
    }
    Ok(page)
}

fn last_line(path: &str, run: &Build) -> AnyView {
    view! {
        {phase_badge(run.phase)}
        " "
        <a href=format!("{path}/runs/{}", run.number)>{format!("#{}", run.number)}</a>
    }
    .into_any()
}

fn buttons(config: &BuildConfig, newest: Option<&Build>, path: &str) -> AnyView {
    let under_way = newest.filter(|run| !run.phase.is_final());
    let primary = match under_way {
        Some(run) => cancel_button(run, path),
        None => view! { <Act action=format!("{path}/start") label="Start build" class="btn-primary" /> }.into_any(),
    };
    let rebuild = newest.filter(|run| run.phase.is_final()).map(|run| {
        view! { <Act action=format!("{path}/runs/{}/rebuild", run.number) label="Rebuild last inputs" class="" /> }
    });
    let another = under_way.map(|_| {
        view! {
            <form method="post" action=format!("{path}/start")>
                <button>"Start another build"</button>
            </form>
        }
    });
    let menu = menu(path, config.paused_at.is_some());
    view! {
        <div class="cluster" data-live="buttons">
            {primary}
            {rebuild}
        </div>
        <More on=config.name.clone()>{another} {menu}</More>
    }
    .into_any()
}

/// What every menu of a build config ends with.
pub fn menu(path: &str, paused: bool) -> AnyView {
    let toggle = if paused { ("resume", "Resume triggers") } else { ("pause", "Pause triggers") };
    view! {
        <a href=format!("{path}/start-with")>"Start with…"</a>
        <form method="post" action=format!("{path}/{}", toggle.0)>
            <button>{toggle.1}</button>
        </form>
        <a href=format!("{path}/edit")>"Edit…"</a>
        <hr />
        <a class="danger" href=format!("{path}/delete")>
            "Delete…"
        </a>
    }
    .into_any()
}

/// The button that stops a run, or the word that it was pressed.
pub fn cancel_button(run: &Build, path: &str) -> AnyView {
    if run.cancel_requested_at.is_some() {
        return view! {
            <button type="button" class="btn" aria-busy="true" aria-disabled="true">
                "Cancelling…"
            </button>
        }
        .into_any();
    }
    let action = format!("{path}/runs/{}/cancel", run.number);
    view! { <Act action label="Cancel" class="btn-primary" on=format!("#{}", run.number) /> }.into_any()
}

fn unreadable(problem: &str, path: &str, can_edit: bool) -> AnyView {
    let actions = can_edit.then(|| {
        view! {
            <div class="banner-actions">
                <Act action=format!("{path}/inspect") label="Read again" />
                <a class="btn btn-small" href=format!("{path}/edit")>
                    "Edit"
                </a>
            </div>
        }
    });
    view! {
        <section class="banner banner-fail" aria-label="Dockerfile" data-live="inspect">
            <strong>"Its Dockerfile could not be read"</strong>
            <p>{problem.to_owned()}</p>
            <p>"Until it can be read, nothing starts this build by itself. The inputs below are those last known."</p>
            {actions}
        </section>
    }
    .into_any()
}

fn runs_table(path: &str, runs: Vec<Build>, can_edit: bool) -> AnyView {
    let rows: Vec<_> = runs.into_iter().map(|run| run_row(path, &run, can_edit)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Text("Run"), Col::Text("Cause"), Col::Text("Commit"), Col::Text("Requested"), Col::Text("Took"),
                Col::Text("Image"), Col::Actions
            ]
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn run_row(path: &str, run: &Build, can_edit: bool) -> AnyView {
    let number = run.number;
    let href = format!("{path}/runs/{number}");
    let took = run.started_at.zip(run.finished_at).map(|(from, to)| duration_words(to - from));
    let commit = commit(run).map(|(commit, subject)| {
        let short = commit.get(..7).unwrap_or(&commit).to_owned();
        view! {
            <code title=commit>{short}</code>
            <span class="cell-sub">{subject}</span>
        }
    });
    let again = (can_edit && run.phase.is_final())
        .then(|| view! { <Act action=format!("{href}/rebuild") label="Rebuild" on=format!("#{number}") /> });
    let stop = (can_edit && !run.phase.is_final())
        .then(|| view! { <Act action=format!("{href}/cancel") label="Cancel" on=format!("#{number}") /> });
    view! {
        <tr data-row=run.id.clone()>
            <th scope="row" data-live=format!("run-{number}")>
                <a class="cell-main" href=href.clone()>
                    {format!("#{number}")}
                </a>
                " "
                {phase_badge(run.phase)}
            </th>
            <td data-label="Cause">{run.trigger_text.clone()}</td>
            <td data-label="Commit" data-live=format!("commit-{number}")>
                {commit}
            </td>
            <td data-label="Requested">
                <Ago at=run.queued_at />
                <span class="cell-sub">
                    {run.actor_kind.parse().ok().map(|kind| view! { <Who kind name=run.actor.clone() /> })}
                </span>
            </td>
            <td data-label="Took" data-live=format!("took-{number}")>
                {took}
            </td>
            <td data-label="Image" data-live=format!("image-{number}")>
                {run.output_digest.clone().map(|digest| view! { <DigestText digest /> })}
            </td>
            <td data-live=format!("actions-{number}")>
                <div class="row-actions">
                    <a class="btn btn-small" href=format!("{href}#end")>
                        "Log"
                        <span class="visually-hidden">{format!(" of #{number}")}</span>
                    </a>
                    {again}
                    {stop}
                </div>
            </td>
        </tr>
    }
    .into_any()
}

/// The commit a run built and its subject line, once they are known.
pub fn commit(run: &Build) -> Option<(String, String)> {
    let revision: serde_json::Value =
        run.revision.as_deref().and_then(|revision| serde_json::from_str(revision).ok()).unwrap_or_default();
    let commit = revision["commit"].as_str().map(str::to_owned).or_else(|| run.commit_requested.clone())?;
    Some((commit, revision["message"].as_str().unwrap_or_default().to_owned()))
}

/// `/p/:project/builds/:build/start-with`
pub async fn start_with_page(cx: Cx) -> PageResult {
    let (project, config) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let spec = config.spec().map_err(|error| UiError::Internal(error.to_string()))?;
    let usual = spec
        .source
        .git
        .as_ref()
        .and_then(|git| git.reference.clone())
        .unwrap_or_else(|| "the default branch".to_owned());
    let form = if spec.source.git.is_some() {
        view! {
            <form class="card stack" method="post">
                <TextField
                    name="commit"
                    label="Commit, branch or tag"
                    autofocus=true
                    maxlength=200
                    hint=format!("Built this once; without it, {usual} is built. The images it takes in are the newest ones.")
                />
                <div class="form-actions">
                    <a class="btn" href=path.clone()>
                        "Cancel"
                    </a>
                    <button class="btn btn-primary">"Start build"</button>
                </div>
            </form>
        }
        .into_any()
    } else {
        let path = path.clone();
        view! {
            <Empty heading="There is nothing to choose">
                <p>"This build has no git repository, so there is no commit to choose: Start build on its page builds it."</p>
                <p>
                    <a class="btn" href=path>
                        "Back to the build"
                    </a>
                </p>
            </Empty>
        }
        .into_any()
    };
    Ok(below(&project, Page::new(format!("Start {} with…", config.name), form))
        .kind("build")
        .crumb(config.name, path)
        .narrow())
}

/// `/p/:project/builds/:build/delete`
pub async fn delete_page(cx: Cx) -> PageResult {
    let (project, config) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let body = view! {
        <form class="card stack" method="post">
            <p>
                {format!(
                    "The build is removed with its history ({}, with logs) and cannot be brought back. The images it made stay in {}:{}, with their history.",
                    counted(config.last_number, "run"),
                    config.output_stream,
                    config.output_tag,
                )}
            </p>
            <div class="form-actions">
                <a class="btn" href=path.clone()>
                    "Cancel"
                </a>
                <button class="btn btn-danger">"Delete build"</button>
            </div>
        </form>
    };
    Ok(below(&project, Page::new(format!("Delete {}?", config.name), body))
        .kind("build")
        .crumb(config.name, path)
        .narrow())
}

async fn start(cx: &Cx, commit: Option<String>) -> Result<String, UiError> {
    let project = cx.project(Right::Edit).await?;
    let request = BuildRequest { commit, ..BuildRequest::manual(cx.actor()?) };
    let build = cx.store().start_build(&project.name, cx.param("build"), request).await?;
    Ok(format!("{}/runs/{}", path_of(cx), build.number))
}

async fn post_start(cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, &path_of(&cx), start(&cx, None)).await
}

async fn post_start_with(cx: Cx, fields: Fields) -> Response {
    let work = async {
        let commit = fields.some("commit").map(str::to_owned);
        if commit.as_deref().is_some_and(|commit| commit.starts_with('-') || commit.contains(char::is_whitespace)) {
            return Err(UiError::field(
                "commit",
                "A commit is 7 to 40 hex digits; a branch or tag is a name without spaces",
            ));
        }
        start(&cx, commit).await
    };
    cx.submit(&fields, &format!("{}/start-with", path_of(&cx)), work).await
}

async fn pause(cx: &Cx, fields: &Fields, paused: bool) -> Response {
    let path = path_of(cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().pause_config(&project.name, cx.param("build"), paused, &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(fields, &path, work).await
}

async fn post_pause(cx: Cx, fields: Fields) -> Response {
    pause(&cx, &fields, true).await
}

async fn post_resume(cx: Cx, fields: Fields) -> Response {
    pause(&cx, &fields, false).await
}

async fn post_inspect(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().reinspect_config(&project.name, cx.param("build")).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().delete_config(&project.name, cx.param("build"), &cx.actor()?).await?;
        Ok(format!("/p/{}/builds", project.name))
    };
    cx.submit(&fields, &format!("{}/delete", path_of(&cx)), work).await
}
