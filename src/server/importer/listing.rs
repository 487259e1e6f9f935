//! Which tags a repository of another registry has.

use std::time::Duration;

use super::allowances::{Asks, milliseconds};
use super::asking::Tells;
use super::{ImportError, Importer};
use crate::server::oci::TagPage;
use crate::server::store::USUAL_GAP_MS;

/// The most tags of a repository that rules look at. One that tells more may never come to its end.
pub const MOST_SEEN: usize = 200_000;
/// The longest wait between two pages, which is shorter than whoever lists may be silent.
const LONGEST_GAP: Duration = Duration::from_secs(10);
/// The most tags of one repository that are looked at; a registry that tells more does not come to an end.
pub const MAX_LISTED: usize = 1_000_000;

impl Tells for TagPage {}

impl Importer {
    /// One page of a repository's tags, in its registry's order, asked with the project's credentials; `after` is an earlier page's
    /// `next`. Further pages keep to the registry's pace: a long list is as many questions.
    pub async fn list_tags_page(
        &self,
        project: &str,
        repository: &str,
        insecure: bool,
        after: Option<&str>,
    ) -> Result<TagPage, ImportError> {
        let source = self.source(project, repository, insecure).await?;
        if after.is_some() {
            let state = self.store.find_budget(&source.budget.id).await?;
            let gap = milliseconds(state.map_or(USUAL_GAP_MS, |state| state.gap_ms));
            tokio::time::sleep(gap.min(LONGEST_GAP)).await;
        }
        let question = self.client.list_tags_page(&source.reference, after, &source.access);
        self.ask(&source, Asks::List, question).await
    }

    /// All tags of a repository, paged to the end; of one that does not come to an end, the first [`MAX_LISTED`]. A page that tells nothing
    /// is the last one: a registry that sends us in circles has told what it has.
    pub async fn list_tags(&self, project: &str, repository: &str, insecure: bool) -> Result<Vec<String>, ImportError> {
        let (mut tags, mut after) = (Vec::new(), None);
        loop {
            let page = self.list_tags_page(project, repository, insecure, after.as_deref()).await?;
            let is_empty = page.tags.is_empty();
            tags.extend(page.tags);
            after = page.next.filter(|_| !is_empty && tags.len() < MAX_LISTED);
            if after.is_none() {
                tags.truncate(MAX_LISTED);
                return Ok(tags);
            }
        }
    }
}
