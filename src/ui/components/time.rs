//! Times and durations in words.

use leptos::prelude::*;

use crate::model::{now, rfc3339};
use crate::ui::context::Look;
use crate::ui::relative::relative;

/// When something was (milliseconds since 1970): how long ago, and exactly in the title; the other way round where the reader wants it.
#[component]
pub fn Ago(at: i64) -> impl IntoView {
    let exact = rfc3339(at);
    let title = exact.replace('T', " ").replace('Z', " UTC");
    if use_context::<Look>().unwrap_or_default().absolute_times {
        return view! { <time datetime=exact>{title}</time> }.into_any();
    }
    view! {
        <time datetime=exact title=title data-relative>
            {relative(now(), at)}
        </time>
    }
    .into_any()
}

/// How long something took: `42 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration_words(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_durations() {
        for (ms, words) in
            [(0, "0 s"), (42_900, "42 s"), (120_000, "2 min"), (185_000, "3 min 5 s"), (7_800_000, "2 h 10 min")]
        {
            assert_eq!(duration_words(ms), words);
        }
    }
}
