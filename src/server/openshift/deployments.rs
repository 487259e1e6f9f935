//! `deployments`: apps, in the words of Kubernetes. The conversion is in `app_specs`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::app_specs::{self, GivenApp};
use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::typed;
use super::kind::DEPLOYMENTS;
use super::list::{ListQuery, envelope};
use super::metadata::{ObjectMeta, read_object, texts};
use super::past::AsOf;
use super::status::{Cause, Status};
use super::{Door, deleted, past};
use crate::model::{App, AppName, AppSpec, Lookup, Named, Reason, rfc3339};
use crate::server::rollout::Observed;
use crate::server::store::{Asker, Error};

/// Apps of a project.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &DEPLOYMENTS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::apps(&door, &project, &moment, &query).await?));
    }
    query.check_fields(&[])?;
    let version = door.store.last_sequence().await?;
    let page = query
        .page(
            |after, limit| {
                let (store, project) = (&door.store, &project);
                async move { store.list_apps(project, &after, limit).await }
            },
            |app| app.name.clone(),
            |app| query.wants(&app.name, &texts(&app.labels)),
        )
        .await?;
    let items: Result<Vec<Value>, Status> = page.items.iter().map(|app| shape(&door, app)).collect();
    Ok(Json(envelope(&DEPLOYMENTS, version, page.next.as_deref(), items?)))
}

/// One app.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &DEPLOYMENTS, &project, &name).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::app(&door, &project, &name, &moment).await?));
    }
    show(&door, &door.store.app(&project, &name).await?)
}

/// Makes an app.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &DEPLOYMENTS, &project, "").await?;
    let (given, warnings) = read_app(&door, &body, &project, "")?;
    let about = |status: Status| status.about(&DEPLOYMENTS, &given.meta.name);
    let name = given.meta.name.parse();
    let name: AppName =
        name.map_err(|error| about(Status::bad_name(given.meta.name_field(), &given.meta.name, &error)))?;
    check_image(&door, &caller, &project, &given).await?;
    let made = door.store.create_app(&project, &name, &given.fields()?, &caller.actor()).await;
    let app = made.map_err(|error| given.meta.not_made(about(at_its_field(error))))?;
    Ok((StatusCode::CREATED, warnings, show(&door, &app)?))
}

/// Changes an app; a change of how it runs rolls it out.
pub async fn update(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &DEPLOYMENTS, &project, &name).await?;
    door.store.app(&project, &name).await?;
    let (given, warnings) = read_app(&door, &body, &project, &name)?;
    given.meta.check_name(&name)?;
    check_image(&door, &caller, &project, &given).await?;
    let changed = door.store.update_app(&project, &name, &given.fields()?, given.meta.version, &caller.actor()).await;
    let app = changed.map_err(|error| at_its_field(error).about(&DEPLOYMENTS, &name))?;
    Ok((warnings, show(&door, &app)?))
}

/// Stops and deletes an app.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &DEPLOYMENTS, &project, &name).await?;
    let app = door.store.app(&project, &name).await?;
    door.store.delete_app(&project, &name, &caller.actor()).await?;
    Ok(Json(deleted(&DEPLOYMENTS, &name, &app.id)))
}

fn read_app(door: &Door, body: &Body, project: &str, name: &str) -> Result<(GivenApp, Warnings), Status> {
    read_object(body, &DEPLOYMENTS, project, name, |root, meta| {
        app_specs::read(&root.get("spec"), meta, project, &door.own_hosts)
    })
}

