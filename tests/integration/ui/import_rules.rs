//! Import rules in the console, without script.

use reqwest::StatusCode;
use weir::model::Role;

use super::sample::{demo, html, location, send, text};
use crate::upstreams::lister;

const STREAM: &str = "/p/demo/streams/base";

/// The text of the row of the rule.
fn row(page: &str, rule: &str) -> String {
    let rows =
        page.split("<tr").find(|row| row.contains(&format!("import-rules/{rule}/edit"))).expect("the rule's row");
    text(&format!("<tr{}", rows.split("</tr>").next().unwrap_or_default()))
}

#[tokio::test]
async fn an_editor_tries_makes_changes_and_deletes_a_rule() {
    let (weir, ada) = demo().await;
    let upstream = lister().await;
    let repository = format!("{}/org/app", upstream.address());
    let imports = format!("{STREAM}/imports");
    let page = html(ada.get(&imports).await, StatusCode::OK).await;
    assert!(
        page.contains(&format!("{STREAM}/import-rules/new"))
            && text(&page).contains("There is no rule. A rule takes in"),
        "{}",
        text(&page)
    );

    let new = format!("{STREAM}/import-rules/new");
    let form = html(ada.get(&new).await, StatusCode::OK).await;
    for name in [
        "repository",
        "patternKind",
        "pattern",
        "limit",
        "order",
        "intervalSeconds",
        "listingIntervalSeconds",
        "insecure",
        "paused",
    ] {
        assert!(form.contains(&format!("name=\"{name}\"")), "{name}");
    }
    let fields = [
        ("name", ""),
        ("repository", repository.as_str()),
        ("patternKind", "glob"),
        ("pattern", "3.*"),
        ("limit", "3"),
        ("order", "semver"),
        ("intervalSeconds", "900"),
        ("listingIntervalSeconds", "86400"),
        ("insecure", "on"),
    ];
    let mut tried = fields.to_vec();
    tried.push(("do", "try"));
    let page = html(send(&ada, &new, &tried).await, StatusCode::OK).await;
    let words = text(&page);
    assert!(words.contains("The repository has 13 tags; 12 fit. 3 would be selected: 3 new here"), "{words}");
    assert!(words.contains("3.11 New 3.10 New 3.9 New") && !words.contains("3.8"), "{words}");
    assert!(
        page.contains(&format!("value=\"{repository}\"")) && page.contains("value=\"3.*\""),
        "what was typed is kept"
    );
    assert!(
        page.contains("name=\"insecure\" value=\"on\" checked")
            && !page.contains("name=\"paused\" value=\"on\" checked")
    );
    let stream = weir.store().stream("demo", "base").await.unwrap();
    assert_eq!(weir.store().list_import_rules(&stream.id).await.unwrap(), [], "nothing is kept");

    let made = send(&ada, &new, &fields).await;
    assert_eq!((made.status(), location(&made)), (StatusCode::SEE_OTHER, imports.as_str()));
    weir.settle().await;
    let page = html(ada.get(&imports).await, StatusCode::OK).await;
    let words = row(&page, "3");
    assert!(words.contains("glob 3.*, the newest 3 3 of 13 3 new, 0 left alone"), "{words}");
    assert!(text(&page).contains("base:3.11"), "its tags stand below: {}", text(&page));

    let rule = weir.store().load_import_rule("demo", "base", "3").await.unwrap();
    assert_eq!((rule.spec.interval_ms, rule.spec.listing_interval_ms), (Some(900_000), 86_400_000));
    let edit = format!("{STREAM}/import-rules/3/edit");
    let form = html(ada.get(&edit).await, StatusCode::OK).await;
    assert!(
        form.contains("Delete rule") && text(&form).contains("The tags that it made stay as they are"),
        "{}",
        text(&form)
    );
    let version = rule.version.to_string();
    let mut change = fields.to_vec();
    change.extend([("version", version.as_str()), ("paused", "on")]);
    assert_eq!(send(&ada, &edit, &change).await.status(), StatusCode::SEE_OTHER);
    let page = html(ada.get(&imports).await, StatusCode::OK).await;
    assert!(row(&page, "3").contains("Paused"), "{}", row(&page, "3"));
    let refused = html(send(&ada, &edit, &change).await, StatusCode::CONFLICT).await;
    assert!(text(&refused).contains("has been modified"), "{}", text(&refused));
    // What is tried is still about the rule as it was read: saving it then is not to undo what was changed since.
    let mut stale = change.clone();
    stale.push(("do", "try"));
    let page = html(send(&ada, &edit, &stale).await, StatusCode::OK).await;
    assert!(page.contains(&format!("name=\"version\" value=\"{version}\"")), "{page}");
    assert_eq!(send(&ada, &edit, &fields).await.status(), StatusCode::CONFLICT, "it does not say what it is about");
    let check = format!("{STREAM}/import-rules/3/check");
    assert_eq!(send(&ada, &check, &[]).await.status(), StatusCode::CONFLICT, "it is paused");
    let version = weir.store().load_import_rule("demo", "base", "3").await.unwrap().version.to_string();
    let mut change = fields.to_vec();
    change.push(("version", version.as_str()));
    assert_eq!(send(&ada, &edit, &change).await.status(), StatusCode::SEE_OTHER);
    let asked = send(&ada, &check, &[]).await;
    assert_eq!((asked.status(), location(&asked)), (StatusCode::SEE_OTHER, imports.as_str()));

    let deleted = send(&ada, &format!("{STREAM}/import-rules/3/delete"), &[]).await;
    assert_eq!((deleted.status(), location(&deleted)), (StatusCode::SEE_OTHER, imports.as_str()));
    assert_eq!(weir.store().tag("demo", "base", "3.11").await.unwrap().scheduled, 1);
}

