//! All cascades of a project: what one cause moved, built and rolled out.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::past_cascades;
use crate::server::auth::Right;
use crate::server::store::CascadeSummary;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AsOf, AsOfForm, Badge, Col, DataTable, Empty, PageSize, Pager, Tone, Who};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What a cascade's buttons post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/cascades/{cascade}/pause", post(post_pause))
        .route("/p/{project}/cascades/{cascade}/resume", post(post_resume))
        .route("/p/{project}/cascades/{cascade}/cancel", post(post_cancel))
        .route("/p/{project}/cascades/{cascade}/undo", post(post_undo))
}

/// `/p/:project/cascades`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_cascades::page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let mut cascades = cx.store().list_cascades(&project.name, cx.query("after").parse().ok(), size.limit()).await?;
    let more = size.cut(&mut cascades);
    let next = cascades.last().filter(|_| more).map(|last| last.number.to_string());
    let body = if cascades.is_empty() {
        view! {
            <Empty heading="Nothing has cascaded yet">
                <p>"Every push, import, build and rollback opens a cascade: what it moved, built and rolled out stands here together, and can be undone together."</p>
            </Empty>
        }
        .into_any()
    } else {
        let rows: Vec<_> = cascades.into_iter().map(|cascade| row(&project, &cascade)).collect();
        view! {
            <a class="pill-new" data-new-pill hidden href="">"New cascades"</a>
            <DataTable
                columns=&[
                    Col::Text("Cascade"), Col::Text("State"), Col::Text("Done"), Col::Text("Moved"), Col::Text("By"),
                    Col::Text("Began"), Col::Actions
                ]
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let body = view! {
        {body}
        <Pager cx=cx.clone() next />
    };
    Ok(Page::new("Cascades", body).within(&project, Section::Cascades).actions(view! { <AsOfForm /> }))
}

/// A cascade's state on its colour.
pub fn state(cascade: &CascadeSummary) -> AnyView {
    let (tone, word) = match cascade {
        CascadeSummary { undone_at: Some(_), .. } => (Tone::Muted, "Undone".to_owned()),
        CascadeSummary { cancelled_at: Some(_), .. } => (Tone::Muted, "Cancelled".to_owned()),
        CascadeSummary { paused_at: Some(_), .. } => (Tone::Held, "Paused".to_owned()),
        _ if cascade.is_running() => (Tone::Running, "Running".to_owned()),
        CascadeSummary { failed: 1.., .. } => (Tone::Fail, format!("{} failed", cascade.failed)),
        _ => (Tone::Ok, "Done".to_owned()),
    };
    view! { <Badge tone text=word /> }.into_any()
}

fn row(project: &InProject, cascade: &CascadeSummary) -> AnyView {
    let (number, path) = (cascade.number, format!("/p/{}/cascades/{}", project.name, cascade.number));
    let actions = project.can_edit().then(|| {
        let pause = cascade.is_running().then(|| pause_button(cascade, &path, "btn-small"));
        let undo = can_undo(cascade)
            .then(|| view! { <Act action=format!("{path}/undo") label="Undo" on=format!("cascade {number}") /> });
        view! {
            {pause}
            {undo}
        }
    });
    let (steps, tags) = counts(cascade);
    view! {
        <tr data-row=cascade.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {cascade.title.clone()}
                </a>
                <span class="cell-sub">{format!("#{number}, {}", cascade.kind)}</span>
            </th>
            <td data-label="State" data-live=format!("state-{number}")>
                {state(cascade)}
            </td>
            <td data-label="Done" data-live=format!("done-{number}")>
                {steps}
            </td>
            <td data-label="Moved" data-live=format!("moved-{number}")>
                {tags}
            </td>
            <td data-label="By">{cascade.actor_kind.parse().ok().map(|kind| view! { <Who kind name=cascade.actor.clone() /> })}</td>
            <td data-label="Began">
                <Ago at=cascade.created_at />
            </td>
            <td data-live=format!("actions-{number}")>
                <div class="row-actions">{actions}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// How many of its steps are over, and how many tags it moved.
pub fn counts(cascade: &CascadeSummary) -> (String, String) {
    let steps = match cascade.steps() {
        0 => "no builds or rollouts".to_owned(),
        steps => format!("{} of {steps}", cascade.ended),
    };
    (steps, format!("{} tag{}", cascade.moves, if cascade.moves == 1 { "" } else { "s" }))
}

/// It moved something, and that was not put back yet.
pub fn can_undo(cascade: &CascadeSummary) -> bool {
    cascade.undone_at.is_none() && (cascade.moves > 0 || cascade.rollouts > 0 || cascade.is_running())
}

/// Pause, or resume when it is paused.
pub fn pause_button(cascade: &CascadeSummary, path: &str, class: &'static str) -> AnyView {
    let on = format!("cascade {}", cascade.number);
    match cascade.paused_at {
        Some(_) => view! { <Act action=format!("{path}/resume") label="Resume" class on /> }.into_any(),
        None => view! { <Act action=format!("{path}/pause") label="Pause" class on /> }.into_any(),
    }
}

/// The number in the path.
pub fn number_of(cx: &Cx) -> Result<i64, UiError> {
    cx.param("cascade").parse().map_err(|_| UiError::not_found("Cascade", cx.param("cascade")))
}

/// `/p/<project>/cascades/<number>` of the request.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/cascades/{}", cx.param("project"), cx.param("cascade"))
}

async fn pause(cx: &Cx, fields: &Fields, paused: bool) -> Response {
    let path = path_of(cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        cx.store().pause_cascade(&project.name, number_of(cx)?, paused, &cx.actor()?).await?;
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

async fn post_cancel(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let work = async {
        let project = cx.project(Right::Edit).await?;
        let number = number_of(&cx)?;
        if fields.get("then") == "undo" {
            let undone = cx.store().undo_cascade(&project.name, number, &cx.actor()?).await?;
            return Ok(format!("/p/{}/cascades/{}", project.name, undone.cascade));
        }
        cx.store().cancel_cascade(&project.name, number, &cx.actor()?).await?;
        Ok(path.clone())
    };
    cx.submit(&fields, &format!("{path}/cancel"), work).await
}

async fn post_undo(cx: Cx, fields: Fields) -> Response {
    let work = async {
        let project = cx.project(Right::Edit).await?;
        let undone = cx.store().undo_cascade(&project.name, number_of(&cx)?, &cx.actor()?).await?;
        Ok(format!("/p/{}/cascades/{}", project.name, undone.cascade))
    };
    cx.submit(&fields, &path_of(&cx), work).await
}
