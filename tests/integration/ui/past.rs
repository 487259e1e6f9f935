//! The console as it was at a moment.

use reqwest::StatusCode;
use weir::model::{Actor, Role, SourceKind};
use weir::server::store::TagSpec;

use super::form::text as form_text;
use super::sample::{demo, digest, html, push, send, text};
use super::work::{hours_pass, settle, story};
use crate::support::TestWeir;

/// The rows of everything so far are from this day on, an hour each: one for each of the tag's moves.
const HOURS: [&str; 3] = ["2026-01-01T10:00Z", "2026-01-01T11:00Z", "2026-01-01T12:00Z"];
const BEFORE: &str = "2026-01-01T09:00Z";

/// Sets the times of a tag's rows to [`HOURS`], and those of its stream and project before them.
async fn spread(weir: &TestWeir, stream: &str) {
    let at = |text: &str| text.parse::<weir::model::Moment>().unwrap().end - 60_000;
    let pool = weir.database().await;
    for (number, hour) in (1_i64..).zip(HOURS) {
        let row = "update tag_events set at = $1, sorted_at = $1 where number = $2 and tag_id in \
                   (select t.id from tags t join streams s on s.id = t.stream_id where s.name = $3)";
        sqlx::query(row).bind(at(hour)).bind(number).bind(stream).execute(&pool).await.unwrap();
        let row = "update ledger set at = $1, sorted_at = $1 where sequence in (select e.sequence from tag_events e \
                   join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id where e.number = $2 and s.name = $3)";
        sqlx::query(row).bind(at(hour)).bind(number).bind(stream).execute(&pool).await.unwrap();
    }
    let made = sqlx::query("update streams set created_at = $1 where name = $2").bind(at(HOURS[0])).bind(stream);
    made.execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn catalog_stream_and_tag_are_seen_as_they_were() {
    let (weir, ada) = demo().await;
    spread(&weir, "base").await;
    let page = async |path: &str, moment: &str| {
        text(&html(ada.get(&format!("{path}?as-of={moment}")).await, StatusCode::OK).await)
    };
    let streams = page("/p/demo/streams", HOURS[1]).await;
    assert!(streams.contains("how it was at 2026-01-01 11:00 UTC") && streams.contains("Back to now"), "{streams}");
    assert!(streams.contains("base") && !streams.contains("python"), "later ones are not there: {streams}");
    let streams = page("/p/demo/streams", BEFORE).await;
    assert!(streams.contains("There was no stream"), "{streams}");

    let short = |n: u8| digest(n)[7..19].to_owned();
    let tags = html(ada.get(&format!("/p/demo/streams/base?as-of={}", HOURS[1])).await, StatusCode::OK).await;
    assert!(tags.contains(&short(2)) && tags.contains(&short(3)), "where it pointed, and where it does now");
    let link = format!("/p/demo/streams/base/tags/latest?as-of={}", urlencoding::encode(HOURS[1]));
    assert!(tags.contains(&link), "links keep the moment");
    let whole = html(ada.get(&link).await, StatusCode::OK).await;
    let tag = text(&whole);
    assert!(tag.contains("Pointed to then") && tag.contains("Its history then"), "{tag}");
    assert!(whole.contains("Roll back") && !whole.contains(&digest(3).replace("sha256:", "images/sha256:")), "{tag}");
    assert!(!whole.contains("Compare with current"), "what is current came later");
    for acting in ["Check now", ">Hold<", "Delete…", "Add tag"] {
        assert!(!whole.contains(acting), "the past offers {acting}");
    }
    let missing = ada.get(&format!("/p/demo/streams/base/tags/latest?as-of={BEFORE}")).await;
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);

    let vic = weir.user("vic", "demo", Role::Viewer).await;
    assert!(!html(vic.get(&link).await, StatusCode::OK).await.contains("Roll back"));
    let stranger = weir.user("eve", "other", Role::Admin).await;
    assert_eq!(stranger.get(&link).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn going_back_from_the_past_is_going_back() {
    let (weir, ada) = demo().await;
    spread(&weir, "base").await;
    let link = format!("/p/demo/streams/base/tags/latest?as-of={}", HOURS[0]);
    let page = html(ada.get(&link).await, StatusCode::OK).await;
    let value = |name: &str| {
        let rest = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap().1;
        rest.split('"').next().unwrap().to_owned()
    };
    let fields = [("to", value("to")), ("seen", value("seen"))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let done = send(&ada, "/p/demo/streams/base/tags/latest/rollback", &fields).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    assert_eq!(weir.store().tag("demo", "base", "latest").await.unwrap().digest, Some(digest(1)));
}

#[tokio::test]
async fn what_was_deleted_since_is_there() {
    let (weir, ada) = demo().await;
    push(&weir, "base", "other", 1, &Actor::person("ada")).await;
    spread(&weir, "base").await;
    weir.store().delete_tag("demo", "base", "other", &Actor::person("ada")).await.unwrap();
    let path = format!("/p/demo/streams/base?as-of={}", HOURS[2]);
    let tags = text(&html(ada.get(&path).await, StatusCode::OK).await);
    assert!(tags.contains("other") && tags.contains("Deleted"), "{tags}");
    weir.store().delete_stream("demo", "base", &Actor::person("ada")).await.unwrap();
    let streams = text(&html(ada.get(&format!("/p/demo/streams?as-of={}", HOURS[2])).await, StatusCode::OK).await);
    assert!(streams.contains("base") && streams.contains("Deleted") && streams.contains("by ada"), "{streams}");
    let tags = text(&html(ada.get(&path).await, StatusCode::OK).await);
    assert!(tags.contains("latest") && tags.contains("other") && tags.contains("Deleted since"), "{tags}");
    let tag = format!("/p/demo/streams/base/tags/other?as-of={}", HOURS[2]);
    let page = html(ada.get(&tag).await, StatusCode::OK).await;
    assert!(page.contains(&digest(1)[7..19]) && !page.contains("Roll back"), "{}", text(&page));
    assert!(text(&page).contains("Its history then"), "{}", text(&page));
    let image = format!("/p/demo/streams/base/images/{}?as-of={}", digest(1), HOURS[2]);
    let image = text(&html(ada.get(&image).await, StatusCode::OK).await);
    assert!(image.contains("Pointed here then") && image.contains("are not stored here"), "{image}");
    assert_eq!(ada.get("/p/demo/streams/base").await.status(), StatusCode::NOT_FOUND);
    // What pointed nowhere at the moment was used by nothing.
    assert!(page.contains("tags/other/used-by"));
    let gone = "update ended_tag_events set sorted_at = (select min(sorted_at) + 1 from ended_tag_events) where outcome = 'deleted'";
    weir.run_sql(gone).await;
    let page = html(ada.get(&tag).await, StatusCode::OK).await;
    assert!(text(&page).contains("It pointed to no image then") && !page.contains("used-by"), "{}", text(&page));
}

/// Everything so far happened two hours ago; gives the moment an hour ago.
async fn two_hours_pass(weir: &TestWeir) -> String {
    for statement in [
        "update ledger set at = at - 7200000, sorted_at = sorted_at - 7200000",
        "update tag_events set at = at - 7200000, sorted_at = sorted_at - 7200000",
        "update streams set created_at = created_at - 7200000",
        "update projects set created_at = created_at - 7200000",
    ] {
        weir.run_sql(statement).await;
    }
    weir::model::rfc3339(weir::model::now() - 3_600_000)
}

#[tokio::test]
async fn a_project_made_anew_tells_nothing_of_the_former_one() {
    let weir = TestWeir::start().await;
    weir.user("ada", "payroll", Role::Admin).await;
    let actor = Actor::person("ada");
    weir.store().ensure_stream("payroll", &"salaries".parse().unwrap(), &actor).await.unwrap();
    weir.store().delete_project("payroll", &actor).await.unwrap();
    let eve = weir.user("eve", "payroll", Role::Admin).await;
    let moment = two_hours_pass(&weir).await;
    for path in ["/p/payroll", "/p/payroll/activity", "/weir/v1/projects/payroll/activity"] {
        for path in [path.to_owned(), format!("{path}?as-of={moment}")] {
            let page = html(eve.get(&path).await, StatusCode::OK).await;
            for former in ["salaries", "ada", "project delete", "project.delete"] {
                assert!(
                    !page.contains(&format!(">{former}<")) && !page.contains(&format!("\"{former}\"")),
                    "{path}: {page}"
                );
            }
            assert!(!path.contains("activity") || text(&page).contains("payroll"), "{path}: {page}");
        }
    }
    let early = weir::model::rfc3339(weir::model::now() - 4 * 3_600_000);
    for path in ["", "/activity"] {
        let answer = eve.get(&format!("/p/payroll{path}?as-of={early}")).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_tag_that_only_named_an_image_then_is_told_so() {
    let (weir, ada) = demo().await;
    let follow = TagSpec { source: Some((SourceKind::ImageStreamTag, "base:latest".into())), ..TagSpec::default() };
    let bare = TagSpec { reference_only: true, scheduled: false, ..TagSpec::import("c.io/x:1") };
    for (stream, tag, spec) in [("web", "stable", follow), ("base", "latest", bare)] {
        let (stream, tag) = (stream.parse().unwrap(), tag.parse().unwrap());
        weir.store().set_tag("demo", &stream, &tag, &spec, None, &Actor::person("ada")).await.unwrap();
    }
    let moment = two_hours_pass(&weir).await;
    let page = html(ada.get(&format!("/p/demo/streams/web?as-of={moment}")).await, StatusCode::OK).await;
    assert!(text(&page).contains("stable only named c.io/x:1 since 2 hours ago"), "{}", text(&page));
    assert!(!page.contains("/streams/web/images/"), "it had none: {}", text(&page));
}

#[tokio::test]
async fn pages_keep_the_moment_and_bad_moments_are_refused_in_words() {
    let (weir, ada) = demo().await;
    for n in 0..30 {
        push(&weir, "base", &format!("t{n:02}"), 1, &Actor::person("ada")).await;
    }
    spread(&weir, "base").await;
    let first = html(ada.get(&format!("/p/demo/streams/base?as-of={}&n=25", HOURS[2])).await, StatusCode::OK).await;
    let next = first.split("href=\"").find(|link| link.contains("after=")).unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    assert!(next.contains("as-of="), "{next}");
    let second = text(&html(ada.get(&next).await, StatusCode::OK).await);
    assert!(second.contains("t24") && !second.contains("t23") && second.contains("You see the past"), "{second}");

    let pages = ["", "/base", "/base/tags/latest"].map(|rest| format!("/p/demo/streams{rest}"));
    let others = ["/apps", "/builds", "/activity", "/streams/base/history", "/cascades", "/freezes", ""]
        .map(|rest| format!("/p/demo{rest}"));
    for path in pages.iter().chain(&others) {
        let unreadable =
            html(ada.get(&format!("{path}?as-of=yesterday")).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(text(&unreadable).contains("is no moment: write it as 2026-11-20T12:00Z"), "{}", text(&unreadable));
        let later =
            html(ada.get(&format!("{path}?as-of=2999-01-01T00:00Z")).await, StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(text(&later).contains("is not over yet"), "{}", text(&later));
        let form = html(ada.get(path).await, StatusCode::OK).await;
        assert!(form.contains("type=\"datetime-local\" name=\"as-of\""), "{path}");
    }
    let builds = text(&html(ada.get(&format!("/p/demo/builds?as-of={}", HOURS[0])).await, StatusCode::OK).await);
    assert!(builds.contains("You see the past") && builds.contains("There was no build"), "{builds}");
    let graph = text(&html(ada.get(&format!("/p/demo/graph?as-of={}", HOURS[0])).await, StatusCode::OK).await);
    assert!(graph.contains("This page knows no past"), "{graph}");
    let apps = text(&html(ada.get(&format!("/p/demo/apps?as_of={}", HOURS[0])).await, StatusCode::OK).await);
    assert!(apps.contains("You see the past") && apps.contains("There was no app"), "{apps}");
}

/// Builds, rollouts and what was done, as they were between the making of all and a change that ran through.
#[tokio::test]
async fn builds_an_apps_rollouts_and_the_activity_are_seen_as_they_were() {
    let weir = TestWeir::start().await;
    let client = story(&weir).await;
    let moment = hours_pass(&weir).await;
    client.done("/p/demo/builds/base/start", &[]).await;
    settle(&weir).await;
    let page = async |path: &str| client.page(&format!("{path}?as-of={moment}")).await;

    let builds = page("/p/demo/builds").await;
    let words = form_text(&builds);
    assert!(words.contains("You see the past") && words.contains("#1 2 hours ago") && words.contains("#2"), "{words}");
    let run = format!("href=\"/p/demo/builds/base/runs/1?as-of={}\"", urlencoding::encode(&moment));
    assert!(builds.contains(&run) && !words.contains("Start build"), "{words}");
    assert!(builds.contains("href=\"/p/demo/builds/base/runs/2\""), "a run that came later is one of now: {words}");
    let run = page("/p/demo/builds/base/runs/1").await;
    let words = form_text(&run);
    assert!(words.contains("You see the past") && words.contains("Complete") && !words.contains("Rebuild"), "{words}");
    assert!(
        words.contains("its log, as it is now") && run.contains("href=\"/p/demo/builds/base/runs/1#log\""),
        "{words}"
    );
    let output = format!("href=\"/p/demo/streams/base/tags/latest?as-of={}\"", urlencoding::encode(&moment));
    assert!(run.contains(&output), "links keep the moment: {run}");
    let later = client.get(&format!("/p/demo/builds/base/runs/2?as-of={moment}")).await;
    assert_eq!(later.status(), StatusCode::NOT_FOUND);
    let log = client.get(&format!("/p/demo/builds/base/runs/1/log?as-of={moment}")).await;
    assert_eq!(log.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let cascades = page("/p/demo/cascades").await;
    let words = form_text(&cascades);
    assert!(words.contains("You see the past") && words.contains("Done") && !words.contains("Undo"), "{words}");
    let newest = weir.store().list_cascades("demo", None, 1).await.unwrap().remove(0);
    assert!(!cascades.contains(&format!("cascades/{}?", newest.number)), "it began later: {words}");
    assert_eq!(
        client.get(&format!("/p/demo/cascades/{}?as-of={moment}", newest.number)).await.status(),
        StatusCode::NOT_FOUND
    );
    let first = weir.store().list_cascades("demo", None, 100).await.unwrap();
    let first = first
        .iter()
        .filter(|cascade| cascade.builds > 0 && cascade.number < newest.number)
        .min_by_key(|cascade| cascade.number);
    let one = page(&format!("/p/demo/cascades/{}", first.unwrap().number)).await;
    let words = form_text(&one);
    assert!(words.contains("Steps that had begun") && words.contains("done") && !words.contains("Undo"), "{words}");
    assert!(one.contains(&format!("runs/1?as-of={}", urlencoding::encode(&moment))), "{one}");
    let overview = form_text(&page("/p/demo").await);
    assert!(
        overview.contains("You see the past") && overview.contains("app-a") && overview.contains("Done last"),
        "{overview}"
    );
    assert!(overview.contains("All builds of then") && !overview.contains("base-2"), "{overview}");
    let freezes = form_text(&page("/p/demo/freezes").await);
    assert!(freezes.contains("There was no freeze") && !freezes.contains("Freeze the project"), "{freezes}");
    let build = form_text(&page("/p/demo/builds/base").await);
    assert!(build.contains("Its runs then") && build.contains("#1") && !build.contains("#2"), "{build}");
    assert!(
        build.contains("How it built then") && build.contains("Dockerfile") && !build.contains("Start build"),
        "{build}"
    );
    let users = form_text(&page("/p/demo/streams/base/used-by").await);
    assert!(users.contains("is not kept") && users.contains("httpd-base") && users.contains("#1"), "{users}");
    let users = form_text(&page("/p/demo/streams/base/tags/latest/used-by").await);
    assert!(users.contains("On current then"), "{users}");
    let users = form_text(&page("/p/demo/streams/app-a/used-by").await);
    assert!(users.contains("Apps that were to run one of its images") && users.contains("Complete"), "{users}");
    let apps = page("/p/demo/apps").await;
    let link = format!("/p/demo/apps/app-a?as-of={}", urlencoding::encode(&moment));
    assert!(apps.contains(&link), "links keep the moment");
    let app = client.page(&link).await;
    let words = form_text(&app);
    assert!(words.contains("Its rollouts then") && words.contains("Complete") && !words.contains("#2"), "{words}");
    let digest = async |number| {
        let app = weir.store().app("demo", "app-a").await.unwrap();
        weir.store().find_rollout(&app.id, number).await.unwrap().unwrap().digest
    };
    assert!(
        app.contains(&digest(1).await) && app.contains(&digest(2).await),
        "what it was to run, and what it is to run now"
    );
    for acting in ["Roll back", "Resume", ">Hold<", "Deploy newest"] {
        assert!(!app.contains(acting), "the past offers {acting}");
    }
    let activity = page("/p/demo/activity").await;
    let words = form_text(&activity);
    assert!(words.contains("base-1") && !words.contains("base-2"), "{words}");
    assert!(
        activity.contains(&format!("type=\"hidden\" name=\"as-of\" value=\"{moment}\"")),
        "filters keep the moment"
    );
    let now = form_text(&client.page("/p/demo/activity").await);
    assert!(now.contains("base-2"), "{now}");
    let early = weir::model::rfc3339(weir::model::now() - 4 * 3_600_000);
    for (path, status) in [("builds", 200), ("activity", 404), ("apps/app-a", 404)] {
        let answer = client.get(&format!("/p/demo/{path}?as-of={early}")).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    weir.stop().await;
}

#[tokio::test]
async fn the_catalog_of_then_is_searched_sorted_and_says_what_moved_last() {
    let (weir, ada) = demo().await;
    spread(&weir, "base").await;
    let page = async |path: &str| html(ada.get(&format!("/p/demo/{path}")).await, StatusCode::OK).await;
    let whole = page(&format!("streams?as-of={}&q=base&dir=desc", HOURS[1])).await;
    let words = text(&whole);
    assert!(words.contains("latest") && words.contains(&digest(2)[7..19]) && words.contains("moved"), "{words}");
    assert!(
        whole.contains("aria-sort=\"descending\"") && whole.contains("name=\"as-of\" value=\"2026-01-01T11:00Z\""),
        "{words}"
    );
    let none = text(&page(&format!("streams?as-of={}&q=nothing", HOURS[1])).await);
    assert!(none.contains("No stream of then fits"), "{none}");
    let untold = text(&page(&format!("streams?as-of={}&health=failing", HOURS[1])).await);
    assert!(untold.contains("is not kept: all of them are listed"), "{untold}");
    let tags = text(&page(&format!("streams/base?as-of={}&q=LAT&sort=semver", HOURS[1])).await);
    assert!(tags.contains("latest") && !tags.contains("sorted by name or by version"), "{tags}");
    let tags = text(&page(&format!("streams/base?as-of={}&q=x&sort=size", HOURS[1])).await);
    assert!(tags.contains("No tag of then fits") && tags.contains("sorted by name or by version"), "{tags}");
}

#[tokio::test]
async fn histories_deleted_tags_images_and_comparisons_keep_the_moment() {
    let (weir, ada) = demo().await;
    spread(&weir, "base").await;
    let page = async |path: &str| html(ada.get(&format!("/p/demo/streams/base/{path}")).await, StatusCode::OK).await;
    let moment = format!("as-of={}", urlencoding::encode(HOURS[1]));
    let history = page(&format!("history?as-of={}", HOURS[1])).await;
    let words = text(&history);
    assert!(
        words.contains("You see the past") && history.contains(&digest(2)) && !history.contains(&digest(3)),
        "{words}"
    );
    assert!(history.contains(&format!("images/{}?{moment}", digest(2))), "links keep the moment");
    assert!(
        history.contains(&format!(
            "compare?from={}&amp;to={}&amp;tag=latest&amp;{moment}",
            digest(1).replace(':', "%3A"),
            digest(2).replace(':', "%3A")
        )),
        "{history}"
    );

    push(&weir, "base", "other", 1, &Actor::person("ada")).await;
    weir.store().delete_tag("demo", "base", "other", &Actor::person("ada")).await.unwrap();
    spread(&weir, "base").await;
    let deleted = text(&page(&format!("deleted-tags?as-of={}", HOURS[1])).await);
    assert!(deleted.contains("other") && deleted.contains("still deleted"), "{deleted}");
    assert!(text(&page(&format!("deleted-tags?as-of={}", HOURS[0])).await).contains("No tag was deleted"));
    let other = text(&page(&format!("tags/other?as-of={}", HOURS[1])).await);
    assert!(other.contains("It pointed to no image then") && other.contains("Tag deleted"), "{other}");

    let image = page(&format!("images/{}?as-of={}", digest(1), HOURS[1])).await;
    let words = text(&image);
    assert!(
        words.contains("You see the past")
            && words.contains("Had pointed here")
            && words.contains("Apps that were to run it"),
        "{words}"
    );
    assert!(image.contains(&format!("packages?{moment}")) && !words.contains("Point a tag here"), "{words}");
    let packages = text(&page(&format!("images/{}/packages?as-of={}", digest(1), HOURS[1])).await);
    assert!(packages.contains("You see the past") && !packages.contains("knows no past"), "{packages}");
    let compare = page(&format!("compare?from={}&to={}&as-of={}", digest(1), digest(2), HOURS[1])).await;
    let words = text(&compare);
    assert!(words.contains("You see the past") && !words.contains("Roll back"), "{words}");
    let (from, now) = (digest(1).replace(':', "%3A"), digest(2).replace(':', "%3A"));
    assert!(
        compare.contains(&format!("href=\"/p/demo/streams/base/compare?from={from}&amp;to={now}\"")),
        "back to now keeps what is compared"
    );
    assert!(
        compare.contains(&format!("type=\"hidden\" name=\"from\" value=\"{}\"", digest(1))),
        "another moment does, too"
    );
    let later = ada.get(&format!("/p/demo/streams/base/images/{}?as-of={}", digest(3), HOURS[1])).await;
    assert_eq!(later.status(), StatusCode::NOT_FOUND, "it came later");
    let later =
        ada.get(&format!("/p/demo/streams/base/compare?from={}&to={}&as-of={}", digest(1), digest(3), HOURS[1])).await;
    assert_eq!(later.status(), StatusCode::NOT_FOUND);
    for path in ["history", "deleted-tags", "used-by", "tags/latest/used-by", "compare"] {
        let bad = ada.get(&format!("/p/demo/streams/base/{path}?as-of=yesterday")).await;
        assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
}

#[tokio::test]
async fn nothing_of_the_moment_is_dropped_on_the_way() {
    let (weir, ada) = demo().await;
    spread(&weir, "base").await;
    let page = async |path: &str| html(ada.get(path).await, StatusCode::OK).await;
    let minute = page(&format!("/p/demo/streams?as-of={}", HOURS[1])).await;
    assert!(minute.contains("type=\"datetime-local\" name=\"as-of\" value=\"2026-01-01T11:00\""), "{minute}");
    for precise in ["2026-01-01T11:00:30Z", "2026-01-01T11:00:00.250Z", "2026-01-01T12:00+01:00"] {
        let shown = page(&format!("/p/demo/streams?as-of={}", urlencoding::encode(precise))).await;
        assert!(shown.contains(&format!("type=\"text\" name=\"as-of\" value=\"{precise}\"")), "{precise}: {shown}");
    }
    // The ways to other sections and the search stay there.
    let moment = format!("as-of={}", urlencoding::encode(HOURS[1]));
    for section in ["", "/builds", "/cascades", "/graph"] {
        assert!(minute.contains(&format!("href=\"/p/demo{section}?{moment}\"")), "{section}: {minute}");
    }
    let search = page(&format!("/search?q=lat&as-of={}", HOURS[1])).await;
    assert!(text(&search).contains("The search knows what is there now"), "{}", text(&search));
    assert!(!search.contains("/p/demo/streams?q=lat"), "the project is of today");
    let pool = weir.database().await;
    sqlx::query("update projects set created_at = 0").execute(&pool).await.unwrap();
    pool.close().await;
    let search = page(&format!("/search?q=lat&as-of={}", HOURS[1])).await;
    assert!(search.contains(&format!("/p/demo/streams?q=lat&amp;{moment}")), "{search}");
    let projects = page(&format!("/?as-of={}", HOURS[1])).await;
    assert!(projects.contains(&format!("href=\"/p/demo?{moment}\"")), "{projects}");
    let overview = text(&page(&format!("/p/demo?as-of={}", HOURS[1])).await);
    assert!(overview.contains("You see the past") && overview.contains("All streams of then"), "{overview}");
    let early = ada.get("/?as-of=1969-01-01T00:00Z").await;
    assert!(text(&html(early, StatusCode::OK).await).contains("There was no project"));
}

#[tokio::test]
async fn all_apps_that_ran_an_image_can_be_reached() {
    let (weir, ada) = demo().await;
    let pool = weir.database().await;
    for number in 0..102 {
        let app = format!("gone-{number:03}");
        let made = "insert into ended_apps (id, project_id, name, created_at, created_by, deleted_at, deleted_by) \
                    select $1, id, $1, 0, 'ada', 9000000000000, 'ada' from projects where name = 'demo'";
        sqlx::query(made).bind(&app).execute(&pool).await.unwrap();
        let ran = "insert into ended_rollouts (id, app_id, number, digest, repository, kind, spec, actor_kind, actor, sequence, cascade_id, \
                   phase, created_at) values ($1, $1, 1, $2, 'demo/base', 'deploy', '{}', 'person', 'ada', 1, '', 'Complete', 0)";
        sqlx::query(ran).bind(&app).bind(digest(1)).execute(&pool).await.unwrap();
    }
    for statement in ["update streams set created_at = 0", "update ledger set sorted_at = 1 where sequence = 1"] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;
    let first = html(ada.get(&format!("/p/demo/streams/base/used-by?as-of={}", HOURS[0])).await, StatusCode::OK).await;
    assert!(text(&first).contains("These are 100, by name, and there are more"), "{}", text(&first));
    assert!(first.contains("gone-099") && !first.contains("gone-100"));
    let next = first.split("href=\"").find(|link| link.contains("apps=gone-099")).unwrap();
    let next = next.split('"').next().unwrap().replace("&amp;", "&");
    let second = text(&html(ada.get(&next).await, StatusCode::OK).await);
    assert!(
        second.contains("gone-101") && !second.contains("gone-099") && !second.contains("there are more"),
        "{second}"
    );
}
