//! A tag as it was at a moment, with the history it had. The one thing to do here is going back to a row of it.

use leptos::prelude::*;

use super::history::{HistoryTable, RowPlace};
use super::past::{deleted_badge, in_stream, now_words};
use super::streams::kind_words;
use super::tag;
use crate::model::{Project, TagEvent};
use crate::server::auth::Right;
use crate::server::store::{StreamThen, TagThen};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, DigestText, PageSize, Pager, Tone, Who};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Tab};

/// `/p/:project/streams/:stream/tags/:tag?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let name = cx.param("tag");
    let then = cx.store().find_tag_then(&stream, name, &as_of.0).await?;
    let history = history(&cx, &as_of, &stream, then.as_ref()).await?.ok_or_else(|| nothing(&stream, name, &as_of))?;
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let body = view! {
        {match &then {
            Some(then) => facts(&path, &as_of, &stream, then),
            None => view! { <p class="muted">"It pointed to no image then: it was deleted, or had none yet."</p> }.into_any(),
        }}
        {history}
    };
    Ok(laid_out(&cx, &as_of, "History", body.into_any(), &project, (&stream, name), then.as_ref()))
}

/// A page of a tag of then. One that pointed nowhere was used by nothing.
pub fn laid_out(
    cx: &Cx,
    as_of: &AsOf,
    tab: &'static str,
    body: AnyView,
    project: &Project,
    (stream, name): (&StreamThen, &str),
    then: Option<&TagThen>,
) -> Page {
    let stream_path = format!("/p/{}/streams/{}", project.name, stream.name);
    let path = format!("{stream_path}/tags/{name}");
    let held = then.and_then(|then| then.held_by.as_ref());
    let held = held.map(|_| view! { <Badge tone=Tone::Held text="Held" /> });
    let users = then.map(|_| ("Used by", format!("{path}/used-by")));
    let tabs = [("History", path)].into_iter().chain(users);
    let tabs = tabs.map(|(name, href)| Tab::new(name, as_of.link(&href), name == tab)).collect();
    let page = Page::new(format!("{}:{name}", stream.name), body)
        .kind("tag")
        .past(cx, as_of)
        .beside(view! { {held} {deleted_badge(stream.deleted_at)} })
        .tabs(tabs);
    in_stream(page, project, as_of).crumb(stream.name.clone(), as_of.link(&stream_path))
}

/// There was no such tag.
pub fn nothing(stream: &StreamThen, name: &str, as_of: &AsOf) -> UiError {
    UiError::NotFound { what: format!("An image that {}:{name} pointed to at {}", stream.name, as_of.0.words) }
}

fn facts(path: &str, as_of: &AsOf, stream: &StreamThen, then: &TagThen) -> AnyView {
    let image = as_of.link(&format!("{path}/images/{}", then.digest));
    let held = then.held_by.clone().map(|by| {
        view! {
            <dt>"Held"</dt>
            <dd>{format!("by {by}")}</dd>
        }
    });
    let reason = then.reason.clone().map(|reason| {
        view! {
            <dt>"Why"</dt>
            <dd>{reason}</dd>
        }
    });
    let named = then.refers_to().map(|name| {
        view! {
            <dt>"Only named then"</dt>
            <dd>
                <code class="break">{name.to_owned()}</code>
            </dd>
        }
    });
    let gone = stream.deleted_at.map(|at| {
        view! {
            <dt>"Stream"</dt>
            <dd>"deleted "<Ago at />{stream.deleted_by.clone().map(|by| format!(" by {by}"))}</dd>
        }
    });
    view! {
        <section class="card">
            <dl class="facts">
                <dt>"Pointed to"</dt>
                <dd>
                    <DigestText digest=then.digest.clone() href=image />
                </dd>
                <dt>"Since"</dt>
                <dd>
                    <Ago at=then.at />
                    {format!(", {} by ", kind_words(Some(then.kind)))}
                    <Who kind=then.actor_kind name=then.actor.clone() />
                </dd>
                {named}
                {reason}
                {held}
                <dt>"Now"</dt>
                <dd>{now_words(then)}</dd>
                {gone}
            </dl>
        </section>
    }
    .into_any()
}

/// The rows there were, with the way back to each where the stream is there still; `None` when there were none.
async fn history(
    cx: &Cx,
    as_of: &AsOf,
    stream: &StreamThen,
    then: Option<&TagThen>,
) -> Result<Option<AnyView>, UiError> {
    let store = cx.store();
    let Some(tag_id) = store.find_tag_id_then(stream, cx.param("tag")).await? else { return Ok(None) };
    let size = PageSize::of(cx);
    let before = cx.query("after").parse().ok();
    let mut events: Vec<TagEvent> = store.list_history_then(stream, &tag_id, &as_of.0, before, size.limit()).await?;
    if events.is_empty() && then.is_none() {
        return Ok(None);
    }
    let more = size.cut(&mut events);
    let next = events.last().filter(|_| more).map(|last| last.number.to_string());
    let place = RowPlace {
        project_path: format!("/p/{}", cx.param("project")),
        then: then.map(|then| then.sequence),
        as_of: Some(as_of.clone()),
        ..RowPlace::default()
    };
    let place = match stream.is_there() {
        false => place,
        true => {
            let open = tag::open(cx, Right::View).await?;
            RowPlace {
                current: open.tag.event_sequence.filter(|_| open.tag.digest.is_some()),
                current_digest: open.tag.digest.clone(),
                rejected: open.rejected_digests(),
                can_edit: open.may_move() && open.tag.deleted_at.is_none(),
                asks_first: open.immutable.is_some(),
                ..place
            }
        }
    };
    let list = view! {
        <h2>"Its history then"</h2>
        <HistoryTable place events />
        <Pager cx=cx.clone() next />
    };
    Ok(Some(list.into_any()))
}
