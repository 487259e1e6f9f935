//! A tag as it was at a moment, with the history it had. The one thing to do here is going back to a row of it.

use leptos::prelude::*;

use super::history::{HistoryTable, RowPlace};
use super::past::{deleted_badge, in_stream, now_words};
use super::streams::kind_words;
use super::tag;
use crate::model::TagEvent;
use crate::server::auth::Right;
use crate::server::store::{StreamThen, TagThen};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, DigestText, PageSize, Pager, Tone, Who};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::Page;

/// `/p/:project/streams/:stream/tags/:tag?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let (name, title) = (cx.param("tag"), format!("{}:{}", stream.name, cx.param("tag")));
    let then = cx.store().find_tag_then(&stream, name, &as_of.0).await?;
    let history = match stream.deleted_at {
        None => Some(history(&cx, &as_of, then.as_ref()).await?),
        Some(_) => None,
    };
    let Some(then) = then else {
        return Err(UiError::NotFound { what: format!("An image that {title} pointed to at {}", as_of.0.words) });
    };
    let body = view! {
        {facts(&stream, &then)}
        {history}
    };
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let held = then.held_by.is_some().then(|| view! { <Badge tone=Tone::Held text="Held" /> });
    let page = Page::new(title, body).kind("tag").past(&cx, &as_of).beside(view! { {held} {deleted_badge(&stream)} });
    Ok(in_stream(page, &project, &as_of).crumb(stream.name.clone(), as_of.link(&path)))
}

fn facts(stream: &StreamThen, then: &TagThen) -> AnyView {
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
                    <DigestText digest=then.digest.clone() />
                </dd>
                <dt>"Since"</dt>
                <dd>
                    <Ago at=then.at />
                    {format!(", {} by ", kind_words(Some(then.kind)))}
                    <Who kind=then.actor_kind name=then.actor.clone() />
                </dd>
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

/// The rows there were, with the way back to each.
async fn history(cx: &Cx, as_of: &AsOf, then: Option<&TagThen>) -> Result<AnyView, UiError> {
    let open = tag::open(cx, Right::View).await?;
    let size = PageSize::of(cx);
    let end = cx.store().history_end_then(&open.tag.id, &as_of.0).await?;
    let before = cx.query("after").parse().unwrap_or(end).min(end);
    let mut events: Vec<TagEvent> = cx.store().list_history(&open.tag.id, Some(before), size.limit()).await?;
    let more = size.cut(&mut events);
    let next = events.last().filter(|_| more).map(|last| last.number.to_string());
    let place = RowPlace {
        project_path: format!("/p/{}", open.project.name),
        current: open.tag.event_sequence.filter(|_| open.tag.digest.is_some()),
        current_digest: open.tag.digest.clone(),
        then: then.map(|then| then.sequence),
        rejected: open.rejected_digests(),
        can_edit: open.may_move() && open.tag.deleted_at.is_none(),
        asks_first: open.immutable.is_some(),
        with_tag: false,
    };
    let list = view! {
        <h2>"Its history then"</h2>
        <HistoryTable place events />
        <Pager cx=cx.clone() next />
    };
    Ok(list.into_any())
}
