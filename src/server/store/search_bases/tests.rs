//! Images are found by their bases in each of the ways in which these are known, whichever came first, and by those who may know of them.

use super::*;
use crate::model::{
    Actor, BASE_DIGEST, BASE_NAME, BuildConfigSpec, EventKind, InputKind, KnownInputs, NewConfigInput, NewImage, Role,
    SearchQuery, Source, Stream, StreamTag,
};
use crate::server::store::testing::{self, TestStore, each_store, project};
use crate::server::store::{Backend, BuildRequest, ConfigFields, Found, Others, Scope, SearchCursor, TagMove};

fn ada() -> Actor {
    Actor::person("ada")
}

fn digest(n: u32) -> String {
    format!("sha256:{n:08x}{}", "0".repeat(56))
}

/// An image of these layers.
fn image(n: u32, layers: &[&str], annotations: &str) -> NewImage {
    NewImage {
        digest: digest(n),
        manifest: "{}".to_owned(),
        config: Some(serde_json::json!({"rootfs": {"diff_ids": layers}}).to_string()),
        annotations: annotations.to_owned(),
        ..NewImage::default()
    }
}

async fn stream(store: &TestStore, project: &str, name: &str) -> Stream {
    store.ensure_stream(project, &name.parse().unwrap(), &ada()).await.unwrap()
}

/// Pushes an image to `<stream>:<tag>`.
async fn push(store: &TestStore, project: &str, title: &str, image: &NewImage) {
    let (name, tag) = title.split_once(':').unwrap();
    let (stream, tag) = (stream(store, project, name).await, tag.parse().unwrap());
    let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, image, [to], &ada()).await.unwrap();
}

/// What the background does, some images at a time.
async fn index(store: &TestStore) {
    while store.index_due_bases(2).await.unwrap() {}
}

async fn images(store: &TestStore, scope: Scope<'_>, text: &str) -> Vec<Found> {
    store.search(scope, &SearchQuery::parse(text).unwrap(), "image", None, 100).await.unwrap()
}

/// Streams of the images that everybody's eye finds.
async fn found(store: &TestStore, text: &str) -> Vec<String> {
    let all = Scope { others: Others::All, ..Scope::default() };
    images(store, all, text).await.into_iter().map(|found| format!("{}/{}", found.project, found.name)).collect()
}

#[tokio::test]
async fn layers_find_an_image_by_stream_tag_and_digest_of_its_base() {
    for store in each_store().await {
        project(&store, "demo").await;
        push(&store, "demo", "alpine:3", &image(1, &["sha256:a"], "{}")).await;
        push(&store, "demo", "python:3.12", &image(2, &["sha256:a", "sha256:b"], "{}")).await;
        push(&store, "demo", "app:1", &image(3, &["sha256:a", "sha256:b", "sha256:c"], "{}")).await;
        index(&store).await;
        let digits = &digest(2)[7..19];
        for text in [
            "base:python",
            "base:python:3.12",
            "base:demo/python",
            "base:3.12",
            &format!("base:{digits}"),
            &format!("base:{}", digest(2)),
        ] {
            assert_eq!(found(&store, text).await, ["demo/app"], "{text}");
        }
        assert_eq!(found(&store, "base:alpine").await, ["demo/python"], "the most of its layers are python's");
        assert_eq!(images(&store, Scope::default(), "base:python").await[0].field, "base");
        assert_eq!(found(&store, "base:app").await, Vec::<String>::new(), "nothing is its own base");
    }
}

