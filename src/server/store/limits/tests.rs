use crate::model::{Actor, BeyondLimit, EventKind, ImageChild, NewImage, ProjectLimits, SourceKind, Stream};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{
    AskedImport, Error, ImageRepository, ImportTarget, Result, StreamFields, TagMove, TagSpec, WantedTag, WholeStream,
};

fn actor() -> Actor {
    Actor::person("ada")
}

fn digest(n: u8) -> String {
    format!("sha256:{n:064x}")
}

async fn push(store: &TestStore, stream: &Stream, n: u8, bytes: i64, tag: &str) -> Result<()> {
    let image = NewImage { digest: digest(n), manifest: "{}".to_owned(), size: bytes, ..NewImage::default() };
    let tag = tag.parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(stream, &image, Some(to), &actor()).await.map(drop)
}

async fn stream(store: &TestStore, name: &str) -> Stream {
    store.ensure_stream("demo", &name.parse().unwrap(), &actor()).await.unwrap()
}

async fn limit(store: &TestStore, limits: ProjectLimits) {
    store.set_project_limits("demo", &limits, &actor()).await.unwrap();
}

async fn pin(store: &TestStore, stream: &Stream, tag: &str, to: &str) -> Result<()> {
    let spec = TagSpec { source: Some((SourceKind::ImageStreamImage, to.to_owned())), ..TagSpec::default() };
    set(store, stream, tag, &spec).await
}

async fn set(store: &TestStore, stream: &Stream, tag: &str, spec: &TagSpec) -> Result<()> {
    let names = (stream.name.parse().unwrap(), tag.parse().unwrap());
    store.set_tag("demo", &names.0, &names.1, spec, None, &actor()).await.map(drop)
}

fn external() -> TagSpec {
    TagSpec::import("registry.example/x:1")
}

fn is_limit(result: &Result<()>, wanted: &BeyondLimit) -> bool {
    matches!(result, Err(Error::Limit(beyond)) if beyond == wanted)
}

#[tokio::test]
async fn section_3_8_a_stream_takes_no_more_images_than_it_may_and_keeps_what_it_has() {
    for store in each_store().await {
        project(&store, "demo").await;
        let (app, base) = (stream(&store, "app").await, stream(&store, "base").await);
        for (n, tag) in [(1, "a"), (2, "a"), (3, "b")] {
            push(&store, &app, n, 10, tag).await.unwrap();
        }
        push(&store, &base, 9, 10, "x").await.unwrap();
        limit(&store, ProjectLimits { stream_images: Some(2), ..ProjectLimits::default() }).await;
        let full = BeyondLimit::StreamImages { stream: "demo/app".to_owned(), most: 2 };

        // It has three already: they may be moved about, a fourth may not come in, by whatever way.
        push(&store, &app, 1, 10, "b").await.unwrap();
        pin(&store, &app, "c", &digest(2)).await.unwrap();
        assert!(is_limit(&push(&store, &app, 4, 10, "a").await, &full));
        assert!(is_limit(&push(&store, &app, 4, 10, "new").await, &full));
        assert!(is_limit(&pin(&store, &app, "c", &format!("base@{}", digest(9))).await, &full));
        assert_eq!(store.tag("demo", "app", "a").await.unwrap().digest, Some(digest(2)));
        assert!(store.find_tag("demo", "app", "new").await.unwrap().is_none(), "nothing of it stays");
        push(&store, &base, 4, 10, "x").await.unwrap();
        // A hold is no way around it.
        store.hold_tag("demo", "app", "a", None, &actor()).await.unwrap();
        assert!(is_limit(&push(&store, &app, 4, 10, "a").await, &full));
        store.resume_tag("demo", "app", "a", &actor()).await.unwrap();

        // A tag that is deleted takes what only it had along; going back is no growth.
        store.delete_tag("demo", "app", "b", &actor()).await.unwrap();
        store.delete_tag("demo", "app", "c", &actor()).await.unwrap();
        store.delete_tag("demo", "app", "a", &actor()).await.unwrap();
        push(&store, &app, 4, 10, "a").await.unwrap();
        push(&store, &app, 5, 10, "a").await.unwrap();
        assert!(is_limit(&push(&store, &app, 6, 10, "a").await, &full));
    }
}

#[tokio::test]
async fn section_12_3_an_image_that_is_too_large_becomes_no_tags() {
    for store in each_store().await {
        project(&store, "demo").await;
        let app = stream(&store, "app").await;
        push(&store, &app, 1, 2000, "large").await.unwrap();
        limit(&store, ProjectLimits { image_bytes: Some(1000), ..ProjectLimits::default() }).await;
        push(&store, &app, 2, 1000, "a").await.unwrap();
        let beyond = BeyondLimit::ImageBytes { project: "demo".to_owned(), bytes: 1001, most: 1000 };
        assert!(is_limit(&push(&store, &app, 3, 1001, "a").await, &beyond));
        assert_eq!(store.tag("demo", "app", "a").await.unwrap().digest, Some(digest(2)));
        // The same again is no move.
        push(&store, &app, 1, 2000, "large").await.unwrap();
    }
}

