//! Rolling an app back: the one click, and the dialog as a page of its own, which shows first what would happen.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use leptos::prelude::*;

use super::app::{below, open, path_of};
use super::hold_end::{read_until, until_fields};
use super::images_whole::not_whole;
use super::standing::Standing;
use super::tag::check_reason;
use crate::model::{App, HoldUntil, RolloutRow, counted};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, DigestText, Empty, SelectField, TextField, Who, short_digest};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// With more replicas than this, one click leads to the dialog instead.
const MANY_REPLICAS: u32 = 50;

/// `POST …/rollback`
pub fn router() -> Router {
    Router::new().route("/p/{project}/apps/{app}/rollback", post(post_rollback))
}

/// `/p/:project/apps/:app/rollback?to=<rollout>`
pub async fn page(cx: Cx) -> PageResult {
    let (project, app) = open(&cx, Right::Edit).await?;
    let path = path_of(&cx);
    let candidates = candidates(&cx, &app).await?;
    let to: Option<i64> = cx.form.value("to").unwrap_or_else(|| cx.query("to")).parse().ok();
    let target = match to {
        Some(to) => cx.store().find_rollout(&app.id, to).await?,
        None => candidates.first().cloned(),
    };
    let body = match target {
        Some(target) => dialog(&cx, &app, &path, &candidates, &target).await?,
        None => {
            let path = path.clone();
            view! {
                <Empty heading="There is no earlier image">
                    <p>"This app has run one image only. After its next rollout, the image before can be brought back here."</p>
                    <p>
                        <a class="btn" href=path>
                            "Back to the app"
                        </a>
                    </p>
                </Empty>
            }
            .into_any()
        }
    };
    Ok(below(&project, Page::new(format!("Roll back {}?", app.name), body)).kind("app").crumb(app.name, path))
}

/// Rollouts one can go back to: each image once, where it was last.
async fn candidates(cx: &Cx, app: &App) -> Result<Vec<RolloutRow>, UiError> {
    let rollouts = cx.store().list_rollouts(&app.id, None, 100).await?;
    let mut seen = std::collections::BTreeSet::new();
    if app.wanted_phase.as_deref() != Some("Failed") {
        seen.extend(app.wanted_digest.clone());
    }
    Ok(rollouts.into_iter().filter(|rollout| seen.insert(rollout.digest.clone())).collect())
}

/// What else one could go back to, and what is looked at now: it may be another rollout of an image in the list, or an older one.
fn options(candidates: &[RolloutRow], target: &RolloutRow) -> Vec<(String, String)> {
    let is_listed = candidates.iter().any(|rollout| rollout.digest == target.digest);
    let listed = candidates.iter().map(|rollout| if rollout.digest == target.digest { target } else { rollout });
    let rows = (!is_listed).then_some(target).into_iter().chain(listed);
    rows.map(|rollout| {
        let words = format!("#{} · {} · by {}", rollout.number, short_digest(&rollout.digest), rollout.actor);
        (rollout.number.to_string(), words)
    })
    .collect()
}

