//! Apps, builds, their configs and what was done, as they were.

use super::*;

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
        "update ledger set sorted_at = $1 where sequence <= (select r.sequence from rollouts r join apps a on a.id = r.app_id \
         where a.name = 'old' and r.number = 1)",
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
