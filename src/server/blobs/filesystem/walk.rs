//! What lies on the disk, for the collector and for `weir verify`. Names that are none of ours are passed over.

use std::fs::{self, DirEntry};
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::blocking;
use crate::server::blobs::{BlobEntry, Error, UploadEntry};

/// Every blob, one shard directory in memory at a time.
pub(super) fn blobs(root: PathBuf) -> impl Stream<Item = Result<BlobEntry, Error>> + Send + 'static {
    let shards = stream::once(blocking(move || {
        let mut shards = Vec::new();
        for algorithm in ["sha256", "sha384", "sha512"] {
            for entry in entries(root.join(algorithm))? {
                shards.push((algorithm, entry.path()));
            }
        }
        Ok(shards)
    }));
    shards
        .map_ok(|shards| stream::iter(shards).map(Ok))
        .try_flatten()
        .and_then(|(algorithm, shard)| blocking(move || blobs_of(algorithm, shard)))
        .map_ok(|blobs| stream::iter(blobs).map(Ok))
        .try_flatten()
}

fn blobs_of(algorithm: &str, shard: PathBuf) -> Result<Vec<BlobEntry>, Error> {
    let mut blobs = Vec::new();
    for entry in entries(shard)? {
        let Some(digest) = name(&entry).and_then(|hex| format!("{algorithm}:{hex}").parse().ok()) else { continue };
        if let Some((size, modified)) = size_and_time(&entry)? {
            blobs.push(BlobEntry { digest, size, modified });
        }
    }
    Ok(blobs)
}

/// Every upload.
pub(super) fn uploads(directory: PathBuf) -> impl Stream<Item = Result<UploadEntry, Error>> + Send + 'static {
    let uploads = stream::once(blocking(move || {
        let mut uploads = Vec::new();
        for entry in entries(directory)? {
            let Some(id) = name(&entry).and_then(|id| id.parse().ok()) else { continue };
            if let Some((size, modified)) = size_and_time(&entry)? {
                uploads.push(UploadEntry { id, size, modified });
            }
        }
        Ok(uploads)
    }));
    uploads.map_ok(|uploads| stream::iter(uploads).map(Ok)).try_flatten()
}

fn entries(directory: PathBuf) -> Result<Vec<DirEntry>, Error> {
    let list = || fs::read_dir(&directory)?.collect::<io::Result<Vec<_>>>();
    match list() {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        listed => listed.map_err(Error::io(format!("listing {}", directory.display()))),
    }
}

fn name(entry: &DirEntry) -> Option<String> {
    entry.file_name().into_string().ok()
}

/// None when the file has gone since it was listed.
fn size_and_time(entry: &DirEntry) -> Result<Option<(u64, SystemTime)>, Error> {
    let look = || entry.metadata().and_then(|m| Ok((m.len(), m.modified()?)));
    match look() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(Error::io(format!("looking at {}", entry.path().display()))),
    }
}
