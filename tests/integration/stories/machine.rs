//! The program as a process that can be killed, on its own data directory, with the real builder and the real engine; and what the
//! machine shows of it from outside.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sqlx::AnyPool;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use weir::server::store::Store;
use weir::server::wake::Wake;

/// How long a start may take on a machine that does other things too.
const START: Duration = Duration::from_secs(60);

/// A data directory, and the server that runs on it or does not.
pub struct Machine {
    directory: TempDir,
    /// `127.0.0.1:port`, the same after every start: images are named by it.
    pub address: String,
    server: Option<Child>,
    /// By what the services of this server are found on the engine.
    instance: String,
}

impl Machine {
    /// A machine on which nothing ran yet.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let mut machine = Self { directory, address, server: None, instance: String::new() };
        let store = machine.store().await;
        machine.instance = store.instance();
        store.close().await;
        machine
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The store, beside the server or without it.
    pub async fn store(&self) -> Store {
        let data = self.data();
        std::fs::create_dir_all(&data).expect("the data directory");
        let url = format!("sqlite://{}", data.join("weir.db").display());
        Store::open(&url, &data.join("key"), Wake::default()).await.expect("a store")
    }

    #[expect(clippy::disallowed_methods, reason = "the server finds its programs where the tests find theirs")]
    fn weir(&self, command: &str) -> Command {
        let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
        // Without the variables of whoever runs the tests.
        weir.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        weir.arg(command).arg("--data-dir").arg(self.data()).kill_on_drop(true);
        weir
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn start(&mut self) {
        let log = self.directory.path().join("server.log");
        let log = std::fs::File::options().create(true).append(true).open(log).expect("a log");
        let mut weir = self.weir("serve");
        weir.args(["--listen", &self.address, "--metrics-listen", "none", "--admin-password", "correct horse"]);
        let mut server = weir.stdout(Stdio::piped()).stderr(log).spawn().expect("it starts");
        let mut lines = BufReader::new(server.stdout.take().expect("its standard output")).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.expect("a line") {
                if line.starts_with("Weir is ready at ") {
                    return true;
                }
            }
            false
        };
        let ready = timeout(START, ready).await;
        assert_eq!(ready, Ok(true), "the server did not start:\n{}", self.log_end());
        self.server = Some(server);
    }

    /// Ends the server at once, with SIGKILL.
    pub async fn kill(&mut self) {
        let mut server = self.server.take().expect("a running server");
        let ended = server.try_wait().expect("asked");
        assert!(ended.is_none(), "the server ended by itself, {ended:?}:\n{}", self.log_end());
        server.kill().await.expect("killed");
    }

    /// `weir verify`.
    pub async fn verify(&self) -> Output {
        self.weir("verify").output().await.expect("it runs")
    }

    /// The last lines of the server's log.
    pub fn log_end(&self) -> String {
        let log = std::fs::read(self.directory.path().join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The database as the dead server left it: a copy, so that the next one has to set it right by itself.
    pub async fn wreck(&self) -> (AnyPool, TempDir) {
        let copy = tempfile::tempdir().expect("a directory");
        for file in ["weir.db", "weir.db-wal"] {
            if self.data().join(file).exists() {
                std::fs::copy(self.data().join(file), copy.path().join(file)).expect("copied");
            }
        }
        (open(copy.path()).await, copy)
    }

    /// The database itself, for what no verb tells.
    pub async fn database(&self) -> AnyPool {
        open(&self.data()).await
    }

    /// Services of this server on the engine.
    pub async fn services(&self) -> Vec<String> {
        let listed = Command::new("docker").args(self.list_services()).output().await.expect("docker runs");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    fn list_services(&self) -> [String; 4] {
        let filter = format!("label=weir.instance={}", self.instance);
        ["service".to_owned(), "ls".to_owned(), "--quiet".to_owned(), format!("--filter={filter}")]
    }
}

/// What a failed test left running ends with it.
impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.start_kill();
        }
        let listed = std::process::Command::new("docker").args(self.list_services()).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        for service in listed.lines() {
            let _ = std::process::Command::new("docker").args(["service", "rm", service]).output();
        }
        for id in processes_with(&self.data().display().to_string()) {
            let _ = std::process::Command::new("kill").args(["-KILL", &id.to_string()]).output();
        }
    }
}

async fn open(directory: &Path) -> AnyPool {
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", directory.join("weir.db").display());
    AnyPool::connect(&url).await.expect("the database")
}

/// The processes in whose environment this text occurs; a builder's have their directories there, and the build's id.
pub fn processes_with(text: &str) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|process| {
            let id: u32 = process.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(process.path().join("environ")).ok()?;
            environment.windows(text.len()).any(|window| window == text.as_bytes()).then_some(id)
        })
        .filter(|id| *id != std::process::id())
        .collect()
}
