//! An app: what was observed of each replica, what is wanted, its rollouts with a way back on every row; and what its buttons post to.

use std::time::Duration;

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::app_parts::{facts, replicas};
use super::apps::{kind_words, phase_badge};
use super::hold_end::until_form;
use super::past_app;
use super::resolution;
use super::standing::Standing;
use super::tag::check_reason;
use crate::model::{App, Cascade, Hold, HoldUntil, Lookup, RolloutRow, counted};
use crate::server::auth::Right;
use crate::server::store::Depth;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AsOf, AsOfForm, Col, DataTable, DigestText, Empty, More, PageSize, Pager, Who};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What an app's buttons post to; rolling back is in `app_rollback`, editing in `app_form`.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/apps/{app}/deploy", post(post_deploy))
        .route("/p/{project}/apps/{app}/hold", post(post_hold))
        .route("/p/{project}/apps/{app}/resume", post(post_resume))
        .route("/p/{project}/apps/{app}/explain", post(post_explain))
        .route("/p/{project}/apps/{app}/undo", post(post_undo))
        .route("/p/{project}/apps/{app}/delete", post(post_delete))
}

/// The app of the path and the project it is in.
pub async fn open(cx: &Cx, right: Right) -> Result<(InProject, App), UiError> {
    let project = cx.project(right).await?;
    let app = cx.store().app(&project.name, cx.param("app")).await?;
    Ok((project, app))
}

/// `/p/<project>/apps/<app>` of the request.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/apps/{}", cx.param("project"), cx.param("app"))
}

/// A page about one app, below the list of them.
pub fn below(project: &InProject, page: Page) -> Page {
    page.within(project, Section::Apps).crumb("Apps", format!("/p/{}/apps", project.name))
}

/// `/p/:project/apps/:app`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_app::page(cx, as_of).await;
    }
    let (project, app) = open(&cx, Right::View).await?;
    let path = path_of(&cx);
    let standing = Standing::of(&app);
    let hold = cx.store().app_hold(&app.id).await?;
    let cascade = match hold.as_ref().and_then(|hold| hold.cascade_id.as_deref()) {
        Some(id) => cx.store().find_cascade(id).await?,
        None => None,
    };
    let spec = app.spec().map_err(|error| UiError::Internal(error.to_string()))?;
    let size = PageSize::of(&cx);
    let mut rollouts = cx.store().list_rollouts(&app.id, cx.query("after").parse().ok(), size.limit()).await?;
    let more = size.cut(&mut rollouts);
    let next = rollouts.last().filter(|_| more).map(|last| last.number.to_string());
    let rollouts =
        if rollouts.is_empty() { no_rollouts(&app) } else { rollouts_table(&project, &app, &path, &rollouts) };
    let depth = depth_words(&cx.store().app_depth(&app).await?);
    let observed = app.observed_at.map(|at| view! { <span class="muted small">"seen "<Ago at /></span> });
    let tag = cx.store().tag_by_id(&app.tag_id).await?;
    let resolved = cx.store().resolve_tag(&tag, Lookup::Recent, cx.settings().registry_host()).await?;
    let body = view! {
        <div class="split">
            <section class="stack gap-2">
                <div class="cluster">
                    <h2>"Replicas"</h2>
                    {observed}
                </div>
                <div data-live="replicas">{replicas(&app, &standing)}</div>
                <h2>"Which image"</h2>
                <div class="card">{resolution::why(&resolved)}</div>
            </section>
            <aside class="card">
                <h2>"How it runs"</h2>
                {facts(&app, &spec)}
            </aside>
        </div>
        <section class="stack gap-2" id="rollouts">
            <div class="cluster">
                <h2>"Rollouts"</h2>
                {depth}
                <AsOfForm />
            </div>
            <a class="pill-new" data-new-pill hidden href="">"New rollouts"</a>
            {rollouts}
            <Pager cx=cx.clone() next />
        </section>
    };
    let badges = standing.badges(&app);
    let mut page = below(&project, Page::new(app.name.clone(), body))
        .kind("app")
        .beside(view! { <span data-live="state" role="status">{badges}</span> })
        .meta(view! { <span class="cluster" data-live="meta">{meta(&app, &standing)}</span> });
    if project.can_edit() {
        page = page.actions(buttons(&app, &path));
    }
    if let Some(problem) = engine_problem(&cx, &app).await {
        page = page.banner(problem);
    }
    if let Some(hold) = &hold {
        page = page.banner(held_banner(&project, &app, &path, hold, cascade.as_ref()));
    }
    Ok(page)
}

