//! Apps between Kubernetes' words and ours: replicas, one container, its ports, and which tag's image it runs.
//!
//! The image is named by the annotation `image.openshift.io/triggers`, as OpenShift does, or else by the container's `image` when that is
//! a tag of this server. A `hostPort` is a port each node publishes for its own replica; ports reached through every node, and ports the
//! engine chooses, have no place in a pod and stand in the annotation `weir.dev/publish`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{self, Field};
use super::metadata::GivenMeta;
use super::status::{Cause, Status};
use crate::model::{App, AppPort, AppSpec, EnvVar, PublishMode, StreamTag, TagTitle, served_at, stands_for};
use crate::server::store::AppFields;

const TRIGGERS: &str = "image.openshift.io/triggers";
/// `8080:80,*:443,host:*:9000`: published (or `*`) and container port, `ingress` when no mode is written.
const PUBLISH: &str = "weir.dev/publish";
/// What a template says that an app has no other place for.
const CONTAINER: &str = "weir.dev/container";
/// With the value `*`, all short names of the object mean streams.
const RESOLVE_NAMES: &str = "alpha.image.policy.openshift.io/resolve-names";
const CONTAINER_PORTS: &str = "weir.dev/container-ports";
const HELD_SINCE: &str = "weir.dev/held-since";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// An app as it came.
#[derive(Debug)]
pub struct GivenApp {
    pub meta: GivenMeta,
    pub image: StreamTag,
    /// The image is a short name, which means a stream only when that allows it.
    pub short_name: bool,
    spec: AppSpec,
    automatic: bool,
    container: String,
    /// Ports the container has that are not published.
    container_ports: Vec<u16>,
}

impl GivenApp {
    /// As the store takes it.
    pub fn fields(&self) -> Result<AppFields, Status> {
        let mut annotations = self.meta.annotations.clone();
        for own in [TRIGGERS, PUBLISH, CONTAINER, CONTAINER_PORTS, HELD_SINCE, REVISION] {
            annotations.remove(own);
        }
        if self.container != self.meta.name {
            annotations.insert(CONTAINER.to_owned(), self.container.clone());
        }
        if !self.container_ports.is_empty() {
            let ports: Vec<String> = self.container_ports.iter().map(u16::to_string).collect();
            annotations.insert(CONTAINER_PORTS.to_owned(), ports.join(","));
        }
        Ok(AppFields {
            labels: self.meta.labels_json()?,
            annotations: serde_json::to_string(&annotations)?,
            spec: self.spec.clone(),
            image: self.image.clone(),
            automatic: self.automatic,
        })
    }
}

/// Reads `spec`.
pub fn read(spec: &Field<'_>, meta: GivenMeta, project: &str, own_hosts: &[String]) -> Result<GivenApp, Status> {
    spec.pass_over_all(&["progressDeadlineSeconds", "revisionHistoryLimit", "selector"]);
    spec.without_effect(&["paused"]);
    let replicas = spec.get("replicas").number::<u32>()?.unwrap_or(1);
    let template = spec.get("template");
    template.pass_over_all(&["metadata"]);
    let template_notes = template.get("metadata").get("annotations").get(RESOLVE_NAMES).text()?;
    let resolves_all =
        meta.annotations.get(RESOLVE_NAMES).or(template_notes.as_ref()).is_some_and(|value| value == "*");
    let pod = template.get("spec");
    pod.pass_over_all(&[
        "dnsPolicy",
        "enableServiceLinks",
        "imagePullSecrets",
        "restartPolicy",
        "schedulerName",
        "serviceAccount",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
    ]);
    pod.without_effect(&[
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "hostAliases",
        "hostNetwork",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "priorityClassName",
        "securityContext",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    ]);
    let list = pod.get("containers");
    let containers = list.items()?;
    let [container] = containers.as_slice() else {
        return Err(list.invalid(format!("Weir runs one container in each replica, not {}", containers.len())));
    };
    container.pass_over_all(&["imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"]);
    container.without_effect(&[
        "envFrom",
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "resources",
        "securityContext",
        "startupProbe",
        "stdin",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]);
    let name = container.get("name").filled()?.unwrap_or_else(|| meta.name.clone());
    let (mut ports, container_ports) = read_ports(&container.get("ports"))?;
    if let Some(text) = meta.annotations.get(PUBLISH) {
        ports.extend(parse_publish(text)?);
    }
    let container_ports =
        container_ports.into_iter().filter(|port| !ports.iter().any(|own| own.container == *port)).collect();
    let delay = spec.get("minReadySeconds").number::<u32>()?.unwrap_or(0);
    let app = AppSpec {
        replicas,
        ports,
        env: read_env(&container.get("env"))?,
        command: container.get("command").texts()?,
        args: container.get("args").texts()?,
        parallelism: read_strategy(&spec.get("strategy"), replicas)?,
        delay_ms: u64::from(delay) * 1000,
    };
    app.check().map_err(|error| {
        Status::invalid(vec![Cause {
            reason: "FieldValueInvalid",
            field: "spec.template.spec".to_owned(),
            message: error.to_string(),
        }])
    })?;
    let image_field = container.get("image");
    let image_text = image_field.text_or_empty()?;
    let ((image, short), automatic) =
        match meta.annotations.get(TRIGGERS).map(|text| read_triggers(text, project)).transpose()? {
            Some(Some((image, paused))) => ((image, false), !paused),
            _ => (read_image(&image_field, image_text.trim(), project, own_hosts)?, true),
        };
    let short_name = short && !resolves_all;
    Ok(GivenApp { image, short_name, spec: app, automatic, container: name, container_ports, meta })
}

