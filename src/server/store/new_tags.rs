//! Tags that somebody makes: what is made is not there yet, however many make it at the same time.

use super::{Error, Result, Store, TagSet, WantedTag, check_version};
use crate::model::{Actor, StreamName};

impl Store {
    /// Makes a tag, and its stream when there is none. Refused when somebody has said already what the tag should be; one that was only
    /// pushed to is there for that. With `version` given, refuses when the stream changed since.
    pub async fn create_tag(
        &self,
        project: &str,
        stream: &StreamName,
        wanted: &WantedTag,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<TagSet> {
        let mut tx = self.write_tx().await?;
        let stream = tx.ensure_stream(project, stream, actor).await?;
        check_version(stream.version, version)?;
        let there = tx.ensure_tag(&stream, &wanted.name).await?;
        if there.has_spec != 0 && there.deleted_at.is_none() {
            return Err(Error::Exists { kind: "imagestreamtags", name: there.title() });
        }
        let limited = tx.limited_tags(&stream).await?;
        let set = tx.set_tag(&stream, &wanted.name, &wanted.spec, true, actor).await?;
        tx.check_more_tags(&stream, limited).await?;
        tx.commit().await?;
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::TagSpec;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn section_4_3_of_many_that_make_a_tag_at_once_one_does() {
        for store in each_store().await {
            project(&store, "demo").await;
            let stream: StreamName = "app".parse().unwrap();
            let wanted = |source: usize| {
                let spec = TagSpec::import(format!("quay.io/org/app:{source}"));
                WantedTag { name: "t".parse().unwrap(), spec, again: true }
            };
            let ada = Actor::person("ada");
            let made = (0..8).map(|source| {
                let (store, stream, wanted, ada) = (&store, &stream, wanted(source), &ada);
                async move { store.create_tag("demo", stream, &wanted, None, ada).await }
            });
            let made = futures_util::future::join_all(made).await;
            let (good, bad): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
            assert_eq!((good.len(), bad.len()), (1, 7));
            for refused in bad {
                assert!(matches!(refused, Err(Error::Exists { kind: "imagestreamtags", .. })), "{refused:?}");
            }
            let tag = store.tag("demo", "app", "t").await.unwrap();
            assert_eq!(tag.source, good[0].as_ref().unwrap().tag.source, "nobody wrote over it");
        }
    }
}
