//! Build configs between OpenShift's words and ours: source, strategy, output and triggers.

use serde_json::{Value, json};

use super::fields::Field;
use super::metadata::GivenMeta;
use super::status::{Cause, Status};
use crate::model::{
    BuildConfig, BuildConfigSpec, EnvVar, GitSource, ImageReference, Source, StrategyFrom, StreamName, StreamTag,
    TagName, TagTitle,
};
use crate::server::builder::dockerfile;
use crate::server::store::ConfigFields;

/// OpenShift's annotation for a config whose triggers rest.
const PAUSED: &str = "openshift.io/build-config.paused";
const MAX_DOCKERFILE: usize = 60_000;

/// A build config as it came.
#[derive(Debug)]
pub struct GivenConfig {
    pub meta: GivenMeta,
    pub spec: BuildConfigSpec,
    image_trigger: bool,
    config_trigger: bool,
    paused: bool,
}

impl GivenConfig {
    /// As the store takes it.
    pub fn fields(&self, project: &str, own_hosts: &[String]) -> Result<ConfigFields, Status> {
        let inputs = dockerfile::known_inputs(&self.spec, project, own_hosts).map_err(|error| {
            let field = "spec.source.dockerfile".to_owned();
            let message = format!("line {}: {}", error.line, error.message);
            Status::invalid(vec![Cause { reason: "FieldValueInvalid", field, message }])
        })?;
        let mut annotations = self.meta.annotations.clone();
        // It is a state of its own here; the view writes it again.
        annotations.remove(PAUSED);
        Ok(ConfigFields {
            labels: self.meta.labels_json()?,
            annotations: serde_json::to_string(&annotations)?,
            spec: self.spec.clone(),
            image_trigger: self.image_trigger,
            config_trigger: self.config_trigger,
            paused: self.paused,
            inputs,
        })
    }
}

/// Reads `spec`.
pub fn read(spec: &Field<'_>, meta: GivenMeta, project: &str) -> Result<GivenConfig, Status> {
    spec.pass_over_all(&[
        "failedBuildsHistoryLimit",
        "mountTrustedCA",
        "serviceAccount",
        "successfulBuildsHistoryLimit",
    ]);
    spec.without_effect(&["completionDeadlineSeconds", "nodeSelector", "postCommit", "resources", "revision"]);
    let policy = spec.get("runPolicy");
    if policy.filled()?.is_some_and(|policy| policy != "Serial") {
        return Err(policy.invalid("Weir runs the builds of a config one after the other: Serial"));
    }
    let source = read_source(&spec.get("source"))?;
    let (output_stream, output_tag) = read_output(&spec.get("output"), project)?;
    let strategy = spec.get("strategy");
    let given_type = strategy.get("type").filled()?;
    for other in ["customStrategy", "jenkinsPipelineStrategy", "sourceStrategy"] {
        let field = strategy.get(other);
        field.pass_over();
        if field.is_present() {
            return Err(field.invalid("Weir builds Dockerfiles: use dockerStrategy"));
        }
    }
    if given_type.is_some_and(|given| given != "Docker") {
        return Err(strategy.get("type").invalid("Weir builds Dockerfiles: use Docker"));
    }
    let docker = strategy.get("dockerStrategy");
    docker.without_effect(&["forcePull", "imageOptimizationPolicy", "pullSecret", "volumes"]);
    let dockerfile_path = docker.get("dockerfilePath").filled()?;
    let triggers = read_triggers(&spec.get("triggers"))?;
    let paused = triggers.paused || meta.annotations.get(PAUSED).is_some_and(|value| value == "true");
    Ok(GivenConfig {
        spec: BuildConfigSpec {
            source: Source { dockerfile_path, ..source },
            strategy_from: read_from(&docker.get("from"), project)?,
            build_args: read_env(&docker.get("buildArgs"))?,
            env: read_env(&docker.get("env"))?,
            no_cache: docker.get("noCache").flag()?,
            output_stream,
            output_tag,
        },
        meta,
        image_trigger: triggers.image,
        config_trigger: triggers.config,
        paused,
    })
}

