//! Which tags a repository of another registry has.

use super::allowances::Asks;
use super::asking::Tells;
use super::{ImportError, Importer};
use crate::server::oci::TagPage;

/// The most tags of one repository that are looked at; a registry that tells more does not come to an end.
pub const MAX_LISTED: usize = 1_000_000;

impl Tells for TagPage {}

impl Importer {
    /// One page of a repository's tags, in its registry's order, asked with the project's credentials; `after` is an earlier page's
    /// `next`.
    pub async fn list_tags_page(
        &self,
        project: &str,
        repository: &str,
        insecure: bool,
        after: Option<&str>,
    ) -> Result<TagPage, ImportError> {
        let source = self.source(project, repository, insecure).await?;
        let question = self.client.list_tags_page(&source.reference, after, &source.access);
        self.ask(&source, Asks::List, question).await
    }

    /// All tags of a repository, paged to the end; of one that does not come to an end, the first [`MAX_LISTED`].
    pub async fn list_tags(&self, project: &str, repository: &str, insecure: bool) -> Result<Vec<String>, ImportError> {
        let (mut tags, mut after) = (Vec::new(), None);
        loop {
            let page = self.list_tags_page(project, repository, insecure, after.as_deref()).await?;
            tags.extend(page.tags);
            after = page.next.filter(|_| tags.len() < MAX_LISTED);
            if after.is_none() {
                tags.truncate(MAX_LISTED);
                return Ok(tags);
            }
        }
    }
}