#[tokio::test]
async fn section_12_3_what_an_index_lists_is_held_to_the_limit_when_it_comes() {
    for store in each_store().await {
        project(&store, "demo").await;
        let app = stream(&store, "app").await;
        limit(&store, ProjectLimits { image_bytes: Some(1000), ..ProjectLimits::default() }).await;
        let child = |n| ImageChild {
            child_digest: digest(n),
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            size: 300,
            architecture: Some("amd64".to_owned()),
            os: Some("linux".to_owned()),
            variant: None,
        };
        let image = |n, size, children| NewImage {
            digest: digest(n),
            manifest: "{}".to_owned(),
            size,
            children,
            ..NewImage::default()
        };
        let index = image(1, 600, vec![child(2), child(3)]);
        // What is known of it are its manifests.
        store.put_incomplete(&app, &index, "registry.example/x", None, &actor()).await.unwrap();
        let bring = async |n, size| {
            let image = image(n, size, Vec::new());
            store.put_incomplete(&app, &image, "registry.example/x", None, &actor()).await.map(drop)
        };
        let beyond = BeyondLimit::ImageBytes { project: "demo".to_owned(), bytes: 1001, most: 1000 };
        assert!(is_limit(&bring(2, 1001).await, &beyond));
        assert!(store.find_manifest_by_digest(&app.id, &digest(2)).await.unwrap().is_none());
        assert!(store.find_image(&digest(2)).await.unwrap().is_none(), "nothing of it stays");
        bring(3, 1000).await.unwrap();
        limit(&store, ProjectLimits::default()).await;
        bring(2, 1001).await.unwrap();
    }
}

#[tokio::test]
async fn section_3_8_a_stream_gets_no_more_following_tags_than_it_may() {
    for store in each_store().await {
        project(&store, "demo").await;
        let app = stream(&store, "app").await;
        for tag in ["a", "b", "c"] {
            set(&store, &app, tag, &external()).await.unwrap();
        }
        limit(&store, ProjectLimits { stream_tags: Some(2), ..ProjectLimits::default() }).await;
        let full = BeyondLimit::StreamTags { stream: "demo/app".to_owned(), most: 2 };
        assert!(is_limit(&set(&store, &app, "d", &external()).await, &full));
        set(&store, &app, "a", &TagSpec::import("registry.example/y:2")).await.unwrap();
        push(&store, &app, 1, 10, "pushed").await.unwrap();

        let whole = |tags: &[&str]| {
            let wanted = |name: &&str| WantedTag { name: name.parse().unwrap(), spec: external(), again: false };
            let (fields, repository) = (StreamFields::default(), None::<ImageRepository>);
            WholeStream { fields, tags: tags.iter().map(wanted).collect(), repository }
        };
        let replace = async |tags: &[&str]| {
            let version = store.stream("demo", "app").await.unwrap().version;
            store.replace_whole_stream("demo", "app", &whole(tags), version, &actor()).await.map(drop)
        };
        // Three as before, though others; then two; and from there never three again.
        replace(&["a", "b", "d"]).await.unwrap();
        assert!(is_limit(&replace(&["a", "b", "c", "d"]).await, &full));
        replace(&["a", "d"]).await.unwrap();
        assert!(is_limit(&replace(&["a", "b", "d"]).await, &full));
        let made = async |tags: &[&str]| {
            let name = "other".parse().unwrap();
            store.create_whole_stream("demo", &name, &whole(tags), &actor()).await.map(drop)
        };
        assert!(matches!(made(&["a", "b", "c"]).await, Err(Error::Limit(_))));
        made(&["a", "b"]).await.unwrap();

        let asked = |name: &str| AskedImport { name: name.parse().unwrap(), spec: external(), seen: None };
        let name = "app".parse().unwrap();
        let target = ImportTarget { project: "demo", stream: &name, id: None, version: None };
        let import = async |tags: &[&str]| {
            let asked: Vec<_> = tags.iter().map(|tag| asked(tag)).collect();
            store.begin_imports(&target, &asked, &actor()).await.map(drop)
        };
        assert!(is_limit(&import(&["x", "y"]).await, &full));
        let wanted = WantedTag { name: "x".parse().unwrap(), spec: external(), again: false };
        let created = store.create_tag("demo", &name, &wanted, None, &actor()).await.map(drop);
        assert!(is_limit(&created, &full));
    }
}

#[tokio::test]
async fn who_changed_limits_is_in_the_ledger() {
    for store in each_store().await {
        project(&store, "demo").await;
        let some = ProjectLimits { stream_images: Some(5), image_bytes: Some(1000), stream_tags: None };
        limit(&store, some).await;
        limit(&store, some).await;
        assert_eq!(store.project_limits("demo").await.unwrap(), some);
        limit(&store, ProjectLimits::default()).await;
        let rows = store.list_ledger(Some("demo"), None, 10).await.unwrap();
        let rows: Vec<_> = rows.into_iter().map(|row| (row.action, row.from_value, row.to_value)).collect();
        let words = || Some("imageBytes 1000, streamImages 5".to_owned());
        let action = || "project.limits".to_owned();
        assert_eq!(rows, [(action(), words(), None), (action(), None, words())]);
        let less = ProjectLimits { stream_tags: Some(-1), ..ProjectLimits::default() };
        assert!(matches!(store.set_project_limits("demo", &less, &actor()).await, Err(Error::Invalid { .. })));
        assert!(matches!(store.project_limits("none").await, Err(Error::NotFound { .. })));
    }
}
