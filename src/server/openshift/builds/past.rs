//! Builds as they were at a moment: those that had been requested by then, in the phase they had. Labels of configs are not kept.

use serde_json::Value;

use super::{halves, shape};
use crate::model::{Build, Moment};
use crate::server::openshift::Door;
use crate::server::openshift::images::typed;
use crate::server::openshift::kind::BUILDS;
use crate::server::openshift::list::{ListQuery, envelope};
use crate::server::openshift::past::{AS_OF, refuse_labels};
use crate::server::openshift::status::Status;

/// Builds that a project had, oldest first.
pub async fn list(door: &Door, project: &str, moment: &Moment, query: &ListQuery) -> Result<Value, Status> {
    refuse_labels(query)?;
    query.check_fields(&["status"])?;
    let version = door.store.last_sequence().await?;
    let page = query
        .page(
            |after, limit| async move {
                door.store.list_builds_then(project, moment, after.parse().unwrap_or(0), limit).await
            },
            |build| build.sequence.to_string(),
            |build| {
                query.wants(&build.name(), &super::labels(build, None))
                    && query.wants_field("status", build.phase.as_str())
            },
        )
        .await?;
    let items: Result<Vec<Value>, Status> = page.items.iter().map(|build| show(door, build, moment)).collect();
    Ok(envelope(&BUILDS, version, page.next.as_deref(), items?))
}

/// One build that a project had.
pub async fn one(door: &Door, project: &str, name: &str, moment: &Moment) -> Result<Value, Status> {
    let missing = || Status::not_found(&BUILDS, &format!("{name} at {}", moment.words));
    let (config, number) = halves(name).ok_or_else(missing)?;
    let build = door.store.find_build_then(project, config, number, moment).await?.ok_or_else(missing)?;
    Ok(typed(&BUILDS, show(door, &build, moment)?))
}

/// The build, marked with the moment. It cannot be written back.
fn show(door: &Door, build: &Build, moment: &Moment) -> Result<Value, Status> {
    let mut shown = shape(door, build, None)?;
    let meta = &mut shown["metadata"];
    meta["annotations"][AS_OF] = moment.words.as_str().into();
    if let Some(fields) = meta.as_object_mut() {
        fields.remove("resourceVersion");
    }
    Ok(shown)
}