fn read_source(source: &Field<'_>) -> Result<Source, Status> {
    source.pass_over_all(&["type"]);
    source.without_effect(&["configMaps", "images", "secrets"]);
    let binary = source.get("binary");
    binary.pass_over();
    if binary.is_present() {
        return Err(binary.invalid("Weir does not build uploaded sources: use git or dockerfile"));
    }
    let field = source.get("dockerfile");
    let dockerfile = field.filled()?;
    if dockerfile.as_ref().is_some_and(|text| text.len() > MAX_DOCKERFILE) {
        return Err(field.invalid(format!("must be smaller than {MAX_DOCKERFILE} bytes")));
    }
    let git = source.get("git");
    git.without_effect(&["httpProxy", "httpsProxy", "noProxy"]);
    let secret = source.get("sourceSecret").get("name").filled()?;
    let git = if git.is_present() {
        Some(GitSource { uri: git.get("uri").required()?, reference: git.get("ref").filled()?, secret })
    } else {
        None
    };
    if git.is_none() && dockerfile.is_none() {
        return Err(source.missing("must provide a value for at least one source input(git, dockerfile)"));
    }
    let context = source.get("contextDir");
    let context_dir = context.filled()?;
    if context_dir.as_ref().is_some_and(|path| path.starts_with('/') || path.split('/').any(|part| part == "..")) {
        return Err(context.invalid("must be a path below the repository's root, without \"..\""));
    }
    Ok(Source { git, dockerfile, context_dir, dockerfile_path: None })
}

fn read_output(output: &Field<'_>, project: &str) -> Result<(StreamName, TagName), Status> {
    output.without_effect(&["imageLabels", "pushSecret"]);
    let to = output.get("to");
    to.pass_over_all(&["apiVersion", "fieldPath", "resourceVersion", "uid"]);
    let kind = to.get("kind");
    if kind.filled()?.is_some_and(|kind| kind != "ImageStreamTag") {
        return Err(kind.invalid("the target of build output must be an 'ImageStreamTag' of this server"));
    }
    let namespace = to.get("namespace");
    if namespace.filled()?.is_some_and(|other| other != project) {
        return Err(namespace.invalid("must be the config's own project"));
    }
    let name = to.get("name");
    let text = name.required()?;
    let TagTitle { stream, tag } = text.parse().map_err(|error| name.invalid(error))?;
    Ok((stream, tag))
}

fn read_from(from: &Field<'_>, project: &str) -> Result<Option<StrategyFrom>, Status> {
    from.pass_over_all(&["apiVersion", "fieldPath", "resourceVersion", "uid"]);
    if !from.is_present() {
        return Ok(None);
    }
    let name = from.get("name");
    let text = name.required()?;
    let namespace = from.get("namespace").filled()?.filter(|other| other != project);
    match from.get("kind").filled()?.as_deref() {
        Some("DockerImage") => {
            text.parse::<ImageReference>().map_err(|error| name.invalid(error))?;
            Ok(Some(StrategyFrom::DockerImage(text)))
        }
        None | Some("ImageStreamTag") => {
            let title: TagTitle = text.parse().map_err(|error| name.invalid(error))?;
            Ok(Some(StrategyFrom::ImageStreamTag(match namespace {
                Some(other) => format!("{other}/{title}"),
                None => title.to_string(),
            })))
        }
        Some(_) => Err(from.get("kind").invalid("must be ImageStreamTag or DockerImage")),
    }
}

fn read_env(list: &Field<'_>) -> Result<Vec<EnvVar>, Status> {
    let mut vars: Vec<EnvVar> = Vec::new();
    for item in list.items()? {
        let from = item.get("valueFrom");
        from.pass_over();
        if from.is_present() {
            return Err(from.invalid("Weir takes values as they are: use value"));
        }
        let name = item.get("name");
        let text = name.required()?;
        if text.contains(['=', '\0', '\n']) {
            return Err(name.invalid("is no name for a variable"));
        }
        if vars.iter().any(|var| var.name == text) {
            return Err(name.invalid("is given twice"));
        }
        vars.push(EnvVar { name: text, value: item.get("value").text_or_empty()? });
    }
    Ok(vars)
}

struct Triggers {
    image: bool,
    config: bool,
    paused: bool,
}

/// Without the field both are on, since Weir finds a Dockerfile's bases by itself; a list says exactly which.
fn read_triggers(list: &Field<'_>) -> Result<Triggers, Status> {
    if !list.is_present() {
        return Ok(Triggers { image: true, config: true, paused: false });
    }
    let mut triggers = Triggers { image: false, config: false, paused: false };
    for item in list.items()? {
        let change = item.get("imageChange");
        change.pass_over_all(&["from", "lastTriggeredImageID", "lastTriggerTime"]);
        triggers.paused |= change.get("paused").flag()?;
        item.pass_over_all(&["bitbucket", "generic", "github", "gitlab"]);
        let kind = item.get("type");
        match kind.required()?.as_str() {
            "ImageChange" | "imageChange" => triggers.image = true,
            "ConfigChange" => triggers.config = true,
            // Webhooks have their own place in a later version of this door; as a trigger they change nothing here.
            "GitHub" | "github" | "GitLab" | "Bitbucket" | "Generic" | "generic" => {}
            _ => return Err(kind.invalid("must be ImageChange or ConfigChange")),
        }
    }
    Ok(triggers)
}

