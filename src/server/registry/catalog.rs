//! The list of repositories. The OCI specification has left it out; Docker's registry has it, and tools ask for it.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Registry;
use super::enter::Caller;
use super::error::Result;
use super::paging::{Page, cut, link};

#[derive(Serialize)]
struct Catalog {
    repositories: Vec<String>,
}

/// `GET /v2/_catalog`: the repositories that the caller may see, in the order of their names' bytes.
pub(super) async fn list(
    State(registry): State<Registry>,
    Query(page): Query<Page>,
    caller: Caller,
) -> Result<Response> {
    let principal = caller.enter_catalog()?;
    let n = page.size()?;
    // Builds and engines are no members: their token's project is what they see.
    let user = principal.user.as_ref().and_then(|_| principal.list_for());
    let listed = registry.store.list_repositories(user, principal.project_limit(), page.last(), n + 1).await;
    let mut repositories = listed?;
    let next = cut(&mut repositories, n, "/v2/_catalog");
    let mut response = Json(Catalog { repositories }).into_response();
    link(&mut response, next);
    Ok(response)
}
