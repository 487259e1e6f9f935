//! Two images of a stream side by side, chosen by the address: a verdict, then what it is made of.

use std::collections::BTreeSet;

use leptos::prelude::*;

use super::compare_parts::{layer_card, package_card, setting_card};
use super::{past_image, stream};
use crate::model::{DigestPrefix, Outcome, Stream, TagEvent};
use crate::server::auth::Right;
use crate::server::packages::{Compared, Pair, Unpaired};
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, DigestText, Empty, SelectField, short_digest, size_words};
use crate::ui::context::{Cx, InProject, address};
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

/// How many rows of history the choice of images comes from.
const CHOICES: i64 = 200;

/// `/p/:project/streams/:stream/compare?from=&to=`; digests may be shortened. `tag` names the tag whose history it came from.
pub async fn page(cx: Cx) -> PageResult {
    let (project, stream) = stream::open(&cx, Right::View).await?;
    let as_of = AsOf::of(&cx)?;
    let (from, to) = (digest(&cx, &stream, "from").await?, digest(&cx, &stream, "to").await?);
    let history = match &as_of {
        None => cx.store().list_stream_history(&stream.id, None, CHOICES).await?,
        Some(as_of) => {
            let then = past_image::same_stream_then(&cx, &stream, as_of).await?;
            cx.store().list_stream_history_then(&then, &as_of.0, None, CHOICES).await?
        }
    };
    let choice = choice(&cx, as_of.as_ref(), &history, from.as_deref(), to.as_deref());
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let (body, actions) = match (&from, &to) {
        (Some(from), Some(to)) => {
            let platform = Some(cx.query("platform"));
            match cx.views().compare(cx.store(), &stream.id, (from, to), platform).await {
                Ok((pair, compared)) => {
                    let body = both(&cx, as_of.as_ref(), &path, (from, to), &pair, &compared);
                    (body, as_of.is_none().then(|| actions(&cx, &project, &path, &history, from, to)))
                }
                Err(Unpaired::Store(error)) => return Err(error.into()),
                Err(problem) => (not_comparable(&problem), None),
            }
        }
        _ => (none_chosen(), None),
    };
    let heading = match (&from, &to) {
        (Some(from), Some(to)) => format!("{} and {}", short_digest(from), short_digest(to)),
        _ => "Compare images".to_owned(),
    };
    let body = view! {
        {choice}
        {body}
    };
    let link = |path: &str| AsOf::keep(as_of.as_ref(), path);
    let page = Page::new(heading, body)
        .kind("comparison")
        .within(&project, Section::Streams)
        .crumb("Streams", link(&format!("/p/{}/streams", project.name)))
        .crumb(stream.name, link(&path));
    Ok(match (&as_of, actions) {
        (Some(as_of), _) => page.past(&cx, as_of),
        (None, Some(actions)) => page.actions(actions),
        (None, None) => page,
    })
}

/// The image that the address names under `name`; `None` when it names none.
async fn digest(cx: &Cx, stream: &Stream, name: &str) -> Result<Option<String>, UiError> {
    let typed = cx.query(name);
    if typed.is_empty() {
        return Ok(None);
    }
    let missing = || UiError::NotFound { what: format!("Image {typed} of stream {}", stream.name) };
    let id: DigestPrefix = typed.parse().map_err(|_| missing())?;
    if let Some(as_of) = AsOf::of(cx)? {
        return past_image::digest_of(cx, stream, &id, &as_of).await.map(Some);
    }
    cx.store().find_stream_digest(stream, &id).await?.ok_or_else(missing).map(Some)
}

