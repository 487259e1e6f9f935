//! Build configs and builds as the store gives them.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;
use super::{BuildInput, EnvVar, InputKind, Named, Source, StreamName, StreamTag, TagName, served_at};

/// The strategy's `from`: the image that replaces the last `FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name")]
pub enum StrategyFrom {
    /// `<stream>:<tag>` of the config's project, or `<project>/<stream>:<tag>`.
    ImageStreamTag(String),
    /// An image reference.
    DockerImage(String),
}

/// What the author of a build config wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildConfigSpec {
    pub source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy_from: Option<StrategyFrom>,
    #[serde(default)]
    pub build_args: Vec<EnvVar>,
    #[serde(default)]
    pub env: Vec<EnvVar>,
    #[serde(default)]
    pub no_cache: bool,
    /// Stream of the config's own project that takes the image.
    pub output_stream: StreamName,
    pub output_tag: TagName,
}

impl BuildConfigSpec {
    /// Builds `source` for a tag, with nothing else set.
    pub fn new(source: Source, output_stream: StreamName, output_tag: TagName) -> Self {
        let (build_args, env) = (Vec::new(), Vec::new());
        Self { source, strategy_from: None, build_args, env, no_cache: false, output_stream, output_tag }
    }

    /// What may be kept of it when it is said no more: values of variables and words for signing in may be secrets, and whoever takes one
    /// out wants it gone.
    pub fn without_values(mut self) -> Self {
        for variable in self.env.iter_mut().chain(&mut self.build_args) {
            variable.value.clear();
        }
        if let Some(git) = &mut self.source.git
            && let Some((scheme, rest)) = git.uri.split_once("://")
            && let Some((_, place)) = rest.split_once('/').map_or(rest, |(host, _)| host).split_once('@')
        {
            let path = rest.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}"));
            git.uri = format!("{scheme}://{place}{path}");
        }
        self
    }
}

/// An input of a build config as its definition or its Dockerfile has it, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConfigInput {
    pub kind: InputKind,
    pub stage: String,
    pub reference: String,
    pub stands_for: Option<StreamTag>,
    /// It stands for a stream only while the project has one of that name.
    pub short_name: bool,
    /// Written in the config, rather than found in the Dockerfile.
    pub declared: bool,
}

/// What is known of a build config's inputs when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownInputs {
    /// All of them: the Dockerfile is part of the config.
    All(Vec<NewConfigInput>),
    /// Those the config itself names; its Dockerfile has still to be fetched.
    Declared(Vec<NewConfigInput>),
}

impl KnownInputs {
    /// All that is known so far.
    pub fn as_slice(&self) -> &[NewConfigInput] {
        let (Self::All(inputs) | Self::Declared(inputs)) = self;
        inputs
    }
}

/// What an image reference in a build of `project` stands for: a stream's tag when its host is one of `own_hosts`, or when it is a short
/// name (`app`, `app:1`), which counts only while the project has a stream of that name.
pub fn stands_for(reference: &str, project: &str, own_hosts: &[String]) -> Option<(StreamTag, bool)> {
    match Named::read(reference, project, own_hosts) {
        Ok(Named::Tag { tag, short }) => Some((tag, short)),
        _ => None,
    }
}

/// All inputs of a config: the strategy's `from`, and what was found in its Dockerfile besides the place that the strategy replaces.
pub fn config_inputs(
    spec: &BuildConfigSpec,
    found: &[BuildInput],
    project: &str,
    own_hosts: &[String],
) -> Vec<NewConfigInput> {
    let mut inputs = Vec::new();
    if let Some(from) = &spec.strategy_from {
        let (reference, stands_for, short_name) = match from {
            StrategyFrom::ImageStreamTag(name) => (name.clone(), Some(StreamTag::split(name, project)), false),
            StrategyFrom::DockerImage(name) => match stands_for(name, project, own_hosts) {
                Some((tag, short)) => (name.clone(), Some(tag), short),
                None => (name.clone(), None, false),
            },
        };
        let kind = InputKind::Strategy;
        inputs.push(NewConfigInput { kind, stage: String::new(), reference, stands_for, short_name, declared: true });
    }
    for input in found.iter().filter(|input| input.kind != InputKind::Strategy) {
        let stands = stands_for(&input.reference, project, own_hosts).filter(|_| input.kind != InputKind::Syntax);
        inputs.push(NewConfigInput {
            kind: input.kind,
            stage: input.stage.clone(),
            reference: input.reference.clone(),
            short_name: stands.as_ref().is_some_and(|(_, short)| *short),
            stands_for: stands.map(|(tag, _)| tag),
            declared: false,
        });
    }
    inputs
}

