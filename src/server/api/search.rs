//! `search`: streams, tags, images, builds and apps of a project, or of all that one may see, each by pages.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::limit_in_range;
use crate::model::{SEARCHED_WORDS, SHORT_DIGEST, SearchQuery};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAMS;
use crate::server::openshift::status::{Cause, Status};
use crate::server::store::{Found, SEARCHED_KINDS, Scope, SearchCursor};

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct Question {
    #[serde(default)]
    q: String,
    /// One of [`SEARCHED_KINDS`]; without it, the first of each.
    kind: Option<String>,
    after: Option<String>,
    limit: Option<i64>,
}

/// What a search of one project finds: a page of one kind, or the first page of each.
pub async fn in_project(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &IMAGE_STREAMS, &project, "").await?;
    let Query(question) = question.map_err(|error| Status::bad_request(error.body_text()))?;
    let scope = Scope { user_id: None, project: Some(&project), ..caller.principal().scope() };
    answer(&door, scope, &question).await
}

/// The same in all projects that the caller may see.
pub async fn everywhere(
    State(door): State<Door>,
    caller: Caller,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    let Query(question) = question.map_err(|error| Status::bad_request(error.body_text()))?;
    answer(&door, caller.principal().scope(), &question).await
}

async fn answer(door: &Door, scope: Scope<'_>, question: &Question) -> Result<Json<Value>, Status> {
    let limit = limit_in_range(question.limit)?;
    let query = SearchQuery::parse(&question.q)
        .ok_or_else(|| Status::invalid(vec![Cause::required("q", "write what to search for")]))?;
    let refused = |why: &str| Status::invalid(vec![Cause::invalid_value("q", &question.q, why)]);
    if query.is_short_digest {
        return Err(refused(SHORT_DIGEST));
    }
    if query.is_cut {
        return Err(refused(&format!("at most {SEARCHED_WORDS} words are looked for at once")));
    }
    let after = match &question.after {
        None => None,
        Some(text) => Some(SearchCursor::parse(text).ok_or_else(|| {
            Status::bad_request(format!("after={text} is no place in a search: take the next of a page"))
        })?),
    };
    let Some(kind) = &question.kind else {
        if after.is_some() {
            return Err(Status::bad_request("after goes with a kind: each has its own pages"));
        }
        let mut found = serde_json::Map::new();
        for kind in SEARCHED_KINDS {
            found.insert(format!("{kind}s"), page(door, scope, &query, kind, None, limit).await?);
        }
        return Ok(Json(found.into()));
    };
    if !SEARCHED_KINDS.contains(&kind.as_str()) {
        let message = format!("must be one of {}", SEARCHED_KINDS.join(", "));
        return Err(Status::invalid(vec![Cause::invalid_value("kind", kind, message)]));
    }
    Ok(Json(page(door, scope, &query, kind, after.as_ref(), limit).await?))
}

async fn page(
    door: &Door,
    scope: Scope<'_>,
    query: &SearchQuery,
    kind: &str,
    after: Option<&SearchCursor>,
    limit: i64,
) -> Result<Value, Status> {
    let mut found = door.store.search(scope, query, kind, after, limit + 1).await?;
    let kept = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > kept;
    found.truncate(kept);
    let next = found.last().filter(|_| more).map(Found::cursor);
    Ok(json!({"items": found.iter().map(show).collect::<Vec<_>>(), "next": next}))
}

fn show(found: &Found) -> Value {
    let by = if found.kind == "image" && found.entry_id == 0 { "digest" } else { found.field.as_str() };
    json!({
        "kind": found.kind,
        "project": found.project,
        "name": found.name,
        "about": found.about,
        "foundBy": by,
        "term": found.term,
    })
}
