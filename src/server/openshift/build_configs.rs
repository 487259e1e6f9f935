//! `buildconfigs`: how images are built, and the request to build one now. The conversion is in `build_specs`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::build_specs::{self, GivenConfig};
use super::caller::Caller;
use super::images::typed;
use super::kind::BUILD_CONFIGS;
use super::list::{ListQuery, envelope};
use super::metadata::{ObjectMeta, read_object, texts};
use super::past::AsOf;
use super::status::Status;
use super::{Door, builds, deleted, past};
use crate::model::{AppName, BuildConfig, served_at};
use crate::server::store::{BuildRequest, ConfigFields};

/// Configs of a project. With `as_of` those it had at that moment.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &BUILD_CONFIGS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::configs(&door, &project, &moment, &query).await?));
    }
    query.check_fields(&[])?;
    let version = door.store.last_sequence().await?;
    let page = query
        .page(
            |after, limit| {
                let (store, project) = (&door.store, &project);
                async move { store.list_configs(project, &after, limit).await }
            },
            |config| config.name.clone(),
            |config| query.wants(&config.name, &texts(&config.labels)),
        )
        .await?;
    let mut items = Vec::with_capacity(page.items.len());
    for config in &page.items {
        items.push(shape(&door, config).await?);
    }
    Ok(Json(envelope(&BUILD_CONFIGS, version, page.next.as_deref(), items)))
}

/// One config.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &BUILD_CONFIGS, &project, &name).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::config(&door, &project, &name, &moment).await?));
    }
    show(&door, &door.store.config(&project, &name).await?).await
}

/// Makes a config, and the stream it builds for when there is none.
pub async fn create(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &BUILD_CONFIGS, &project, "").await?;
    let (given, warnings) = read_config(&body, &project, "")?;
    let about = |status: Status| status.about(&BUILD_CONFIGS, &given.meta.name);
    let name = given.meta.name.parse();
    let name: AppName =
        name.map_err(|error| about(Status::bad_name(given.meta.name_field(), &given.meta.name, &error)))?;
    let fields = given.fields(&project, &door.own_hosts).map_err(about)?;
    check_sources(&door, &caller, &project, &fields).await?;
    let made = door.store.create_config(&project, &name, &fields, &caller.actor()).await;
    let config = made.map_err(|error| given.meta.not_made(about(error.into())))?;
    Ok((StatusCode::CREATED, warnings, show(&door, &config).await?))
}

/// Changes a config. That builds nothing by itself.
pub async fn update(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &BUILD_CONFIGS, &project, &name).await?;
    door.store.config(&project, &name).await?;
    let (given, warnings) = read_config(&body, &project, &name)?;
    given.meta.check_name(&name)?;
    let about = |status: Status| status.about(&BUILD_CONFIGS, &name);
    let version = given.meta.required_version().map_err(about)?;
    let fields = given.fields(&project, &door.own_hosts).map_err(about)?;
    check_sources(&door, &caller, &project, &fields).await?;
    let changed = door.store.update_config(&project, &name, &fields, Some(version), &caller.actor()).await;
    let config = changed.map_err(|error| about(error.into()))?;
    Ok((warnings, show(&door, &config).await?))
}

/// Deletes a config with its builds. What it built stays.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &BUILD_CONFIGS, &project, &name).await?;
    let config = door.store.config(&project, &name).await?;
    door.store.delete_config(&project, &name, &caller.actor()).await?;
    Ok(Json(deleted(&BUILD_CONFIGS, &name, &config.id)))
}

