//! Builds, apps, graph and cascades through pages and forms.

use std::time::Duration;

use reqwest::StatusCode;
use weir::model::Role;

use super::form::{error_at, text};
use crate::support::{Client, TestWeir, tester};

const BUILD: &[(&str, &str)] = &[("image_trigger", "on"), ("config_trigger", "on")];

async fn make_build(client: &Client, name: &str, dockerfile: &str) -> String {
    let output = format!("{name}:latest");
    let fields = [&[("name", name), ("output", output.as_str()), ("dockerfile", dockerfile)], BUILD].concat();
    client.done("/p/demo/builds/new", &fields).await
}

async fn make_app(client: &Client, name: &str, image: &str) -> String {
    let fields = [("name", name), ("image", image), ("replicas", "2"), ("ports", "8081:80"), ("automatic", "on")];
    client.done("/p/demo/apps/new", &fields).await
}

/// Everything so far was two hours earlier than it was; gives the moment one hour ago.
pub async fn hours_pass(weir: &TestWeir) -> String {
    for statement in [
        "update ledger set at = at - 7200000, sorted_at = sorted_at - 7200000",
        "update builds set queued_at = queued_at - 7200000, started_at = started_at - 7200000, finished_at = finished_at - 7200000",
        "update build_configs set created_at = created_at - 7200000, spec_since = spec_since - 7200000",
        "update projects set created_at = created_at - 7200000",
        "update streams set created_at = created_at - 7200000",
        "update tag_events set at = at - 7200000, sorted_at = sorted_at - 7200000",
        "update cascades set created_at = created_at - 7200000",
        "update apps set created_at = created_at - 7200000",
        "update rollouts set created_at = created_at - 7200000, finished_at = finished_at - 7200000",
    ] {
        weir.run_sql(statement).await;
    }
    weir::model::rfc3339(weir::model::now() - 3_600_000)
}

/// Settles until no rollout is under way: the engine takes several looks for each.
pub async fn settle(weir: &TestWeir) {
    for _ in 0..20 {
        weir.settle().await;
        let apps = weir.store().list_apps("demo", "", 100).await.unwrap();
        let under_way = |phase: &str| phase == "Pending" || phase == "Running";
        if !apps.iter().any(|app| app.wanted_phase.as_deref().is_some_and(under_way)) {
            return;
        }
    }
}

/// base → httpd-base → app-a, which runs as an app.
pub async fn story(weir: &TestWeir) -> Client {
    let client = weir.user("developer", "demo", Role::Editor).await;
    make_build(&client, "base", "FROM scratch\nRUN echo one\n").await;
    settle(weir).await;
    make_build(&client, "httpd-base", "FROM base\nRUN echo two\n").await;
    make_build(&client, "app-a", "FROM httpd-base\nRUN echo three\n").await;
    settle(weir).await;
    make_app(&client, "app-a", "app-a:latest").await;
    settle(weir).await;
    client
}

#[tokio::test]
async fn a_change_runs_through_and_every_page_tells_of_it() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let run = client.done("/p/demo/builds/httpd-base/start", &[]).await;
    assert_eq!(run, "/p/demo/builds/httpd-base/runs/2");
    assert!(text(&client.page(&run).await).contains("Queued"));
    settle(&weir).await;
    let page = client.page(&run).await;
    assert!(page.contains("id=\"L1\"") && text(&page).contains("Complete"), "{}", text(&page));
    assert!(text(&client.page("/p/demo/builds").await).contains("Image change: httpd-base:latest"));
    let app = text(&client.page("/p/demo/apps/app-a").await);
    assert!(app.contains("In step") && app.contains("#2"), "{app}");
    let cascades = client.page("/p/demo/cascades").await;
    assert!(text(&cascades).contains("Build httpd-base-2"), "{}", text(&cascades));
    let number = weir.store().list_cascades("demo", None, 1).await.unwrap()[0].number;
    let cascade = text(&client.page(&format!("/p/demo/cascades/{number}")).await);
    assert!(cascade.contains("3 of 3 done"), "{cascade}");
    let run = text(&client.page("/p/demo/builds/app-a/runs/2").await);
    assert!(run.contains("httpd-base #2") && run.contains("this run"), "{run}");
    weir.stop().await;
}