fn read_image(field: &Field<'_>, text: &str, project: &str, own_hosts: &[String]) -> Result<(StreamTag, bool), Status> {
    if text.is_empty() {
        return Err(field.missing("name a stream's tag here, or in the annotation image.openshift.io/triggers"));
    }
    match stands_for(text, project, own_hosts) {
        Some(found) => Ok(found),
        None => Err(field.invalid(
            "is no tag of this server: apps run images of streams, so import it into one first and name that, for instance app:latest",
        )),
    }
}

/// The first trigger of the annotation; `None` when there is none in it. This text has no other reader, so a slip in it would go unseen:
/// it is always read strictly.
fn read_triggers(text: &str, project: &str) -> Result<Option<(StreamTag, bool)>, Status> {
    let at = format!("metadata.annotations[{TRIGGERS}]");
    let refuse =
        |message: String| Status::invalid(vec![Cause { reason: "FieldValueInvalid", field: at.clone(), message }]);
    let value: Value = serde_json::from_str(text).map_err(|error| refuse(format!("is not JSON: {error}")))?;
    if value.is_null() {
        return Ok(None);
    }
    let wrapped = json!({"triggers": value});
    let (found, remarks) = fields::read(&wrapped, |root| {
        let triggers = root.get("triggers").items()?;
        if triggers.len() > 1 {
            return Err(refuse(format!("an app follows one tag, not {}", triggers.len())));
        }
        triggers.first().map(|trigger| read_trigger(trigger, project)).transpose()
    })?;
    if !remarks.unknown.is_empty() {
        let causes = remarks.unknown.iter().map(|unknown| Cause {
            field: format!("{at}{}", unknown.path.trim_start_matches("triggers")),
            ..unknown.cause()
        });
        return Err(Status::invalid(causes.collect()));
    }
    Ok(found)
}

fn read_trigger(trigger: &Field<'_>, project: &str) -> Result<(StreamTag, bool), Status> {
    let path = trigger.get("fieldPath");
    let text = path.text_or_empty()?;
    if !text.is_empty() && !text.starts_with("spec.template.spec.containers[") {
        return Err(path.invalid("must be the image of the container: spec.template.spec.containers[0].image"));
    }
    let from = trigger.get("from");
    from.pass_over_all(&["apiVersion"]);
    let kind = from.get("kind");
    if kind.required()? != "ImageStreamTag" {
        return Err(kind.invalid("must be ImageStreamTag"));
    }
    let name = from.get("name");
    let full = name.required()?;
    let title: TagTitle = full.parse().map_err(|error| name.invalid(error))?;
    let owner = from.get("namespace").filled()?.unwrap_or_else(|| project.to_owned());
    let tag = StreamTag { project: owner, stream: title.stream.into(), tag: title.tag.into() };
    Ok((tag, trigger.get("paused").flag()?))
}

/// Published ports, and those that only say what the container listens on.
fn read_ports(list: &Field<'_>) -> Result<(Vec<AppPort>, Vec<u16>), Status> {
    let (mut published, mut declared) = (Vec::new(), Vec::new());
    for item in list.items()? {
        item.pass_over_all(&["name"]);
        item.without_effect(&["hostIP"]);
        let protocol = item.get("protocol");
        if protocol.filled()?.is_some_and(|protocol| protocol != "TCP") {
            return Err(protocol.invalid("Weir publishes TCP ports"));
        }
        let field = item.get("containerPort");
        let container: u16 = field.number()?.ok_or_else(|| field.missing(""))?;
        match item.get("hostPort").number::<u16>()?.filter(|port| *port != 0) {
            Some(port) => published.push(AppPort { container, published: Some(port), mode: PublishMode::Host }),
            None => declared.push(container),
        }
    }
    Ok((published, declared))
}

