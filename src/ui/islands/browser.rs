//! The few things every island asks of the browser. Listeners and timers live as long as the page, so their closures are given to
//! JavaScript for good.

use leptos::wasm_bindgen::prelude::Closure;
use leptos::wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, Element, Event, EventTarget, NodeList, Window};

/// The tab. Absent only outside a page, where no island runs.
pub fn window() -> Option<Window> {
    web_sys::window()
}

/// The page.
pub fn document() -> Option<Document> {
    window()?.document()
}

/// The first element that `selector` matches.
pub fn find(selector: &str) -> Option<Element> {
    document()?.query_selector(selector).ok()?
}

/// The elements that `selector` matches, in the document's order, as they are now.
pub fn all(document: &Document, selector: &str) -> Vec<Element> {
    document.query_selector_all(selector).map(|nodes| elements(&nodes)).unwrap_or_default()
}

fn elements(nodes: &NodeList) -> Vec<Element> {
    (0..nodes.length()).filter_map(|at| nodes.item(at)?.dyn_into().ok()).collect()
}

/// Calls `act` at each `event` on `target`.
pub fn listen(target: &EventTarget, event: &str, act: impl FnMut(Event) + 'static) {
    let act = Closure::<dyn FnMut(Event)>::new(act).into_js_value();
    let _ = target.add_event_listener_with_callback(event, act.unchecked_ref());
}

/// Calls `act` once, in `ms` milliseconds; the answer is what [`cancel`] takes.
pub fn after(ms: i32, act: impl FnOnce() + 'static) -> Option<i32> {
    let act = Closure::once_into_js(act);
    window()?.set_timeout_with_callback_and_timeout_and_arguments_0(act.unchecked_ref(), ms).ok()
}

/// Forgets what [`after`] was to do.
pub fn cancel(timer: i32) {
    if let Some(window) = window() {
        window.clear_timeout_with_handle(timer);
    }
}

/// Calls `act` each `ms` milliseconds.
pub fn every(ms: i32, act: impl FnMut() + 'static) {
    let act = Closure::<dyn FnMut()>::new(act).into_js_value();
    if let Some(window) = window() {
        let _ = window.set_interval_with_callback_and_timeout_and_arguments_0(act.unchecked_ref(), ms);
    }
}

/// Milliseconds since 1970 by the browser's clock.
pub fn now() -> f64 {
    js_sys::Date::now()
}

/// Shows or hides an element by its `hidden` attribute, which the style sheet obeys everywhere.
pub fn show(element: &Element, shown: bool) {
    let _ = element.toggle_attribute_with_force("hidden", !shown);
}

/// A property of a JavaScript object, if it is there: what web-sys takes for granted may be missing (the clipboard is, over HTTP).
pub fn property(object: &JsValue, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(object, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
