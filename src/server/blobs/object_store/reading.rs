//! What comes out of the bucket: bytes, and lists of what there is.

use std::ops::Range;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore as _};

use super::Shared;
use super::bucket::Bucket;
use super::kept;
use crate::server::blobs::{Blob, BlobEntry, Error, UploadEntry, UploadId};

/// Uploads looked at together while they are listed.
const GLANCES: usize = 8;
/// No object is so large; servers need not know larger numbers.
const END: u64 = 1 << 60;

/// Asks for the blob's bytes; they come as they are read.
pub(super) async fn read(bucket: &Bucket, path: &Path, range: Option<Range<u64>>) -> Result<Blob, Error> {
    let range = range.map(|range| range.start..range.end.min(END));
    let options = match &range {
        Some(range) if range.is_empty() => return Err(not_satisfiable(bucket, path).await?),
        Some(range) => GetOptions::new().with_range(Some(range.clone())),
        None => GetOptions::new(),
    };
    let found = match bucket.client.get_opts(path, options).await {
        Ok(found) => found,
        Err(cause) => {
            let cause = bucket.failed("reading a blob")(cause);
            // Only the size tells whether it was the range: servers and clients have different words for that.
            return Err(match (range, cause) {
                (Some(range), cause @ Error::Io { .. }) => match bucket.size(path).await? {
                    Some(size) if range.start >= size => Error::RangeNotSatisfiable { size },
                    _ => cause,
                },
                (_, cause) => cause,
            });
        }
    };
    let (size, range) = (found.meta.size, found.range.clone());
    let stream = found.into_stream().map_err(bucket.failed("reading a blob"));
    Ok(Blob { size, range, stream: stream.boxed() })
}

async fn not_satisfiable(bucket: &Bucket, path: &Path) -> Result<Error, Error> {
    let size = bucket.size(path).await?.ok_or(Error::NotFound)?;
    Ok(Error::RangeNotSatisfiable { size })
}

/// Every blob. Names that are none of ours are passed over.
pub(super) fn blobs(shared: Arc<Shared>) -> impl Stream<Item = Result<BlobEntry, Error>> + Send + 'static {
    objects(&shared.bucket, "blobs").try_filter_map(|object| async move {
        let mut names = object.location.parts().rev();
        let (hex, algorithm) = (names.next(), names.nth(1));
        let (Some(hex), Some(algorithm)) = (hex, algorithm) else { return Ok(None) };
        let digest = format!("{}:{}", algorithm.as_ref(), hex.as_ref()).parse().ok();
        Ok(digest.map(|digest| BlobEntry { digest, size: object.size, modified: object.last_modified.into() }))
    })
}

/// Every upload.
pub(super) fn uploads(shared: Arc<Shared>) -> impl Stream<Item = Result<UploadEntry, Error>> + Send + 'static {
    let looked_at = objects(&shared.bucket, "uploads").map(move |object| {
        let shared = Arc::clone(&shared);
        async move {
            let Some(id) = object?.location.filename().and_then(|name| name.parse::<UploadId>().ok()) else {
                return Ok(None);
            };
            match kept::glance(&shared.bucket, &id).await {
                Ok(glance) => Ok(Some(UploadEntry { id, size: glance.length, modified: glance.modified })),
                // It has gone since it was listed.
                Err(Error::NotFound) => Ok(None),
                Err(cause) => Err(cause),
            }
        }
    });
    looked_at.buffered(GLANCES).try_filter_map(|entry| async move { Ok(entry) })
}

fn objects(bucket: &Bucket, below: &str) -> impl Stream<Item = Result<ObjectMeta, Error>> + Send + use<> {
    bucket.client.list(Some(&bucket.path(below))).map_err(bucket.failed("listing what is in the bucket"))
}
