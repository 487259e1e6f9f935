//! Manifests: what pushes end with and pulls begin with.

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WARNING};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use tracing::info;

use super::Registry;
use super::blobs::{CONTENT_DIGEST, about, header, is_known, note_interest, parse_digest};
use super::enter::{Caller, Entered};
use super::error::{Error, Result};
use super::incoming::Sender;
use super::memory::Served;
use super::token::pairs;
use super::{conditions, past, pulled};
use crate::model::{Digest, EventKind, NewImage, Outcome, PastTag, Stream, TagName};
use crate::server::auth::Right;
use crate::server::blobs;
use crate::server::hash::digest_like;
use crate::server::oci::Manifest;
use crate::server::oci::manifest::MAX_SIZE;
use crate::server::store::{Expected, Moved, Pulled, TagMove};

/// `OCI-Subject`
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// `OCI-Tag`
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// The most tags one push may move.
const MAX_TAGS: usize = 50;

/// What stands behind `manifests/` in a path.
enum Reference {
    Tag(TagName),
    Digest(Digest),
}

impl Reference {
    /// For what is to be found: no manifest has a name that cannot be.
    fn find(text: &str) -> Result<Self> {
        if text.contains(':') {
            return parse_digest(text).map(Self::Digest);
        }
        text.parse().map(Self::Tag).map_err(|_| Error::manifest_unknown(text))
    }

    /// For what is to be stored.
    fn parse(text: &str) -> Result<Self> {
        if text.contains(':') { parse_digest(text).map(Self::Digest) } else { parse_tag(text).map(Self::Tag) }
    }
}

fn parse_tag(text: &str) -> Result<TagName> {
    text.parse().map_err(|e: crate::model::NameError| Error::manifest_invalid(e.to_string()))
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
    let (Served { digest, media_type, manifest }, pulled) = find(&registry, &stream, &reference, &headers).await?;
    let mut about = about(&digest);
    if let Pulled::Tag(tag) = &pulled {
        // Where a tag points is a question to be asked anew each time.
        about.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Some(warning) = registry.importer.warning(&stream.id, tag).await? {
            about.insert(WARNING, header(&warning));
        }
    }
    if method == Method::HEAD && matches!(pulled, Pulled::Digest(_)) {
        note_interest(&registry, &entered, &stream, &digest).await?;
    }
    if is_known(&headers, &digest) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    about.insert(CONTENT_LENGTH, manifest.len().into());
    about.insert(CONTENT_TYPE, media_type);
    // Who only looks where a tag points pulls nothing.
    if method == Method::HEAD {
        return Ok((about, Body::empty()).into_response());
    }
    registry.pulls.note(&stream.id, pulled);
    Ok((about, Body::from(manifest)).into_response())
}

/// What a reference leads to: here, or where it would have been imported from.
async fn find(registry: &Registry, stream: &Stream, reference: &str, headers: &HeaderMap) -> Result<(Served, Pulled)> {
    if PastTag::is_meant(reference) {
        let found = Served::new(past::find(registry, stream, reference).await?)?;
        let pulled = Pulled::Digest(found.digest.to_string());
        return Ok((found, pulled));
    }
    let (store, memory) = (&registry.store, &registry.memory);
    let (found, pulled) = match Reference::find(reference)? {
        Reference::Tag(tag) => {
            let found = match memory.manifest_by_tag(store, stream, &tag).await? {
                None => pulled::tag(registry, stream, &tag, headers).await?,
                found => found,
            };
            (found, Pulled::Tag(tag.to_string()))
        }
        Reference::Digest(digest) => {
            let found = match memory.manifest_by_digest(store, stream, &digest).await? {
                None => pulled::manifest(registry, stream, &digest, headers).await?,
                found => found,
            };
            (found, Pulled::Digest(digest.to_string()))
        }
    };
    Ok((found.ok_or_else(|| Error::manifest_unknown(reference))?, pulled))
}

