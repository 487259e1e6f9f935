use super::*;
use crate::model::EventKind;
use crate::server::store::LedgerFilter;
use crate::server::store::moves::Move;
use crate::server::store::testing::{TestStore, each_store, plan, project};

/// Ten rows; the last of them moved a tag.
async fn written(store: &TestStore) {
    let actor = Actor::person("ada");
    project(store, "demo").await;
    let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
    let mut tx = store.write_tx().await.unwrap();
    let tag = tx.ensure_tag(&stream, &"latest".parse().unwrap()).await.unwrap();
    while sqlx::query("select 1 from ledger where sequence = 9").fetch_optional(&mut *tx).await.unwrap().is_none() {
        let entry = Entry {
            action: "image.push",
            project: Some("demo"),
            object: "app",
            from: Some("a"),
            to: Some("b"),
            reason: Some("c"),
            cause: Some(1),
            cascade: Some("d"),
        };
        tx.record(&actor, entry).await.unwrap();
    }
    tx.move_tag(&tag, &Move::new(EventKind::Push, "sha256:a", "demo/app@x", &actor)).await.unwrap();
    tx.commit().await.unwrap();
}

/// The rows that are found after these changes behind the store's back.
async fn found_after(store: &TestStore, changes: &[&'static str]) -> Vec<i64> {
    for change in changes {
        sqlx::query(*change).execute(store.pool()).await.unwrap();
    }
    store.verify_ledger().await.unwrap().1.into_iter().map(|fault| fault.sequence).collect()
}

#[tokio::test]
async fn whatever_is_changed_in_a_row_names_it() {
    for change in [
        "update ledger set at = at + 1 where sequence = 5",
        "update ledger set actor_kind = 'system' where sequence = 5",
        "update ledger set actor_kind = 'nobody we know' where sequence = 5",
        "update ledger set actor = 'eve' where sequence = 5",
        "update ledger set action = 'image.delete' where sequence = 5",
        "update ledger set project = 'other' where sequence = 5",
        "update ledger set project = null where sequence = 5",
        "update ledger set object = 'base' where sequence = 5",
        "update ledger set from_value = null where sequence = 5",
        "update ledger set to_value = 'c' where sequence = 5",
        "update ledger set reason = '' where sequence = 5",
        "update ledger set cause = 2 where sequence = 5",
        "update ledger set cascade_id = null where sequence = 5",
        // From one column into the next one: the texts together are the same.
        "update ledger set from_value = 'ab', to_value = '' where sequence = 5",
    ] {
        for store in each_store().await {
            written(&store).await;
            assert_eq!(found_after(&store, &[]).await, Vec::<i64>::new());
            assert_eq!(found_after(&store, &[change]).await, [5], "{change}");
        }
    }
}

#[tokio::test]
async fn rows_that_are_removed_moved_or_forged_are_named() {
    for (changes, named) in [
        (&["update ledger set hash = 'x' where sequence = 5"][..], &[5, 6][..]),
        (&["update ledger set previous_hash = 'x' where sequence = 5"], &[5]),
        (&["delete from ledger where sequence = 5"], &[6]),
        (&["delete from ledger where sequence < 4"], &[4]),
        // Nothing comes after the last row, but the tag that it moved is there.
        (&["delete from ledger where sequence = 10"], &[10]),
        (&["delete from ledger"], &[10]),
        (
            &[
                "update ledger set sequence = 99 where sequence = 5",
                "update ledger set sequence = 5 where sequence = 6",
                "update ledger set sequence = 6 where sequence = 99",
            ],
            &[5, 6, 7],
        ),
        // Removed, and the gap closed.
        (&["delete from ledger where sequence = 9", "update ledger set sequence = 9 where sequence = 10"], &[9, 10]),
        (
            &["insert into ledger (sequence, at, actor_kind, actor, action, object, previous_hash, hash) \
               select 11, at, actor_kind, 'eve', action, object, hash, hash from ledger where sequence = 10"],
            &[11],
        ),
    ] {
        for store in each_store().await {
            written(&store).await;
            assert_eq!(found_after(&store, changes).await, named, "{changes:?}");
        }
    }
}

#[tokio::test]
async fn a_row_that_was_changed_and_sealed_anew_is_told_by_the_next_one() {
    for store in each_store().await {
        written(&store).await;
        let mut row: Sealed =
            sqlx::query_as(select_ledger!("where sequence = 5")).fetch_one(store.pool()).await.unwrap();
        row.actor = "eve".to_owned();
        let sealed =
            sqlx::query("update ledger set actor = $1, hash = $2 where sequence = 5").bind(&row.actor).bind(seal(&row));
        sealed.execute(store.pool()).await.unwrap();
        assert_eq!(found_after(&store, &[]).await, [6]);
    }
}

#[tokio::test]
async fn whoever_makes_a_project_anew_reads_nothing_of_the_former_one() {
    for store in each_store().await {
        let (name, ada, eve) = ("payroll".parse().unwrap(), Actor::person("ada"), Actor::person("eve"));
        for maker in [&ada, &eve] {
            store.create_project(&name, "", "", None, maker).await.unwrap();
            store.ensure_stream("payroll", &format!("of-{}", maker.name).parse().unwrap(), maker).await.unwrap();
            let mut tx = store.write_tx().await.unwrap();
            let reason = Some(maker.name.as_str());
            let entry = Entry { action: "tag.rollback", project: Some("payroll"), reason, ..Entry::default() };
            tx.record(maker, entry).await.unwrap();
            tx.commit().await.unwrap();
            let listed = store.list_ledger(Some("payroll"), None, 10).await.unwrap();
            assert_eq!(listed.iter().map(|row| row.actor.as_str()).collect::<Vec<_>>(), [maker.name.as_str(); 3]);
            let filter = LedgerFilter::default();
            assert_eq!(store.search_ledger("payroll", &filter, None, 10).await.unwrap(), listed);
            assert_eq!(store.list_reasons("payroll", 10).await.unwrap(), [maker.name.as_str()]);
            if maker == &ada {
                store.delete_project("payroll", &ada).await.unwrap();
                assert_eq!(store.list_ledger(Some("payroll"), None, 10).await.unwrap(), []);
            }
        }
        assert_eq!(store.list_ledger(None, None, 10).await.unwrap().len(), 7, "the whole ledger has them all");
        let plan = plan(&store, OF_PROJECT, &["'payroll'", "9", "10"]).await.join("\n");
        assert!(plan.contains("ledger_project_deletions"), "{plan}");
    }
}
