//! One connection for server-sent events that looks after itself: it closes when the tab has been hidden for a minute or is left,
//! opens again when the reader returns, and tries again where the browser gives up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leptos::wasm_bindgen::JsCast;
use web_sys::{EventSource, MessageEvent};

use super::browser::{after, cancel, document, listen, window};

const HIDDEN_MS: i32 = 60_000;
const RETRY_MS: i32 = 5_000;

/// What the stream tells its island.
pub enum Signal {
    /// Connected; `true` when it had been connected before, so something may have been missed.
    Open { again: bool },
    /// The connection is lost; another attempt is under way.
    Lost,
    /// A message: its event name's number in the list given to [`Stream::start`], and the message.
    Message(usize, MessageEvent),
}

/// See the module's words.
pub struct Stream {
    address: Box<dyn Fn() -> String>,
    events: &'static [&'static str],
    tell: Box<dyn Fn(Signal)>,
    source: RefCell<Option<EventSource>>,
    was_open: Cell<bool>,
    finished: Cell<bool>,
    hidden: Cell<Option<i32>>,
}

impl Stream {
    /// Opens the stream at `address()` (asked anew for each attempt) and listens to `events`.
    pub fn start(
        address: impl Fn() -> String + 'static,
        events: &'static [&'static str],
        tell: impl Fn(Signal) + 'static,
    ) -> Rc<Self> {
        let stream = Rc::new(Self {
            address: Box::new(address),
            events,
            tell: Box::new(tell),
            source: RefCell::default(),
            was_open: Cell::default(),
            finished: Cell::default(),
            hidden: Cell::default(),
        });
        stream.open();
        stream.watch_the_tab();
        stream
    }

    /// Closes it for good.
    pub fn finish(&self) {
        self.finished.set(true);
        self.close();
    }

    fn close(&self) {
        if let Some(source) = self.source.take() {
            source.close();
        }
    }

    fn open(self: &Rc<Self>) {
        if self.finished.get() || self.source.borrow().is_some() {
            return;
        }
        let Ok(source) = EventSource::new(&(self.address)()) else { return };
        let this = self.clone();
        listen(&source, "open", move |_| (this.tell)(Signal::Open { again: this.was_open.replace(true) }));
        let this = self.clone();
        listen(&source, "error", move |_| this.lost());
        for (number, name) in self.events.iter().enumerate() {
            let this = self.clone();
            listen(&source, name, move |event| {
                if let Ok(message) = event.dyn_into() {
                    (this.tell)(Signal::Message(number, message));
                }
            });
        }
        self.source.replace(Some(source));
    }

    /// The browser tries again by itself after a broken connection, but not after an answer that was no stream.
    fn lost(self: &Rc<Self>) {
        if self.finished.get() || self.source.borrow().is_none() {
            return;
        }
        (self.tell)(Signal::Lost);
        let given_up = self.source.borrow().as_ref().is_some_and(|source| source.ready_state() == EventSource::CLOSED);
        if given_up {
            self.close();
            let this = self.clone();
            after(RETRY_MS, move || {
                if document().is_some_and(|document| !document.hidden()) {
                    this.open();
                }
            });
        }
    }

    fn watch_the_tab(self: &Rc<Self>) {
        let (Some(window), Some(document)) = (window(), document()) else { return };
        let this = self.clone();
        listen(&document.clone(), "visibilitychange", move |_| {
            if let Some(timer) = this.hidden.take() {
                cancel(timer);
            }
            if document.hidden() {
                let closing = this.clone();
                this.hidden.set(after(HIDDEN_MS, move || closing.close()));
            } else {
                this.open();
            }
        });
        // A page in the back/forward cache must hold no connection.
        let this = self.clone();
        listen(&window, "pagehide", move |_| this.close());
        let this = self.clone();
        listen(&window, "pageshow", move |_| this.open());
    }
}
