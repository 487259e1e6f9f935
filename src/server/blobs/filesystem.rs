//! Blobs as files on a local disk.
//!
//! ```text
//! <root>/
//!   blobs/<algorithm>/<first two hex digits>/<all hex digits>     a blob; never written to, only renamed here
//!   uploads/<id>                                                  an upload; its length is its offset
//! ```
//!
//! A blob is committed by fsync of the file, rename into place, fsync of the directory, so a name in `blobs/` always
//! has its bytes. Both trees must be on one filesystem. One server process uses the root at a time.

mod reading;
mod upload;
mod walk;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::task::spawn_blocking;

use super::{Blob, BlobEntry, Blobs, Error, Incoming, UploadEntry, UploadId};
use crate::model::Digest;
use crate::server::hash::digest_like;
use upload::{Progress, Writer};

/// How many bytes one visit to the disk reads or writes. Large enough that the hop to a blocking thread does not show,
/// small enough that 200 transfers at once stay within 100 MB.
const BATCH: usize = 256 * 1024;

/// The local disk.
pub struct Filesystem {
    tree: Arc<Tree>,
    /// The uploads this process has touched. One that is absent here was begun by an earlier process.
    progress: Mutex<HashMap<UploadId, Arc<tokio::sync::Mutex<Progress>>>>,
}

impl Filesystem {
    /// Opens the tree below `root` and makes what of it does not exist yet.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let tree = Arc::new(Tree { root: root.into() });
        let made = Arc::clone(&tree);
        blocking(move || made.create()).await?;
        Ok(Self { tree, progress: Mutex::default() })
    }

    fn progress(&self, id: &UploadId) -> Arc<tokio::sync::Mutex<Progress>> {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(id.clone()).or_default())
    }

    fn forget(&self, id: &UploadId) {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

#[async_trait]
impl Blobs for Filesystem {
    async fn begin(&self, id: &UploadId) -> Result<(), Error> {
        let mut progress = self.progress(id).lock_owned().await;
        let path = self.tree.upload(id);
        blocking(move || {
            File::create(&path).map_err(Error::io(format!("creating {}", path.display())))?;
            *progress = Progress::default();
            Ok(())
        })
        .await
    }

    async fn offset(&self, id: &UploadId) -> Result<u64, Error> {
        let path = self.tree.upload(id);
        blocking(move || fs::metadata(&path).map(|m| m.len()).map_err(missing_or("reading an upload's length"))).await
    }

    async fn append(&self, id: &UploadId, offset: u64, body: Incoming) -> Result<u64, Error> {
        let progress = self.progress(id).lock_owned().await;
        let appended = upload::append(Writer::new(self.tree.upload(id), offset, progress), body).await;
        if matches!(appended, Err(Error::NotFound)) {
            self.forget(id);
        }
        appended
    }

    async fn read_upload(&self, id: &UploadId, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        reading::read_some(self.tree.upload(id), range).await
    }

    async fn finish(&self, id: &UploadId, expected: &Digest) -> Result<u64, Error> {
        let progress = self.progress(id).lock_owned().await;
        let (tree, path, digest) = (Arc::clone(&self.tree), self.tree.upload(id), expected.clone());
        let finished = blocking(move || {
            let size = upload::verify(&path, &progress, &digest)?;
            tree.commit(&path, &digest)?;
            Ok(size)
        })
        .await;
        if matches!(finished, Ok(_) | Err(Error::NotFound)) {
            self.forget(id);
        }
        finished
    }

    async fn abort(&self, id: &UploadId) -> Result<(), Error> {
        // Does not wait for an append in progress: that one writes on to a file without a name, which is harmless.
        let path = self.tree.upload(id);
        let removed = blocking(move || remove(&path)).await;
        self.forget(id);
        removed.map(|_| ())
    }

    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error> {
        let (tree, digest) = (Arc::clone(&self.tree), digest.clone());
        blocking(move || {
            let found = digest_like(&digest, &bytes);
            if found != digest {
                return Err(Error::DigestMismatch { expected: digest, found });
            }
            let path = tree.upload(&UploadId::random());
            let stored = write_synced(&path, &bytes).and_then(|()| tree.commit(&path, &digest));
            if stored.is_err() {
                // Best effort: what stays is an old upload for the collector.
                let _ = fs::remove_file(&path);
            }
            stored
        })
        .await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let path = self.tree.blob(digest);
        blocking(move || match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(format!("looking at {}", path.display()))(e)),
        })
        .await
    }

    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<Blob, Error> {
        reading::read(self.tree.blob(digest), range).await
    }

    async fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        let path = self.tree.blob(digest);
        blocking(move || remove(&path)).await
    }

    fn list(&self) -> BoxStream<'static, Result<BlobEntry, Error>> {
        walk::blobs(self.tree.root.join("blobs")).boxed()
    }

    fn uploads(&self) -> BoxStream<'static, Result<UploadEntry, Error>> {
        walk::uploads(self.tree.root.join("uploads")).boxed()
    }

    async fn check(&self) -> Result<(), Error> {
        let tree = Arc::clone(&self.tree);
        blocking(move || {
            let root = tree.root.display().to_string();
            let path = tree.upload(&UploadId::random());
            let written = fs::write(&path, b"weir");
            // A full disk takes the name and then not the bytes: the name must not stay.
            let removed = fs::remove_file(&path);
            written.and(removed).map_err(Error::io(format!("the blob directory {root} cannot be written")))
        })
        .await
    }
}

/// The paths below the root.
struct Tree {
    root: PathBuf,
}

impl Tree {
    fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm()).join(&hex[..2]).join(hex)
    }

    fn upload(&self, id: &UploadId) -> PathBuf {
        self.root.join("uploads").join(id.as_str())
    }

    /// Makes every directory now and makes them durable: a commit then has only its own directory to sync, and no race
    /// about who made it.
    fn create(&self) -> Result<(), Error> {
        let blobs = self.root.join("blobs");
        let algorithms = ["sha256", "sha384", "sha512"].map(|algorithm| blobs.join(algorithm));
        for algorithm in &algorithms {
            for shard in 0..=255u8 {
                create_directory(&algorithm.join(hex::encode([shard])))?;
            }
            sync_directory(algorithm)?;
        }
        create_directory(&self.root.join("uploads"))?;
        sync_directory(&blobs)?;
        sync_directory(&self.root)
    }

    /// Renames a complete and synced file to its digest's name. Over an existing blob too: same bytes, and should those
    /// on disk have rotted, these are right.
    fn commit(&self, from: &Path, digest: &Digest) -> Result<(), Error> {
        let to = self.blob(digest);
        fs::rename(from, &to).map_err(missing_or("renaming an upload"))?;
        to.parent().map_or(Ok(()), sync_directory)
    }
}

fn create_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io(format!("creating {}", path.display())))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_data()
    };
    write().map_err(Error::io(format!("writing {}", path.display())))
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(Error::io(format!("syncing {}", path.display())))
}

/// Removes a file; tells whether there was one.
fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format!("removing {}", path.display()))(e)),
    }
}

/// `NotFound` for a file that is not there, else an I/O error.
fn missing_or(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |e| if e.kind() == io::ErrorKind::NotFound { Error::NotFound } else { Error::io(doing)(e) }
}

/// Runs disk work off the runtime's threads. It runs to its end even when the caller goes away.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::io("working on blobs")(io::Error::other(e))))
}

#[cfg(test)]
mod tests;
