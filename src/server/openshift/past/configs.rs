//! Build configs as they were at a moment: which there were, and what they said where that is known. Labels and triggers are not kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{begin, past};
use crate::model::Moment;
use crate::server::openshift::images::typed;
use crate::server::openshift::kind::BUILD_CONFIGS;
use crate::server::openshift::list::{ListQuery, envelope};
use crate::server::openshift::metadata::ObjectMeta;
use crate::server::openshift::status::Status;
use crate::server::openshift::{Door, build_specs};
use crate::server::store::ConfigThen;

/// The annotation of a config whose spec is not known, with why.
const SPEC: &str = "weir.dev/spec";
const SPEC_UNKNOWN: &str = "not kept: it was changed since, by a server that did not keep what configs had said";

/// The build configs that a project had.
pub async fn configs(door: &Door, project: &str, moment: &Moment, query: &ListQuery) -> Result<Value, Status> {
    let (project_id, version) = begin(door, project, query).await?;
    let page = query
        .page(
            |after, limit| {
                let (store, id) = (&door.store, &project_id);
                async move { store.list_configs_then(id, moment, &after, limit).await }
            },
            |config| config.name.clone(),
            |config| query.wants(&config.name, &BTreeMap::new()),
        )
        .await?;
    let items: Result<Vec<Value>, Status> = page.items.iter().map(|config| show(project, config, moment)).collect();
    Ok(envelope(&BUILD_CONFIGS, version, page.next.as_deref(), items?))
}

/// One build config.
pub async fn config(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let project_id = door.store.project(project).await?.id;
    let missing = || Status::not_found(&BUILD_CONFIGS, &format!("{name} at {}", moment.words));
    let found = door.store.find_config_then(&project_id, name, moment).await?.ok_or_else(missing)?;
    Ok(typed(&BUILD_CONFIGS, show(project, &found, moment)?))
}

fn show(project: &str, config: &ConfigThen, moment: &Moment) -> Result<Value, Status> {
    let meta = ObjectMeta::new(&config.name, project, &config.id, 0, config.created_at);
    let mut meta = past(meta, moment, config.deleted_at, None);
    let spec = config.spec()?;
    if spec.is_none() {
        meta.annotations.insert(SPEC.to_owned(), SPEC_UNKNOWN.to_owned());
    }
    let mut shown = json!({"metadata": meta, "status": {"lastVersion": config.number.unwrap_or(0)}});
    if let Some(spec) = spec {
        shown["spec"] = build_specs::show(&spec, project);
    }
    Ok(shown)
}
