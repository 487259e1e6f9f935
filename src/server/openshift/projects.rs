//! `projects` and `projectrequests`: what one may see, and how one makes a project of one's own.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::typed;
use super::kind::{PROJECT_REQUESTS, PROJECTS};
use super::list::{ListQuery, envelope};
use super::metadata::{ObjectMeta, read_head};
use super::past::{AsOf, past};
use super::status::{Cause, Status};
use super::{Door, deleted};
use crate::model::{Moment, Project, ProjectName};
use crate::server::store::Error;

/// Projects the caller may see. With `as_of` those of them that there were at that moment; deleted ones are gone with all they had.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    query.check_fields(&[])?;
    let version = door.store.last_sequence().await?;
    let page = query
        .page(
            |after, limit| {
                let (store, user, as_of) = (&door.store, caller.principal().list_for(), as_of.as_ref());
                async move {
                    match as_of {
                        None => store.list_projects(user, &after, limit).await,
                        Some(moment) => store.list_projects_then(user, moment, &after, limit).await,
                    }
                }
            },
            |project| project.name.clone(),
            |project| caller.principal().may_see(&project.name) && query.wants(&project.name, &BTreeMap::new()),
        )
        .await?;
    let items = page.items.iter().map(|project| shape(project, as_of.as_ref())).collect();
    Ok(Json(envelope(&PROJECTS, version, page.next.as_deref(), items)))
}

/// One project.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path(name): Path<String>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &PROJECTS, &name, &name).await?;
    let project = door.store.project(&name).await?;
    if let Some(moment) = as_of.as_ref().filter(|moment| project.created_at >= moment.end) {
        return Err(Status::not_found(&PROJECTS, &format!("{name} at {}", moment.words)));
    }
    Ok(Json(typed(&PROJECTS, shape(&project, as_of.as_ref()))))
}

/// Deletes a project with everything in it.
pub async fn delete(State(door): State<Door>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &PROJECTS, &name, &name).await?;
    let project = door.store.project(&name).await?;
    door.store.delete_project(&name, &caller.actor()).await?;
    Ok(Json(deleted(&PROJECTS, &name, &project.id)))
}

/// Whether the caller may make projects: every user may, with their whole rights.
pub async fn may_request(State(_): State<Door>, caller: Caller) -> Result<Json<Value>, Status> {
    caller.may_request_projects("list")?;
    Ok(Json(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
}

/// Makes a project; the caller becomes its admin.
pub async fn request(
    State(door): State<Door>,
    caller: Caller,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may_request_projects("create")?;
    let ((meta, display_name, description), warnings) = body.read(|root| {
        let meta = read_head(&root, &PROJECT_REQUESTS, "")?.with_name();
        Ok((meta, root.get("displayName").text_or_empty()?, root.get("description").text_or_empty()?))
    })?;
    let name: ProjectName = meta.name.parse().map_err(|error| {
        Status::bad_name(meta.name_field(), &meta.name, &error).about(&PROJECT_REQUESTS, &meta.name)
    })?;
    for (field, text) in [("displayName", &display_name), ("description", &description)] {
        if text.chars().count() > 1000 {
            let cause = Cause::invalid_value(field, text, "may have at most 1000 characters");
            return Err(Status::invalid(vec![cause]).about(&PROJECT_REQUESTS, &meta.name));
        }
    }
    let owner = caller.principal().user.as_ref().map(|user| user.id.as_str());
    let made = door.store.create_project(&name, &display_name, &description, owner, &caller.actor()).await;
    let project = made.map_err(|error| match error {
        Error::Exists { .. } => meta.not_made(Status::already_exists_singular(&PROJECTS, name.as_str())),
        other => Status::from(other).about(&PROJECT_REQUESTS, name.as_str()),
    })?;
    Ok((StatusCode::CREATED, warnings, Json(typed(&PROJECTS, shape(&project, None)))))
}

/// A project is named and described for good when it is made: as of a moment it is as it is now.
fn shape(project: &Project, as_of: Option<&Moment>) -> Value {
    let mut meta = ObjectMeta::new(&project.name, "", &project.id, project.version, project.created_at);
    for (key, value) in [
        ("openshift.io/description", &project.description),
        ("openshift.io/display-name", &project.display_name),
        ("openshift.io/requester", &project.created_by),
    ] {
        if !value.is_empty() {
            meta.annotations.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(moment) = as_of {
        meta = past(meta, moment, None, None);
    }
    json!({"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}
