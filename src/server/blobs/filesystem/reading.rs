//! Bytes on their way out: read in batches, the next one while the last is being sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{BATCH, blocking, missing_or};
use crate::server::blobs::{Blob, Error};

/// Opens the blob and reads its first batch in one visit to the disk: small blobs need no second.
pub(super) async fn read(path: PathBuf, range: Option<Range<u64>>) -> Result<Blob, Error> {
    let (size, range, file, first) = blocking(move || {
        let mut file = File::open(&path).map_err(missing_or("opening a blob"))?;
        let size = file.metadata().map_err(Error::io("reading a blob's size"))?.len();
        let range = match range {
            None => 0..size,
            Some(range) if range.is_empty() || range.start >= size => return Err(Error::RangeNotSatisfiable { size }),
            Some(range) => range.start..range.end.min(size),
        };
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).map_err(Error::io("seeking in a blob"))?;
        }
        let first = read_batch(&mut file, range.end - range.start)?;
        Ok((size, range, file, first))
    })
    .await?;
    let reader = Reader { left: range.end - range.start, next: Next::Ready(file, first) };
    let stream = stream::try_unfold(reader, Reader::step).boxed();
    Ok(Blob { size, range, stream })
}

/// What an upload's file has of the range so far, a batch at most; `None` when that is nothing.
pub(super) async fn read_some(path: PathBuf, range: Range<u64>) -> Result<Option<Bytes>, Error> {
    blocking(move || {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("opening an upload")(e)),
        };
        let length = file.metadata().map_err(Error::io("reading an upload's length"))?.len();
        let end = range.end.min(length);
        if range.start >= end {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(range.start)).map_err(Error::io("seeking in an upload"))?;
        read_batch(&mut file, end - range.start).map(Some)
    })
    .await
}

struct Reader {
    left: u64,
    next: Next,
}

enum Next {
    Ready(File, Bytes),
    Reading(JoinHandle<Result<(File, Bytes), Error>>),
    End,
}

impl Reader {
    async fn step(self) -> Result<Option<(Bytes, Self)>, Error> {
        let (mut file, bytes) = match self.next {
            Next::End => return Ok(None),
            Next::Ready(_, bytes) if bytes.is_empty() => return Ok(None),
            Next::Ready(file, bytes) => (file, bytes),
            Next::Reading(work) => {
                work.await.unwrap_or_else(|e| Err(Error::io("reading a blob")(io::Error::other(e))))?
            }
        };
        let left = self.left - bytes.len() as u64;
        let next = match left {
            0 => Next::End,
            _ => Next::Reading(spawn_blocking(move || read_batch(&mut file, left).map(|bytes| (file, bytes)))),
        };
        Ok(Some((bytes, Self { left, next })))
    }
}

/// The next bytes, as many as a batch holds or `left` says.
fn read_batch(file: &mut File, left: u64) -> Result<Bytes, Error> {
    let size = left.min(BATCH as u64);
    // `read_to_end` on a reader of known length fills the capacity without zeroing it first.
    let mut buffer = Vec::with_capacity(size as usize);
    file.take(size).read_to_end(&mut buffer).map_err(Error::io("reading a blob"))?;
    if (buffer.len() as u64) < size {
        return Err(Error::io("reading a blob")(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter")));
    }
    Ok(buffer.into())
}
