//! `?as_of=`: streams, tags, histories, apps, builds and the activity as they were.

use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::model::Actor;

use super::apps::deployment;
use super::{Rest, apps, builds, digest, images, own};

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

#[tokio::test]
async fn lists_are_as_they_were() {
    let rest = sample().await;
    let streams = rest.ada.get_json(&images(&format!("imagestreams?as_of={FIRST}"))).await;
    assert_eq!(names(&streams), ["base"]);
    let tags = streams["items"][0]["status"]["tags"].as_array().unwrap();
    let of = |n: usize| (tags[n]["tag"].as_str().unwrap(), tags[n]["items"][0]["image"].as_str().unwrap());
    assert_eq!((of(0), of(1)), (("latest", digest(1).as_str()), ("other", digest(2).as_str())));
    assert_eq!(streams["items"][0]["metadata"]["annotations"]["weir.dev/as-of"], "2026-01-01 10:00 UTC");
    let one = rest.ada.get_json(&images(&format!("imagestreams/base?as_of={SECOND}"))).await;
    assert_eq!(
        (&one["kind"], &one["status"]["tags"][0]["items"][0]["image"]),
        (&json!("ImageStream"), &json!(digest(3)))
    );

    let tags = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}"))).await;
    assert_eq!(names(&tags), ["base:latest", "base:other"]);
    let first = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}&limit=1"))).await;
    assert_eq!(names(&first), ["base:latest"]);
    let next = first["metadata"]["continue"].as_str().unwrap();
    let rest_of = images(&format!("imagestreamtags?as_of={FIRST}&limit=1&continue={next}"));
    assert_eq!(names(&rest.ada.get_json(&rest_of).await), ["base:other"]);
    let tag = rest.ada.get_json(&images(&format!("imagestreamtags/base:latest?as_of={FIRST}"))).await;
    assert_eq!(tag["image"]["metadata"]["name"], digest(1));
    for kind in ["imagestreamtags", "imagetags"] {
        let missing = rest.ada.get(&images(&format!("{kind}/web:latest?as_of={FIRST}"))).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
    let tags = rest.ada.get_json(&images(&format!("imagetags?as_of={SECOND}"))).await;
    assert_eq!((names(&tags), &tags["kind"]), (vec!["base:latest", "base:other"], &json!("ImageTagList")));
    let tag = rest.ada.get_json(&images(&format!("imagetags/base:latest?as_of={SECOND}"))).await;
    assert_eq!(
        (&tag["status"]["items"][0]["image"], &tag["image"]["metadata"]["name"]),
        (&json!(digest(3)), &json!(digest(3)))
    );

    let history = own("streams/base/tags/latest/history");
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of={FIRST}")).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of={SECOND}")).await["items"].as_array().unwrap().len(), 2);
    assert_eq!(rest.ada.get_json(&format!("{history}?as_of=2025-01-01T00:00Z")).await["items"], json!([]));
}

