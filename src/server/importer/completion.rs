//! Bringing the rest of an image that was pulled before all of it was here, so that later pulls need the other registry no more.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::{ImportError, Importer, PARALLEL_BLOBS, Selection, Source, texts};
use crate::model::Stream;
use crate::server::oci::{Descriptor, Error as OciError, Manifest};
use crate::server::store::IncompleteImage;

impl Importer {
    /// Fetches what the repository misses of an image, for the platforms that its stream chose. Manifests that an index lists are
    /// recorded, and completed in their own turn.
    pub async fn complete(&self, image: &IncompleteImage) -> Result<(), ImportError> {
        let stored = self.store.find_manifest_by_digest(&image.stream_id, &image.digest).await?;
        // It was deleted meanwhile.
        let Some(stored) = stored else { return Ok(()) };
        let stream = self.store.stream(&image.project, &image.stream).await?;
        let sources = self.sources(&image.stream_id, &image.digest).await?;
        if sources.is_empty() && image.is_whole == 1 {
            return Ok(self.store.forget_more(image).await?);
        }
        let manifest = Manifest::parse(Some(&stored.media_type), stored.manifest.into())?;
        let left_out = Selection::of_stream(&stream).left_out(&manifest);
        let parts = manifest.blobs().chain(manifest.children());
        let is_left_out = |part: &Descriptor| part.is_manifest() && left_out.contains(&part.digest);
        let parts = parts.filter(|part| !part.is_foreign() && !is_left_out(part));
        let brought: Vec<_> = parts.map(|part| self.bring(&stream, part, &sources).boxed()).collect();
        stream::iter(brought).buffer_unordered(PARALLEL_BLOBS).try_collect::<()>().await?;
        let missing = self.store.complete_image(&image.stream_id, &image.digest, &texts(left_out)).await?;
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