#[tokio::test]
async fn a_base_that_comes_later_goes_or_is_called_otherwise_is_found_as_it_is_now() {
    for store in each_store().await {
        project(&store, "demo").await;
        for n in 0..5_u32 {
            let own = format!("sha256:own{n}");
            push(&store, "demo", &format!("app-{n}:1"), &image(10 + n, &["sha256:a", "sha256:b", &own], "{}")).await;
        }
        let apps: Vec<String> = (0..5).map(|n| format!("demo/app-{n}")).collect();
        assert!(!store.index_due_bases(2).await.unwrap(), "nothing is built on what came");
        assert_eq!(found(&store, "base:python").await, Vec::<String>::new());

        // Two at a time, and what comes in between is not forgotten.
        push(&store, "demo", "python:3.12", &image(2, &["sha256:a", "sha256:b"], "{}")).await;
        assert!(store.index_due_bases(2).await.unwrap());
        push(&store, "demo", "late:1", &image(9, &["sha256:a", "sha256:b", "sha256:z"], "{}")).await;
        index(&store).await;
        let mut all = found(&store, "base:python").await;
        all.sort();
        assert_eq!(all[..5], apps);
        assert_eq!(all[5..], ["demo/late"]);
        assert_eq!(found(&store, &format!("base:{}", digest(2))).await.len(), 6);

        push(&store, "demo", "python:edge", &image(2, &["sha256:a", "sha256:b"], "{}")).await;
        index(&store).await;
        assert_eq!(found(&store, "base:python:edge").await.len(), 6, "another tag of it");
        assert_eq!(found(&store, "base:python:3.12").await.len(), 6);
        store.delete_tag("demo", "python", "edge", &ada()).await.unwrap();
        index(&store).await;
        assert_eq!(found(&store, "base:python:edge").await.len(), 0);
        let python = store.stream("demo", "python").await.unwrap();
        assert!(store.delete_manifest(&python, &digest(2), &ada()).await.unwrap());
        index(&store).await;
        assert_eq!(found(&store, "base:python").await.len(), 0, "nobody serves it");
    }
}

