//! `builds`: runs of build configs, their logs, and stopping or repeating one.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body as ResponseBody;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Body, Warnings};
use super::caller::Caller;
use super::images::typed;
use super::kind::{BUILD_CONFIGS, BUILDS};
use super::list::{ListQuery, envelope};
use super::metadata::{ObjectMeta, OwnerReference, read_head};
use super::past::AsOf;
use super::status::Status;
use super::{Door, build_log, build_specs, deleted};
use crate::model::{Build, BuildConfig, BuildPhase, InputKind, ResolvedInput, label_value, rfc3339};

mod past;

/// Builds of a project, oldest first.
pub async fn list(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    query: ListQuery,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &BUILDS, &project, "").await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::list(&door, &project, &moment, &query).await?));
    }
    query.check_fields(&["status"])?;
    let version = door.store.last_sequence().await?;
    let configs = configs_by_id(&door, &project).await?;
    let page = query
        .page(
            |after, limit| {
                let (store, project) = (&door.store, &project);
                let after = after.parse().unwrap_or(0);
                async move { store.list_builds_after(project, after, limit).await }
            },
            |build| build.sequence.to_string(),
            |build| {
                let labels = labels(build, configs.get(&build.config_id));
                query.wants(&build.name(), &labels) && query.wants_field("status", build.phase.as_str())
            },
        )
        .await?;
    let items: Result<Vec<Value>, Status> =
        page.items.iter().map(|build| shape(&door, build, configs.get(&build.config_id))).collect();
    Ok(Json(envelope(&BUILDS, version, page.next.as_deref(), items?)))
}

async fn configs_by_id(door: &Door, project: &str) -> Result<BTreeMap<String, BuildConfig>, Status> {
    let mut configs = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = door.store.list_configs(project, &after, 500).await?;
        match page.last() {
            None => return Ok(configs),
            Some(last) => after.clone_from(&last.name),
        }
        configs.extend(page.into_iter().map(|config| (config.id.clone(), config)));
    }
}

/// One build.
pub async fn get(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    AsOf(as_of): AsOf,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "get", &BUILDS, &project, &name).await?;
    if let Some(moment) = as_of {
        return Ok(Json(past::one(&door, &project, &name, &moment).await?));
    }
    Ok(Json(show(&door, &find(&door, &project, &name).await?).await?))
}

/// Takes a build as its client wants it; what may be wanted is `status.cancelled`, as `oc cancel-build` does.
pub async fn update(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "update", &BUILDS, &project, &name).await?;
    let build = find(&door, &project, &name).await?;
    let ((meta, cancelled), warnings) = body.read(|root| {
        let meta = read_head(&root, &BUILDS, &project)?;
        // A build's spec never changes, and its state is the server's to say.
        root.pass_over_all(&["spec"]);
        let status = root.get("status");
        status.pass_over();
        Ok((meta, status.get("cancelled").flag()?))
    })?;
    meta.check_name(&name)?;
    if meta.version.is_some_and(|version| version != build.version) {
        return Err(Status::conflict(format!(
            "Operation cannot be fulfilled on builds.build.openshift.io \"{name}\": the object has been modified; please apply your \
             changes to the latest version and try again"
        )));
    }
    let build = if cancelled {
        door.store.cancel_build(&project, &build.config, build.number, &caller.actor()).await?
    } else {
        build
    };
    Ok((warnings, Json(show(&door, &build).await?)))
}

/// Deletes a build that has ended, and its log.
pub async fn delete(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "delete", &BUILDS, &project, &name).await?;
    let build = find(&door, &project, &name).await?;
    door.store.delete_build(&project, &build.config, build.number, &caller.actor()).await?;
    Ok(Json(deleted(&BUILDS, &name, &build.id)))
}

/// Builds again with the very inputs of this build.
pub async fn clone(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    body: Body,
) -> Result<(StatusCode, Warnings, Json<Value>), Status> {
    caller.may(&door, "create", &BUILDS, &project, &name).await?;
    let build = find(&door, &project, &name).await?;
    let (_, warnings) = body.read(|root| {
        root.pass_over_all(&["kind", "apiVersion", "metadata", "triggeredBy"]);
        root.without_effect(&["dockerStrategyOptions", "env", "from", "revision", "sourceStrategyOptions"]);
        Ok(())
    })?;
    let build = door.store.rebuild(&project, &build.config, build.number, caller.actor()).await?;
    Ok((StatusCode::CREATED, warnings, Json(show(&door, &build).await?)))
}

/// How much of a log is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogQuery {
    follow: String,
    nowait: String,
    tail_lines: Option<i64>,
    limit_bytes: Option<usize>,
}

/// A build's log as text, to its end when it is followed.
pub async fn log(
    State(door): State<Door>,
    caller: Caller,
    Path((project, name)): Path<(String, String)>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Status> {
    caller.may(&door, "get", &BUILDS, &project, &name).await?;
    let build = find(&door, &project, &name).await?;
    if build.log_lines == 0 {
        match build.phase {
            BuildPhase::Cancelled => {
                return Err(Status::bad_request(format!("build {name} was cancelled. No logs are available.")));
            }
            BuildPhase::Error => {
                return Err(Status::bad_request(format!("build {name} is in an error state. No logs are available.")));
            }
            _ => {}
        }
    }
    let wanted = build_log::Wanted {
        follow: is_true(&query.follow),
        wait: !is_true(&query.nowait),
        from: query.tail_lines.map_or(1, |lines| (build.log_lines - lines.max(0) + 1).max(1)),
        limit_bytes: query.limit_bytes,
    };
    let stream = build_log::read(door.store.clone(), build, wanted, door.stop.clone());
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CONTENT_ENCODING, "identity")];
    Ok((headers, ResponseBody::from_stream(stream)).into_response())
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}

