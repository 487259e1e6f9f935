//! The command line and the environment: every flag has a variable, every default works on a laptop, nothing else is read.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

use super::blobs::{BucketUrl, S3Args};
use super::store::RollbackDepth;
use crate::model::{AllowedRegistries, Digest, InsecureRegistries, Mirrors, Role};

/// Weir: image streams for any team.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: console, registry, REST, imports, builds and rollouts
    Serve(Box<Config>),
    /// Make the demo, offline, on the server that runs already at that address or on one of its own, and tell what to click
    Demo(Box<Config>),
    /// Make tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make users
    #[command(subcommand)]
    User(UserCommand),
    /// Check the ledger's chain, every blob's digest, and that every image has its blobs; exit code 1 when something is wrong
    Verify(StorageArgs),
    /// Copy database, key and blobs into a new directory, also while the server runs (SQLite only)
    Backup(BackupArgs),
    /// Fill an empty data directory from a backup
    Restore(RestoreArgs),
    /// Take away what nothing needs any more, also while the server runs
    Gc(GcArgs),
}

/// Where everything is kept.
#[derive(Debug, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the help text, which knows no markup")]
pub struct StorageArgs {
    /// Directory for the database, the blobs and what builds need while they run
    #[arg(long, env = "WEIR_DATA_DIR", default_value = "./data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Database: sqlite:///path/to/file.db or postgres://user:password@host/database [default: SQLite in the data directory]
    #[arg(long, env = "WEIR_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where blobs are kept, file:///path or s3://bucket/prefix [default: a directory in the data directory]
    #[arg(long, env = "WEIR_BLOB_STORE", value_name = "URL", value_parser = parse_blob_store)]
    pub blob_store: Option<BlobStore>,
    #[command(flatten)]
    pub s3: S3Args,
    /// Key that seals secrets, 32 bytes; made at the first start. Servers that share a database share it [default: "key" in the data directory]
    #[arg(long, env = "WEIR_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// How far apps can go back.
#[derive(Debug, Clone, Args)]
pub struct DepthArgs {
    /// How many of its last versions an app can go back to at least: they are kept, however old
    #[arg(long, env = "WEIR_ROLLBACK_VERSIONS", default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rollback_versions: u16,
    /// For how many days apps can go back to all they ran: that is kept, too
    #[arg(long, env = "WEIR_ROLLBACK_DAYS", default_value_t = 30, value_name = "DAYS")]
    pub rollback_days: u16,
}

impl DepthArgs {
    /// As the store takes it.
    pub fn depth(&self) -> RollbackDepth {
        RollbackDepth { versions: self.rollback_versions.into(), days: self.rollback_days.into() }
    }
}

/// Where blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobStore {
    Directory(PathBuf),
    Bucket(BucketUrl),
}

