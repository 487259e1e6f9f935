//! The graph of a project, and what an action on it would set off.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::model::{Action, App, Graph, GraphTag, PlanStep, RollbackMode};
use crate::server::openshift::Door;
use crate::server::openshift::body::{Body, Warnings};
use crate::server::openshift::caller::Caller;
use crate::server::openshift::kind::{BUILD_CONFIGS, IMAGE_STREAM_TAGS};
use crate::server::openshift::status::Status;

/// Tags, build configs and apps of a project, and how they hang together. Edges are `from` and `to` by id. `onlyTied` says that tags
/// without any edge are left out, as there are many.
pub async fn graph(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
) -> Result<Json<Value>, Status> {
    caller.may(&door, "list", &BUILD_CONFIGS, &project, "").await?;
    let graph = door.store.graph(&project, None).await?;
    Ok(Json(show_graph(&graph)))
}

fn show_graph(graph: &Graph) -> Value {
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    let mut edge = |from: &str, to: &str, kind: &str, stale: bool| {
        edges.push(json!({"from": from, "to": to, "kind": kind, "stale": stale}));
    };
    let digests: BTreeMap<&str, &GraphTag> = graph.tags.iter().map(|tag| (tag.id.as_str(), tag)).collect();
    let points_to = |id: &str| digests.get(id).and_then(|tag| tag.digest.as_deref());
    for tag in &graph.tags {
        nodes.push(json!({
            "id": tag.id, "kind": "tag", "project": tag.project, "name": format!("{}:{}", tag.stream, tag.tag),
            "digest": tag.digest, "held": tag.held, "imports": tag.imports, "failing": tag.failing,
        }));
        if let Some(followed) = &tag.follows {
            edge(followed, &tag.id, "follow", false);
        }
    }
    for config in &graph.configs {
        nodes.push(json!({
            "id": config.id, "kind": "build", "project": config.project, "name": config.name, "automatic": config.automatic,
            "phase": config.last.as_ref().map(|(phase, _)| phase), "number": config.last.as_ref().map(|(_, number)| number),
            "usualMs": config.usual_ms,
        }));
        for input in &config.inputs {
            if let Some(tag) = &input.tag {
                let now = points_to(tag);
                edge(tag, &config.id, &input.kind, now.is_some() && now != input.used_digest.as_deref());
            }
        }
        edge(&config.id, &config.output, "output", false);
    }
    for app in &graph.apps {
        nodes.push(json!({
            "id": app.id, "kind": "app", "project": app.project, "name": app.name, "automatic": app.automatic, "held": app.held,
            "replicas": app.replicas, "ready": app.ready, "digest": app.digest,
        }));
        let now = points_to(&app.tag);
        edge(&app.tag, &app.id, "runs", now.is_some() && now != app.digest.as_deref());
    }
    json!({"nodes": nodes, "edges": edges, "onlyTied": graph.only_tied})
}

enum Asked {
    Move { stream: String, tag: String, mode: RollbackMode, decided: bool },
    Build { config: String },
}

/// What an action would set off: `{"action": "move", "stream", "tag", "mode"}`, the same with `rollback` for somebody's decision, which a
/// freeze does not hold up, or `{"action": "build", "config"}`.
pub async fn plan(
    State(door): State<Door>,
    caller: Caller,
    Path(project): Path<String>,
    body: Body,
) -> Result<(Warnings, Json<Value>), Status> {
    caller.may(&door, "list", &BUILD_CONFIGS, &project, "").await?;
    let (asked, warnings) = body.read(|root| {
        let action = root.get("action");
        match action.required()?.as_str() {
            word @ ("move" | "rollback") => {
                let mode = root.get("mode");
                Ok(Asked::Move {
                    stream: root.get("stream").required()?,
                    tag: root.get("tag").required()?,
                    mode: match mode.filled()? {
                        None => RollbackMode::Rebuild,
                        Some(word) => word.parse().map_err(|error| mode.invalid(error))?,
                    },
                    decided: word == "rollback",
                })
            }
            "build" => Ok(Asked::Build { config: root.get("config").required()? }),
            _ => Err(action.invalid("must be move or build")),
        }
    })?;
    let steps = match asked {
        Asked::Move { stream, tag, mode, decided } => {
            caller.may(&door, "get", &IMAGE_STREAM_TAGS, &project, &format!("{stream}:{tag}")).await?;
            let tag = door.store.tag(&project, &stream, &tag).await?;
            moved_steps(&door, &caller, &tag.id, mode, decided).await?
        }
        Asked::Build { config } => {
            let config = door.store.config(&project, &config).await?;
            steps(&door, &caller, &Action::Build { config: &config.id }).await?
        }
    };
    Ok((warnings, Json(json!({"steps": steps}))))
}

/// What follows when a tag points to another image; `decided` as in [`Action::Move`].
pub async fn moved_steps(
    door: &Door,
    caller: &Caller,
    tag_id: &str,
    mode: RollbackMode,
    decided: bool,
) -> Result<Vec<Value>, Status> {
    let action = Action::Move { tag: tag_id, dependents: mode != RollbackMode::Tag, decided };
    let mut steps = steps(door, caller, &action).await?;
    if mode == RollbackMode::Restore {
        // Nothing is built: what was built on the tag is put back as it was.
        for step in &mut steps {
            if step["kind"] == "build" {
                step["kind"] = "restore".into();
                if let Some(step) = step.as_object_mut() {
                    step.remove("usualMs");
                    step.remove("waits");
                }
            }
        }
    }
    Ok(steps)
}

/// The steps, without the names of what the caller may not see: of those only the kind and the wave show.
async fn steps(door: &Door, caller: &Caller, action: &Action<'_>) -> Result<Vec<Value>, Status> {
    let plan = caller.principal().veil(&door.store, door.store.plan(action).await?).await;
    plan.steps
        .iter()
        .map(|step| {
            let mut shown = serde_json::to_value(step)?;
            if step.project.is_empty() {
                for name in ["project", "name", "id"] {
                    shown[name] = Value::Null;
                }
            }
            Ok(shown)
        })
        .collect()
}

/// The one step of an app that rolls.
pub fn rollout_step(app: &App) -> Result<Value, Status> {
    let step = PlanStep {
        wave: 1,
        kind: "rollout",
        id: app.id.clone(),
        project: app.project.clone(),
        name: app.name.clone(),
        replicas: Some(app.spec()?.replicas),
        why: None,
        waits: None,
        usual_ms: None,
    };
    Ok(serde_json::to_value(step)?)
}

/// The answer to a dry run.
pub fn dry(from: Option<&str>, to: Option<&str>, steps: Vec<Value>) -> Value {
    json!({"dryRun": true, "from": from, "to": to, "steps": steps})
}
