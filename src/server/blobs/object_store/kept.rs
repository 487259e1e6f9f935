//! How an upload is kept in the bucket: as one object, a line of JSON and the bytes that are too few for a part.

use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use object_store::multipart::MultipartStore as _;
use object_store::{Attribute, Attributes, GetOptions, ObjectStore as _};
use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use crate::server::blobs::{Error, UploadId};

/// The names under which an upload's object tells its length and its multipart upload without being read.
const LENGTH: &str = "length";
const MULTIPART: &str = "multipart";

/// What stands before the tail in an upload's object, one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    /// The multipart upload to the staging object; none while there is no part.
    pub(super) multipart: Option<String>,
    /// The size of each part. All have the same: some servers insist on that.
    pub(super) part_size: u64,
    /// The ids of the parts, in their order.
    pub(super) parts: Vec<String>,
}

impl Head {
    /// The first line, as it is written.
    pub(super) fn line(&self) -> object_store::Result<Bytes> {
        let line = serde_json::to_vec(self);
        let mut line = line.map_err(|cause| object_store::Error::Generic { store: "S3", source: Box::new(cause) })?;
        line.push(b'\n');
        Ok(line.into())
    }

    /// Reads an upload's object: its head and its tail.
    pub(super) fn parse(bytes: &Bytes) -> Result<(Self, Bytes), Error> {
        let unreadable = || strange("an upload's object does not read; begin anew");
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(unreadable)?;
        let head = serde_json::from_slice(&bytes[..end]).map_err(|_| unreadable())?;
        Ok((head, bytes.slice(end + 1..)))
    }

    /// What is to be told without reading the object.
    pub(super) fn attributes(&self, length: u64) -> Attributes {
        let mut attributes = Attributes::from_iter([(Attribute::Metadata(LENGTH.into()), length.to_string())]);
        if let Some(multipart) = &self.multipart {
            attributes.insert(Attribute::Metadata(MULTIPART.into()), multipart.clone().into());
        }
        attributes
    }
}

/// What an upload's object tells without being read.
pub(super) struct Glance {
    pub(super) length: u64,
    pub(super) modified: SystemTime,
    multipart: Option<String>,
}

/// What the upload's object tells without being read.
pub(super) async fn glance(bucket: &Bucket, id: &UploadId) -> Result<Glance, Error> {
    // Not a HEAD: its answer could not say that the bucket has gone. There is always a first byte.
    let options = GetOptions::new().with_range(Some(0..1));
    let found = bucket.client.get_opts(&bucket.upload(id), options).await;
    let found = found.map_err(bucket.failed("looking at an upload"))?;
    let attribute = |name: &'static str| found.attributes.get(&Attribute::Metadata(name.into()));
    let length = attribute(LENGTH).and_then(|length| length.parse().ok());
    Ok(Glance {
        length: length.ok_or_else(|| strange("an upload's object does not tell its length"))?,
        modified: found.meta.last_modified.into(),
        multipart: attribute(MULTIPART).map(|multipart| multipart.as_ref().to_owned()),
    })
}

/// Forgets all that is in the bucket of an upload; its object last, so that what is broken off can be repeated.
pub(super) async fn remove(bucket: &Bucket, id: &UploadId) -> Result<(), Error> {
    let glance = match glance(bucket, id).await {
        Err(Error::NotFound) => return Ok(()),
        glance => glance?,
    };
    if let Some(multipart) = &glance.multipart {
        // It may have been completed, or ended, before: servers have different words for that.
        let _ = bucket.client.abort_multipart(&bucket.staging(id), multipart).await;
        bucket.delete(&bucket.staging(id)).await?;
    }
    bucket.delete(&bucket.upload(id)).await
}

/// What should not be.
pub(super) fn strange(what: &str) -> Error {
    Error::io("working on an upload")(io::Error::other(what))
}
