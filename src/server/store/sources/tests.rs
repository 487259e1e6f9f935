use super::*;
use crate::model::{EventKind, ImageChild, ImageLayer, SourceKind};
use crate::server::hash::sha256;
use crate::server::store::testing::{each_store, project};
use crate::server::store::{CheckEnd, ImportTrouble, TagSpec};

/// All that is to be completed.
async fn claim(store: &Store) -> Vec<IncompleteImage> {
    let claimed = store.claim_incomplete(60_000, 10, |_| Some(())).await.unwrap();
    claimed.into_iter().map(|(image, ())| image).collect()
}

fn image() -> NewImage {
    let media_type = "x/layer".to_owned();
    NewImage {
        digest: "sha256:i".to_owned(),
        manifest: "{}".to_owned(),
        config_digest: Some("sha256:c".to_owned()),
        layers: vec![ImageLayer { layer_digest: "sha256:l".to_owned(), size: 1, media_type }],
        ..NewImage::default()
    }
}

#[tokio::test]
async fn an_image_is_served_before_it_is_whole_and_completed_in_each_repository() {
    for store in each_store().await {
        project(&store, "demo").await;
        let (actor, name) = (Actor::system("test"), "latest".parse().unwrap());
        let stream = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
        let spec = TagSpec { insecure: true, ..TagSpec::import("quay.io/org/base:1") };
        let tag = store.set_tag("demo", &"base".parse().unwrap(), &name, &spec, None, &actor).await.unwrap().tag;
        let follow = Some((SourceKind::ImageStreamTag, "base:latest".to_owned()));
        let follow = TagSpec { source: follow, ..TagSpec::default() };
        store.set_tag("demo", &"web".parse().unwrap(), &name, &follow, None, &actor).await.unwrap();
        let web = store.stream("demo", "web").await.unwrap();

        let reference = "quay.io/org/base@sha256:i";
        let kind = EventKind::Import;
        let to = TagMove { tag: &name, kind, reference: Some(reference), cause: None, build_id: None };
        let moved =
            store.put_incomplete(&stream, &image(), "quay.io/org/base", Some((to, &tag)), &actor).await.unwrap();
        assert!(moved.unwrap().changed);
        for stream in [&stream, &web] {
            assert!(store.find_manifest_by_tag(&stream.id, "latest").await.unwrap().is_some());
            assert_eq!(store.list_manifests_of_blob(&stream.id, "sha256:l").await.unwrap().len(), 1);
            let places = store.list_import_places(&stream.id, "sha256:i").await.unwrap();
            let reference = reference.to_owned();
            assert_eq!(places, [ImportPlace { project: "demo".to_owned(), reference, insecure: 1 }]);
            assert_eq!(store.complete_image(&stream.id, "sha256:i", &[]).await.unwrap(), ["sha256:c", "sha256:l"]);
        }
        assert_eq!(store.list_manifests_of_blob(&stream.id, "sha256:other").await.unwrap(), []);
        assert_eq!(store.list_import_places(&stream.id, "sha256:other").await.unwrap(), []);
        assert_eq!(store.list_needed_blobs("", "t").await.unwrap(), [], "it may be elsewhere");

        assert_eq!(store.next_completion_at().await.unwrap(), Some(0));
        let mut claimed = claim(&store).await;
        assert_eq!(claimed.len(), 2);
        assert_eq!(claim(&store).await, [], "a worker is at it");
        assert!(store.renew_completion(&mut claimed[0], now() + 90_000).await.unwrap());
        assert!(store.postpone_completion(&claimed[0], 1).await.unwrap());
        let again = claim(&store).await;
        assert_eq!((again.len(), &again[0].digest), (1, &claimed[0].digest));
        assert!(!store.renew_completion(&mut claimed[0], now() + 90_000).await.unwrap(), "another worker has it");
        assert!(!store.postpone_completion(&claimed[0], 1).await.unwrap());
        assert_eq!(claim(&store).await, [], "who lost it changes nothing");
        store.end_all_leases().await.unwrap();
        for image in claim(&store).await {
            for blob in ["sha256:c", "sha256:l"] {
                store.link_blob(&image.stream_id, blob, 1, None).await.unwrap();
            }
            assert_eq!(store.complete_image(&image.stream_id, "sha256:i", &[]).await.unwrap(), Vec::<String>::new());
        }
        assert_eq!(store.next_completion_at().await.unwrap(), None);
        assert_eq!(store.list_needed_blobs("", "t").await.unwrap().len(), 2);
    }
}

/// A manifest of one layer.
fn manifest_of(digest: &str, layer: &str) -> NewImage {
    let media_type = "x/layer".to_owned();
    NewImage {
        digest: digest.to_owned(),
        manifest: "{}".to_owned(),
        layers: vec![ImageLayer { layer_digest: layer.to_owned(), size: 1, media_type }],
        ..NewImage::default()
    }
}

