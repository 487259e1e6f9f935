//! Adding a tag, and changing where one gets its images: import, follow, point to an existing image, or push.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::stream;
use super::tag::path_of;
use super::tag_forms::{MINUTE_MS, forms};
use super::tag_trial;
use crate::model::{ImageReference, SourceKind, SourceName, Stream, Tag, TagName};
use crate::server::auth::Right;
use crate::server::store::{self, TagSpec, WantedTag};
use crate::ui::app::PageResult;
use crate::ui::components::CopyText;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

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
        {tag_trial::below(&cx)}
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
        {tag_trial::below(&cx)}
    };
    Ok(Page::new(format!("Where {} gets its images", tag.title()), body)
        .kind("tag")
        .within(&project, Section::Streams)
        .crumb(stream.name.clone(), format!("/p/{}/streams/{}", project.name, stream.name))
        .crumb(tag.name, path))
}

/// What the form asks for, and the tag's name in a form that has one. What a form does not ask for stays as it is.
pub fn read(fields: &Fields, existing: Option<&Tag>) -> Result<(TagSpec, &'static str), UiError> {
    let before = existing.map(TagSpec::of).transpose()?.unwrap_or_default();
    let chosen = |field: &'static str, choices: [&str; 2], present: &str| match fields.some(field) {
        None => Ok(present.to_owned()),
        Some(word) if choices.contains(&word) => Ok(word.to_owned()),
        Some(_) => Err(UiError::field(field, format!("Choose {}", choices.join(" or ")))),
    };
    let kept = TagSpec {
        import_mode: chosen("import_mode", ["PreserveOriginal", "Legacy"], &before.import_mode)?,
        reference_policy: chosen("reference_policy", ["Source", "Local"], &before.reference_policy)?,
        annotations: before.annotations,
        ..TagSpec::default()
    };
    match fields.get("way") {
        "import" => {
            fields.parse::<ImageReference>("reference")?;
            let whole = |field: &'static str, text: &str| {
                text.parse::<i64>().map_err(|_| UiError::field(field, "Write a whole number of minutes"))
            };
            let minutes = |field| fields.some(field).map(|text| whole(field, text)).transpose();
            let (interval, cool_down) = (minutes("interval")?, minutes("cool_down")?);
            let spec = TagSpec {
                source: Some((SourceKind::DockerImage, fields.get("reference").to_owned())),
                reference_only: fields.ticked("reference_only"),
                scheduled: fields.ticked("scheduled"),
                insecure: fields.ticked("insecure"),
                interval_ms: interval.map(|minutes| minutes.clamp(1, A_YEAR) * MINUTE_MS),
                cool_down_ms: cool_down.map(|minutes| minutes.clamp(0, A_YEAR) * MINUTE_MS),
                ..kept
            };
            Ok((spec, "import_tag"))
        }
        "follow" => {
            let follows = fields.required("follows", "Write which tag to follow")?.to_owned();
            SourceName::tag(&follows).map_err(|error| UiError::field("follows", error.to_string()))?;
            let source_project = fields.some("follows_project").map(str::to_owned);
            let spec = TagSpec { source: Some((SourceKind::ImageStreamTag, follows)), source_project, ..kept };
            Ok((spec, "follow_tag"))
        }
        // The image stays; what comes next is pushed or built.
        "push" => Ok((kept, "")),
        _ => {
            let image = fields.required("image", "Write the image's digest")?;
            SourceName::image(image).map_err(|error| UiError::field("image", error.to_string()))?;
            let source = Some((SourceKind::ImageStreamImage, image.to_owned()));
            let source_project = fields.some("image_project").map(str::to_owned);
            Ok((TagSpec { source, source_project, ..kept }, "point_tag"))
        }
    }
}

