//! The ways a tag can get its images, each a form.

use leptos::prelude::*;

use crate::model::{SourceKind, Tag};
use crate::ui::components::{CheckField, SelectField, TextField, duration_words};

pub const MINUTE_MS: i64 = 60_000;

/// For an existing tag its name is not asked for and what is set now is filled in; `image` is one that somebody comes from.
pub fn forms(action: &str, tag: Option<&Tag>, image: &str) -> AnyView {
    let is_fed = tag.is_some_and(|tag| tag.source_kind.is_some());
    view! {
        <div class="grid gap-4 lg:grid-cols-3 items-start">
            {import_form(action, tag)} {follow_form(action, tag)}
            <div class="stack">{point_form(action, tag, image)} {is_fed.then(|| push_form(action))}</div>
        </div>
    }
    .into_any()
}

/// The tag's source now, if it is of that kind.
fn source(tag: Option<&Tag>, kind: SourceKind) -> String {
    let has = tag.filter(|tag| tag.source_kind.as_deref() == Some(kind.as_str()));
    has.and_then(|tag| tag.source.clone()).unwrap_or_default()
}

/// The project of that source, when it is another one.
fn source_project(tag: Option<&Tag>, kind: SourceKind) -> String {
    let has = tag.filter(|tag| tag.source_kind.as_deref() == Some(kind.as_str()));
    has.and_then(|tag| tag.source_project.clone()).unwrap_or_default()
}

fn name_field(tag: Option<&Tag>, name: &'static str) -> Option<AnyView> {
    tag.is_none().then(|| view! { <TextField name label="Tag" required=true maxlength=128 /> }.into_any())
}

fn verb(tag: Option<&Tag>) -> &'static str {
    if tag.is_some() { "Save" } else { "Add tag" }
}

fn save(tag: Option<&Tag>) -> AnyView {
    view! {
        <div class="form-actions">
            <button class="btn">{verb(tag)}</button>
        </div>
    }
    .into_any()
}

fn import_form(action: &str, tag: Option<&Tag>) -> AnyView {
    let interval = tag.and_then(|tag| tag.interval_ms);
    let every =
        [("", "The server's default"), ("5", "5 minutes"), ("15", "15 minutes"), ("60", "1 hour"), ("1440", "1 day")];
    let cool_down = tag.and_then(|tag| tag.cool_down_ms).filter(|ms| *ms > 0);
    let ages = [
        ("", "At once"),
        ("60", "1 hour"),
        ("360", "6 hours"),
        ("1440", "1 day"),
        ("4320", "3 days"),
        ("10080", "7 days"),
    ];
    let scheduled = tag.is_none_or(|tag| tag.scheduled == 1 || tag.source_kind.is_none());
    let insecure = tag.is_some_and(|tag| tag.insecure == 1);
    let reference_only = tag.is_some_and(|tag| tag.reference_only == 1);
    view! {
        <form class="card stack" method="post" action=action.to_owned()>
            <h2>"Import from a registry"</h2>
            <input type="hidden" name="way" value="import" />
            {name_field(tag, "import_tag")}
            <TextField
                name="reference"
                label="Image"
                required=true
                value=source(tag, SourceKind::DockerImage)
                placeholder="docker.io/library/python:3.12"
            />
            <CheckField name="scheduled" label="Check on a schedule" checked=scheduled />
            <SelectField name="interval" label="How often" options=choices(&every, interval) value=in_minutes(interval) />
            <SelectField
                name="cool_down"
                label="Take over what is new"
                options=choices(&ages, cool_down)
                value=in_minutes(cool_down)
                hint="A cool-down: so long after it was first seen here, whatever it says of its own age. What is withdrawn meanwhile never comes."
            />
            <CheckField name="insecure" label="Plain HTTP, or a certificate that is not trusted" checked=insecure />
            {modes(tag)}
            <CheckField
                name="reference_only"
                label="Only keep the name"
                checked=reference_only
                hint="Nothing is imported, and the tag has no image of its own."
            />
            <p class="hint">
                "Credentials are the project's secret for that registry, if it has one. Try asks the registry now and shows below what would come. Nothing is kept."
            </p>
            <div class="form-actions">
                <button class="btn btn-primary">{verb(tag)}</button>
                <button class="btn" name="do" value="try">
                    "Try"
                </button>
            </div>
        </form>
    }
    .into_any()
}

