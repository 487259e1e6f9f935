//! What a stream forbids its tags: a card of its settings, and what that posts to.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::stream;
use crate::model::Stream;
use crate::server::auth::Right;
use crate::server::store::TagRules;
use crate::ui::components::{AreaField, CheckField};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};

/// What the card posts to.
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/tag-rules", post(post_rules))
}

/// The rules: a form for admins, the words for all others.
pub fn card(project: &InProject, stream: &Stream) -> Result<AnyView, UiError> {
    let rules = TagRules::of(stream)?;
    let path = format!("/p/{}/streams/{}/tag-rules", project.name, stream.name);
    if !project.can_admin() {
        return Ok(in_words(&rules));
    }
    let card = view! {
        <form class="card stack content-narrow" method="post" action=path>
            <h2>"What its tags may not do"</h2>
            <input type="hidden" name="version" value=stream.version />
            <AreaField
                name="immutable"
                label="Immutable tags"
                value=rules.immutable.join("\n")
                rows=3
                mono=true
                placeholder="v*"
                hint="A pattern on each line: v*, *-release, v[0-9]*, {stable,lts}. Such a tag stays at its first image: pushes, imports, builds and followed tags do not move it. A project admin may, by Roll back… with a reason, or by deleting it."
            />
            <CheckField
                name="kind_changes"
                checked=rules.kind_changes
                label="An artifact may take an image's tag, and an image an artifact's"
                hint="Otherwise a chart pushed over an image by mistake is refused."
            />
            <div class="form-actions">
                <button class="btn btn-primary">"Save rules"</button>
            </div>
        </form>
    };
    Ok(card.into_any())
}

fn in_words(rules: &TagRules) -> AnyView {
    let immutable = match rules.immutable.as_slice() {
        [] => "No tag is immutable.".to_owned(),
        patterns => format!("Tags named {} are immutable: they stay at their first image.", patterns.join(", ")),
    };
    let kinds = match rules.kind_changes {
        true => "Images and artifacts may take each other's tags.",
        false => "Images and artifacts do not take each other's tags.",
    };
    view! {
        <section class="card stack content-narrow">
            <h2>"What its tags may not do"</h2>
            <p>{immutable}</p>
            <p>{kinds}</p>
            <p class="muted">"A project admin can change this."</p>
        </section>
    }
    .into_any()
}

async fn post_rules(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/streams/{}/settings", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &path, async {
        let (project, stream) = stream::open(&cx, Right::Admin).await?;
        let lines = fields.raw("immutable").lines().map(str::trim).filter(|line| !line.is_empty());
        let rules =
            TagRules { immutable: lines.map(str::to_owned).collect(), kind_changes: fields.ticked("kind_changes") };
        let version = fields.get("version").parse().ok();
        let set = cx.store().set_tag_rules(&project.name, &stream.name, &rules, version, &cx.actor()?).await;
        set.map_err(|error| match UiError::from(error) {
            // The store says which pattern it is; here they are lines of one field.
            UiError::Field { field, message } if field.starts_with("immutable") => UiError::field("immutable", message),
            other => other,
        })?;
        Ok(path.clone())
    })
    .await
}
