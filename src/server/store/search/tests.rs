//! What is found, by whom, page by page, and at what cost.

use std::collections::BTreeSet;

use super::*;
use crate::model::{Actor, EventKind, NewImage, Stream};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{Backend, FillPlace, StreamFields, TagMove, TagSpec};

fn everywhere() -> Scope<'static> {
    Scope::default()
}

fn actor() -> Actor {
    Actor::person("ada")
}

async fn stream(store: &TestStore, project: &str, name: &str, description: &str, labels: &str) -> Stream {
    let fields =
        StreamFields { description: description.to_owned(), labels: labels.to_owned(), ..StreamFields::default() };
    store.create_stream(project, &name.parse().unwrap(), &fields, &actor()).await.unwrap()
}

fn digest(n: u32) -> String {
    format!("sha256:{n:08x}{}", "0".repeat(56))
}

async fn push(store: &TestStore, stream: &Stream, tag: &str, n: u32, config: &str, annotations: &str) {
    let tag = tag.parse().unwrap();
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    let image = NewImage {
        digest: digest(n),
        manifest: "{}".to_owned(),
        config: Some(config.to_owned()),
        annotations: annotations.to_owned(),
        ..NewImage::default()
    };
    store.put_manifest(stream, &image, [to], &actor()).await.unwrap();
}

/// `kind project/name` of all that is found, kind by kind.
async fn all(store: &TestStore, scope: Scope<'_>, text: &str) -> Vec<String> {
    let query = SearchQuery::parse(text).unwrap();
    let mut found = Vec::new();
    for kind in SEARCHED_KINDS {
        let some = store.search(scope, &query, kind, None, 100).await.unwrap();
        found.extend(some.into_iter().map(|found| format!("{kind} {}/{}", found.project, found.name)));
    }
    found
}

const CONFIG: &str = r#"{"config": {"Env": ["JAVA_HOME=/opt/java", "SECRET=hunter2"], "ExposedPorts": {"8443/tcp": {}},
    "Labels": {"maintainer": "Grace Hopper", "org.opencontainers.image.base.name": "docker.io/library/python:3.12"}}}"#;

