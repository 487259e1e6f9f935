//! The settings of a stream: what it is for, the platforms its imports bring, what its tags may not do, what is kept, and its end.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::stream::{laid_out, open};
use super::{retention, tag_rules, usage};
use crate::model::{PlatformError, Platforms, Stream};
use crate::server::auth::Right;
use crate::server::store::StreamFields;
use crate::ui::app::PageResult;
use crate::ui::components::{AreaField, SelectField, TextField};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/settings", post(post_settings))
        .route("/p/{project}/streams/{stream}/retention", post(retention::post))
        .route("/p/{project}/streams/{stream}/delete", post(post_delete))
}

/// `/p/:project/streams/:stream/settings`
pub async fn page(cx: Cx) -> PageResult {
    let (project, stream) = open(&cx, Right::View).await?;
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let usage = usage::stream_card(&cx.store().stream_usage(&stream.id).await?);
    if !project.can_edit() {
        let body = view! {
            {usage}
            <p>{platforms_in_words(&stream)}</p>
            <p>"To change this stream you need the role editor. A project admin can give it to you."</p>
            {tag_rules::card(&project, &stream)?}
        };
        return laid_out(&cx, "Settings", body.into_any(), &project, &stream).await;
    }
    let retention = retention::card(&cx, &project, &stream, &path).await?;
    let body = view! {
        {usage}
        {about(&stream, &path)}
        {tag_rules::card(&project, &stream)?}
        {retention}
        <form class="card stack content-narrow" method="post" action=format!("{path}/delete")>
            <h2>"Delete this stream"</h2>
            <p>"Its tags and their history go with it. Images stay until nothing needs them. It is refused while a build puts its image here, an app runs one of its tags, or one is immutable."</p>
            <TextField name="confirm" label=format!("Type {} to confirm", stream.name) autocomplete="off" />
            <div class="form-actions">
                <button class="btn btn-danger">"Delete stream"</button>
            </div>
        </form>
    };
    laid_out(&cx, "Settings", body.into_any(), &project, &stream).await
}

fn about(stream: &Stream, path: &str) -> AnyView {
    let platforms = Platforms::written_in(&stream.annotations);
    let lookups = [("off", "Is looked up elsewhere"), ("on", "Means this stream first (local lookup)")]
        .map(|(value, words)| (value.to_owned(), words.to_owned()))
        .to_vec();
    view! {
        <form class="card stack content-narrow" method="post" action=format!("{path}/settings")>
            <h2>"Description and imports"</h2>
            <input type="hidden" name="version" value=stream.version />
            <AreaField name="description" label="Description" value=stream.description.clone() rows=2 />
            <TextField
                name="platforms"
                label="Platforms its imports bring"
                value=platforms
                placeholder="all"
                hint="For instance linux/amd64, linux/arm64; empty for all. Of an image for several platforms these are downloaded and kept; the others stay in the other registry until somebody pulls them. Its digest is the same either way."
                autocomplete="off"
            />
            <SelectField
                name="local_lookup"
                label="A name without a registry"
                options=lookups
                value=if stream.local_lookup == 1 { "on" } else { "off" }
                hint="With local lookup a Deployment whose image is written without a registry, as name or name:tag, runs this stream's image. Builds find it either way."
            />
            <div class="form-actions">
                <button class="btn btn-primary">"Save"</button>
            </div>
        </form>
    }
    .into_any()
}

fn platforms_in_words(stream: &Stream) -> String {
    let chosen = Platforms::of(&stream.annotations).unwrap_or_default();
    match chosen.is_all() {
        true => "Its imports bring all platforms of an image.".to_owned(),
        false => format!("Its imports bring these platforms of an image: {chosen}."),
    }
}

async fn post_settings(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/streams/{}/settings", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &path, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        let annotations = match fields.sent("platforms") {
            None => stream.annotations,
            Some(text) => {
                let chosen: Result<Platforms, PlatformError> = text.parse();
                let chosen = chosen.map_err(|error| UiError::field("platforms", error.to_string()))?;
                chosen.set_in(&stream.annotations)
            }
        };
        let about = StreamFields {
            description: fields.get("description").to_owned(),
            labels: stream.labels,
            annotations,
            local_lookup: fields.some("local_lookup").map_or(stream.local_lookup == 1, |word| word == "on"),
        };
        let version = fields.get("version").parse().ok();
        cx.store().update_stream(&project.name, &stream.name, &about, version, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/streams/{}/settings", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &path, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        if fields.get("confirm") != stream.name {
            return Err(UiError::field("confirm", format!("Type {} to confirm", stream.name)));
        }
        cx.store().delete_stream(&project.name, &stream.name, &cx.actor()?).await?;
        Ok(format!("/p/{}/streams", project.name))
    })
    .await
}
