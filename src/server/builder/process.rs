//! Child processes of a build: in a process group of their own, with a small environment, killed as one.
//!
//! Every process carries `WEIR_BUILD_ID`, so a later server finds what an earlier one left ([`kill_marked`]).

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::BuildEvent;

/// The variable that marks a build's processes.
pub const MARKER: &str = "WEIR_BUILD_ID";
/// Programs are looked up here, whatever the server's own environment says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a process may take to end by itself once it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// A longer line is cut into several: a process must not fill the memory with one.
const LINE_LIMIT: u64 = 16 * 1024;
/// How many of the last lines are kept to explain a failure.
const TAIL: usize = 40;

/// What bounds a process from outside.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    pub timeout: Duration,
    pub cancel: &'a CancellationToken,
}

/// Why a process did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error("it was cancelled")]
    Cancelled,
    #[error("it took longer than {} seconds", .0.as_secs())]
    TimedOut(Duration),
    #[error("{program} cannot be run: {source}")]
    Io { program: String, source: io::Error },
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Its last lines, both streams in the order they came.
    pub tail: Vec<String>,
    /// What it wrote to its standard output, when that was captured.
    pub stdout: Vec<u8>,
}

/// `program` with nothing of the server's environment.
pub fn command(program: impl AsRef<OsStr>, marker: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("LANG", "C.UTF-8")
        .env(MARKER, marker)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Runs `command` and sends what it writes, line by line and in order, as events.
pub async fn stream(
    mut command: Command,
    limits: Limits<'_>,
    events: &mpsc::Sender<BuildEvent>,
) -> Result<Ended, Stopped> {
    let failed = failure_of(&command);
    // One pipe for both streams: two would lose the order between them.
    let (reader, writer) = io::pipe().map_err(&failed)?;
    command.stdout(writer.try_clone().map_err(&failed)?).stderr(writer);
    let mut child = Group::spawn(&mut command).map_err(&failed)?;
    // The command holds the pipe's other end: with it open, the reader would never see the end.
    drop(command);
    let reader = pipe::Receiver::from_owned_fd(reader.into()).map_err(&failed)?;
    let mut tail = VecDeque::new();
    let copy = async {
        let mut lines = BufReader::new(reader);
        while let Some(line) = next_line(&mut lines).await? {
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line.clone());
            // Nobody listens any more: the build goes on until it is cancelled.
            let _ = events.send(BuildEvent::Line(line)).await;
        }
        Ok(())
    };
    let status = child.finish(copy, limits, &failed).await?;
    Ok(Ended { status, tail: tail.into(), stdout: Vec::new() })
}

