//! Parts 6.5, 6.8 and 7.4: as whom other registries are asked, what is asked again and again, and what pulls go through to them. The other
//! registry is Debian's `docker-registry`, or one that tells what it was asked.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde_json::{Value, json};
use weir::server::hash::sha256;
use weir::server::store::SecretData;

use super::super::{Rest, images};
use crate::imports::upstream::Misbehaving;
use crate::support::{TestWeir, tester};
use crate::upstreams::images::{OCI_INDEX, TestImage, index_of, push_manifest};
use crate::upstreams::programmable::answer;
use crate::upstreams::{DockerRegistry, Proxy, Seen, Upstream};

/// A tag that imports, as a stream's spec has it.
fn imported(tag: &str, reference: &str, more: &Value) -> Value {
    let mut policy = json!({"insecure": true});
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"name": tag, "from": {"kind": "DockerImage", "name": reference}, "importPolicy": policy})
}

/// A registry behind a password, which tells who came.
async fn guarded(image: &TestImage) -> Misbehaving {
    let registry = Misbehaving::start(image).await;
    registry.misbehave(|seen: &Seen| {
        seen.authorization().is_none().then(|| answer(401, &[("www-authenticate", "Basic realm=\"x\"")], ""))
    });
    registry
}

/// As whom the manifests of a repository were asked for.
fn users(registry: &Misbehaving, repository: &str) -> Vec<String> {
    let of = |seen: &Seen| {
        let basic = seen.authorization()?.strip_prefix("Basic ")?;
        let pair = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        Some(pair.split(':').next().unwrap_or_default().to_owned())
    };
    let asked = registry.upstream.seen();
    let asked = asked.iter().filter(|seen| seen.path().starts_with(&format!("/v2/{repository}/manifests/")));
    let mut users: Vec<_> = asked.filter_map(of).collect();
    users.dedup();
    users
}

async fn secret(weir: &TestWeir, name: &str, host: &str) {
    let data =
        SecretData::Registry { host: host.to_owned(), username: name.to_owned(), password: "open sesame".into() };
    weir.store().create_secret("demo", &name.parse().unwrap(), &data, &tester()).await.expect("a secret");
}

#[tokio::test]
async fn section_6_5_of_a_projects_secrets_the_longest_path_is_shown_and_then_the_first_by_name() {
    let rest = Rest::start().await;
    let registry = guarded(&TestImage::new("one")).await;
    let host = registry.upstream.address().to_owned();
    let port = host.split(':').nth(1).unwrap();
    for (name, of) in [
        ("whole", host.clone()),
        ("glob", format!("127.0.?.*:{port}")),
        ("another", host.clone()),
        ("team", format!("http://{host}/team")),
        ("app", format!("{host}/team/app")),
        ("other-port", "127.0.0.1:1".to_owned()),
        ("hub", "https://index.docker.io/v1/".to_owned()),
    ] {
        secret(&rest.weir, name, &of).await;
    }
    let tags = ["team/app", "team/other", "teams/app"].map(|repository| {
        imported(&repository.replace('/', "-"), &registry.reference(&format!("{repository}:1")), &json!({}))
    });
    rest.make("app", json!(tags)).await;
    rest.weir.settle().await;
    for (repository, user) in [("team/app", "app"), ("team/other", "team"), ("teams/app", "another")] {
        assert_eq!(users(&registry, repository), [user], "{repository}");
    }
    // Without one by name the pattern is good enough.
    for name in ["whole", "another"] {
        rest.weir.store().delete_secret("demo", name, &tester()).await.expect("deleted");
    }
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/app/tags/teams-app/check", &json!({}))
        .await;
    rest.weir.settle().await;
    assert_eq!(users(&registry, "teams/app"), ["another", "glob"]);
    for alias in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        let found = rest.weir.store().registry_credentials("demo", alias, "library/busybox").await.expect("asked");
        assert_eq!(found.map(|found| found.username).as_deref(), Some("hub"), "{alias}");
    }
}