#[tokio::test]
async fn an_app_goes_back_with_one_click_stays_and_comes_forward_again() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/app-a/start", &[]).await;
    settle(&weir).await;
    let page = client.page("/p/demo/apps/app-a").await;
    assert_eq!(page.matches(">Roll back<").count(), 2, "{}", text(&page));
    assert_eq!(client.done("/p/demo/apps/app-a/rollback", &[("to", "1")]).await, "/p/demo/apps/app-a");
    settle(&weir).await;
    let held = text(&client.page("/p/demo/apps/app-a").await);
    for words in ["Held by developer", "1 newer waiting", "Undo", "rollback to #1"] {
        assert!(held.contains(words), "{words}: {held}");
    }
    let list = text(&client.page("/p/demo/apps").await);
    assert!(list.contains("Held") && list.contains("Resume"), "{list}");
    let twice = client.refused("/p/demo/apps/app-a/rollback", &[("to", "1")], StatusCode::CONFLICT).await;
    assert!(text(&twice).contains("already runs the image"), "{}", text(&twice));
    client.done("/p/demo/builds/app-a/start", &[]).await;
    settle(&weir).await;
    assert!(text(&client.page("/p/demo/apps/app-a").await).contains("Held by developer"));
    client.done("/p/demo/apps/app-a/resume", &[]).await;
    settle(&weir).await;
    assert!(text(&client.page("/p/demo/apps/app-a").await).contains("In step"));
    client.done("/p/demo/apps/app-a/rollback", &[("to", "1"), ("dialog", "1"), ("reason", "it was slow")]).await;
    assert!(text(&client.page("/p/demo/apps/app-a").await).contains("Reason: it was slow"));
    client.done("/p/demo/apps/app-a/undo", &[]).await;
    settle(&weir).await;
    assert!(text(&client.page("/p/demo/apps/app-a").await).contains("In step"));
    weir.stop().await;
}

#[tokio::test]
async fn many_replicas_lead_to_the_dialog_first() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/app-a/start", &[]).await;
    settle(&weir).await;
    let fields = [("image", "app-a:latest"), ("replicas", "51"), ("automatic", "on")];
    client.done("/p/demo/apps/app-a/edit", &fields).await;
    let to = client.done("/p/demo/apps/app-a/rollback", &[("to", "1")]).await;
    assert_eq!(to, "/p/demo/apps/app-a/rollback?to=1");
    let dialog = text(&client.page(&to).await);
    assert!(
        dialog.contains("1 app rolls: 51 replicas to the older image") && dialog.contains("Only the image changes"),
        "{dialog}"
    );
    client.done("/p/demo/apps/app-a/rollback", &[("to", "1"), ("dialog", "1")]).await;
    weir.stop().await;
}

#[tokio::test]
async fn faults_are_told_at_their_field_and_what_was_typed_stays() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let refused = |path: &'static str, fields: Vec<(&'static str, &'static str)>| {
        let client = client.clone();
        async move { client.refused(path, &fields, StatusCode::UNPROCESSABLE_ENTITY).await }
    };
    let new = "/p/demo/builds/new";
    let page = refused(new, vec![("name", "Foo"), ("output", "x:latest"), ("dockerfile", "FROM scratch")]).await;
    assert!(!error_at(&page, "name").is_empty() && page.contains("value=\"Foo\""));
    let page =
        refused(new, vec![("name", "x"), ("output", "x:latest"), ("dockerfile", "FROM scratch\nRUN x\nFROM\n")]).await;
    assert!(error_at(&page, "dockerfile").contains("line 3"), "{}", error_at(&page, "dockerfile"));
    let page = refused(new, vec![("name", "x"), ("output", "base:latest"), ("dockerfile", "FROM app-a")]).await;
    assert!(error_at(&page, "output").contains("base:latest → "), "{}", error_at(&page, "output"));
    let page = refused(new, vec![("name", "x"), ("output", "x:latest"), ("git", "ext::sh -c id")]).await;
    assert!(error_at(&page, "git").contains("https://"));
    let page =
        refused(new, vec![("name", "x"), ("output", "x:latest"), ("git", "https://e.org/a.git"), ("ref", "-x")]).await;
    assert!(!error_at(&page, "ref").is_empty());
    refused(new, vec![("name", "x"), ("output", "x:latest")]).await;
    let page = refused(new, vec![("name", "base"), ("output", "x:latest"), ("dockerfile", "FROM scratch")]).await;
    assert!(error_at(&page, "name").contains("exists"));
    let app = "/p/demo/apps/new";
    let page = refused(app, vec![("name", "y"), ("image", "app-a:nine")]).await;
    assert!(error_at(&page, "image").contains("app-a:latest"), "{}", error_at(&page, "image"));
    let page = refused(app, vec![("name", "y"), ("image", "app-a:latest"), ("ports", "8081:80 8081:81")]).await;
    assert!(error_at(&page, "ports").contains("given twice"));
    weir.stop().await;
}

#[tokio::test]
async fn a_failed_run_says_why_and_its_log_is_there_in_every_form() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let mut dockerfile = "FROM scratch\n".to_owned();
    for line in 0..1200 {
        dockerfile.push_str(&format!("RUN echo line-{line}\n"));
    }
    dockerfile.push_str("RUN false\n");
    make_build(&client, "broken", &dockerfile).await;
    settle(&weir).await;
    let run = "/p/demo/builds/broken/runs/1";
    let page = client.page(run).await;
    let words = text(&page);
    assert!(words.contains("A step of the Dockerfile failed.") && words.contains("exit status 1"), "{words}");
    assert!(!page.contains("id=\"L1\"") && page.contains("?from="), "only the end is shown");
    let first = client.page(&format!("{run}?from=1")).await;
    assert!(first.contains("id=\"L1\"") && first.contains("Later"));
    let plain = client.get(&format!("{run}/log")).await.text().await.unwrap();
    assert!(plain.contains("line-0\n") && plain.contains("line-1199\n"));
    let lines = plain.lines().count();
    let from = lines - 2;
    let stream = client.get(&format!("{run}/log/stream?from={from}")).await;
    let events = tokio::time::timeout(Duration::from_secs(10), stream.text()).await.expect("the stream ends").unwrap();
    assert!(events.contains(&format!("id: {lines}")) && events.contains("event: end"), "{events}");
    assert!(!weir.anon().get(&format!("{run}/log")).await.status().is_success());
    weir.stop().await;
}

