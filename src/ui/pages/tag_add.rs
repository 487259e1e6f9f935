//! Adding a tag, and changing where one gets its images: import, follow, point to an existing image, or push.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::stream;
use super::tag::path_of;
use crate::model::{ImageReference, SourceKind, SourceName, Tag, TagName};
use crate::server::auth::Right;
use crate::server::store::TagSpec;
use crate::ui::app::PageResult;
use crate::ui::components::{CheckField, CopyText, SelectField, TextField, duration_words};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

const MINUTE_MS: i64 = 60_000;
/// The longest times, in minutes.
const A_YEAR: i64 = 525_600;

/// What the forms post to.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/add-tag", post(post_add))
        .route("/p/{project}/streams/{stream}/tags/{tag}/edit", post(post_edit))
}

/// `/p/:project/streams/:stream/add-tag`, with `?image=` from an image's page
pub async fn page(cx: Cx) -> PageResult {
    let (project, stream) = stream::open(&cx, Right::Edit).await?;
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let push = format!("docker push {}/{}:<tag>", cx.settings().registry_host(), stream.repository());
    let body = view! {
        <p>
            "A push makes its tag by itself: "<CopyText text=push />
        </p>
        {forms(&format!("{path}/add-tag"), None, cx.query("image"))}
    };
    Ok(Page::new("Add tag", body)
        .kind("stream")
        .within(&project, Section::Streams)
        .crumb("Streams", format!("/p/{}/streams", project.name))
        .crumb(stream.name, path))
}

/// `/p/:project/streams/:stream/tags/:tag/edit`
pub async fn edit_page(cx: Cx) -> PageResult {
    let (project, stream) = stream::open(&cx, Right::Edit).await?;
    let tag = cx.store().tag(&project.name, &stream.name, cx.param("tag")).await?;
    let path = path_of(&cx);
    let body = view! {
        <p>"What you choose takes effect at once and starts what depends on this tag."</p>
        {forms(&format!("{path}/edit"), Some(&tag), "")}
    };
    Ok(Page::new(format!("Where {} gets its images", tag.title()), body)
        .kind("tag")
        .within(&project, Section::Streams)
        .crumb(stream.name.clone(), format!("/p/{}/streams/{}", project.name, stream.name))
        .crumb(tag.name, path))
}

/// The ways, each a form. For an existing tag its name is not asked for and its present source is filled in.
fn forms(action: &str, tag: Option<&Tag>, image: &str) -> AnyView {
    let source = |kind: SourceKind| {
        let has = tag.filter(|tag| tag.source_kind.as_deref() == Some(kind.as_str()));
        has.and_then(|tag| tag.source.clone()).unwrap_or_default()
    };
    let name = |field: &'static str| {
        tag.is_none().then(|| view! { <TextField name=field label="Tag" required=true maxlength=128 /> })
    };
    let interval = tag.and_then(|tag| tag.interval_ms);
    let every =
        [("", "The server's default"), ("5", "5 minutes"), ("15", "15 minutes"), ("60", "1 hour"), ("1440", "1 day")];
    let cool_down = tag.and_then(|tag| tag.cool_down_ms).filter(|ms| *ms > 0);
    let ages = [
        ("", "At once"),
        ("60", "1 hour"),
        ("360", "6 hours"),
        ("1440", "1 day"),
        ("4320", "3 days"),
        ("10080", "7 days"),
    ];
    let scheduled = tag.is_none_or(|tag| tag.scheduled == 1 || tag.source_kind.is_none());
    let insecure = tag.is_some_and(|tag| tag.insecure == 1);
    let verb = if tag.is_some() { "Save" } else { "Add tag" };
    view! {
        <div class="grid gap-4 lg:grid-cols-3 items-start">
            <form class="card stack" method="post" action=action.to_owned()>
                <h2>"Import from a registry"</h2>
                <input type="hidden" name="way" value="import" />
                {name("import_tag")}
                <TextField
                    name="reference"
                    label="Image"
                    required=true
                    value=source(SourceKind::DockerImage)
                    placeholder="docker.io/library/python:3.12"
                />
                <CheckField name="scheduled" label="Check on a schedule" checked=scheduled />
                <SelectField name="interval" label="How often" options=choices(&every, interval) value=in_minutes(interval) />
                <SelectField
                    name="cool_down"
                    label="Take over what is new"
                    options=choices(&ages, cool_down)
                    value=in_minutes(cool_down)
                    hint="A cool-down: so long after it was first seen here, whatever it says of its own age. What is withdrawn meanwhile never comes."
                />
                <CheckField name="insecure" label="Plain HTTP, or a certificate that is not trusted" checked=insecure />
                <p class="hint">"Credentials are the project's secret for that registry, if it has one."</p>
                <div class="form-actions">
                    <button class="btn btn-primary">{verb}</button>
                </div>
            </form>
            <form class="card stack" method="post" action=action.to_owned()>
                <h2>"Follow another tag"</h2>
                <input type="hidden" name="way" value="follow" />
                {name("follow_tag")}
                <TextField
                    name="follows"
                    label="Tag to follow"
                    required=true
                    value=source(SourceKind::ImageStreamTag)
                    hint="stream:tag, or a tag of this stream. It moves whenever that one does."
                />
                <TextField
                    name="follows_project"
                    label="In project"
                    value=tag.and_then(|tag| tag.source_project.clone()).unwrap_or_default()
                    hint="Left empty: this project."
                />
                <div class="form-actions">
                    <button class="btn">{verb}</button>
                </div>
            </form>
            <form class="card stack" method="post" action=action.to_owned()>
                <h2>"Point to an existing image"</h2>
                <input type="hidden" name="way" value="point" />
                {name("point_tag")}
                <TextField
                    name="image"
                    label="Image"
                    required=true
                    value=if image.is_empty() { source(SourceKind::ImageStreamImage) } else { image.to_owned() }
                    hint="A digest of this stream, or stream@digest. It stays there until somebody points it elsewhere."
                />
                <div class="form-actions">
                    <button class="btn">{verb}</button>
                </div>
            </form>
        </div>
    }
    .into_any()
}