/// A build config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct BuildConfig {
    pub id: String,
    pub project_id: String,
    pub project: String,
    pub name: String,
    pub labels: String,
    pub annotations: String,
    /// JSON of [`BuildConfigSpec`].
    pub spec: String,
    pub output_tag_id: String,
    pub output_stream: String,
    pub output_tag: String,
    pub image_trigger: i64,
    pub config_trigger: i64,
    pub paused_at: Option<i64>,
    pub generation: i64,
    /// The generation whose Dockerfile was read; behind `generation` while that is still to be done.
    pub inspected_generation: i64,
    /// Why its Dockerfile could not be read.
    pub inspect_error: Option<String>,
    pub last_number: i64,
    pub created_at: i64,
    pub created_by: String,
    /// Who wrote it last: their rights decide what images of other projects it may build on.
    pub written_by: String,
    pub version: i64,
}

impl BuildConfig {
    /// What its author wrote.
    pub fn spec(&self) -> serde_json::Result<BuildConfigSpec> {
        serde_json::from_str(&self.spec)
    }
}

/// An input of a build config, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ConfigInput {
    pub config_id: String,
    pub position: i64,
    pub kind: String,
    pub stage: String,
    pub reference: String,
    pub input_project: Option<String>,
    pub input_stream: Option<String>,
    pub input_tag: Option<String>,
    pub short_name: i64,
    pub triggering: i64,
    pub how: String,
    /// The digest used by the last request.
    pub used_digest: Option<String>,
    pub used_at: Option<i64>,
    /// The tag it stands for, when there is one.
    pub tag_id: Option<String>,
    /// Where that tag points now.
    pub digest: Option<String>,
    /// Sequence of the tag's newest event.
    pub event_sequence: Option<i64>,
    /// The reference of the tag's newest move.
    pub tag_reference: Option<String>,
    /// The tag's reference policy.
    pub tag_policy: Option<String>,
    /// The image elsewhere that the tag imports, or only names.
    pub tag_external: Option<String>,
    pub tag_reference_only: Option<i64>,
}

impl ConfigInput {
    /// The stream's tag it stands for, by name; `None` for an external image.
    pub fn stands_for(&self) -> Option<StreamTag> {
        let (project, stream, tag) = (self.input_project.clone()?, self.input_stream.clone()?, self.input_tag.clone()?);
        (self.short_name == 0 || self.tag_id.is_some()).then_some(StreamTag { project, stream, tag })
    }

    /// The tag points elsewhere than at the last request.
    pub fn is_stale(&self) -> bool {
        self.triggering == 1 && self.digest.is_some() && self.digest != self.used_digest
    }
}

text_enum! {
    /// A build's phase. New → Pending → Running → one of the last four, which are final; skipping forward is allowed.
    BuildPhase {
        /// Waits for its turn.
        New = "New",
        /// Claimed by a worker.
        Pending = "Pending",
        Running = "Running",
        Complete = "Complete",
        /// The build's own process failed.
        Failed = "Failed",
        /// The system failed.
        Error = "Error",
        Cancelled = "Cancelled",
    }
}

impl BuildPhase {
    /// Nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Error | Self::Cancelled)
    }
}

/// An input of one build, resolved for good when the build was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedInput {
    pub kind: InputKind,
    pub stage: String,
    pub reference: String,
    /// The stream's tag it stood for; absent for an external image, which is taken as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<StreamTag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is pulled when the tag only names an image elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_spec: Option<String>,
}

impl ResolvedInput {
    /// What is pulled for it from the registry at `host`; none for an image elsewhere that the Dockerfile names itself.
    pub fn pull_spec(&self, host: &str) -> Option<String> {
        let tag = self.tag.as_ref()?;
        let digest = self.digest.as_ref().map(|digest| served_at(host, &tag.project, &tag.stream, digest));
        digest.or_else(|| self.pull_spec.clone())
    }
}