/// What of an image for several platforms is taken, and where pulls get it.
fn modes(tag: Option<&Tag>) -> AnyView {
    let pairs = |pairs: [(&str, &str); 2]| pairs.map(|(value, words)| (value.to_owned(), words.to_owned())).to_vec();
    let mode = tag.map_or_else(|| "PreserveOriginal".to_owned(), |tag| tag.import_mode.clone());
    let policy = tag.map_or_else(|| "Source".to_owned(), |tag| tag.reference_policy.clone());
    view! {
        <SelectField
            name="import_mode"
            label="Of an image for several platforms"
            options=pairs([("PreserveOriginal", "Take it as it is (PreserveOriginal)"), ("Legacy", "Take one platform (Legacy)")])
            value=mode
        />
        <SelectField
            name="reference_policy"
            label="Builds and clusters pull it from"
            options=pairs([("Source", "Where it comes from (Source)"), ("Local", "This registry (Local)")])
            value=policy
        />
    }
    .into_any()
}

fn follow_form(action: &str, tag: Option<&Tag>) -> AnyView {
    view! {
        <form class="card stack" method="post" action=action.to_owned()>
            <h2>"Follow another tag"</h2>
            <input type="hidden" name="way" value="follow" />
            {name_field(tag, "follow_tag")}
            <TextField
                name="follows"
                label="Tag to follow"
                required=true
                value=source(tag, SourceKind::ImageStreamTag)
                hint="stream:tag, or a tag of this stream. It moves whenever that one does."
            />
            <TextField
                name="follows_project"
                label="In project"
                value=source_project(tag, SourceKind::ImageStreamTag)
                hint="Left empty: this project."
            />
            {save(tag)}
        </form>
    }
    .into_any()
}

fn point_form(action: &str, tag: Option<&Tag>, image: &str) -> AnyView {
    let pinned = if image.is_empty() { source(tag, SourceKind::ImageStreamImage) } else { image.to_owned() };
    view! {
        <form class="card stack" method="post" action=action.to_owned()>
            <h2>"Point to an existing image"</h2>
            <input type="hidden" name="way" value="point" />
            {name_field(tag, "point_tag")}
            <TextField
                name="image"
                label="Image"
                required=true
                value=pinned
                hint="A digest of this stream, or stream@digest. It stays there until somebody points it elsewhere."
            />
            <TextField
                name="image_project"
                label="Of project"
                value=source_project(tag, SourceKind::ImageStreamImage)
                hint="Left empty: this project."
            />
            {tag.is_none().then(replace_field)}
            {save(tag)}
        </form>
    }
    .into_any()
}

fn replace_field() -> AnyView {
    let hint = "What it follows or imports ends, and what depends on it starts.";
    view! { <CheckField name="replace" label="Move the tag if it is there already" checked=false hint /> }.into_any()
}

fn push_form(action: &str) -> AnyView {
    view! {
        <form class="card stack" method="post" action=action.to_owned()>
            <h2>"Pushes and builds only"</h2>
            <input type="hidden" name="way" value="push" />
            <p>"The tag keeps its image and follows nothing any more."</p>
            <div class="form-actions">
                <button class="btn">"Stop following"</button>
            </div>
        </form>
    }
    .into_any()
}

/// A duration as the form has it: in minutes, rounded up; empty when there is none.
fn in_minutes(ms: Option<i64>) -> String {
    ms.map(|ms| ms.div_euclid(MINUTE_MS) + i64::from(ms % MINUTE_MS > 0))
        .map(|minutes| minutes.to_string())
        .unwrap_or_default()
}

/// The usual choices, and the present one if it is another.
fn choices(usual: &[(&str, &str)], present: Option<i64>) -> Vec<(String, String)> {
    let mut choices: Vec<_> = usual.iter().map(|(value, words)| ((*value).to_owned(), (*words).to_owned())).collect();
    let value = in_minutes(present);
    if let Some(ms) = present.filter(|_| choices.iter().all(|(usual, _)| *usual != value)) {
        choices.push((value, duration_words(ms)));
    }
    choices
}