#[tokio::test]
async fn no_way_leads_through_a_manifest_to_what_another_project_has() {
    let [index, child, layer] = ["index", "child", "layer"].map(|text| sha256(text.as_bytes()).to_string());
    for store in each_store().await {
        let (actor, latest) = (Actor::system("test"), "latest".parse().unwrap());
        project(&store, "vault").await;
        let vault = store.ensure_stream("vault", &"own".parse().unwrap(), &actor).await.unwrap();
        store.link_blob(&vault.id, &layer, 1, None).await.unwrap();
        store.put_manifest(&vault, &manifest_of(&child, &layer), None, &actor).await.unwrap();

        // Another registry serves an index that lists the image, and the image, but cannot have the layer.
        project(&store, "demo").await;
        let base = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
        let spec = TagSpec { insecure: true, ..TagSpec::import("evil.example/x:1") };
        let tag = store.set_tag("demo", &"base".parse().unwrap(), &latest, &spec, None, &actor).await.unwrap().tag;
        let listed = ImageChild {
            child_digest: child.clone(),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size: 2,
            architecture: None,
            os: None,
            variant: None,
        };
        let image = NewImage {
            digest: index.clone(),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            manifest: "{}".to_owned(),
            children: vec![listed.clone()],
            ..NewImage::default()
        };
        let reference = format!("evil.example/x@{index}");
        let to =
            TagMove { tag: &latest, kind: EventKind::Import, reference: Some(&reference), cause: None, build_id: None };
        store.put_incomplete(&base, &image, "evil.example/x", Some((to, &tag)), &actor).await.unwrap();
        assert!(store.find_manifest_by_digest(&base.id, &child).await.unwrap().is_none(), "it was not brought");
        store.put_incomplete(&base, &manifest_of(&child, &layer), "evil.example/x", None, &actor).await.unwrap();
        assert_eq!(store.complete_image(&base.id, &index, &[]).await.unwrap(), Vec::<String>::new());
        assert_eq!(store.complete_image(&base.id, &child, &[]).await.unwrap(), [&*layer]);

        let ways = [
            ("follower", SourceKind::ImageStreamTag, "base:latest".to_owned()),
            ("index", SourceKind::ImageStreamImage, format!("base@{index}")),
            ("child", SourceKind::ImageStreamImage, format!("base@{child}")),
        ];
        for (name, kind, from) in ways {
            let spec = TagSpec { source: Some((kind, from)), ..TagSpec::default() };
            // A pin to what no tag points to may be refused as well.
            let set = store.set_tag("demo", &name.parse().unwrap(), &latest, &spec, None, &actor).await;
            assert!(set.is_ok() || name == "child", "{name}: {set:?}");
            let Some(stream) = store.find_stream("demo", name).await.unwrap() else { continue };
            assert_eq!(store.find_blob(&stream.id, &layer).await.unwrap(), None, "{name}");
        }
        // What is pushed over it would count as pushed with all that is below.
        let outer = sha256(b"outer").to_string();
        let lists_index = ImageChild {
            child_digest: index.clone(),
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            ..listed
        };
        let outer = NewImage { digest: outer, children: vec![lists_index], ..image };
        let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        match store.put_manifest(&base, &outer, Some(to), &actor).await {
            Err(Error::Invalid { message, .. }) => assert!(message.ends_with(&layer), "{message}"),
            other => panic!("an index over what is not here was answered with {other:?}"),
        }
        assert_eq!(store.find_blob(&base.id, &layer).await.unwrap(), None);
        assert!(!store.is_blob_granted(&base.id, &layer, "evil.example/x").await.unwrap());
    }
}

#[tokio::test]
async fn an_imported_image_is_found_among_many_that_were_pushed() {
    for store in each_store().await {
        let (actor, latest) = (Actor::system("test"), "latest".parse().unwrap());
        project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        store.link_blob(&stream.id, "sha256:l", 1, None).await.unwrap();
        for number in 0..2 * MOST_MANIFESTS {
            let image = manifest_of(&format!("sha256:a{number}"), "sha256:l");
            store.put_manifest(&stream, &image, None, &actor).await.unwrap();
        }
        let reference = Some("quay.io/org/base@sha256:z");
        let to = TagMove { tag: &latest, kind: EventKind::Import, reference, cause: None, build_id: None };
        store.put_manifest(&stream, &manifest_of("sha256:z", "sha256:l"), Some(to), &actor).await.unwrap();
        let found = store.list_manifests_of_blob(&stream.id, "sha256:l").await.unwrap();
        assert_eq!((found.len(), found[0].digest.as_str()), (MOST_MANIFESTS as usize, "sha256:z"));
    }
}