#[tokio::test]
async fn the_graph_is_drawn_and_listed_and_shows_what_would_happen() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let page = client.page("/p/demo/graph").await;
    assert!(page.contains("<svg class=\"graph"));
    for node in ["tag base:latest", "build httpd-base", "app app-a"] {
        assert!(page.contains(node), "{node}");
    }
    let table = page.split_once("id=\"table\"").expect("a table").1;
    assert_eq!(table.matches(">Start build").count(), 3);
    let chosen = text(&client.page("/p/demo/graph?node=build:httpd-base&focus=up").await);
    assert!(chosen.contains("Takes in") && !chosen.contains("app-a:latest"), "{chosen}");
    let impact = text(&client.page("/p/demo/graph?impact=tag:base:latest").await);
    assert!(
        impact.contains("If base:latest moves") && impact.contains("2 builds in 2 steps, then 1 app with 2 replicas"),
        "{impact}"
    );
    weir.stop().await;
}

/// A change does not stop at a project's border; what is behind it is not everybody's to know.
#[tokio::test]
async fn plans_do_not_name_what_the_reader_may_not_see() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let keeper = weir.user("keeper", "vault", Role::Editor).await;
    weir.store().grant_role("demo", "keeper", Role::Viewer, &tester()).await.unwrap();
    let fields = [("name", "payroll"), ("image", "demo/base:latest"), ("replicas", "1"), ("automatic", "on")];
    keeper.done("/p/vault/apps/new", &fields).await;
    settle(&weir).await;
    let sequence = weir.store().find_tag("demo", "base", "latest").await.unwrap().unwrap().event_sequence.unwrap();
    let rollback = format!("/p/demo/streams/base/tags/latest/rollback?to={sequence}");
    for path in ["/p/demo/graph?impact=tag:base:latest", rollback.as_str()] {
        let seen = text(&client.page(path).await);
        assert!(seen.contains("something in a project that you may not see"), "{path}: {seen}");
        assert!(!seen.contains("payroll") && !seen.contains("vault"), "{path}: {seen}");
    }
    let seen = text(&keeper.page("/p/demo/graph?impact=tag:base:latest").await);
    assert!(seen.contains("vault/payroll"), "{seen}");
    weir.stop().await;
}

#[tokio::test]
async fn viewers_read_and_act_on_nothing() {
    let weir = TestWeir::start().await;
    story(&weir).await;
    let viewer = weir.user("reader", "demo", Role::Viewer).await;
    for path in [
        "/p/demo/builds",
        "/p/demo/builds/base",
        "/p/demo/apps",
        "/p/demo/apps/app-a",
        "/p/demo/graph",
        "/p/demo/cascades",
    ] {
        let words = text(&viewer.page(path).await);
        for button in ["Start build", "Roll back", "Undo", "Pause"] {
            assert!(!words.contains(&format!(" {button} ")), "{path}: {button}: {words}");
        }
    }
    for path in [
        "/p/demo/builds/base/start",
        "/p/demo/apps/app-a/hold",
        "/p/demo/cascades/1/undo",
        "/p/demo/builds/base/delete",
    ] {
        let answer = viewer.send(path, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let stranger = weir.user("stranger", "other", Role::Admin).await;
    assert_eq!(stranger.get("/p/demo/builds/base").await.status(), StatusCode::NOT_FOUND);
    weir.stop().await;
}

#[tokio::test]
async fn a_cascade_is_paused_cancelled_and_undone() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    client.done("/p/demo/builds/base/start", &[]).await;
    let number = weir.store().list_cascades("demo", None, 1).await.unwrap()[0].number;
    let path = format!("/p/demo/cascades/{number}");
    client.done(&format!("{path}/pause"), &[]).await;
    assert!(text(&client.page(&path).await).contains("the cascade is paused"));
    client.done(&format!("{path}/resume"), &[]).await;
    settle(&weir).await;
    let page = text(&client.page(&path).await);
    assert!(page.contains("4 of 4 done"), "{page}");
    let undo = client.done(&format!("{path}/undo"), &[]).await;
    settle(&weir).await;
    assert!(text(&client.page(&undo).await).contains("restore"));
    assert!(text(&client.page(&path).await).contains("Undone"));
    let again = client.refused(&format!("{path}/undo"), &[], StatusCode::CONFLICT).await;
    assert!(text(&again).contains("undone already"));
    weir.stop().await;
}
