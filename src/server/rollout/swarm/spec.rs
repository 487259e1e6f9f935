//! A wanted state as Docker's service spec, and whether a service already is what is wanted.

use std::collections::HashMap;

use bollard::models::{
    EndpointPortConfig, EndpointPortConfigProtocolEnum, EndpointPortConfigPublishModeEnum, EndpointSpec, ServiceSpec,
    ServiceSpecMode, ServiceSpecModeReplicated, ServiceSpecUpdateConfig, ServiceSpecUpdateConfigFailureActionEnum,
    ServiceSpecUpdateConfigOrderEnum, TaskSpec, TaskSpecContainerSpec, TaskSpecRestartPolicy,
    TaskSpecRestartPolicyConditionEnum,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::Desired;
use crate::model::{AppPort, AppSpec, PublishMode};

/// The Weir server a service belongs to: several may share one engine.
pub(super) const INSTANCE: &str = "weir.instance";
pub(super) const PROJECT: &str = "weir.project";
pub(super) const APP: &str = "weir.app";
pub(super) const ROLLOUT: &str = "weir.rollout";
const DIGEST: &str = "weir.digest";
/// Tells one pull token from the next, so that a renewed one reaches the engine; not the token itself.
const PULL_TOKEN: &str = "weir.pull-token";
/// When the service was last given a new state, in milliseconds: failures before that count no more.
pub(super) const SINCE: &str = "weir.since";

/// Docker's limit for names of services.
const NAME_LIMIT: usize = 63;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// How long Docker watches a new task before it counts as good. Short, because each rollout lasts at least as long.
pub(super) const MONITOR_MS: i64 = 3_000;
const RESTART_DELAY_MS: i64 = 2_000;

/// The service's name, readable where it fits.
pub(super) fn service_name(project: &str, app: &str) -> String {
    let name = format!("weir-{project}-{app}");
    if name.len() <= NAME_LIMIT { name } else { shortened(&name, &[project, app]) }
}

/// The name when another Weir, or another app (`a-b` `c` beside `a` `b-c`), has the readable one.
pub(super) fn fallback_name(instance: &str, project: &str, app: &str) -> String {
    shortened(&format!("weir-{project}-{app}"), &[instance, project, app])
}

fn shortened(name: &str, identity: &[&str]) -> String {
    let hash = hex::encode(Sha256::digest(identity.join("\0")));
    let kept: String = name.chars().take(NAME_LIMIT - 11).collect();
    format!("{}-{}", kept.trim_end_matches(['-', '.', '_']), &hash[..10])
}

/// The whole service. Everything Weir manages is set, even when empty, so that a comparison notices what was added by
/// hand; what Weir does not manage (placement, resources, mounts, …) is absent and left as operators set it.
pub(super) fn service_spec(desired: &Desired, instance: &str, name: &str, now: i64) -> ServiceSpec {
    let spec = &desired.spec;
    ServiceSpec {
        name: Some(name.to_owned()),
        labels: Some(labels(desired, instance, now)),
        task_template: Some(TaskSpec {
            container_spec: Some(container(desired)),
            restart_policy: Some(TaskSpecRestartPolicy {
                condition: Some(TaskSpecRestartPolicyConditionEnum::ANY),
                delay: Some(nanos(RESTART_DELAY_MS.unsigned_abs())),
                ..Default::default()
            }),
            ..Default::default()
        }),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(i64::from(spec.replicas)) }),
            ..Default::default()
        }),
        update_config: Some(ServiceSpecUpdateConfig {
            parallelism: Some(i64::from(spec.parallelism.max(1))),
            delay: Some(nanos(spec.delay_ms)),
            failure_action: Some(ServiceSpecUpdateConfigFailureActionEnum::PAUSE),
            monitor: Some(nanos(MONITOR_MS.unsigned_abs())),
            max_failure_ratio: Some(0.0),
            order: Some(update_order(spec)),
        }),
        endpoint_spec: Some(EndpointSpec { ports: Some(spec.ports.iter().map(port).collect()), ..Default::default() }),
        ..Default::default()
    }
}