/// How many of the versions that the app may go back to are whole, and since when that is known.
fn depth_words(depth: &Depth) -> Option<AnyView> {
    let at = depth.verified_at?;
    let class = if depth.whole < depth.of { "error" } else { "muted small" };
    Some(view! { <span class=class>{format!("Rollback depth {}/{}, verified ", depth.whole, depth.of)}<Ago at /></span> }.into_any())
}

fn meta(app: &App, standing: &Standing) -> AnyView {
    let tag = format!("/p/{}/streams/{}/tags/{}", app.image_project, app.image_stream, app.image_tag);
    let digests = standing.running();
    let running: Vec<_> = digests.into_iter().map(|digest| view! { <DigestText digest /> }).collect();
    let running = if running.is_empty() {
        view! { <span>"nothing seen running"</span> }.into_any()
    } else {
        view! { "runs " {running} }.into_any()
    };
    let wanted = app.wanted_digest.clone().filter(|wanted| standing.running() != [wanted.as_str()]);
    view! {
        <span>"Runs the image of "<a href=tag>{format!("{}:{}", app.image_stream, app.image_tag)}</a></span>
        <span class="cluster">{running}</span>
        {wanted.map(|digest| view! { <span class="cluster">"wanted " <DigestText digest /></span> })}
    }
    .into_any()
}

fn buttons(app: &App, path: &str) -> AnyView {
    let failed = app.wanted_phase.as_deref() == Some("Failed");
    let deploy = (app.is_behind() || failed)
        .then(|| view! { <Act action=format!("{path}/deploy") label="Deploy newest now" class="" /> });
    let hold = match app.held_since {
        Some(_) => view! { <Act action=format!("{path}/resume") label="Resume" class="" /> },
        None => view! { <Act action=format!("{path}/hold") label="Hold" class="" /> },
    };
    let menu = view! {
        <a href=format!("{path}/edit")>"Edit…"</a>
        <a href=format!("/p/{}/graph?node=app:{}&focus=up", app.project, app.name)>"Graph"</a>
        <hr />
        <a class="danger" href=format!("{path}/delete")>
            "Delete…"
        </a>
    };
    view! {
        <a class="btn btn-primary" href=format!("{path}/rollback")>
            "Roll back…"
        </a>
        <div class="cluster" data-live="buttons">
            {deploy}
            {hold}
        </div>
        <More on=app.name.clone()>{menu}</More>
    }
    .into_any()
}

/// Why nothing can be seen or done on the engine, with what helps.
async fn engine_problem(cx: &Cx, app: &App) -> Option<AnyView> {
    let words = match (&cx.state.app.rollout, &app.observe_error) {
        (None, _) => {
            "Rollouts are switched off on this server: start it with --rollout docker (or kubernetes).".to_owned()
        }
        (Some(_), None) => return None,
        (Some(engine), Some(error)) => {
            let check = tokio::time::timeout(Duration::from_secs(2), engine.check()).await;
            match check {
                Ok(Err(advice)) => advice,
                Ok(Ok(())) | Err(_) => error.clone(),
            }
        }
    };
    let last = match app.observed_at {
        Some(at) => view! { <p>"What is shown was seen "<Ago at />"."</p> }.into_any(),
        None => view! { <p>"Nothing of this app was seen yet. What is asked for now is done as soon as the engine answers."</p> }.into_any(),
    };
    Some(
        view! {
            <section class="banner banner-warn" aria-label="Engine" data-live="engine">
                <strong>"Apps cannot be run or seen just now"</strong>
                <p class="break">{words}</p>
                {last}
            </section>
        }
        .into_any(),
    )
}