/// Following a tag of another project shows its images here: one must be allowed to see them there.
async fn check_source(cx: &Cx, spec: &TagSpec) -> Result<(), UiError> {
    if let Some(project) = &spec.source_project {
        let is_pinned = matches!(spec.source, Some((SourceKind::ImageStreamImage, _)));
        let field = if is_pinned { "image_project" } else { "follows_project" };
        cx.project_named(project, Right::Pull)
            .await
            .map_err(|error| UiError::field(field, error.message(&cx.request_id)))?;
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

/// A slip in a name must not move a tag that is there, or end what it follows: those are changed on their own pages.
async fn refuse_existing(cx: &Cx, stream: &Stream, name: &TagName, field: &str) -> Result<(), UiError> {
    let tag = match cx.store().tag(&stream.project, &stream.name, name.as_str()).await {
        Err(store::Error::NotFound { .. }) => return Ok(()),
        found => found?,
    };
    if tag.has_spec == 0 && tag.digest.is_none() {
        return Ok(());
    }
    let how = match field {
        "point_tag" => "tick that it is to be moved",
        _ => "Change source on its own page is for it",
    };
    Err(UiError::field(field, format!("{} is there already: choose another name, or {how}", tag.title())))
}

async fn post_add(cx: Cx, fields: Fields) -> Response {
    let page = format!("/p/{}/streams/{}/add-tag", cx.param("project"), cx.param("stream"));
    if fields.get("do") == "try" {
        return tag_trial::answer(&cx, &fields, &page, None).await;
    }
    cx.submit(&fields, &page, async {
        let (project, stream) = stream::open(&cx, Right::Edit).await?;
        let (spec, field) = read(&fields, None)?;
        let name: TagName = fields.parse(field)?;
        check_source(&cx, &spec).await?;
        let stream_name = stream.name.parse().map_err(|error| UiError::field("name", format!("{error}")))?;
        let (store, actor) = (cx.store(), cx.actor()?);
        let set = if field == "point_tag" && fields.ticked("replace") {
            store.set_tag(&project.name, &stream_name, &name, &spec, None, &actor).await
        } else {
            refuse_existing(&cx, &stream, &name, field).await?;
            let wanted = WantedTag { name: name.clone(), spec, again: true };
            store.create_tag(&project.name, &stream_name, &wanted, None, &actor).await
        };
        set.map_err(|error| at_form_field(error.into(), fields.get("way")))?;
        Ok(format!("/p/{}/streams/{}/tags/{name}", project.name, stream.name))
    })
    .await
}

/// The tag of the path, as far as it is there and may be seen: trying says why not.
async fn existing(cx: &Cx) -> Option<Tag> {
    let (project, stream) = stream::open(cx, Right::Edit).await.ok()?;
    cx.store().tag(&project.name, &stream.name, cx.param("tag")).await.ok()
}

async fn post_edit(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    let here = format!("{path}/edit");
    if fields.get("do") == "try" {
        return tag_trial::answer(&cx, &fields, &here, existing(&cx).await.as_ref()).await;
    }
    cx.submit(&fields, &here, async {
        let (project, stream) = stream::open(&cx, Right::Edit).await?;
        let tag = cx.store().tag(&project.name, &stream.name, cx.param("tag")).await?;
        let (spec, _) = read(&fields, Some(&tag))?;
        check_source(&cx, &spec).await?;
        let names = (stream.name.parse(), tag.name.parse::<TagName>());
        let (Ok(stream_name), Ok(tag_name)) = names else {
            return Err(UiError::Conflict(format!("{} has a name that cannot be written to any more", tag.title())));
        };
        // An import is looked at anew, as holds have their word there; a follow of what it followed before does not move the tag.
        let wanted = WantedTag { name: tag_name, again: fields.get("way") == "import", spec };
        let set = cx.store().change_tag(&project.name, &stream_name, &wanted, None, &cx.actor()?).await;
        set.map_err(|error| at_form_field(error.into(), fields.get("way")))?;
        Ok(path.clone())
    })
    .await
}
