//! Fetches a build's source with the `git` program into a directory, and nothing beyond it.
//!
//! A uri comes from a user: only the transports listed here are ever used, credentials travel in the environment or
//! in a file of mode 0600 and are scrubbed from every message, and what is checked out may not lead out of its root.

mod address;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::model::GitSource;

use super::process::{self, Ended, Limits, Stopped};
use super::{BuildFailure, GitCredentials, Revision};
use address::Address;

/// What the operator says about sources.
#[derive(Debug, Clone, Default)]
pub struct GitConfig {
    /// Directories below which `file://` repositories may be read. None: no such source is allowed.
    pub file_roots: Vec<PathBuf>,
    /// Further variables for git's environment: proxies, certificates.
    pub environment: Vec<(String, String)>,
    /// How long fetching may take; the default is ten minutes.
    pub timeout: Option<Duration>,
}

/// A fetch under way: where it works and what it may use.
pub struct Fetch<'a> {
    pub config: &'a GitConfig,
    pub credentials: Option<&'a GitCredentials>,
    /// The build's own directory: home of git, of the key file; the sources go to `source` in it.
    pub work: &'a Path,
    /// Host keys of ssh servers seen before.
    pub known_hosts: &'a Path,
    pub marker: &'a str,
    pub cancel: &'a CancellationToken,
}

/// A uri as it may be shown: without credentials.
pub fn shown(uri: &str) -> String {
    address::without_credentials(uri)
}

/// Whether `source` could be fetched as far as its uri and ref tell; for a door to ask when a config is saved.
pub fn validate(source: &GitSource, config: &GitConfig) -> Result<(), String> {
    Address::parse(&source.uri, &config.file_roots)?;
    source.reference.as_deref().map_or(Ok(()), check_reference)
}

impl Fetch<'_> {
    /// Checks `commit`, or the source's ref, out into the work directory's `source`, and says what it is.
    pub async fn run(&self, source: &GitSource, commit: Option<&str>) -> Result<Revision, BuildFailure> {
        let mut address = Address::parse(&source.uri, &self.config.file_roots).map_err(failed)?;
        let wanted = commit.or(source.reference.as_deref()).filter(|wanted| !wanted.is_empty()).unwrap_or("HEAD");
        check_reference(wanted).map_err(failed)?;
        let credentials = self.credentials.cloned().or(address.credentials.take());
        let session = Session { fetch: self, address, environment: self.environment(credentials.as_ref()).await? };
        let environment_key = session.key_file();
        let result = session.check_out(wanted).await;
        if let Some(key) = environment_key {
            let _ = tokio::fs::remove_file(key).await;
        }
        let reference = source.reference.clone().unwrap_or_else(|| "HEAD".into());
        result.map(|revision| Revision { reference, ..revision })
    }

    /// git's variables that carry the credentials.
    async fn environment(&self, credentials: Option<&GitCredentials>) -> Result<Credentials, BuildFailure> {
        let mut ready = Credentials { header: None, ssh: String::new(), key: None, secrets: Vec::new() };
        let mut identity = "-o IdentityFile=/dev/null".to_owned();
        let mut hosts = self.known_hosts.to_owned();
        let mut strict = "accept-new";
        match credentials {
            Some(GitCredentials::Basic { username, password }) => {
                let pair = format!("{username}:{}", password.expose_secret());
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                ready.secrets = vec![password.clone(), SecretString::from(encoded.clone())];
                ready.header = Some(SecretString::from(format!("Authorization: Basic {encoded}")));
            }
            Some(GitCredentials::SshKey { private_key, known_hosts }) => {
                let key = self.work.join("ssh-key");
                // OpenSSH refuses a key file without its last newline.
                let text = format!("{}\n", private_key.expose_secret().trim_end().replace("\r\n", "\n"));
                write_private(&key, &text).map_err(|e| unexpected("writing the ssh key", &e))?;
                if let Some(known_hosts) = known_hosts {
                    hosts = self.work.join("known-hosts");
                    write_private(&hosts, known_hosts).map_err(|e| unexpected("writing the known hosts", &e))?;
                    strict = "yes";
                }
                identity = format!("-i {}", quoted(&key));
                ready.key = Some(key);
            }
            None => {}
        }
        // Neither the server's own ssh configuration, nor its keys, nor its agent.
        ready.ssh = format!(
            "ssh -F /dev/null {identity} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o ConnectTimeout=20 \
             -o StrictHostKeyChecking={strict} -o UserKnownHostsFile={}",
            quoted(&hosts)
        );
        Ok(ready)
    }
}

/// Credentials in the forms git takes them.
struct Credentials {
    header: Option<SecretString>,
    ssh: String,
    key: Option<PathBuf>,
    /// What no message may show.
    secrets: Vec<SecretString>,
}

