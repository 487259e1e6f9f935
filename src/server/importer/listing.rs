//! Which tags a repository of another registry has.

use std::time::Duration;

use super::allowances::Asks;
use super::asking::Tells;
use super::turns::{PAGE_PATIENCE, Wait};
use super::{ImportError, Importer};
use crate::server::oci::{Error as OciError, TagPage};

/// The most tags of a repository that rules look at. One that tells more may never come to its end.
pub const MOST_SEEN: usize = 200_000;
/// The most tags of one repository that are looked at; a registry that tells more does not come to an end.
pub const MAX_LISTED: usize = 1_000_000;
/// How long somebody waits for a whole list: at the usual pace and a page a second more than a hundred thousand tags.
const PATIENCE: Duration = Duration::from_secs(120);

impl Tells for TagPage {}

impl Importer {
    /// One page of a repository's tags, in its registry's order, asked with the project's credentials; `after` is an earlier page's
    /// `next`. Each page has its turn: a long list is as many questions.
    pub async fn list_tags_page(
        &self,
        project: &str,
        repository: &str,
        insecure: bool,
        after: Option<&str>,
    ) -> Result<TagPage, ImportError> {
        self.list_page(project, repository, insecure, after, Wait::default()).await
    }

    /// As [`Importer::list_tags_page`], where nobody waits for it.
    pub async fn list_tags_page_behind(
        &self,
        project: &str,
        repository: &str,
        insecure: bool,
        after: Option<&str>,
    ) -> Result<TagPage, ImportError> {
        self.list_page(project, repository, insecure, after, Wait::of(PAGE_PATIENCE)).await
    }

    async fn list_page(
        &self,
        project: &str,
        repository: &str,
        insecure: bool,
        after: Option<&str>,
        wait: Wait,
    ) -> Result<TagPage, ImportError> {
        let source = self.source(project, repository, insecure).await?.waiting(wait);
        let question = self.client.list_tags_page(&source.reference, after, &source.access);
        self.ask(&source, Asks::List, question).await
    }

    /// All tags of a repository, paged to the end; of one that does not come to an end, the first [`MAX_LISTED`]. A page that tells nothing
    /// is the last one: a registry that sends us in circles has told what it has. Somebody waits for it, so that one that is slow is given up.
    pub async fn list_tags(&self, project: &str, repository: &str, insecure: bool) -> Result<Vec<String>, ImportError> {
        self.list_tags_within(PATIENCE, project, repository, insecure).await
    }

    /// As [`Importer::list_tags`], for somebody with another patience.
    pub async fn list_tags_within(
        &self,
        patience: Duration,
        project: &str,
        repository: &str,
        insecure: bool,
    ) -> Result<Vec<String>, ImportError> {
        let all = self.list_all(project, repository, insecure);
        let late = |_| OciError::Timeout { registry: repository.split('/').next().unwrap_or_default().to_owned() };
        tokio::time::timeout(patience, all).await.map_err(late)?
    }

    async fn list_all(&self, project: &str, repository: &str, insecure: bool) -> Result<Vec<String>, ImportError> {
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
