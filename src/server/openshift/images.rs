//! The shape of images: what the store read out of a manifest and its configuration, in OpenShift's words.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::Door;
use super::kind::{IMAGES, Kind};
use super::metadata::ObjectMeta;
use super::status::Status;
use crate::model::{EventKind, Image, ImageChild, ImageLayer, NewImage, now};
use crate::server::store::ImageOrigin;

/// On an image that was pushed, or built, here: `true`.
const MANAGED: &str = "openshift.io/image.managed";
/// On an image whose manifest is kept here: `true`.
const MANIFEST_STORED: &str = "image.openshift.io/manifestBlobStored";
/// On an image of another registry: where it is there.
const IMPORTED_FROM: &str = "openshift.io/imported-from";

/// An image of a stream's repository with everything known of it; `reference` is where to pull it.
pub async fn image(door: &Door, stream_id: &str, digest: &str, reference: &str) -> Result<Value, Status> {
    let image = door.store.find_image(digest).await?.ok_or_else(|| Status::not_found(&IMAGES, digest))?;
    let layers = door.store.list_layers(digest).await?;
    let children = door.store.list_children(digest).await?;
    let mut object = full(&image, &layers, &children, reference);
    let annotations = &mut object["metadata"]["annotations"];
    annotations[MANIFEST_STORED] = "true".into();
    if let Some((key, value)) =
        door.store.find_image_origin(stream_id, digest).await?.and_then(|of| of_origin(&of, digest))
    {
        annotations[key] = value.into();
    }
    Ok(object)
}

/// The annotation that tells where an image came from.
fn of_origin(origin: &ImageOrigin, digest: &str) -> Option<(&'static str, String)> {
    match (origin.kind, &origin.reference) {
        (EventKind::Push | EventKind::Build, _) => Some((MANAGED, "true".to_owned())),
        (_, Some(reference)) => {
            // What is below an index is there under its own digest.
            let repository = reference.split('@').next().unwrap_or_default();
            Some((IMPORTED_FROM, format!("{repository}@{digest}")))
        }
        _ => None,
    }
}

/// As [`image`], or by name and reference only when nothing more of it is known any more.
pub async fn known(door: &Door, stream_id: &str, digest: &str, reference: &str) -> Result<Value, Status> {
    match image(door, stream_id, digest, reference).await {
        Err(status) if status.code() == StatusCode::NOT_FOUND => Ok(bare(digest, reference)),
        found => found,
    }
}

/// An image by name and reference only, as lists of tags carry it.
pub fn bare(digest: &str, reference: &str) -> Value {
    json!({"metadata": {"name": digest}, "dockerImageReference": reference})
}

/// An image that was only looked at.
pub fn fetched(image: &NewImage, reference: &str) -> Value {
    let stored = Image {
        digest: image.digest.clone(),
        media_type: image.media_type.clone(),
        artifact_type: image.artifact_type.clone(),
        manifest: String::new(),
        size: image.size,
        config_digest: image.config_digest.clone(),
        config: image.config.clone(),
        subject: image.subject.clone(),
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        variant: image.variant.clone(),
        created_claimed: image.created.clone(),
        annotations: image.annotations.clone(),
        first_seen_at: now(),
    };
    let mut object = full(&stored, &image.layers, &image.children, reference);
    object["metadata"]["annotations"][IMPORTED_FROM] = reference.into();
    object
}

fn full(image: &Image, layers: &[ImageLayer], children: &[ImageChild], reference: &str) -> Value {
    let mut meta = ObjectMeta::new(&image.digest, "", "", 0, image.first_seen_at);
    // Images never change; their digest identifies them.
    meta.uid = image.digest.clone();
    meta.resource_version = "1".to_owned();
    meta.annotations.insert("image.openshift.io/dockerLayersOrder".to_owned(), "ascending".to_owned());
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| json!({"name": layer.layer_digest, "size": layer.size, "mediaType": layer.media_type}))
        .collect();
    let mut object = json!({
        "metadata": meta,
        "dockerImageReference": reference,
        "dockerImageMetadata": docker_metadata(image),
        "dockerImageMetadataVersion": "1.0",
        "dockerImageLayers": layers,
        "dockerImageManifestMediaType": image.media_type,
    });
    if !children.is_empty() {
        object["dockerImageManifests"] = children.iter().map(sub_manifest).collect();
    }
    object
}

/// `kind` and `apiVersion` before an object that is shown on its own.
pub fn typed(kind: &Kind, mut object: Value) -> Value {
    let mut whole = Map::new();
    whole.insert("kind".to_owned(), kind.kind.into());
    whole.insert("apiVersion".to_owned(), kind.api_version().into());
    if let Some(fields) = object.as_object_mut() {
        whole.append(fields);
    }
    Value::Object(whole)
}

fn docker_metadata(image: &Image) -> Value {
    let config: Value = image.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut metadata = json!({
        "kind": "DockerImage",
        "apiVersion": "image.openshift.io/1.0",
        "Id": image.config_digest.as_deref().unwrap_or_default(),
        "Created": image.created_claimed,
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "ContainerConfig": {},
    });
    for (key, value) in [("Author", &config["author"]), ("Config", &config["config"])] {
        if !value.is_null() {
            metadata[key] = value.clone();
        }
    }
    if let Some(object) = metadata.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    metadata
}

fn sub_manifest(child: &ImageChild) -> Value {
    let mut object = json!({
        "digest": child.child_digest,
        "mediaType": child.media_type,
        "manifestSize": child.size,
        "architecture": child.architecture.as_deref().unwrap_or_default(),
        "os": child.os.as_deref().unwrap_or_default(),
    });
    if let Some(variant) = &child.variant {
        object["variant"] = variant.as_str().into();
    }
    object
}
