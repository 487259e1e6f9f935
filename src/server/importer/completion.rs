//! Bringing the rest of an image that was pulled before all of it was here, so that later pulls need the other registry no more.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{ImportError, Importer, PARALLEL_BLOBS, Source};
use crate::model::Stream;
use crate::server::oci::{Descriptor, Error as OciError};
use crate::server::store::IncompleteImage;

impl Importer {
    /// Fetches what the repository misses of an image. Manifests that an index lists are recorded, and completed in their own turn.
    pub async fn complete(&self, image: &IncompleteImage) -> Result<(), ImportError> {
        let stored = self.store.find_manifest_by_digest(&image.stream_id, &image.digest).await?;
        // It was deleted meanwhile.
        let Some(stored) = stored else { return Ok(()) };
        let stream = self.store.stream(&image.project, &image.stream).await?;
        let sources = self.sources(&image.stream_id, &image.digest).await?;
        let parts = Self::parts(stored)?;
        let brought: Vec<_> = parts.iter().map(|part| self.bring(&stream, part, &sources).boxed()).collect();
        stream::iter(brought).buffer_unordered(PARALLEL_BLOBS).try_collect::<()>().await?;
        let missing = self.store.complete_image(&image.stream_id, &image.digest).await?;
        match missing.first() {
            Some(part) => Err(OciError::NotFound { reference: part.clone() }.into()),
            None => Ok(()),
        }
    }

    async fn bring(&self, stream: &Stream, part: &Descriptor, sources: &[Source]) -> Result<(), ImportError> {
        if !part.is_manifest() {
            return self.bring_part(&stream.id, part, sources).await;
        }
        if self.store.find_manifest_by_digest(&stream.id, part.digest.as_str()).await?.is_none() {
            self.pull_manifest(stream, &part.digest).await?;
        }
        Ok(())
    }
}
