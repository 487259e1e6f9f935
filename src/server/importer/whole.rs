//! Whether an image that somebody wants to go back to is whole, as it is looked at now: by the sizes of what is stored.

use std::time::Duration;

use super::{ImportError, Importer};
use crate::model::{App, Digest};
use crate::server::store::{self, ImagePart};

/// How long somebody waits for what is missing to be fetched again.
const PATIENCE: Duration = Duration::from_secs(20);

impl Importer {
    /// What is wrong with a blob of an image, by its size.
    pub async fn size_problem(&self, part: &ImagePart) -> Result<Option<String>, ImportError> {
        let digest: Digest =
            part.digest.parse().map_err(|error| store::Error::invalid("digest", format!("{error}")))?;
        Ok(match self.blobs.size(&digest).await? {
            None => Some("is missing".to_owned()),
            Some(size) if i64::try_from(size) != Ok(part.size) => Some(format!("has {size} bytes, not {}", part.size)),
            Some(_) => None,
        })
    }

    /// What of an image, and of all it lists, is missing or cut short and could not be fetched again from where it was imported; `None`
    /// when it is whole, or not stored at all.
    pub async fn problem_of(&self, image: &str) -> Result<Option<String>, ImportError> {
        for listed in self.store.list_tree(image).await? {
            for part in self.store.list_image_parts(&listed).await? {
                let Some(problem) = self.size_problem(&part).await? else { continue };
                if !self.bring_again(&listed, &part).await {
                    return Ok(Some(format!("its blob {} {problem}", part.digest)));
                }
            }
        }
        Ok(None)
    }

    async fn bring_again(&self, image: &str, part: &ImagePart) -> bool {
        let (Ok(digest), Ok(size)) = (part.digest.parse(), u64::try_from(part.size)) else { return false };
        let fetched = tokio::time::timeout(PATIENCE, self.fetch_again(image, &digest, size)).await;
        matches!(fetched, Ok(Ok(true)))
    }

    /// As [`Importer::check_whole`], of the row of a tag's history with that sequence. One that is none is refused by who goes back.
    pub async fn check_row(&self, tag_id: &str, to: i64) -> Result<(), store::Error> {
        let event = self.store.find_event(to).await?.filter(|event| event.tag_id == tag_id);
        match event.as_ref().and_then(|event| Some((event.number, event.digest.as_deref()?))) {
            Some((number, digest)) => self.check_whole(digest, &format!("row #{number}")).await,
            None => Ok(()),
        }
    }

    /// As [`Importer::check_whole`], of a rollout of an app.
    pub async fn check_rollout(&self, app: &App, to: i64) -> Result<(), store::Error> {
        match self.store.find_rollout(&app.id, to).await? {
            Some(rollout) => self.check_whole(&rollout.digest, &format!("rollout #{to} of {}", app.name)).await,
            None => Ok(()),
        }
    }

    /// Refuses to go back to an image that is not whole: what would run it could not pull it. `of` is the row it stands in.
    pub async fn check_whole(&self, image: &str, of: &str) -> Result<(), store::Error> {
        let problem = match self.problem_of(image).await {
            Ok(problem) => problem,
            Err(ImportError::Store(error)) => return Err(error),
            // What cannot be looked at is not known to be wrong.
            Err(cause) => {
                tracing::warn!(image.digest = image, "Whether image {image} is whole was not to be seen: {cause}");
                return Ok(());
            }
        };
        // What was broken the night before may be whole by now: histories are not to say otherwise until the next.
        self.store.record_proof(image, problem.as_deref()).await?;
        let Some(problem) = problem else { return Ok(()) };
        let advice = "Push it again, or go back to another one";
        Err(store::Error::Conflict(format!("the image of {of} is not whole: {problem}. {advice}")))
    }
}
