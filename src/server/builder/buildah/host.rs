//! What buildah can do on this host, looked at once.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::BuildahConfig;
use crate::server::builder::process::{self, Limits};

/// How buildah is started here.
pub struct Host {
    /// In a PID and a mount namespace of its own.
    namespaces: bool,
    /// `overlay` where the kernel and file system allow it, otherwise `vfs`, which copies.
    driver: &'static str,
}

impl Host {
    /// Tries what buildah needs; the error is one sentence that says what to do.
    pub async fn look(config: &BuildahConfig) -> Result<Self, String> {
        present("buildah")?;
        for directory in ["storage", "run", "work"] {
            let path = config.directory.join(directory);
            std::fs::create_dir_all(&path).map_err(|error| {
                format!("{} cannot be made: {error}. Make the data directory writable", path.display())
            })?;
        }
        let namespaces = rustix::process::geteuid().is_root() && succeeds(unshare(config)).await.is_ok();
        let mut problem = String::new();
        for driver in ["overlay", "vfs"] {
            let host = Self { namespaces, driver };
            let mut command = host.command(config, "look", &config.directory);
            command.arg("info");
            match succeeds(command).await {
                Ok(()) => return Ok(host),
                Err(said) => problem = said,
            }
        }
        Err(format!(
            "buildah does not run here: {problem}. As root it needs to mount; as another user it needs user namespaces \
             (apt install uidmap fuse-overlayfs, and entries in /etc/subuid and /etc/subgid)"
        ))
    }

    /// `buildah` with its global options; `home` is its home and takes its temporary files.
    pub fn command(&self, config: &BuildahConfig, marker: &str, home: &Path) -> Command {
        let mut command = if self.namespaces {
            let mut command = process::command("unshare", marker, home);
            command.args(NAMESPACES).args(["--", "buildah"]);
            command
        } else {
            process::command("buildah", marker, home)
        };
        command
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .env("XDG_RUNTIME_DIR", config.directory.join("run"))
            .arg("--root")
            .arg(config.directory.join("storage"))
            .arg("--runroot")
            .arg(config.directory.join("run"))
            .args(["--storage-driver", self.driver])
            .current_dir(home);
        command
    }
}

const NAMESPACES: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

fn unshare(config: &BuildahConfig) -> Command {
    let mut command = process::command("unshare", "look", &config.directory);
    command.args(NAMESPACES).args(["--", "true"]);
    command
}

async fn succeeds(command: Command) -> Result<(), String> {
    let limits = Limits { timeout: Duration::from_secs(60), cancel: &CancellationToken::new() };
    match process::capture(command, limits).await {
        Ok(ended) if ended.status.success() => Ok(()),
        Ok(ended) => Err(ended.tail.last().cloned().unwrap_or_else(|| ended.status.to_string())),
        Err(stopped) => Err(stopped.to_string()),
    }
}

/// Whether `program` is installed where processes of builds look for it.
pub fn present(program: &str) -> Result<(), String> {
    if process::PATH.split(':').any(|directory| Path::new(directory).join(program).is_file()) {
        return Ok(());
    }
    Err(format!("{program} is not installed, so builds cannot run: apt install {program}"))
}