/// Runs `command` and keeps what it writes: standard output whole, of standard error the last lines.
pub async fn capture(mut command: Command, limits: Limits<'_>) -> Result<Ended, Stopped> {
    let failed = failure_of(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Group::spawn(&mut command).map_err(&failed)?;
    let (Some(mut out), Some(err)) = (child.child.stdout.take(), child.child.stderr.take()) else {
        return Err(failed(io::Error::other("its output cannot be read")));
    };
    let mut stdout = Vec::new();
    let mut tail = VecDeque::new();
    let copy = async {
        let errors = async {
            let mut lines = BufReader::new(err);
            while let Some(line) = next_line(&mut lines).await? {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Ok::<(), io::Error>(())
        };
        tokio::try_join!(out.read_to_end(&mut stdout), errors).map(|_| ())
    };
    let status = child.finish(copy, limits, &failed).await?;
    Ok(Ended { status, tail: tail.into(), stdout })
}

fn failure_of(command: &Command) -> impl Fn(io::Error) -> Stopped + use<> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    move |source| Stopped::Io { program: program.clone(), source }
}

/// The next line without its end, at most [`LINE_LIMIT`] bytes of it; `None` at the end.
async fn next_line(reader: &mut (impl AsyncRead + AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.take(LINE_LIMIT).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&line);
    Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// A child that leads its process group; when dropped, the whole group is killed.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, id })
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // Gone already is as good.
            let _ = kill_process_group(id, signal);
        }
    }

    /// Waits for the output's end and the process's, within the limits.
    async fn finish(
        &mut self,
        copy: impl Future<Output = io::Result<()>>,
        limits: Limits<'_>,
        failed: &impl Fn(io::Error) -> Stopped,
    ) -> Result<ExitStatus, Stopped> {
        let ended = {
            let child = &mut self.child;
            let run = async {
                let mut copy = std::pin::pin!(copy);
                // A process left behind may hold the pipe open: once the child is gone, only what is there is read.
                tokio::select! {
                    copied = &mut copy => { copied?; child.wait().await }
                    status = child.wait() => {
                        let _ = tokio::time::timeout(GRACE, copy).await;
                        status
                    }
                }
            };
            tokio::select! {
                ended = tokio::time::timeout(limits.timeout, run) => {
                    ended.map_err(|_| Stopped::TimedOut(limits.timeout)).and_then(|status| status.map_err(failed))
                }
                () = limits.cancel.cancelled() => Err(Stopped::Cancelled),
            }
        };
        if ended.is_err() {
            self.signal(Signal::TERM);
            let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        }
        // Also after a good end: what it left running in its group has no one to answer to.
        self.signal(Signal::KILL);
        if ended.is_err() {
            let _ = tokio::time::timeout(GRACE, self.child.wait()).await;
        }
        self.gone().await;
        self.id = None;
        ended
    }

    /// Waits until nothing of the group is left: a process that was killed still exists for a moment. The first process of a PID
    /// namespace is gone only after all others in it.
    async fn gone(&self) {
        let Some(id) = self.id else { return };
        let deadline = Instant::now() + GRACE;
        // Somebody else's child may stay as a zombie for as long as its parent likes.
        while test_kill_process_group(id).is_ok() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Kills every process of the user we run as that carries `marker`, until none is left. Returns how many there were.
pub async fn kill_marked(marker: &str) -> anyhow::Result<usize> {
    let mut killed = HashSet::new();
    let mut clean = 0;
    for _ in 0..100 {
        let entry = format!("{MARKER}={marker}");
        let found = tokio::task::spawn_blocking(move || marked(&entry)).await?;
        // In the midst of `exec` a process shows no environment: one look alone may miss it.
        clean = if found.is_empty() { clean + 1 } else { 0 };
        if clean == 2 {
            return Ok(killed.len());
        }
        for pid in found {
            killed.insert(pid.as_raw_nonzero());
            let _ = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!(
        "processes of build {marker} do not end: look for them with grep -l {MARKER}={marker} /proc/*/environ"
    )
}

/// Waits until a process that was just started shows its mark.
#[cfg(test)]
pub async fn until_marked(marker: &str) {
    while marked(&format!("{MARKER}={marker}")).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The processes whose environment has `entry`. Those that are gone meanwhile, or another user's, are not.
pub fn marked(entry: &str) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
            let environment = std::fs::read(process.path().join("environ")).ok()?;
            environment.split(|&b| b == 0).any(|variable| variable == entry.as_bytes()).then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, marker: &str) -> Command {
        let mut command = command("sh", marker, Path::new("/tmp"));
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn lines_of_both_streams_come_in_order() {
        let cancel = CancellationToken::new();
        let limits = Limits { timeout: Duration::from_secs(20), cancel: &cancel };
        let (sender, mut receiver) = mpsc::channel(100);
        let script =
            "for i in 1 2 3; do echo out $i; echo err $i >&2; done; printf 'last\\r\\n'; printf 'x\\377'; exit 3";
        let ended = stream(sh(script, "lines"), limits, &sender).await.unwrap();
        drop(sender);
        let mut lines = Vec::new();
        while let Some(BuildEvent::Line(line)) = receiver.recv().await {
            lines.push(line);
        }
        assert_eq!(lines, ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3", "last", "x\u{fffd}"]);
        assert_eq!(ended.tail, lines);
        assert_eq!(ended.status.code(), Some(3));
    }

    #[tokio::test]
    async fn cancelling_kills_children_and_grandchildren() {
        let cancel = CancellationToken::new();
        let limits = Limits { timeout: Duration::from_secs(20), cancel: &cancel };
        let (sender, mut receiver) = mpsc::channel(100);
        let marker = "cancelling-kills-7f1e";
        let run = stream(sh("trap '' TERM; sleep 600 & echo started; wait; sleep 600", marker), limits, &sender);
        let stop = async {
            assert_eq!(receiver.recv().await, Some(BuildEvent::Line("started".into())));
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(run, stop);
        assert!(matches!(ended, Err(Stopped::Cancelled)));
        assert_eq!(kill_marked(marker).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn finds_what_was_left_behind() {
        let marker = "left-behind-7f1e";
        let mut orphan = sh("exec sleep 600", marker).kill_on_drop(false).spawn().unwrap();
        until_marked(marker).await;
        assert_eq!(kill_marked(marker).await.unwrap(), 1);
        assert!(!orphan.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_program_that_is_missing_is_named() {
        let cancel = CancellationToken::new();
        let limits = Limits { timeout: Duration::from_secs(20), cancel: &cancel };
        let error = capture(command("weir-no-such", "x", Path::new("/tmp")), limits).await.unwrap_err();
        assert!(error.to_string().starts_with("weir-no-such cannot be run"), "{error}");
    }
}
