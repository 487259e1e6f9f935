//! Rolling a tag back: the one click, and the dialog as a page of its own, which shows first what would happen.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use leptos::prelude::*;

use super::compare_parts::in_short;
use super::hold_end::{read_until, until_fields};
use super::images_whole::not_whole;
use super::tag::{Open, check_reason, open, path_of};
use crate::model::{Action, EventKind, HoldUntil, Image, Outcome, Plan, RollbackMode, TagEvent, counted};
use crate::server::auth::Right;
use crate::server::packages::Unpaired;
use crate::server::store::{self, TagRollback};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Ago, CheckField, DigestText, Empty, SelectField, TextField, Who, duration_words, size_words,
};
use crate::ui::context::{Cx, address};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// From how many replicas on one click leads to the dialog instead.
const MANY_REPLICAS: u32 = 50;

/// `POST …/rollback`
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/tags/{tag}/rollback", post(post_rollback))
}

/// `/p/:project/streams/:stream/tags/:tag/rollback?to=<sequence>`
pub async fn page(cx: Cx) -> PageResult {
    let open = open(&cx, Right::Edit).await?;
    let title = format!("Roll back {}?", open.tag.title());
    let candidates = candidates(&cx, &open).await?;
    let to = cx.form.value("to").unwrap_or_else(|| cx.query("to")).parse::<i64>().ok();
    let good = |event: &&TagEvent| event.digest.as_deref().is_some_and(|digest| !open.is_rejected(digest));
    let to = to.or_else(|| candidates.iter().find(good).or(candidates.first()).map(|event| event.sequence));
    let tag_path = open.path.clone();
    let body = match to {
        Some(to) => dialog(&cx, &open, &candidates, to).await?,
        None => view! {
            <Empty heading="There is no earlier image">
                <p>"This tag has pointed to one image only. As soon as it moves, the image before can be brought back here."</p>
                <p>
                    <a class="btn" href=tag_path>
                        "Back to the tag"
                    </a>
                </p>
            </Empty>
        }
        .into_any(),
    };
    Ok(Page::new(title, body)
        .kind("tag")
        .within(&open.project, Section::Streams)
        .crumb(open.stream.name.clone(), format!("/p/{}/streams/{}", open.project.name, open.stream.name))
        .crumb(open.tag.name.clone(), open.path.clone()))
}

/// Rows one can go back to: each image once, where it was last.
async fn candidates(cx: &Cx, open: &Open) -> Result<Vec<TagEvent>, UiError> {
    let events = cx.store().list_history(&open.tag.id, None, 100).await?;
    let mut seen = std::collections::BTreeSet::from([open.tag.digest.clone().unwrap_or_default()]);
    let moved = events.into_iter().filter(|event| event.outcome == Outcome::Moved);
    Ok(moved.filter(|event| event.digest.as_ref().is_some_and(|digest| seen.insert(digest.clone()))).collect())
}