async fn dialog(
    cx: &Cx,
    app: &App,
    path: &str,
    candidates: &[RolloutRow],
    target: &RolloutRow,
) -> Result<AnyView, UiError> {
    let suggestions = cx.store().list_reasons(&app.project, 5).await?;
    let not_whole = not_whole(cx, &target.digest).await?;
    let is_whole = not_whole.is_none();
    let standing = Standing::of(app);
    let current = cx.store().find_rollout(&app.id, app.last_number).await?;
    let options = options(candidates, target);
    let same = Some(&target.digest) == app.wanted_digest.as_ref() && app.wanted_phase.as_deref() != Some("Failed");
    let problem = match same {
        true => Some("The app is on this image now: choose another row.".to_owned()),
        false => not_whole,
    };
    let is_refused = problem.is_some();
    let strategy = app.spec().unwrap_or_default();
    let effect = format!(
        "0 builds run and 1 app rolls: {} to the older image, {} at a time. Only the image changes: ports, environment and command stay as they are now.",
        counted(standing.replicas, "replica"),
        strategy.parallelism
    );
    let seen: Vec<_> = standing
        .observed
        .iter()
        .flat_map(|seen| &seen.replicas)
        .map(|replica| {
            let digest = replica.digest.as_ref().map(|digest| view! { <DigestText digest=digest.to_string() /> });
            view! { <li class="cluster">{format!("{}: {}", replica.node, replica.state)} {digest}</li> }
        })
        .collect();
    let seen = if seen.is_empty() {
        view! { <p class="muted">"Nothing was seen running."</p> }.into_any()
    } else {
        view! { <ul class="stack gap-1">{seen}</ul> }.into_any()
    };
    Ok(view! {
        <form class="toolbar" method="get">
            <SelectField name="to" label="Back to" options value=target.number.to_string() />
            <button class="btn self-end">"Show"</button>
        </form>
        <form class="card stack" method="post" action=format!("{path}/rollback")>
            <input type="hidden" name="to" value=target.number />
            <input type="hidden" name="dialog" value="1" />
            <div class="field-row">
                {side("From", current.as_ref())} {side("To", Some(target))}
            </div>
            <section class="stack gap-2">
                <h2>"What will happen"</h2>
                <p>{effect}</p>
            </section>
            <section class="stack gap-2">
                <h2>"What is prevented"</h2>
                <p>
                    {format!(
                        "The app is held: when {}:{} moves, the newer image is shown as waiting and not rolled out.",
                        app.image_stream,
                        app.image_tag,
                    )}
                </p>
                <div class="cluster">{until_fields(HoldUntil::Resumed)}</div>
            </section>
            <section class="stack gap-2">
                <h2>"What runs now"</h2>
                {seen}
            </section>
            <TextField name="reason" label="Reason" maxlength=300 hint="For whoever asks later. Not required." autofocus=true suggestions />
            {is_whole.then(|| view! { <p class="muted">"All its blobs are here, looked at just now."</p> })}
            {problem.map(|problem| view! { <p class="error" id="problem">{problem}</p> })}
            <div class="form-actions">
                <a class="btn" href=path.to_owned()>
                    "Cancel"
                </a>
                <button class="btn btn-danger" disabled=is_refused aria-describedby=is_refused.then_some("problem")>
                    "Roll back"
                </button>
            </div>
        </form>
    }
    .into_any())
}

fn side(heading: &'static str, rollout: Option<&RolloutRow>) -> AnyView {
    let Some(rollout) = rollout else {
        return view! { <div><h2>{heading}</h2><p class="muted">"no image"</p></div> }.into_any();
    };
    view! {
        <div class="stack gap-1">
            <h2>{heading}</h2>
            <DigestText digest=rollout.digest.clone() />
            <p class="small">{format!("Rollout #{}, {}", rollout.number, rollout.phase.as_str().to_lowercase())}</p>
            <p class="small muted">
                "Rolled out "<Ago at=rollout.created_at />" by "
                {rollout.actor_kind.parse().ok().map(|kind| view! { <Who kind name=rollout.actor.clone() /> })}
            </p>
            {rollout.message.clone().map(|message| view! { <p class="small muted">{message}</p> })}
        </div>
    }
    .into_any()
}

/// One click sends `to` only and acts at once; the dialog sends the rest.
async fn post_rollback(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let dialog = fields.ticked("dialog");
    let back = format!("{path}/rollback?to={}", urlencoding::encode(fields.get("to")));
    match roll_back(&cx, &fields, dialog).await {
        Ok(true) => Redirect::to(&path).into_response(),
        Ok(false) => Redirect::to(&back).into_response(),
        Err(error) => {
            let page = if dialog || error.status() == StatusCode::CONFLICT { &back } else { &path };
            cx.refuse(&fields, page, &error).await
        }
    }
}

/// Rolls back; false when it should be looked at first.
async fn roll_back(cx: &Cx, fields: &Fields, dialog: bool) -> Result<bool, UiError> {
    let (project, app) = open(cx, Right::Edit).await?;
    let to = fields.get("to").parse().map_err(|_| UiError::field("to", "Choose a rollout to go back to"))?;
    let reason = fields.some("reason");
    check_reason("reason", reason.unwrap_or_default())?;
    if !dialog && app.spec().is_ok_and(|spec| spec.replicas > MANY_REPLICAS) {
        return Ok(false);
    }
    let until = read_until(fields)?;
    cx.state.app.importer.check_rollout(&app, to).await?;
    cx.store().roll_back_app(&project.name, &app.name, to, reason, until, &cx.actor()?).await?;
    Ok(true)
}
