//! The two registries as processes of their own, each with a directory on the same disk.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use weir::model::{Actor, Role};
use weir::server::store::{NewToken, Store};
use weir::server::wake::Wake;

use super::tags;
use super::wire::Connection;

const PATIENCE: Duration = Duration::from_secs(30);
/// The one project of Weir, and the first half of every repository's name.
pub const PROJECT: &str = "bench";
/// Linux tells a process's time in these, whatever the kernel counts by.
const TICKS_PER_SECOND: u64 = 100;

/// A registry that runs until this is dropped.
pub struct Server {
    pub name: &'static str,
    pub address: SocketAddr,
    /// What tickets are asked for with; a server without has no authentication.
    token: Option<SecretString>,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which then was told already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Weir as operators run it: its defaults, SQLite, tokens; without what builds and runs apps.
    pub async fn weir(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir(directory)?;
        let token = lay_out(directory).await?;
        let data = directory.to_str().context("the temporary directory's name is no text")?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "none", "--data-dir", data]);
        command.args(["--builder", "none", "--rollout", "none"]).env_clear();
        let log = File::create(directory.join("log"))?;
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().context("starting weir")?;
        let lines = BufReader::new(process.stdout.take().context("weir has no standard output")?).lines();
        let ready =
            lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("Weir is ready at http://")?.parse()));
        let address = ready.context("weir ended before it was ready")??;
        Ok(Self { name: "weir", address, token: Some(token), process })
    }

    /// Distribution with the configuration that Debian's package has, but for authentication, which is off.
    pub async fn distribution(directory: &Path) -> anyhow::Result<Self> {
        let store = directory.join("store");
        tags::make_directories(&store)?;
        // The port is free until somebody else takes it, which on this machine nobody does now.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let file = directory.join("config.yml");
        let config = format!(
            "version: 0.1\nlog: {{fields: {{service: registry}}}}\nstorage:\n  cache: {{blobdescriptor: inmemory}}\n  \
             filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: {address}\n  \
             headers: {{X-Content-Type-Options: [nosniff]}}\nhealth:\n  storagedriver: {{enabled: true, interval: 10s, threshold: 3}}\n",
            store.display()
        );
        fs::write(&file, config)?;
        let log = File::create(directory.join("log"))?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("starting docker-registry (Debian's package of that name has it)")?;
        let server = Self { name: "docker-registry", address, token: None, process };
        server.wait().await?;
        Ok(server)
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        while Connection::plain(self).await.is_err() {
            if began.elapsed() > PATIENCE {
                bail!("{} does not answer", self.name);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// What a client puts into `Authorization` for a repository, if it has to: the ticket that Docker would get.
    pub async fn sign_in(&self, repository: &str) -> anyhow::Result<Option<HeaderValue>> {
        let Some(token) = &self.token else { return Ok(None) };
        let basic = format!("Basic {}", STANDARD.encode(format!("bench:{}", token.expose_secret())));
        let path = format!("/v2/token?service=weir&scope=repository:{repository}:pull,push");
        let (answer, _) = Connection::plain(self).await?.page(&path, Some(&basic)).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        let ticket = answer["token"].as_str().context("no ticket came")?;
        Ok(Some(HeaderValue::from_str(&format!("Bearer {ticket}"))?))
    }

    /// The most memory it had at once, in bytes.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(self.proc_file("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// How much time it has spent on processors.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(self.proc_file("stat"))?;
        // The program's name, in parentheses, may hold anything.
        let (_, rest) = stat.rsplit_once(')').context("a line without the program's name")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("too few fields");
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND))
    }

    fn proc_file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string()).join(name)
    }
}

/// Fills Weir's data directory: a project, somebody who may push to it and their token, and the long list of tags.
async fn lay_out(directory: &Path) -> anyhow::Result<SecretString> {
    let url = format!("sqlite://{}", directory.join("weir.db").display());
    let store = Store::open(&url, &directory.join("key"), Wake::default()).await?;
    let actor = Actor::system("bench");
    store.create_project(&PROJECT.parse()?, "", "", None, &actor).await?;
    let user = store.create_user("bench", "", None, false, &actor).await?;
    store.grant_role(PROJECT, "bench", Role::Editor, &actor).await?;
    let (_, token) = store.create_token(NewToken::user("bench", &user.id), &actor).await?;
    let stream = store.ensure_stream(PROJECT, &tags::STREAM.parse()?, &actor).await?;
    store.close().await;
    tags::insert(&url, &stream.id).await?;
    Ok(token)
}