async fn dialog(cx: &Cx, open: &Open, candidates: &[TagEvent], to: i64) -> Result<AnyView, UiError> {
    let store = cx.store();
    let target = store.find_event(to).await?.filter(|event| event.tag_id == open.tag.id && event.digest.is_some());
    let target = target.ok_or_else(|| UiError::field("to", format!("{} has no such row", open.tag.title())))?;
    let current = match open.tag.event_sequence {
        Some(sequence) => store.find_event(sequence).await?,
        None => None,
    };
    let (now, then) = (image(cx, current.as_ref()).await?, image(cx, Some(&target)).await?);
    let plan = cx.plan(&Action::Move { tag: &open.tag.id, dependents: true, decided: true }).await?;
    let same = open.tag.digest == target.digest;
    let not_whole = match &then {
        Some(image) => not_whole(cx, &image.digest).await?,
        None => None,
    };
    let is_whole = then.is_some() && not_whole.is_none();
    let problem = match (&then, same) {
        _ if !open.may_move() => Some("The tag is immutable: only a project admin may move it.".to_owned()),
        (_, true) => Some("The tag points to this image now.".to_owned()),
        (None, _) => Some("The image of this row is gone: it is not stored here any more.".to_owned()),
        _ => not_whole,
    };
    let is_refused = problem.is_some();
    let other = options(candidates, &target);
    let differences = match (open.tag.digest.as_deref(), target.digest.as_deref()) {
        (Some(now), Some(then)) if now != then => differences(cx, open, now, then).await?,
        _ => None,
    };
    let path = format!("{}/rollback", open.path);
    Ok(view! {
        <form class="toolbar" method="get">
            <SelectField name="to" label="Back to" options=other value=to.to_string() />
            <button class="btn self-end">"Show"</button>
        </form>
        <form class="card stack" method="post" action=path>
            <input type="hidden" name="to" value=to />
            <input type="hidden" name="seen" value=open.tag.event_sequence />
            <input type="hidden" name="dialog" value="1" />
            <div class="field-row">
                {side("From", current.as_ref(), now.as_ref())} {side("To", Some(&target), then.as_ref())}
            </div>
            {differences}
            <section class="stack gap-2">
                <h2>"What will happen"</h2>
                {effects(&open.project.name, &plan)}
                {modes(cx, store.plan_restore(&open.tag, to).await?)}
            </section>
            <section class="stack gap-2">
                <h2>"What is prevented"</h2>
                <CheckField
                    name="reject"
                    checked=true
                    label="Mark the image it leaves as rejected"
                    hint="Imports, pushes, followed tags and builds will not bring it back."
                />
                <p>"The tag is held. Checks and pushes go on and show what is newer as waiting."</p>
                <div class="cluster">{until_fields(HoldUntil::Resumed)}</div>
            </section>
            {reason(open, store.list_reasons(&open.project.name, 5).await?)}
            {is_whole.then(|| view! { <p class="muted">"All its blobs are here, looked at just now."</p> })}
            {problem.map(|problem| view! { <p class="error" id="problem">{problem}</p> })}
            <div class="form-actions">
                <a class="btn" href=open.path.clone()>
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

/// What else one could go back to, and what is looked at now: it may be another row of an image in the list, or an older one.
fn options(candidates: &[TagEvent], target: &TagEvent) -> Vec<(String, String)> {
    let is_listed = candidates.iter().any(|event| event.digest == target.digest);
    let listed = candidates.iter().map(|event| if event.digest == target.digest { target } else { event });
    let rows = (!is_listed).then_some(target).into_iter().chain(listed);
    rows.map(|event| {
        let digest = event.digest.as_deref().map(crate::ui::components::short_digest).unwrap_or_default();
        (event.sequence.to_string(), format!("#{} · {digest} · {} by {}", event.number, event.kind, event.actor))
    })
    .collect()
}

/// The field for the reason, which an immutable tag does not move without.
fn reason(open: &Open, suggestions: Vec<String>) -> AnyView {
    let hint = match &open.immutable {
        Some(pattern) => format!("Required: tags named {pattern} are immutable, and an admin who moves one says why."),
        None => "For whoever asks later. Not required.".to_owned(),
    };
    let required = open.immutable.is_some();
    view! { <TextField name="reason" label="Reason" maxlength=300 hint=hint required=required autofocus=true suggestions /> }
        .into_any()
}

async fn image(cx: &Cx, event: Option<&TagEvent>) -> Result<Option<Image>, UiError> {
    match event.and_then(|event| event.digest.as_deref()) {
        Some(digest) => Ok(cx.store().find_image(digest).await?),
        None => Ok(None),
    }
}

fn side(heading: &'static str, event: Option<&TagEvent>, image: Option<&Image>) -> AnyView {
    let Some(event) = event else {
        return view! { <div><h2>{heading}</h2><p class="muted">"no image"</p></div> }.into_any();
    };
    let source = match (&event.build, event.kind) {
        (Some(build), _) => format!("built by {build}"),
        (None, EventKind::Import) => format!("imported as {}", event.reference.clone().unwrap_or_default()),
        (None, kind) => kind.to_string(),
    };
    let platform = image.and_then(|image| Some(format!("{}/{}", image.os.clone()?, image.architecture.clone()?)));
    view! {
        <div class="stack gap-1">
            <h2>{heading}</h2>
            <DigestText digest=event.digest.clone().unwrap_or_default() />
            <p class="small">{format!("#{} · {source}", event.number)}</p>
            <p class="small muted">"Here since "<Ago at=event.at />", by "<Who kind=event.actor_kind name=event.actor.clone() /></p>
            <p class="small muted">
                {[platform, image.map(|image| size_words(image.size))].into_iter().flatten().collect::<Vec<_>>().join(" · ")}
            </p>
        </div>
    }
    .into_any()
}

/// What the images differ in, and the way to all of it.
async fn differences(cx: &Cx, open: &Open, now: &str, then: &str) -> Result<Option<AnyView>, UiError> {
    let path = format!("/p/{}/streams/{}/compare", open.project.name, open.stream.name);
    let full = address(&path, [("from", now), ("to", then), ("tag", open.tag.name.as_str())].into_iter());
    match cx.views().compare(cx.store(), &open.stream.id, (now, then), None).await {
        Ok((pair, compared)) => Ok(Some(in_short(&pair, &compared, full))),
        Err(Unpaired::Store(error)) => Err(error.into()),
        // What is gone is said beside the button, and images for other platforms differ in all.
        Err(_) => Ok(None),
    }
}

/// The plan in a sentence, and as a list.
fn effects(project: &str, plan: &Plan) -> AnyView {
    let (builds, apps) = (plan.builds().count(), plan.rollouts().count());
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let does = |n: usize, verb: &str| format!("{verb}{}", if n == 1 { "s" } else { "" });
    let sentence = match (builds, apps) {
        (0, 0) => "The tag moves. Nothing is built on it and no app runs it.".to_owned(),
        (0, apps) => {
            let replicas = plural(plan.replicas() as usize, "replica");
            format!("The tag moves and {} ({replicas}) {}.", plural(apps, "app"), does(apps, "roll"))
        }
        (builds, apps) => format!(
            "The tag moves, {} {} in {}, then {} ({}) {}{}.",
            plural(builds, "build"),
            does(builds, "run"),
            plural(plan.waves().saturating_sub(u32::from(apps > 0)) as usize, "step"),
            plural(apps, "app"),
            plural(plan.replicas() as usize, "replica"),
            does(apps, "roll"),
            plan.usual_ms()
                .filter(|ms| *ms > 0)
                .map(|ms| format!("; about {}", duration_words(ms)))
                .unwrap_or_default()
        ),
    };
    let steps: Vec<_> = plan
        .steps
        .iter()
        .map(|step| {
            let name = step.shown_name(project);
            let what = match (step.kind, step.why) {
                (_, Some(why)) => format!("{name} is not touched: {why}"),
                ("build", _) => format!("step {}: build {name}", step.wave),
                (_, _) => format!(
                    "step {}: app {name} rolls ({})",
                    step.wave,
                    plural(step.replicas.unwrap_or(0) as usize, "replica")
                ),
            };
            let waits = step.waits.as_ref().map(|waits| format!("; waits: {waits}"));
            view! { <li>{what}{waits}</li> }
        })
        .collect();
    let waiting = plan.waiting().count();
    let waiting = (waiting > 0).then(|| {
        let verb = if waiting == 1 { "waits" } else { "wait" };
        view! { <p>{format!("{} in frozen projects {verb} until the freeze ends.", plural(waiting, "step"))}</p> }
    });
    let list = (!steps.is_empty()).then(|| {
        view! {
            <details>
                <summary>"In order"</summary>
                <ol class="stack gap-1">{steps}</ol>
            </details>
        }
    });
    view! {
        <p>{sentence}</p>
        {waiting}
        {list}
    }
    .into_any()
}

/// How far it goes; `restored` tells how many tags could be put back, or why they cannot.
fn modes(cx: &Cx, restored: Result<usize, String>) -> AnyView {
    let (can_restore, restore_hint) = match restored {
        Ok(0) => (true, "Nothing built on it has anything else now than it had then.".to_owned()),
        Ok(tags) => {
            (true, format!("At once and without builds, with the images of that time: {}.", counted(tags, "tag")))
        }
        Err(why) => (false, format!("Not possible: {why}.")),
    };
    let chosen = cx.form.value("mode").unwrap_or("rebuild").to_owned();
    let modes = [
        (
            RollbackMode::Rebuild,
            "This tag and everything built on it",
            "What is built on it is built again, then apps roll.".to_owned(),
        ),
        (RollbackMode::Tag, "Only this tag", "What is built on it keeps what it has.".to_owned()),
        (RollbackMode::Restore, "Put what is built on it back to what it had then", restore_hint),
    ];
    let choices: Vec<_> = modes
        .into_iter()
        .map(|(mode, words, hint)| {
            let disabled = mode == RollbackMode::Restore && !can_restore;
            view! {
                <label class="choice">
                    <input type="radio" name="mode" value=mode.as_str() checked=chosen == mode.as_str() disabled=disabled />
                    <span>{words}<span class="hint cell-sub">{hint}</span></span>
                </label>
            }
        })
        .collect();
    view! {
        <fieldset class="stack gap-1">
            <legend class="visually-hidden">"How far it goes"</legend>
            {choices}
        </fieldset>
    }
    .into_any()
}

/// One click sends `to` and `seen` only and acts with the defaults; the dialog sends the rest.
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
    let project = cx.project(Right::Edit).await?;
    let (stream, tag) = (cx.param("stream"), cx.param("tag"));
    let to = fields.get("to").parse().map_err(|_| UiError::field("to", "Choose a row to go back to"))?;
    let mode = match fields.some("mode") {
        Some(_) => fields.parse("mode")?,
        None => RollbackMode::Rebuild,
    };
    let reason = fields.some("reason");
    check_reason("reason", reason.unwrap_or_default())?;
    let until = read_until(fields)?;
    let found = cx.store().tag(&project.name, stream, tag).await?;
    if !dialog {
        let plan = cx.store().plan(&Action::Move { tag: &found.id, dependents: true, decided: true }).await?;
        if plan.replicas() > MANY_REPLICAS {
            return Ok(false);
        }
    }
    cx.state.app.importer.check_row(&found.id, to).await?;
    let rollback = TagRollback {
        to,
        mode,
        reason,
        seen: fields.get("seen").parse().ok(),
        reject: !dialog || fields.ticked("reject"),
        until,
    };
    let (store, actor) = (cx.store(), cx.actor()?);
    let moved = match project.can_admin() {
        true => store.roll_back_tag_as_admin(&project.name, stream, tag, &rollback, &actor).await,
        false => store.roll_back_tag(&project.name, stream, tag, &rollback, &actor).await,
    };
    match moved {
        Ok(_) => Ok(true),
        Err(store::Error::Conflict(what)) if what.starts_with("The tag moved") => Err(UiError::Conflict(format!(
            "{what}. Below is what going back from there does; press Roll back to do it"
        ))),
        Err(error) => Err(error.into()),
    }
}
