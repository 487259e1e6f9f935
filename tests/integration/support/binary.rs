//! The program itself, as an operator runs it.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// How much of the log is kept.
const LOG_LINES: usize = 200;

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `weir` with these arguments to its end, in an environment without any of its variables.
pub fn run_weir<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Finished {
    let output = command(arguments).output().expect("the program runs");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `weir serve` on a free port, killed when it is dropped.
pub struct RunningWeir {
    child: Child,
    lines: Receiver<String>,
    log: Arc<Mutex<VecDeque<String>>>,
    logging: Option<JoinHandle<()>>,
    /// Where it says it is.
    pub url: String,
    /// What it printed before it was ready.
    pub greeting: Vec<String>,
}

impl RunningWeir {
    /// Starts it on a data directory and waits until it says that it is ready. Nothing builds or runs apps.
    pub fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().expect("a path in UTF-8");
        let fixed = ["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "none", "--data-dir", data];
        let without = ["--builder", "none", "--rollout", "none"];
        let arguments = fixed.iter().chain(&without).chain(more).copied();
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("its standard output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let log: Arc<Mutex<VecDeque<String>>> = Arc::default();
        let stderr = child.stderr.take().expect("its standard error");
        let kept = Arc::clone(&log);
        // Read to its end: a full pipe would stop the server in the middle of a sentence.
        let logging = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("the log");
                if kept.len() == LOG_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        let mut weir = Self { child, lines, log, logging: Some(logging), url: String::new(), greeting: Vec::new() };
        weir.wait_until_ready();
        weir
    }

    /// Its number among the machine's processes.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let log = self.log.lock().expect("the log");
        log.iter().map(|line| format!("{line}\n")).collect()
    }

    /// A number of `/proc/<id>/status`, for instance `Threads`, or `VmHWM` in kB.
    pub fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    fn wait_until_ready(&mut self) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.strip_prefix("Weir is ready at ") {
                    Some(url) => {
                        self.url = url.to_owned();
                        return;
                    }
                    None => self.greeting.push(line),
                },
                Err(RecvTimeoutError::Timeout) => panic!("it is not ready after {} s", PATIENCE.as_secs()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended: {}", self.errors()),
            }
        }
    }

    fn errors(&mut self) -> String {
        if let Some(logging) = self.logging.take() {
            let _ = logging.join();
        }
        self.log_end()
    }

    /// Asks it to stop as an init system does; gives its exit code and how long it took.
    pub fn terminate(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let id = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status().expect("kill runs");
        assert!(told.success());
        (self.child.wait().expect("it ends").code(), began.elapsed())
    }

    /// Ends it without any warning.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for RunningWeir {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
