//! From an upload to a blob: compared with the digest first, under the blob's name after that.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

use super::bucket::Bucket;
use super::upload::Upload;
use super::{Shared, joined};
use crate::model::Digest;
use crate::server::blobs::{Error, UploadId};
use crate::server::hash::{Hasher, digest_like};

/// Makes the upload a blob; tells its size.
pub(super) async fn finish(
    shared: Arc<Shared>,
    mut memory: OwnedMutexGuard<Option<Upload>>,
    id: UploadId,
    expected: Digest,
) -> Result<u64, Error> {
    let _room = shared.room().await;
    let bucket = &shared.bucket;
    let mut upload = Upload::load(bucket, &id, memory.take()).await?;
    let size = upload.length();
    let committed = commit(bucket, &id, &mut upload, &expected).await;
    if let Err(cause) = committed {
        *memory = Some(upload.rested());
        return Err(cause);
    }
    upload.clear(bucket).await?;
    Ok(size)
}

async fn commit(bucket: &Bucket, id: &UploadId, upload: &mut Upload, expected: &Digest) -> Result<(), Error> {
    let hasher = upload.hasher().filter(|hasher| hasher.algorithm() == expected.algorithm());
    let known = hasher.map(Hasher::finish);
    if let Some(found) = &known {
        compare(expected, found.clone())?;
    }
    let blob = bucket.blob(expected);
    if let Some(bytes) = upload.take_small() {
        if known.is_none() {
            let (like, bytes) = (expected.clone(), bytes.clone());
            compare(expected, joined(spawn_blocking(move || Ok(digest_like(&like, &bytes)))).await?)?;
        }
        return bucket.put(&blob, bytes).await;
    }
    upload.complete(bucket).await?;
    let staging = bucket.staging(id);
    if known.is_none() {
        compare(expected, bucket.digest(&staging, expected).await?)?;
    }
    bucket.copy(&staging, &blob, upload.length(), upload.part_size()).await
}

fn compare(expected: &Digest, found: Digest) -> Result<(), Error> {
    if found == *expected { Ok(()) } else { Err(Error::DigestMismatch { expected: expected.clone(), found }) }
}
