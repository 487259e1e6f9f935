//! Tags as they were: `GET manifests/<tag>--asof-YYYYMMDDTHHMMZ`, and lists with `as_of`.

use axum::extract::{Query, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Registry;
use super::enter::Entered;
use super::error::{Error, Result};
use super::paging::Page;
use crate::model::{Moment, PastTag, PastTagError, StoredManifest, Stream};
use crate::server::store::{self, Past, StreamThen};

/// Refuses questions about the past where it has another form, or none: nobody is to take the present for it.
pub(super) async fn refuse_elsewhere(request: Request, next: Next) -> Response {
    // One that cannot be read, or is there twice, asks as well.
    let asks = request.uri().query().is_some_and(|query| query.contains("as_of") || query.contains("as-of"))
        && Query::<Page>::try_from_uri(request.uri()).map_or(true, |Query(page)| !page.moment_text().is_empty());
    if asks {
        return Error::paging(
            "as_of is for tags/list and _catalog: a tag as it was is pulled as <tag>--asof-YYYYMMDDTHHMMZ, and what has a digest never changes",
        )
        .into_response();
    }
    next.run(request).await
}

/// The stream that was the repository at a moment.
pub(super) async fn stream(registry: &Registry, entered: &Entered, moment: &Moment) -> Result<StreamThen> {
    let project = registry.store.project(entered.project.as_str()).await?;
    match registry.store.stream_then(&project.id, entered.name.as_str(), moment).await {
        Err(store::Error::NotFound { .. }) => Err(Error::name_unknown(format!(
            "project {} had no stream \"{}\" at {}",
            entered.project, entered.name, moment.words
        ))),
        found => Ok(found?),
    }
}

/// What the tag pointed to when the minute ended. A name that is not well written is nobody's: no tag may have it.
pub(super) async fn find(registry: &Registry, stream: &Stream, reference: &str) -> Result<StoredManifest> {
    let unknown = |why: String| Error::manifest_unknown_because(reference, why);
    let past: PastTag = reference.parse().map_err(|cause: PastTagError| unknown(cause.to_string()))?;
    let name = format!("{}:{}", stream.repository(), past.tag);
    let why = match registry.store.manifest_at(stream, &past).await? {
        Past::Manifest(manifest) => return Ok(manifest),
        Past::Future => format!("that minute is not over: {name} as it is now is pulled by its own name"),
        Past::Nothing => format!("{name} had no image then"),
        Past::Deleted => format!("{name} was deleted then"),
        Past::Named(elsewhere) => format!("{name} only named {elsewhere} then, which is not in this repository"),
        Past::Gone(digest) => format!("{name} pointed to {digest} then, which this repository does not have any more"),
    };
    Err(unknown(why))
}
