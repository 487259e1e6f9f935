//! Bytes on their way to disk: written in batches, hashed as they are written.
//!
//! While one batch is with the disk the next is received, so hashing and writing hide behind the network. A batch takes
//! a blocking thread only while it is written: a sender of one byte a minute holds none.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use super::{BATCH, blocking, missing_or};
use crate::model::Digest;
use crate::server::blobs::{Error, Incoming};
use crate::server::hash::Hasher;

/// What this process knows of an upload: the hash of its first `hashed` bytes. Lost at a restart, when the file is read
/// again at the end.
pub(super) struct Progress {
    hasher: Hasher,
    hashed: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { hasher: Hasher::sha256(), hashed: 0 }
    }
}

/// An upload's file while it is appended to, and the sole right to do so. The guard travels into the blocking thread,
/// so that a writer whose request has gone still keeps others out until its last write is done.
pub(super) struct Writer {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    progress: OwnedMutexGuard<Progress>,
}

impl Writer {
    /// A writer that starts at `offset`; the file is looked at with the first write.
    pub(super) fn new(path: PathBuf, offset: u64, progress: OwnedMutexGuard<Progress>) -> Self {
        Self { path, file: None, offset, progress }
    }

    fn write(&mut self, batch: &[Bytes]) -> Result<(), Error> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(open_at(&self.path, self.offset)?),
        };
        let mut at = self.offset;
        for bytes in batch {
            if let Err(e) = file.write_all_at(bytes, at) {
                // Back to the last whole batch, so that the file's length and the hash agree.
                let _ = file.set_len(self.offset);
                return Err(Error::io(format!("writing {}", self.path.display()))(e));
            }
            at += bytes.len() as u64;
        }
        if self.progress.hashed == self.offset {
            for bytes in batch {
                self.progress.hasher.update(bytes);
            }
            self.progress.hashed = at;
        }
        self.offset = at;
        Ok(())
    }
}

fn open_at(path: &Path, offset: u64) -> Result<File, Error> {
    let file = OpenOptions::new().write(true).open(path).map_err(missing_or("opening an upload"))?;
    let length = file.metadata().map_err(Error::io("reading an upload's length"))?.len();
    if length == offset { Ok(file) } else { Err(Error::OffsetMismatch { expected: length }) }
}

/// Appends the stream to the upload; tells its new length.
pub(super) async fn append(writer: Writer, mut body: Incoming) -> Result<u64, Error> {
    let mut disk = Disk::Idle(writer);
    loop {
        let (batch, end) = gather(&mut body).await;
        let mut writer = disk.writer().await?;
        match end {
            None => disk = Disk::Busy(tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer))),
            Some(end) => {
                let offset = blocking(move || writer.write(&batch).map(|()| writer.offset)).await?;
                return end.map(|()| offset).map_err(Error::Body);
            }
        }
    }
}

enum Disk {
    Idle(Writer),
    Busy(JoinHandle<Result<Writer, Error>>),
}

impl Disk {
    async fn writer(self) -> Result<Writer, Error> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Busy(work) => work.await.unwrap_or_else(|e| Err(Error::io("writing a blob")(io::Error::other(e)))),
        }
    }
}

/// How many pieces a batch may have. Each may hold on to a whole receive buffer, however few of its bytes it shows.
const PIECES: usize = 64;

/// The next batch, and how the stream ended if it did.
async fn gather(body: &mut Incoming) -> (Vec<Bytes>, Option<io::Result<()>>) {
    let (mut batch, mut size) = (Vec::new(), 0);
    while size < BATCH && batch.len() < PIECES {
        match body.next().await {
            Some(Ok(bytes)) => {
                size += bytes.len();
                batch.push(bytes);
            }
            Some(Err(e)) => return (batch, Some(Err(e))),
            None => return (batch, Some(Ok(()))),
        }
    }
    (batch, None)
}

/// Compares the upload's bytes with the digest and makes them durable; tells their number.
pub(super) fn verify(path: &Path, progress: &Progress, expected: &Digest) -> Result<u64, Error> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(missing_or("opening an upload"))?;
    let size = file.metadata().map_err(Error::io("reading an upload's length"))?.len();
    let hashed_already = progress.hashed == size && progress.hasher.algorithm() == expected.algorithm();
    let found = match hashed_already {
        true => progress.hasher.clone().finish(),
        false => {
            hash_file(&mut file, Hasher::like(expected)).map_err(Error::io(format!("reading {}", path.display())))?
        }
    };
    if found != *expected {
        return Err(Error::DigestMismatch { expected: expected.clone(), found });
    }
    file.sync_data().map_err(Error::io(format!("syncing {}", path.display())))?;
    Ok(size)
}

fn hash_file(file: &mut File, mut hasher: Hasher) -> io::Result<Digest> {
    let mut buffer = vec![0; BATCH];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}