/// Who holds it since when and why, what waits, and the ways on: undo what made the hold, or resume.
fn held_banner(project: &InProject, app: &App, path: &str, hold: &Hold, cascade: Option<&Cascade>) -> AnyView {
    let waits = match app.tag_digest.clone().filter(|_| app.is_behind()) {
        Some(digest) => {
            let href = format!("/p/{}/streams/{}/images/{digest}", app.image_project, app.image_stream);
            view! { <p>"1 newer waiting: "<DigestText digest href />" Resume rolls it out; Deploy newest now does so once and keeps the hold."</p> }.into_any()
        }
        None => {
            let until = hold.until().words();
            view! { <p>"Nothing newer waits. Moves of its tag do not roll it out "{until}"."</p> }.into_any()
        }
    };
    let what = cascade.map(|cascade| {
        let href = format!("/p/{}/cascades/{}", project.name, cascade.number);
        view! { ": "<a href=href>{format!("cascade {}, {}", cascade.number, cascade.title)}</a> }
    });
    let actions = project.can_edit().then(|| {
        let undo = cascade.map(|_| view! { <Act action=format!("{path}/undo") label="Undo" on="the rollback" /> });
        let explain = hold.reason.is_none().then(|| {
            view! {
                <form class="cluster" method="post" action=format!("{path}/explain")>
                    <input class="input w-64" name="reason" maxlength="300" placeholder="Why?" aria-label="Reason" required />
                    <button class="btn btn-small">"Add a reason"</button>
                </form>
            }
        });
        view! {
            <div class="banner-actions">
                {undo}
                <Act action=format!("{path}/resume") label="Resume" />
                {explain}
                {until_form(path, hold)}
            </div>
        }
    });
    view! {
        <section class="banner banner-held" aria-label="Held" data-live="hold">
            <p>
                <strong>{format!("Held by {} ", hold.actor)}<Ago at=hold.since /></strong>
                {what}
            </p>
            {hold.reason.clone().map(|reason| view! { <p>"Reason: "{reason}</p> })}
            {waits}
            {actions}
        </section>
    }
    .into_any()
}

fn no_rollouts(app: &App) -> AnyView {
    let words = match &app.tag_digest {
        None => format!(
            "{}:{} points to no image yet. Push, import or build one: the app starts then.",
            app.image_stream, app.image_tag
        ),
        Some(_) if app.automatic == 0 => "It does not follow its tag: Deploy newest now starts it.".to_owned(),
        Some(_) => "Its first rollout is about to begin.".to_owned(),
    };
    view! {
        <Empty heading="No rollouts yet">
            <p>{words}</p>
        </Empty>
    }
    .into_any()
}

