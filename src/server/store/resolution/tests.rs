//! Section 7 of the semantics: the rules that follow from what is stored.

use super::*;
use crate::model::{Actor, EventKind, NewImage, SourceKind};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{CheckEnd, StreamFields, TagMove, TagSpec};

const HOST: &str = "weir.test:5000";

fn asker(lookup: Lookup) -> Asker<'static> {
    Asker { host: HOST, lookup, any_short_name: false }
}

fn digest(n: u8) -> String {
    format!("sha256:{n:064}")
}

/// Stream `app` in project `demo`, whose short name means it as `local` says.
async fn stream(store: &TestStore, local_lookup: bool) -> Stream {
    project(store, "demo").await;
    let fields = StreamFields { local_lookup, ..StreamFields::default() };
    store.create_stream("demo", &"app".parse().unwrap(), &fields, &Actor::person("ada")).await.unwrap()
}

/// Moves a tag of the stream: pushed here, or imported from `reference`.
async fn moved(store: &TestStore, stream: &Stream, tag: &str, n: u8, reference: Option<&str>) {
    let tag = tag.parse().unwrap();
    let kind = if reference.is_some() { EventKind::Import } else { EventKind::Push };
    let to = TagMove { tag: &tag, kind, reference, cause: None, build_id: None };
    let image = NewImage { digest: digest(n), manifest: "{}".to_owned(), ..NewImage::default() };
    store.put_manifest(stream, &image, [to], &Actor::person("ada")).await.unwrap();
}

async fn set(store: &TestStore, tag: &str, spec: &TagSpec) {
    let (stream, tag) = ("app".parse().unwrap(), tag.parse().unwrap());
    store.set_tag("demo", &stream, &tag, spec, None, &Actor::person("ada")).await.unwrap();
}

async fn resolved(store: &TestStore, reference: &str, asker: &Asker<'_>) -> Result<Resolution> {
    let named = Named::read(reference, "demo", &[HOST.to_owned()]).unwrap();
    store.resolve(&named, asker).await
}

