//! Waiting for imports, and what became of their tags: one may stay where it is although its source was looked at.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::super::Door;
use super::super::import_status::import_status;
use super::super::kind::IMAGES;
use super::super::status::Status;
use super::asked::Wanted;
use super::failure;
use super::take::{Taken, Taking, at_digest, listed};
use crate::model::{EventKind, Outcome, Tag, TagEvent, TagImport};
use crate::server::store::TagSet;

/// How long a lost signal can delay the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How the wait for a check ended.
enum CheckEnd {
    Done(Box<TagImport>),
    Failed {
        reason: String,
        message: String,
    },
    /// It goes on, or is nobody's any more.
    Left {
        reason: &'static str,
        message: String,
    },
}

/// When to stop waiting for an import that is waited for from now on.
fn wait_until(now: Instant, patience: Duration, end: Instant) -> Instant {
    end.min(now + patience)
}

impl Taking<'_> {
    /// Waits for an import, and tells how it went.
    pub(super) async fn finish(&self, set: &TagSet, one: &Wanted) -> Result<Taken, Status> {
        let until = wait_until(Instant::now(), self.door.import_patience, self.until);
        let end = match timeout_at(until, check_ended(self.door, &set.tag)).await {
            Ok(end) => end?,
            Err(_) => {
                CheckEnd::Left { reason: "timeout", message: "it goes on; look at the stream again later".to_owned() }
            }
        };
        match end {
            CheckEnd::Done(import) => self.taken(one, &import).await,
            CheckEnd::Failed { reason, message } => {
                let was_made = set.created.then(|| set.tag.clone());
                Ok(Taken { was_made, ..failure(one, &import_status(&one.reference, &reason, &message)) })
            }
            CheckEnd::Left { reason, message } => Ok(failure(one, &import_status(&one.reference, reason, &message))),
        }
    }

    /// What the tag has now that its source was looked at.
    async fn taken(&self, one: &Wanted, import: &TagImport) -> Result<Taken, Status> {
        let store = &self.door.store;
        let tag = store.tag_by_id(&import.tag_id).await?;
        // What waits for a cool-down was not even tried.
        let cooling = import.cooling(&tag).filter(|_| import.outcome == "waiting");
        if cooling.is_none()
            && let Some(words) = stays(self.door, &tag).await?
        {
            return Ok(Taken { remark: Some(words.clone()), ..failure(one, &Status::conflict(words)) });
        }
        let (digest, reference) = (tag.digest.clone().unwrap_or_default(), tag.reference.clone().unwrap_or_default());
        let mut manifests = Vec::new();
        for child in listed(&store.list_children(&digest).await?) {
            // Of platforms that the stream did not choose there is nothing here.
            if let Some(image) = store.find_image(child).await? {
                manifests.push(self.stored(one, &tag, &image, &at_digest(&reference, child)).await?);
            }
        }
        let image = store.find_image(&digest).await?.ok_or_else(|| Status::not_found(&IMAGES, &digest))?;
        let image = self.stored(one, &tag, &image, &reference).await?;
        let remark = cooling.map(|cooling| {
            format!("{} keeps its image: {} is new there and waits for its cool-down", tag.title(), cooling.digest)
        });
        Ok(Taken { remark, ..Taken::of(one, image, manifests) })
    }
}

/// Why a tag did not go where its source is, if so it is.
async fn stays(door: &Door, tag: &Tag) -> Result<Option<String>, Status> {
    let newest = door.store.list_history(&tag.id, None, 1).await?.pop();
    let refused = newest.filter(|event| event.kind == EventKind::Import && event.outcome != Outcome::Moved);
    let Some(event) = refused else { return Ok(None) };
    let last_move = match tag.event_sequence {
        Some(sequence) => door.store.find_event(sequence).await?,
        None => None,
    };
    // That the tag has the image already is noted on the row of its move.
    if last_move.is_some_and(|last_move| attempted_at(&last_move) >= attempted_at(&event)) {
        return Ok(None);
    }
    let cause = match event.outcome {
        Outcome::Held => match door.store.tag_hold(&tag.id).await? {
            Some(hold) => format!("{} holds it", hold.actor),
            None => "it was held".to_owned(),
        },
        Outcome::Rejected => "that image was rejected for it".to_owned(),
        Outcome::Immutable => "it is immutable".to_owned(),
        _ => "an artifact may not take an image's tag, nor an image an artifact's".to_owned(),
    };
    let place = tag.digest.as_ref().map_or_else(|| "without an image".to_owned(), |digest| format!("at {digest}"));
    let found = event.digest.unwrap_or_default();
    Ok(Some(format!("{} stays {place} and does not go to {found}: {cause}", tag.title())))
}

/// When what a row says was attempted last.
fn attempted_at(event: &TagEvent) -> i64 {
    event.repeated_at.unwrap_or(event.at)
}

/// Waits until the tag's source was checked as its spec has it now.
async fn check_ended(door: &Door, tag: &Tag) -> Result<CheckEnd, Status> {
    let mut changes = door.store.wake().changes();
    loop {
        let Some(import) = door.store.find_import(&tag.id).await? else {
            let message = "the tag was changed meanwhile".to_owned();
            return Ok(CheckEnd::Left { reason: "other", message });
        };
        if let Some(person) = &import.paused_by {
            let message = format!("{person} paused its registry; the import follows when it is resumed");
            return Ok(CheckEnd::Left { reason: "paused", message });
        }
        if import.generation >= tag.generation && import.requested_at.is_none() && import.outcome != "new" {
            if import.outcome != "failed" {
                return Ok(CheckEnd::Done(Box::new(import)));
            }
            let (reason, message) = (import.reason.unwrap_or_default(), import.message.unwrap_or_default());
            return Ok(CheckEnd::Failed { reason, message });
        }
        tokio::select! {
            _ = changes.recv() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = door.stop.cancelled() => {
                let message = "the server stops; the import goes on when it is back".to_owned();
                return Ok(CheckEnd::Left { reason: "timeout", message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_6_2_an_import_is_waited_for_no_longer_than_the_request_lasts() {
        let now = Instant::now();
        let after = |minutes: u64| now + Duration::from_secs(minutes * 60);
        let patience = Duration::from_secs(300);
        assert_eq!(wait_until(now, patience, after(60)), after(5));
        assert_eq!(wait_until(after(57), patience, after(60)), after(60));
    }
}
