//! Form fields. Shown again after a refusal, each keeps what was typed and says what was wrong with it.

use leptos::prelude::*;

use crate::ui::context::Cx;

/// What a field shows: what was typed, else `value`; and its error.
fn state(name: &str, value: String) -> (String, Option<String>) {
    let Some(cx) = use_context::<Cx>() else { return (value, None) };
    (cx.form.value(name).map_or(value, str::to_owned), cx.form.error(name).map(str::to_owned))
}

/// Ids for `aria-describedby`, and the lines they name.
fn notes(name: &str, hint: Option<String>, error: Option<String>) -> (Option<String>, AnyView) {
    let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
    let described: Vec<&str> = [hint.as_ref().map(|_| hint_id.as_str()), error.as_ref().map(|_| error_id.as_str())]
        .into_iter()
        .flatten()
        .collect();
    let described = (!described.is_empty()).then(|| described.join(" "));
    let lines = view! {
        {hint.map(|hint| view! { <p class="hint" id=hint_id>{hint}</p> })}
        {error.map(|error| view! { <p class="error" id=error_id>{error}</p> })}
    };
    (described, lines.into_any())
}

/// A line of text.
#[component]
pub fn TextField(
    name: &'static str,
    #[prop(into)] label: String,
    #[prop(optional, into)] value: String,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional, into)] placeholder: Option<String>,
    #[prop(default = false)] required: bool,
    #[prop(default = "text")] kind: &'static str,
    #[prop(optional, into)] autocomplete: Option<String>,
    #[prop(default = false)] autofocus: bool,
    #[prop(optional)] maxlength: Option<u32>,
    /// What the browser offers while one types.
    #[prop(optional)]
    suggestions: Vec<String>,
) -> impl IntoView {
    let (value, error) = state(name, value);
    let invalid = error.is_some().then_some("true");
    let (described, notes) = notes(name, hint, error);
    let list = (!suggestions.is_empty()).then(|| format!("{name}-suggestions"));
    let offered = list.clone().map(|id| {
        let options: Vec<_> = suggestions.into_iter().map(|value| view! { <option value=value></option> }).collect();
        view! { <datalist id=id>{options}</datalist> }
    });
    view! {
        <div class="field">
            <label for=name>{label}</label>
            {offered}
            <input
                id=name
                name=name
                list=list
                type=kind
                value=value
                placeholder=placeholder
                required=required
                autocomplete=autocomplete
                autofocus=autofocus
                maxlength=maxlength
                aria-invalid=invalid
                aria-describedby=described
            />
            {notes}
        </div>
    }
}

/// A password: never filled in again.
#[component]
pub fn PasswordField(
    name: &'static str,
    #[prop(into)] label: String,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(default = "current-password")] autocomplete: &'static str,
    #[prop(default = true)] required: bool,
) -> impl IntoView {
    let (_, error) = state(name, String::new());
    let invalid = error.is_some().then_some("true");
    let (described, notes) = notes(name, hint, error);
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <input
                id=name
                name=name
                type="password"
                required=required
                autocomplete=autocomplete
                aria-invalid=invalid
                aria-describedby=described
            />
            {notes}
        </div>
    }
}

/// Several lines of text.
#[component]
pub fn AreaField(
    name: &'static str,
    #[prop(into)] label: String,
    #[prop(optional, into)] value: String,
    #[prop(optional, into)] hint: Option<String>,
    #[prop(optional, into)] placeholder: Option<String>,
    #[prop(default = 4)] rows: u32,
    #[prop(default = false)] mono: bool,
) -> impl IntoView {
    let (value, error) = state(name, value);
    let invalid = error.is_some().then_some("true");
    let (described, notes) = notes(name, hint, error);
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <textarea
                id=name
                name=name
                rows=rows
                class=mono.then_some("mono")
                placeholder=placeholder
                spellcheck=mono.then_some("false")
                aria-invalid=invalid
                aria-describedby=described
            >
                {value}
            </textarea>
            {notes}
        </div>
    }
}

/// One of several choices, `(value, words)`.
#[component]
pub fn SelectField(
    name: &'static str,
    #[prop(into)] label: String,
    options: Vec<(String, String)>,
    #[prop(optional, into)] value: String,
    #[prop(optional, into)] hint: Option<String>,
) -> impl IntoView {
    let (chosen, error) = state(name, value);
    let invalid = error.is_some().then_some("true");
    let (described, notes) = notes(name, hint, error);
    let options: Vec<_> = options
        .into_iter()
        .map(|(value, words)| {
            let selected = value == chosen;
            view! { <option value=value selected=selected>{words}</option> }
        })
        .collect();
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <select id=name name=name aria-invalid=invalid aria-describedby=described>
                {options}
            </select>
            {notes}
        </div>
    }
}

/// A box to tick.
#[component]
pub fn CheckField(
    name: &'static str,
    #[prop(into)] label: String,
    #[prop(default = false)] checked: bool,
    #[prop(optional, into)] hint: Option<String>,
) -> impl IntoView {
    let again = use_context::<Cx>().filter(|cx| cx.form.is_again()).map(|cx| cx.form.value(name).is_some());
    view! {
        <label class="choice">
            <input type="checkbox" name=name value="on" checked=again.unwrap_or(checked) />
            <span>{label} {hint.map(|hint| view! { <span class="hint cell-sub">{hint}</span> })}</span>
        </label>
    }
}