#[tokio::test]
async fn what_is_wrong_stands_at_its_field_and_failures_stand_in_the_list() {
    let (weir, ada) = demo().await;
    let upstream = lister().await;
    let new = format!("{STREAM}/import-rules/new");
    let none = format!("{}/org/none", upstream.address());
    for (field, words, repository, kind, pattern) in [
        ("repository", "not a tag or ID", "quay.io/org/app:1", "all", ""),
        ("pattern", "is not a regular expression: unclosed group", "quay.io/org/app", "regex", "3("),
        ("pattern", "Write for instance 3.*, ~1.4", "quay.io/org/app", "semver", ">=3 <4"),
        ("pattern", "leave it empty", "quay.io/org/app", "all", "3.*"),
    ] {
        for doing in ["try", ""] {
            let fields = [
                ("repository", repository),
                ("patternKind", kind),
                ("pattern", pattern),
                ("order", "semver"),
                ("do", doing),
            ];
            let page = html(send(&ada, &new, &fields).await, StatusCode::UNPROCESSABLE_ENTITY).await;
            assert!(
                page.contains(&format!("{field}-error")) && text(&page).contains(words),
                "{field}: {}",
                text(&page)
            );
        }
    }
    let fields = [
        ("repository", none.as_str()),
        ("patternKind", "all"),
        ("pattern", ""),
        ("order", "natural"),
        ("insecure", "on"),
    ];
    let mut tried = fields.to_vec();
    tried.push(("do", "try"));
    let page = html(send(&ada, &new, &tried).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(page.contains("repository-error") && text(&page).contains("was not found"), "{}", text(&page));
    assert_eq!(send(&ada, &new, &fields).await.status(), StatusCode::SEE_OTHER);
    weir.settle().await;
    let vera = weir.user("vera", "demo", Role::Viewer).await;
    let page = html(vera.get(&format!("{STREAM}/imports")).await, StatusCode::OK).await;
    let words = text(&page);
    assert!(words.contains("not-found") && words.contains("was not found") && words.contains("never"), "{words}");
    assert!(!page.contains("import-rules/new") && !page.contains("/import-rules/all/"), "viewers get no buttons");
    assert_eq!(vera.get(&new).await.status(), StatusCode::FORBIDDEN);
    for path in ["new", "all/edit", "all/check", "all/delete"] {
        let answer = send(&vera, &format!("{STREAM}/import-rules/{path}"), &fields).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
}
