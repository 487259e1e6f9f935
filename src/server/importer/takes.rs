//! What comes of a check for each of its tags: nothing, when the tag has what was found or that waits for its cool-down; or else the image
//! is fetched, once for all tags that want it, in a place among the downloads.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::{CheckPlace, Fetched, ImportError, Importer, Selection, Source};
use crate::model::{Actor, Digest};
use crate::server::oci::{Error as OciError, Manifest};
use crate::server::store::{DueImport, Passage};

/// What a question found, and what was fetched because of it; each part once for all tags it concerns.
pub(super) struct Found {
    source: Source,
    /// What the reference means there now.
    digest: Digest,
    top: Option<Manifest>,
    /// By what was asked for (none: what the reference means by then), and what of it is taken; or why that could not be fetched.
    fetched: HashMap<(Option<Digest>, Selection), Result<Fetched, Arc<ImportError>>>,
}

impl Found {
    pub(super) fn new(source: Source, digest: Digest, top: Option<Manifest>) -> Self {
        Self { source, digest, top, fetched: HashMap::new() }
    }
}

/// How the check of one tag went.
pub(super) enum End {
    Unchanged(Digest),
    /// What is there now waits for the tag's cool-down.
    Waiting(Digest),
    Fetched(Digest),
    /// Something is to be fetched, and others are at that.
    NoPlace,
}

impl Importer {
    /// Brings a tag what was found, unless it has it, or has to let it grow older.
    pub(super) async fn take(
        &self,
        one: &DueImport,
        found: &mut Found,
        place: &mut CheckPlace,
    ) -> Result<End, ImportError> {
        if seen(one) == Some(found.digest.as_str()) && one.import.cooling_digest.is_none() {
            return Ok(End::Unchanged(found.digest.clone()));
        }
        loop {
            let (only, by) = match self.store.pass(one, found.digest.as_str()).await? {
                Passage::Had => return Ok(End::Unchanged(found.digest.clone())),
                Passage::Shut => return Ok(End::Waiting(found.digest.clone())),
                Passage::Open => (None, None),
                Passage::Only { digest, by } => (Some(digest.parse::<Digest>().map_err(unreadable)?), by),
            };
            if !place.may_download(&self.store, one).await? {
                return Ok(End::NoPlace);
            }
            // What was replaced there may have been taken away, too; then the next one has its turn.
            let was_replaced = only.as_ref().is_some_and(|only| *only != found.digest);
            match self.fetch_and_store(one, found, only.clone(), by).await {
                Err(cause) if was_replaced && is_gone(&cause) => {
                    let gone = only.as_ref().map(Digest::as_str).unwrap_or_default();
                    self.store.forget_waiting(&one.tag.id, gone).await?;
                }
                stored => return stored.map(End::Fetched),
            }
        }
    }

    /// Fetches `only` this digest, or what the reference means now, and moves the tag to it.
    async fn fetch_and_store(
        &self,
        one: &DueImport,
        found: &mut Found,
        only: Option<Digest>,
        by: Option<String>,
    ) -> Result<Digest, ImportError> {
        let tag = &one.tag;
        let stream = self.store.stream(&tag.project, &tag.stream).await?;
        let which = (only, Selection::of(&stream, tag));
        if !found.fetched.contains_key(&which) {
            let fetched = self.fetch_found(found, which.0.as_ref(), &which.1).await.map_err(Arc::new);
            found.fetched.insert(which.clone(), fetched);
        }
        let fetched = match found.fetched.get(&which) {
            Some(Ok(fetched)) => fetched,
            Some(Err(cause)) => return Err(ImportError::Shared(Arc::clone(cause))),
            None => return Err(ImportError::Late),
        };
        // The first import of what somebody said the tag should be is theirs, those after it are the schedule's.
        let is_asked_for = one.import.requested_at.is_some() || one.import.generation < tag.generation;
        let actor = match (by, &one.import.requested_by) {
            (Some(person), _) => Actor::person(person),
            (None, Some(person)) if is_asked_for => Actor::person(person.clone()),
            _ => Actor::schedule(),
        };
        self.store_fetched(&found.source, &stream, tag, fetched, &actor).boxed().await?;
        Ok(which.0.unwrap_or_else(|| found.digest.clone()))
    }

    async fn fetch_found(
        &self,
        found: &mut Found,
        only: Option<&Digest>,
        selection: &Selection,
    ) -> Result<Fetched, ImportError> {
        let top = match (&found.top, only) {
            (Some(top), None) => top.clone(),
            (Some(top), Some(only)) if top.digest == *only => top.clone(),
            (_, Some(only)) => self.manifest(&found.source, only).await?,
            (None, None) => {
                let top = self.top(&found.source).await?;
                // It may have changed again since the question.
                found.digest = top.digest.clone();
                found.top.insert(top).clone()
            }
        };
        self.fetch_below(&found.source, top, selection).await
    }
}

/// The digest the reference meant at the last check. Another source or mode means a new look even at a known digest.
pub(super) fn seen(due: &DueImport) -> Option<&str> {
    due.import.upstream_digest.as_deref().filter(|_| due.import.generation == due.tag.generation)
}

/// Whether the registry has no such image any more, or not for us.
fn is_gone(cause: &ImportError) -> bool {
    match cause {
        ImportError::Upstream(cause) => matches!(cause, OciError::NotFound { .. } | OciError::Denied { .. }),
        ImportError::Shared(cause) => is_gone(cause),
        _ => false,
    }
}

fn unreadable(cause: impl std::fmt::Display) -> ImportError {
    OciError::Integrity { detail: format!("what waits for its cool-down has no digest: {cause}") }.into()
}
