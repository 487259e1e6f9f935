//! What every builder does before it builds: fetch the sources, read the Dockerfile, pin it, and derive the labels.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{ImageReference, InputKind, Source};

use super::git::{self, Fetch, GitConfig};
use super::{BuildEvent, BuildFailure, BuildJob, Fetched, GitCredentials, PinnedInput, Revision, dockerfile};

/// The directory under which builds work: `work/<build id>` for each, removed when it ends.
pub struct Workshop {
    root: PathBuf,
    git: GitConfig,
}

/// A build with everything at hand.
pub struct Prepared {
    /// The build's own directory.
    pub work: PathBuf,
    pub context: PathBuf,
    /// The Dockerfile as it is built, pinned, its last lines the facts about this very build.
    pub dockerfile: String,
    /// How many those lines are.
    pub facts: usize,
    /// What has to be pulled, each once, and whether that is by digest.
    pub pulls: Vec<(String, bool)>,
    /// What those lines label the image with.
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
}

struct Sources {
    context: PathBuf,
    fetched: Fetched,
}

impl Workshop {
    pub fn new(root: PathBuf, git: GitConfig) -> Self {
        Self { root, git }
    }

    /// Where the build works. Ids are the store's; whatever else comes must not lead elsewhere.
    pub fn work(&self, build_id: &str) -> PathBuf {
        let safe = |c: char| c.is_ascii_alphanumeric() || c == '-';
        self.root.join("work").join(build_id.chars().map(|c| if safe(c) { c } else { '_' }).collect::<String>())
    }

