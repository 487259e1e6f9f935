//! Streams written as a whole: in which order, and that what is so already stays as it is.

use super::*;
use crate::model::now;
use crate::server::store::testing::{TestStore, each_store, project};

fn ada() -> Actor {
    Actor::person("ada")
}

fn tag(name: &str, spec: TagSpec) -> WantedTag {
    WantedTag { name: name.parse().unwrap(), spec, again: false }
}

fn follows(tag: &str) -> TagSpec {
    TagSpec { source: Some((SourceKind::ImageStreamTag, tag.to_owned())), ..TagSpec::default() }
}

#[test]
fn tags_come_behind_what_they_follow_however_long_the_way_is() {
    const COUNT: usize = 20_000;
    // The last one named is the first on the way.
    let tags: Vec<WantedTag> = (0..COUNT).map(|n| tag(&format!("t{n}"), TagSpec::default())).collect();
    let after = (0..COUNT - 1).map(|n| (tags[n].name.as_str(), format!("t{}", n + 1))).collect();
    let ordered = sources_first(tags.iter().collect(), &after);
    assert!(ordered.iter().rev().eq(&tags.iter().collect::<Vec<_>>()));
}

#[test]
fn tags_in_a_circle_are_last_and_the_others_as_they_were_named() {
    let tags = ["a", "b", "c", "d", "e", "f"].map(|name| tag(name, TagSpec::default()));
    let after = HashMap::from([("a", "f"), ("b", "c"), ("c", "b"), ("e", "f")].map(|(tag, of)| (tag, of.to_owned())));
    let ordered = sources_first(tags.iter().collect(), &after);
    let names: Vec<&str> = ordered.iter().map(|tag| tag.name.as_str()).collect();
    assert_eq!(names, ["d", "f", "a", "e", "b", "c"]);
}

async fn state(store: &TestStore) -> (i64, i64, i64) {
    let stream = store.stream("demo", "app").await.unwrap();
    (stream.version, stream.generation, store.last_sequence().await.unwrap())
}

#[tokio::test]
async fn what_is_so_already_is_not_written() {
    for store in each_store().await {
        project(&store, "demo").await;
        let import = TagSpec { interval_ms: Some(3_600_000), ..TagSpec::import("registry.example/x:1") };
        let tags = vec![tag("a", import.clone()), tag("b", follows("a")), tag("c", TagSpec::default())];
        let labels = r#"{"a":"1","b":"2"}"#.to_owned();
        let fields = StreamFields { labels, annotations: "{}".to_owned(), ..StreamFields::default() };
        let whole = WholeStream { fields, tags, repository: None };
        let name = "app".parse().unwrap();
        store.create_whole_stream("demo", &name, &whole, &ada()).await.unwrap();
        let before = state(&store).await;
        store.replace_whole_stream("demo", "app", &whole, before.0, &ada()).await.unwrap();
        for one in &whole.tags {
            let set = store.change_tag("demo", &name, one, Some(before.0), &ada()).await.unwrap();
            assert!(!set.created);
        }
        assert_eq!(state(&store).await, before);
        let mut otherwise = whole.clone();
        otherwise.fields.labels = r#"{"b":"2","a":"1"}"#.to_owned();
        store.replace_whole_stream("demo", "app", &otherwise, before.0, &ada()).await.unwrap();
        assert_eq!(state(&store).await, before, "the same in another order");
        // Who wants the image again, or anything else, is heard.
        store.change_tag("demo", &name, &WantedTag { again: true, ..tag("a", import) }, None, &ada()).await.unwrap();
        let again = state(&store).await;
        assert_eq!((again.1, again.2), (before.1 + 1, before.2 + 1));
        let stale = store.change_tag("demo", &name, &whole.tags[2], Some(before.0), &ada()).await;
        assert!(matches!(stale, Err(Error::Conflict(_))), "{stale:?}");
    }
}

#[tokio::test]
async fn without_a_schedule_a_change_that_fetches_nothing_plans_no_check() {
    for store in each_store().await {
        project(&store, "demo").await;
        let (name, import) = ("app".parse().unwrap(), TagSpec::import("registry.example/x:1"));
        for schedules in [false, true] {
            let store = Store::clone(&store).scheduling(schedules);
            let set = store.set_tag("demo", &name, &"a".parse().unwrap(), &import, None, &ada()).await.unwrap();
            let due = store.claim_import(&set.tag.id, store.owner(), 60_000).await.unwrap().unwrap();
            let end = crate::server::store::CheckEnd::Fetched { digest: "sha256:a" };
            store.record_check(&due, &end, None).await.unwrap();
            let label = format!(r#"{{"schedules":"{schedules}"}}"#);
            let other = TagSpec { annotations: label, ..import.clone() };
            store.change_tag("demo", &name, &tag("a", other), None, &ada()).await.unwrap();
            let planned = store.find_import(&set.tag.id).await.unwrap().unwrap().next_at;
            assert_eq!(planned.is_some_and(|at| at > now()), schedules, "{planned:?}");
        }
    }
}
