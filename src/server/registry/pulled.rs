//! Pulls of what is not here yet, or not any more: from where the image was imported, streamed while it is stored.

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Registry;
use super::blobs::{about, header, parse_range};
use super::error::{Error, Result};
use crate::model::{Digest, StoredManifest, Stream, TagName};
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
    let pulled = registry.importer.pull_blob(stream, digest).await.map_err(|cause| match cause.reason() {
        // A blob is missing there, not a manifest.
        "not-found" => Error::blob_unknown(digest.as_str()),
        _ => cause.into(),
    })?;
    let (size, fetch) = match pulled.ok_or_else(|| Error::blob_unknown(digest.as_str()))? {
        PulledBlob::Stored(size) => (size, None),
        PulledBlob::UnderWay(size, fetch) => (size, Some(fetch)),
    };
    let is_meant = method == Method::GET && headers.get(IF_RANGE).is_none_or(|meant| meant == about(digest)[ETAG]);
    let range = match headers.get(RANGE).and_then(|value| value.to_str().ok()).filter(|_| is_meant) {
        Some(text) => parse_range(text, size)?,
        None => None,
    };
    let mut response = about(digest).into_response();
    if let Some(range) = &range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.headers_mut().insert(CONTENT_RANGE, header(&content_range));
    }
    let range = range.unwrap_or(0..size);
    response.headers_mut().insert(CONTENT_LENGTH, (range.end - range.start).into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if method == Method::HEAD {
        return Ok(response);
    }
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
) -> Result<Option<StoredManifest>> {
    refuse_own_question(registry, headers)?;
    if !registry.importer.pull_manifest(stream, digest).await? {
        return Ok(None);
    }
    Ok(registry.store.find_manifest_by_digest(&stream.id, digest.as_str()).await?)
}

/// The first image of a tag that follows another registry.
pub(super) async fn tag(
    registry: &Registry,
    stream: &Stream,
    tag: &TagName,
    headers: &HeaderMap,
) -> Result<Option<StoredManifest>> {
    refuse_own_question(registry, headers)?;
    if !registry.importer.pull_tag(stream, tag).await? {
        return Ok(None);
    }
    Ok(registry.store.find_manifest_by_tag(&stream.id, tag.as_str()).await?)
}

/// This server asking itself, under a name it does not know as its own, would wait for its own answer.
fn refuse_own_question(registry: &Registry, headers: &HeaderMap) -> Result<()> {
    let instance = registry.store.instance();
    let is_own = headers.get_all(VIA).iter().any(|via| via.as_bytes() == instance.as_bytes());
    if is_own { Err(Error::loop_detected()) } else { Ok(()) }
}
