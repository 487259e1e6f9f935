//! Apps as they were at a moment, with what they were to run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{begin, past};
use crate::model::Moment;
use crate::server::openshift::Door;
use crate::server::openshift::images::typed;
use crate::server::openshift::kind::DEPLOYMENTS;
use crate::server::openshift::list::{ListQuery, envelope};
use crate::server::openshift::metadata::ObjectMeta;
use crate::server::openshift::status::Status;
use crate::server::store::AppThen;

/// The apps that a project had: what each was to run.
pub async fn apps(door: &Door, project: &str, moment: &Moment, query: &ListQuery) -> Result<Value, Status> {
    let (project_id, version) = begin(door, project, query).await?;
    let page = query
        .page(
            |after, limit| {
                let (store, id) = (&door.store, &project_id);
                async move { store.list_apps_then(id, moment, &after, limit).await }
            },
            |app| app.name.clone(),
            |app| query.wants(&app.name, &BTreeMap::new()),
        )
        .await?;
    let items = page.items.iter().map(|app| show_app(door, project, app, moment)).collect();
    Ok(envelope(&DEPLOYMENTS, version, page.next.as_deref(), items))
}

/// One app.
pub async fn app(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let project_id = door.store.project(project).await?.id;
    let missing = || Status::not_found(&DEPLOYMENTS, &format!("{name} at {}", moment.words));
    let found = door.store.find_app_then(&project_id, name, moment).await?.ok_or_else(missing)?;
    Ok(typed(&DEPLOYMENTS, show_app(door, project, &found, moment)))
}

/// What the newest rollout of then was to run. What an engine was seen running is not kept.
fn show_app(door: &Door, project: &str, app: &AppThen, moment: &Moment) -> Value {
    let meta = ObjectMeta { generation: app.number, ..ObjectMeta::new(&app.name, project, &app.id, 0, app.created_at) };
    let image = app.repository.as_ref().zip(app.digest.as_ref());
    let image = image.map(|(repository, digest)| format!("{}/{repository}@{digest}", door.registry_host));
    let container = json!({"name": app.name, "image": image.unwrap_or_default()});
    json!({
        "metadata": past(meta, moment, app.deleted_at, app.held_by.as_deref()),
        "spec": {"template": {"spec": {"containers": [container]}}},
    })
}
