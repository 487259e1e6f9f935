//! Buttons that act: each is a form of its own, so it works without script.

use leptos::prelude::*;

/// A button that posts to `action`. `fields` are sent with it, hidden.
#[component]
pub fn Act(
    #[prop(into)] action: String,
    #[prop(into)] label: String,
    /// The button's classes after `btn`.
    #[prop(default = "btn-small")]
    class: &'static str,
    #[prop(optional)] fields: Vec<(&'static str, String)>,
    /// What it acts on, for those who hear the label without its row.
    #[prop(optional, into)]
    on: Option<String>,
    /// Why it cannot be pressed now.
    #[prop(optional, into)]
    disabled: Option<String>,
) -> impl IntoView {
    let hidden: Vec<_> =
        fields.into_iter().map(|(name, value)| view! { <input type="hidden" name=name value=value /> }).collect();
    let on = on.map(|on| view! { <span class="visually-hidden">{format!(" {on}")}</span> });
    match disabled {
        Some(why) => view! {
            <button type="button" class=format!("btn {class}") aria-disabled="true" title=why.clone()>
                {label}
                <span class="visually-hidden">{format!(": {why}")}</span>
            </button>
        }
        .into_any(),
        None => view! {
            <form method="post" action=action>
                {hidden} <button class=format!("btn {class}")>{label} {on}</button>
            </form>
        }
        .into_any(),
    }
}

/// The menu at the end of a row or a header. Its children are links, and forms with one button each.
#[component]
pub fn More(children: Children, #[prop(optional, into)] on: Option<String>) -> impl IntoView {
    let on = on.map(|on| view! { <span class="visually-hidden">{format!(" for {on}")}</span> });
    view! {
        <details class="menu">
            <summary class="btn btn-small">"More" {on}</summary>
            <div class="menu-items">{children()}</div>
        </details>
    }
}

/// What stands where nothing is: why, and what to do.
#[component]
pub fn Empty(#[prop(into)] heading: String, children: Children) -> impl IntoView {
    view! {
        <div class="empty">
            <h2>{heading}</h2>
            {children()}
        </div>
    }
}
