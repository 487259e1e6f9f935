//! What is done to the store for each deed of the model, and what it answers.

use super::super::simple::{Answer, Deed, TagNumber, stream_of};
use super::{BEGINNING, DAY, World, digest};
use crate::model::{Actor, Digest, HoldUntil, NewImage, Outcome, RollbackMode, SourceKind, TagName};
use crate::server::store::{Error, Result, TagMove, TagRollback, TagSpec};

/// What was refused is an answer; that something is broken is none.
fn answer<T>(done: Result<T>, outcomes: impl FnOnce(T) -> Vec<Outcome>) -> Result<Answer> {
    match done {
        Ok(done) => Ok(Some(outcomes(done))),
        Err(Error::NotFound { .. } | Error::Conflict(_) | Error::Invalid { .. }) => Ok(None),
        Err(broken) => Err(broken),
    }
}

impl World {
    pub(super) async fn perform(&self, deed: Deed) -> Result<Answer> {
        let (store, ada) = (&self.store, Actor::person("ada"));
        match deed {
            Deed::Put { kind, first, count, image, place } => {
                let elsewhere = format!("r{place}.io/x@{}", digest(image));
                let reference = (place > 0).then_some(elsewhere.as_str());
                let image = NewImage { digest: digest(image), manifest: "{}".to_owned(), ..NewImage::default() };
                let names = (first..first + count).map(|tag| self.names(tag).2.parse().unwrap());
                let names: Vec<TagName> = names.collect();
                let to = |tag| TagMove { tag, kind, reference, cause: None, build_id: None };
                let put = store.put_manifest(&self.streams[stream_of(first)], &image, names.iter().map(to), &ada).await;
                answer(put, |moves| moves.into_iter().map(|moved| moved.outcome).collect())
            }
            Deed::Name { tag, name } => {
                let spec = TagSpec::import(format!("r{name}.io/x:1"));
                self.set(tag, TagSpec { reference_only: true, scheduled: false, ..spec }).await
            }
            Deed::Follow { tag, source } => {
                let (project, stream, name) = self.names(source);
                let source = Some((SourceKind::ImageStreamTag, format!("{stream}:{name}")));
                self.set(tag, TagSpec { source, source_project: Some(project.to_owned()), ..TagSpec::default() }).await
            }
            Deed::Free { tag } => self.set(tag, TagSpec::default()).await,
            Deed::Pin { tag, image } => {
                let source = Some((SourceKind::ImageStreamImage, digest(image)));
                self.set(tag, TagSpec { source, ..TagSpec::default() }).await
            }
            Deed::RollBack { tag, row, reject } => {
                let (project, stream, name) = self.names(tag);
                let to = self.rows[tag].get(row).copied().unwrap_or_default();
                let back = TagRollback { mode: RollbackMode::Tag, reject, ..TagRollback::to(to) };
                let moved = store.roll_back_tag(project, stream, name, &back, &ada).await;
                answer(moved, |moved| vec![moved.outcome])
            }
            Deed::Hold { tag } => {
                let (project, stream, name) = self.names(tag);
                answer(store.hold_tag(project, stream, name, None, &ada).await, |()| Vec::new())
            }
            Deed::HoldUntilNewer { tag } => {
                let (project, stream, name) = self.names(tag);
                let set = store.set_hold_end(project, stream, name, HoldUntil::Newer, &ada).await;
                answer(set, |()| Vec::new())
            }
            Deed::HoldUntilDate { tag, day, moment } => {
                let (project, stream, name) = self.names(tag);
                let until = HoldUntil::Date(BEGINNING + day * DAY + moment);
                let held = store.hold_tag_until(project, stream, name, None, until, &ada).await;
                answer(held, |()| Vec::new())
            }
            Deed::DayPasses => {
                self.set_clock();
                Ok(Some(Vec::new()))
            }
            Deed::EndDue => answer(store.end_due_holds().await, |_| Vec::new()),
            Deed::Reject { tag, image } => {
                let (project, stream, name) = self.names(tag);
                let image: Digest = digest(image).parse().expect("a digest");
                answer(store.reject_image(project, stream, name, &image, None, &ada).await, |()| Vec::new())
            }
            Deed::Allow { tag, image } => {
                let (project, stream, name) = self.names(tag);
                let image: Digest = digest(image).parse().expect("a digest");
                answer(store.allow_image(project, stream, name, &image, &ada).await, |()| Vec::new())
            }
            Deed::Resume { tag } => {
                let (project, stream, name) = self.names(tag);
                let resumed = store.resume_tag(project, stream, name, &ada).await;
                answer(resumed, |moved| moved.map(|moved| moved.outcome).into_iter().collect())
            }
            Deed::Delete { tag } => {
                let (project, stream, name) = self.names(tag);
                answer(store.delete_tag(project, stream, name, &ada).await, |()| Vec::new())
            }
            Deed::Restore { tag } => {
                let (project, stream, name) = self.names(tag);
                let moved = store.restore_tag(project, stream, name, None, &ada).await;
                answer(moved, |moved| vec![moved.outcome])
            }
            Deed::Undo { cascade } => {
                let (project, number) = &self.cascades[cascade];
                answer(store.undo_cascade(project, *number, &ada).await, |_| Vec::new())
            }
        }
    }

    async fn set(&self, tag: TagNumber, spec: TagSpec) -> Result<Answer> {
        let (project, stream, name) = self.names(tag);
        let (stream, name) = (stream.parse().unwrap(), name.parse().unwrap());
        let set = self.store.set_tag(project, &stream, &name, &spec, None, &Actor::person("ada")).await;
        answer(set, |_| Vec::new())
    }
}
