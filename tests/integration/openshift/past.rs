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
    let items = tag["status"]["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[1]["image"]), (2, &json!(digest(1))), "newest first, with what it was before");
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
    for (path, why) in [
        (own("usage"), "no former sum stays"),
        (own("secrets"), "nobody is to have the one before"),
        (images("imagestreams/base/secrets"), "nobody is to have the one before"),
        (own("search"), "knows what is there now"),
        ("/weir/v1/search".to_owned(), "knows what is there now"),
        ("/weir/v1/registries".to_owned(), "as long as it is of use"),
        (own("notices"), "who is told is replaced"),
        (own("notices/a/deliveries"), "has its own times"),
        (own("streams/base/tag-rules"), "rules are replaced"),
        (own("streams/base/import-rules"), "a rule is replaced"),
        (own("streams/base/retention"), "a rule is replaced"),
        (own("graph"), "what followed and fed what"),
        (own("resolve"), "what a name would have come to"),
        (own("registry-hook"), "can be read as of a moment"),
    ] {
        let twice = rest.ada.get(&format!("{path}?as_of={FIRST}&as_of={FIRST}")).await;
        assert_eq!(twice.status(), StatusCode::BAD_REQUEST, "{path}");
        let refused = rest.ada.get(&format!("{path}?as_of={FIRST}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        let text = refused.text().await.unwrap();
        assert!(text.contains("is not kept") && text.contains(why), "{path}: {text}");
    }
    let written = rest.ada.request(reqwest::Method::DELETE, &images(&format!("imagestreams/web?as_of={FIRST}")));
    let written = written.send().await.unwrap();
    assert_eq!(written.status(), StatusCode::BAD_REQUEST);
    assert!(written.text().await.unwrap().contains("what was cannot be changed"));
}

#[tokio::test]
async fn a_tag_an_image_and_its_layers_are_told_as_they_were() {
    let rest = sample().await;
    let tag = rest.ada.get_json(&own(&format!("streams/base/tags/latest?as_of={FIRST}"))).await;
    assert_eq!((&tag["digest"], &tag["number"], &tag["hold"]), (&json!(digest(1)), &json!(1), &Value::Null));
    assert_eq!((&tag["asOf"], &tag["rejected"]), (&json!("2026-01-01 10:00 UTC"), &json!([])));
    let missing = rest.ada.get(&own(&format!("streams/web/tags/latest?as_of={FIRST}"))).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);

    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={FIRST}", digest(1)))).await;
    assert_eq!((&image["digest"], &image["tags"][0]["tag"]), (&json!(digest(1)), &json!("latest")));
    assert_eq!(image["tags"][0]["current"], true);
    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={SECOND}", digest(1)))).await;
    assert_eq!(image["tags"][0]["current"], false, "it had moved on");
    let of = |kind: &str, n: u8| images(&format!("{kind}/base@{}?as_of={FIRST}", digest(n)));
    let found = rest.ada.get_json(&of("imagestreamimages", 1)).await;
    assert_eq!(found["image"]["metadata"]["name"], digest(1));
    assert_eq!(found["metadata"]["annotations"]["weir.dev/as-of"], "2026-01-01 10:00 UTC");
    let packages = rest.ada.get(&own(&format!("streams/base/images/{}/packages?as_of={FIRST}", digest(1)))).await;
    assert_eq!(packages.status(), StatusCode::OK);
    let compared = own(&format!("streams/base/compare?from={}&to={}&as_of={FIRST}", digest(1), digest(2)));
    assert_eq!(rest.ada.get(&compared).await.status(), StatusCode::OK);
    let layers = rest.ada.get_json(&images(&format!("imagestreams/base/layers?as_of={FIRST}"))).await;
    let shown = layers["images"].as_object().unwrap();
    assert!(
        shown.contains_key(&digest(1)) && shown.contains_key(&digest(2)) && !shown.contains_key(&digest(3)),
        "{layers}"
    );

    // What came later was not there.
    rest.push("base", "latest", 9).await;
    for path in [
        of("imagestreamimages", 9),
        own(&format!("streams/base/images/{}?as_of={FIRST}", digest(9))),
        own(&format!("streams/base/images/{}/packages?as_of={FIRST}", digest(9))),
        own(&format!("streams/base/compare?from={}&to={}&as_of={FIRST}", digest(1), digest(9))),
    ] {
        assert_eq!(rest.ada.get(&path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // Of a stream that is gone the digests and the histories are told, and no more.
    rest.weir.store().delete_stream("demo", "base", &Actor::person("ada")).await.unwrap();
    let image = rest.ada.get_json(&own(&format!("streams/base/images/{}?as_of={FIRST}", digest(1)))).await;
    assert_eq!((&image["gone"], &image["tags"][0]["tag"], image.get("layers")), (&json!(true), &json!("latest"), None));
    let tag = rest.ada.get_json(&own(&format!("streams/base/tags/latest?as_of={SECOND}"))).await;
    assert!(tag["streamDeletedAt"].is_string() && tag["digest"] == digest(3), "{tag}");
    let history = own("streams/base/tags/latest/history");
    let rows = rest.ada.get_json(&format!("{history}?as_of={SECOND}")).await;
    let told: Vec<_> =
        rows["items"].as_array().unwrap().iter().map(|row| (&row["digest"], &row["fromDigest"])).collect();
    assert_eq!(told, [(&json!(digest(3)), &json!(digest(1))), (&json!(digest(1)), &Value::Null)]);
    let first = rest.ada.get_json(&format!("{history}?as_of={SECOND}&limit=1")).await;
    let next = rest.ada.get_json(&format!("{history}?as_of={SECOND}&limit=1&before={}", first["next"])).await;
    assert_eq!(next["items"][0]["digest"], digest(1));
    let foreign = rest.ada.get(&format!("{history}?as_of={SECOND}&before=1")).await;
    assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
    let layers = rest.ada.get_json(&images(&format!("imagestreams/base/layers?as_of={FIRST}"))).await;
    assert_eq!(layers["images"][digest(1)]["imageMissing"], true);
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

#[tokio::test]
async fn build_configs_are_told_with_what_they_said() {
    let rest = Rest::start().await;
    let body = |dockerfile: &str| {
        json!({
            "metadata": {"name": "app"},
            "spec": {"source": {"dockerfile": dockerfile}, "strategy": {"dockerStrategy": {}},
                "output": {"to": {"kind": "ImageStreamTag", "name": "app:latest"}}},
        })
    };
    // Made six hours ago, built at once, changed four hours ago, deleted two hours ago and made anew an hour later.
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &body("FROM scratch\nRUN one\n")).await;
    let request = json!({"kind": "BuildRequest", "metadata": {"name": "app"}});
    rest.post(StatusCode::CREATED, &builds("buildconfigs/app/instantiate"), &request).await;
    rest.weir.settle().await;
    hours_pass(&rest, 2).await;
    let mut changed = rest.ada.get_json(&builds("buildconfigs/app")).await;
    changed["spec"]["source"]["dockerfile"] = "FROM scratch\nRUN two\n".into();
    let put = rest.ada.request(reqwest::Method::PUT, &builds("buildconfigs/app")).json(&changed).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    hours_pass(&rest, 2).await;
    rest.weir.store().delete_config("demo", "app", &Actor::person("ada")).await.unwrap();
    hours_pass(&rest, 1).await;
    rest.post(StatusCode::CREATED, &builds("buildconfigs"), &body("FROM scratch\nRUN three\n")).await;
    hours_pass(&rest, 1).await;
    let then = async |hours: i64| {
        let list = rest.ada.get_json(&builds(&format!("buildconfigs?as_of={}", ago(hours)))).await;
        assert_eq!(list["kind"], "BuildConfigList");
        list["items"].as_array().unwrap().clone()
    };
    let said = |config: &Value| {
        let dockerfile = config["spec"]["source"]["dockerfile"].as_str().unwrap();
        (dockerfile.split_once("RUN ").unwrap().1.trim().to_owned(), config["status"]["lastVersion"].as_i64().unwrap())
    };
    assert_eq!(then(7).await, [] as [Value; 0]);
    let five = then(5).await;
    assert_eq!((five.len(), said(&five[0])), (1, ("one".to_owned(), 1)));
    assert!(five[0]["metadata"]["annotations"]["weir.dev/deleted-at"].is_string(), "{}", five[0]);
    assert!(five[0]["metadata"].get("resourceVersion").is_none(), "it cannot be written back");
    assert_eq!(said(&then(3).await[0]), ("two".to_owned(), 1));
    let between = weir::model::rfc3339(weir::model::now() - 90 * 60_000);
    let gone = rest.ada.get(&builds(&format!("buildconfigs/app?as_of={between}"))).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND, "between the two there was none");
    let lately = weir::model::rfc3339(weir::model::now() - 30 * 60_000);
    let now = rest.ada.get_json(&builds(&format!("buildconfigs/app?as_of={lately}"))).await;
    assert_eq!((said(&now), &now["kind"]), (("three".to_owned(), 0), &json!("BuildConfig")));
    // Its builds are gone from the lists of now, and not from those of then.
    let list = rest.ada.get_json(&builds(&format!("builds?as_of={}", ago(3)))).await;
    assert_eq!(names(&list), ["app-1"]);
    let one = rest.ada.get_json(&builds(&format!("builds/app-1?as_of={}", ago(3)))).await;
    assert_eq!(one["status"]["phase"], "Complete");
    assert_eq!(rest.ada.get(&builds("builds/app-1")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(rest.ada.get(&builds(&format!("builds/app-1?as_of={between}"))).await.status(), StatusCode::NOT_FOUND);

    // What was changed by a server that kept nothing of it is not made up.
    let pool = rest.weir.database().await;
    for statement in ["delete from former_configs", "update build_configs set spec_since = created_at + 600000"] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let unknown = &then(5).await[0];
    assert!(unknown.get("spec").is_none(), "{unknown}");
    assert!(unknown["metadata"]["annotations"]["weir.dev/spec"].as_str().unwrap().starts_with("not kept"), "{unknown}");
}

#[tokio::test]
async fn deleted_apps_cascades_freezes_and_projects_are_told_as_they_were() {
    let rest = Rest::start().await;
    rest.push("base", "latest", 1).await;
    let body = deployment("web", &format!("{}/demo/base:latest", rest.weir.registry()));
    rest.post(StatusCode::CREATED, &apps("deployments"), &body).await;
    rest.weir.settle().await;
    let freeze = json!({"until": "open", "reason": "a fair"});
    rest.post(StatusCode::CREATED, &own("freezes"), &freeze).await;
    hours_pass(&rest, 2).await;
    rest.post(StatusCode::OK, &own("freezes/1/end"), &json!({})).await;
    rest.push("base", "latest", 2).await;
    rest.weir.settle().await;
    hours_pass(&rest, 2).await;
    rest.weir.store().delete_app("demo", "web", &Actor::person("ada")).await.unwrap();
    rest.weir.settle().await;
    hours_pass(&rest, 2).await;

    let old = rest.ada.get_json(&apps(&format!("deployments?as_of={}", ago(5)))).await;
    assert_eq!(names(&old), ["web"]);
    assert!(old["items"][0]["metadata"]["annotations"]["weir.dev/deleted-at"].is_string(), "{old}");
    let standing = rest.ada.get_json(&own(&format!("apps/web?as_of={}", ago(5)))).await;
    assert_eq!(
        (&standing["rollout"], &standing["digest"], &standing["phase"]),
        (&json!(1), &json!(digest(1)), &json!("Complete"))
    );
    let rollouts = rest.ada.get_json(&own(&format!("apps/web/rollouts?as_of={}", ago(3)))).await;
    assert_eq!(rollouts["items"].as_array().unwrap().len(), 2);
    let gone = rest.ada.get(&own(&format!("apps/web?as_of={}", ago(1)))).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(rest.ada.get(&own("apps/web")).await.status(), StatusCode::NOT_FOUND);

    let cascades = async |hours: i64, more: &str| {
        let list = rest.ada.get_json(&own(&format!("cascades?as_of={}{more}", ago(hours)))).await;
        let brief = list["items"].as_array().unwrap().iter().map(|one| {
            assert!(one.get("pausedAt").is_none() && one["asOf"].is_string(), "{one}");
            (one["number"].as_i64().unwrap(), one["rollouts"].as_i64().unwrap(), one["running"].as_bool().unwrap())
        });
        brief.collect::<Vec<_>>()
    };
    assert_eq!(cascades(7, "").await, []);
    let early = cascades(5, "").await;
    let late = cascades(3, "").await;
    assert!(late.len() > early.len() && late.ends_with(&early), "{early:?} {late:?}");
    assert_eq!(late.iter().map(|(_, rollouts, _)| rollouts).sum::<i64>(), 2, "those of the app that is gone, too");
    assert_eq!(cascades(3, "&limit=1").await, late[..1]);
    assert_eq!(cascades(3, &format!("&limit=1&before={}", late[0].0)).await, late[1..2]);
    let newest = late[0].0;
    let one = rest.ada.get_json(&own(&format!("cascades/{newest}?as_of={}", ago(3)))).await;
    assert_eq!((&one["number"], one["appRollouts"].as_array().unwrap().len()), (&json!(newest), 1));
    let unbegun = rest.ada.get(&own(&format!("cascades/{newest}?as_of={}", ago(5)))).await;
    assert_eq!(unbegun.status(), StatusCode::NOT_FOUND);

    let freeze =
        async |hours: i64| rest.ada.get_json(&own(&format!("freezes?as_of={}", ago(hours)))).await["items"].clone();
    assert_eq!(freeze(7).await, json!([]));
    assert_eq!((&freeze(5).await[0]["state"], &freeze(5).await[0]["endedAt"]), (&json!("in-force"), &Value::Null));
    assert_eq!((&freeze(3).await[0]["state"], &freeze(3).await[0]["endedBy"]), (&json!("over"), &json!("ada")));
    let one = rest.ada.get_json(&own(&format!("freezes/1?as_of={}", ago(5)))).await;
    assert_eq!(one["state"], "in-force");
    assert_eq!(rest.ada.get(&own(&format!("freezes/1?as_of={}", ago(7)))).await.status(), StatusCode::NOT_FOUND);

    let projects = "/apis/project.openshift.io/v1/projects";
    assert_eq!(names(&rest.ada.get_json(&format!("{projects}?as_of={}", ago(5))).await), ["demo"]);
    assert_eq!(names(&rest.ada.get_json(&format!("{projects}?as_of={}", ago(9))).await), [] as [&str; 0]);
    assert_eq!(rest.ada.get(&format!("{projects}/demo?as_of={}", ago(9))).await.status(), StatusCode::NOT_FOUND);
}
