//! Follows a build's log as it is written: appends lines to the page's `#log` and keeps to the end until the reader scrolls away.
//!
//! The stream at `url?from=N` sends unnamed events whose data is a JSON array of lines and whose id is the number of the last of
//! them, so that a browser that was cut off resumes at the line after; an event named `end` says that nothing will follow.

use leptos::prelude::*;

/// The button that returns to the end of a log, and behind it the connection. `next` is the number of the first line that the page
/// does not have yet.
#[island]
pub fn LogTail(url: String, next: i64) -> impl IntoView {
    #[cfg(feature = "hydrate")]
    browser::start(url, next);
    #[cfg(not(feature = "hydrate"))]
    let _ = (url, next);
    view! { <button type="button" class="btn btn-small log-follow" data-log-follow hidden>"Follow"</button> }
}

#[cfg(feature = "hydrate")]
mod browser {
    use std::cell::{Cell, OnceCell, RefCell};
    use std::collections::VecDeque;
    use std::rc::Rc;

    use web_sys::{Element, MessageEvent};

    use crate::ui::islands::browser::{find, listen, show, window};
    use crate::ui::islands::stream::{Signal, Stream};
    use crate::ui::log_line::log_line_html;

    /// The most lines in the page; a log may have millions.
    const MOST_ROWS: usize = 400;
    /// How near to its end, in pixels, a log counts as being at its end.
    const AT_END: i32 = 24;

    struct Tail {
        log: Element,
        button: Option<Element>,
        following: Cell<bool>,
        /// The number of the next line to come.
        next: Cell<i64>,
        /// Lines that came while the reader was elsewhere: the last of them, and how many came in all.
        waiting: RefCell<VecDeque<(i64, String)>>,
        missed: Cell<usize>,
        stream: OnceCell<Rc<Stream>>,
    }

    pub fn start(url: String, next: i64) {
        let Some(log) = find("#log") else { return };
        let at_a_line =
            window().is_some_and(|window| window.location().hash().is_ok_and(|hash| hash.starts_with("#L")));
        let tail = Rc::new(Tail {
            log,
            button: find("[data-log-follow]"),
            following: Cell::new(!at_a_line),
            next: Cell::new(next),
            waiting: RefCell::default(),
            missed: Cell::default(),
            stream: OnceCell::new(),
        });
        tail.follow_the_reader();
        tail.scroll_to_end();
        tail.show_button();
        let (asked, told) = (tail.clone(), tail.clone());
        let stream = Stream::start(
            move || format!("{url}{}from={}", if url.contains('?') { '&' } else { '?' }, asked.next.get()),
            &["message", "end"],
            move |signal| match signal {
                Signal::Message(0, message) => told.take(&message),
                Signal::Message(..) => told.end(),
                Signal::Open { .. } | Signal::Lost => {}
            },
        );
        let _ = tail.stream.set(stream);
    }

    impl Tail {
        /// Takes a batch of lines; those seen before (a resumed stream may repeat itself) are passed over.
        fn take(&self, message: &MessageEvent) {
            let Ok(lines) = js_sys::JSON::parse(&message.data().as_string().unwrap_or_default()) else { return };
            let lines = js_sys::Array::from(&lines);
            let Ok(last) = message.last_event_id().parse::<i64>() else { return };
            let first = last + 1 - i64::from(lines.length());
            let fresh = (first..).zip(lines.iter()).filter(|(number, _)| *number >= self.next.get());
            let fresh: Vec<_> = fresh.map(|(number, line)| (number, line.as_string().unwrap_or_default())).collect();
            self.next.set(self.next.get().max(last + 1));
            if self.following.get() {
                self.append(&fresh);
                self.scroll_to_end();
            } else {
                self.keep(fresh);
            }
        }

        fn append(&self, lines: &[(i64, String)]) {
            let lines = &lines[lines.len().saturating_sub(MOST_ROWS)..];
            let html: String = lines.iter().map(|(number, line)| log_line_html(*number, line)).collect();
            let _ = self.log.insert_adjacent_html("beforeend", &html);
            while self.log.child_element_count() as usize > MOST_ROWS {
                let Some(first) = self.log.first_element_child() else { return };
                first.remove();
            }
        }

        fn keep(&self, lines: Vec<(i64, String)>) {
            self.missed.set(self.missed.get() + lines.len());
            let mut waiting = self.waiting.borrow_mut();
            waiting.extend(lines);
            let over = waiting.len().saturating_sub(MOST_ROWS);
            waiting.drain(..over);
            drop(waiting);
            self.show_button();
        }

        /// Back to the end, with the lines that came meanwhile.
        fn follow(&self) {
            let waiting: Vec<_> = self.waiting.take().into();
            if self.missed.take() > waiting.len() {
                // More came than is kept: what is shown would have a hole in it.
                self.log.set_inner_html("");
            }
            self.append(&waiting);
            self.following.set(true);
            self.scroll_to_end();
            self.show_button();
        }

        fn follow_the_reader(self: &Rc<Self>) {
            let this = self.clone();
            listen(&self.log, "scroll", move |_| {
                let left = this.log.scroll_height() - this.log.scroll_top() - this.log.client_height();
                if this.following.get() && left > AT_END {
                    this.following.set(false);
                    this.show_button();
                } else if !this.following.get() && left <= AT_END && this.missed.get() == 0 {
                    this.following.set(true);
                    this.show_button();
                }
            });
            if let Some(button) = &self.button {
                let this = self.clone();
                listen(button, "click", move |_| this.follow());
            }
        }

        fn scroll_to_end(&self) {
            if self.following.get() {
                self.log.set_scroll_top(self.log.scroll_height());
            }
        }

        fn show_button(&self) {
            let Some(button) = &self.button else { return };
            let words = match self.missed.get() {
                0 => "Follow".to_owned(),
                new => format!("Follow — {new} new"),
            };
            button.set_text_content(Some(&words));
            show(button, !self.following.get());
        }

        fn end(&self) {
            if let Some(stream) = self.stream.get() {
                stream.finish();
            }
        }
    }
}
