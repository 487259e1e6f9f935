//! Keeps every `<time data-relative datetime="RFC 3339">` of the page true as time passes.

use leptos::prelude::*;

/// Ticks the page's relative times. Mounted once, in the shell; renders nothing.
#[island]
pub fn RelativeTimes() -> impl IntoView {
    #[cfg(feature = "hydrate")]
    browser::start();
}

#[cfg(feature = "hydrate")]
mod browser {
    use crate::ui::islands::browser::{all, document, every, listen, now};
    use crate::ui::relative::relative;

    /// Ten seconds is fine enough: below a minute the words say seconds, but nobody counts them.
    const TICK_MS: i32 = 10_000;

    pub fn start() {
        tick();
        every(TICK_MS, tick);
        if let Some(document) = document() {
            listen(&document, "visibilitychange", |_| tick());
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970 are whole and far below 2^53")]
    fn tick() {
        let Some(document) = document().filter(|document| !document.hidden()) else { return };
        let now = now() as i64;
        for time in all(&document, "time[data-relative][datetime]") {
            let then = js_sys::Date::parse(&time.get_attribute("datetime").unwrap_or_default());
            if then.is_nan() {
                continue;
            }
            let words = relative(now, then as i64);
            if time.text_content().as_deref() != Some(&words) {
                time.set_text_content(Some(&words));
            }
        }
    }
}