fn parse_publish(text: &str) -> Result<Vec<AppPort>, Status> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            parse_port(entry).ok_or_else(|| {
                let message =
                    "must list ports as published:container, for instance 8080:80, *:443 (any free port) or host:*:9000";
                Status::invalid(vec![Cause::invalid_value(format!("metadata.annotations[{PUBLISH}]"), entry, message)])
            })
        })
        .collect()
}

fn parse_port(entry: &str) -> Option<AppPort> {
    let (mode, rest) = match entry.split_once(':')? {
        ("host", rest) => (PublishMode::Host, rest),
        ("ingress", rest) => (PublishMode::Ingress, rest),
        _ => (PublishMode::Ingress, entry),
    };
    let (published, container) = rest.split_once(':')?;
    let published = if published == "*" { None } else { Some(published.parse().ok()?) };
    Some(AppPort { container: container.parse().ok()?, published, mode })
}

fn read_env(list: &Field<'_>) -> Result<Vec<EnvVar>, Status> {
    list.items()?
        .iter()
        .map(|item| {
            let from = item.get("valueFrom");
            from.pass_over();
            if from.is_present() {
                return Err(from.invalid("Weir takes values as they are: use value"));
            }
            Ok(EnvVar { name: item.get("name").required()?, value: item.get("value").text_or_empty()? })
        })
        .collect()
}

/// How many replicas are replaced at a time.
fn read_strategy(strategy: &Field<'_>, replicas: u32) -> Result<u32, Status> {
    let kind = strategy.get("type");
    let rolling = strategy.get("rollingUpdate");
    rolling.pass_over_all(&["maxSurge"]);
    let field = rolling.get("maxUnavailable");
    match kind.filled()?.as_deref() {
        Some("Recreate") => {
            field.pass_over();
            Ok(replicas.max(1))
        }
        None | Some("RollingUpdate") => {
            if let Ok(Some(text)) = field.text() {
                let percent: u32 = text
                    .strip_suffix('%')
                    .and_then(|number| number.parse().ok())
                    .filter(|percent| *percent <= 100)
                    .ok_or_else(|| field.invalid("must be a number of replicas, or a percentage up to 100%"))?;
                return Ok((replicas.saturating_mul(percent) / 100).max(1));
            }
            Ok(field.number::<u32>()?.unwrap_or(1).max(1))
        }
        Some(_) => Err(kind.invalid("must be RollingUpdate or Recreate")),
    }
}