#[tokio::test]
async fn section_6_5_the_sites_credentials_come_after_a_projects_own_and_follow_their_file() {
    let registry = guarded(&TestImage::new("one")).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let write = |user: &str| {
        let auth = STANDARD.encode(format!("{user}:open sesame"));
        let text = json!({"auths": {registry.upstream.address(): {"auth": auth}}}).to_string();
        std::fs::write(&file, text).expect("written");
    };
    write("site");
    let weir = TestWeir::start_with(|config| config.registry_auth_file = Some(file.clone()), false).await;
    let rest = Rest::of(weir).await;
    rest.make("app", json!([imported("1", &registry.reference("org/app:1"), &json!({}))])).await;
    rest.weir.settle().await;
    assert_eq!(users(&registry, "org/app"), ["site"]);
    // Longer than before, so that the change is seen however coarse the file system's clock is.
    write("site-renewed");
    let check = async || {
        let path = "/weir/v1/projects/demo/streams/app/tags/1/check";
        rest.expect(StatusCode::OK, Method::POST, path, &json!({})).await;
        rest.weir.settle().await;
    };
    check().await;
    assert_eq!(users(&registry, "org/app"), ["site", "site-renewed"]);
    secret(&rest.weir, "own", registry.upstream.address()).await;
    check().await;
    assert_eq!(users(&registry, "org/app"), ["site", "site-renewed", "own"]);
    rest.weir.state.importer.write_down_answers().await.expect("written");
    let registries = rest.weir.admin().await.get_json("/weir/v1/registries").await;
    let accounts: Vec<_> = registries["items"].as_array().unwrap().iter().map(|one| &one["account"]).collect();
    assert!(accounts.contains(&&json!("site")) && !registries.to_string().contains("sesame"), "{registries}");
}

#[tokio::test]
async fn section_6_5_a_registry_that_the_site_names_needs_no_tls() {
    let (registry, image) = (DockerRegistry::start(), TestImage::new("plain"));
    image.push(registry.address(), "org/base", "1").await;
    let port = registry.address().split(':').nth(1).unwrap().to_owned();
    for (named, outcome) in [(format!("127.0.*.1:{port}"), "ok"), ("127.0.0.1".to_owned(), "failed")] {
        let weir =
            TestWeir::start_with(|config| config.insecure_registries = Some(named.parse().unwrap()), false).await;
        let rest = Rest::of(weir).await;
        rest.make(
            "app",
            json!([imported("1", registry.reference("org/base:1").exact().as_str(), &json!({"insecure": false}))]),
        )
        .await;
        rest.weir.settle().await;
        let shown = rest.ada.get_json("/weir/v1/projects/demo/streams/app/tags/1").await;
        assert_eq!(shown["import"]["outcome"], json!(outcome), "{named}: {shown}");
    }
}

#[tokio::test]
async fn section_6_8_a_tag_by_digest_is_checked_on_schedule_until_it_is_here() {
    let rest = Rest::start().await;
    let image = TestImage::new("fixed");
    let registry = Misbehaving::start(&image).await;
    registry.misbehave(|_| Some(answer(500, &[], "")));
    let reference = registry.reference(&format!("org/app@{}", image.digest()));
    rest.make("app", json!([imported("fixed", &reference, &json!({"scheduled": true}))])).await;
    let import = async || {
        let tag = rest.weir.store().tag("demo", "app", "fixed").await.expect("the tag");
        rest.weir.store().find_import(&tag.id).await.expect("asked").expect("it follows")
    };
    for failures in 1..=2 {
        rest.weir.run_sql("update tag_imports set next_at = 1 where next_at is not null").await;
        rest.weir.settle().await;
        let told = import().await;
        assert_eq!(
            (told.outcome.as_str(), told.failures, told.next_at.is_some()),
            ("failed", failures, true),
            "{told:?}"
        );
    }
    registry.behave();
    rest.weir.run_sql("update tag_imports set next_at = 1").await;
    rest.weir.settle().await;
    let told = import().await;
    assert_eq!((told.outcome.as_str(), told.next_at), ("ok", None), "what it is cannot change any more");
    assert_eq!(rest.items("app", "fixed").await, [image.digest().to_string()]);
    let shown = rest.ada.get_json(&images("imagestreams/app")).await;
    assert_eq!(shown["spec"]["tags"][0]["importPolicy"]["scheduled"], json!(true), "it says so still");
    let before = registry.upstream.seen().len();
    rest.weir.settle().await;
    assert_eq!(registry.upstream.seen().len(), before);
}

