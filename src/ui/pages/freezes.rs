//! Freezes of a project: those in force, planned and over; the form that makes one; and the strip on the project's pages.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::past_freezes;
use super::tag::check_reason;
use crate::model::{Freeze, FreezeState, Project, now, parse_time, rfc3339};
use crate::server::auth::Right;
use crate::server::store::NewFreeze;
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, AsOf, AsOfForm, Badge, Col, DataTable, PageSize, Pager, SelectField, TextField, Tone,
};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/freezes", post(post_create))
        .route("/p/{project}/freezes/{number}/end", post(post_end))
}

/// `/p/:project/freezes`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_freezes::page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let path = path_of(&cx);
    let size = PageSize::of(&cx);
    let mut freezes = cx.store().list_freezes(&project.name, cx.query("after").parse().ok(), size.limit()).await?;
    let more = size.cut(&mut freezes);
    let next = freezes.last().filter(|_| more).map(|last| last.number.to_string());
    let list = match freezes.is_empty() {
        true => view! { <p class="muted">"There was none yet."</p> }.into_any(),
        false => table(&path, project.can_edit(), freezes, now()),
    };
    let form = project.can_edit().then(|| form(&path));
    let ask =
        (!project.can_edit()).then(|| view! { <p class="muted">"To freeze the project you need the role editor."</p> });
    let body = view! {
        <p>
            "While a project is frozen, nothing is built or rolled out there by itself: pushes and imports go on to move tags, and what is built on "
            "these waits until the freeze ends. Builds that were queued before it began are made. What somebody does goes at once: starting a build, rolling "
            "back, undoing, resuming a tag or an app, deploying."
        </p>
        {form}
        {ask}
        <section class="stack gap-2">
            <h2>"All freezes"</h2>
            <div data-live="freezes">{list}</div>
            <Pager cx=cx.clone() next />
        </section>
    };
    Ok(Page::new("Freezes", body)
        .within(&project, Section::Settings)
        .crumb("Settings", format!("/p/{}/settings", project.name))
        .actions(view! { <AsOfForm /> }))
}

fn path_of(cx: &Cx) -> String {
    format!("/p/{}/freezes", cx.param("project"))
}

fn form(path: &str) -> AnyView {
    let ends = [("date", "at this time"), ("open", "when somebody ends it")];
    let ends = ends.map(|(value, words)| (value.to_owned(), words.to_owned())).to_vec();
    view! {
        <form class="card stack" method="post" action=path.to_owned()>
            <h2>"Freeze the project"</h2>
            <TextField name="reason" label="Why" required=true autocomplete="off" maxlength=300 hint="Everybody sees it on the project's pages." />
            <div class="field-row">
                <TextField name="from" label="Begins (UTC)" kind="datetime-local" hint="Left empty it begins now." />
                <SelectField name="until" label="Ends" options=ends value="date" />
                <TextField name="until_at" label="Time of the end (UTC)" kind="datetime-local" />
            </div>
            <div class="form-actions">
                <button class="btn btn-primary">"Freeze"</button>
            </div>
        </form>
    }
    .into_any()
}

/// Freezes as they stand at a time.
pub fn table(path: &str, can_edit: bool, freezes: Vec<Freeze>, at: i64) -> AnyView {
    let rows: Vec<_> = freezes.into_iter().map(|freeze| row(path, can_edit, &freeze, at)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Text("State"), Col::Text("Begins"), Col::Text("Ends"), Col::Text("Why"), Col::Text("By"), Col::Text("Ended"), Col::Actions
            ]
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn row(path: &str, can_edit: bool, freeze: &Freeze, at: i64) -> AnyView {
    let state = freeze.state(at);
    let tone = match state {
        FreezeState::Planned => Tone::Muted,
        FreezeState::InForce => Tone::Held,
        FreezeState::Over => Tone::Ok,
    };
    let label = if state == FreezeState::Planned { "Call off" } else { "End now" };
    let end = (can_edit && state != FreezeState::Over).then(|| {
        let on = format!("freeze {}", freeze.number);
        view! { <Act action=format!("{path}/{}/end", freeze.number) label on /> }
    });
    let ended = freeze.ended_at.map(|at| view! { {exact(at)} <span class="cell-sub">{format!("by {}", freeze.ended_by.clone().unwrap_or_default())}</span> });
    let ends = freeze.ends_at.map_or_else(|| "when somebody ends it".into_any(), exact);
    view! {
        <tr>
            <th scope="row">
                <Badge tone text=state.as_str().replace('-', " ") />
                <span class="cell-sub">{format!("freeze {}", freeze.number)}</span>
            </th>
            <td data-label="Begins">{exact(freeze.begins_at)}</td>
            <td data-label="Ends">{ends}</td>
            <td data-label="Why" class="break">{freeze.reason.clone()}</td>
            <td data-label="By">{freeze.actor.clone()}</td>
            <td data-label="Ended">{ended}</td>
            <td>
                <div class="row-actions">{end}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// A time in full: what is to come is no use as "in 3 days".
pub fn exact(at: i64) -> AnyView {
    let time = rfc3339(at);
    let words = time.replace('T', " ").replace('Z', " UTC");
    view! { <time datetime=time>{words}</time> }.into_any()
}

/// What stands at the top of a project's pages while it is frozen. Pages are shown without it rather than not at all.
pub async fn strip(cx: &Cx, project: &Project) -> AnyView {
    let freeze = cx.store().freeze_in_force(&project.id).await.ok().flatten();
    let line = freeze.map(|freeze| {
        let end = freeze.ends_at.map_or_else(|| "somebody ends that".into_any(), exact);
        view! {
            <p class="strip">
                <span>
                    <strong>"Frozen until " {end}</strong>
                    {format!(" by {} — {}", freeze.actor, freeze.reason)}
                </span>
                <a href=format!("/p/{}/freezes", project.name)>"What waits, and how to end it"</a>
            </p>
        }
    });
    view! { <div data-live="freeze">{line}</div> }.into_any()
}

async fn post_create(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let reason = fields.required("reason", "Say why: everybody in the project will ask")?;
        check_reason("reason", reason)?;
        let ends_at = match fields.get("until") {
            "open" => None,
            _ => {
                fields.required("until_at", "Choose the time at which it ends")?;
                read_time(&fields, "until_at")?
            }
        };
        let new = NewFreeze { begins_at: read_time(&fields, "from")?, ends_at, reason };
        cx.store().freeze_project(&project.name, &new, &cx.actor()?).await.map_err(|error| {
            match UiError::from(error) {
                UiError::Field { field, message } if field == "until" => UiError::field("until_at", message),
                other => other,
            }
        })?;
        Ok(path.clone())
    })
    .await
}

fn read_time(fields: &Fields, name: &str) -> Result<Option<i64>, UiError> {
    let Some(text) = fields.some(name) else { return Ok(None) };
    parse_time(text).map(Some).ok_or_else(|| UiError::field(name, "Write it as 2026-12-01T12:00"))
}

async fn post_end(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let number = cx.param("number").parse().map_err(|_| UiError::not_found("Freeze", cx.param("number")))?;
        cx.store().end_freeze(&project.name, number, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
