//! Who did something.

use leptos::prelude::*;

use super::Icon;
use crate::model::ActorKind;

/// A name with the icon of its kind; the kind also in words, unless the name says it already.
#[component]
pub fn Who(kind: ActorKind, #[prop(into)] name: String) -> impl IntoView {
    let icon = match kind {
        ActorKind::Person => "person",
        ActorKind::Robot => "robot",
        ActorKind::Schedule => "schedule",
        ActorKind::Build => "build",
        ActorKind::Webhook => "webhook",
        ActorKind::System => "system",
    };
    let word = (name != kind.as_str()).then(|| view! { <span class="muted small">{kind.as_str()}</span> });
    view! {
        <span class="icon-text">
            <Icon name=icon />
            <span>{name}</span>
            " "
            {word}
        </span>
    }
}