fn labels(desired: &Desired, instance: &str, now: i64) -> HashMap<String, String> {
    let token = desired.registry.as_ref().map_or_else(String::new, |(user, token)| {
        let hash = Sha256::digest(format!("{user}\0{}", token.expose_secret()));
        hex::encode(&hash[..8])
    });
    [
        (INSTANCE, instance.to_owned()),
        (PROJECT, desired.project.clone()),
        (APP, desired.app.clone()),
        (ROLLOUT, desired.rollout.to_string()),
        (DIGEST, desired.digest.to_string()),
        (PULL_TOKEN, token),
        (SINCE, now.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn container(desired: &Desired) -> TaskSpecContainerSpec {
    let spec = &desired.spec;
    TaskSpecContainerSpec {
        image: Some(desired.image.clone()),
        // Only what never changes for an app: another container label would restart its replicas.
        labels: Some(HashMap::from([
            (PROJECT.to_owned(), desired.project.clone()),
            (APP.to_owned(), desired.app.clone()),
        ])),
        command: Some(spec.command.clone()),
        args: Some(spec.args.clone()),
        env: Some(spec.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect()),
        // Without an init, a server that is process 1 ignores SIGTERM and every update waits for the kill.
        init: Some(true),
        ..Default::default()
    }
}

fn port(port: &AppPort) -> EndpointPortConfig {
    EndpointPortConfig {
        protocol: Some(EndpointPortConfigProtocolEnum::TCP),
        target_port: Some(i64::from(port.container)),
        published_port: port.published.map(i64::from),
        publish_mode: Some(match port.mode {
            PublishMode::Ingress => EndpointPortConfigPublishModeEnum::INGRESS,
            PublishMode::Host => EndpointPortConfigPublishModeEnum::HOST,
        }),
        ..Default::default()
    }
}

/// The new replica starts first, so that nothing is missing meanwhile; not where both need the same port of a node.
fn update_order(spec: &AppSpec) -> ServiceSpecUpdateConfigOrderEnum {
    if spec.ports.iter().any(|port| port.mode == PublishMode::Host && port.published.is_some()) {
        ServiceSpecUpdateConfigOrderEnum::STOP_FIRST
    } else {
        ServiceSpecUpdateConfigOrderEnum::START_FIRST
    }
}

fn nanos(millis: u64) -> i64 {
    i64::try_from(millis.saturating_mul(NANOS_PER_MILLI)).unwrap_or(i64::MAX)
}

/// `actual` with everything of `wanted` laid over it, or `None` when it is all there already.
///
/// The name stays (it may be the fallback one), and so does the time of the last change when nothing else changes.
pub(super) fn changed(actual: &ServiceSpec, wanted: &ServiceSpec) -> Result<Option<ServiceSpec>, serde_json::Error> {
    let mut merged = serde_json::to_value(actual)?;
    let mut wanted = serde_json::to_value(wanted)?;
    let since = wanted.pointer_mut("/Labels").and_then(Value::as_object_mut).and_then(|labels| labels.remove(SINCE));
    if let Some(fields) = wanted.as_object_mut() {
        fields.remove("Name");
    }
    if covers(&merged, &wanted) {
        return Ok(None);
    }
    overlay(&mut merged, wanted);
    let mut merged: ServiceSpec = serde_json::from_value(merged)?;
    if let (Some(labels), Some(Value::String(since))) = (&mut merged.labels, since) {
        labels.insert(SINCE.to_owned(), since);
    }
    Ok(Some(merged))
}

fn covers(actual: &Value, wanted: &Value) -> bool {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| covers(actual.get(key).unwrap_or(&Value::Null), value))
        }
        (Value::Array(actual), Value::Array(wanted)) => {
            actual.len() == wanted.len() && actual.iter().zip(wanted).all(|(a, w)| covers(a, w))
        }
        // Docker leaves out what is empty.
        (Value::Null, wanted) => is_empty(wanted),
        (actual, wanted) => actual == wanted,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
    }
}