    /// Removes the build's directory; no matter when there is none.
    pub async fn clean(&self, build_id: &str) -> std::io::Result<()> {
        match tokio::fs::remove_dir_all(self.work(build_id)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads a source without building it; `marker` names the directory meanwhile.
    pub async fn fetch(&self, source: &Source, credentials: Option<&GitCredentials>) -> Result<Fetched, BuildFailure> {
        let marker = format!("fetch-{}", uuid::Uuid::now_v7());
        let cancel = CancellationToken::new();
        let result = self.sources(&marker, source, None, credentials, &cancel).await;
        let _ = self.clean(&marker).await;
        result.map(|sources| sources.fetched)
    }

    async fn sources(
        &self,
        marker: &str,
        source: &Source,
        commit: Option<&str>,
        credentials: Option<&GitCredentials>,
        cancel: &CancellationToken,
    ) -> Result<Sources, BuildFailure> {
        let work = self.work(marker);
        let root = work.join("source");
        // A directory may be left of an earlier try of the same build.
        self.clean(marker).await.map_err(|error| unexpected("emptying the work directory", &error))?;
        tokio::fs::create_dir_all(&root).await.map_err(|error| unexpected("making the work directory", &error))?;
        let known_hosts = self.root.join("known_hosts");
        let fetch = Fetch { config: &self.git, credentials, work: &work, known_hosts: &known_hosts, marker, cancel };
        let revision = match &source.git {
            Some(repository) => Some(fetch.run(repository, commit).await?),
            None => None,
        };
        let context = match &source.git {
            Some(_) => git::context(&root, source.context_dir.as_deref())?,
            None => root.clone(),
        };
        let dockerfile = match &source.dockerfile {
            Some(inline) => inline.clone(),
            None => git::dockerfile(&root, &context, source.dockerfile_path.as_deref())?,
        };
        Ok(Sources { context, fetched: Fetched { dockerfile, revision } })
    }

    /// Everything up to the build itself, told as events.
    pub async fn prepare(
        &self,
        job: &BuildJob,
        events: &mpsc::Sender<BuildEvent>,
        cancel: &CancellationToken,
    ) -> Result<Prepared, BuildFailure> {
        tell(events, BuildEvent::Step("fetch")).await;
        if let Some(repository) = &job.source.git {
            say(events, format!("Fetching {} …", git::shown(&repository.uri))).await;
        }
        let credentials = job.git_credentials.as_ref();
        let sources = self.sources(&job.id, &job.source, job.commit.as_deref(), credentials, cancel).await?;
        if let Some(revision) = &sources.fetched.revision {
            say(events, format!("  Commit: {} ({})", revision.commit, revision.message)).await;
            say(events, format!("  Author: {}", revision.author)).await;
            say(events, format!("  Date:   {}", revision.date)).await;
        }
        tell(events, BuildEvent::Fetched(sources.fetched.clone())).await;
        let prepared = self.pinned(job, sources)?;
        for input in job.strategy_from.iter().chain(&job.inputs) {
            say(events, format!("{} → {}", input.reference, input.pull_spec)).await;
        }
        Ok(prepared)
    }

    fn pinned(&self, job: &BuildJob, sources: Sources) -> Result<Prepared, BuildFailure> {
        let Fetched { dockerfile: text, revision } = sources.fetched;
        let strategy = job.strategy_from.as_ref();
        let strategy_name = strategy.map(|from| from.reference.as_str());
        let inputs = match strategy_name {
            Some(name) => dockerfile::inputs_with_strategy(&text, &job.build_args, name),
            None => dockerfile::inputs(&text, &job.build_args),
        };
        let resolve = |reference: &str| resolve(job, reference);
        let mut pulls: Vec<(String, bool)> =
            strategy.map(|from| (from.pull_spec.clone(), from.digest.is_some())).into_iter().collect();
        let mut unresolved = Vec::new();
        for input in inputs.map_err(unreadable)? {
            match (input.kind, resolve(&input.reference)) {
                (InputKind::Syntax | InputKind::Strategy, _) => {}
                (_, Some(pull)) if !pulls.contains(&pull) => pulls.push(pull),
                (_, Some(_)) => {}
                (_, None) if unresolved.contains(&input.reference) => {}
                (_, None) => unresolved.push(input.reference),
            }
        }
        if !unresolved.is_empty() {
            return Err(BuildFailure::Unresolved(unresolved));
        }
        let pull_spec = |reference: &str| resolve(reference).map(|(pull_spec, _)| pull_spec);
        let pinned =
            dockerfile::pin_with(&text, &job.build_args, &pull_spec, strategy, &job.env).map_err(unreadable)?;
        let base = dockerfile::base(&text, &job.build_args, strategy_name).map_err(unreadable)?;
        let annotations = annotations(job, revision.as_ref(), base.as_deref());
        let labels = labels(job, revision.as_ref(), &annotations);
        let escape = dockerfile::escape_of(&text);
        let env = dockerfile::env_instruction(&build_environment(job, revision.as_ref()), escape);
        let last = [env.map_err(|message| manage(&message))?, dockerfile::label_instruction(&labels, escape)];
        Ok(Prepared {
            work: self.work(&job.id),
            context: sources.context,
            dockerfile: last.iter().fold(pinned, |text, instruction| dockerfile::append(&text, instruction)),
            facts: last.len(),
            pulls,
            labels,
            annotations,
        })
    }
}

/// What takes the place of `reference`, and whether that is exact.
fn resolve(job: &BuildJob, reference: &str) -> Option<(String, bool)> {
    if let Some(input) = job.inputs.iter().find(|input| input.reference == reference) {
        return Some((input.pull_spec.clone(), input.digest.is_some()));
    }
    let external = job.external.iter().find(|external| *external == reference)?;
    // Written out in full: what a short name means must not depend on the host's configuration.
    let full = ImageReference::of_engine(external).ok()?;
    Some((full.pull_spec()?, full.digest().is_some()))
}

/// The variables the image carries about its own build.
fn build_environment(job: &BuildJob, revision: Option<&Revision>) -> Vec<(String, String)> {
    let mut env = vec![
        ("OPENSHIFT_BUILD_NAME".to_owned(), job.name.clone()),
        ("OPENSHIFT_BUILD_NAMESPACE".to_owned(), job.project.clone()),
    ];
    if let (Some(repository), Some(revision)) = (&job.source.git, revision) {
        env.push(("OPENSHIFT_BUILD_SOURCE".into(), git::shown(&repository.uri)));
        env.push(("OPENSHIFT_BUILD_REFERENCE".into(), revision.reference.clone()));
        env.push(("OPENSHIFT_BUILD_COMMIT".into(), revision.commit.clone()));
    }
    env
}

fn annotations(job: &BuildJob, revision: Option<&Revision>, base: Option<&str>) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: String| list.push((format!("org.opencontainers.image.{name}"), value));
    let pinned =
        base.and_then(|base| job.strategy_from.iter().chain(&job.inputs).find(|input| input.reference == base));
    match (pinned, base) {
        (Some(input), _) => {
            add("base.name", full_name(input));
            if let Some(digest) = &input.digest {
                add("base.digest", digest.to_string());
            }
        }
        (None, Some(base)) => {
            let full = ImageReference::of_engine(base).ok().and_then(|reference| reference.pull_spec());
            add("base.name", full.unwrap_or_else(|| base.to_owned()));
        }
        (None, None) => {}
    }
    if let (Some(repository), Some(revision)) = (&job.source.git, revision) {
        add("revision", revision.commit.clone());
        add("source", git::shown(&repository.uri));
    }
    list
}

/// `host/project/stream:tag`, from where it is pulled and what the Dockerfile called it.
fn full_name(input: &PinnedInput) -> String {
    let written = ImageReference::of_engine(&input.reference).map(|reference| reference.docker_client_defaults().tag);
    let pulled = input.pull_spec.parse::<ImageReference>();
    match (pulled, written) {
        (Ok(pulled), Ok(tag)) if tag.is_empty() => pulled.as_repository().exact(),
        (Ok(pulled), Ok(tag)) => pulled.at_tag(&tag).exact(),
        _ => input.pull_spec.clone(),
    }
}

/// Labels in order of precedence: the build's own facts first, then what its author asks for.
fn labels(job: &BuildJob, revision: Option<&Revision>, annotations: &[(String, String)]) -> Vec<(String, String)> {
    let mut list = annotations.to_vec();
    let mut add = |name: &str, value: &str| list.push((format!("io.openshift.build.{name}"), value.to_owned()));
    add("name", &job.name);
    add("namespace", &job.project);
    if let (Some(repository), Some(revision)) = (&job.source.git, revision) {
        add("commit.id", &revision.commit);
        add("commit.ref", &revision.reference);
        add("commit.author", &revision.author);
        add("commit.date", &revision.date);
        add("commit.message", &revision.message);
        add("source-location", &git::shown(&repository.uri));
        if let Some(directory) = job.source.context_dir.as_deref().filter(|directory| !directory.is_empty()) {
            add("source-context-dir", directory);
        }
    }
    for (name, value) in &job.labels {
        list.retain(|(known, _)| known != name);
        list.push((name.clone(), value.clone()));
    }
    list
}

pub async fn tell(events: &mpsc::Sender<BuildEvent>, event: BuildEvent) {
    // Nobody listens any more: the build goes on until it is cancelled.
    let _ = events.send(event).await;
}

pub async fn say(events: &mpsc::Sender<BuildEvent>, line: impl Into<String>) {
    tell(events, BuildEvent::Line(line.into())).await;
}

fn unreadable(error: dockerfile::DockerfileError) -> BuildFailure {
    manage(&error.to_string())
}

fn manage(message: &str) -> BuildFailure {
    BuildFailure::Failed { reason: "ManageDockerfileFailed", message: message.to_owned() }
}

pub fn unexpected(doing: &str, error: &std::io::Error) -> BuildFailure {
    BuildFailure::Error { reason: "Error", message: format!("{doing}: {error}") }
}

/// Writes the Dockerfile that is built beside the sources, not among them.
pub fn write_dockerfile(work: &Path, text: &str) -> std::io::Result<PathBuf> {
    let path = work.join("Dockerfile");
    std::fs::write(&path, text)?;
    Ok(path)
}