/// An app of one project may run an image of another only when its author may pull it; a short name means a stream that says so
/// (`lookupPolicy.local`).
async fn check_image(door: &Door, caller: &Caller, project: &str, given: &GivenApp) -> Result<(), Status> {
    if given.image.project != project {
        return caller.may_pull_from(door, &given.image.project).await;
    }
    if !given.short_name {
        return Ok(());
    }
    let named = Named::Tag { tag: given.image.clone(), short: true };
    let asker = Asker { host: &door.registry_host, lookup: Lookup::Recent, any_short_name: false };
    let found = door.store.resolve(&named, &asker).await?;
    let not_local = found.resolved.why.iter().find(|reason| matches!(reason, Reason::NotLocal { .. }));
    not_local.map_or(Ok(()), |reason| {
        let message = format!(
            "{reason}. Set it, name {}/{} in full, or name the tag in the annotation image.openshift.io/triggers",
            door.registry_host, given.image
        );
        Err(Status::invalid(vec![Cause::invalid_value(IMAGE_FIELD, &given.image.title(), message)]))
    })
}

const IMAGE_FIELD: &str = "spec.template.spec.containers[0].image";

/// The store speaks of an app's image; at this door that is a field of its pod template.
fn at_its_field(error: Error) -> Status {
    match error {
        Error::Invalid { field, message } if field == "image" => {
            Error::Invalid { field: IMAGE_FIELD.to_owned(), message }.into()
        }
        other => other.into(),
    }
}

fn show(door: &Door, app: &App) -> Result<Json<Value>, Status> {
    Ok(Json(typed(&DEPLOYMENTS, shape(door, app)?)))
}

fn shape(door: &Door, app: &App) -> Result<Value, Status> {
    let spec = app.spec()?;
    let observed: Observed = match &app.observed {
        Some(text) => serde_json::from_str(text)?,
        None => Observed::default(),
    };
    let meta = ObjectMeta::new(&app.name, &app.project, &app.id, app.version, app.created_at);
    let mut meta = ObjectMeta { generation: Some(app.generation), ..meta }.described(&app.labels, &app.annotations);
    let shown_spec = app_specs::show(app, &spec, &mut meta.annotations, &door.registry_host);
    Ok(json!({"metadata": meta, "spec": shown_spec, "status": status(app, &spec, &observed)}))
}

/// What the engine was last seen doing, never what it was told.
fn status(app: &App, spec: &AppSpec, observed: &Observed) -> Value {
    let ready = observed.replicas.iter().filter(|replica| replica.ready).count();
    let updated = observed.replicas.iter().filter(|replica| match &replica.digest {
        Some(digest) => Some(digest.as_str()) == app.wanted_digest.as_deref(),
        None => observed.rollout == Some(app.last_number) && !observed.updating,
    });
    let wanted = usize::try_from(spec.replicas).unwrap_or(usize::MAX);
    let given = app.last_number > 0 && observed.rollout == Some(app.last_number);
    let mut status = json!({
        "observedGeneration": if given { app.generation } else { app.generation - 1 },
        "replicas": observed.replicas.len(),
        "updatedReplicas": updated.count(),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": conditions(app, ready, wanted),
    });
    if ready < wanted {
        status["unavailableReplicas"] = (wanted - ready).into();
    }
    status
}

fn conditions(app: &App, ready: usize, wanted: usize) -> Value {
    let at = rfc3339(app.observed_at.unwrap_or(app.created_at));
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastUpdateTime": at, "lastTransitionTime": at,
        })
    };
    let available = if ready >= wanted {
        condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        condition(
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            &format!("{ready} of {wanted} replicas were observed ready."),
        )
    };
    let message = app.wanted_message.as_deref().unwrap_or_default();
    let progressing = match app.wanted_phase.as_deref() {
        Some("Complete") => condition("Progressing", "True", "NewReplicaSetAvailable", "The rollout is complete."),
        Some("Failed") => condition("Progressing", "False", "ProgressDeadlineExceeded", message),
        Some(_) => condition("Progressing", "True", "ReplicaSetUpdated", "The rollout is under way."),
        None => condition("Progressing", "False", "ImageMissing", "Its tag points to no image yet."),
    };
    let mut conditions = vec![available, progressing];
    if let Some(error) = &app.observe_error {
        conditions.push(condition("Observed", "False", "EngineUnreachable", error));
    }
    conditions.into()
}
