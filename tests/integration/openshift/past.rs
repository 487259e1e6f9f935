//! `?as_of=`: streams, tags, histories, apps, builds and the activity as they were.

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Actor;

use super::apps::deployment;
use super::{Rest, apps, builds, digest, images, own};

mod streams;
mod work;

const FIRST: &str = "2026-01-01T10:00Z";
const SECOND: &str = "2026-01-01T11:00:30Z";

/// `base:latest` pushed at ten and at eleven, `base:other` at ten; `web` is of today.
async fn sample() -> Rest {
    let rest = Rest::start().await;
    for (tag, n) in [("latest", 1), ("other", 2), ("latest", 3)] {
        rest.push("base", tag, n).await;
    }
    rest.push("web", "latest", 4).await;
    let pool = rest.weir.database().await;
    for (row, hour) in [
        ("update streams set created_at = $1 where name = 'base'", FIRST),
        (
            "update tag_events set at = $1, sorted_at = $1 where number = 1 and tag_id in (select t.id from tags t join streams s on s.id = t.stream_id where s.name = 'base')",
            FIRST,
        ),
        ("update tag_events set at = $1, sorted_at = $1 where number = 2", SECOND),
    ] {
        let at = hour.parse::<weir::model::Moment>().unwrap().end - 1000;
        sqlx::query(row).bind(at).execute(&pool).await.unwrap();
    }
    pool.close().await;
    rest
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

const HOUR: i64 = 3_600_000;

/// Everything so far happened that many hours ago, or earlier by as much as it was.
async fn hours_pass(rest: &Rest, hours: i64) {
    let pool = rest.weir.database().await;
    for statement in [
        "update ledger set at = at - $1, sorted_at = sorted_at - $1",
        "update builds set queued_at = queued_at - $1, started_at = started_at - $1, finished_at = finished_at - $1",
        "update build_configs set created_at = created_at - $1",
        "update apps set created_at = created_at - $1",
        "update rollouts set created_at = created_at - $1, started_at = started_at - $1, finished_at = finished_at - $1",
        "update build_configs set spec_since = spec_since - $1",
        "update former_configs set since = since - $1, until = until - $1",
        "update ended_apps set created_at = created_at - $1, deleted_at = deleted_at - $1",
        "update ended_rollouts set created_at = created_at - $1, started_at = started_at - $1, finished_at = finished_at - $1",
        "update ended_configs set created_at = created_at - $1, spec_since = spec_since - $1, deleted_at = deleted_at - $1",
        "update ended_builds set queued_at = queued_at - $1, started_at = started_at - $1, finished_at = finished_at - $1, deleted_at = deleted_at - $1",
        "update freezes set created_at = created_at - $1, begins_at = begins_at - $1, ends_at = ends_at - $1, ended_at = ended_at - $1",
        "update cascades set created_at = created_at - $1, undone_at = undone_at - $1, cancelled_at = cancelled_at - $1",
        "update projects set created_at = created_at - $1",
    ] {
        sqlx::query(statement).bind(hours * HOUR).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

/// The second that many hours ago.
fn ago(hours: i64) -> String {
    weir::model::rfc3339(weir::model::now() - hours * HOUR)
}
