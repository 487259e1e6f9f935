//! Digests and other text worth copying.

use leptos::prelude::*;

use crate::model::shortened;

/// The algorithm and the first 12 hex digits.
pub fn short_digest(digest: &str) -> String {
    shortened(digest, 12)
}

/// A digest: 12 hex digits to see, all of them in the title and to copy. With `href` it is a link.
#[component]
pub fn DigestText(#[prop(into)] digest: String, #[prop(optional, into)] href: Option<String>) -> impl IntoView {
    let short = short_digest(&digest);
    let text = match href {
        Some(href) => view! { <a href=href title=digest.clone()>{short}</a> }.into_any(),
        None => view! { <span title=digest.clone()>{short}</span> }.into_any(),
    };
    view! {
        <span class="digest">
            {text} <button type="button" class="copy" data-copy=digest.clone() aria-label=format!("Copy {digest}")>
                "Copy"
            </button>
        </span>
    }
}

/// Text to copy as a whole: a reference, a command.
#[component]
pub fn CopyText(#[prop(into)] text: String) -> impl IntoView {
    view! {
        <span class="copy-text">
            <code>{text.clone()}</code>
            <button type="button" class="copy" data-copy=text.clone() aria-label=format!("Copy {text}")>
                "Copy"
            </button>
        </span>
    }
}
