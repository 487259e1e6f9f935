//! Blobs that another repository has already, taken from there without their bytes being sent again.

use super::Registry;
use super::enter::Entered;
use super::error::Result;
use crate::model::{Digest, RepositoryName, Stream};
use crate::server::auth::Right;

/// How many repositories are tried when the client does not say which one has the blob.
const SOURCES: i64 = 50;

/// Takes a blob from another repository, if the caller may pull there; from any such one when the client names none. Where their ticket is
/// too narrow for that they are told which one to fetch. Anything else against it is no error: the client then uploads. A project that is
/// full refuses both.
pub(super) async fn mount(
    registry: &Registry,
    entered: &Entered,
    stream: &Stream,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool> {
    if !is_whole(registry, digest).await? {
        return Ok(false);
    }
    let Some(from) = from else { return mount_from_any(registry, entered, stream, digest).await };
    let Ok(RepositoryName { project, stream: name }) = from.parse() else { return Ok(false) };
    if !may_pull(registry, entered, project.as_str(), name.as_str()).await {
        return Ok(false);
    }
    let Some(source) = registry.store.find_stream(project.as_str(), name.as_str()).await? else { return Ok(false) };
    if registry.store.find_blob(&source.id, digest.as_str()).await?.is_none() {
        return Ok(false);
    }
    if registry.store.find_blob(&stream.id, digest.as_str()).await?.is_none() {
        entered.check_ticket(project.as_str(), name.as_str())?;
    }
    Ok(registry.store.mount_blob(&source.id, &stream.id, digest.as_str()).await?)
}

/// Whether the bytes are there that a mount would promise. Where they were lost, an upload brings them back.
async fn is_whole(registry: &Registry, digest: &Digest) -> Result<bool> {
    let Some(size) = registry.store.find_any_blob(digest.as_str()).await? else { return Ok(false) };
    Ok(registry.blobs.size(digest).await?.and_then(|kept| i64::try_from(kept).ok()) == Some(size))
}

async fn mount_from_any(registry: &Registry, entered: &Entered, stream: &Stream, digest: &Digest) -> Result<bool> {
    if registry.store.find_blob(&stream.id, digest.as_str()).await?.is_some() {
        return Ok(true);
    }
    let mut narrow = Ok(());
    for source in registry.store.list_blob_sources(digest.as_str(), SOURCES).await? {
        if !may_pull(registry, entered, &source.project, &source.stream).await {
            continue;
        }
        match entered.check_ticket(&source.project, &source.stream) {
            Ok(()) if registry.store.mount_blob(&source.stream_id, &stream.id, digest.as_str()).await? => {
                return Ok(true);
            }
            checked => narrow = narrow.and(checked),
        }
    }
    narrow.map(|()| false)
}

/// Whatever the ticket says.
async fn may_pull(registry: &Registry, entered: &Entered, project: &str, stream: &str) -> bool {
    entered.principal.rights_at(&registry.store, project, stream, Right::Pull).await.is_ok()
}
