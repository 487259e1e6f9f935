//! The repository of a stream's spec, written with the stream and beside the rule's own verbs, on both databases.

use super::*;
use crate::model::{AllowedRegistries, PatternKind, SourceKind};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{ListedPage, Store, StreamFields, TagSpec, WantedTag, WholeStream};

const RULE: &str = ImportRule::OF_STREAM;

fn ada() -> Actor {
    Actor::person("ada")
}

/// A stream that takes in this repository, without a word of its tags.
fn whole(repository: Option<&str>) -> WholeStream {
    let repository = repository.map(|name| ImageRepository { name: name.to_owned(), insecure: false });
    WholeStream { repository, ..WholeStream::default() }
}

fn with_tag(wanted: WholeStream, name: &str, kind: SourceKind, source: &str) -> WholeStream {
    let spec = TagSpec { source: Some((kind, source.to_owned())), ..TagSpec::default() };
    WholeStream { tags: vec![WantedTag { name: name.parse().unwrap(), spec, again: false }], ..wanted }
}

async fn create(store: &Store, wanted: &WholeStream) -> Result<Stream> {
    store.create_whole_stream("demo", &"app".parse().unwrap(), wanted, &ada()).await
}

/// A stream `app` that takes in this repository.
async fn start(store: &TestStore, repository: &str) -> Stream {
    project(store, "demo").await;
    create(store, &whole(Some(repository))).await.unwrap()
}

async fn stream(store: &Store) -> Stream {
    store.stream("demo", "app").await.unwrap()
}

/// Writes the stream as whoever has just read it.
async fn replace(store: &Store, wanted: &WholeStream) -> Result<Stream> {
    store.replace_whole_stream("demo", "app", wanted, stream(store).await.version, &ada()).await
}

async fn rule(store: &Store) -> Option<ImportRule> {
    store.find_import_rule("demo", "app", RULE).await.unwrap()
}

/// What the ledger tells of the rule, oldest first.
async fn actions(store: &Store) -> Vec<String> {
    let rows = store.list_ledger(Some("demo"), None, 100).await.unwrap().into_iter().rev();
    rows.filter(|row| row.object == "app import rule docker-image-repository").map(|row| row.action).collect()
}

#[tokio::test]
async fn a_stream_is_made_with_its_rule_or_not_at_all() {
    for store in each_store().await {
        project(&store, "demo").await;
        let bad = with_tag(whole(Some("quay.io/org/app")), "t", SourceKind::ImageStreamTag, "none:1");
        create(&store, &bad).await.expect_err("its tag follows a stream that is not there");
        assert_eq!(store.find_stream("demo", "app").await.unwrap(), None);
        assert_eq!(actions(&store).await, [""; 0]);

        let good = with_tag(whole(Some("quay.io/org/app")), "t", SourceKind::DockerImage, "quay.io/org/other:1");
        let made = create(&store, &good).await.unwrap();
        assert_eq!((made.generation, made.image_repository.as_deref()), (1, Some("quay.io/org/app")));
        let rule = rule(&store).await.expect("the rule");
        assert_eq!(rule.spec, ImportRuleSpec::all_of("quay.io/org/app"));
        assert_eq!((rule.created_by.as_str(), rule.paused_at), ("ada", None));
        assert!(made.version >= rule.version, "the stream's version covers its rule");
        assert_eq!(actions(&store).await, ["import-rule.create"]);
        assert_eq!(store.claim_import_rules(60_000, 4).await.unwrap().len(), 1, "it is listed at once");

        let alone = store.create_whole_stream("demo", &"alone".parse().unwrap(), &whole(None), &ada()).await.unwrap();
        assert_eq!(alone.image_repository, None);
        assert_eq!(store.list_import_rules(&alone.id).await.unwrap(), []);
    }
}

