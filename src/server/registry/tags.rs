//! The list of a repository's tags.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Registry;
use super::enter::Caller;
use super::error::Result;
use super::paging::{Page, cut, link};
use super::past;
use crate::server::auth::Right;

#[derive(Serialize)]
struct TagList {
    name: String,
    tags: Vec<String>,
}

/// `GET /v2/<name>/tags/list`, in the order of the names' bytes. With `as_of` the tags that pointed to a manifest at that moment, whether they
/// and the repository are there or were deleted since.
pub(super) async fn list(
    State(registry): State<Registry>,
    Path((project, name)): Path<(String, String)>,
    Query(page): Query<Page>,
    caller: Caller,
) -> Result<Response> {
    let entered = caller.enter(&registry, &project, &name, Right::Pull).await?;
    let n = page.size()?;
    let mut tags = match page.moment()? {
        None => {
            let stream = entered.stream(&registry).await?;
            registry.store.list_tag_names(&stream.id, page.last(), n + 1).await?
        }
        Some(moment) => {
            let stream = past::stream(&registry, &entered, &moment).await?;
            registry.store.list_tag_names_then(&stream, &moment, page.last(), n + 1).await?
        }
    };
    let next = cut(&mut tags, n, &page, &format!("{}/tags/list", entered.path()));
    let name = format!("{}/{}", entered.project, entered.name);
    let mut response = Json(TagList { name, tags }).into_response();
    link(&mut response, next);
    Ok(response)
}
