//! States: a shape, a colour and always a word.

use leptos::prelude::*;

/// How a state feels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Ok,
    Running,
    Warn,
    Fail,
    Held,
    Muted,
}

impl Tone {
    /// Its colour, for a badge that says more than a word.
    pub fn class(self) -> &'static str {
        match self {
            Self::Ok => "badge badge-ok",
            Self::Running => "badge badge-running",
            Self::Warn => "badge badge-warn",
            Self::Fail => "badge badge-fail",
            Self::Held => "badge badge-held",
            Self::Muted => "badge badge-muted",
        }
    }
}

/// A state's word on its colour.
#[component]
pub fn Badge(tone: Tone, #[prop(into)] text: String) -> impl IntoView {
    view! { <span class=tone.class()>{text}</span> }
}