struct Session<'a> {
    fetch: &'a Fetch<'a>,
    address: Address,
    environment: Credentials,
}

impl Session<'_> {
    fn key_file(&self) -> Option<PathBuf> {
        self.environment.key.clone()
    }

    fn root(&self) -> PathBuf {
        self.fetch.work.join("source")
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = process::command("git", self.fetch.marker, self.fetch.work);
        let mut settings = vec![
            ("safe.directory".to_owned(), "*".to_owned()),
            ("advice.detachedHead".to_owned(), "false".to_owned()),
            ("http.lowSpeedLimit".to_owned(), "1000".to_owned()),
            ("http.lowSpeedTime".to_owned(), "60".to_owned()),
            ("gc.auto".to_owned(), "0".to_owned()),
        ];
        if let Some(header) = &self.environment.header {
            // For this address only, wherever it may redirect to.
            settings.push((format!("http.{}.extraHeader", self.address.uri), header.expose_secret().to_owned()));
        }
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
            .args(arguments)
            .current_dir(self.root())
            .envs(self.fetch.config.environment.iter().map(|(name, value)| (name, value)))
            .env("GIT_CONFIG_COUNT", settings.len().to_string())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", self.address.transport.protocol())
            .env("GIT_SSH_COMMAND", &self.environment.ssh)
            .env("GIT_LFS_SKIP_SMUDGE", "1");
        command
    }

    async fn git_ends(&self, arguments: &[&str]) -> Result<Ended, BuildFailure> {
        let timeout = self.fetch.config.timeout.unwrap_or(Duration::from_secs(600));
        let limits = Limits { timeout, cancel: self.fetch.cancel };
        process::capture(self.git(arguments), limits).await.map_err(|stopped| match stopped {
            Stopped::Cancelled => BuildFailure::Cancelled,
            Stopped::TimedOut(after) => failed(format!("{} did not answer within {after:?}.", self.address.uri)),
            Stopped::Io { .. } => BuildFailure::Error {
                reason: "FetchSourceFailed",
                message: format!("{stopped}. Install it: apt install git openssh-client"),
            },
        })
    }

    async fn git_succeeds(&self, arguments: &[&str]) -> Result<Vec<u8>, BuildFailure> {
        let ended = self.git_ends(arguments).await?;
        if ended.status.success() { Ok(ended.stdout) } else { Err(self.explain(&ended.tail)) }
    }

    async fn check_out(&self, wanted: &str) -> Result<Revision, BuildFailure> {
        let root = self.root();
        tokio::fs::create_dir_all(&root).await.map_err(|e| unexpected("making the work directory", &e))?;
        self.git_succeeds(&["init", "--quiet", "--template="]).await?;
        let found = self.fetch_wanted(wanted).await?;
        self.git_succeeds(&["checkout", "--quiet", "--detach", &found]).await?;
        let log =
            self.git_succeeds(&["log", "-1", "--no-show-signature", "--format=%H%x00%an <%ae>%x00%aI%x00%s"]).await?;
        let log = String::from_utf8_lossy(&log);
        let mut fields = log.trim_end().split('\0').map(str::to_owned);
        let mut field = || fields.next().unwrap_or_default();
        Ok(Revision { commit: field(), author: field(), date: field(), message: field(), reference: String::new() })
    }

    /// One commit alone when the server gives it so; otherwise all there is, to find `wanted` in.
    async fn fetch_wanted(&self, wanted: &str) -> Result<String, BuildFailure> {
        let uri = self.address.uri.as_str();
        let shallow = self.git_ends(&["fetch", "--quiet", "--no-tags", "--depth=1", "--", uri, wanted]).await?;
        if shallow.status.success() {
            return Ok("FETCH_HEAD".into());
        }
        let text = shallow.tail.join("\n").to_lowercase();
        let hexadecimal = wanted.len() >= 4 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        let absent = text.contains("couldn't find remote ref");
        if absent && wanted == "HEAD" {
            return Err(failed(format!("{uri} is empty, or names no default branch: give the branch to build.")));
        }
        let other_way = text.contains("shallow") || text.contains("not our ref") || text.contains("unadvertised");
        if !(other_way || (absent && hexadecimal)) {
            return Err(if absent { self.no_such(wanted) } else { self.explain(&shallow.tail) });
        }
        let all = ["+HEAD:refs/weir/HEAD", "+refs/heads/*:refs/weir/heads/*", "+refs/tags/*:refs/tags/*"];
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--", uri];
        arguments.extend(all);
        self.git_succeeds(&arguments).await?;
        for candidate in [format!("refs/weir/heads/{wanted}"), format!("refs/tags/{wanted}"), wanted.to_owned()] {
            let candidate = if candidate == "HEAD" { "refs/weir/HEAD".to_owned() } else { candidate };
            let commit = format!("{candidate}^{{commit}}");
            let found = self.git_ends(&["rev-parse", "--quiet", "--verify", "--end-of-options", &commit]).await?;
            if found.status.success() {
                return Ok(String::from_utf8_lossy(&found.stdout).lines().last().unwrap_or_default().to_owned());
            }
        }
        Err(self.no_such(wanted))
    }

    fn no_such(&self, wanted: &str) -> BuildFailure {
        failed(format!("{} has no branch, tag or commit \"{wanted}\": correct the ref.", self.address.uri))
    }

    /// What went wrong in words, then git's own last lines, without anything secret.
    fn explain(&self, tail: &[String]) -> BuildFailure {
        let said = self.scrubbed(tail);
        let lower = tail.join("\n").to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let uri = &self.address.uri;
        let meaning =
            if has(&["could not read username", "authentication failed", "permission denied (publickey", "403", "401"])
            {
                format!("{uri} asks for credentials, or refuses these: give the source a secret that may read it")
            } else if has(&["host key verification failed"]) {
                format!("the host key of {uri} is not the one known: correct the secret's known hosts")
            } else if has(&[
                "not found",
                "does not exist",
                "does not appear to be a git repository",
                "no such file",
                "could not read from remote",
            ]) {
                format!("{uri} does not exist, or may not be read: check the uri and the source's secret")
            } else if has(&["could not resolve host", "name or service not known", "could not resolve hostname"]) {
                format!("the host of {uri} has no address: check the uri and the server's DNS")
            } else {
                format!("{uri} could not be fetched")
            };
        failed(format!("{meaning}. git said: {said}"))
    }

    fn scrubbed(&self, tail: &[String]) -> String {
        let lines: Vec<&str> = tail.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        let mut text = lines[lines.len().saturating_sub(3)..].join("; ");
        for secret in &self.environment.secrets {
            if !secret.expose_secret().is_empty() {
                text = text.replace(secret.expose_secret(), "***");
            }
        }
        text
    }
}

