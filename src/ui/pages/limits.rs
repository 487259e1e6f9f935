//! A project's limits, as its settings tell them.

use axum::response::Response;
use leptos::prelude::*;

use super::usage::typed;
use crate::model::{ByteSize, ProjectLimits, size_words};
use crate::server::auth::Right;
use crate::ui::components::TextField;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::Fields;

/// What the project's streams may grow to, and for site admins the form that says so.
pub fn card(settings_path: &str, limits: &ProjectLimits, may_set: bool) -> AnyView {
    let count = |most: Option<i64>| most.map_or_else(|| "any number".to_owned(), |most| format!("at most {most}"));
    let bytes =
        limits.image_bytes.map_or_else(|| "any size".to_owned(), |most| format!("at most {}", size_words(most)));
    let form = may_set.then(|| form(settings_path, limits));
    view! {
        <section class="card stack content-narrow">
            <h2>"Limits"</h2>
            <dl class="facts">
                <dt>"An image"</dt>
                <dd>{bytes}</dd>
                <dt>"Images of a stream"</dt>
                <dd>{count(limits.stream_images)}</dd>
                <dt>"Following tags of a stream"</dt>
                <dd>{count(limits.stream_tags)}</dd>
            </dl>
            {form}
        </section>
    }
    .into_any()
}

fn form(settings_path: &str, limits: &ProjectLimits) -> AnyView {
    let typed_count = |most: Option<i64>| most.map(|most| most.to_string()).unwrap_or_default();
    view! {
        <form class="stack" method="post" action=format!("{settings_path}/limits")>
            <TextField
                name="image_bytes"
                label="Most bytes of an image"
                value=limits.image_bytes.map(typed).unwrap_or_default()
                placeholder="2 GB"
                hint="Larger images become no tag's. Empty for no limit, here and below."
                autocomplete="off"
            />
            <TextField
                name="stream_images"
                label="Most images of a stream"
                value=typed_count(limits.stream_images)
                placeholder="500"
                hint="Different images in the histories of its tags."
                autocomplete="off"
            />
            <TextField
                name="stream_tags"
                label="Most following tags of a stream"
                value=typed_count(limits.stream_tags)
                placeholder="100"
                hint="Tags that follow an image or a tag. Tags that are only pushed to do not count."
                autocomplete="off"
            />
            <div class="form-actions">
                <button class="btn">"Set limits"</button>
            </div>
        </form>
    }
    .into_any()
}

/// What the form posts.
pub async fn post(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/settings", cx.param("project"));
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        if !cx.viewer()?.is_site_admin() {
            return Err(UiError::SiteAdmin);
        }
        let image_bytes = match fields.some("image_bytes") {
            Some(_) => Some(fields.parse::<ByteSize>("image_bytes")?.0),
            None => None,
        };
        let limits = ProjectLimits {
            image_bytes,
            stream_images: number(&fields, "stream_images")?,
            stream_tags: number(&fields, "stream_tags")?,
        };
        cx.store().set_project_limits(&project.name, &limits, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

fn number(fields: &Fields, name: &str) -> Result<Option<i64>, UiError> {
    let Some(text) = fields.some(name) else { return Ok(None) };
    match text.parse::<u32>() {
        Ok(most) => Ok(Some(most.into())),
        Err(_) => Err(UiError::field(name, "Write a whole number, or leave it empty.")),
    }
}