/// The spec of an app; what of it stands in annotations is written into `annotations`.
pub fn show(app: &App, spec: &AppSpec, annotations: &mut BTreeMap<String, String>, host: &str) -> Value {
    let container_name = annotations.remove(CONTAINER).unwrap_or_else(|| app.name.clone());
    let declared = annotations.remove(CONTAINER_PORTS).unwrap_or_default();
    let mut ports: Vec<Value> = Vec::new();
    let mut publish: Vec<String> = Vec::new();
    for port in &spec.ports {
        match (port.mode, port.published) {
            (PublishMode::Host, Some(published)) => {
                ports.push(json!({"containerPort": port.container, "hostPort": published, "protocol": "TCP"}));
            }
            (mode, published) => {
                let mode = if mode == PublishMode::Host { "host:" } else { "" };
                let published = published.map_or_else(|| "*".to_owned(), |port| port.to_string());
                publish.push(format!("{mode}{published}:{}", port.container));
                ports.push(json!({"containerPort": port.container, "protocol": "TCP"}));
            }
        }
    }
    for port in declared.split(',').filter_map(|port| port.parse::<u16>().ok()) {
        ports.push(json!({"containerPort": port, "protocol": "TCP"}));
    }
    if !publish.is_empty() {
        annotations.insert(PUBLISH.to_owned(), publish.join(","));
    }
    annotations.insert(TRIGGERS.to_owned(), triggers(app, &container_name));
    if let Some(since) = app.held_since {
        annotations.insert(HELD_SINCE.to_owned(), crate::model::rfc3339(since));
    }
    if app.last_number > 0 {
        annotations.insert(REVISION.to_owned(), app.last_number.to_string());
    }
    let image = match &app.wanted_digest {
        Some(digest) => served_at(host, &app.image_project, &app.image_stream, digest),
        None => format!("{host}/{}/{}:{}", app.image_project, app.image_stream, app.image_tag),
    };
    let mut container = json!({"name": container_name, "image": image});
    for (key, value) in [
        ("ports", json!(ports)),
        ("env", json!(spec.env)),
        ("command", json!(spec.command)),
        ("args", json!(spec.args)),
    ] {
        if value.as_array().is_some_and(|list| !list.is_empty()) {
            container[key] = value;
        }
    }
    let labels = json!({"app": app.name});
    let mut shown = json!({
        "replicas": spec.replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": spec.parallelism}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    });
    if spec.delay_ms > 0 {
        shown["minReadySeconds"] = spec.delay_ms.div_ceil(1000).into();
    }
    shown
}

fn triggers(app: &App, container: &str) -> String {
    let mut from = json!({"kind": "ImageStreamTag", "name": format!("{}:{}", app.image_stream, app.image_tag)});
    if app.image_project != app.project {
        from["namespace"] = app.image_project.as_str().into();
    }
    let path = format!("spec.template.spec.containers[?(@.name==\"{container}\")].image");
    let mut trigger = json!({"from": from, "fieldPath": path});
    if app.automatic == 0 {
        trigger["paused"] = true.into();
    }
    json!([trigger]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(spec: &Value, annotations: &[(&str, &str)]) -> Result<(GivenApp, fields::Remarks), Status> {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let meta = GivenMeta { name: "app-a".to_owned(), annotations, ..GivenMeta::default() };
        fields::read(spec, |root| read(&root, meta, "demo", &["weir.example".to_owned()]))
    }

    fn spec(image: &str) -> Value {
        json!({
            "replicas": 4,
            "selector": {"matchLabels": {"app": "app-a"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%", "maxSurge": "25%"}},
            "template": {"metadata": {"labels": {"app": "app-a"}}, "spec": {"containers": [{
                "name": "web", "image": image,
                "ports": [{"containerPort": 80, "hostPort": 8081}, {"containerPort": 9000}],
                "env": [{"name": "A", "value": "b"}], "command": ["/bin/sh"], "args": ["-c", "true"],
            }]}},
        })
    }

    #[test]
    fn an_image_is_a_tag_by_short_name_or_host() {
        for (image, stream) in [("app-a:1", "app-a"), ("weir.example/demo/app-a:1", "app-a")] {
            let (given, remarks) = given(&spec(image), &[]).unwrap();
            assert_eq!((given.image.stream.as_str(), given.image.tag.as_str()), (stream, "1"));
            assert!(given.automatic);
            assert_eq!(remarks, fields::Remarks::default());
            assert_eq!(given.spec.parallelism, 2);
            assert_eq!(given.container_ports, [9000]);
        }
        assert!(given(&spec("docker.io/library/nginx:1"), &[]).is_err());
        assert!(given(&spec(" "), &[]).is_err());
    }

    #[test]
    fn the_trigger_decides_and_is_read_strictly() {
        let trigger = |paused: &str| {
            format!(
                r#"[{{"from":{{"kind":"ImageStreamTag","name":"app-a:latest"}},"fieldPath":"spec.template.spec.containers[0].image"{paused}}}]"#
            )
        };
        let (app, _) = given(&spec("anything"), &[(TRIGGERS, &trigger(",\"paused\":\"true\""))]).unwrap();
        assert_eq!(app.image.to_string(), "demo/app-a:latest");
        assert!(!app.automatic);
        let error = given(&spec("anything"), &[(TRIGGERS, &trigger(",\"pause\":true"))]).unwrap_err().to_json();
        let cause = &error["details"]["causes"][0];
        assert_eq!(cause["field"], "metadata.annotations[image.openshift.io/triggers][0].pause");
        assert_eq!(cause["message"], "unknown field, did you mean \"paused\"?");
        let (app, _) = given(&spec("app-a:1"), &[(TRIGGERS, "null")]).unwrap();
        assert_eq!(app.image.tag, "1");
    }

    #[test]
    fn ports_of_every_kind_are_published() {
        let (app, _) = given(&spec("app-a"), &[(PUBLISH, "8080:80, *:443,host:*:7000")]).unwrap();
        let port = |container, published, mode| AppPort { container, published, mode };
        assert_eq!(
            app.spec.ports,
            [
                port(80, Some(8081), PublishMode::Host),
                port(80, Some(8080), PublishMode::Ingress),
                port(443, None, PublishMode::Ingress),
                port(7000, None, PublishMode::Host),
            ]
        );
        for bad in ["80", "x:80", "8080:x", "host:80"] {
            assert!(given(&spec("app-a"), &[(PUBLISH, bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_weir_does_not_run_is_refused_or_said() {
        let mut two = spec("app-a");
        let containers = two.pointer_mut("/template/spec/containers").unwrap().as_array_mut().unwrap();
        containers.push(containers[0].clone());
        assert!(given(&two, &[]).is_err());
        let mut volumes = spec("app-a");
        volumes["template"]["spec"]["volumes"] = json!([{"name": "v"}]);
        assert_eq!(given(&volumes, &[]).unwrap().1.without_effect, ["template.spec.volumes"]);
    }
}
