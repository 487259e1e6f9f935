//! What ends the hold of a tag or an app besides a person: chosen where it is rolled back, and changed while it is held.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::{app, tag};
use crate::model::{Hold, HoldUntil, HoldUntilError, now};
use crate::server::auth::Right;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};

/// `POST …/until`
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/tags/{tag}/until", post(post_until))
        .route("/p/{project}/apps/{app}/until", post(post_app_until))
}

/// The fields with which somebody says so; what is set now is chosen.
pub fn until_fields(now: HoldUntil) -> AnyView {
    let (chosen, date) = match now {
        HoldUntil::Date(_) => ("date", now.to_string()),
        other => (if other == HoldUntil::Newer { "newer" } else { "resumed" }, String::new()),
    };
    // As `datetime-local` has it: no seconds, no zone.
    let date = date.get(..16).unwrap_or_default().to_owned();
    let words = [
        ("resumed", "when somebody resumes it"),
        ("newer", "when a newer, different image arrives"),
        ("date", "at this time (UTC)"),
    ];
    let choices = words.map(|(value, words)| view! { <option value=value selected=chosen == value>{words}</option> });
    view! {
        <label class="cluster">
            "The hold ends "
            <select class="input w-auto" name="until">{choices.into_iter().collect_view()}</select>
        </label>
        <input class="input w-64" type="datetime-local" name="until_at" value=date aria-label="Time at which the hold ends, in UTC" />
    }
    .into_any()
}

/// What the fields say; nothing at all is the default.
pub fn read_until(fields: &Fields) -> Result<HoldUntil, UiError> {
    let until = match fields.some("until") {
        None => return Ok(HoldUntil::Resumed),
        Some("date") => fields.required("until_at", "Choose the time at which the hold ends")?.parse(),
        Some(word) => word.parse(),
    };
    match until.map_err(|error: HoldUntilError| UiError::field("until_at", error.to_string()))? {
        HoldUntil::Date(at) if at <= now() => Err(UiError::field("until_at", "That time is over: choose a later one")),
        until => Ok(until),
    }
}

/// The form with which that is changed, for a banner; `path` is that of what is held.
pub fn until_form(path: &str, hold: &Hold) -> AnyView {
    view! {
        <form class="cluster" method="post" action=format!("{path}/until")>
            {until_fields(hold.until())} <button class="btn btn-small">"Set"</button>
        </form>
    }
    .into_any()
}

async fn post_until(cx: Cx, fields: Fields) -> Response {
    let path = tag::path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let until = read_until(&fields)?;
        cx.store().set_hold_end(&project.name, cx.param("stream"), cx.param("tag"), until, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_app_until(cx: Cx, fields: Fields) -> Response {
    let path = app::path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let until = read_until(&fields)?;
        cx.store().set_app_hold_end(&project.name, cx.param("app"), until, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