#[tokio::test]
async fn an_image_is_found_by_what_its_annotations_say_and_not_by_its_layers_then() {
    for store in each_store().await {
        project(&store, "demo").await;
        push(&store, "demo", "alpine:3", &image(1, &["sha256:a"], "{}")).await;
        let says = format!(r#"{{"{BASE_NAME}": "docker.io/library/python:3.12", "{BASE_DIGEST}": "{}"}}"#, digest(7));
        push(&store, "demo", "app:1", &image(3, &["sha256:a", "sha256:c"], &says)).await;
        index(&store).await;
        for text in ["base:docker.io", "base:library/python", "base:python:3.12", &format!("base:{}", digest(7))] {
            assert_eq!(found(&store, text).await, ["demo/app"], "{text}");
        }
        assert_eq!(found(&store, "base:alpine").await, Vec::<String>::new(), "as its page has it");
    }
}

#[tokio::test]
async fn an_image_is_found_by_what_its_build_took_in() {
    for store in each_store().await {
        project(&store, "demo").await;
        push(&store, "demo", "tools:latest", &image(1, &[], "{}")).await;
        push(&store, "demo", "httpd-base:2.4", &image(2, &[], "{}")).await;
        let input = |stream: &str, tag: &str, stage: &str| NewConfigInput {
            kind: InputKind::From,
            stage: stage.to_owned(),
            reference: stream.to_owned(),
            stands_for: Some(StreamTag { project: "demo".into(), stream: stream.into(), tag: tag.into() }),
            short_name: true,
            declared: false,
        };
        let inputs = KnownInputs::All(vec![input("tools", "latest", "0"), input("httpd-base", "2.4", "1")]);
        let spec = BuildConfigSpec::new(Source::default(), "app".parse().unwrap(), "latest".parse().unwrap());
        store.create_config("demo", &"app".parse().unwrap(), &ConfigFields::new(spec, inputs), &ada()).await.unwrap();
        store.start_build("demo", "app", BuildRequest::manual(ada())).await.unwrap();
        let build = store.claim_build("worker", 60_000).await.unwrap().unwrap();
        let (app, latest) = (store.stream("demo", "app").await.unwrap(), "latest".parse().unwrap());
        let to =
            TagMove { tag: &latest, kind: EventKind::Build, reference: None, cause: None, build_id: Some(&build.id) };
        // Its manifest was pushed by its digest first, when nobody knew of the build.
        store.put_manifest(&app, &image(3, &[], "{}"), [], &ada()).await.unwrap();
        assert_eq!(found(&store, "base:httpd-base").await, Vec::<String>::new());
        store.put_manifest(&app, &image(3, &[], "{}"), [to], &ada()).await.unwrap();
        for text in
            ["base:httpd-base", "base:httpd-base:2.4", "base:demo/httpd", "base:2.4", &format!("base:{}", digest(2))]
        {
            assert_eq!(found(&store, text).await, ["demo/app"], "{text}");
        }
        assert_eq!(found(&store, "base:tools").await, Vec::<String>::new(), "only its last stage counts");
    }
}

#[tokio::test]
async fn a_base_in_a_project_that_one_may_not_see_is_not_told_of() {
    for store in each_store().await {
        for name in ["demo", "secret"] {
            project(&store, name).await;
        }
        push(&store, "secret", "vault:7", &image(1, &["sha256:a", "sha256:b"], "{}")).await;
        push(&store, "demo", "alpine:3", &image(2, &["sha256:a"], "{}")).await;
        for n in 0..3_u32 {
            let own = format!("sha256:own{n}");
            push(&store, "demo", &format!("app-{n}:1"), &image(10 + n, &["sha256:a", "sha256:b", &own], "{}")).await;
        }
        index(&store).await;
        let user = store.create_user("eve", "", None, false, &ada()).await.unwrap();
        store.grant_role("demo", "eve", Role::Viewer, &ada()).await.unwrap();
        let eve = Scope { user_id: Some(&user.id), project: None, others: Others::SeenBy(&user.id) };
        let by_digest = format!("base:{}", digest(1));
        for text in
            ["base:vault", "base:vault:7", "base:secret/vault", "vault", "image:vault", "base:secret", &by_digest]
        {
            assert_eq!(images(&store, eve, text).await, [], "{text}");
            for others in [Others::Hidden, Others::SeenBy("nobody")] {
                let of_demo = Scope { project: Some("demo"), others, ..Scope::default() };
                assert_eq!(images(&store, of_demo, text).await, [], "{text}");
            }
        }
        assert_eq!(images(&store, eve, "base:alpine vault").await, [], "nor as one of several words");
        assert_eq!(images(&store, eve, "base:alpine").await.len(), 3, "what she sees is the base for her");
        // A term that she may not see comes before one that she may see: it must not stand for it.
        for found in images(&store, eve, "base:").await {
            assert!(!found.term.contains("vault") && !found.term.contains("secret"), "{found:?}");
        }
        assert_eq!(images(&store, eve, "base:").await.len(), 3);

        store.grant_role("secret", "eve", Role::Viewer, &ada()).await.unwrap();
        assert_eq!(images(&store, eve, "base:alpine vault").await.len(), 3);
        let mut pages = Vec::new();
        let query = SearchQuery::parse("base:vault").unwrap();
        while pages.len() < 10 {
            let after = pages.last().and_then(|found: &Found| SearchCursor::parse(&found.cursor()));
            let page = store.search(eve, &query, "image", after.as_ref(), 1).await.unwrap();
            let Some(found) = page.into_iter().next() else { break };
            pages.push(found);
        }
        let names: Vec<_> = pages.iter().map(|found| (found.name.as_str(), found.field.as_str())).collect();
        assert_eq!(names, [("app-0", "base"), ("app-1", "base"), ("app-2", "base")]);
    }
}

#[tokio::test]
async fn an_upgrade_finds_the_bases_of_what_was_there() {
    for store in each_store().await {
        project(&store, "demo").await;
        push(&store, "demo", "python:3.12", &image(2, &["sha256:a", "sha256:b"], "{}")).await;
        push(&store, "demo", "app:1", &image(3, &["sha256:a", "sha256:b", "sha256:c"], "{}")).await;
        // As the version before left it, which knew a base by its digest alone.
        let fill = include_str!("../../../../migrations/0032_bases.sql").split(';');
        let fill = fill.filter(|statement| statement.contains("insert into search_pending")).map(str::to_owned);
        let mut tx = store.write_tx().await.unwrap();
        let before = ["delete from image_chains", "delete from search_terms where field = 'base'"].map(str::to_owned);
        for statement in before.into_iter().chain(fill) {
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(found(&store, "base:python").await, Vec::<String>::new());
        while store.index_some_pending(2).await.unwrap() > 0 {}
        assert_eq!(found(&store, "base:python:3.12").await, ["demo/app"]);
        assert!(!store.is_search_filling().await.unwrap());
    }
}

/// So many images of ten layers each, a tenth of them built on the same one, as an administrator would find them in a site of that size.
async fn fill(store: &TestStore) {
    for statement in [
        "insert into images (digest, media_type, manifest, size, annotations, first_seen_at) \
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000) \
         select 'sha256:i' || i, 'm', '{}', 1, '{}', i from n",
        "insert into image_chains (digest, above, chain) \
         with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000), \
           l (a) as (select 0 union all select a + 1 from l where a < 9) \
         select 'sha256:i' || i, a, case when a < 8 then i * 10 + a else (i % 10) * 10 + a end from n, l",
        "analyze",
    ] {
        testing::run(store, statement).await;
    }
}

#[tokio::test]
async fn looking_for_bases_reads_indexes_and_nothing_else() {
    for store in each_store().await {
        fill(&store).await;
        let image = "'sha256:i7'";
        for (statement, values) in [
            (CHAINS_BELOW, vec![image]),
            (WHOLE, vec!["70"]),
            (BUILT_ON, vec!["79", image, "'s'", "50"]),
            (TAGS, vec![image, "'s'"]),
            (FIRST_DUE, vec![]),
        ] {
            let plan = testing::plan(&store, statement, &values).await;
            // `w` is the hundred images at the most that the inner query gave.
            let is_read_whole = |step: &&String| {
                let known = ["SCAN w", "SCAN search_due USING"].iter().any(|known| step.starts_with(known));
                (step.starts_with("SCAN") && !known) || step.contains("Seq Scan") || step.contains("SubPlan")
            };
            assert_eq!(plan.iter().find(is_read_whole), None, "{statement}: {plan:#?}");
        }
        // Without being told how to, PostgreSQL looks at the image's own chains and at those alone.
        let plan = sqlx::AssertSqlSafe(format!("explain {}", CHAINS_BELOW.replace("$1", image)));
        if store.backend() == Backend::Postgres {
            let steps: Vec<(String,)> = sqlx::query_as(plan).fetch_all(store.pool()).await.unwrap();
            assert!(!steps.iter().any(|(step,)| step.contains("Seq Scan") || step.contains("Hash")), "{steps:#?}");
        }
    }
}

#[tokio::test]
async fn the_nearest_base_of_each_project_is_taken_and_the_first_of_the_same_layers() {
    for store in each_store().await {
        for name in ["a", "b", "c"] {
            project(&store, name).await;
        }
        push(&store, "a", "alpine:3", &image(1, &["sha256:a"], "{}")).await;
        push(&store, "b", "alpine:3", &image(1, &["sha256:a"], "{}")).await;
        push(&store, "b", "python:old", &image(5, &["sha256:a", "sha256:b"], "{}")).await;
        testing::run(&store, "update images set first_seen_at = first_seen_at - 1000").await;
        push(&store, "b", "python:3", &image(2, &["sha256:a", "sha256:b"], "{}")).await;
        push(&store, "c", "app:1", &image(3, &["sha256:a", "sha256:b", "sha256:c"], "{}")).await;
        let mut tx = store.write_tx().await.unwrap();
        let below = tx.images_below(&digest(3)).await.unwrap();
        tx.abandon().await.unwrap();
        let below: Vec<_> = below.iter().map(|one| (one.project.as_str(), one.stream.as_str(), &*one.digest)).collect();
        assert_eq!(below, [("b", "python", &*digest(5)), ("a", "alpine", &*digest(1))]);
    }
}

#[tokio::test]
async fn a_base_that_changes_all_the_time_comes_to_its_end_and_keeps_no_other_waiting() {
    for store in each_store().await {
        project(&store, "demo").await;
        let bases = [("busy", "sha256:busy", 100), ("calm", "sha256:calm", 200)];
        for (name, layer, first) in bases {
            for n in 0..6 {
                let own = format!("sha256:{name}{n}");
                push(&store, "demo", &format!("{name}-{n}:1"), &image(first + n, &[layer, &own], "{}")).await;
            }
        }
        push(&store, "demo", "busy:0", &image(1, &["sha256:busy"], "{}")).await;
        push(&store, "demo", "calm:0", &image(2, &["sha256:calm"], "{}")).await;
        // One tag more between any two steps.
        for tag in 1..=20 {
            assert!(store.index_due_bases(2).await.unwrap());
            push(&store, "demo", &format!("busy:{tag}"), &image(1, &["sha256:busy"], "{}")).await;
        }
        assert_eq!(found(&store, "base:calm").await.len(), 6, "it had its turn");
        assert_eq!(found(&store, "base:busy").await.len(), 6);
        index(&store).await;
        assert_eq!(found(&store, "base:busy:15").await.len(), 6, "what changed meanwhile was looked at once more");
        assert!(!store.index_due_bases(2).await.unwrap());
    }
}