/// What the server needs to know.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Address and port of console, registry and REST
    #[arg(long, env = "WEIR_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Address and port of the metrics for Prometheus, or none [default: 127.0.0.1:9464 if that is free]
    #[arg(long, env = "WEIR_METRICS_LISTEN", value_name = "ADDRESS:PORT|none", value_parser = parse_optional_address)]
    pub metrics_listen: Option<OptionalAddress>,
    /// Address at which people and registry clients reach this server, http://… or https://… [default: from --listen]
    #[arg(long, env = "WEIR_PUBLIC_URL", value_name = "URL", value_parser = parse_public_url)]
    pub public_url: Option<String>,
    /// Password of the user admin, who is made at the first start [default: a random one, printed once]
    #[arg(long, env = "WEIR_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true, conflicts_with = "admin_password_file", value_parser = parse_secret)]
    pub admin_password: Option<SecretString>,
    /// File with that password
    #[arg(long, env = "WEIR_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Time between two checks of a tag that follows an external image, where the tag says nothing else. 0 or off: no tag is checked by schedule; people's checks, webhooks and what is set anew are, and import rules list as they say
    #[arg(long, env = "WEIR_IMPORT_INTERVAL", default_value = "15m", value_name = "DURATION|0", value_parser = parse_duration_or_off)]
    pub import_interval: Duration,
    /// Registries from which people may import, for instance docker.io,quay.io,*.example.com:5000; http:// before one lets insecure images come from its port 80; empty for none [default: all]
    #[arg(long, env = "WEIR_ALLOWED_REGISTRIES", value_name = "HOST[:PORT],…")]
    pub allowed_registries: Option<AllowedRegistries>,
    /// Where images of other registries are fetched first by their digests, for instance docker.io=mirror.example.com/hub; http:// before the mirror lets it be insecure
    #[arg(long, env = "WEIR_REGISTRY_MIRRORS", value_name = "SOURCE=MIRROR,…")]
    pub registry_mirrors: Option<Mirrors>,
    /// Where it is asked first what tags of other registries mean; written as for --registry-mirrors. A mirror that is behind holds tags back
    #[arg(long, env = "WEIR_REGISTRY_TAG_MIRRORS", value_name = "SOURCE=MIRROR,…")]
    pub registry_tag_mirrors: Option<Mirrors>,
    /// File with credentials for other registries, as Docker's config.json, for projects that have none of their own for one; it is read again when it changes
    #[arg(long, env = "WEIR_REGISTRY_AUTH_FILE", value_name = "FILE")]
    pub registry_auth_file: Option<PathBuf>,
    /// Registries that may speak plain HTTP, or have a certificate that nobody vouches for, whatever a tag says, for instance registry.lab:5000,*.lab.example.com
    #[arg(long, env = "WEIR_INSECURE_REGISTRIES", value_name = "HOST[:PORT],…")]
    pub insecure_registries: Option<InsecureRegistries>,
    /// How many tags of a whole repository one oc import-image request takes; the others are named. -1 takes all, 0 none
    #[arg(long, env = "WEIR_REPOSITORY_IMPORT_LIMIT", default_value_t = 50, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1..))]
    pub repository_import_limit: i32,
    /// How long one oc import-image request waits for its images; imports that take longer go on after its answer
    #[arg(long, env = "WEIR_IMPORT_PATIENCE", default_value = "5m", value_name = "DURATION", value_parser = parse_duration)]
    pub import_patience: Duration,
    /// File with certificates of CAs, in PEM, that other registries may have theirs from, besides those this machine trusts; may be given several times, or separated by colons
    #[arg(long = "upstream-ca", env = "WEIR_UPSTREAM_CA", value_name = "FILE", value_delimiter = ':')]
    pub upstream_cas: Vec<PathBuf>,
    /// How long whoever pushes may send nothing, or next to nothing, before the upload counts as broken off; it can be gone on with
    #[arg(long, env = "WEIR_UPLOAD_SILENCE", default_value = "60s", value_name = "DURATION", value_parser = parse_duration)]
    pub upload_silence: Duration,
    /// Tell the histories of tags at the registry, as proposed for the OCI distribution-spec: /v2/NAME/_oci/tag-history/TAG
    #[arg(long, env = "WEIR_TAG_HISTORY")]
    pub tag_history: bool,
    /// Time between two collections of what nothing needs any more, or 0 for none
    #[arg(long, env = "WEIR_GC_INTERVAL", default_value = "1d", value_name = "DURATION|0", value_parser = parse_duration_or_off)]
    pub gc_interval: Duration,
    /// How long what nothing needs rests before it goes
    #[arg(long, env = "WEIR_GC_GRACE", default_value = "24h", value_name = "DURATION", value_parser = parse_duration)]
    pub gc_grace: Duration,
    #[command(flatten)]
    pub depth: DepthArgs,
    /// Let notices go to private addresses and to this machine, too
    #[arg(long, env = "WEIR_NOTICES_TO_PRIVATE")]
    pub notices_to_private: bool,
    /// What runs builds
    #[arg(long, env = "WEIR_BUILDER", value_enum, default_value = "buildah")]
    pub builder: BuilderChoice,
    /// How many builds run at once
    #[arg(long, env = "WEIR_BUILD_CONCURRENCY", default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub build_concurrency: u16,
    /// Directory below which builds may read file:// repositories; may be given several times, or separated by colons
    #[arg(long = "git-file-root", env = "WEIR_GIT_FILE_ROOT", value_name = "DIR", value_delimiter = ':')]
    pub git_file_roots: Vec<PathBuf>,
    /// What runs apps
    #[arg(long, env = "WEIR_ROLLOUT", value_enum, default_value = "docker")]
    pub rollout: RolloutChoice,
    /// Docker Engine that runs apps; it has to be a manager of a swarm
    #[arg(long, env = "WEIR_DOCKER_HOST", default_value = "unix:///var/run/docker.sock", value_name = "URL")]
    pub docker_host: String,
}

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Form of the log on standard error
    #[arg(long, env = "WEIR_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// What is logged: a level, or targets with levels as in info,weir=debug
    #[arg(long, env = "WEIR_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub log: String,
}

/// An address, or none on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionalAddress(pub Option<SocketAddr>);

/// What runs builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BuilderChoice {
    /// buildah on this machine
    Buildah,
    /// nothing: builds are refused, everything else works
    None,
}

/// What runs apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RolloutChoice {
    /// Docker Engine in swarm mode
    Docker,
    /// nothing: apps are kept but not run
    None,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// `weir token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token for a user and print it; nobody can read it again
    Create(TokenCreate),
}