/// Two lists of the stream's images to choose from.
fn choice(cx: &Cx, as_of: Option<&AsOf>, history: &[TagEvent], from: Option<&str>, to: Option<&str>) -> AnyView {
    let mut seen = BTreeSet::new();
    let mut options: Vec<(String, String)> = Vec::new();
    for event in history.iter().filter(|event| event.outcome == Outcome::Moved) {
        if let Some(digest) = event.digest.as_ref().filter(|digest| seen.insert((*digest).clone())) {
            options.push((digest.clone(), format!("{} #{} · {}", event.tag, event.number, short_digest(digest))));
        }
    }
    for digest in [from, to].into_iter().flatten() {
        if seen.insert(digest.to_owned()) {
            options.push((digest.to_owned(), short_digest(digest)));
        }
    }
    let select = |name: &'static str, label: &'static str, value: Option<&str>| {
        let value = value.unwrap_or_default().to_owned();
        let mut options = options.clone();
        if value.is_empty() {
            options.insert(0, (String::new(), "Choose an image".to_owned()));
        }
        view! { <SelectField name label options value /> }
    };
    let swapped = from.zip(to).map(|(from, to)| {
        let href = cx.with_query(&[("from", to), ("to", from), ("after", ""), ("trail", "")]);
        view! {
            <a class="btn self-end" href=href>
                "Swap"
            </a>
        }
    });
    let tag = Some(cx.query("tag").to_owned()).filter(|tag| !tag.is_empty());
    view! {
        <form class="toolbar" method="get">
            {as_of.map(AsOf::hidden)}
            {select("from", "Left", from)}
            {select("to", "Right", to)}
            {tag.map(|tag| view! { <input type="hidden" name="tag" value=tag /> })}
            <button class="btn self-end">"Compare"</button>
            {swapped}
        </form>
    }
    .into_any()
}

/// Going back to the left image, where the tag it came from points to the right one or has gone on.
fn actions(cx: &Cx, project: &InProject, path: &str, history: &[TagEvent], from: &str, to: &str) -> AnyView {
    let tag = cx.query("tag");
    let row = history
        .iter()
        .find(|event| event.tag == tag && event.outcome == Outcome::Moved && event.digest.as_deref() == Some(from));
    let Some(row) = row.filter(|row| project.can_edit() && from != to && !row.is_gone()) else { return ().into_any() };
    let href = format!("{path}/tags/{tag}/rollback?to={}", row.sequence);
    view! {
        <a class="btn btn-primary" href=href>
            {format!("Roll back {tag} to left…")}
        </a>
    }
    .into_any()
}

fn none_chosen() -> AnyView {
    view! {
        <Empty heading="Choose two images">
            <p>"What the right one has that the left one has not will stand here: packages, configuration, layers."</p>
        </Empty>
    }
    .into_any()
}

fn not_comparable(problem: &Unpaired) -> AnyView {
    let problem = super::packages::sentence(&problem.to_string());
    view! { <div class="banner banner-warn"><p>{problem}</p></div> }.into_any()
}

fn both(cx: &Cx, as_of: Option<&AsOf>, path: &str, digests: (&str, &str), pair: &Pair, compared: &Compared) -> AnyView {
    let side = |heading: &'static str, digest: &str, size: i64, created: Option<String>| {
        let href = format!("{path}/images/{digest}");
        let href = AsOf::keep(as_of, &href);
        view! {
            <div class="stack gap-1">
                <h2>{heading}</h2>
                <DigestText digest=digest.to_owned() href />
                <p class="small muted">
                    {size_words(size)} {created.map(|created| format!(" · created {created}, as it says"))}
                </p>
            </div>
        }
    };
    let (from, to) = (&pair.from.image, &pair.to.image);
    view! {
        <div class="stack" data-live="comparison">
            <section class="card stack">
                <p>
                    <strong>{compared.verdict.clone()}</strong>
                </p>
                {platforms(cx, pair)}
                <div class="field-row">
                    {side("Left", digests.0, from.size, from.created_claimed.clone())}
                    {side("Right", digests.1, to.size, to.created_claimed.clone())}
                </div>
            </section>
            {setting_card(compared)}
            {package_card(cx, compared)}
            {layer_card(pair, compared)}
        </div>
    }
    .into_any()
}

/// Which platform is shown, which others there are, and which only one image has.
fn platforms(cx: &Cx, pair: &Pair) -> Option<AnyView> {
    let chosen = pair.platform.as_ref()?;
    let links: Vec<_> = pair
        .platforms
        .iter()
        .map(|name| {
            let kept = ["from", "to", "tag", AsOf::NAME].map(|name| (name, cx.query(name)));
            let href = address(cx.path(), kept.into_iter().chain([("platform", name.as_str())]));
            view! {
                <a class="chip" href=href aria-current=(name == chosen).then_some("true")>
                    {name.clone()}
                </a>
            }
        })
        .collect();
    let only = |side: &'static str, names: &[String]| {
        (!names.is_empty()).then(|| view! { <p>{format!("Only the {side} one is for {}.", names.join(", "))}</p> })
    };
    Some(
        view! {
            <nav class="chips" aria-label="Platform">
                {links}
            </nav>
            {only("left", &pair.only_from)}
            {only("right", &pair.only_to)}
        }
        .into_any(),
    )
}
