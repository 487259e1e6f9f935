//! Pulls of what is not here yet, or not any more: from where the image was imported, streamed while it is stored.

use axum::body::Body;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::Registry;
use super::blobs::answer;
use super::error::{Error, Result};
use super::memory::Served;
use crate::model::{Digest, Stream, TagName};
use crate::server::importer::PulledBlob;
use crate::server::oci::VIA;

/// A blob that the repository does not have, or whose bytes are gone.
pub(super) async fn blob(
    registry: &Registry,
    stream: &Stream,
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    refuse_own_question(registry, headers)?;
    let pulled = registry.importer.pull_blob(stream, digest).await.map_err(|cause| match &*cause.cause() {
        // A blob is missing there, not a manifest.
        "not-found" => Error::blob_unknown(digest.as_str()),
        _ => cause.into(),
    })?;
    let (size, fetch) = match pulled.ok_or_else(|| Error::blob_unknown(digest.as_str()))? {
        PulledBlob::Stored(size) => (size, None),
        PulledBlob::UnderWay(size, fetch) => (size, Some(fetch)),
    };
    let (mut response, range) = answer(digest, method, headers, size)?;
    if method == Method::HEAD {
        return Ok(response);
    }
    let range = range.unwrap_or(0..size);
    *response.body_mut() = match fetch {
        // Of an empty body nothing could break off: it has to be right before it is answered.
        Some(fetch) if range.is_empty() => {
            fetch.stored().await?;
            Body::empty()
        }
        Some(fetch) => Body::from_stream(fetch.read(registry.blobs.clone(), range)),
        None if range.is_empty() => Body::empty(),
        None => Body::from_stream(registry.blobs.read(digest, Some(range)).await?.stream),
    };
    Ok(response)
}

/// A manifest that an index of the repository lists, when it was not stored with the index.
pub(super) async fn manifest(
    registry: &Registry,
    stream: &Stream,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Option<Served>> {
    refuse_own_question(registry, headers)?;
    if !registry.importer.pull_manifest(stream, digest).await? {
        return Ok(None);
    }
    registry.memory.manifest_by_digest(&registry.store, stream, digest).await
}

/// The first image of a tag that follows another registry.
pub(super) async fn tag(
    registry: &Registry,
    stream: &Stream,
    tag: &TagName,
    headers: &HeaderMap,
) -> Result<Option<Served>> {
    refuse_own_question(registry, headers)?;
    if !registry.importer.pull_tag(stream, tag).await? {
        return Ok(None);
    }
    registry.memory.manifest_by_tag(&registry.store, stream, tag).await
}

/// This server asking itself, under a name it does not know as its own, would wait for its own answer.
fn refuse_own_question(registry: &Registry, headers: &HeaderMap) -> Result<()> {
    let instance = registry.store.instance();
    let is_own = headers.get_all(VIA).iter().any(|via| via.as_bytes() == instance.as_bytes());
    if is_own { Err(Error::loop_detected()) } else { Ok(()) }
}
