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

/// `GET /v2/_catalog`: the repositories that the caller may see, in the order of their names' bytes. With `as_of` those that there were at that
/// moment, in projects that are there and that the caller may see now.
pub(super) async fn list(
    State(registry): State<Registry>,
    Query(page): Query<Page>,
    caller: Caller,
) -> Result<Response> {
    let principal = caller.enter_catalog()?;
    let n = page.size()?;
    // Builds and engines are no members: their token's project is what they see.
    let user = principal.user.as_ref().and_then(|_| principal.list_for());
    let (store, project, last) = (&registry.store, principal.project_limit(), page.last());
    let mut repositories = match page.moment()? {
        None => store.list_repositories(user, project, last, n + 1).await?,
        Some(moment) => store.list_repositories_then(&moment, user, project, last, n + 1).await?,
    };
    let next = cut(&mut repositories, n, &page, "/v2/_catalog");
    let mut response = Json(Catalog { repositories }).into_response();
    link(&mut response, next);
    Ok(response)
}
