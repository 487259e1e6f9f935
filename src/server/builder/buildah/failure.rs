//! From how a process ended to why a build did not end well.

use std::os::unix::process::ExitStatusExt;

use crate::server::builder::BuildFailure;
use crate::server::builder::process::{Ended, Stopped};

/// The process did not come to its own end.
pub fn stopped(stopped: Stopped) -> BuildFailure {
    match stopped {
        Stopped::Cancelled => BuildFailure::Cancelled,
        Stopped::TimedOut(after) => BuildFailure::Failed {
            reason: "GenericBuildFailed",
            message: format!("The build took longer than {} minutes and was ended.", after.as_secs() / 60),
        },
        Stopped::Io { .. } => BuildFailure::Error { reason: "CannotCreateBuildPod", message: format!("{stopped}.") },
    }
}

/// A base could not be pulled.
pub fn pull(pull_spec: &str, ended: &Ended) -> BuildFailure {
    failed("PullBuilderImageFailed", format!("Failed pulling builder image {pull_spec}"), ended)
}

/// A step of the Dockerfile failed.
pub fn build(ended: &Ended) -> BuildFailure {
    failed("DockerBuildFailed", "Docker build strategy has failed".into(), ended)
}

/// The image was made, but the registry did not take it.
pub fn push(output: &str, ended: &Ended) -> BuildFailure {
    failed("PushImageToRegistryFailed", format!("Failed to push the image to {output}"), ended)
}

fn failed(reason: &'static str, what: String, ended: &Ended) -> BuildFailure {
    // 137 is how a shell, and so a RUN, tells that its process was killed.
    let killed = ended.status.signal() == Some(9)
        || ended.tail.iter().rev().take(5).any(|line| line.contains("exit status 137"));
    if killed {
        let message =
            "A process of the build was killed, most likely because memory ran out: free some, or build less at once.";
        return BuildFailure::Failed { reason: "OutOfMemoryKilled", message: message.into() };
    }
    let said = ended.tail.iter().rev().find(|line| is_error(line)).or(ended.tail.last());
    let message =
        said.map_or_else(|| format!("{what}: {}.", ended.status), |said| format!("{what}: {}", shortened(said)));
    BuildFailure::Failed { reason, message }
}

/// buildah says at its end, after `Error:` or as a log record, what it was.
fn is_error(line: &str) -> bool {
    line.starts_with("Error") || line.starts_with("error ")
}

fn shortened(line: &str) -> String {
    let line = line.trim_start_matches("Error: ");
    if line.chars().count() > 600 { line.chars().take(600).chain(['…']).collect() } else { line.to_owned() }
}
