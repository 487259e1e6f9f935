//! Making a stream: from an image in another registry, by pushing to it, or empty.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use crate::model::{ImageReference, StreamName, TagName};
use crate::server::auth::Right;
use crate::server::store::{StreamFields, TagSpec};
use crate::ui::app::PageResult;
use crate::ui::components::{CheckField, CopyText, TextField};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// `POST /p/:project/streams/new`
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/new", post(post_new))
}

/// `/p/:project/streams/new`
pub async fn page(cx: Cx) -> PageResult {
    let project = cx.project(Right::Edit).await?;
    let streams = format!("/p/{}/streams", project.name);
    let body = view! { <Ways project=project.clone() registry=cx.settings().registry_host().to_owned() /> };
    Ok(Page::new("New stream", body).within(&project, Section::Streams).crumb("Streams", streams))
}

/// What an empty catalog shows: one sentence and the ways to a first stream.
#[component]
pub fn FirstStream(project: InProject, registry: String) -> impl IntoView {
    let what = "A stream is a named set of tags. Each tag points to one image and remembers every image it ever pointed to, so going back is one click.";
    if !project.can_edit() {
        return view! {
            <div class="empty">
                <h2>"No stream yet"</h2>
                <p>{what}</p>
                <p class="muted">"You may look around here. To make streams you need the role editor: a project admin can give it to you."</p>
            </div>
        }
        .into_any();
    }
    view! {
        <p>{what}</p>
        <Ways project registry />
    }
    .into_any()
}

/// The three ways, as cards.
#[component]
fn Ways(project: InProject, registry: String) -> impl IntoView {
    let action = format!("/p/{}/streams/new", project.name);
    let repository = format!("{registry}/{}/my-app:latest", project.name);
    view! {
        <div class="grid gap-4 lg:grid-cols-3 items-start">
            <form class="card stack" method="post" action=action.clone()>
                <h2>"Import from a registry"</h2>
                <input type="hidden" name="way" value="import" />
                <TextField
                    name="reference"
                    label="Image"
                    placeholder="docker.io/library/python:3.12"
                    hint="Imported now, and whenever it changes there."
                    required=true
                />
                <TextField name="import_name" label="Stream name" hint="Left empty: the image's own name." />
                <CheckField name="scheduled" label="Check for changes on a schedule" checked=true />
                <CheckField name="insecure" label="The registry speaks plain HTTP, or its certificate is not trusted" />
                <div class="form-actions">
                    <button class="btn btn-primary">"Import"</button>
                </div>
            </form>
            <section class="card stack">
                <h2>"Push an image"</h2>
                <p>"The first push makes the stream. Sign in with your name and password, or with a "<a href="/tokens">"token"</a>"."</p>
                <CopyText text=format!("docker login {registry}") />
                <CopyText text=format!("docker tag my-app {repository}") />
                <CopyText text=format!("docker push {repository}") />
                <p class="hint">"buildah, podman and skopeo do as well."</p>
            </section>
            <form class="card stack" method="post" action=action>
                <h2>"Make it empty"</h2>
                <input type="hidden" name="way" value="empty" />
                <TextField
                    name="name"
                    label="Stream name"
                    required=true
                    hint="Lower-case letters and digits, with single dots, dashes or underscores between them."
                />
                <TextField name="description" label="Description" />
                <div class="form-actions">
                    <button class="btn">"Make stream"</button>
                </div>
            </form>
        </div>
    }
}

async fn post_new(cx: Cx, fields: Fields) -> Response {
    let page = format!("/p/{}/streams/new", cx.param("project"));
    cx.submit(&fields, &page, async {
        let project = cx.project(Right::Edit).await?;
        if fields.get("way") == "import" {
            import(&cx, &project, &fields).await
        } else {
            empty(&cx, &project, &fields).await
        }
    })
    .await
}

async fn empty(cx: &Cx, project: &InProject, fields: &Fields) -> Result<String, UiError> {
    let name: StreamName = fields.parse("name")?;
    let about = StreamFields { description: fields.get("description").to_owned(), ..StreamFields::default() };
    cx.store().create_stream(&project.name, &name, &about, &cx.actor()?).await?;
    Ok(format!("/p/{}/streams/{name}", project.name))
}

async fn import(cx: &Cx, project: &InProject, fields: &Fields) -> Result<String, UiError> {
    let reference: ImageReference = fields.parse("reference")?;
    let tag = if reference.tag.is_empty() { "latest" } else { &reference.tag };
    let tag: TagName = tag.parse().map_err(|error| UiError::field("reference", format!("{error}")))?;
    let name: StreamName = match fields.some("import_name") {
        Some(_) => fields.parse("import_name")?,
        None => {
            let last = reference.name.rsplit('/').next().unwrap_or_default();
            last.parse()
                .map_err(|error| UiError::field("import_name", format!("{last} cannot be a stream's name: {error}")))?
        }
    };
    let spec = TagSpec {
        scheduled: fields.ticked("scheduled"),
        insecure: fields.ticked("insecure"),
        ..TagSpec::import(fields.get("reference"))
    };
    cx.store().set_tag(&project.name, &name, &tag, &spec, None, &cx.actor()?).await?;
    Ok(format!("/p/{}/streams/{name}/tags/{tag}", project.name))
}