async fn find(door: &Door, project: &str, name: &str) -> Result<Build, Status> {
    let not_found = || Status::not_found(&BUILDS, name);
    let (config, number) = halves(name).ok_or_else(not_found)?;
    door.store.find_build(project, config, number).await?.ok_or_else(not_found)
}

/// `<config>-<number>`
fn halves(name: &str) -> Option<(&str, i64)> {
    let (config, number) = name.rsplit_once('-')?;
    Some((config, number.parse().ok()?))
}

/// A build as it goes over the wire.
pub async fn show(door: &Door, build: &Build) -> Result<Value, Status> {
    let config = door.store.find_config(&build.project, &build.config).await?;
    Ok(typed(&BUILDS, shape(door, build, config.as_ref())?))
}

fn labels(build: &Build, config: Option<&BuildConfig>) -> BTreeMap<String, String> {
    let mut labels = config.map(|config| super::metadata::texts(&config.labels)).unwrap_or_default();
    let name = build.name();
    let own = [
        ("buildconfig", label_value(&build.config)),
        ("openshift.io/build-config.name", label_value(&build.config)),
        ("openshift.io/build.name", label_value(&name)),
        ("openshift.io/build.start-policy", "Serial"),
    ];
    labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    labels
}

fn meta(build: &Build, config: Option<&BuildConfig>) -> ObjectMeta {
    let name = build.name();
    let mut meta = ObjectMeta::new(&name, &build.project, &build.id, build.version, build.queued_at);
    meta.labels = labels(build, config);
    let mut annotate = |key: &str, value: String| meta.annotations.insert(key.to_owned(), value);
    annotate("openshift.io/build-config.name", build.config.clone());
    annotate("openshift.io/build.number", build.number.to_string());
    annotate("openshift.io/build.pod-name", format!("{name}-build"));
    if let Some(number) = build.rebuild_of {
        annotate("openshift.io/build.clone-of", format!("{}-{number}", build.config));
    }
    meta.owner_references = vec![OwnerReference {
        api_version: BUILD_CONFIGS.api_version(),
        kind: BUILD_CONFIGS.kind,
        name: build.config.clone(),
        uid: build.config_id.clone(),
        controller: true,
    }];
    meta
}

fn shape(door: &Door, build: &Build, config: Option<&BuildConfig>) -> Result<Value, Status> {
    let spec = build.spec()?;
    let inputs = build.inputs()?;
    let mut shown = build_specs::show(&spec, &build.project);
    // What the strategy's `from` stood for when the build was requested.
    if let Some(from) = inputs.iter().find(|input| input.kind == InputKind::Strategy) {
        let name = pull_spec(door, from).unwrap_or_else(|| from.reference.clone());
        shown["strategy"]["dockerStrategy"]["from"] = json!({"kind": "DockerImage", "name": name});
    }
    shown["serviceAccount"] = "builder".into();
    shown["resources"] = json!({});
    shown["postCommit"] = json!({});
    shown["nodeSelector"] = Value::Null;
    shown["triggeredBy"] = json!([{"message": build.trigger_text}]);
    if let Some(revision) = revision(build)? {
        shown["revision"] = revision;
    }
    Ok(json!({"metadata": meta(build, config), "spec": shown, "status": status(door, build, &spec)}))
}

/// `host/project/stream@digest` of an input that stood for a stream's tag.
fn pull_spec(door: &Door, input: &ResolvedInput) -> Option<String> {
    input.pull_spec(&door.registry_host)
}

fn revision(build: &Build) -> Result<Option<Value>, Status> {
    let Some(text) = &build.revision else {
        return Ok(build.commit_requested.as_ref().map(|commit| json!({"type": "Git", "git": {"commit": commit}})));
    };
    let revision: Value = serde_json::from_str(text)?;
    let author = revision["author"].as_str().unwrap_or_default();
    let (name, email) = author.split_once(" <").unwrap_or((author, ""));
    Ok(Some(json!({
        "type": "Git",
        "git": {
            "commit": revision["commit"],
            "author": {"name": name, "email": email.trim_end_matches('>')},
            "message": revision["message"],
        },
    })))
}

fn status(door: &Door, build: &Build, spec: &crate::model::BuildConfigSpec) -> Value {
    let mut status = json!({
        "phase": build.phase,
        "config": {"kind": "BuildConfig", "namespace": build.project, "name": build.config},
        "output": {},
        "outputDockerImageReference":
            format!("{}/{}/{}:{}", door.registry_host, build.project, spec.output_stream, spec.output_tag),
    });
    if build.cancel_requested_at.is_some() {
        status["cancelled"] = true.into();
    }
    for (key, text) in [("reason", &build.reason), ("message", &build.message)] {
        if let Some(text) = text {
            status[key] = text.as_str().into();
        }
    }
    for (key, at) in [("startTimestamp", build.started_at), ("completionTimestamp", build.finished_at)] {
        if let Some(at) = at {
            status[key] = rfc3339(at).into();
        }
    }
    if let (Some(start), Some(end)) = (build.started_at, build.finished_at) {
        // Nanoseconds.
        status["duration"] = ((end - start).max(0) * 1_000_000).into();
    }
    if let Some(digest) = &build.output_digest {
        status["output"] = json!({"to": {"imageDigest": digest}});
    }
    status
}
