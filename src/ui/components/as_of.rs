//! Looking back: the form that asks for a moment, and what a page of the past says first.

use leptos::prelude::*;

use crate::model::Moment;
use crate::ui::context::Cx;
use crate::ui::error::UiError;

/// What of an address says what is looked at, whatever the moment.
const KEPT: [&str; 10] = ["q", "sort", "dir", "n", "from", "to", "tag", "platform", "what", "by"];

/// The moment that the address asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf(pub Moment);

impl AsOf {
    /// The parameter's name.
    pub const NAME: &'static str = "as-of";

    /// As it stands in the address; REST's name for it is taken, too.
    pub fn text(cx: &Cx) -> &str {
        match cx.query(Self::NAME) {
            "" => cx.query("as_of"),
            text => text,
        }
    }

    /// The moment; `None` where the page is to show how things are.
    pub fn of(cx: &Cx) -> Result<Option<Self>, UiError> {
        match Self::text(cx) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(moment) => Ok(Some(Self(moment))),
                Err(error) => Err(UiError::field(Self::NAME, error.to_string())),
            },
        }
    }

    /// An address at the same moment.
    pub fn link(&self, path: &str) -> String {
        let sign = if path.contains('?') { '&' } else { '?' };
        format!("{path}{sign}{}={}", Self::NAME, urlencoding::encode(&self.0.text))
    }

    /// The same where there may be none.
    pub fn keep(as_of: Option<&Self>, path: &str) -> String {
        as_of.map_or_else(|| path.to_owned(), |as_of| as_of.link(path))
    }

    /// What keeps a form at the moment.
    pub fn hidden(&self) -> AnyView {
        view! { <input type="hidden" name=Self::NAME value=self.0.text.clone() /> }.into_any()
    }

    /// What a page of the past says first.
    pub fn banner(&self, cx: &Cx) -> AnyView {
        // Where in a list one was is of that moment's list.
        let now = cx.with_query(&[(Self::NAME, ""), ("as_of", ""), ("after", ""), ("trail", ""), ("apps", "")]);
        let (words, value) = (self.0.words.clone(), self.0.text.clone());
        let kept = KEPT.into_iter().filter(|name| !cx.query(name).is_empty());
        let kept =
            kept.map(|name| view! { <input type="hidden" name=name value=cx.query(name).to_owned() /> }).collect_view();
        view! {
            <section class="banner banner-warn" aria-label="The past">
                <p>
                    <strong>{format!("You see the past: how it was at {words}.")}</strong>
                    " "
                    <a href=now>"Back to now"</a>
                </p>
                <form class="cluster" method="get">
                    {kept}
                    <Moments value=value />
                    <button class="btn btn-small">"Show"</button>
                </form>
            </section>
        }
        .into_any()
    }
}

/// Asks for a moment, folded up.
#[component]
pub fn AsOfForm() -> impl IntoView {
    view! {
        <details>
            <summary class="btn" title="See how this was at a moment of the past, with what was deleted since">"As of…"</summary>
            <form class="cluster mt-2" method="get">
                <Moments value=String::new() />
                <button class="btn">"Show"</button>
            </form>
        </details>
    }
}

#[component]
fn Moments(value: String) -> impl IntoView {
    // The browser's field knows minutes without a zone; of a moment that is written otherwise it would drop the rest without a word.
    let minute = value.strip_suffix(['Z', 'z']).unwrap_or(&value).replace(' ', "T");
    let is_minute = minute.len() == "2026-11-01T14:03".len();
    let (kind, shown) = if value.is_empty() || is_minute { ("datetime-local", minute) } else { ("text", value) };
    view! {
        <label class="cluster">
            <span>"Moment, in UTC"</span>
            <input class="input w-64" type=kind name=AsOf::NAME value=shown required />
        </label>
    }
}
