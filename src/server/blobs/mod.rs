//! Bytes by digest: the contract between the registry and where its blobs lie, and nothing about who may read them.
//!
//! Blobs come in through uploads, sessions which outlive a request, a dropped connection and a restart of the server.
//! [`filesystem`] keeps both on local disk, [`self::object_store`] in an S3 bucket; `conformance` is the suite
//! which every implementation passes.

mod filesystem;
mod object_store;

#[cfg(test)]
pub(crate) mod conformance;

use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use self::object_store::{BucketUrl, ObjectStore, S3Args};
pub use filesystem::Filesystem;

use crate::model::Digest;

/// Bytes on their way in. An error ends the stream; what came before it counts.
pub type Incoming = BoxStream<'static, io::Result<Bytes>>;

/// Bytes on their way out.
pub type Outgoing = BoxStream<'static, Result<Bytes, Error>>;

/// Where blobs lie.
///
/// *Acknowledged* below means: the call returned `Ok`. What was acknowledged as a blob survives the process's death and
/// the machine's; what was acknowledged as part of an upload survives the process's death only.
///
/// Any future may be dropped at any point. That leaves at most an upload with more bytes than were acknowledged, or
/// rubbish that [`Blobs::uploads`] lists; never a blob with wrong or missing bytes.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Opens an upload with nothing in it. The ids come from the caller; opening one that exists empties it.
    async fn begin(&self, id: &UploadId) -> Result<(), Error>;

    /// How many bytes the upload has; `NotFound` when there is no such upload.
    async fn offset(&self, id: &UploadId) -> Result<u64, Error>;

    /// Appends the stream's bytes, which must start at `offset`, and tells the new length. `OffsetMismatch` when
    /// `offset` is not the present length; how much of the stream was read then is undefined. When the stream ends in an
    /// error (`Body`), the bytes before it stay; when the disk is full (`NoSpace`), some of them: [`Blobs::offset`]
    /// tells how many. Calls for the same upload wait for one another.
    async fn append(&self, id: &UploadId, offset: u64, body: Incoming) -> Result<u64, Error>;

    /// Bytes of an upload while it is still appended to: from `range.start` on, at most up to `range.end`, as many as one
    /// visit gives. `None` when nothing can be read there yet, and when there is no such upload (any more): whoever waits
    /// for bytes comes again when there are more, or reads the blob. Nothing here is compared with any digest. A store
    /// that cannot read what is not finished leaves it at this.
    async fn read_upload(&self, _id: &UploadId, _range: Range<u64>) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    /// Makes the upload's bytes a blob and ends the upload; tells the blob's size. The bytes are compared with the
    /// digest first; on `DigestMismatch` the upload stays as it was. Finishing several uploads with one digest is fine
    /// in any order and at the same time: each succeeds, and the blob is there from the first on.
    async fn finish(&self, id: &UploadId, expected: &Digest) -> Result<u64, Error>;

    /// Ends the upload and forgets its bytes. No error when there is no such upload.
    async fn abort(&self, id: &UploadId) -> Result<(), Error>;

    /// Stores bytes that are in memory already. For small things; layers come in through uploads.
    async fn put(&self, digest: &Digest, bytes: Bytes) -> Result<(), Error>;

    /// The blob's size, none when there is no such blob.
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, Error>;

    /// The blob's bytes, all or those of `range`, which is cut at the blob's end. `RangeNotSatisfiable` when the range
    /// is empty or starts at or behind the end. The bytes are not compared with the digest again. A blob that is
    /// deleted while it is read: the reader gets either all bytes or an error, which of them is undefined.
    async fn read(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<Blob, Error>;

    /// Where a client may fetch the blob's bytes itself, for some minutes; none when the bytes come from [`Blobs::read`]
    /// alone. Whether there is such a blob is not looked at.
    async fn url(&self, _digest: &Digest) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Forgets the blob; tells whether there was one. Nothing here knows who still needs it: that is the caller's to
    /// know. What happens when the same digest is finished at the same time is undefined, except that it is either
    /// there whole or not there.
    async fn delete(&self, digest: &Digest) -> Result<bool, Error>;

    /// Every blob, in no particular order. Blobs that come or go meanwhile may be listed or not.
    fn list(&self) -> BoxStream<'static, Result<BlobEntry, Error>>;

    /// Every upload that neither was finished nor aborted, in no particular order.
    fn uploads(&self) -> BoxStream<'static, Result<UploadEntry, Error>>;

    /// Whether blobs can be written now; the error is for the person who operates the server.
    async fn check(&self) -> Result<(), Error>;
}

/// A blob being read.
pub struct Blob {
    /// The size of the whole blob, also when only a range is read.
    pub size: u64,
    /// Which bytes `stream` gives.
    pub range: Range<u64>,
    pub stream: Outgoing,
}

/// A blob as [`Blobs::list`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobEntry {
    pub digest: Digest,
    pub size: u64,
    pub modified: SystemTime,
}

/// An upload as [`Blobs::uploads`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadEntry {
    pub id: UploadId,
    pub size: u64,
    /// When bytes were last appended.
    pub modified: SystemTime,
}

/// The name of an upload: 1 to 64 letters, digits and dashes, so that it is safe in paths and URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// A new id that nobody guesses.
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; 16]>()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = Error;

    /// `NotFound` for what cannot be the id of any upload.
    fn from_str(text: &str) -> Result<Self, Error> {
        let well_formed =
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if well_formed { Ok(Self(text.to_owned())) } else { Err(Error::NotFound) }
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why bytes could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such blob or upload")]
    NotFound,
    #[error("the bytes have digest {found}, not {expected}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("the range is outside of the blob's {size} bytes")]
    RangeNotSatisfiable { size: u64 },
    #[error("the upload has {expected} bytes: what comes next must start there")]
    OffsetMismatch { expected: u64 },
    #[error("the blob store is full: free space, or move it to a larger disk")]
    NoSpace,
    /// The sender's stream broke off; not this store's fault.
    #[error("the incoming bytes broke off: {0}")]
    Body(#[source] io::Error),
    #[error("{doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl Error {
    /// An I/O error with what was being done, full disks told apart.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io { doing, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_ids_never_leave_their_directory() {
        for bad in ["", ".", "..", "a/b", "a\0", "%2e", &"a".repeat(65)] {
            assert!(bad.parse::<UploadId>().is_err(), "{bad}");
        }
        let id = UploadId::random();
        assert_eq!(id.as_str().parse::<UploadId>().expect("a random id"), id);
        assert_ne!(id, UploadId::random());
    }
}