#[tokio::test]
async fn the_same_repository_leaves_the_rule_as_it_is_and_another_one_only_changes_that() {
    for store in each_store().await {
        let made = start(&store, "quay.io/org/app").await;
        let own = ImportRuleSpec {
            pattern_kind: PatternKind::Glob,
            pattern: "3.*".to_owned(),
            insecure: 1,
            interval_ms: Some(60_000),
            ..ImportRuleSpec::all_of("quay.io/org/app")
        };
        let changed = store.update_import_rule("demo", "app", RULE, &own, true, None, &ada()).await.unwrap();
        assert_eq!(stream(&store).await, made, "the stream's spec says nothing of that");

        let labels = StreamFields { labels: r#"{"a":"b"}"#.to_owned(), ..StreamFields::default() };
        let labelled = WholeStream { fields: labels, ..whole(Some("quay.io/org/app")) };
        let same = replace(&store, &labelled).await.unwrap();
        assert_eq!((same.generation, rule(&store).await), (1, Some(changed)));

        let looked_up = StreamFields { local_lookup: true, ..StreamFields::default() };
        let wanted = with_tag(whole(Some("quay.io/org/other")), "t", SourceKind::DockerImage, "quay.io/org/tag:1");
        let other = replace(&store, &WholeStream { fields: looked_up, ..wanted }).await.unwrap();
        assert_eq!((other.generation, other.image_repository.as_deref()), (2, Some("quay.io/org/other")));
        assert_eq!(store.tag("demo", "app", "t").await.unwrap().generation, 2, "all of it is one generation");
        let moved = rule(&store).await.expect("the rule");
        let expected = ImportRuleSpec { repository: "quay.io/org/other".to_owned(), insecure: 0, ..own };
        assert_eq!((moved.spec, moved.paused_at.is_some()), (expected, true));
        assert!(moved.version > same.version && other.version >= moved.version);

        let none = replace(&store, &whole(None)).await.unwrap();
        assert_eq!((none.generation, none.image_repository, rule(&store).await), (3, None, None));
        let told = ["import-rule.create", "import-rule.pause", "import-rule.update", "import-rule.delete"];
        assert_eq!(actions(&store).await, told);
    }
}

#[tokio::test]
async fn a_change_of_the_repository_alone_is_a_new_version_and_generation() {
    for store in each_store().await {
        let mut before = start(&store, "quay.io/org/app").await;
        for repository in [Some("quay.io/org/other"), None, Some("quay.io/org/app")] {
            let after = replace(&store, &whole(repository)).await.unwrap();
            assert!(after.version > before.version, "{repository:?}");
            assert_eq!(after.generation, before.generation + 1, "{repository:?}");
            let stale = store.replace_whole_stream("demo", "app", &whole(None), before.version, &ada()).await;
            assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
            assert_eq!(stream(&store).await, after, "nothing changed");
            before = after;
        }
        assert_eq!(replace(&store, &whole(Some("quay.io/org/app"))).await.unwrap(), before);
    }
}

#[tokio::test]
async fn what_is_refused_changes_nothing_of_the_rule() {
    for store in each_store().await {
        start(&store, "quay.io/org/app").await;
        let before = (stream(&store).await, rule(&store).await, actions(&store).await);
        for repository in [Some("quay.io/org/other"), None] {
            let bad = with_tag(whole(repository), "t", SourceKind::ImageStreamTag, "none:1");
            replace(&store, &bad).await.expect_err("its tag follows a stream that is not there");
            assert_eq!((stream(&store).await, rule(&store).await, actions(&store).await), before);
        }
    }
}

/// Lets the rule make these tags.
async fn carry_out(store: &Store, tags: &[String]) {
    let rule = store.claim_import_rules(60_000, 4).await.unwrap().pop().expect("it is due");
    let page = ListedPage { tags, told: tags.len() as i64, next: None, again_at: i64::MAX };
    let listed = store.keep_listed_page(&rule, &page, 60_000).await.unwrap().expect("it is ours");
    assert_eq!(store.take_rule_tags(&listed, tags, 60_000).await.unwrap(), Some(tags.len()));
    store.release_import_rule(&listed).await.unwrap();
}

#[tokio::test]
async fn tags_that_came_with_the_repository_need_not_be_named() {
    for store in each_store().await {
        start(&store, "quay.io/org/app").await;
        carry_out(&store, &["1", "2", "3"].map(str::to_owned)).await;
        let set = async |tag: &str, source: &str| {
            let (spec, name) = (TagSpec::import(source), tag.parse().unwrap());
            store.set_tag("demo", &"app".parse().unwrap(), &name, &spec, None, &ada()).await.unwrap();
        };
        set("2", "quay.io/org/elsewhere:2").await;
        set("3", "quay.io/org/app:3").await;
        set("own", "quay.io/org/own:1").await;
        let followed = async || {
            let mut followed = Vec::new();
            for tag in ["1", "2", "3", "own"] {
                let tag = store.tag("demo", "app", tag).await.unwrap();
                followed.extend(Some(tag.name).filter(|_| tag.has_spec == 1));
            }
            followed
        };
        assert_eq!(followed().await, ["1", "2", "3", "own"]);
        let kept = replace(&store, &whole(Some("quay.io/org/app"))).await.unwrap();
        assert_eq!(followed().await, ["1", "3"], "what somebody made follow something else is named or goes");
        assert_eq!(replace(&store, &whole(Some("quay.io/org/app"))).await.unwrap(), kept, "and then nothing is new");

        replace(&store, &whole(Some("quay.io/org/other"))).await.unwrap();
        assert_eq!(followed().await, ["1", "3"]);
        // Of another repository by now, the one that was set by hand is that person's.
        replace(&store, &whole(None)).await.unwrap();
        assert_eq!(followed().await, ["1"], "tags stay when their rule goes");
        assert_eq!(store.tag("demo", "app", "1").await.unwrap().source.as_deref(), Some("quay.io/org/app:1"));
        replace(&store, &whole(None)).await.unwrap();
        assert_eq!(followed().await, [""; 0], "and are tags like any other then");
    }
}

#[tokio::test]
async fn the_rules_own_verbs_move_the_stream_where_its_spec_changes() {
    for store in each_store().await {
        project(&store, "demo").await;
        let before = create(&store, &whole(None)).await.unwrap();
        let make = async |name: Option<&str>, spec: &ImportRuleSpec| {
            let name = name.map(|name| name.parse().unwrap());
            store.create_import_rule("demo", "app", name.as_ref(), spec, false, &ada()).await.unwrap()
        };
        let glob = ImportRuleSpec::sample("quay.io/org/app", PatternKind::Glob, "docker-image-repository");
        assert_eq!(make(None, &glob).await.name, "docker-image-repository-2", "that name is not given by itself");
        assert_eq!(stream(&store).await, before, "other rules are no part of the spec");

        let made = make(Some(RULE), &ImportRuleSpec::all_of("quay.io/org/app")).await;
        let named = stream(&store).await;
        assert_eq!((named.version, named.generation), (made.version, before.generation + 1));
        assert_eq!(named.image_repository.as_deref(), Some("quay.io/org/app"));
        let other = ImportRuleSpec::all_of("quay.io/org/other");
        let changed = store.update_import_rule("demo", "app", RULE, &other, false, None, &ada()).await.unwrap();
        let moved = stream(&store).await;
        assert_eq!((moved.version, moved.generation), (changed.version, named.generation + 1));
        assert_eq!(moved.image_repository.as_deref(), Some("quay.io/org/other"));
        store.delete_import_rule("demo", "app", RULE, &ada()).await.unwrap();
        let gone = stream(&store).await;
        assert_eq!((gone.image_repository, gone.generation), (None, moved.generation + 1));
        assert!(gone.version > moved.version);
    }
}

#[tokio::test]
async fn what_cannot_be_is_told_at_the_field_of_the_spec() {
    for store in each_store().await {
        project(&store, "demo").await;
        let strict = Store::clone(&store).allowing("docker.io".parse::<AllowedRegistries>().unwrap());
        let quay = whole(Some("quay.io/org/app"));
        let refused = create(&strict, &quay).await;
        assert!(matches!(&refused, Err(Error::Forbidden { field, .. }) if field == FIELD), "{refused:?}");
        assert_eq!(strict.find_stream("demo", "app").await.unwrap(), None);
        create(&strict, &whole(Some("org/app"))).await.expect("allowed");
        let refused = replace(&strict, &quay).await;
        assert!(matches!(&refused, Err(Error::Forbidden { field, .. }) if field == FIELD), "{refused:?}");
        replace(&store, &quay).await.unwrap();
        replace(&strict, &quay).await.expect("what was allowed once stays");

        for name in ["quay.io", "quay.io/Org/app", "quay.io/org/app:1"] {
            let refused = replace(&store, &whole(Some(name))).await;
            assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == FIELD), "{name}: {refused:?}");
        }
        replace(&store, &whole(None)).await.unwrap();
        for number in 0..20 {
            let name = format!("r{number}").parse().unwrap();
            let spec = ImportRuleSpec::all_of("quay.io/org/app");
            store.create_import_rule("demo", "app", Some(&name), &spec, false, &ada()).await.unwrap();
        }
        match replace(&store, &quay).await {
            Err(Error::Invalid { field, message }) => {
                assert!(field == FIELD && message.contains("at most 20"), "{field}: {message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stream(&store).await.image_repository, None);
    }
}
