//! Each way by which a base is known.

use super::*;
use crate::model::{Actor, BuildConfigSpec, EventKind, KnownInputs, NewConfigInput, NewImage, Role, Source};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{BuildRequest, ConfigFields, TagMove};

fn digest(n: u8) -> String {
    format!("sha256:{n:064}")
}

async fn push(store: &TestStore, project: &str, title: &str, n: u8, layers: &[&str], annotations: &str) -> Stream {
    let actor = Actor::person("ada");
    let (stream, tag) = title.split_once(':').unwrap();
    let stream = store.ensure_stream(project, &stream.parse().unwrap(), &actor).await.unwrap();
    let tag = tag.parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    let config = serde_json::json!({"rootfs": {"diff_ids": layers}}).to_string();
    let image = NewImage {
        digest: digest(n),
        manifest: "{}".to_owned(),
        config: Some(config),
        annotations: annotations.to_owned(),
        ..NewImage::default()
    };
    store.put_manifest(&stream, &image, [to], &actor).await.unwrap();
    stream
}

async fn base(store: &TestStore, user: Option<&str>, stream: &Stream, n: u8) -> Option<Base> {
    let image = store.find_image(&digest(n)).await.unwrap().unwrap();
    let scope = Scope { user_id: user, ..Scope::default() };
    store.find_base(scope, &["weir.test".to_owned()], stream, &image).await.unwrap()
}

fn tag(project: &str, stream: &str, tag: &str) -> Option<StreamTag> {
    Some(StreamTag { project: project.into(), stream: stream.into(), tag: tag.into() })
}

#[tokio::test]
async fn layers_show_the_base_with_the_most_of_them() {
    for store in each_store().await {
        for name in ["demo", "other"] {
            project(&store, name).await;
        }
        push(&store, "demo", "alpine:3", 1, &["sha256:a"], "{}").await;
        push(&store, "demo", "python:3", 2, &["sha256:a", "sha256:b"], "{}").await;
        let app = push(&store, "demo", "app:1", 3, &["sha256:a", "sha256:b", "sha256:c"], "{}").await;
        push(&store, "demo", "alike:1", 4, &["sha256:b", "sha256:c"], "{}").await;
        let found = base(&store, None, &app, 3).await.unwrap();
        assert_eq!(
            (found.known, found.digest, found.tag),
            (BaseKnown::Layers, Some(digest(2)), tag("demo", "python", "3"))
        );
        assert_eq!((found.name.as_deref(), found.behind), (Some("demo/python:3"), Some(0)));
        push(&store, "demo", "python:3", 5, &["sha256:a", "sha256:z"], "{}").await;
        assert_eq!(base(&store, None, &app, 3).await.unwrap().behind, Some(1), "the base has moved on");
        assert_eq!(base(&store, None, &app, 1).await, None, "its only layer is its own");

        let user = store.create_user("eve", "", None, false, &Actor::person("ada")).await.unwrap();
        store.grant_role("other", "eve", Role::Viewer, &Actor::person("ada")).await.unwrap();
        let elsewhere = push(&store, "other", "app:1", 3, &[], "{}").await;
        assert_eq!(base(&store, Some(&user.id), &elsewhere, 3).await, None, "what one may not see is no answer");
    }
}

#[tokio::test]
async fn a_build_knows_what_it_took_in() {
    for store in each_store().await {
        project(&store, "demo").await;
        let actor = Actor::person("ada");
        push(&store, "demo", "tools:latest", 1, &[], "{}").await;
        push(&store, "demo", "python:latest", 2, &[], "{}").await;
        let input = |stream: &str, stage: &str| NewConfigInput {
            kind: InputKind::From,
            stage: stage.to_owned(),
            reference: stream.to_owned(),
            stands_for: tag("demo", stream, "latest"),
            short_name: true,
            declared: false,
        };
        let inputs = KnownInputs::All(vec![input("tools", "0"), input("python", "1")]);
        let spec = BuildConfigSpec::new(Source::default(), "app".parse().unwrap(), "latest".parse().unwrap());
        let fields = ConfigFields::new(spec, inputs);
        store.create_config("demo", &"app".parse().unwrap(), &fields, &actor).await.unwrap();
        store.start_build("demo", "app", BuildRequest::manual(actor.clone())).await.unwrap();
        let build = store.claim_build("worker", 60_000).await.unwrap().unwrap();
        let app = store.stream("demo", "app").await.unwrap();
        let latest = "latest".parse().unwrap();
        let to =
            TagMove { tag: &latest, kind: EventKind::Build, reference: None, cause: None, build_id: Some(&build.id) };
        let image = NewImage { digest: digest(3), manifest: "{}".to_owned(), ..NewImage::default() };
        store.put_manifest(&app, &image, [to], &actor).await.unwrap();
        let found = base(&store, None, &app, 3).await.unwrap();
        assert_eq!((found.known, found.digest), (BaseKnown::Provenance, Some(digest(2))), "of the last stage");
        assert_eq!((found.tag, found.behind), (tag("demo", "python", "latest"), Some(0)));
        push(&store, "demo", "python:latest", 4, &[], "{}").await;
        push(&store, "demo", "python:latest", 5, &[], "{}").await;
        assert_eq!(base(&store, None, &app, 3).await.unwrap().behind, Some(2));
    }
}

#[tokio::test]
async fn annotations_name_the_base() {
    for store in each_store().await {
        project(&store, "demo").await;
        push(&store, "demo", "python:3", 1, &["sha256:a"], "{}").await;
        let named = |name: &str, n: u8| format!(r#"{{"{BASE_NAME}": "{name}", "{BASE_DIGEST}": "{}"}}"#, digest(n));
        let own = named("weir.test/demo/python:3", 1);
        let app = push(&store, "demo", "app:1", 2, &["sha256:a", "sha256:b"], &own).await;
        push(&store, "demo", "python:3", 9, &["sha256:y"], "{}").await;
        let found = base(&store, None, &app, 2).await.unwrap();
        assert_eq!((found.known, found.digest), (BaseKnown::Annotation, Some(digest(1))));
        assert_eq!((found.tag, found.behind), (tag("demo", "python", "3"), Some(1)));
        push(&store, "demo", "app:2", 3, &["sha256:a", "sha256:c"], &named("docker.io/library/python:3", 7)).await;
        let found = base(&store, None, &app, 3).await.unwrap();
        assert_eq!(found.name.as_deref(), Some("docker.io/library/python:3"));
        assert_eq!((found.tag, found.behind), (None, None), "an image elsewhere");
    }
}