/// Source, strategy and output of a spec.
pub fn show(spec: &BuildConfigSpec, project: &str) -> Value {
    let mut source = json!({"type": if spec.source.git.is_some() { "Git" } else { "Dockerfile" }});
    if let Some(git) = &spec.source.git {
        source["git"] = json!({"uri": git.uri});
        if let Some(reference) = &git.reference {
            source["git"]["ref"] = reference.as_str().into();
        }
        if let Some(secret) = &git.secret {
            source["sourceSecret"] = json!({"name": secret});
        }
    }
    for (key, text) in [("dockerfile", &spec.source.dockerfile), ("contextDir", &spec.source.context_dir)] {
        if let Some(text) = text {
            source[key] = text.as_str().into();
        }
    }
    let mut docker = json!({});
    if let Some(from) = &spec.strategy_from {
        docker["from"] = show_from(from, project);
    }
    if let Some(path) = &spec.source.dockerfile_path {
        docker["dockerfilePath"] = path.as_str().into();
    }
    if spec.no_cache {
        docker["noCache"] = true.into();
    }
    for (key, vars) in [("env", &spec.env), ("buildArgs", &spec.build_args)] {
        if !vars.is_empty() {
            docker[key] = json!(vars);
        }
    }
    json!({
        "source": source,
        "strategy": {"type": "Docker", "dockerStrategy": docker},
        "output": {"to": {"kind": "ImageStreamTag", "name": format!("{}:{}", spec.output_stream, spec.output_tag)}},
    })
}

fn show_from(from: &StrategyFrom, project: &str) -> Value {
    match from {
        StrategyFrom::DockerImage(name) => json!({"kind": "DockerImage", "name": name}),
        StrategyFrom::ImageStreamTag(name) => {
            let tag = StreamTag::split(name, project);
            let mut shown = json!({"kind": "ImageStreamTag", "name": tag.title()});
            if tag.project != project {
                shown["namespace"] = tag.project.into();
            }
            shown
        }
    }
}

/// The triggers of a config.
pub fn triggers(config: &BuildConfig) -> Value {
    let mut triggers = Vec::new();
    if config.config_trigger != 0 {
        triggers.push(json!({"type": "ConfigChange"}));
    }
    if config.image_trigger != 0 {
        let change = if config.paused_at.is_some() { json!({"paused": true}) } else { json!({}) };
        triggers.push(json!({"type": "ImageChange", "imageChange": change}));
    }
    triggers.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::openshift::fields;

    fn given(spec: &Value) -> Result<(GivenConfig, fields::Remarks), Status> {
        fields::read(spec, |root| read(&root, GivenMeta::default(), "demo"))
    }

    fn config() -> Value {
        json!({
            "source": {"type": "Git", "git": {"uri": "https://git.example/a.git", "ref": "main"}, "contextDir": "app"},
            "strategy": {"type": "Docker", "dockerStrategy": {"from": {"kind": "ImageStreamTag", "name": "base:latest"}}},
            "output": {"to": {"kind": "ImageStreamTag", "name": "app:latest"}},
            "triggers": [{"type": "ConfigChange"}, {"type": "ImageChange", "imageChange": {"paused": "true"}}],
        })
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        let (first, remarks) = given(&config()).unwrap();
        assert_eq!(remarks, fields::Remarks::default());
        assert!(first.paused && first.image_trigger && first.config_trigger);
        let (second, _) = given(&show(&first.spec, "demo")).unwrap();
        assert_eq!(first.spec, second.spec);
    }

    #[test]
    fn a_slip_in_a_trigger_is_named() {
        let mut spec = config();
        spec["triggers"][1]["imageChange"] = json!({"pause": true});
        let (_, remarks) = given(&spec).unwrap();
        assert_eq!(remarks.unknown[0].path, "triggers[1].imageChange.pause");
        assert_eq!(remarks.unknown[0].meant.as_deref(), Some("paused"));
    }

    #[test]
    fn what_weir_does_not_build_is_refused() {
        for (pointer, value) in [
            ("/strategy/sourceStrategy", json!({"from": {}})),
            ("/source/binary", json!({})),
            ("/source/contextDir", json!("../up")),
            ("/runPolicy", json!("Parallel")),
            ("/output/to/kind", json!("DockerImage")),
            ("/triggers/0/type", json!("Moon")),
        ] {
            let mut spec = config();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            spec.pointer_mut(parent).unwrap()[key] = value;
            assert!(given(&spec).is_err(), "{pointer}");
        }
    }
}
