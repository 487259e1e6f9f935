//! Blobs on their way out.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION,
    RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tracing::error;

use super::Registry;
use super::enter::{Caller, Entered};
use super::error::{Error, Result};
use super::pulled;
use crate::model::{Digest, Stream};
use crate::server::auth::Right;
use crate::server::blobs;

/// `Docker-Content-Digest`
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// `GET` and `HEAD /v2/<name>/blobs/<digest>`
pub(super) async fn get(
    State(registry): State<Registry>,
    Path((project, stream, digest)): Path<(String, String, String)>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let digest = parse_digest(&digest)?;
    let entered = caller.enter(&registry, &project, &stream, Right::Pull).await?;
    let stream = entered.stream(&registry).await?;
    let size = registry.memory.blob_size(&registry.store, &stream, &digest).await?;
    let Some(size) = size else { return pulled::blob(&registry, &stream, &digest, &method, &headers).await };
    if method == Method::HEAD {
        note_interest(&registry, &entered, &stream, &digest).await?;
    }
    if is_known(&headers, &digest) {
        return Ok((StatusCode::NOT_MODIFIED, about(&digest)).into_response());
    }
    if method == Method::GET
        && let Some(url) = registry.blobs.url(&digest).await?
    {
        return Ok(elsewhere(&digest, &url));
    }
    let (mut response, range) = answer(&digest, &method, &headers, size)?;
    if method == Method::HEAD {
        // Clients send only what they are told is missing: a blob that was lost or cut off comes back with the next push.
        let kept = registry.blobs.size(&digest).await?;
        return if kept == Some(size) {
            Ok(response)
        } else {
            lost(&registry, &stream, &digest, &method, &headers).await
        };
    }
    match registry.blobs.read(&digest, range).await {
        Ok(blob) if blob.size == size => *response.body_mut() = Body::from_stream(blob.stream),
        Ok(_) | Err(blobs::Error::NotFound | blobs::Error::RangeNotSatisfiable { .. }) => {
            return lost(&registry, &stream, &digest, &method, &headers).await;
        }
        Err(other) => return Err(other.into()),
    }
    Ok(response)
}

/// The answer to a pull of a blob of that size, without its bytes, and which of them are asked for.
pub(super) fn answer(
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
    size: u64,
) -> Result<(Response, Option<Range<u64>>)> {
    // Ranges are for GET alone (RFC 9110, 14.2), and for those who mean this very content.
    let is_meant = method == Method::GET && headers.get(IF_RANGE).is_none_or(|meant| meant == about(digest)[ETAG]);
    let range = match headers.get(RANGE).and_then(|value| value.to_str().ok()).filter(|_| is_meant) {
        Some(text) => parse_range(text, size)?,
        None => None,
    };
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    let mut response = about(digest).into_response();
    if let Some(range) = &range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        response.headers_mut().insert(CONTENT_RANGE, header(&content_range));
    }
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok((response, range))
}

/// A blob that the database promises and the blob store does not have, or not whole: from where it was imported, if it was.
async fn lost(
    registry: &Registry,
    stream: &Stream,
    digest: &Digest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response> {
    error!(blob.digest = %digest, "Blob {digest} is damaged or missing in the blob store: if it was not imported, push it again; weir verify tells what it hits");
    pulled::blob(registry, stream, digest, method, headers).await
}

/// Sends the client to where the bytes are; not for long, so nobody is to keep the answer. Its range is for that place to read.
fn elsewhere(digest: &Digest, url: &str) -> Response {
    let mut headers = about(digest);
    headers.insert(LOCATION, header(url));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

/// `DELETE /v2/<name>/blobs/<digest>`: this repository stops serving it. The bytes go when nothing needs them any more, not before.
pub(super) async fn delete(
    State(registry): State<Registry>,
    Path((project, stream, digest)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<Response> {
    let digest = parse_digest(&digest)?;
    let entered = caller.enter(&registry, &project, &stream, Right::Edit).await?;
    let stream = entered.stream(&registry).await?;
    let gone = registry.store.unlink_blob(&stream, digest.as_str(), &entered.actor()).await?;
    if gone { Ok(StatusCode::ACCEPTED.into_response()) } else { Err(Error::blob_unknown(digest.as_str())) }
}

/// Who may push and asks whether something is there is about to rely on it: the collector leaves it alone for another grace.
pub(super) async fn note_interest(
    registry: &Registry,
    entered: &Entered,
    stream: &Stream,
    digest: &Digest,
) -> Result<()> {
    let may_push = || entered.principal.require_repository(&registry.store, &stream.project, &stream.name, Right::Push);
    if registry.store.is_marked(&stream.id, digest.as_str()).await? && may_push().await.is_ok() {
        registry.store.refresh(&stream.id, digest.as_str()).await?;
    }
    Ok(())
}

/// The headers that say which content this is. It never changes, but only those with the right may see it.
pub(super) fn about(digest: &Digest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_DIGEST, header(digest.as_str()));
    headers.insert(ETAG, header(&format!("\"{digest}\"")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers
}

/// Whether the client has this content already (`If-None-Match`).
pub(super) fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut known = known.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
    known.any(|tag| tag == digest.as_str() || tag == "*")
}

/// A header value of ASCII that is ours.
pub(super) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn parse_digest(text: &str) -> Result<Digest> {
    text.parse().map_err(|e: crate::model::DigestError| Error::digest_invalid(e.to_string()))
}

/// One range of bytes (RFC 9110, 14.2). Several at once, or another unit, are passed over: the whole is an answer, too. One that
/// ends before it begins is refused.
pub(super) fn parse_range(text: &str, size: u64) -> Result<Option<Range<u64>>> {
    let Some(spec) = text.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Ok(None) };
    let Some((first, last)) = spec.trim().split_once('-') else { return Ok(None) };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Ok(None),
    };
    if range.is_empty() { Err(Error::range(size)) } else { Ok(Some(range)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        let range = |text| parse_range(text, 100).map_err(|_| ());
        assert_eq!(range("bytes=0-0"), Ok(Some(0..1)));
        assert_eq!(range("bytes=10-19"), Ok(Some(10..20)));
        assert_eq!(range("bytes=90-"), Ok(Some(90..100)));
        assert_eq!(range("bytes=90-500"), Ok(Some(90..100)));
        assert_eq!(range("bytes=-10"), Ok(Some(90..100)));
        assert_eq!(range("bytes=-500"), Ok(Some(0..100)));
        for outside in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=5-2"] {
            assert_eq!(range(outside), Err(()), "{outside}");
        }
        for passed_over in ["bytes=a-b", "bytes=0-1,5-6", "items=0-1", "bytes", "bytes=-"] {
            assert_eq!(range(passed_over), Ok(None), "{passed_over}");
        }
        assert!(parse_range("bytes=0-", 0).is_err());
    }

    #[test]
    fn known_content_is_recognised() {
        let digest = crate::server::hash::sha256(b"x");
        let known = |text: String| is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, header(&text))]), &digest);
        assert!(known(format!("\"{digest}\"")));
        assert!(known(format!("\"a\", W/\"{digest}\"")));
        assert!(!known("\"a\"".to_owned()));
    }
}
