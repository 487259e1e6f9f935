//! A real S3 server for tests: s3s-fs with real signatures on a free port, its objects as files in a temporary directory. The unit
//! tests of the blob store share this file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::path::S3Path;
use s3s::service::S3ServiceBuilder;
use s3s::{S3Result, s3_error};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const ACCESS_KEY: &str = "weir";
pub const SECRET_KEY: &str = "a secret that nobody guesses";
/// The bucket that there is.
pub const BUCKET: &str = "weir";

/// A running server; it ends when it is dropped.
pub struct S3Server {
    /// `http://127.0.0.1:port`
    pub endpoint: String,
    root: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

impl S3Server {
    pub async fn start() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).expect("an S3 server"));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_access(Doorkeeper { root: root.path().to_owned(), requests: requests.clone() });
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(stopped.clone().run_until_cancelled_owned(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let (service, stopped) = (service.clone(), stopped.clone());
                tokio::spawn(stopped.run_until_cancelled_owned(async move {
                    // A client may go away at any time.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                }));
            }
        }));
        Self { endpoint, root, requests, _stop: stop.drop_guard() }
    }

    /// The bucket as a directory.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// The bucket vanishes with all that is in it.
    pub fn remove_bucket(&self) {
        std::fs::remove_dir_all(self.bucket()).expect("removed");
    }

    /// The names of the objects below a prefix.
    pub fn objects(&self, below: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.bucket().join(below), below, &mut names);
        names.sort();
        names
    }

    /// Multipart uploads that were neither completed nor aborted.
    pub fn unfinished(&self) -> usize {
        let entries = std::fs::read_dir(self.root.path()).expect("listed").map(|entry| entry.expect("an entry"));
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".upload-")).count()
    }

    /// The requests since this was asked last, by their names in S3's documentation.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("no panic"))
    }
}

fn collect(directory: &Path, name: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("an entry")) {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { collect(&entry.path(), &name, names) } else { names.push(name) }
    }
}

/// What s3s-fs leaves out: a bucket that is not there is never written to, nor are its objects merely missing.
struct Doorkeeper {
    root: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

#[async_trait::async_trait]
impl S3Access for Doorkeeper {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "who are you?"));
        }
        self.requests.lock().expect("no panic").push(context.s3_op().name().to_owned());
        match context.s3_path() {
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } if !self.root.join(&**bucket).is_dir() => {
                Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
            }
            _ => Ok(()),
        }
    }
}
