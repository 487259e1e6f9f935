//! Histories: whole, in the order things happened, each row open, and each saying who and why.

use serde_json::Value;
use weir::model::{Actor, Role};
use weir::server::demo::Demo;

use crate::openshift::{Rest, digest, own};
use crate::support::TestWeir;
use crate::ui::form::text;
use crate::ui::sample::{self, push, sequences};
use crate::ui::work::settle;

const TAG: &str = "/p/demo/streams/app/tags/latest";

/// The rows of a page's history, top first.
fn rows(html: &str) -> Vec<&str> {
    html.split("<tr").filter(|row| row.contains("data-row=")).collect()
}

/// The demo as it is made for newcomers, with its story played: a build started by hand, and its output rolled back.
#[tokio::test]
async fn b2_every_row_of_the_demos_history_says_who_and_why() {
    let weir = TestWeir::start().await;
    let data_dir = weir.directory().join("data");
    Demo { store: weir.store(), data_dir: &data_dir, url: &weir.url }.make().await.expect("the demo");
    let client = weir.user("developer", "demo", Role::Admin).await;
    settle(&weir).await;
    client.done("/p/demo/builds/httpd-base/start", &[]).await;
    settle(&weir).await;
    let back = sequences(&weir, "httpd-base", "latest").await[1].to_string();
    client.done("/p/demo/streams/httpd-base/tags/latest/rollback", &[("to", &back)]).await;
    settle(&weir).await;

    let mut kinds = std::collections::BTreeSet::new();
    for stream in ["base", "busybox", "httpd-base", "app-a", "app-b"] {
        let history = client.get_json(&own(&format!("streams/{stream}/tags/latest/history"))).await;
        let history = history["items"].as_array().unwrap();
        assert!(!history.is_empty(), "{stream}");
        for row in history {
            let is_said = |field: &str| row[field].as_str().is_some_and(|said| !said.is_empty());
            assert!(["actor", "actorKind", "kind", "reason"].into_iter().all(is_said), "{stream}: {row:#}");
            // What followed names the row that it followed from; what somebody asked for, the request; and an import what it looked at.
            let kind = row["kind"].as_str().unwrap();
            let (cause, request) = (row["cause"].is_i64(), is_said("request"));
            match kind {
                "build" => assert!(cause, "{stream}: {row:#}"),
                "import" => assert!(row["reason"].as_str().unwrap().starts_with("imported from "), "{stream}: {row:#}"),
                _ => assert!(!cause && request, "{stream}: {row:#}"),
            }
            kinds.insert(kind.to_owned());
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["build", "import", "push", "rollback"]);
    weir.stop().await;
}

#[tokio::test]
async fn b4_there_and_back_is_three_rows_in_that_order() {
    let rest = Rest::start().await;
    for n in [1, 2, 1] {
        rest.push("app", "latest", n).await;
    }
    let history = rest.ada.get_json(&own("streams/app/tags/latest/history")).await;
    let told: Vec<_> =
        history["items"].as_array().unwrap().iter().map(|row| (&row["number"], &row["digest"])).collect();
    let expected =
        [(3, digest(1)), (2, digest(2)), (1, digest(1))].map(|(n, digest)| (Value::from(n), Value::from(digest)));
    assert_eq!(told, expected.each_ref().map(|(number, digest)| (number, digest)));
    let html = rest.ada.page(TAG).await;
    let shown = rows(&html);
    assert_eq!(shown.len(), 3, "{}", text(&html));
    for (row, (_, digest)) in shown.iter().zip(&expected) {
        assert!(row.contains(digest.as_str().unwrap()), "{row}");
    }
    let current: Vec<bool> = shown.iter().map(|row| row.contains("Current")).collect();
    assert_eq!(current, [true, false, false], "the top one alone, though the last has the same image");
    rest.weir.stop().await;
}

#[tokio::test]
async fn b5_every_row_opens_the_image_it_tells_of() {
    let rest = Rest::start().await;
    for n in 1..=9 {
        rest.push("app", "latest", n).await;
    }
    let html = rest.ada.page(TAG).await;
    let shown = rows(&html);
    // The seventh from the top is the third move.
    let link =
        shown[6].split("href=\"").find(|rest| rest.contains("/images/")).expect("a link").split('"').next().unwrap();
    assert_eq!(link, format!("/p/demo/streams/app/images/{}", digest(3)));
    let image = rest.ada.page(link).await;
    assert!(image.contains(&digest(3)) && text(&image).contains("Pointed here"), "{}", text(&image));
    assert!(shown.iter().all(|row| row.contains("/images/sha256:")), "every row is a way to its image");
    let before = shown[1..].iter().all(|row| row.contains(&format!("action=\"{TAG}/rollback\"")));
    assert!(before, "and a way back");
    rest.weir.stop().await;
}

#[tokio::test]
async fn b6_tags_are_sorted_by_the_server_as_versions_or_by_their_last_move() {
    let rest = Rest::start().await;
    for (tag, n) in [("1.9", 1), ("1.10", 2), ("1.2", 3)] {
        rest.push("app", tag, n).await;
    }
    let listed = async |sort: &str| {
        let html = rest.ada.page(&format!("/p/demo/streams/app{sort}")).await;
        let mut names: Vec<String> = Vec::new();
        for link in html.split("href=\"/p/demo/streams/app/tags/").skip(1) {
            let name = link.split(['"', '/', '?']).next().unwrap().to_owned();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    assert_eq!(listed("?sort=semver").await, ["1.10", "1.9", "1.2"]);
    assert_eq!(listed("?sort=name").await, ["1.2", "1.9", "1.10"]);
    assert_eq!(listed("").await, ["1.2", "1.10", "1.9"], "what moved last comes first");
    rest.weir.stop().await;
}

/// When a tag moved and when its image came are two things, and neither stays behind.
#[tokio::test]
async fn b7_a_tag_that_is_pushed_again_tells_when_it_moved_and_when_its_image_came() {
    let weir = TestWeir::start().await;
    let (ada, actor) = (weir.user("ada", "demo", Role::Editor).await, Actor::person("ada"));
    let told = async || {
        let tag = ada.get_json(&own("streams/base/tags/latest")).await;
        let digest = tag["digest"].as_str().unwrap().to_owned();
        let image = ada.get_json(&own(&format!("streams/base/images/{digest}"))).await;
        let history = ada.get_json(&own("streams/base/tags/latest/history")).await;
        let rows = history["items"].as_array().unwrap().len();
        (tag["movedAt"].as_str().unwrap().to_owned(), image["firstSeen"].as_str().unwrap().to_owned(), rows)
    };
    push(&weir, "base", "latest", 1, &actor).await;
    // An hour passes after each push.
    let pass = async || {
        for statement in [
            "update tags set moved_at = moved_at - 3600000",
            "update tag_events set at = at - 3600000, sorted_at = sorted_at - 3600000",
            "update images set first_seen_at = first_seen_at - 3600000",
        ] {
            weir.run_sql(statement).await;
        }
    };
    pass().await;
    let (moved, came, _) = told().await;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    assert!((0..=1).contains(&(at(&moved) - at(&came))), "it moved when the image came: {moved}, {came}");
    push(&weir, "base", "latest", 2, &actor).await;
    let second = told().await;
    assert!(second.0 > moved && second.2 == 2, "{second:?}");
    pass().await;
    let second = told().await;
    push(&weir, "base", "latest", 1, &actor).await;
    let third = told().await;
    assert!(third.0 > second.0 && third.2 == 3, "it moved now: {third:?}");
    assert!(third.1 < second.1, "to an image that came before the other: {third:?}");
    let path = format!("/p/demo/streams/base/images/{}", sample::digest(1));
    let page = text(&ada.get(&path).await.text().await.unwrap());
    assert!(page.contains("First seen here 2 hours ago") && page.contains("#3 just now"), "{page}");
    // The very same again moves nothing, and is not forgotten either.
    push(&weir, "base", "latest", 1, &actor).await;
    assert_eq!(told().await.2, 3);
    let words = text(&ada.page("/p/demo/streams/base/tags/latest").await);
    assert!(words.contains("1 more time, last just now"), "{words}");
    weir.stop().await;
}
