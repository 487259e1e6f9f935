//! How pages look: theme, density and times. Each choice is a form; the answer sets a cookie and leads back.

use leptos::prelude::*;

use crate::ui::context::Look;

/// The choices that the present look is not.
#[component]
pub fn LookMenu(look: Look) -> impl IntoView {
    let theme = match look.theme {
        None => vec![("theme", "light", "Light theme"), ("theme", "dark", "Dark theme")],
        Some("dark") => vec![("theme", "light", "Light theme"), ("theme", "system", "Theme as the system")],
        Some(_) => vec![("theme", "dark", "Dark theme"), ("theme", "system", "Theme as the system")],
    };
    let times = if look.absolute_times {
        ("times", "relative", "Times as “3 minutes ago”")
    } else {
        ("times", "absolute", "Exact times")
    };
    let rows = if look.compact {
        ("density", "comfortable", "Comfortable rows")
    } else {
        ("density", "compact", "Compact rows")
    };
    let forms: Vec<_> = theme
        .into_iter()
        .chain([times, rows])
        .map(|(name, value, words)| {
            view! {
                <form method="post" action="/settings/look">
                    <input type="hidden" name=name value=value />
                    <button>{words}</button>
                </form>
            }
        })
        .collect();
    view! { {forms} }
}