/// Starts a build.
pub async fn instantiate(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &BUILD_CONFIGS, &project, &name).await?;
    let config = door.store.config(&project, &name).await?;
    let ((asked, commit, last_version), warnings) = body.read(|root| {
        root.pass_over_all(&["kind", "apiVersion"]);
        root.without_effect(&[
            "binary",
            "dockerStrategyOptions",
            "env",
            "from",
            "sourceStrategyOptions",
            "triggeredByImage",
        ]);
        let meta = root.get("metadata");
        meta.pass_over();
        let mut message = None;
        for cause in root.get("triggeredBy").items()? {
            cause.pass_over_all(&[
                "bitbucketWebHook",
                "genericWebHook",
                "githubWebHook",
                "gitlabWebHook",
                "imageChangeBuild",
            ]);
            message = message.or(cause.get("message").filled()?);
        }
        let revision = root.get("revision");
        revision.pass_over_all(&["type"]);
        let git = revision.get("git");
        git.pass_over_all(&["author", "committer", "message"]);
        let commit = git.get("commit").filled()?;
        Ok(((meta.get("name").filled()?, message), commit, root.get("lastVersion").number::<i64>()?))
    })?;
    let (asked_name, message) = asked;
    if asked_name.is_some_and(|asked| asked != name) {
        return Err(Status::bad_request("the name of the build request does not match the name on the URL"));
    }
    if let Some(version) = last_version.filter(|version| *version != config.last_number) {
        return Err(Status::bad_request(format!(
            "the LastVersion({}) on build config {project}/{name} does not match the build request LastVersion({version})",
            config.last_number
        )));
    }
    let mut request = BuildRequest::manual(caller.actor());
    request.commit = commit;
    if let Some(message) = message {
        request.text = message.chars().take(500).collect();
    }
    let started = door.store.start_build(&project, &name, request).await;
    let build = started.map_err(|error| Status::from(error).about(&BUILD_CONFIGS, &name))?;
    Ok((StatusCode::CREATED, warnings, Json(builds::show(&door, &build).await?)))
}

/// An image of another project may be built on only by who may pull it.
async fn check_sources(door: &Door, caller: &Caller, project: &str, fields: &ConfigFields) -> Result<(), Status> {
    for tag in fields.inputs.as_slice().iter().filter_map(|input| input.stands_for.as_ref()) {
        if tag.project != project {
            caller.may_pull_from(door, &tag.project).await?;
        }
    }
    Ok(())
}

fn read_config(body: &Body, project: &str, name: &str) -> Result<(GivenConfig, Warnings), Status> {
    read_object(body, &BUILD_CONFIGS, project, name, |root, meta| build_specs::read(&root.get("spec"), meta, project))
}

async fn show(door: &Door, config: &BuildConfig) -> Result<Json<Value>, Status> {
    Ok(Json(typed(&BUILD_CONFIGS, shape(door, config).await?)))
}

async fn shape(door: &Door, config: &BuildConfig) -> Result<Value, Status> {
    let spec = config.spec()?;
    let meta = ObjectMeta::new(&config.name, &config.project, &config.id, config.version, config.created_at);
    let meta =
        ObjectMeta { generation: Some(config.generation), ..meta }.described(&config.labels, &config.annotations);
    let mut object = build_specs::show(&spec, &config.project);
    object["nodeSelector"] = Value::Null;
    object["postCommit"] = json!({});
    object["resources"] = json!({});
    object["runPolicy"] = "Serial".into();
    object["triggers"] = build_specs::triggers(config);
    let inputs = door.store.list_inputs(&config.id).await?;
    let image_changes: Vec<Value> = inputs
        .iter()
        .filter_map(|input| {
            let tag = input.stands_for()?;
            let digest = input.used_digest.as_deref()?;
            Some(json!({
                "from": {"name": tag.title(), "namespace": tag.project},
                "lastTriggeredImageID": served_at(&door.registry_host, &tag.project, &tag.stream, digest),
                "lastTriggerTime": crate::model::rfc3339(input.used_at.unwrap_or_default()),
            }))
        })
        .collect();
    Ok(json!({
        "metadata": meta,
        "spec": object,
        "status": {"lastVersion": config.last_number, "imageChangeTriggers": image_changes},
    }))
}