/// A step of a build with its times in milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildStep {
    pub name: String,
    pub started_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<i64>,
    /// Line of the log it begins at.
    pub first_line: i64,
}

/// One run of a build config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Build {
    pub id: String,
    pub config_id: String,
    /// The config's name.
    pub config: String,
    pub project_id: String,
    pub project: String,
    pub number: i64,
    #[sqlx(try_from = "String")]
    pub phase: BuildPhase,
    pub reason: Option<String>,
    pub message: Option<String>,
    /// JSON of [`BuildConfigSpec`] as it was when the build was requested.
    pub spec: String,
    /// JSON array of [`ResolvedInput`].
    pub inputs: String,
    /// JSON of the commit, once it is known.
    pub revision: Option<String>,
    pub commit_requested: Option<String>,
    /// `manual`, `image`, `config`, `webhook`, `rebuild` or `retry`
    pub trigger_kind: String,
    /// The cause in words.
    pub trigger_text: String,
    pub actor_kind: String,
    pub actor: String,
    pub sequence: i64,
    pub cause: Option<i64>,
    pub cascade_id: String,
    /// The cascade's number, where it is one of the build's project.
    pub cascade_number: Option<i64>,
    pub rebuild_of: Option<i64>,
    pub attempt: i64,
    /// JSON array of [`BuildStep`].
    pub steps: String,
    pub output_digest: Option<String>,
    pub output_sequence: Option<i64>,
    pub queued_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub cancel_requested_at: Option<i64>,
    pub cancel_requested_by: Option<String>,
    pub log_lines: i64,
    pub version: i64,
}

impl Build {
    /// `<config>-<number>`
    pub fn name(&self) -> String {
        format!("{}-{}", self.config, self.number)
    }

    /// The config as it was when the build was requested.
    pub fn spec(&self) -> serde_json::Result<BuildConfigSpec> {
        serde_json::from_str(&self.spec)
    }

    /// The resolved inputs.
    pub fn inputs(&self) -> serde_json::Result<Vec<ResolvedInput>> {
        serde_json::from_str(&self.inputs)
    }

    /// The steps so far.
    pub fn steps(&self) -> serde_json::Result<Vec<BuildStep>> {
        serde_json::from_str(&self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(project: &str, stream: &str, tag: &str) -> StreamTag {
        StreamTag { project: project.into(), stream: stream.into(), tag: tag.into() }
    }

    #[test]
    fn what_is_said_no_more_is_kept_without_what_may_be_secret() {
        let variable = |name: &str, value: &str| EnvVar { name: name.to_owned(), value: value.to_owned() };
        for (uri, kept) in [
            ("https://ada:pass@git.example/x/y.git", "https://git.example/x/y.git"),
            ("https://git.example/a@b", "https://git.example/a@b"),
            ("ssh://git@git.example:22", "ssh://git.example:22"),
            ("git@git.example:x.git", "git@git.example:x.git"),
        ] {
            let git = crate::model::GitSource { uri: uri.to_owned(), reference: None, secret: None };
            let source = Source { git: Some(git), ..Source::default() };
            let spec = BuildConfigSpec::new(source, "app".parse().unwrap(), "latest".parse().unwrap());
            let spec = BuildConfigSpec { env: vec![variable("A", "1")], build_args: vec![variable("B", "2")], ..spec };
            let spec = spec.without_values();
            assert_eq!((spec.env, spec.build_args), (vec![variable("A", "")], vec![variable("B", "")]));
            assert_eq!(spec.source.git.unwrap().uri, kept);
        }
    }

    #[test]
    fn a_reference_stands_for_a_stream_by_host_or_short_name() {
        let hosts = ["weir.local:8080".to_owned()];
        assert_eq!(stands_for("base", "demo", &hosts), Some((tag("demo", "base", "latest"), true)));
        assert_eq!(stands_for("base:1", "demo", &hosts), Some((tag("demo", "base", "1"), true)));
        assert_eq!(stands_for("weir.local:8080/x/base:1", "demo", &hosts), Some((tag("x", "base", "1"), false)));
        assert_eq!(stands_for("docker.io/x/base:1", "demo", &hosts), None);
        assert_eq!(stands_for("x/base:1", "demo", &hosts), None);
    }
}
