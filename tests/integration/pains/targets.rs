//! A rollback is told by what was seen of it, never by what was wanted.

use super::{Site, digest};
use crate::openshift::own;
use crate::ui::form::text;

const PAGE: &str = "/p/demo/apps/web";

/// Words that would say it is done.
const DONE: [&str; 4] = ["Complete", "In step", "seen running this image", "Done"];

impl Site {
    /// What the page, its list and REST say of the newest rollout.
    async fn said(&self) -> [String; 3] {
        let html = self.rest.ada.page(PAGE).await;
        let (above, rows) = html.split_once("id=\"rollouts\"").expect("its rollouts");
        let newest = rows.split("<tr").nth(2).expect("a row");
        let list = self.row("/p/demo/apps", PAGE).await;
        [format!("{} {}", text(above), text(newest)), text(&list), self.rollouts().await[0].to_string()]
    }
}

#[tokio::test]
async fn a10_a_target_that_is_killed_during_a_rollback_confirms_nothing() {
    let site = Site::start().await;
    site.came([2]).await;
    let engine = &site.rest.weir.engine;
    // It takes the rollback and dies with it: nobody can see how far it came.
    site.rest.ada.done(&format!("{PAGE}/rollback"), &[("to", "1")]).await;
    engine.set_away(Some("Docker does not answer"));
    site.settle().await;
    for said in site.said().await {
        assert!(said.contains("Not confirmed"), "{said}");
    }
    // In truth it goes on and comes to its end, which changes nothing of what is known.
    engine.settle();
    site.settle().await;
    let [page, list, rest] = site.said().await;
    for said in [&page, &list, &rest] {
        assert!(said.contains("Not confirmed"), "{said}");
        assert!(DONE.iter().all(|word| !said.contains(word)), "{said}");
    }
    assert!(page.contains("Apps cannot be run or seen just now") && page.contains("Docker does not answer"), "{page}");

    engine.set_away(None);
    // Whoever did not answer is left alone for a moment.
    let mut phase = String::new();
    for _ in 0..100 {
        site.settle().await;
        phase = site.rest.ada.get_json(&own("apps/web")).await["phase"].as_str().unwrap().to_owned();
        if phase == "Complete" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(phase, "Complete", "once it was seen it is told");
    assert_eq!(site.running().await, [digest(1), digest(1)]);
    site.rest.weir.stop().await;
}
