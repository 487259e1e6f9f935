//! Refuses images of registries from which people may not import. What was set before stays as it is and goes on being imported.

use super::{Error, Result, Store, TagSpec, WriteTx};
use crate::model::{Actor, ActorKind, ImageReference, SourceKind, Tag};

impl Store {
    /// Passes when this actor may import the image; `field` is where a request names it. Site admins may import from anywhere, as who may
    /// make images by hand may in OpenShift.
    pub async fn check_registry(
        &self,
        field: impl Into<String>,
        reference: &ImageReference,
        insecure: bool,
        actor: &Actor,
    ) -> Result<()> {
        let Err(cause) = self.allowed.check(reference, insecure) else { return Ok(()) };
        let user = self.find_user(&actor.name).await?;
        let is_free = actor.kind != ActorKind::Person || user.is_some_and(|user| user.site_admin == 1);
        if is_free { Ok(()) } else { Err(Error::Forbidden { field: field.into(), cause }) }
    }
}

impl WriteTx {
    /// As [`Store::check_registry`], for what a tag is to be. Only what is new or was changed is looked at.
    pub(super) async fn check_registry(&mut self, before: &Tag, spec: &TagSpec, actor: &Actor) -> Result<()> {
        let Some((SourceKind::DockerImage, from)) = &spec.source else { return Ok(()) };
        let is_as_before = before.deleted_at.is_none()
            && before.source_kind.as_deref() == Some(SourceKind::DockerImage.as_str())
            && before.source.as_ref() == Some(from)
            && (before.insecure != 0) == spec.insecure;
        if is_as_before || actor.kind != ActorKind::Person {
            return Ok(());
        }
        let field = format!("spec.tags[{}].from.name", before.name);
        let reference = from.parse().map_err(|cause| Error::invalid(field.clone(), format!("{cause}")))?;
        self.check_reference(&field, &reference, spec.insecure, actor).await
    }

    /// As [`Store::check_registry`], beside what else the transaction has read.
    pub(super) async fn check_reference(
        &mut self,
        field: &str,
        reference: &ImageReference,
        insecure: bool,
        actor: &Actor,
    ) -> Result<()> {
        let Err(cause) = self.allowed.check(reference, insecure) else { return Ok(()) };
        if actor.kind != ActorKind::Person {
            return Ok(());
        }
        let is_free: Option<(i64,)> = sqlx::query_as("select site_admin from users where name = $1 and site_admin = 1")
            .bind(&actor.name)
            .fetch_optional(&mut **self)
            .await?;
        if is_free.is_some() { Ok(()) } else { Err(Error::Forbidden { field: field.to_owned(), cause }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AllowedRegistries;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn section_6_9_only_new_references_are_checked_and_site_admins_are_free() {
        for store in each_store().await {
            project(&store, "demo").await;
            for (user, is_admin) in [("ada", false), ("root", true)] {
                store.create_user(user, "", None, is_admin, &Actor::system("test")).await.unwrap();
            }
            let (ada, root) = (Actor::person("ada"), Actor::person("root"));
            let stream = "python".parse().unwrap();
            let set = async |store: &Store, tag: &str, from: &str, actor: &Actor| {
                let spec = TagSpec::import(from);
                store.set_tag("demo", &stream, &tag.parse().unwrap(), &spec, None, actor).await.map(drop)
            };
            set(&store, "old", "quay.io/org/python:1", &ada).await.unwrap();
            let store = store.clone().allowing("docker.io,*.example.com".parse::<AllowedRegistries>().unwrap());
            set(&store, "old", "quay.io/org/python:1", &ada).await.expect("as it was");
            set(&store, "hub", "python:3", &ada).await.expect("allowed");
            for (tag, from) in [("old", "quay.io/org/python:2"), ("new", "quay.io/org/python:1")] {
                let refused = set(&store, tag, from, &ada).await.unwrap_err();
                let Error::Forbidden { field, .. } = &refused else { panic!("{refused}") };
                assert_eq!(*field, format!("spec.tags[{tag}].from.name"));
            }
            set(&store, "new", "quay.io/org/python:1", &root).await.expect("a site admin");
            let reference = "quay.io/org/python:1".parse().unwrap();
            assert!(store.check_registry("x", &reference, false, &ada).await.is_err());
            assert!(store.check_registry("x", &reference, false, &root).await.is_ok());
            assert!(store.check_registry("x", &reference, false, &Actor::schedule()).await.is_ok());
        }
    }
}