/// `PUT /v2/<name>/manifests/<reference>`, with more tags as `?tag=` when the reference is a digest.
pub(super) async fn put(
    State(registry): State<Registry>,
    Path((project, name, reference)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Push).await?;
    let reference = Reference::parse(&reference)?;
    let bytes = Sender::new(body, registry.settings.upload_silence).manifest(MAX_SIZE).await?;
    let sent_as = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut manifest = Manifest::parse(sent_as, bytes)?;
    let is_by_tag = matches!(reference, Reference::Tag(_));
    let (tags, expected) = match reference {
        Reference::Tag(tag) => (vec![tag], conditions::read(&headers)?),
        Reference::Digest(digest) => {
            let found = digest_like(&digest, &manifest.bytes);
            if found != digest {
                return Err(Error::digest_invalid(format!("the manifest has digest {found}, not {digest}")));
            }
            manifest.digest = digest;
            (more_tags(query.as_deref().unwrap_or_default())?, Expected::Anywhere)
        }
    };
    for tag in &tags {
        entered.check_tag(tag)?;
    }
    let stream = entered.stream_to_push(&registry).await?;
    let config = read_config(&registry, &manifest).await?;
    let image = manifest.to_image(config.as_deref())?;
    let moves = store(&registry, &entered, &stream, &image, &tags, &expected).await?;
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    let mut name = manifest.digest.to_string();
    for (tag, moved) in tags.iter().zip(&moves) {
        match registry.store.why_tag_stayed(&stream, tag, moved).await? {
            // RFC 7234, 5.5: code 299.
            Some(why) => _ = headers.append(WARNING, header(&format!("299 weir \"{why}\""))),
            // A tag that stays where it is does not lead to what was pushed.
            None if is_by_tag => name = tag.to_string(),
            None => _ = headers.append(TAG, header(tag.as_str())),
        }
    }
    headers.insert(LOCATION, header(&format!("{}/manifests/{name}", entered.path())));
    headers.insert(CONTENT_DIGEST, header(manifest.digest.as_str()));
    if let Some(subject) = &manifest.subject {
        headers.insert(SUBJECT, header(subject.digest.as_str()));
    }
    Ok(response)
}

/// The tags named in a query, each once.
fn more_tags(query: &str) -> Result<Vec<TagName>> {
    let mut tags = Vec::new();
    for (_, tag) in pairs(query).filter(|(name, _)| name == "tag") {
        let tag = parse_tag(&tag)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.len() > MAX_TAGS { Err(Error::too_many_tags(MAX_TAGS)) } else { Ok(tags) }
}

/// The bytes of an image's configuration. One that is too large is kept as a blob and not looked into.
async fn read_config(registry: &Registry, manifest: &Manifest) -> Result<Option<Vec<u8>>> {
    let Some(config) = manifest.blobs().next().filter(|config| config.is_image_config()) else { return Ok(None) };
    let blob = match registry.blobs.read(&config.digest, None).await {
        // That it is missing is told with everything else that is.
        Err(blobs::Error::NotFound) => return Ok(None),
        read => read?,
    };
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
    image: &NewImage,
    tags: &[TagName],
    expected: &Expected,
) -> Result<Vec<Moved>> {
    let build_id = entered.principal.build_id();
    let kind = if build_id.is_some() { EventKind::Build } else { EventKind::Push };
    let to: Vec<_> = tags.iter().map(|tag| TagMove { tag, kind, reference: None, cause: None, build_id }).collect();
    let actor = entered.actor();
    let moves = registry.store.put_manifest_if(stream, image, to, expected, &actor).await?;
    let (repository, digest) = (stream.repository(), &image.digest);
    for (tag, moved) in tags.iter().zip(&moves) {
        if moved.outcome == Outcome::Moved {
            info!(image.digest = %digest, "{} pushed {repository}:{tag} as {digest}", actor.name);
        } else {
            info!(image.digest = %digest, "{} pushed {digest} for {repository}:{tag}, which stays", actor.name);
        }
    }
    if tags.is_empty() {
        info!(image.digest = %digest, "{} pushed {repository}@{digest}", actor.name);
    }
    Ok(moves)
}

/// `DELETE /v2/<name>/manifests/<reference>`: by tag the tag goes and its history stays; by digest the repository stops
/// serving the manifest, and the tags that point to it go, too.
pub(super) async fn delete(
    State(registry): State<Registry>,
    Path((project, name, reference)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Edit).await?;
    let stream = entered.stream(&registry).await?;
    match Reference::find(&reference)? {
        Reference::Tag(tag) => {
            registry.store.delete_tag(&stream.project, &stream.name, tag.as_str(), &entered.actor()).await?;
        }
        Reference::Digest(digest) => {
            if !registry.store.delete_manifest(&stream, digest.as_str(), &entered.actor()).await? {
                return Err(Error::manifest_unknown(&reference));
            }
        }
    }
    Ok(StatusCode::ACCEPTED.into_response())
}
