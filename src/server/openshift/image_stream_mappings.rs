//! `imagestreammappings`: an image that was pushed takes a tag, as registries tell OpenShift. This server's own registry needs it not; it is
//! here for tools that push by digest and name the tag afterwards.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Door;
use super::body::{Body, Warnings};
use super::caller::Caller;
use super::fields::Field;
use super::image_streams;
use super::kind::IMAGE_STREAM_MAPPINGS;
use super::metadata::read_head;
use super::status::{Cause, Status};
use crate::model::{Digest, ImageReference, TagName};

/// Moves a tag of a stream to an image that the stream's repository has.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &IMAGE_STREAM_MAPPINGS, &project, "").await?;
    let asked = body.read(|root| read(&root, &project));
    let (asked, mut warnings) = asked.map_err(|status| status.about(&IMAGE_STREAM_MAPPINGS, ""))?;
    let about = |status: Status| status.about(&IMAGE_STREAM_MAPPINGS, &asked.stream);
    let name = image_streams::stream_name(&asked.stream).map_err(about)?;
    let stream = door.store.stream(&project, name.as_str()).await?;
    let moved = door.store.map_image(&stream, asked.digest.as_str(), &asked.tag, &caller.actor()).await;
    let moved = moved.map_err(|error| about(error.into()))?;
    warnings.0.extend(door.store.why_tag_stayed(&stream, &asked.tag, &moved).await?);
    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    Ok((StatusCode::CREATED, warnings, Json(done)))
}

struct Asked {
    stream: String,
    digest: Digest,
    tag: TagName,
}

fn read(root: &Field<'_>, project: &str) -> Result<Asked, Status> {
    let meta = read_head(root, &IMAGE_STREAM_MAPPINGS, project)?;
    let repository = root.get("dockerImageRepository");
    let stream = match (meta.name, repository.filled()?) {
        (name, None) if name.is_empty() => {
            return Err(Status::invalid(vec![
                Cause::required("metadata.name", "name or dockerImageRepository is required"),
                Cause::required("dockerImageRepository", "name or dockerImageRepository is required"),
            ]));
        }
        (name, None) => name,
        (name, Some(text)) => {
            let parsed: ImageReference = text.parse().map_err(|error| repository.invalid(error))?;
            if !parsed.tag.is_empty() || !parsed.id.is_empty() {
                return Err(repository.invalid("the repository name may not contain a tag or an ID"));
            }
            if parsed.namespace != project {
                return Err(
                    repository.invalid(format!("must be <registry>/{project}/<stream>: the project is the URL's"))
                );
            }
            if name.is_empty() { parsed.name } else { name }
        }
    };
    let tag = root.get("tag");
    let named = tag.required()?.parse().map_err(|error| tag.invalid(error))?;
    let image = root.get("image");
    let id = image.get("metadata").get("name");
    let digest = id.required()?.parse().map_err(|error| id.invalid(error))?;
    // What else it is can be read from the bytes that are here.
    image.pass_over();
    Ok(Asked { stream, digest, tag: named })
}
