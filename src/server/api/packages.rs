//! The packages of an image, and two images compared.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::limit_in_range;
use crate::model::{DigestPrefix, Direction, ImagePackage, Moment, Stream};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAM_IMAGES;
use crate::server::openshift::past::AsOf;
use crate::server::openshift::status::Status;
use crate::server::packages::{Compared, PackageChange, SettingPart, Unpaired};

/// Which packages of an image: those that fit `q`, from the `after`th on.
#[derive(Debug, Deserialize)]
pub struct PackageQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    after: usize,
    limit: Option<i64>,
}

/// An image's packages by name. The digest may be shortened. They never change: `as_of` only asks for an image that was there then.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream, image)): Path<(String, String, String)>,
    AsOf(as_of): AsOf,
    query: Result<Query<PackageQuery>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &format!("{stream}@{image}")).await?;
    let Query(query) = query.map_err(|error| Status::bad_request(error.body_text()))?;
    let limit = usize::try_from(limit_in_range(query.limit)?).unwrap_or(usize::MAX);
    let stream = door.store.stream(&project, &stream).await?;
    let digest = digest_of(&door, &stream, &image, as_of.as_ref()).await?;
    let packages = door.views.packages(&door.store, &stream.id, &digest).await?;
    let found: Vec<&ImagePackage> = packages.search(&query.q).collect();
    let items: Vec<Value> = found.iter().skip(query.after).take(limit).map(|package| show(package)).collect();
    let next = query.after.saturating_add(items.len());
    Ok(Json(json!({
        "digest": digest,
        "waiting": packages.waiting,
        "problems": packages.problems,
        "total": found.len(),
        "items": items,
        "next": (next < found.len()).then_some(next),
    })))
}

fn show(it: &ImagePackage) -> Value {
    json!({
        "name": it.package.name,
        "version": it.package.version,
        "architecture": it.package.architecture,
        "source": it.package.source,
        "kind": it.kind,
        "evidence": it.evidence,
        "path": it.path,
        "layer": {"number": it.layer + 1, "digest": it.layer_digest},
    })
}

/// Which images are compared, of which platform, and which page of the packages that differ is shown.
#[derive(Debug, Deserialize)]
pub struct CompareQuery {
    from: String,
    to: String,
    platform: Option<String>,
    #[serde(default)]
    after: usize,
    limit: Option<i64>,
}

/// How the image `to` differs from the image `from`. That never changes: `as_of` only asks for images that were there then.
pub async fn compare_images(
    State(door): State<Door>,
    caller: Caller,
    Path((project, stream)): Path<(String, String)>,
    AsOf(as_of): AsOf,
    query: Result<Query<CompareQuery>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_IMAGES, &project, &stream).await?;
    let Query(query) = query.map_err(|error| Status::bad_request(error.body_text()))?;
    let limit = usize::try_from(limit_in_range(query.limit)?).unwrap_or(usize::MAX);
    let stream = door.store.stream(&project, &stream).await?;
    let from = digest_of(&door, &stream, &query.from, as_of.as_ref()).await?;
    let to = digest_of(&door, &stream, &query.to, as_of.as_ref()).await?;
    let both = door.views.compare(&door.store, &stream.id, (&from, &to), query.platform.as_deref()).await;
    let (pair, compared) = both.map_err(|problem| match problem {
        Unpaired::Store(error) => error.into(),
        problem => Status::conflict(problem.to_string()),
    })?;
    let page: Vec<Value> = compared.packages.iter().skip(query.after).take(limit).map(show_change).collect();
    let next = query.after.saturating_add(page.len());
    let mut shown = show_compared(&compared);
    shown["from"] = from.into();
    shown["to"] = to.into();
    shown["platform"] = pair.platform.clone().into();
    shown["packages"]["items"] = page.into();
    shown["packages"]["next"] = (next < compared.packages.len()).then_some(next).into();
    Ok(Json(shown))
}

/// The whole digest of an image of the stream, or of one that it had at a moment.
async fn digest_of(door: &Door, stream: &Stream, typed: &str, as_of: Option<&Moment>) -> Result<String, Status> {
    let at = as_of.map(|moment| format!(" at {}", moment.words)).unwrap_or_default();
    let not_found = || Status::not_found(&IMAGE_STREAM_IMAGES, &format!("{}@{typed}{at}", stream.name));
    let id: DigestPrefix = typed.parse().map_err(|_| not_found())?;
    let Some(moment) = as_of else {
        return door.store.find_stream_digest(stream, &id).await?.ok_or_else(not_found);
    };
    // The images of an earlier stream of that name are gone with it.
    let then = door.store.stream_then(&stream.project_id, &stream.name, moment).await?;
    if then.id != stream.id {
        return Err(not_found());
    }
    door.store.find_stream_digest_then(&then, &id, moment).await?.ok_or_else(not_found)
}

fn show_compared(compared: &Compared) -> Value {
    let count = |direction| compared.count(direction);
    let settings: Vec<Value> = compared
        .settings
        .iter()
        .map(|change| {
            let part = match change.part {
                SettingPart::Run => "run",
                SettingPart::Environment => "environment",
                SettingPart::Label => "label",
            };
            json!({"part": part, "name": change.name, "from": change.from, "to": change.to, "caution": change.caution})
        })
        .collect();
    let layers: Vec<Value> = compared
        .layers
        .iter()
        .map(|it| {
            let number = |place: Option<usize>| place.map(|place| place + 1);
            json!({"digest": it.layer.layer_digest, "size": it.layer.size, "from": number(it.from), "to": number(it.to)})
        })
        .collect();
    json!({
        "verdict": compared.verdict,
        "packages": {
            "up": count(Direction::Up),
            "down": count(Direction::Down),
            "added": count(Direction::Added),
            "removed": count(Direction::Removed),
            "unknown": compared.unknown,
        },
        "settings": settings,
        "layers": layers,
        "sharedLayers": compared.shared_layers(),
        "size": compared.size,
    })
}

fn show_change(change: &PackageChange) -> Value {
    json!({
        "name": change.name,
        "kind": change.kind,
        "evidence": change.evidence,
        "change": change.direction,
        "from": change.from,
        "to": change.to,
        "layer": change.layer.map(|layer| layer + 1),
    })
}