/// The directory of the build's context within `root`; it must be there and must not lead out of it.
pub fn context(root: &Path, context_dir: Option<&str>) -> Result<PathBuf, BuildFailure> {
    let invalid = |message: String| BuildFailure::Failed { reason: "InvalidContextDirectory", message };
    let given = context_dir.unwrap_or_default().trim_matches('/');
    if Path::new(given).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(invalid(format!(
            "The context directory \"{given}\" must be a path below the source, without \"..\"."
        )));
    }
    let missing = || {
        invalid(format!("The supplied context directory does not exist: \"{given}\" is no directory of the source."))
    };
    let root = root.canonicalize().map_err(|_| missing())?;
    let context = root.join(given).canonicalize().map_err(|_| missing())?;
    if !context.starts_with(&root) || context.starts_with(root.join(".git")) {
        return Err(invalid(format!("The context directory \"{given}\" leads out of the source.")));
    }
    if context.is_dir() { Ok(context) } else { Err(missing()) }
}

/// The text of the Dockerfile at `path` below `context`, which may not be a link out of `root`.
pub fn dockerfile(root: &Path, context: &Path, path: Option<&str>) -> Result<String, BuildFailure> {
    let fail = |message: String| BuildFailure::Failed { reason: "ManageDockerfileFailed", message };
    let given = path.unwrap_or("Dockerfile");
    let found = context.join(given.trim_start_matches('/')).canonicalize();
    let (Ok(found), Ok(root)) = (found, root.canonicalize()) else {
        return Err(fail(format!("There is no \"{given}\" in the context directory: add one, or name its path.")));
    };
    if !found.starts_with(&root) {
        return Err(fail(format!("\"{given}\" leads out of the source.")));
    }
    match std::fs::read(&found) {
        Ok(bytes) if bytes.len() > 1024 * 1024 => Err(fail(format!("\"{given}\" is larger than 1 MB."))),
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| fail(format!("\"{given}\" is not UTF-8 text."))),
        Err(error) => Err(fail(format!("\"{given}\" cannot be read: {error}."))),
    }
}

fn check_reference(reference: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    if reference.starts_with('-') || reference.contains(odd) || reference.contains("..") || reference.len() > 250 {
        return Err(format!("\"{reference}\" is no git ref: give a branch, a tag or a commit"));
    }
    Ok(())
}

fn failed(message: impl Into<String>) -> BuildFailure {
    BuildFailure::Failed {
        reason: "FetchSourceFailed",
        message: format!("Failed to fetch the input source: {}", message.into()),
    }
}

fn unexpected(doing: &str, error: &std::io::Error) -> BuildFailure {
    BuildFailure::Error { reason: "FetchSourceFailed", message: format!("{doing}: {error}") }
}

/// Writes a file that only its owner can read from the very start.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

/// A path for the shell that git starts ssh with.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