/// What the new token is for.
#[derive(Debug, Args)]
pub struct TokenCreate {
    /// The user it speaks for
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Limits it to one project
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Limits it to what this role may do: viewer, editor or admin
    #[arg(long, value_name = "ROLE")]
    pub role: Option<Role>,
    /// What it is called in lists
    #[arg(long, default_value = "command line", value_name = "NAME")]
    pub name: String,
    /// How long it is good, for instance 30d [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub expires_in: Option<Duration>,
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// `weir user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a user; without a password they can only use tokens
    Add(UserAdd),
}

/// Who the new user is.
#[derive(Debug, Args)]
pub struct UserAdd {
    /// Lower-case letters, digits, '.', '_', '-' and '@'
    pub name: String,
    /// Their password; other users of this machine may see it while this runs, so prefer a file
    #[arg(long, env = "WEIR_USER_PASSWORD", hide_env_values = true, value_name = "PASSWORD", conflicts_with = "password_file", value_parser = parse_secret)]
    pub password: Option<SecretString>,
    /// File with their password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// They may do everything, everywhere
    #[arg(long)]
    pub site_admin: bool,
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// `weir backup …`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Directory to make; it must not exist
    pub directory: PathBuf,
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// `weir restore …`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Directory that `weir backup` made
    pub directory: PathBuf,
    #[command(flatten)]
    pub storage: StorageArgs,
}

/// `weir gc …`
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only list what would go now, what waits for the grace, and what would be marked
    #[arg(long)]
    pub dry_run: bool,
    /// Keep this blob, or this image with all it consists of, for another grace at least, and collect nothing
    #[arg(long, value_name = "DIGEST", conflicts_with = "dry_run")]
    pub keep: Option<Digest>,
    /// How long what nothing needs rests before it goes
    #[arg(long, env = "WEIR_GC_GRACE", default_value = "24h", value_name = "DURATION", value_parser = parse_duration)]
    pub gc_grace: Duration,
    #[command(flatten)]
    pub depth: DepthArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
}

impl StorageArgs {
    /// The database's URL.
    pub fn database_url(&self) -> String {
        self.database_url.clone().unwrap_or_else(|| format!("sqlite://{}", self.data_dir.join("weir.db").display()))
    }

    /// Where blobs are kept.
    pub fn blobs(&self) -> BlobStore {
        self.blob_store.clone().unwrap_or_else(|| BlobStore::Directory(self.data_dir.join("blobs")))
    }

    /// The key that seals secrets.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data_dir.join("key"))
    }
}

fn parse_secret(text: &str) -> Result<SecretString, String> {
    if text.is_empty() { Err("a password cannot be empty".to_owned()) } else { Ok(text.into()) }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let advice = || "write a duration like 90s, 15m, 12h or 30d".to_owned();
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let duration = match days {
        Some(days) => days.checked_mul(24 * 60 * 60).map(Duration::from_secs),
        None => text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok()),
    };
    duration.filter(|duration| !duration.is_zero()).ok_or_else(advice)
}

fn parse_duration_or_off(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "off") { Ok(Duration::ZERO) } else { parse_duration(text) }
}

/// A duration as rows have it.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn parse_optional_address(text: &str) -> Result<OptionalAddress, String> {
    match text {
        "none" => Ok(OptionalAddress(None)),
        _ => text
            .parse()
            .map(|address| OptionalAddress(Some(address)))
            .map_err(|_| "write an address and a port, for instance 127.0.0.1:9090, or none".to_owned()),
    }
}

fn parse_blob_store(text: &str) -> Result<BlobStore, String> {
    match text.strip_prefix("file://") {
        Some(path) if !path.is_empty() => Ok(BlobStore::Directory(path.into())),
        None if text.starts_with("s3://") => text.parse().map(BlobStore::Bucket).map_err(str::to_owned),
        _ => Err("blobs can be kept in a directory, file:///path, or in a bucket, s3://bucket/prefix".to_owned()),
    }
}

fn parse_public_url(text: &str) -> Result<String, String> {
    let advice = "write scheme and host as people type them, for instance https://weir.example.com";
    let url = text.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or(advice)?;
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(format!("{advice}; Weir cannot live below a path"));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30d"), Ok(30 * 86_400));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "15", "0s", "-5m", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_done_every_so_often_can_be_switched_off() {
        for off in ["0", "off"] {
            assert_eq!(parse_duration_or_off(off), Ok(Duration::ZERO));
        }
        assert_eq!(parse_duration_or_off("15m"), Ok(Duration::from_secs(900)));
        assert!(parse_duration_or_off("0s").is_err());
    }

    #[test]
    fn public_urls_have_no_path() {
        assert_eq!(parse_public_url("https://weir.example.com/").as_deref(), Ok("https://weir.example.com"));
        for bad in ["weir.example.com", "https://", "https://a/b", "ftp://a"] {
            assert!(parse_public_url(bad).is_err(), "{bad}");
        }
    }
}