/// A duration as the form has it: in minutes, rounded up; empty when there is none.
fn in_minutes(ms: Option<i64>) -> String {
    ms.map(|ms| ms.div_euclid(MINUTE_MS) + i64::from(ms % MINUTE_MS > 0))
        .map(|minutes| minutes.to_string())
        .unwrap_or_default()
}

/// The usual choices, and the present one if it is another.
fn choices(usual: &[(&str, &str)], present: Option<i64>) -> Vec<(String, String)> {
    let mut choices: Vec<_> = usual.iter().map(|(value, words)| ((*value).to_owned(), (*words).to_owned())).collect();
    let value = in_minutes(present);
    if let Some(ms) = present.filter(|_| choices.iter().all(|(usual, _)| *usual != value)) {
        choices.push((value, duration_words(ms)));
    }
    choices
}

/// What the form asks for, and the tag's name in a form that has one.
fn spec(fields: &Fields, existing: Option<&Tag>) -> Result<(TagSpec, &'static str), UiError> {
    let annotations = existing.map_or_else(|| "{}".to_owned(), |tag| tag.annotations.clone());
    match fields.get("way") {
        "import" => {
            fields.parse::<ImageReference>("reference")?;
            let minutes = |field: &str| fields.some(field).map(|_| fields.parse::<i64>(field)).transpose();
            let (interval, cool_down) = (minutes("interval")?, minutes("cool_down")?);
            let spec = TagSpec {
                scheduled: fields.ticked("scheduled"),
                insecure: fields.ticked("insecure"),
                interval_ms: interval.map(|minutes| minutes.clamp(1, A_YEAR) * MINUTE_MS),
                cool_down_ms: cool_down.map(|minutes| minutes.clamp(0, A_YEAR) * MINUTE_MS),
                annotations,
                ..TagSpec::import(fields.get("reference"))
            };
            Ok((spec, "import_tag"))
        }
        "follow" => {
            let follows = fields.required("follows", "Write which tag to follow")?.to_owned();
            SourceName::tag(&follows).map_err(|error| UiError::field("follows", error.to_string()))?;
            let spec = TagSpec {
                source: Some((SourceKind::ImageStreamTag, follows)),
                source_project: fields.some("follows_project").map(str::to_owned),
                annotations,
                ..TagSpec::default()
            };
            Ok((spec, "follow_tag"))
        }
        _ => {
            let image = fields.required("image", "Write the image's digest")?;
            SourceName::image(image).map_err(|error| UiError::field("image", error.to_string()))?;
            let spec = TagSpec {
                source: Some((SourceKind::ImageStreamImage, image.to_owned())),
                annotations,
                ..TagSpec::default()
            };
            Ok((spec, "point_tag"))
        }
    }
}

/// Following a tag of another project shows its images here: one must be allowed to see them there.
async fn check_source(cx: &Cx, spec: &TagSpec) -> Result<(), UiError> {
    if let Some(project) = &spec.source_project {
        cx.project_named(project, Right::Pull)
            .await
            .map_err(|error| UiError::field("follows_project", error.message(&cx.request_id)))?;
    }
    Ok(())
}

/// The store names fields by their path in the REST object; the forms have their own names.
fn at_form_field(error: UiError, way: &str) -> UiError {
    let field = match way {
        "import" => "reference",
        "follow" => "follows",
        _ => "image",
    };
    match error {
        UiError::Field { field: path, message } if path.starts_with("spec.") => UiError::field(field, message),
        UiError::NotFound { .. } => UiError::field(field, error.to_string()),
        other => other,
    }
}

async fn post_add(cx: Cx, fields: Fields) -> Response {
    let page = format!("/p/{}/streams/{}/add-tag", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &page, async {
        let (project, stream) = stream::open(&cx, Right::Edit).await?;
        let (spec, field) = spec(&fields, None)?;
        let name: TagName = fields.parse(field)?;
        check_source(&cx, &spec).await?;
        let stream_name = stream.name.parse().map_err(|error| UiError::field("name", format!("{error}")))?;
        let set = cx.store().set_tag(&project.name, &stream_name, &name, &spec, None, &cx.actor()?).await;
        set.map_err(|error| at_form_field(error.into(), fields.get("way")))?;
        Ok(format!("/p/{}/streams/{}/tags/{name}", project.name, stream.name))
    })
    .await
}

async fn post_edit(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &format!("{path}/edit"), async {
        let (project, stream) = stream::open(&cx, Right::Edit).await?;
        let tag = cx.store().tag(&project.name, &stream.name, cx.param("tag")).await?;
        let (spec, _) = spec(&fields, Some(&tag))?;
        check_source(&cx, &spec).await?;
        let names = (stream.name.parse(), tag.name.parse::<TagName>());
        let (Ok(stream_name), Ok(tag_name)) = names else {
            return Err(UiError::Conflict(format!("{} has a name that cannot be written to any more", tag.title())));
        };
        let set = cx.store().set_tag(&project.name, &stream_name, &tag_name, &spec, None, &cx.actor()?).await;
        set.map_err(|error| at_form_field(error.into(), fields.get("way")))?;
        Ok(path.clone())
    })
    .await
}