#[tokio::test]
async fn things_are_found_by_the_beginnings_of_their_words() {
    for store in each_store().await {
        project(&store, "demo").await;
        let base = stream(&store, "demo", "httpd-base", "The team's web server", r#"{"team": "platform"}"#).await;
        push(&store, &base, "2.4-alpine", 0xabc_def0, CONFIG, r#"{"org.opencontainers.image.revision": "fe12"}"#).await;
        let tag = "3.6".parse().unwrap();
        let spec = TagSpec::import("docker.io/library/python:3.6");
        store.set_tag("demo", &"python".parse().unwrap(), &tag, &spec, None, &actor()).await.unwrap();
        for (text, expected) in [
            ("httpd", vec!["stream demo/httpd-base"]),
            ("BASE", vec!["stream demo/httpd-base"]),
            ("team", vec!["stream demo/httpd-base"]),
            ("label:team=pla", vec!["stream demo/httpd-base"]),
            ("web server", vec!["stream demo/httpd-base"]),
            ("web client", vec![]),
            ("ttpd", vec![]),
            ("stream:base", vec!["stream demo/httpd-base"]),
            ("tag:alpine", vec!["tag demo/httpd-base:2.4-alpine"]),
            ("image:java", vec!["image demo/httpd-base"]),
            ("app:alpine", vec![]),
            ("alpine", vec!["tag demo/httpd-base:2.4-alpine"]),
            ("httpd-base:2", vec!["tag demo/httpd-base:2.4-alpine"]),
            ("library/py", vec!["tag demo/python:3.6", "image demo/httpd-base"]),
            ("python", vec!["stream demo/python", "tag demo/python:3.6", "image demo/httpd-base"]),
            ("base:python:3.12", vec!["image demo/httpd-base"]),
            ("base:python:3.13", vec![]),
            ("env:java", vec!["image demo/httpd-base"]),
            ("home", vec!["image demo/httpd-base"]),
            ("port:8443", vec!["image demo/httpd-base"]),
            ("8443", vec!["image demo/httpd-base"]),
            ("label:maintainer", vec!["image demo/httpd-base"]),
            ("grace hopper", vec![]),
            ("label:maintainer=grace", vec!["image demo/httpd-base"]),
            ("fe12", vec!["image demo/httpd-base"]),
            ("hunter2", vec![]),
            ("0abcdef0", vec!["image demo/httpd-base"]),
            ("sha256:0abcdef", vec!["image demo/httpd-base"]),
            ("0abcde", vec![]),
            ("%", vec![]),
        ] {
            assert_eq!(all(&store, everywhere(), text).await, expected, "{text}");
        }
    }
}

#[tokio::test]
async fn what_looks_like_a_digest_is_found_as_a_word_too() {
    for store in each_store().await {
        project(&store, "demo").await;
        let app = stream(&store, "demo", "app", "deadbeef inside", "{}").await;
        push(&store, &app, "latest", 1, "{}", r#"{"revision": "deadbeef"}"#).await;
        push(&store, &app, "next", 0xdead_beef, "{}", "{}").await;
        let found = all(&store, everywhere(), "deadbeef").await;
        assert_eq!(found, ["stream demo/app", "image demo/app", "image demo/app"]);
        let query = SearchQuery::parse("deadbeef").unwrap();
        let first = store.search(everywhere(), &query, "image", None, 1).await.unwrap().remove(0);
        assert_eq!(first.about.as_deref(), Some(&*digest(0xdead_beef)), "digests come first");
        let after = SearchCursor::parse(&first.cursor());
        let second = store.search(everywhere(), &query, "image", after.as_ref(), 1).await.unwrap().remove(0);
        assert_eq!((second.about.as_deref(), second.field.as_str()), (Some(&*digest(1)), "label"));
        let after = SearchCursor::parse(&second.cursor());
        assert_eq!(store.search(everywhere(), &query, "image", after.as_ref(), 1).await.unwrap(), []);
    }
}

#[tokio::test]
async fn several_words_are_looked_for_from_the_rarest_on() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        for number in 0..20 {
            let rare = if number % 8 == 3 { "zoo" } else { "" };
            stream(&store, "demo", &format!("s{number}"), &format!("customers {rare}"), "{}").await;
        }
        let rarest = async |text: &str| {
            let wanted = Wanted::of(&SearchQuery::parse(text).unwrap(), "stream").unwrap();
            let at = store.rarest(&id, &wanted, None).await.unwrap();
            at.map(|at| wanted.ranges[at].0.clone())
        };
        assert_eq!(rarest("customers zoo").await.as_deref(), Some("zoo"), "although it is shorter");
        assert_eq!(rarest("zoo cust customers").await.as_deref(), Some("zoo"));
        assert_eq!(rarest("customers nowhere").await, None, "nothing has to be read at all");
        let query = SearchQuery::parse("customers zoo").unwrap();
        let whole = store.search(everywhere(), &query, "stream", None, 10).await.unwrap();
        assert_eq!(whole.len(), 3);
        let mut pages = Vec::new();
        while pages.len() < 10 {
            let after = pages.last().and_then(|found: &Found| SearchCursor::parse(&found.cursor()));
            let page = store.search(everywhere(), &query, "stream", after.as_ref(), 1).await.unwrap();
            let Some(found) = page.into_iter().next() else { break };
            pages.push(found);
            // Another word is the rarest from now on: pages go on where they are.
            let mut tx = store.write_tx().await.unwrap();
            sqlx::query(
                "delete from search_terms where term = 'customers' and entry_id not in (\
                select entry_id from search_terms where term = 'zoo')",
            )
            .execute(&mut *tx)
            .await
            .unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(pages, whole);
    }
}

#[tokio::test]
async fn projects_that_have_one_word_only_do_not_hide_those_that_have_both() {
    for store in each_store().await {
        let user = store.create_user("eve", "", None, false, &actor()).await.unwrap();
        for number in 0..12 {
            let name = format!("p{number:02}");
            project(&store, &name).await;
            let rare = if [5, 9, 11].contains(&number) { "rare" } else { "" };
            stream(&store, &name, "app", &format!("frequent {rare}"), "{}").await;
            if [3, 4, 9, 10, 11].contains(&number) {
                store.grant_role(&name, "eve", crate::model::Role::Viewer, &actor()).await.unwrap();
            }
        }
        let eve = Scope { user_id: Some(&user.id), ..everywhere() };
        let query = SearchQuery::parse("frequent rare").unwrap();
        let mut projects = Vec::new();
        let mut after = None;
        while let Some(found) = store.search(eve, &query, "stream", after.as_ref(), 1).await.unwrap().pop() {
            after = SearchCursor::parse(&found.cursor());
            projects.push(found.project);
        }
        assert_eq!(projects, ["p09", "p11"]);
    }
}

#[tokio::test]
async fn what_changes_and_what_goes_is_found_as_it_is_now() {
    for store in each_store().await {
        project(&store, "demo").await;
        let base = stream(&store, "demo", "base", "old words", "{}").await;
        push(&store, &base, "latest", 1, CONFIG, "{}").await;
        let fields = StreamFields { description: "new words".to_owned(), ..StreamFields::default() };
        store.update_stream("demo", "base", &fields, None, &actor()).await.unwrap();
        assert!(all(&store, everywhere(), "old").await.is_empty());
        assert_eq!(all(&store, everywhere(), "new").await, ["stream demo/base"]);
        let tag = "latest".parse().unwrap();
        for (source, other) in [("quay.io/a/first", "second"), ("quay.io/a/second", "first")] {
            let spec = TagSpec::import(source);
            store.set_tag("demo", &"base".parse().unwrap(), &tag, &spec, None, &actor()).await.unwrap();
            assert!(all(&store, everywhere(), other).await.is_empty(), "{other} after {source}");
        }
        assert_eq!(all(&store, everywhere(), "second").await, ["tag demo/base:latest"]);
        store.delete_tag("demo", "base", "latest", &actor()).await.unwrap();
        assert!(all(&store, everywhere(), "base:latest").await.is_empty(), "a deleted tag is not found");
        push(&store, &base, "latest", 2, "{}", "{}").await;
        assert_eq!(all(&store, everywhere(), "base:latest").await, ["tag demo/base:latest"]);
        assert!(all(&store, everywhere(), "second").await.is_empty(), "its source is gone with it");
        assert!(store.delete_manifest(&base, &digest(1), &actor()).await.unwrap());
        assert!(all(&store, everywhere(), "env:java").await.is_empty(), "an image that is served no more is not found");
        store.delete_stream("demo", "base", &actor()).await.unwrap();
        assert!(all(&store, everywhere(), "base").await.is_empty());
        for table in ["search_entries", "search_terms"] {
            let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            let (left,): (i64,) = sqlx::query_as(count).fetch_one(store.pool()).await.unwrap();
            assert_eq!(left, 0, "nothing is left in {table}");
        }
    }
}

#[tokio::test]
async fn nothing_is_found_of_projects_one_may_not_see() {
    for store in each_store().await {
        for name in ["open", "secret"] {
            project(&store, name).await;
            let app = stream(&store, name, "app", "words", "{}").await;
            push(&store, &app, "latest", 0xabc_def0, CONFIG, "{}").await;
        }
        let user = store.create_user("eve", "", None, false, &actor()).await.unwrap();
        store.grant_role("open", "eve", crate::model::Role::Viewer, &actor()).await.unwrap();
        let eve = Scope { user_id: Some(&user.id), ..everywhere() };
        for text in ["app", "words", "app:latest", "env:java", "0abcdef0", "port:8443", "base:python"] {
            let found = all(&store, eve, text).await;
            assert!(!found.is_empty() && found.iter().all(|found| found.contains(" open/")), "{text}: {found:?}");
            let both = all(&store, everywhere(), text).await;
            assert_eq!(both.len(), 2 * found.len(), "{text}: {both:?}");
            let one = all(&store, Scope { project: Some("secret"), ..everywhere() }, text).await;
            assert!(one.iter().all(|found| found.contains(" secret/")) && one.len() == found.len(), "{text}: {one:?}");
            assert!(all(&store, Scope { project: Some("secret"), ..eve }, text).await.is_empty());
            assert!(all(&store, Scope { user_id: Some("nobody"), ..everywhere() }, text).await.is_empty());
        }
    }
}

#[tokio::test]
async fn pages_meet_without_gap_or_repeat() {
    for store in each_store().await {
        for name in ["a", "a-b", "b", "c"] {
            project(&store, name).await;
            let app = stream(&store, name, "web", "", "{}").await;
            for n in 0..7_u32 {
                // Found by more than one of its terms, and only once.
                let config = format!(r#"{{"config": {{"Env": ["WEB_{n}=", "WEB_X=", "WEBSITE="]}}}}"#);
                push(&store, &app, &format!("web-{n}.web"), n + 1, &config, "{}").await;
            }
        }
        for (kind, text, expected) in
            [("tag", "web", 28), ("image", "web", 28), ("tag", "web:web", 28), ("image", "0000000", 28)]
        {
            let query = SearchQuery::parse(text).unwrap();
            let whole = store.search(everywhere(), &query, kind, None, 100).await.unwrap();
            let names = |found: &[Found]| {
                let name = |found: &Found| (found.project.clone(), found.name.clone(), found.about.clone());
                found.iter().map(name).collect::<Vec<_>>()
            };
            assert_eq!(names(&whole).iter().collect::<BTreeSet<_>>().len(), expected, "{kind} {text}");
            assert_eq!(whole.len(), expected, "each once");
            let mut pages = Vec::new();
            let mut after: Option<SearchCursor> = None;
            loop {
                let page = store.search(everywhere(), &query, kind, after.as_ref(), 3).await.unwrap();
                let Some(last) = page.last() else { break };
                after = SearchCursor::parse(&last.cursor());
                assert!(after.is_some() && !last.cursor().contains(' '));
                pages.extend(names(&page));
            }
            assert_eq!(pages, names(&whole), "{kind} {text}");
        }
        assert_eq!(SearchCursor::parse("nonsense"), None);
        assert_eq!(SearchCursor::parse("a:x:name:web"), None);
    }
}

/// The cost of a page must not grow with what there is: every step of the plan is a look at an index, and nothing is sorted.
#[tokio::test]
async fn a_search_reads_its_index_and_nothing_else() {
    for store in each_store().await {
        if store.backend() != Backend::Sqlite {
            continue;
        }
        for statement in [PROJECTS, IN_PROJECT, BY_DIGEST, COUNT] {
            let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(store.pool()).await.unwrap();
            let plan: Vec<String> = plan.into_iter().map(|(_, _, _, step)| step).collect();
            // `t` and `x` are what the inner queries gave, which have a limit; projects are as many as there are.
            let is_read_whole = |step: &&String| {
                step.starts_with("SCAN") && !["SCAN p", "SCAN t", "SCAN x"].iter().any(|known| step.starts_with(known))
            };
            assert_eq!(plan.iter().find(is_read_whole), None, "{plan:#?}");
            if statement == IN_PROJECT {
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
                let terms = plan.iter().find(|step| step.starts_with("SEARCH m "));
                let expected = "(project_id=? AND kind=? AND (term,field,entry_id)>(?,?,?) AND term<?)";
                assert!(terms.is_some_and(|step| step.contains(expected)), "{plan:#?}");
            }
        }
    }
}

#[tokio::test]
async fn an_upgrade_makes_what_was_there_searchable() {
    for store in each_store().await {
        project(&store, "demo").await;
        let base = stream(&store, "demo", "base", "", "{}").await;
        let layers = |n: usize| {
            let layers: Vec<String> = (0..n).map(|n| format!("\"sha256:l{n}\"")).collect();
            format!(r#"{{"config": {{"Env": ["JAVA_HOME="]}}, "rootfs": {{"diff_ids": [{}]}}}}"#, layers.join(","))
        };
        push(&store, &base, "latest", 1, &layers(2), "{}").await;
        push(&store, &base, "next", 2, &layers(3), "{}").await;
        let by_layers = format!("base:{}", &digest(1)[7..15]);
        let texts = ["base", "base:latest", "env:java", &by_layers];
        let mut before = Vec::new();
        for text in texts {
            before.push(all(&store, everywhere(), text).await);
        }
        assert_eq!(before[3], ["image demo/base"], "the second image is built on the first one's layers");

        // As the migration leaves a database of before.
        let mut tx = store.write_tx().await.unwrap();
        sqlx::query("delete from search_entries").execute(&mut *tx).await.unwrap();
        sqlx::query("update images set chain_id = null").execute(&mut *tx).await.unwrap();
        sqlx::query("delete from image_chains").execute(&mut *tx).await.unwrap();
        sqlx::query("delete from search_due").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        for text in texts {
            assert!(all(&store, everywhere(), text).await.is_empty(), "{text}");
        }
        let migration = include_str!("../../../../migrations/0009_search.sql");
        let fills = migration.split(';').filter(|statement| statement.contains("insert into search_pending"));
        let mut tx = store.write_tx().await.unwrap();
        for fill in fills {
            sqlx::query(sqlx::AssertSqlSafe(fill.to_owned())).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert!(store.is_search_filling().await.unwrap());
        // What is pushed meanwhile is indexed at once, and again by nobody.
        let base_again = store.stream("demo", "base").await.unwrap();
        store.update_stream("demo", "base", &StreamFields::default(), None, &actor()).await.unwrap();
        push(&store, &base_again, "latest", 1, &layers(2), "{}").await;
        let mut read = 0;
        while let some @ 1.. = store.index_some_pending(2).await.unwrap() {
            assert!(some <= 2);
            read += some;
        }
        assert!(read >= 7, "a stream, two tags, two images and their layers: {read}");
        assert!(!store.is_search_filling().await.unwrap());
        for (text, before) in texts.iter().zip(&before) {
            assert_eq!(&all(&store, everywhere(), text).await, before, "{text}");
        }
        assert_eq!(entries(&store).await, 5, "each once");
    }
}

async fn entries(store: &TestStore) -> i64 {
    let (count,): (i64,) = sqlx::query_as("select count(*) from search_entries").fetch_one(store.pool()).await.unwrap();
    count
}

#[tokio::test]
async fn what_an_older_server_wrote_is_found_and_indexed() {
    for store in each_store().await {
        project(&store, "demo").await;
        for number in 0..5 {
            let app = stream(&store, "demo", &format!("app-{number}"), "", "{}").await;
            push(&store, &app, "latest", number, CONFIG, "{}").await;
        }
        store.delete_tag("demo", "app-4", "latest", &actor()).await.unwrap();
        let before = (all(&store, everywhere(), "app").await, all(&store, everywhere(), "env:java").await);
        let count = entries(&store).await;
        // As an older server leaves what it writes beside this one.
        let mut tx = store.write_tx().await.unwrap();
        sqlx::query("delete from search_entries where id > 2").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut place = FillPlace::default();
        let mut indexed = 0;
        for _ in 0..100 {
            let (some, next) = store.index_missing(&place, 2).await.unwrap();
            indexed += some;
            let Some(next) = next else { break };
            place = next;
        }
        assert_eq!((indexed as i64, entries(&store).await), (count - 2, count));
        assert_eq!((all(&store, everywhere(), "app").await, all(&store, everywhere(), "env:java").await), before);
    }
}
