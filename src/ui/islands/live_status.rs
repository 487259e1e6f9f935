//! Keeps what a page shows current without moving anything. Each message of the stream only says that something changed; the
//! island then asks for the same page again and takes over the marked parts (`fresh.rs`), so there is one rendering of everything:
//! the server's.

use leptos::prelude::*;

/// The strip that says when updates are paused, and behind it one connection to `url` (unnamed server-sent events). Mounted once, in
/// the shell.
///
/// Marks in the page: `data-live="key"` on what may change, `data-row="key"` on rows, `data-new-pill` (a hidden link) where rows
/// that are new can be announced.
#[island]
pub fn LiveStatus(url: String) -> impl IntoView {
    #[cfg(feature = "hydrate")]
    browser::start(url);
    #[cfg(not(feature = "hydrate"))]
    drop(url);
    view! {
        <div class="strip strip-warn" role="status" data-live-lost hidden>
            "Live updates paused — retrying… "<a href="">"Refresh"</a>
        </div>
    }
}

#[cfg(feature = "hydrate")]
mod browser {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use leptos::task::spawn_local;

    use crate::ui::islands::browser::{after, document, every, find, listen, now, show};
    use crate::ui::islands::fresh::{Shown, fetch_page};
    use crate::ui::islands::stream::{Signal, Stream};

    /// At most four refreshes a second.
    const LEAST_GAP_MS: f64 = 250.0;
    const POLL_MS: i32 = 10_000;

    #[derive(Default)]
    struct Live {
        shown: RefCell<Shown>,
        /// A refresh is waiting for its turn, or one is under way and another was asked for.
        due: Cell<bool>,
        busy: Cell<bool>,
        last: Cell<f64>,
        /// The stream is up. A page that could not be fetched counts as lost too, until one can.
        connected: Cell<bool>,
        lost: Cell<bool>,
    }

    pub fn start(url: String) {
        let live = Rc::new(Live::default());
        let told = live.clone();
        Stream::start(
            move || url.clone(),
            &["message"],
            move |signal| match signal {
                Signal::Open { again } => {
                    told.connected.set(true);
                    told.set_lost(false);
                    if again {
                        told.ask();
                    }
                }
                Signal::Message(..) => told.ask(),
                Signal::Lost => {
                    told.connected.set(false);
                    told.set_lost(true);
                }
            },
        );
        let polling = live.clone();
        every(POLL_MS, move || {
            if polling.lost.get() && document().is_some_and(|document| !document.hidden()) {
                polling.ask();
            }
        });
        // A part that held the focus was left as it was: catch up when the focus moves on.
        if let Some(document) = document() {
            listen(&document, "focusout", move |_| {
                if live.shown.borrow_mut().take_skipped() {
                    live.ask();
                }
            });
        }
    }

    impl Live {
        fn set_lost(&self, lost: bool) {
            if self.lost.replace(lost) != lost
                && let Some(strip) = find("[data-live-lost]")
            {
                show(&strip, lost);
            }
        }

        /// Refreshes as soon as the last refresh is over and old enough; many askings make one.
        fn ask(self: &Rc<Self>) {
            if self.due.replace(true) || self.busy.get() {
                return;
            }
            self.schedule();
        }

        #[expect(clippy::cast_possible_truncation, reason = "at most LEAST_GAP_MS")]
        fn schedule(self: &Rc<Self>) {
            let wait = (self.last.get() + LEAST_GAP_MS - now()).clamp(0.0, LEAST_GAP_MS);
            let this = self.clone();
            after(wait as i32, move || spawn_local(async move { this.refresh().await }));
        }

        async fn refresh(self: Rc<Self>) {
            self.due.set(false);
            self.busy.set(true);
            self.last.set(now());
            let main = find("main");
            let mark = |busy: bool| {
                main.as_ref().map(|main| main.set_attribute("aria-busy", if busy { "true" } else { "false" }))
            };
            mark(true);
            let page = fetch_page().await;
            mark(false);
            match page {
                Some(page) => {
                    self.shown.borrow_mut().take_over(&page);
                    self.set_lost(!self.connected.get());
                }
                None => self.set_lost(true),
            }
            self.busy.set(false);
            if self.due.get() {
                self.schedule();
            }
        }
    }
}
