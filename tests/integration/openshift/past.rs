//! `?as_of=`: streams, tags and histories as they were.

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
    for path in [builds("builds"), own("streams/base/tags/latest"), own("usage")] {
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
