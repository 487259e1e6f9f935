//! Apps of then, and what they ran.

use super::super::apps::APPS;
use super::*;
use crate::model::{AppName, AppSpec, HoldUntil, NewImage, StreamTag};
use crate::server::store::testing::plan;
use crate::server::store::{AppFields, Entry, TagMove};

#[tokio::test]
async fn apps_are_shown_with_the_rollout_they_had() {
    for store in each_store().await {
        TIME.set(Some(BEGIN));
        let id = project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        let image = NewImage { digest: "sha256:a".to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        store.put_manifest(&stream, &image, None, &ada()).await.unwrap();
        let latest = tag(&store, &stream, "latest").await;
        let name: AppName = "web".parse().unwrap();
        sqlx::query(
            "insert into apps (id, project_id, name, spec, tag_id, last_number, created_at, created_by, version) \
             values ('web', $1, $2, '{}', $3, 2, $4, 'ada', 1)",
        )
        .bind(&id)
        .bind(name.as_str())
        .bind(&latest.id)
        .bind(BEGIN)
        .execute(store.pool())
        .await
        .unwrap();
        for (number, digest, hours) in [(1_i64, "sha256:a", 1), (2, "sha256:b", 3)] {
            TIME.set(Some(BEGIN + hours * HOUR));
            let mut tx = store.write_tx().await.unwrap();
            let entry = Entry { action: "rollout.request", project: Some("demo"), object: "web", ..Entry::default() };
            let sequence = tx.record(&ada(), entry).await.unwrap();
            tx.commit().await.unwrap();
            sqlx::query(
                "insert into rollouts (id, app_id, number, digest, repository, kind, spec, actor_kind, actor, sequence, cascade_id, \
                 phase, created_at, finished_at) values ($1, 'web', $2, $3, 'demo/app', 'image', '{}', 'system', 'triggers', $6, 'c', \
                 'Complete', $4, $5)",
            )
            .bind(format!("web-{number}"))
            .bind(number)
            .bind(digest)
            .bind(BEGIN + hours * HOUR)
            .bind(BEGIN + (hours + 1) * HOUR)
            .bind(sequence)
            .execute(store.pool())
            .await
            .unwrap();
        }
        let then = async |hours: i64| store.list_apps_then(&id, &hour(hours), "", 10).await.unwrap();
        assert_eq!(then(0).await, []);
        let app = then(1).await.remove(0);
        assert_eq!((app.number, app.digest, app.digest_now.as_deref()), (None, None, Some("sha256:b")));
        let app = then(2).await.remove(0);
        assert_eq!((app.number, app.ended), (Some(1), None), "it was under way");
        let app = then(3).await.remove(0);
        assert_eq!(
            (app.number, app.digest.as_deref(), app.ended.as_deref()),
            (Some(1), Some("sha256:a"), Some("Complete"))
        );
        assert_eq!(then(5).await.remove(0).number, Some(2));
        assert_eq!(store.list_apps_then(&id, &hour(5), "web", 10).await.unwrap(), []);
        let values = ["'x'", "0", "''", "10", "''", "''", "0"];
        let plan = plan(&store, APPS, &values).await.join("\n");
        for index in ["rollouts_app_moments", "ended_rollouts_moments"] {
            assert!(
                store.backend() != Backend::Sqlite
                    || plan.contains(&format!("COVERING INDEX {index} (app_id=? AND sequence<?)")),
                "{plan}"
            );
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_deleted_app_is_there_while_it_was_with_its_rollouts_and_its_hold() {
    for store in each_store().await {
        let at = |hours: i64| TIME.set(Some(BEGIN + hours * HOUR));
        at(0);
        let id = project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        let tag = "latest".parse().unwrap();
        let push = async |digest: &str| {
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
            store.put_manifest(&stream, &image, Some(to), &ada()).await.unwrap();
        };
        push("sha256:a").await;
        let image = StreamTag { project: "demo".to_owned(), stream: "app".to_owned(), tag: "latest".to_owned() };
        let (labels, annotations) = ("{}".to_owned(), "{}".to_owned());
        let fields = AppFields { labels, annotations, spec: AppSpec::default(), image, automatic: true };
        let make = async || store.create_app("demo", &"web".parse().unwrap(), &fields, &ada()).await.unwrap();
        make().await;
        at(1);
        store.request_ready_rollouts().await.unwrap();
        at(2);
        store.hold_app("demo", "web", Some("a fair"), HoldUntil::Resumed, &ada()).await.unwrap();
        at(4);
        store.delete_app("demo", "web", &ada()).await.unwrap();
        at(6);
        make().await;
        let then = async |hours: i64| {
            let app = store.find_app_then(&id, "web", &hour(hours)).await.unwrap()?;
            let hold = store.app_hold_then(&app, &hour(hours)).await.unwrap();
            let rollouts = store.list_rollouts_then(&app, &hour(hours), None, 10).await.unwrap();
            Some((app.deleted_at.is_some(), app.digest, rollouts.len(), hold.and_then(|hold| hold.reason)))
        };
        let digest = Some("sha256:a".to_owned());
        assert_eq!(then(1).await, Some((true, None, 0, None)));
        assert_eq!(then(2).await, Some((true, digest.clone(), 1, None)));
        assert_eq!(then(3).await, Some((true, digest, 1, Some("a fair".to_owned()))));
        assert_eq!(then(5).await, None, "between the two there was none");
        assert_eq!(then(7).await, Some((false, None, 0, None)));
        let running = async |repository: &str, digest: &str| {
            store.list_apps_running_then(&id, &hour(3), (repository, digest), "", 10).await.unwrap().len()
        };
        assert_eq!((running("demo/app", "").await, running("", "sha256:a").await), (1, 1));
        assert_eq!((running("demo/other", "").await, running("", "sha256:b").await), (0, 0));
        TIME.set(None);
    }
}
