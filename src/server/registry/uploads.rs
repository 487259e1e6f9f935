//! Blobs on their way in.
//!
//! ```text
//!  POST uploads/ ──mount=, and it is there──────────────────────────▶ 201  the blob
//!       │  └─digest=, with the bytes──────────────────────────────────▶ 201
//!       ▼ 202
//!   an upload ──PATCH bytes (again and again)──▶ 202 ──PUT digest=, maybe with the last bytes──▶ 201
//!       └──DELETE──▶ 204
//! ```
//!
//! Whose upload it is stands in the database, its bytes and its offset in the blob store.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde::Deserialize;
use tracing::info;

use super::Registry;
use super::blobs::{CONTENT_DIGEST, header, parse_digest};
use super::enter::{Caller, Entered};
use super::error::{Error, Result};
use super::incoming::Sender;
use super::mount::mount;
use crate::model::{Digest, Stream, now};
use crate::server::auth::Right;
use crate::server::blobs::{self, UploadId};
use crate::server::store;

/// `Docker-Upload-UUID`
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// How exactly it is noted that an upload goes on.
const TOUCHED_EVERY_MS: i64 = 60_000;

#[derive(Deserialize)]
pub(super) struct Begin {
    digest: Option<String>,
    /// The bytes are hashed as they come or, for other algorithms than sha256, at the end: knowing it early only tells earlier that
    /// it is none of ours.
    #[serde(rename = "digest-algorithm")]
    digest_algorithm: Option<String>,
    mount: Option<String>,
    from: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Finish {
    digest: Option<String>,
}

/// `POST /v2/<name>/blobs/uploads/`: an upload begins, or is all done at once.
pub(super) async fn begin(
    State(registry): State<Registry>,
    Path((project, name)): Path<(String, String)>,
    Query(query): Query<Begin>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Push).await?;
    let digest = query.digest.as_deref().map(parse_digest).transpose()?;
    if let Some(algorithm) = query.digest_algorithm.as_deref().filter(|algorithm| !is_algorithm(algorithm)) {
        let message = format!("unsupported digest algorithm \"{algorithm}\": use sha256, sha384 or sha512");
        return Err(Error::digest_invalid(message));
    }
    let wanted = query.mount.as_deref().map(parse_digest).transpose()?;
    let stream = entered.stream_to_push(&registry).await?;
    if let Some(digest) = wanted
        && mount(&registry, &entered, &stream, &digest, query.from.as_deref()).await?
    {
        return Ok(stored(&entered, &digest));
    }
    registry.store.check_not_full(&stream.id).await?;
    let id = registry.store.begin_upload(&stream.id, &entered.actor()).await?;
    let upload = Upload { registry, entered, stream, id: id.parse()?, touched_at: now() };
    if let Err(cause) = upload.registry.blobs.begin(&upload.id).await {
        upload.forget().await;
        return Err(cause.into());
    }
    match digest {
        Some(digest) => {
            if let Err(cause) = upload.append(&headers, body, Some(0)).await {
                upload.forget().await;
                return Err(cause);
            }
            upload.finish(&digest).await
        }
        None => Ok(upload.accepted(0)),
    }
}

/// `GET /v2/<name>/blobs/uploads/<id>`: how far it is.
pub(super) async fn status(
    State(registry): State<Registry>,
    Path(path): Path<(String, String, String)>,
    caller: Caller,
) -> Result<Response> {
    let upload = Upload::find(registry, path, caller).await?;
    let offset = upload.registry.blobs.offset(&upload.id).await?;
    let mut response = upload.accepted(offset);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().remove(CONTENT_LENGTH);
    Ok(response)
}

