//! `resolve`: what a reference written in a project stands for, what to pull for it, and why.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{Lookup, Named};
use crate::server::openshift::Door;
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::IMAGE_STREAM_TAGS;
use crate::server::openshift::status::{Cause, Status};
use crate::server::store::Asker;

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct Question {
    reference: Option<String>,
    /// `recent` (the default), `newest` or `image`
    lookup: Option<String>,
    /// `pod` (the default) or `build`: whose short names mean every stream of the project
    r#for: Option<String>,
}

/// What a reference comes to.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, "").await?;
    let Query(question) = question.map_err(|error| Status::bad_request(error.body_text()))?;
    let reference = question.reference.unwrap_or_default();
    if reference.is_empty() {
        return Err(Status::invalid(vec![Cause::required(
            "reference",
            "write what to resolve, for instance app:latest",
        )]));
    }
    let lookup = match question.lookup.as_deref() {
        None | Some("recent") => Lookup::Recent,
        Some("newest") => Lookup::Newest,
        Some("image") => Lookup::Image,
        Some(other) => return Err(unknown("lookup", other, "recent, newest or image")),
    };
    let any_short_name = match question.r#for.as_deref() {
        None | Some("pod") => false,
        Some("build") => true,
        Some(other) => return Err(unknown("for", other, "pod or build")),
    };
    let named = Named::read(&reference, &project, &door.own_hosts)
        .map_err(|error| Status::invalid(vec![Cause::invalid_value("reference", &reference, error)]))?;
    if let Some(other) = named.project().filter(|other| *other != project) {
        caller.may_pull_from(&door, other).await?;
    }
    let asker = Asker { host: &door.registry_host, lookup, any_short_name };
    let found = door.store.resolve(&named, &asker).await?;
    let resolved = found.resolved;
    Ok(Json(json!({
        "reference": reference,
        "project": found.tag.as_ref().map(|tag| &tag.project),
        "stream": found.tag.as_ref().map(|tag| &tag.stream),
        "tag": found.tag.as_ref().map(|tag| &tag.tag),
        "digest": resolved.digest,
        "pullSpec": resolved.pull_spec,
        "servedHere": resolved.here,
        "newer": resolved.newer,
        "hasStatus": resolved.has_status,
        "tagEmpty": resolved.is_tag_empty,
        "why": resolved.why.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })))
}

fn unknown(field: &str, value: &str, words: &str) -> Status {
    Status::invalid(vec![Cause::invalid_value(field, value, format!("must be {words}"))])
}
