//! What the graph shows of a project with more tags than can be looked at, and what plans know of them.

use super::*;
use crate::model::Action;
use crate::server::store::testing::run;

/// Names of the graph's tags.
async fn tags(world: &World, also: Option<&str>) -> (Vec<String>, bool) {
    let graph = world.0.graph("demo", also).await.unwrap();
    (graph.tags.iter().map(|tag| format!("{}:{}", tag.stream, tag.tag)).collect(), graph.only_tied)
}

#[tokio::test]
async fn of_many_tags_the_graph_shows_those_that_something_hangs_on() {
    for world in World::each().await {
        world.push("base", "1").await;
        world.push("many", "1").await;
        world.config("built", &["base"]).await;
        world.app("web", "built").await;
        let (few, only_tied) = tags(&world, None).await;
        assert_eq!((few, only_tied), (["base:latest", "built:latest", "many:latest"].map(str::to_owned).into(), false));
        run(
            &world.0,
            "insert into tags (id, stream_id, name, event_number, created_at) \
             with recursive n (i) as (select 1 union all select i + 1 from n where i < 300) \
             select 'many-' || i, s.id, 'v' || i, 0, 0 from n, streams s where s.name = 'many'",
        )
        .await;
        run(&world.0, "update tags set follows_tag_id = 'many-1' where id = 'many-2'").await;
        // What is drawn is remembered until something is committed, and none of these statements was one that the store knows of.
        world.push("many", "2").await;
        let tied = ["base:latest", "built:latest", "many:v1", "many:v2"];
        assert_eq!(tags(&world, None).await, (tied.map(str::to_owned).into(), true));
        let (with_one, _) = tags(&world, Some("many-7")).await;
        assert_eq!(with_one, ["base:latest", "built:latest", "many:v1", "many:v2", "many:v7"]);
        assert_eq!(tags(&world, Some("none such")).await.0, tied, "an id that nothing has adds nothing");
    }
}

#[tokio::test]
async fn the_graph_shows_what_was_committed_a_moment_ago() {
    for world in World::each().await {
        world.push("base", "1").await;
        let base = async || world.0.graph("demo", None).await.unwrap().tags.remove(0);
        let first = base().await;
        assert!(first.digest.is_some() && !first.held);
        world.push("base", "2").await;
        assert_ne!(base().await.digest, first.digest);
        world.0.hold_tag("demo", "base", "latest", None, &anna()).await.unwrap();
        assert!(base().await.held);
        world.0.resume_tag("demo", "base", "latest", &anna()).await.unwrap();
        assert!(!base().await.held);
        world.push("app", "1").await;
        assert_eq!(base().await.stream, "app", "in the order of their names");
    }
}

#[tokio::test]
async fn a_plan_reaches_other_projects_whatever_stands_beside() {
    for world in World::each().await {
        world.push("base", "1").await;
        world.config("built", &["base"]).await;
        let other = world.0.create_project(&"other".parse().unwrap(), "", "", None, &anna()).await.unwrap();
        let fields = AppFields {
            labels: "{}".to_owned(),
            annotations: "{}".to_owned(),
            spec: AppSpec::default(),
            image: tag_of("built"),
            automatic: true,
        };
        world.0.create_app(&other.name, &"web".parse().unwrap(), &fields, &anna()).await.unwrap();
        let base = world.0.tag("demo", "base", "latest").await.unwrap();
        let plan = world.0.plan(&Action::Move { tag: &base.id, dependents: true, decided: false }).await.unwrap();
        let steps: Vec<_> =
            plan.steps.iter().map(|step| (step.kind, step.project.as_str(), step.name.as_str())).collect();
        assert_eq!(steps, [("build", "demo", "built"), ("rollout", "other", "web")]);
    }
}

#[tokio::test]
async fn the_history_of_a_stream_is_that_of_all_its_tags_and_of_no_others() {
    for world in World::each().await {
        for (stream, seed) in [("base", "1"), ("other", "1"), ("base", "2")] {
            world.push(stream, seed).await;
        }
        let stream = world.0.stream("demo", "base").await.unwrap();
        let beta = "beta".parse().unwrap();
        let to = TagMove { tag: &beta, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        world.0.put_manifest(&stream, &image("3"), Some(to), &anna()).await.unwrap();
        world.0.delete_tag("demo", "base", "latest", &anna()).await.unwrap();
        let rows = world.0.list_stream_history(&stream.id, None, 10).await.unwrap();
        let said: Vec<_> = rows.iter().map(|row| (row.tag.as_str(), row.number, row.outcome)).collect();
        let moved = Outcome::Moved;
        assert_eq!(
            said,
            [("latest", 3, Outcome::Deleted), ("beta", 1, moved), ("latest", 2, moved), ("latest", 1, moved)]
        );
        let older = world.0.list_stream_history(&stream.id, Some(rows[1].sequence), 1).await.unwrap();
        assert_eq!(older, rows[2..3], "older than a row, as many as asked for");
    }
}
