//! Builds with buildah, as child processes with a storage of their own under the data directory.
//!
//! As root each buildah runs as the first process of a PID and a mount namespace: when it is killed, the kernel ends
//! whatever its build started and undoes whatever it mounted. `docs/decisions/0004-builder.md` has the reasons.

mod failure;
mod host;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use base64::Engine;
use secrecy::ExposeSecret;
use tokio::process::Command;
use tokio::sync::{OnceCell, RwLock, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::model::{Digest, Source};

use super::git::{GitConfig, write_private};
use super::prepare::{Prepared, Workshop, say, tell, unexpected, write_dockerfile};
use super::process::{self, Limits};
use super::{BuildEvent, BuildFailure, BuildJob, BuildOutput, Builder, Fetched, GitCredentials, RegistryAccess};
use host::Host;

/// How buildah runs.
#[derive(Debug, Clone)]
pub struct BuildahConfig {
    /// Everything of the builder lives below: storage, work directories, ssh host keys.
    pub directory: PathBuf,
    pub git: GitConfig,
    /// `chroot`, `oci` or `rootless`. `chroot` needs no container runtime and works inside containers.
    pub isolation: String,
    /// A build that takes longer is ended.
    pub timeout: Duration,
    /// Once the cache of layers is larger, it is dropped.
    pub cache_bytes: u64,
    /// Further variables for buildah and git: proxies, certificates.
    pub environment: Vec<(String, String)>,
}

impl BuildahConfig {
    /// The defaults, with everything below `directory`.
    pub fn below(directory: PathBuf) -> Self {
        Self {
            directory,
            git: GitConfig::default(),
            isolation: "chroot".into(),
            timeout: Duration::from_secs(2 * 3600),
            cache_bytes: 20 << 30,
            environment: Vec::new(),
        }
    }
}

/// After how many builds the size of the cache is looked at again.
const MEASURE_EVERY: u32 = 20;

/// The builder.
pub struct Buildah {
    config: BuildahConfig,
    workshop: Workshop,
    host: OnceCell<Host>,
    /// Held shared by builds; what must not meet a build takes it alone.
    storage: RwLock<()>,
    /// A build was killed: its working container is still in the storage.
    dirty: AtomicBool,
    finished: AtomicU32,
}

impl Buildah {
    pub fn new(config: BuildahConfig) -> Self {
        let git = GitConfig { environment: config.environment.clone(), ..config.git.clone() };
        let workshop = Workshop::new(config.directory.clone(), git);
        let (storage, finished) = (RwLock::new(()), AtomicU32::new(0));
        Self { config, workshop, host: OnceCell::new(), storage, dirty: AtomicBool::new(true), finished }
    }

    async fn host(&self) -> Result<&Host, String> {
        self.host.get_or_try_init(|| Host::look(&self.config)).await
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &mpsc::Sender<BuildEvent>,
        cancel: &CancellationToken,
    ) -> Result<BuildOutput, BuildFailure> {
        let host =
            self.host().await.map_err(|message| BuildFailure::Error { reason: "CannotCreateBuildPod", message })?;
        let prepared = self.workshop.prepare(job, events, cancel).await?;
        write_access(&prepared.work, &job.registry)
            .map_err(|error| unexpected("writing the registry's access", &error))?;
        let run = Run { builder: self, host, job, prepared: &prepared, events, cancel };
        run.pull().await?;
        let image = run.bud().await?;
        let digest = match &job.output {
            Some(output) => Some(run.push(&image, output).await?),
            None => None,
        };
        if job.no_cache {
            run.remove(&image).await;
        }
        Ok(BuildOutput { digest })
    }

    /// Removes what killed builds left in the storage and drops a cache grown too large, when no build runs.
    async fn tidy(&self) {
        let due = self.finished.fetch_add(1, Ordering::Relaxed) % MEASURE_EVERY == MEASURE_EVERY - 1;
        if !due && !self.dirty.load(Ordering::Acquire) {
            return;
        }
        let (Ok(_alone), Ok(host)) = (self.storage.try_write(), self.host().await) else { return };
        if self.dirty.swap(false, Ordering::AcqRel) {
            self.storage_command(host, &["rm", "--all"]).await;
        }
        if due {
            let storage = self.config.directory.join("storage");
            let size = tokio::task::spawn_blocking(move || size_of(&storage)).await.unwrap_or_default();
            if size > self.config.cache_bytes {
                info!(size_bytes = size, "The builder's cache has grown to {} MB; dropping it", size >> 20);
                self.storage_command(host, &["rmi", "--all", "--force"]).await;
            }
        }
    }

    async fn storage_command(&self, host: &Host, arguments: &[&str]) {
        let mut command = host.command(&self.config, "tidy", &self.config.directory);
        command.args(arguments);
        let limits = Limits { timeout: Duration::from_secs(300), cancel: &CancellationToken::new() };
        match process::capture(command, limits).await {
            Ok(ended) if ended.status.success() => {}
            Ok(ended) => warn!("buildah {} did not succeed: {}", arguments.join(" "), ended.tail.join("; ")),
            Err(stopped) => warn!("buildah {}: {stopped}", arguments.join(" ")),
        }
    }
}

#[async_trait]
impl Builder for Buildah {
    async fn check(&self) -> Result<(), String> {
        host::present("buildah")?;
        host::present("git")?;
        self.host().await.map(|_| ())
    }

    async fn fetch(&self, source: &Source, credentials: Option<&GitCredentials>) -> Result<Fetched, BuildFailure> {
        self.workshop.fetch(source, credentials).await
    }

    async fn run(
        &self,
        job: BuildJob,
        events: mpsc::Sender<BuildEvent>,
        cancel: CancellationToken,
    ) -> Result<BuildOutput, BuildFailure> {
        let result = {
            let _shared = self.storage.read().await;
            // Undone below; not undone when this future is dropped, which is when it must stay.
            let was_dirty = self.dirty.swap(true, Ordering::AcqRel);
            let result = self.build(&job, &events, &cancel).await;
            if result.is_ok() && !was_dirty {
                self.dirty.store(false, Ordering::Release);
            }
            result
        };
        if let Err(error) = self.workshop.clean(&job.id).await {
            warn!(build.id = %job.id, "The work directory of build {} cannot be removed: {error}", job.id);
        }
        self.tidy().await;
        result
    }

    async fn reap(&self, build_id: &str) -> anyhow::Result<()> {
        let killed = process::kill_marked(build_id).await?;
        if killed > 0 {
            info!(build.id = %build_id, "Killed {killed} processes that an earlier server left of build {build_id}");
        }
        self.workshop.clean(build_id).await.context("removing the build's work directory")?;
        self.dirty.store(true, Ordering::Release);
        self.tidy().await;
        Ok(())
    }
}

/// One build under way.
struct Run<'a> {
    builder: &'a Buildah,
    host: &'a Host,
    job: &'a BuildJob,
    prepared: &'a Prepared,
    events: &'a mpsc::Sender<BuildEvent>,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    fn command(&self, verb: &str) -> Command {
        let mut command = self.host.command(&self.builder.config, &self.job.id, &self.prepared.work);
        command.arg(verb);
        command
    }

    fn limits(&self) -> Limits<'_> {
        Limits { timeout: self.builder.config.timeout, cancel: self.cancel }
    }

    /// The options to reach the registry that `image` is in: plain HTTP for Weir's own alone, when that is what it speaks.
    fn access(&self, image: &str) -> Vec<OsString> {
        let own = image.strip_prefix(&self.job.registry.host).is_some_and(|rest| rest.starts_with('/'));
        let insecure = own && self.job.registry.insecure;
        let mut options = vec!["--authfile".into(), self.authfile().into_os_string()];
        options.extend(insecure.then(|| "--tls-verify=false".into()));
        options
    }

    fn authfile(&self) -> PathBuf {
        self.prepared.work.join("auth.json")
    }

    /// Brings every base in before the build, so that a base that cannot be had is told apart from a failing step.
    async fn pull(&self) -> Result<(), BuildFailure> {
        tell(self.events, BuildEvent::Step("pull")).await;
        for (pull_spec, exact) in &self.prepared.pulls {
            let mut command = self.command("pull");
            command.args(self.access(pull_spec)).args(["--policy", if *exact { "missing" } else { "always" }]);
            command.arg("--quiet").arg(format!("docker://{pull_spec}"));
            let ended = process::capture(command, self.limits()).await.map_err(failure::stopped)?;
            if !ended.status.success() {
                for line in &ended.tail {
                    say(self.events, line).await;
                }
                return Err(failure::pull(pull_spec, &ended));
            }
        }
        Ok(())
    }

    async fn bud(&self) -> Result<String, BuildFailure> {
        tell(self.events, BuildEvent::Step("build")).await;
        let work = &self.prepared.work;
        let dockerfile = write_dockerfile(work, &self.prepared.dockerfile)
            .map_err(|error| unexpected("writing the Dockerfile", &error))?;
        let image_id = work.join("image-id");
        let mut command = self.command("bud");
        command.args(["--isolation", &self.builder.config.isolation, "--format", "oci", "--force-rm"]);
        // What is needed was pulled; an image that slipped past is not pulled behind our back.
        command.args(["--pull=false", if self.job.no_cache { "--no-cache" } else { "--layers" }]);
        command.arg("--authfile").arg(self.authfile()).arg("--iidfile").arg(&image_id).arg("--file").arg(dockerfile);
        for (name, value) in &self.job.build_args {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        for (name, value) in &self.prepared.annotations {
            command.arg("--annotation").arg(format!("{name}={value}"));
        }
        command.arg("--").arg(&self.prepared.context);
        let ended = process::stream(command, self.limits(), self.events).await.map_err(failure::stopped)?;
        if !ended.status.success() {
            return Err(failure::build(&ended));
        }
        let id =
            tokio::fs::read_to_string(&image_id).await.map_err(|error| unexpected("reading the image's id", &error))?;
        Ok(id.trim().trim_start_matches("sha256:").to_owned())
    }

    async fn push(&self, image: &str, output: &str) -> Result<Digest, BuildFailure> {
        tell(self.events, BuildEvent::Step("push")).await;
        say(self.events, format!("Pushing {output} …")).await;
        let digest_file = self.prepared.work.join("digest");
        let mut command = self.command("push");
        command.args(self.access(output)).arg("--digestfile").arg(&digest_file);
        command.args(["--quiet", "--format", "oci"]).arg(image).arg(format!("docker://{output}"));
        let ended = process::stream(command, self.limits(), self.events).await.map_err(failure::stopped)?;
        if !ended.status.success() {
            return Err(failure::push(output, &ended));
        }
        let text =
            tokio::fs::read_to_string(&digest_file).await.map_err(|error| unexpected("reading the digest", &error))?;
        let digest: Digest = text.trim().parse().map_err(|error| BuildFailure::Error {
            reason: "Error",
            message: format!("buildah wrote no digest of what it pushed: {error}"),
        })?;
        say(self.events, format!("Pushed {output}@{digest}")).await;
        Ok(digest)
    }

    async fn remove(&self, image: &str) {
        let mut command = self.command("rmi");
        command.args(["--force", image]);
        if let Err(stopped) = process::capture(command, self.limits()).await {
            warn!(build.id = %self.job.id, "The image of build {} stays in the builder's storage: {stopped}", self.job.id);
        }
    }
}

/// The credentials, as a file only we can read.
fn write_access(work: &Path, registry: &RegistryAccess) -> std::io::Result<()> {
    let pair = format!("{}:{}", registry.username, registry.password.expose_secret());
    let auth = base64::engine::general_purpose::STANDARD.encode(pair);
    let auths = serde_json::json!({ "auths": { &registry.host: { "auth": auth } } });
    write_private(&work.join("auth.json"), &auths.to_string())
}

/// Bytes in files below `directory`; links are not followed.
fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.path().symlink_metadata().ok().map(|metadata| (entry.path(), metadata)))
        .map(|(path, metadata)| if metadata.is_dir() { size_of(&path) } else { metadata.len() })
        .sum()
}

#[cfg(test)]
mod tests;
