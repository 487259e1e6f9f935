//! Takes over, from a newly fetched copy of the page, what changed in its marked parts. Never inserts or moves a row, never touches
//! a part that holds the focus or an open menu.

use std::collections::{BTreeMap, BTreeSet};

use leptos::wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, Document, DomParser, Element, RequestInit, Response, SupportedType};

use super::browser::{all, document, find, show, window};

const TIMEOUT_MS: u32 = 15_000;

/// Asks the server for the page at the present address. `None` when it cannot be had, or is another page now (signed out).
pub async fn fetch_page() -> Option<Document> {
    let window = window()?;
    let address = window.location().href().ok()?;
    let address = address.split('#').next().unwrap_or_default();
    let options = RequestInit::new();
    options.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MS)));
    let answer = JsFuture::from(window.fetch_with_str_and_init(address, &options)).await.ok()?;
    let answer = answer.dyn_into::<Response>().ok()?;
    if !answer.ok() || answer.redirected() {
        return None;
    }
    let html = JsFuture::from(answer.text().ok()?).await.ok()?.as_string()?;
    DomParser::new().ok()?.parse_from_string(&html, SupportedType::TextHtml).ok()
}

/// What the page shows, as the server last wrote it.
#[derive(Default)]
pub struct Shown {
    /// The HTML of each part as it came. The page's own may differ by what other islands wrote into it (times).
    parts: BTreeMap<String, String>,
    skipped: bool,
}

impl Shown {
    /// Replaces the content and the class of each `[data-live]` that differs in `fresh`, and counts rows that are new.
    pub fn take_over(&mut self, fresh: &Document) {
        let Some(page) = document() else { return };
        let newer: BTreeMap<String, Element> = all(fresh, "[data-live]")
            .into_iter()
            .filter_map(|part| Some((part.get_attribute("data-live")?, part)))
            .collect();
        self.skipped = false;
        for part in all(&page, "[data-live]") {
            // An outer part may just have been replaced together with this one.
            let key = part.get_attribute("data-live").unwrap_or_default();
            if let Some(newer) = newer.get(&key).filter(|_| part.is_connected()) {
                self.replace(&page, key, &part, newer);
            }
        }
        announce_rows(&page, fresh);
    }

    /// Whether a part was left as it was because the reader was in it; asking forgets it.
    pub fn take_skipped(&mut self) -> bool {
        std::mem::take(&mut self.skipped)
    }

    fn replace(&mut self, page: &Document, key: String, part: &Element, newer: &Element) {
        let html = newer.inner_html();
        let same = match self.parts.get(&key) {
            Some(known) => *known == html,
            None => part.inner_html() == html,
        };
        if !same {
            if in_use(page, part) {
                self.skipped = true;
                return;
            }
            part.set_inner_html(&html);
        }
        let class = newer.get_attribute("class");
        if part.get_attribute("class") != class {
            let _ = part.set_attribute("class", &class.unwrap_or_default());
        }
        self.parts.insert(key, html);
    }
}

/// The reader stands in it: replacing it would take the focus or shut a menu.
fn in_use(page: &Document, part: &Element) -> bool {
    let focused = page.active_element().is_some_and(|focused| focused != *part && part.contains(Some(&focused)));
    focused || part.query_selector("details.menu[open]").is_ok_and(|menu| menu.is_some())
}

/// Puts "3 new — Show" on the page's pill when the fresh page has rows that this one has not.
fn announce_rows(page: &Document, fresh: &Document) {
    let Some(pill) = find("[data-new-pill]") else { return };
    let keys = |document: &Document| -> BTreeSet<String> {
        all(document, "[data-row]").iter().filter_map(|row| row.get_attribute("data-row")).collect()
    };
    let known = keys(page);
    let new = keys(fresh).difference(&known).count();
    if new > 0 {
        pill.set_text_content(Some(&format!("{new} new — Show")));
        if let Ok(address) = page.location().map_or(Ok(String::new()), |location| location.href()) {
            let _ = pill.set_attribute("href", address.split('#').next().unwrap_or_default());
        }
    }
    show(&pill, new > 0);
}
