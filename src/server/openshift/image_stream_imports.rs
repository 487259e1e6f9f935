//! `imagestreamimports`: import now, and say how each image went.
//!
//! The work is the import controller's, as it is for schedules and for *Check now*: this says what the tags should be, and waits until
//! their checks have ended. With `import: false` the other registry is only asked, and nothing is kept.

mod asked;
mod ends;
mod looks;
mod repository;
mod take;

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::typed;
use super::kind::IMAGE_STREAM_IMPORTS;
use super::metadata::{ObjectMeta, read_head};
use super::status::Status;
use super::{Door, image_streams};
use crate::model::now;
use crate::server::store::ImportTarget;
use asked::{Asked, Wanted};
use repository::Listed;
use take::{Taken, Taking};

/// All of one request must end in this time.
const DEADLINE: Duration = Duration::from_secs(60 * 60);

/// Imports images into a stream.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    let until = Instant::now() + DEADLINE;
    caller.may(&door, "create", &IMAGE_STREAM_IMPORTS, &project, "").await?;
    let ((meta, mut asked), mut warnings) = body.read(|root| {
        let meta = read_head(&root, &IMAGE_STREAM_IMPORTS, &project)?;
        root.pass_over_all(&["status"]);
        Ok((meta, Asked::read(&root.get("spec"))?))
    })?;
    warnings.0.extend(asked.agree_on_insecure());
    let about = |status: Status| status.about(&IMAGE_STREAM_IMPORTS, &meta.name);
    let name = image_streams::stream_name(&meta.name).map_err(about)?;
    let stream = door.store.find_stream(&project, name.as_str()).await?;
    let target = ImportTarget { project: &project, stream: &name, id: meta.uid.as_deref(), version: meta.version };
    target.check(stream.as_ref())?;
    let actor = caller.actor();
    for (field, reference, spec) in asked.references() {
        let checked = door.store.check_registry(field, reference, spec.insecure, &actor).await;
        checked.map_err(|error| about(error.into()))?;
    }
    // A stream that was there is not made anew when it goes meanwhile.
    let target = ImportTarget { id: stream.as_ref().map(|stream| stream.id.as_str()), ..target };
    let (keep, told) = (asked.keep, AtomicUsize::default());
    let taking = Taking { door: &door, target, actor: &actor, keep, until, told };
    let listed = match &asked.repository {
        Some(repository) => Some(repository.list(&taking).await?),
        None => None,
    };
    let all: Vec<&Wanted> = asked.images.iter().chain(listed.iter().flat_map(Listed::wanted)).collect();
    let mut taken = taking.all(&all).await.map_err(about)?;
    warnings.0.extend(taken.iter().filter_map(|taken| taken.remark.clone()));
    let of_repository = taken.split_off(asked.images.len());
    let mut status = json!({"images": taken.into_iter().map(|taken| taken.answer).collect::<Vec<_>>()});
    if let Some(listed) = listed {
        status["repository"] = taking.told_of(listed, of_repository).await?;
    }
    if keep && let Some(stream) = door.store.find_stream(&project, name.as_str()).await? {
        status["import"] = image_streams::show(&door, &stream).await?;
    }
    let object = json!({
        "metadata": ObjectMeta { creation_timestamp: crate::model::rfc3339(now()), ..ObjectMeta::new(name.as_str(), &project, "", 0, 0) },
        "spec": asked.given(),
        "status": status,
    });
    Ok((StatusCode::CREATED, warnings, Json(typed(&IMAGE_STREAM_IMPORTS, object))))
}

fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// One image that came to nothing.
fn failure(one: &Wanted, status: &Status) -> Taken {
    Taken { answer: one.told(status.to_json()), is_taken: false, was_made: None, remark: None }
}
