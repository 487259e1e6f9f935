//! The list of a repository's tags.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Registry;
use super::blobs::header;
use super::enter::Caller;
use super::error::Result;
use crate::server::auth::Right;

/// The most tags in one answer; the rest is behind its `Link`.
const PAGE: i64 = 1000;

#[derive(Deserialize)]
pub(super) struct Page {
    n: Option<i64>,
    last: Option<String>,
}

#[derive(Serialize)]
struct TagList {
    name: String,
    tags: Vec<String>,
}

/// `GET /v2/<name>/tags/list`
pub(super) async fn list(
    State(registry): State<Registry>,
    Path((project, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    let stream = entered.stream(&registry).await?;
    let n = page.n.unwrap_or(PAGE).clamp(0, PAGE);
    let last = page.last.unwrap_or_default();
    // One more than asked for tells whether there are more.
    let mut tags = registry.store.list_tag_names(&stream.id, &last, n + 1).await?;
    let more = tags.len() as i64 > n;
    tags.truncate(usize::try_from(n).unwrap_or_default());
    // Tag names need no escaping in a URL.
    let link = tags
        .last()
        .filter(|_| more)
        .map(|last| format!("<{}/tags/list?n={n}&last={last}>; rel=\"next\"", entered.path()));
    let mut response = Json(TagList { name: stream.repository(), tags }).into_response();
    if let Some(link) = link {
        response.headers_mut().insert(LINK, header(&link));
    }
    Ok(response)
}
