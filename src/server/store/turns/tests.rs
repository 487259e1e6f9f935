//! Turns that are taken one by one: by whom they are shared, and until when somebody waits for them.

use super::*;
use crate::model::Actor;
use crate::model::time::testing::TIME;
use crate::server::store::testing::{TestStore, each_store, plan, project, run};
use crate::server::store::{Assignment, TagSpec};

const START: i64 = 1_800_000_000_000;

fn key() -> BudgetKey {
    BudgetKey { id: "a.io".to_owned(), host: "a.io".to_owned(), account: String::new() }
}

/// A project with so many tags that follow something at the registry, all of them due.
async fn follow(store: &TestStore, name: &str, tags: usize) {
    project(store, name).await;
    for tag in 0..tags {
        let spec = TagSpec::import(format!("a.io/org/app:{tag}"));
        let names = ("app".parse().unwrap(), format!("t{tag}").parse().unwrap());
        store.set_tag(name, &names.0, &names.1, &spec, None, &Actor::system("test")).await.unwrap();
    }
    let tags = store.list_unassigned_imports("", 1000).await.unwrap();
    let assignments = tags.into_iter().map(|tag| Assignment {
        question: tag.id.clone(),
        tag_id: tag.id,
        generation: tag.generation,
        budget: key(),
        repository: "org/app".to_owned(),
        upstream_tag: tag.name,
    });
    store.assign_imports(&assignments.collect::<Vec<_>>()).await.unwrap();
}

#[tokio::test]
async fn a_turn_is_shared_with_the_projects_that_have_something_due_however_much_it_is() {
    for store in each_store().await {
        TIME.set(Some(START));
        for (name, tags) in [("own", 3), ("many", 40), ("one", 1), ("later", 5), ("claimed", 2)] {
            follow(&store, name, tags).await;
        }
        let of = |name: &str, set: &str| {
            sqlx::AssertSqlSafe(format!(
                "update tag_imports set {set} where project_id = (select id from projects where name = '{name}')"
            ))
        };
        for (name, set) in [("later", "next_at = next_at + 1000"), ("claimed", "lease_until = next_at + 1000")] {
            sqlx::query(of(name, set)).execute(store.pool()).await.unwrap();
        }
        assert_eq!(store.others_in_demand("a.io", "own").await.unwrap(), 2);
        assert_eq!(store.others_in_demand("a.io", "many").await.unwrap(), 2);
        assert_eq!(store.others_in_demand("a.io", "later").await.unwrap(), 3);
        assert_eq!(store.others_in_demand("a.io", "gone").await.unwrap(), 3);
        assert_eq!(store.others_in_demand("b.io", "own").await.unwrap(), 0);
        // What somebody asked for is due as well.
        sqlx::query(of("later", "requested_at = 1")).execute(store.pool()).await.unwrap();
        assert_eq!(store.others_in_demand("a.io", "own").await.unwrap(), 3);
        TIME.set(None);
    }
}

#[tokio::test]
async fn with_more_than_so_many_projects_nobody_has_to_share_and_rows_are_found_by_indexes() {
    for store in each_store().await {
        TIME.set(Some(START));
        let most = usize::try_from(MOST_OTHERS).unwrap();
        for number in 0..most + 8 {
            follow(&store, &format!("p{number}"), 1).await;
        }
        run(&store, "analyze").await;
        assert_eq!(store.others_in_demand("a.io", "p0").await.unwrap(), MOST_OTHERS);
        let values = [&*START.to_string(), "'a.io'", "'p0'", "256", "32"];
        let steps = plan(&store, &others_in_demand(), &values).await;
        for table in ["tag_imports", "i", "n"] {
            let is_read_whole = |step: &&String| {
                *step == &format!("SCAN {table}")
                    || step.contains(&format!("Seq Scan on tag_imports {table}"))
                    || step.contains("hashed")
            };
            assert_eq!(steps.iter().find(is_read_whole), None, "{steps:#?}");
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_turn_that_comes_too_late_is_not_taken() {
    for store in each_store().await {
        TIME.set(Some(START));
        project(&store, "own").await;
        let gap = match store.take_slot(&key(), "own", START).await.unwrap() {
            Slot::At { at, gap_ms, others } => {
                assert_eq!((at, others), (START, 0));
                gap_ms
            }
            Slot::From(at) => panic!("none before {at}"),
        };
        run(&store, "update registry_budgets set next_slot_at = next_slot_at + 60000").await;
        let next = store.find_budget("a.io").await.unwrap().unwrap().next_slot_at;
        let Slot::From(at) = store.take_slot(&key(), "own", START + 1000).await.unwrap() else { panic!("taken") };
        assert!(at > START + 1000 && at <= next + gap, "{at}");
        assert!(matches!(store.take_slot(&key(), "own", at - 1).await.unwrap(), Slot::From(_)));
        assert_eq!(store.find_budget("a.io").await.unwrap().unwrap().next_slot_at, next, "nothing was taken");
        assert!(matches!(store.take_slot(&key(), "own", at).await.unwrap(), Slot::At { .. }));
        TIME.set(None);
    }
}
