//! Manifests: what pushes end with and pulls begin with.

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WARNING};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use tracing::info;

use super::Registry;
use super::blobs::{CONTENT_DIGEST, about, header, is_known, parse_digest};
use super::enter::{Caller, Entered};
use super::error::{Error, Result};
use crate::model::{Digest, EventKind, Outcome, StoredManifest, Stream, TagName};
use crate::server::auth::Right;
use crate::server::hash::digest_like;
use crate::server::oci::manifest::MAX_SIZE;
use crate::server::oci::{Manifest, ManifestError};
use crate::server::store::{Moved, TagMove};

/// What stands behind `manifests/` in a path.
enum Reference {
    Tag(TagName),
    Digest(Digest),
}

impl Reference {
    fn parse(text: &str) -> Result<Self> {
        if text.contains(':') {
            return parse_digest(text).map(Self::Digest);
        }
        text.parse().map(Self::Tag).map_err(|e: crate::model::NameError| Error::manifest_invalid(e.to_string()))
    }
}

/// `GET` and `HEAD /v2/<name>/manifests/<reference>`
pub(super) async fn get(
    State(registry): State<Registry>,
    Path((project, name, reference)): Path<(String, String, String)>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    let stream = entered.stream(&registry).await?;
    let (found, by_tag) = match Reference::parse(&reference)? {
        Reference::Tag(tag) => (registry.store.find_manifest_by_tag(&stream.id, tag.as_str()).await?, true),
        Reference::Digest(digest) => {
            (registry.store.find_manifest_by_digest(&stream.id, digest.as_str()).await?, false)
        }
    };
    let StoredManifest { digest, media_type, manifest } = found.ok_or_else(|| Error::manifest_unknown(&reference))?;
    let digest = parse_digest(&digest)?;
    let mut about = about(&digest);
    if by_tag {
        // Where a tag points is a question to be asked anew each time.
        about.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    if is_known(&headers, &digest) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    about.insert(CONTENT_LENGTH, manifest.len().into());
    about.insert(CONTENT_TYPE, header(&media_type));
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(manifest) };
    Ok((about, body).into_response())
}

/// `PUT /v2/<name>/manifests/<reference>`
pub(super) async fn put(
    State(registry): State<Registry>,
    Path((project, name, reference)): Path<(String, String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Push).await?;
    let reference = Reference::parse(&reference)?;
    let bytes = to_bytes(body, MAX_SIZE).await.map_err(|_| Error::from(ManifestError::TooLarge))?;
    let sent_as = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut manifest = Manifest::parse(sent_as, bytes)?;
    let tag = match reference {
        Reference::Tag(tag) => Some(tag),
        Reference::Digest(digest) => {
            let found = digest_like(&digest, &manifest.bytes);
            if found != digest {
                return Err(Error::digest_invalid(format!("the manifest has digest {found}, not {digest}")));
            }
            manifest.digest = digest;
            None
        }
    };
    if let Some(tag) = &tag {
        entered.check_tag(tag)?;
    }
    let stream = entered.stream_to_push(&registry).await?;
    check_parts(&registry, &stream, &manifest).await?;
    let config = read_config(&registry, &manifest).await?;
    let moved = store(&registry, &entered, &stream, &manifest, config.as_deref(), tag.as_ref()).await?;
    let name = tag.as_ref().map_or_else(|| manifest.digest.to_string(), TagName::to_string);
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, header(&format!("{}/manifests/{name}", entered.path())));
    headers.insert(CONTENT_DIGEST, header(manifest.digest.as_str()));
    if let Some(warning) = moved.and_then(|moved| warning(&stream, &name, &moved)) {
        headers.insert(WARNING, header(&warning));
    }
    Ok(response)
}