fn words(resolution: &Resolution) -> Vec<String> {
    resolution.resolved.why.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn section_7_1_a_flip_of_the_policy_counts_at_once_for_what_is_there() {
    for store in each_store().await {
        let stream = stream(&store, true).await;
        let source = "docker.io/library/app:1";
        set(&store, "1", &TagSpec::import(source)).await;
        let external = format!("docker.io/library/app@{}", digest(1));
        moved(&store, &stream, "1", 1, Some(&external)).await;
        let here = format!("{HOST}/demo/app@{}", digest(1));
        for (policy, expected, why) in [
            ("Source", &external, "its reference policy is Source: pulled from where it was imported from"),
            ("Local", &here, "its reference policy is Local: pulled from this registry"),
            ("Source", &external, "its reference policy is Source: pulled from where it was imported from"),
        ] {
            let spec = TagSpec { reference_policy: policy.to_owned(), ..TagSpec::import(source) };
            set(&store, "1", &spec).await;
            let history = store.list_history(&store.tag("demo", "app", "1").await.unwrap().id, None, 10).await.unwrap();
            assert_eq!(history.len(), 1, "no move comes of it");
            for reference in ["app:1".to_owned(), format!("{HOST}/demo/app:1"), format!("app@{}", digest(1))] {
                let found = resolved(&store, &reference, &asker(Lookup::Image)).await.unwrap();
                assert_eq!(&found.resolved.pull_spec, expected, "{reference} {policy}");
                assert_eq!(found.resolved.digest, Some(digest(1)));
                assert_eq!(found.resolved.here.as_ref(), Some(&here));
                assert!(words(&found).iter().any(|line| line == why), "{:?}", words(&found));
            }
        }
    }
}

#[tokio::test]
async fn section_7_1_what_was_pushed_is_pulled_here_and_a_bare_reference_as_typed() {
    for store in each_store().await {
        let stream = stream(&store, true).await;
        moved(&store, &stream, "latest", 1, None).await;
        let found = resolved(&store, "app", &asker(Lookup::Image)).await.unwrap();
        assert_eq!(found.resolved.pull_spec, format!("{HOST}/demo/app@{}", digest(1)));
        let expected = [
            "app is a short name for the stream of demo".to_owned(),
            format!("app:latest points to {}", digest(1)),
            "since its move #1, push by ada".to_owned(),
            "the image came about here: pulled from this registry".to_owned(),
        ];
        assert_eq!(words(&found), expected);
        let bare = TagSpec { reference_only: true, scheduled: false, ..TagSpec::import("docker.io/x:1") };
        set(&store, "bare", &bare).await;
        for lookup in [Lookup::Image, Lookup::Recent, Lookup::Newest] {
            let found = resolved(&store, "app:bare", &asker(lookup)).await.unwrap().resolved;
            assert_eq!((found.pull_spec.as_str(), found.digest), ("docker.io/x:1", None));
        }
    }
}

#[tokio::test]
async fn section_7_2_an_import_that_is_pending_or_failed_leaves_the_last_known_good() {
    for store in each_store().await {
        let stream = stream(&store, true).await;
        let typed = "docker.io/library/app:1";
        set(&store, "1", &TagSpec::import(typed)).await;
        let both = async || {
            let recent = resolved(&store, "app:1", &asker(Lookup::Recent)).await.unwrap().resolved;
            let newest = resolved(&store, "app:1", &asker(Lookup::Newest)).await.map(|found| found.resolved.pull_spec);
            ((recent.pull_spec, recent.newer, recent.has_status), newest.map_err(|error| error.to_string()))
        };
        let typed = || typed.to_owned();
        assert_eq!(both().await, ((typed(), true, false), Ok(typed())), "never imported");
        let nothing = resolved(&store, "app:1", &asker(Lookup::Image)).await.unwrap_err().to_string();
        assert_eq!(nothing, "app:1 points to no image yet; push or import one");
        let at_digest = format!("docker.io/library/app@{}", digest(1));
        moved(&store, &stream, "1", 1, Some(&at_digest)).await;
        assert_eq!(both().await, ((at_digest.clone(), false, true), Ok(at_digest.clone())), "imported");

        let spec = TagSpec::import("docker.io/library/app:2");
        set(&store, "1", &spec).await;
        let two = || Ok("docker.io/library/app:2".to_owned());
        assert_eq!(both().await, ((at_digest.clone(), true, true), two()), "another is wanted");
        let tag = store.tag("demo", "app", "1").await.unwrap();
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
        let failed = CheckEnd::Failed { reason: "NotFound", message: "not there" };
        store.record_check(&due, &failed, None).await.unwrap();
        assert_eq!(both().await, ((at_digest.clone(), true, true), two()), "it failed");
        let local = TagSpec { reference_policy: "Local".to_owned(), ..spec };
        set(&store, "1", &local).await;
        let here = format!("{HOST}/demo/app@{}", digest(1));
        let not_yet = || Err("the pull spec cannot be determined yet".to_owned());
        assert_eq!(both().await, ((here, true, true), not_yet()), "by policy Local it cannot be known");

        let guess = format!("{HOST}/demo/app:none");
        let found = resolved(&store, "app:none", &asker(Lookup::Recent)).await.unwrap().resolved;
        assert_eq!((found.pull_spec, found.is_tag_empty), (guess, true));
        let external = TagSpec { source: Some((SourceKind::ImageStreamTag, "none2".into())), ..TagSpec::default() };
        set(&store, "follows", &external).await;
        let found = resolved(&store, "app:follows", &asker(Lookup::Newest)).await.unwrap().resolved;
        assert_eq!((found.is_tag_empty, found.newer), (true, false), "what it follows has no image");
    }
}

#[tokio::test]
async fn section_7_3_a_short_name_means_a_stream_when_its_lookup_is_local() {
    for store in each_store().await {
        let stream = stream(&store, false).await;
        moved(&store, &stream, "latest", 1, None).await;
        let (pod, dockerfile) = (asker(Lookup::Recent), Asker { any_short_name: true, ..asker(Lookup::Recent) });
        let untouched = resolved(&store, "app", &pod).await.unwrap();
        assert_eq!((untouched.tag.as_ref(), untouched.resolved.digest.as_ref()), (None, None));
        assert_eq!(untouched.resolved.pull_spec, "docker.io/library/app:latest", "Docker's rules apply");
        assert_eq!(words(&untouched)[1], "it is no stream of this server: pulled as written");
        let bases = resolved(&store, "app", &dockerfile).await.unwrap();
        assert_eq!(bases.resolved.digest, Some(digest(1)), "a Dockerfile's bases are found anyway");
        let whole = resolved(&store, &format!("{HOST}/demo/app"), &pod).await.unwrap();
        assert_eq!(whole.resolved.digest, Some(digest(1)), "what names the registry needs no lookup");

        let fields = StreamFields { local_lookup: true, ..StreamFields::default() };
        store.update_stream("demo", "app", &fields, None, &Actor::person("ada")).await.unwrap();
        let pinned = format!("{HOST}/demo/app@{}", digest(1));
        for reference in ["app", "app:latest", &format!("app@{}", digest(1))] {
            assert_eq!(resolved(&store, reference, &pod).await.unwrap().resolved.pull_spec, pinned, "{reference}");
        }
        let soon = resolved(&store, "app:soon", &pod).await.unwrap().resolved;
        assert_eq!((soon.pull_spec, soon.is_tag_empty), (format!("{HOST}/demo/app:soon"), true));
        let other = resolved(&store, "other:1", &pod).await.unwrap();
        assert_eq!(other.resolved.pull_spec, "docker.io/library/other:1");
        assert_eq!(words(&other)[0], "demo has no stream other");
        for (reference, kind) in
            [(format!("{HOST}/demo/none"), "imagestreams"), (format!("app@{}", digest(9)), "imagestreamimages")]
        {
            let missing = resolved(&store, &reference, &pod).await;
            assert!(matches!(&missing, Err(Error::NotFound { kind: found, .. }) if *found == kind), "{missing:?}");
        }
    }
}