fn rollouts_table(project: &InProject, app: &App, path: &str, rollouts: &[RolloutRow]) -> AnyView {
    let rows: Vec<_> = rollouts.iter().map(|rollout| rollout_row(project, app, path, rollout)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Text("Rollout"), Col::Text("When"), Col::Text("Image"), Col::Text("What"), Col::Text("Result"),
                Col::Text("Cascade"), Col::Actions
            ]
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn rollout_row(project: &InProject, app: &App, path: &str, rollout: &RolloutRow) -> AnyView {
    let number = rollout.number;
    let current = number == app.last_number;
    let same = Some(&rollout.digest) == app.wanted_digest.as_ref() && app.wanted_phase.as_deref() != Some("Failed");
    let on = format!("{} to #{number}", app.name);
    let actions = project.can_edit().then(|| {
        let button = if same {
            view! { <Act action="" label="Roll back" disabled="the app is on this image now" /> }
        } else {
            view! { <Act action=format!("{path}/rollback") label="Roll back" fields=vec![("to", number.to_string())] on=on.clone() /> }
        };
        let dialog = (!same).then(|| {
            view! {
                <a class="btn btn-small" href=format!("{path}/rollback?to={number}")>
                    "Roll back…"
                    <span class="visually-hidden">{format!(" {on}")}</span>
                </a>
            }
        });
        view! {
            {button}
            {dialog}
        }
    });
    let image = format!("/p/{}/images/{}", rollout.repository.replacen('/', "/streams/", 1), rollout.digest);
    let cascade = rollout.cascade_number.map(|number| {
        view! { <a href=format!("/p/{}/cascades/{number}", project.name)>{number}</a> }
    });
    view! {
        <tr data-row=rollout.id.clone() class=if current { "is-current" } else { "" }>
            <th scope="row">
                {format!("#{number}")}
                {current.then(|| view! { <span class="cell-sub">"current"</span> })}
            </th>
            <td data-label="When">
                <Ago at=rollout.created_at />
                <span class="cell-sub">
                    {rollout.actor_kind.parse().ok().map(|kind| view! { <Who kind name=rollout.actor.clone() /> })}
                </span>
            </td>
            <td data-label="Image">
                <DigestText digest=rollout.digest.clone() href=image />
            </td>
            <td data-label="What">
                {kind_words(&rollout.kind, rollout.to_number)}
                {rollout.reason.clone().map(|reason| view! { <span class="cell-sub">{reason}</span> })}
            </td>
            <td data-label="Result" data-live=format!("result-{number}")>
                {phase_badge(rollout.phase)}
                {rollout.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
            </td>
            <td data-label="Cascade">{cascade}</td>
            <td data-live=format!("actions-{number}")>
                <div class="row-actions">{actions}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// `/p/:project/apps/:app/delete`
pub async fn delete_page(cx: Cx) -> PageResult {
    let (project, app) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let standing = Standing::of(&app);
    let body = view! {
        <form class="card stack" method="post">
            <p>
                {format!(
                    "What runs of it is stopped ({}), and the app is removed with its history ({}). The images stay in {}/{}. What happened stays in the activity.",
                    counted(standing.replicas, "replica"),
                    counted(app.last_number, "rollout"),
                    app.image_project,
                    app.image_stream,
                )}
            </p>
            <div class="form-actions">
                <a class="btn" href=path.clone()>
                    "Cancel"
                </a>
                <button class="btn btn-danger">"Delete app"</button>
            </div>
        </form>
    };
    Ok(below(&project, Page::new(format!("Delete {}?", app.name), body)).kind("app").crumb(app.name, path).narrow())
}

async fn post_deploy(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().deploy_newest(&project.name, cx.param("app"), &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_hold(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store()
            .hold_app(&project.name, cx.param("app"), fields.some("reason"), HoldUntil::Resumed, &cx.actor()?)
            .await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_resume(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().resume_app(&project.name, cx.param("app"), &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_explain(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let (project, app) = open(&cx, Right::Edit).await?;
        let reason = fields.required("reason", "Write the reason")?;
        check_reason("reason", reason)?;
        let missing = || UiError::Conflict(format!("{} is not held any more", app.name));
        let hold = cx.store().app_hold(&app.id).await?.ok_or_else(missing)?;
        cx.store().explain_hold(&hold.id, &project.name, &app.name, reason, &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_undo(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let (project, app) = open(&cx, Right::Edit).await?;
        let missing = || UiError::Conflict(format!("{} has no rollback to undo", app.name));
        let hold = cx.store().app_hold(&app.id).await?.ok_or_else(missing)?;
        let cascade =
            cx.store().find_cascade(hold.cascade_id.as_deref().unwrap_or_default()).await?.ok_or_else(missing)?;
        cx.store().undo_cascade(&project.name, cascade.number, &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &path, work).await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().delete_app(&project.name, cx.param("app"), &cx.actor()?).await?;
        Ok(format!("/p/{}/apps", project.name))
    };
    cx.submit(&fields, &format!("{}/delete", path_of(&cx)), work).await
}