fn overlay(actual: &mut Value, wanted: Value) {
    match (actual, wanted) {
        (Value::Object(actual), Value::Object(wanted)) => {
            for (key, value) in wanted {
                overlay(actual.entry(key).or_insert(Value::Null), value);
            }
        }
        (actual, wanted) => *actual = wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EnvVar;

    fn desired() -> Desired {
        let digest: crate::model::Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        Desired {
            project: "demo".to_owned(),
            app: "app-a".to_owned(),
            image: format!("127.0.0.1:5000/demo/app-a@{digest}"),
            digest,
            rollout: 1,
            spec: AppSpec::default(),
            registry: Some(("robot".to_owned(), "secret-1".into())),
        }
    }

    fn spec(desired: &Desired, now: i64) -> ServiceSpec {
        service_spec(desired, "i", "weir-demo-app-a", now)
    }

    #[test]
    fn names_stay_within_dockers_limit_and_apart() {
        assert_eq!(service_name("demo", "app-a"), "weir-demo-app-a");
        let long = service_name(&"p".repeat(63), &"a".repeat(63));
        assert!(long.len() <= NAME_LIMIT, "{long}");
        assert_ne!(long, service_name(&"p".repeat(63), &"b".repeat(63)));
        assert_ne!(fallback_name("one", "a", "b-c"), fallback_name("one", "a-b", "c"));
        assert_ne!(fallback_name("one", "a", "b"), fallback_name("two", "a", "b"));
    }

    #[test]
    fn the_same_state_is_no_change_whatever_the_time() {
        assert_eq!(changed(&spec(&desired(), 1), &spec(&desired(), 2)).unwrap(), None);
    }

    #[test]
    fn another_rollout_or_token_changes_labels_only() {
        let before = spec(&desired(), 1);
        let mut next = desired();
        next.rollout = 2;
        next.registry = Some(("robot".to_owned(), "secret-2".into()));
        let after = changed(&before, &spec(&next, 2)).unwrap().unwrap();
        assert_eq!(after.task_template, before.task_template);
        let (before, after) = (before.labels.unwrap(), after.labels.unwrap());
        assert_eq!(after[ROLLOUT], "2");
        assert_eq!(after[SINCE], "2");
        assert_ne!(before[PULL_TOKEN], after[PULL_TOKEN]);
        assert!(!after.values().any(|value| value.contains("secret")));
    }

    #[test]
    fn what_was_set_by_hand_is_put_right_where_weir_manages_it_and_kept_elsewhere() {
        let mut actual = spec(&desired(), 1);
        let task = actual.task_template.as_mut().unwrap();
        task.force_update = Some(3);
        task.container_spec.as_mut().unwrap().env = Some(vec!["DEBUG=1".to_owned()]);
        let after = changed(&actual, &spec(&desired(), 2)).unwrap().unwrap();
        let task = after.task_template.unwrap();
        assert_eq!(task.force_update, Some(3), "resetting it would restart every replica");
        assert_eq!(task.container_spec.unwrap().env, Some(vec![]));
    }

    #[test]
    fn variables_and_ports_are_passed_on() {
        let mut wanted = desired();
        wanted.spec.env = vec![EnvVar { name: "A".to_owned(), value: "1=2".to_owned() }];
        wanted.spec.ports = vec![AppPort { container: 80, published: Some(8081), mode: PublishMode::Host }];
        let spec = spec(&wanted, 1);
        assert_eq!(spec.update_config.unwrap().order, Some(ServiceSpecUpdateConfigOrderEnum::STOP_FIRST));
        assert_eq!(spec.task_template.unwrap().container_spec.unwrap().env, Some(vec!["A=1=2".to_owned()]));
        assert_eq!(spec.endpoint_spec.unwrap().ports.unwrap()[0].published_port, Some(8081));
    }
}