#[tokio::test]
async fn a_first_pull_leaves_a_tag_alone_that_moved_meanwhile() {
    for store in each_store().await {
        let (actor, latest) = (Actor::system("test"), "latest".parse().unwrap());
        project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
        let set = async |reference: &str| {
            let spec = TagSpec::import(reference);
            store.set_tag("demo", &"base".parse().unwrap(), &latest, &spec, None, &actor).await.unwrap().tag
        };
        let pull = async |seen: &Tag| {
            let kind = EventKind::Import;
            let to = TagMove { tag: &latest, kind, reference: Some("x@sha256:i"), cause: None, build_id: None };
            store.put_incomplete(&stream, &image(), "x", Some((to, seen)), &actor).await.unwrap()
        };
        let seen = set("quay.io/org/base:1").await;
        let other = set("quay.io/org/other:1").await;
        assert!(pull(&seen).await.is_none(), "it follows something else");
        store.link_blob(&stream.id, "sha256:l", 1, None).await.unwrap();
        let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &manifest_of("sha256:pushed", "sha256:l"), Some(to), &actor).await.unwrap();
        assert!(pull(&other).await.is_none(), "it has an image");
        let tag = store.tag("demo", "base", "latest").await.unwrap();
        assert_eq!(tag.digest.as_deref(), Some("sha256:pushed"));
        store.delete_tag("demo", "base", "latest", &actor).await.unwrap();
        assert!(pull(&other).await.is_none(), "it was deleted");
        assert!(store.find_manifest_by_digest(&stream.id, "sha256:i").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_foreign_layers_type_opens_nothing() {
    let [image, layer] = ["image", "layer"].map(|text| sha256(text.as_bytes()).to_string());
    for store in each_store().await {
        let (actor, latest) = (Actor::system("test"), "latest".parse().unwrap());
        for name in ["vault", "demo"] {
            project(&store, name).await;
        }
        let vault = store.ensure_stream("vault", &"own".parse().unwrap(), &actor).await.unwrap();
        store.link_blob(&vault.id, &layer, 1, None).await.unwrap();
        let demo = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        let mut pushed = manifest_of(&image, &layer);
        pushed.layers[0].media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".to_owned();
        let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&demo, &pushed, Some(to), &actor).await.unwrap();
        assert_eq!(store.find_blob(&demo.id, &layer).await.unwrap(), None);
    }
}

#[tokio::test]
async fn other_projects_places_are_not_asked() {
    for store in each_store().await {
        let (actor, name) = (Actor::system("test"), "latest".parse().unwrap());
        for project_name in ["vault", "demo"] {
            project(&store, project_name).await;
            let host = format!("{project_name}.example/base:1");
            let stream = store.ensure_stream(project_name, &"base".parse().unwrap(), &actor).await.unwrap();
            let spec = TagSpec::import(&host);
            let tag = store.set_tag(project_name, &"base".parse().unwrap(), &name, &spec, None, &actor).await;
            let reference = format!("{project_name}.example/base@sha256:i");
            let to = TagMove {
                tag: &name,
                kind: EventKind::Import,
                reference: Some(&reference),
                cause: None,
                build_id: None,
            };
            let tag = tag.unwrap().tag;
            store.put_incomplete(&stream, &image(), "x", Some((to, &tag)), &actor).await.unwrap();
        }
        let demo = store.stream("demo", "base").await.unwrap();
        let places = store.list_import_places(&demo.id, "sha256:i").await.unwrap();
        let projects: Vec<_> = places.iter().map(|place| place.project.as_str()).collect();
        assert_eq!(projects, ["demo"]);
        assert_eq!(store.list_import_places("", "sha256:i").await.unwrap().len(), 2, "the server itself knows all");
    }
}

#[tokio::test]
async fn one_at_a_time_checks_a_tag_and_its_trouble_is_told() {
    for store in each_store().await {
        project(&store, "demo").await;
        let (actor, name) = (Actor::system("test"), "latest".parse().unwrap());
        let spec = TagSpec::import("quay.io/org/base:1");
        let tag = store.set_tag("demo", &"base".parse().unwrap(), &name, &spec, None, &actor).await.unwrap().tag;
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
        assert_eq!(store.claim_import(&tag.id, "two", 60_000).await.unwrap(), None);
        store.release_import(&tag.id, "two").await.unwrap();
        assert_eq!(store.claim_import(&tag.id, "two", 60_000).await.unwrap(), None, "it is not theirs to give");
        store.release_import(&tag.id, store.owner()).await.unwrap();
        assert!(store.claim_import(&tag.id, "two", 60_000).await.unwrap().is_some());
        assert_eq!(store.claim_import("no such tag", "two", 60_000).await.unwrap(), None);

        let end = CheckEnd::Failed { reason: "timeout", message: "too slow" };
        store.record_check(&due, &end, None).await.unwrap();
        assert!(!store.is_any_import_failing().await.unwrap(), "who has lost the lease tells nothing");
        store.release_import(&tag.id, "two").await.unwrap();
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
        store.record_check(&due, &end, None).await.unwrap();
        assert!(store.is_any_import_failing().await.unwrap());
        let trouble = ImportTrouble { message: Some("too slow".to_owned()), last_ok_at: None };
        assert_eq!(store.find_import_trouble(&tag.stream_id, "latest").await.unwrap(), Some(trouble));
        assert_eq!(store.find_import_trouble(&tag.stream_id, "other").await.unwrap(), None);
        let long = "ü".repeat(100_000);
        let end = CheckEnd::Failed { reason: "other", message: &long };
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
        store.record_check(&due, &end, None).await.unwrap();
        let message = store.find_import(&tag.id).await.unwrap().unwrap().message.unwrap();
        assert!(message.chars().count() == 500 && message.ends_with("ü…"), "{message}");
    }
}