/// Everything the manifest names must be here, but for layers that are fetched from elsewhere.
async fn check_parts(registry: &Registry, stream: &Stream, manifest: &Manifest) -> Result<()> {
    let mut blobs: Vec<String> =
        manifest.blobs().filter(|blob| !blob.is_foreign()).map(|blob| blob.digest.to_string()).collect();
    let mut missing = Vec::new();
    for child in manifest.children() {
        let digest = child.digest.as_str();
        if !child.is_manifest() {
            blobs.push(digest.to_owned());
        } else if registry.store.find_manifest_by_digest(&stream.id, digest).await?.is_none() {
            missing.push(digest.to_owned());
        }
    }
    blobs.sort_unstable();
    blobs.dedup();
    missing.extend(registry.store.missing_blobs(&stream.id, &blobs).await?);
    if missing.is_empty() { Ok(()) } else { Err(Error::manifest_blob_unknown(&missing)) }
}

/// The bytes of an image's configuration. One that is too large is kept as a blob and not looked into.
async fn read_config(registry: &Registry, manifest: &Manifest) -> Result<Option<Vec<u8>>> {
    let Some(config) = manifest.blobs().next().filter(|config| config.is_image_config()) else { return Ok(None) };
    let blob = registry.blobs.read(&config.digest, None).await?;
    if blob.size > MAX_SIZE as u64 {
        return Ok(None);
    }
    let parts: Vec<_> = blob.stream.try_collect().await?;
    Ok(Some(parts.concat()))
}

async fn store(
    registry: &Registry,
    entered: &Entered,
    stream: &Stream,
    manifest: &Manifest,
    config: Option<&[u8]>,
    tag: Option<&TagName>,
) -> Result<Option<Moved>> {
    let build_id = entered.principal.build_id();
    let kind = if build_id.is_some() { EventKind::Build } else { EventKind::Push };
    let to = tag.map(|tag| TagMove { tag, kind, reference: None, cause: None, build_id });
    let actor = entered.actor();
    let moved = registry.store.put_manifest(stream, &manifest.to_image(config)?, to, &actor).await?;
    let (repository, digest) = (stream.repository(), &manifest.digest);
    match (tag, &moved) {
        (Some(tag), Some(moved)) if moved.outcome == Outcome::Moved => {
            info!(image.digest = %digest, "{} pushed {repository}:{tag} as {digest}", actor.name);
        }
        (Some(tag), _) => {
            info!(image.digest = %digest, "{} pushed {digest} for {repository}:{tag}, which stays", actor.name);
        }
        (None, _) => info!(image.digest = %digest, "{} pushed {repository}@{digest}", actor.name),
    }
    Ok(moved)
}

/// What a client is told whose image was stored but did not become the tag's (RFC 7234, 5.5: code 299).
fn warning(stream: &Stream, tag: &str, moved: &Moved) -> Option<String> {
    let name = format!("{}:{tag}", stream.repository());
    let text = match moved.outcome {
        Outcome::Held => format!(
            "{name} is held: the image is stored and waits, the tag stays where it is until somebody resumes it"
        ),
        Outcome::Rejected => format!("this image was rejected for {name}: it is stored, but the tag stays where it is"),
        Outcome::Moved | Outcome::Deleted => return None,
    };
    Some(format!("299 weir \"{text}\""))
}

/// `DELETE /v2/<name>/manifests/<reference>`: by tag the tag goes and its history stays; by digest the repository stops
/// serving it.
pub(super) async fn delete(
    State(registry): State<Registry>,
    Path((project, name, reference)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Edit).await?;
    let stream = entered.stream(&registry).await?;
    match Reference::parse(&reference)? {
        Reference::Tag(tag) => {
            registry.store.delete_tag(&stream.project, &stream.name, tag.as_str(), &entered.actor()).await?;
        }
        Reference::Digest(digest) => {
            if !registry.store.unlink_manifest(&stream, digest.as_str(), &entered.actor()).await? {
                return Err(Error::manifest_unknown(&reference));
            }
        }
    }
    Ok(StatusCode::ACCEPTED.into_response())
}
