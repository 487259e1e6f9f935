//! The list of a repository's tags.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Registry;
use super::enter::Caller;
use super::error::Result;
use super::paging::{Page, cut, link};
use crate::server::auth::Right;

#[derive(Serialize)]
struct TagList {
    name: String,
    tags: Vec<String>,
}

/// `GET /v2/<name>/tags/list`, in the order of the names' bytes.
pub(super) async fn list(
    State(registry): State<Registry>,
    Path((project, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    let stream = entered.stream(&registry).await?;
    let n = page.size()?;
    let mut tags = registry.store.list_tag_names(&stream.id, page.last(), n + 1).await?;
    let next = cut(&mut tags, n, &format!("{}/tags/list", entered.path()));
    let mut response = Json(TagList { name: stream.repository(), tags }).into_response();
    link(&mut response, next);
    Ok(response)
}
