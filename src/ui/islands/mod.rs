//! All that runs in the browser. An island is the smallest thing that moves: the shell mounts each once, the page around it is the
//! server's HTML, marked with `data-` attributes that say what may change. On the server an island renders what should stand there
//! when no script runs.

mod copy_buttons;
mod live_status;
mod log_tail;
mod relative_times;

#[cfg(feature = "hydrate")]
mod browser;
#[cfg(feature = "hydrate")]
mod fresh;
#[cfg(feature = "hydrate")]
mod stream;

#[cfg(feature = "ssr")]
mod scripts;

pub use copy_buttons::CopyButtons;
pub use live_status::LiveStatus;
pub use log_tail::LogTail;
pub use relative_times::RelativeTimes;

#[cfg(feature = "ssr")]
pub use scripts::IslandScripts;

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use leptos::prelude::*;

    use super::*;

    /// What stands in the page when no script runs must be hidden or empty: a promise that nobody keeps is worse than none.
    #[test]
    fn render_nothing_to_see_on_the_server() {
        let html = Owner::new_root(None).with(|| {
            view! {
                <RelativeTimes />
                <CopyButtons />
                <LiveStatus url="/events?topics=a&b".to_owned() />
                <LogTail url="/log/stream".to_owned() next=121 />
            }
            .to_html()
        });
        for island in ["RelativeTimes_", "CopyButtons_", "LiveStatus_", "LogTail_"] {
            assert!(html.contains(&format!(r#"<leptos-island data-component="{island}"#)), "{island} in {html}");
        }
        assert!(html.contains("data-live-lost hidden "), "{html}");
        assert!(html.contains("data-log-follow hidden "), "{html}");
        assert!(html.contains("121"), "{html}");
    }
}