/// `PATCH /v2/<name>/blobs/uploads/<id>`: more bytes.
pub(super) async fn append(
    State(registry): State<Registry>,
    Path(path): Path<(String, String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let upload = Upload::find(registry, path, caller).await?;
    let offset = upload.append(&headers, body, None).await?;
    // The sweep knows hours; most uploads are over within seconds.
    if upload.touched_at < now() - TOUCHED_EVERY_MS {
        upload.registry.store.touch_upload(upload.id.as_str()).await?;
    }
    Ok(upload.accepted(offset))
}

/// `PUT /v2/<name>/blobs/uploads/<id>?digest=`: the last bytes, if any, and then it is a blob.
pub(super) async fn finish(
    State(registry): State<Registry>,
    Path(path): Path<(String, String, String)>,
    Query(query): Query<Finish>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let upload = Upload::find(registry, path, caller).await?;
    let digest = query.digest.ok_or_else(|| Error::digest_invalid("the digest is missing: add ?digest=sha256:…"))?;
    let digest = parse_digest(&digest)?;
    upload.append(&headers, body, None).await?;
    upload.finish(&digest).await
}

/// `DELETE /v2/<name>/blobs/uploads/<id>`: never mind.
pub(super) async fn cancel(
    State(registry): State<Registry>,
    Path(path): Path<(String, String, String)>,
    caller: Caller,
) -> Result<Response> {
    let upload = Upload::find(registry, path, caller).await?;
    upload.registry.store.end_upload(upload.id.as_str()).await?;
    upload.registry.blobs.abort(&upload.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An upload of a repository the caller may push to.
struct Upload {
    registry: Registry,
    entered: Entered,
    stream: Stream,
    id: UploadId,
    touched_at: i64,
}

impl Upload {
    async fn find(registry: Registry, (project, name, id): (String, String, String), caller: Caller) -> Result<Self> {
        let entered = caller.enter(&registry, &project, &name, Right::Push).await?;
        let stream = entered.stream(&registry).await?;
        let found = registry.store.find_upload(&stream.id, &id).await?.ok_or_else(Error::upload_unknown)?;
        Ok(Self { registry, entered, stream, id: found.id.parse()?, touched_at: found.updated_at })
    }

    /// Appends a request's body, where `Content-Range` says or, without one, at the end.
    async fn append(&self, headers: &HeaderMap, body: Body, offset: Option<u64>) -> Result<u64> {
        let sender = Sender::new(body, self.registry.settings.upload_silence);
        let appended = self.append_from(&sender, headers, offset).await;
        if appended.is_err() {
            sender.hear_out().await;
        }
        appended
    }

    async fn append_from(&self, sender: &Sender, headers: &HeaderMap, offset: Option<u64>) -> Result<u64> {
        let length = number(headers, &CONTENT_LENGTH);
        let chunk =
            headers.get(CONTENT_RANGE).map(|value| parse_chunk(value.to_str().unwrap_or_default())).transpose()?;
        let offset = match (&chunk, offset) {
            (Some((first, last)), _) => {
                if length.is_some_and(|length| length != last - first + 1) {
                    return Err(Error::size_invalid("Content-Range and Content-Length contradict each other"));
                }
                *first
            }
            (None, Some(offset)) => offset,
            (None, None) => self.registry.blobs.offset(&self.id).await?,
        };
        if length == Some(0) && chunk.is_none() {
            return Ok(offset);
        }
        let promised = chunk.map(|(first, last)| last - first + 1);
        if let Some(bytes) = promised {
            sender.expect(bytes);
        }
        let appended = match self.registry.blobs.append(&self.id, offset, sender.clone().boxed()).await {
            Ok(appended) => appended,
            Err(blobs::Error::OffsetMismatch { expected }) => {
                let refusal = Error::out_of_order(expected).with_header(LOCATION, self.location());
                return Err(refusal.with_header(RANGE, shown_range(expected)));
            }
            Err(cause) => return Err(self.give_up_if_full(cause).await.into()),
        };
        match promised {
            Some(bytes) if appended - offset != bytes => {
                let message = format!("Content-Range promises {bytes} bytes, and {} came", appended - offset);
                Err(Error::size_invalid(message).with_header(RANGE, shown_range(appended)))
            }
            _ => Ok(appended),
        }
    }

    /// A full disk is the last place for uploads that wait for more: their senders seldom come back, and never cancel.
    async fn give_up_if_full(&self, cause: blobs::Error) -> blobs::Error {
        if matches!(cause, blobs::Error::NoSpace) {
            self.forget().await;
        }
        cause
    }

    async fn finish(&self, digest: &Digest) -> Result<Response> {
        self.check_room(digest).await?;
        let claim = self.registry.store.claim_blob(digest.as_str()).await?;
        let finished = self.registry.blobs.finish(&self.id, digest).await;
        if matches!(finished, Err(blobs::Error::DigestMismatch { .. } | blobs::Error::NoSpace)) {
            // The bytes are not what they should be, or cannot be kept, and no further ones change that.
            self.forget().await;
        }
        let size = i64::try_from(finished?).unwrap_or(i64::MAX);
        let linked = self.registry.store.link_claimed_blob(&claim, &self.stream.id, size, Some(self.id.as_str())).await;
        if matches!(linked, Err(store::Error::Quota { .. })) {
            // Another upload took the room meanwhile. Others may have sent the same blob, so its bytes are left to the collector.
            self.forget().await;
        }
        linked?;
        info!(blob.digest = %digest, size_bytes = size, "Stored blob {digest} for {}", self.stream.repository());
        Ok(stored(&self.entered, digest))
    }

    /// Refuses what does not fit into the project any more before it becomes a blob, so that its bytes go at once.
    async fn check_room(&self, digest: &Digest) -> Result<()> {
        let size = i64::try_from(self.registry.blobs.offset(&self.id).await?).unwrap_or(i64::MAX);
        let room = self.registry.store.check_room(&self.stream.id, &[(digest.as_str(), size)]).await;
        if matches!(room, Err(store::Error::Quota { .. })) {
            self.forget().await;
        }
        Ok(room?)
    }

    /// Best effort: what stays is found by the collector.
    async fn forget(&self) {
        let _ = self.registry.store.end_upload(self.id.as_str()).await;
        let _ = self.registry.blobs.abort(&self.id).await;
    }

    fn location(&self) -> String {
        format!("{}/blobs/uploads/{}", self.entered.path(), self.id)
    }

    fn accepted(&self, offset: u64) -> Response {
        let headers = [
            (LOCATION, header(&self.location())),
            (RANGE, header(&shown_range(offset))),
            (UPLOAD_ID, header(self.id.as_str())),
            (CONTENT_LENGTH, header("0")),
        ];
        (StatusCode::ACCEPTED, headers).into_response()
    }
}

/// A blob that is there for good.
fn stored(entered: &Entered, digest: &Digest) -> Response {
    let headers = [
        (LOCATION, header(&format!("{}/blobs/{digest}", entered.path()))),
        (CONTENT_DIGEST, header(digest.as_str())),
        (CONTENT_LENGTH, header("0")),
    ];
    (StatusCode::CREATED, headers).into_response()
}

/// `0-<last byte>`; for nothing at all `0-0`, as Docker's registry has it.
fn shown_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

/// `<first>-<last>`, as the specification has it; `bytes` before it and `/<total>` behind it do no harm.
fn parse_chunk(text: &str) -> Result<(u64, u64)> {
    let range = text.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let range = range.split('/').next().unwrap_or_default();
    let parsed = range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    parsed.filter(|(first, last)| first <= last && *last < u64::MAX).ok_or_else(|| {
        Error::upload_invalid(format!("Content-Range \"{text}\" does not read: expected <first>-<last>"))
    })
}

/// Whether blobs may be named by digests of this algorithm.
fn is_algorithm(text: &str) -> bool {
    matches!(text, "sha256" | "sha384" | "sha512")
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_say_where_they_belong() {
        let chunk = |text| parse_chunk(text).map_err(|_| ());
        assert_eq!(chunk("0-9"), Ok((0, 9)));
        assert_eq!(chunk("bytes 10-19/*"), Ok((10, 19)));
        for bad in ["", "9-0", "-5", "5-", "a-b", "0-18446744073709551615"] {
            assert_eq!(chunk(bad), Err(()), "{bad}");
        }
        assert_eq!((shown_range(0), shown_range(10)), ("0-0".to_owned(), "0-9".to_owned()));
    }
}