#[tokio::test]
async fn section_6_8_what_is_scheduled_can_be_switched_off_for_the_whole_server() {
    let weir = TestWeir::start_with(|config| config.import_interval = std::time::Duration::ZERO, false).await;
    let rest = Rest::of(weir).await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    let registry = Misbehaving::start(&one).await;
    let spec = imported("1", &registry.reference("org/app:1"), &json!({"scheduled": true}));
    rest.make("app", json!([spec])).await;
    rest.weir.settle().await;
    let digests = async || rest.items("app", "1").await.len();
    assert_eq!(digests().await, 1, "what is new is imported");
    registry.set(&two);
    let asked = registry.upstream.seen().len();
    rest.weir.settle().await;
    let tag = rest.weir.store().tag("demo", "app", "1").await.expect("the tag");
    let next = async || rest.weir.store().find_import(&tag.id).await.expect("asked").expect("it follows").next_at;
    assert_eq!((next().await, registry.upstream.seen().len()), (None, asked));
    for path in ["/p/demo/streams/app/tags/1", "/p/demo/imports"] {
        let page = rest.ada.get(path).await.text().await.expect("a page");
        assert!(
            page.contains("not scheduled on this server") && !page.contains("badge-warn\">Overdue"),
            "{path}: {page}"
        );
    }
    // Webhooks and people work as ever.
    let project = rest.weir.make_project("demo").await;
    let hinted = rest.weir.store().hint_imports(&project, "org/app", Some("1"), 0).await.expect("hinted");
    assert_eq!((hinted.checks, next().await.is_some()), (1, true));
    rest.weir.settle().await;
    assert_eq!((digests().await, next().await), (2, None));
    registry.set(&TestImage::new("three"));
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/app/tags/1/check", &json!({})).await;
    rest.weir.settle().await;
    assert_eq!((digests().await, next().await), (3, None));
    rest.push("app", "1", 4).await;
    assert_eq!(next().await, None, "a push plans nothing");

    // A server that schedules takes it up again, and one that does not lets it be.
    rest.weir.store().begin_schedule(900_000).await.expect("begun");
    assert!(next().await.is_some());
    rest.weir.store().begin_schedule(0).await.expect("begun");
    assert_eq!(next().await, None);
}

/// What the registry door answers to a manifest of `demo/app`.
async fn pull(rest: &Rest, reference: &str) -> (StatusCode, Vec<u8>) {
    let answer = rest.ada.get(&format!("/v2/demo/app/manifests/{reference}")).await;
    (answer.status(), answer.bytes().await.expect("a body").to_vec())
}

#[tokio::test]
async fn section_7_4_a_pull_goes_through_for_either_policy_and_never_in_a_circle() {
    let (registry, image) = (DockerRegistry::start(), TestImage::new("through"));
    image.push(registry.address(), "org/base", "1").await;
    let rest = Rest::start().await;
    let reference = registry.reference("org/base:1").exact();
    let tags = ["Source", "Local"].map(|policy| {
        let mut tag = imported(&policy.to_lowercase(), &reference, &json!({}));
        tag["referencePolicy"] = json!({"type": policy});
        tag
    });
    rest.make("app", json!(tags)).await;
    for tag in ["source", "local"] {
        assert_eq!(pull(&rest, tag).await, (StatusCode::OK, image.manifest.to_vec()), "{tag}");
    }
    let layer = format!("/v2/demo/app/blobs/{}", sha256(&image.layer));
    assert_eq!(rest.ada.get(&layer).await.bytes().await.expect("bytes"), image.layer);

    // This server under its own name, and under another one that only its mark gives away.
    let own = rest.weir.registry().to_owned();
    let alias = own.replace("127.0.0.1", "localhost");
    for (stream, host, told) in [("own", own, "is in this very registry"), ("alias", alias, "508")] {
        secret(&rest.weir, stream, &host).await;
        let data =
            SecretData::Registry { host: host.clone(), username: "ada".into(), password: rest.ada.token().into() };
        rest.weir.store().replace_secret("demo", stream, &data, &tester()).await.expect("a secret");
        rest.make(stream, json!([imported("t", &format!("{host}/demo/{stream}:t"), &json!({}))])).await;
        let refused = rest.ada.get(&format!("/v2/demo/{stream}/manifests/t")).await;
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY, "{stream}");
        let text = refused.text().await.expect("a body");
        assert!(text.contains(told), "{stream}: {text}");
    }
}

