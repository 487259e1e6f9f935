//! Makes every `<button data-copy="text">` of the page put its text into the clipboard. Without script the style sheet hides them.

use leptos::prelude::*;

/// One listener for all copy buttons, and the line that tells a screen reader what happened. Mounted once, in the shell.
#[island]
pub fn CopyButtons() -> impl IntoView {
    #[cfg(feature = "hydrate")]
    browser::start();
    view! { <div class="visually-hidden" role="status" data-copy-said></div> }
}

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::task::spawn_local;
    use leptos::wasm_bindgen::JsCast;
    use wasm_bindgen_futures::JsFuture;
    use web_sys::{Clipboard, Element, HtmlDocument, HtmlTextAreaElement};

    use crate::ui::islands::browser::{after, document, find, listen, property, window};

    const SAID_MS: i32 = 2000;

    pub fn start() {
        let Some(document) = document() else { return };
        if let Some(root) = document.document_element() {
            // From here on the style sheet shows the buttons.
            let _ = root.set_attribute("data-islands", "");
        }
        listen(&document, "click", |event| {
            let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
            if let Some(button) = target.and_then(|target| target.closest("[data-copy]").ok().flatten()) {
                spawn_local(copy(button));
            }
        });
    }

    async fn copy(button: Element) {
        let text = button.get_attribute("data-copy").unwrap_or_default();
        let done = write(&text).await || write_by_selection(&text).is_some();
        say(&button, if done { "Copied" } else { "Not copied: select it by hand" });
    }

    async fn write(text: &str) -> bool {
        let clipboard = window().and_then(|window| property(&window.navigator(), "clipboard"));
        let Some(clipboard) = clipboard.and_then(|clipboard| clipboard.dyn_into::<Clipboard>().ok()) else {
            return false;
        };
        JsFuture::from(clipboard.write_text(text)).await.is_ok()
    }

    /// The old way, which also works where a page came over plain HTTP and so has no clipboard.
    fn write_by_selection(text: &str) -> Option<()> {
        let document = document()?.dyn_into::<HtmlDocument>().ok()?;
        let focused = document.active_element();
        let area = document.create_element("textarea").ok()?.dyn_into::<HtmlTextAreaElement>().ok()?;
        area.set_value(text);
        area.set_class_name("visually-hidden");
        document.body()?.append_child(&area).ok()?;
        area.select();
        let done = document.exec_command("copy").unwrap_or(false);
        area.remove();
        if let Some(focused) = focused.and_then(|focused| focused.dyn_into::<web_sys::HtmlElement>().ok()) {
            let _ = focused.focus();
        }
        done.then_some(())
    }

    /// Says it in the button for a moment, and to a screen reader.
    fn say(button: &Element, words: &str) {
        if let Some(line) = find("[data-copy-said]") {
            line.set_text_content(Some(words));
        }
        // A second press within the moment must not take "Copied" for the button's own words.
        if button.has_attribute("data-copied") {
            return;
        }
        let before = button.inner_html();
        let _ = button.set_attribute("data-copied", "");
        button.set_text_content(Some(words));
        let button = button.clone();
        after(SAID_MS, move || {
            button.set_inner_html(&before);
            let _ = button.remove_attribute("data-copied");
            if let Some(line) = find("[data-copy-said]") {
                line.set_text_content(None);
            }
        });
    }
}