#[tokio::test]
async fn what_was_deleted_since_is_listed_and_what_no_moment_is_is_refused() {
    let rest = sample().await;
    rest.weir.store().delete_stream("demo", "base", &Actor::person("ada")).await.unwrap();
    let tags = rest.ada.get_json(&images(&format!("imagestreamtags?as_of={FIRST}"))).await;
    assert_eq!(names(&tags), ["base:latest", "base:other"]);
    assert!(tags["items"][0]["metadata"]["annotations"]["weir.dev/deleted-at"].is_string(), "{tags}");
    assert_eq!(names(&rest.ada.get_json(&images("imagestreamtags")).await), ["web:latest"]);
    for (query, words) in [
        ("as_of=yesterday", "is no moment"),
        ("as_of=2999-01-01T00:00Z", "is not over yet"),
        ("as_of=2026-01-01T10:00Z&labelSelector=a=b", "labels are not kept"),
    ] {
        let refused = rest.ada.get(&images(&format!("imagestreams?{query}"))).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{query}");
        assert!(refused.text().await.unwrap().contains(words), "{query}");
    }
    // Whoever asks for the past must not take the present for it.
    for path in [builds("buildconfigs"), own("cascades"), own("streams/base/tags/latest"), own("usage")] {
        let refused = rest.ada.get(&format!("{path}?as_of={FIRST}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        assert!(refused.text().await.unwrap().contains("is not kept"), "{path}");
    }
}

#[tokio::test]
async fn apps_are_told_with_what_they_were_to_run() {
    let rest = sample().await;
    let registry = rest.weir.registry();
    for name in ["old", "young"] {
        let body = deployment(name, &format!("{registry}/demo/base:latest"));
        rest.post(StatusCode::CREATED, &apps("deployments"), &body).await;
    }
    rest.weir.settle().await;
    rest.push("base", "latest", 5).await;
    rest.weir.settle().await;
    let at = FIRST.parse::<weir::model::Moment>().unwrap().end - 1000;
    let pool = rest.weir.database().await;
    for statement in [
        "update apps set created_at = $1 where name = 'old'",
        "update rollouts set created_at = $1 where number = 1 and app_id in (select id from apps where name = 'old')",
    ] {
        sqlx::query(statement).bind(at).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let list = rest.ada.get_json(&apps(&format!("deployments?as_of={SECOND}"))).await;
    assert_eq!((names(&list), &list["kind"]), (vec!["old"], &json!("DeploymentList")));
    let old = rest.ada.get_json(&apps(&format!("deployments/old?as_of={FIRST}"))).await;
    let image = &old["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, format!("{registry}/demo/base@{}", digest(3)));
    assert_eq!(old["metadata"]["annotations"]["weir.dev/as-of"], "2026-01-01 10:00 UTC");
    let young = rest.ada.get(&apps(&format!("deployments/young?as_of={FIRST}"))).await;
    assert_eq!(young.status(), StatusCode::NOT_FOUND);
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
    ] {
        sqlx::query(statement).bind(hours * HOUR).execute(&pool).await.unwrap();
    }
    pool.close().await;
}

/// The second that many hours ago.
fn ago(hours: i64) -> String {
    weir::model::rfc3339(weir::model::now() - hours * HOUR)
}

#[tokio::test]
async fn builds_are_listed_with_the_phase_they_had() {
    let rest = Rest::start().await;
    let body = json!({
        "metadata": {"name": "app", "labels": {"app": "app"}},
        "spec": {"source": {"dockerfile": "FROM scratch\nRUN true\n"}, "strategy": {"dockerStrategy": {}},
            "output": {"to": {"kind": "ImageStreamTag", "name": "app:latest"}}},
    });
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &body).await;
    let start = async || {
        let request = json!({"kind": "BuildRequest", "metadata": {"name": "app"}});
        rest.post(StatusCode::CREATED, &builds("buildconfigs/app/instantiate"), &request).await
    };
    // Six hours ago one was requested, four hours ago it ran to its end, two hours ago the next was requested; it ends now.
    start().await;
    hours_pass(&rest, 2).await;
    rest.weir.settle().await;
    hours_pass(&rest, 2).await;
    start().await;
    hours_pass(&rest, 2).await;
    rest.weir.settle().await;
    let then = async |hours: i64, query: &str| {
        let list = rest.ada.get_json(&builds(&format!("builds?as_of={}{query}", ago(hours)))).await;
        assert_eq!(list["kind"], "BuildList");
        let items = list["items"].as_array().unwrap().iter();
        let brief = items.map(|item| {
            format!("{} {}", item["metadata"]["name"].as_str().unwrap(), item["status"]["phase"].as_str().unwrap())
        });
        brief.collect::<Vec<_>>()
    };
    assert_eq!(then(7, "").await, Vec::<String>::new());
    assert_eq!(then(5, "").await, ["app-1 New"]);
    assert_eq!(then(3, "").await, ["app-1 Complete"]);
    assert_eq!(then(1, "").await, ["app-1 Complete", "app-2 New"]);
    assert_eq!(then(1, "&fieldSelector=status%3DNew").await, ["app-2 New"]);
    assert_eq!(then(1, "&limit=1").await, ["app-1 Complete"]);
    let first = rest.ada.get_json(&builds(&format!("builds?as_of={}&limit=1", ago(1)))).await;
    let next = format!("&limit=1&continue={}", first["metadata"]["continue"].as_str().unwrap());
    assert_eq!(then(1, &next).await, ["app-2 New"]);

    let path = builds("builds/app-1");
    let one = rest.ada.get_json(&format!("{path}?as_of={}", ago(5))).await;
    assert_eq!((&one["kind"], &one["status"]["phase"]), (&json!("Build"), &json!("New")));
    assert!(one["status"].get("completionTimestamp").is_none() && one["status"]["output"] == json!({}), "{one:#}");
    assert!(one["metadata"]["annotations"]["weir.dev/as-of"].is_string(), "{one:#}");
    assert!(one["metadata"].get("resourceVersion").is_none(), "it cannot be written back");
    let now = rest.ada.get_json(&path).await;
    assert_eq!(now["status"]["phase"], "Complete");
    for (path, status) in [
        (format!("builds/app-2?as_of={}", ago(3)), StatusCode::NOT_FOUND),
        (format!("builds/app?as_of={}", ago(3)), StatusCode::NOT_FOUND),
        (format!("builds?as_of={}&labelSelector=app%3Dapp", ago(3)), StatusCode::BAD_REQUEST),
        ("builds?as_of=yesterday".to_owned(), StatusCode::BAD_REQUEST),
        ("builds?as_of=2999-01-01T00:00Z".to_owned(), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(rest.ada.get(&builds(&path)).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn rollouts_and_activity_end_with_the_moment() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let body = deployment("web", &format!("{}/demo/base:latest", rest.weir.registry()));
    rest.post(StatusCode::CREATED, &apps("deployments"), &body).await;
    // Rolled out six, four and two hours ago; the last one was requested then and is under way.
    for n in [1, 2] {
        rest.push("base", "latest", n).await;
        rest.weir.settle().await;
        hours_pass(&rest, 2).await;
    }
    rest.push("base", "latest", 3).await;
    rest.weir.store().request_ready_rollouts().await.unwrap();
    hours_pass(&rest, 2).await;
    rest.weir.settle().await;
    let list = async |path: &str, hours: i64, more: &str| {
        let answer = rest.ada.get_json(&own(&format!("{path}?as_of={}{more}", ago(hours)))).await;
        (answer["items"].as_array().unwrap().clone(), answer["next"].clone())
    };
    let rollouts = async |hours: i64, more: &str| {
        let (items, _) = list("apps/web/rollouts", hours, more).await;
        let brief =
            items.iter().map(|one| (one["number"].as_i64().unwrap(), one["phase"].as_str().unwrap().to_owned()));
        brief.collect::<Vec<_>>()
    };
    let told = |pairs: &[(i64, &str)]| pairs.iter().map(|(n, phase)| (*n, (*phase).to_owned())).collect::<Vec<_>>();
    assert_eq!(rollouts(5, "").await, told(&[(1, "Complete")]));
    assert_eq!(rollouts(3, "").await, told(&[(2, "Complete"), (1, "Complete")]));
    assert_eq!(rollouts(1, "").await, told(&[(3, "Pending"), (2, "Complete"), (1, "Complete")]));
    assert_eq!(rollouts(3, "&limit=1").await, told(&[(2, "Complete")]));
    assert_eq!(rollouts(3, "&limit=1&before=2").await, told(&[(1, "Complete")]));
    assert_eq!(rollouts(3, "&limit=1&before=99").await, told(&[(2, "Complete")]));
    let young = rest.ada.get(&own(&format!("apps/web/rollouts?as_of={}", ago(7)))).await;
    assert_eq!(young.status(), StatusCode::NOT_FOUND);

    let requested = async |hours: i64| {
        let (items, _) = list("activity", hours, "&limit=500").await;
        items.iter().filter(|row| row["action"] == "rollout.request").count()
    };
    assert_eq!((requested(7).await, requested(5).await, requested(3).await, requested(1).await), (0, 1, 2, 3));
    let (all, _) = list("activity", 3, "&limit=500").await;
    let (mut walked, mut next) = (Vec::new(), String::new());
    loop {
        let (items, further) = list("activity", 3, &format!("&limit=3{next}")).await;
        walked.extend(items);
        let Some(before) = further.as_i64() else { break };
        next = format!("&before={before}");
    }
    assert_eq!(walked, all, "page by page it is the same past");
    for path in ["apps/web/rollouts", "activity"] {
        for moment in ["yesterday", "2999-01-01T00:00Z"] {
            let refused = rest.ada.get(&own(&format!("{path}?as_of={moment}"))).await;
            assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path} {moment}");
        }
    }
}