#[tokio::test]
async fn section_7_4_only_what_the_history_names_is_asked_for_elsewhere() {
    let (registry, known, hidden) = (DockerRegistry::start(), TestImage::new("known"), TestImage::new("hidden"));
    let child = TestImage::new("child");
    known.push(registry.address(), "org/base", "1").await;
    hidden.push(registry.address(), "org/base", "secret").await;
    child.push(registry.address(), "org/base", child.digest().as_str()).await;
    let index = index_of(&[("amd64", &child)]);
    push_manifest(registry.address(), "org/base", "index", OCI_INDEX, index.clone()).await;
    let door = Proxy::before(registry.address()).await;
    let rest = Rest::start().await;
    let tags = ["1", "index"].map(|tag| imported(tag, &door.reference(&format!("org/base:{tag}")), &json!({})));
    rest.make("app", json!(tags)).await;
    for (tag, manifest) in [("1", known.manifest.to_vec()), ("index", index.to_vec())] {
        assert_eq!(pull(&rest, tag).await, (StatusCode::OK, manifest), "{tag}");
    }
    door.take();
    // What stands in the history, and what that lists.
    assert_eq!(pull(&rest, known.digest().as_str()).await.0, StatusCode::OK);
    assert_eq!(pull(&rest, child.digest().as_str()).await, (StatusCode::OK, child.manifest.to_vec()));
    door.take();
    for path in [
        format!("manifests/{}", hidden.digest()),
        "manifests/secret".to_owned(),
        format!("blobs/{}", sha256(&hidden.layer)),
        format!("blobs/{}", sha256(&hidden.config)),
    ] {
        assert_eq!(rest.ada.get(&format!("/v2/demo/app/{path}")).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(door.take().len(), 0, "nobody was asked for what the history does not name");
}

#[tokio::test]
async fn section_7_4_a_stream_may_say_that_its_repository_is_insecure() {
    let (registry, image) = (DockerRegistry::start(), TestImage::new("plain"));
    image.push(registry.address(), "org/base", "1").await;
    let rest = Rest::start().await;
    let reference = registry.reference("org/base:1").exact();
    let make = async |stream: &str, annotations: Value| {
        let tag = imported("t", &reference, &json!({"insecure": false}));
        let body = json!({"metadata": {"name": stream, "annotations": annotations}, "spec": {"tags": [tag]}});
        rest.post(StatusCode::CREATED, &images("imagestreams"), &body).await;
    };
    make("strict", json!({"openshift.io/image.insecureRepository": "false", "a": "\"openshift.io/image.insecureRepository\":\"true\""})).await;
    make("lax", json!({"a": "b", "openshift.io/image.insecureRepository": "true", "z": "y"})).await;
    let get = async |path: String| rest.ada.get(&path).await.status();
    assert_eq!(get("/v2/demo/strict/manifests/t".to_owned()).await, StatusCode::BAD_GATEWAY);
    assert_eq!(get("/v2/demo/lax/manifests/t".to_owned()).await, StatusCode::OK);
    assert_eq!(get(format!("/v2/demo/lax/blobs/{}", sha256(&image.layer))).await, StatusCode::OK);
    // An import goes by the tag alone.
    rest.expect(StatusCode::OK, Method::POST, "/weir/v1/projects/demo/streams/lax/tags/t/check", &json!({})).await;
    rest.weir.settle().await;
    let shown = rest.ada.get_json("/weir/v1/projects/demo/streams/lax/tags/t").await;
    assert_eq!(shown["import"]["reason"], json!("plain-http"), "{shown}");
}

#[tokio::test]
async fn section_6_4_a_registry_of_the_first_version_is_told_apart() {
    let rest = Rest::start().await;
    let look = async |address: &str| {
        let image = json!({"from": {"kind": "DockerImage", "name": format!("{address}/org/app:1")},
            "to": {"name": "t"}, "importPolicy": {"insecure": true}});
        let body = json!({"metadata": {"name": "app"}, "spec": {"import": false, "images": [image]}});
        let made = rest.post(StatusCode::CREATED, &images("imagestreamimports"), &body).await;
        made["status"]["images"][0]["status"].clone()
    };
    let old = Upstream::answering(|seen| match seen.path() {
        "/v1/_ping" => answer(200, &[], "true"),
        _ => answer(404, &[], "<html>not found</html>"),
    })
    .await;
    let told = look(old.address()).await;
    assert_eq!((&told["code"], &told["reason"]), (&json!(403), &json!("NotV2Registry")), "{told:#}");
    let words = format!("endpoint \"{}\" does not support v2 API", old.address());
    assert!(told["message"].as_str().unwrap().contains(&words), "{told:#}");
    let shown = old.seen().into_iter().filter(|seen| seen.path() == "/v2/").count();
    assert_eq!(shown, 1, "it is found out once");

    const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
    let is_base = |seen: &Seen| seen.path() == "/v2/";
    for (name, registry) in [
        ("an error as version 2 writes it", Upstream::answering(|_| answer(404, &[], UNKNOWN)).await),
        (
            "the header of version 2",
            Upstream::answering(|_| answer(404, &[("docker-distribution-api-version", "registry/2.0")], "")).await,
        ),
        (
            "a base that is there",
            Upstream::answering(move |seen| answer(if is_base(seen) { 200 } else { 404 }, &[], "")).await,
        ),
        (
            "a base that wants a password",
            Upstream::answering(move |seen| answer(if is_base(seen) { 401 } else { 404 }, &[], "")).await,
        ),
    ] {
        let told = look(registry.address()).await;
        assert_eq!((&told["code"], &told["reason"]), (&json!(404), &json!("NotFound")), "{name}: {told:#}");
    }

    rest.make("old", json!([imported("t", &format!("{}/org/app:1", old.address()), &json!({}))])).await;
    rest.weir.settle().await;
    let page = rest.ada.get("/p/demo/streams/old/tags/t").await.text().await.expect("a page");
    assert!(page.contains("not-v2-registry") && page.contains("push the image to this registry"), "{page}");
}
