//! The catalog and a stream as they were at a moment. Nothing here acts: what was cannot be changed.

use leptos::prelude::*;

use crate::model::Project;
use crate::server::auth::Right;
use crate::server::store::{StreamThen, TagThen};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Ago, AsOf, Badge, Col, DataTable, DigestText, Empty, PageSize, Pager, Tone, Who, size_words,
};
use crate::ui::context::Cx;
use crate::ui::pages::streams::kind_words;
use crate::ui::shell::{Page, Section};

/// `/p/:project/streams?as-of=`
pub async fn streams_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let mut streams = cx.store().list_streams_then(&project.id, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut streams);
    let next = streams.last().filter(|_| more).map(|last| last.name.clone());
    let list = if streams.is_empty() {
        view! { <Empty heading="There was no stream"><p>"The project had none at that moment, or no more of them."</p></Empty> }.into_any()
    } else {
        let path = format!("/p/{}/streams", project.name);
        let rows: Vec<_> = streams.iter().map(|stream| stream_row(&path, &as_of, stream)).collect();
        view! {
            <DataTable columns=&[Col::Text("Name"), Col::Text("Made"), Col::Text("Since then")]>{rows}</DataTable>
        }
        .into_any()
    };
    let body = view! {
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Streams", body).within(&project, Section::Streams).past(&cx, &as_of))
}

fn stream_row(path: &str, as_of: &AsOf, stream: &StreamThen) -> AnyView {
    let since = match stream.deleted_at {
        Some(at) => view! {
            <Badge tone=Tone::Muted text="Deleted" />
            " "
            <Ago at />
            {stream.deleted_by.clone().map(|by| view! { <span class="cell-sub">{format!("by {by}")}</span> })}
        }
        .into_any(),
        None => view! { <span class="muted">"still there"</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&format!("{path}/{}", stream.name))>
                    {stream.name.clone()}
                </a>
                {(!stream.description.is_empty()).then(|| view! { <span class="cell-sub">{stream.description.clone()}</span> })}
            </th>
            <td data-label="Made">
                <Ago at=stream.created_at />
                <span class="cell-sub">{format!("by {}", stream.created_by)}</span>
            </td>
            <td data-label="Since then">{since}</td>
        </tr>
    }
    .into_any()
}

/// `/p/:project/streams/:stream?as-of=`
pub async fn stream_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let size = PageSize::of(&cx);
    let mut tags = cx.store().list_tags_then(&stream, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut tags);
    let next = tags.last().filter(|_| more).map(|last| last.name.clone());
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let list = if tags.is_empty() {
        view! { <Empty heading="No tag pointed to an image"><p>"Not at that moment, or no more of them."</p></Empty> }
            .into_any()
    } else {
        let rows: Vec<_> = tags.iter().map(|tag| tag_row(&path, &as_of, &stream, tag)).collect();
        let mut columns = vec![Col::Text("Tag"), Col::Text("Pointed to"), Col::Text("Since"), Col::Text("How")];
        columns.extend([Col::Text("Now"), Col::Number("Size")]);
        view! { <DataTable columns>{rows}</DataTable> }.into_any()
    };
    let body = view! {
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    let page = Page::new(stream.name.clone(), body).past(&cx, &as_of).beside(deleted_badge(&stream));
    Ok(in_stream(page.kind("stream"), &project, &as_of))
}

/// Says that a stream is gone since.
pub fn deleted_badge(stream: &StreamThen) -> Option<AnyView> {
    stream.deleted_at.map(|_| view! { <Badge tone=Tone::Muted text="Deleted since" /> }.into_any())
}

/// A page below the catalog of that moment.
pub fn in_stream(page: Page, project: &Project, as_of: &AsOf) -> Page {
    page.within(project, Section::Streams).crumb("Streams", as_of.link(&format!("/p/{}/streams", project.name)))
}

fn tag_row(path: &str, as_of: &AsOf, stream: &StreamThen, tag: &TagThen) -> AnyView {
    let platform = tag.os.as_ref().zip(tag.architecture.as_ref()).map(|(os, architecture)| {
        view! { <span class="cell-sub">{format!("{os}/{architecture}")}</span> }
    });
    // Images of a stream that is gone, and those that were collected since, have no page.
    let image = match stream.deleted_at {
        None if tag.size.is_some() => {
            view! { <DigestText digest=tag.digest.clone() href=format!("{path}/images/{}", tag.digest) /> }
        }
        _ => view! { <DigestText digest=tag.digest.clone() /> },
    };
    let held = tag.held_by.clone().map(|by| {
        view! {
            <Badge tone=Tone::Held text="Held" />
            <span class="cell-sub">{format!("by {by}")}</span>
        }
    });
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&format!("{path}/tags/{}", tag.name))>
                    {tag.name.clone()}
                </a>
                {held}
            </th>
            <td data-label="Pointed to">{image} {platform}</td>
            <td data-label="Since">
                <Ago at=tag.at />
                <span class="cell-sub">
                    <Who kind=tag.actor_kind name=tag.actor.clone() />
                </span>
            </td>
            <td data-label="How">
                {kind_words(Some(tag.kind))}
                {tag.reason.clone().map(|reason| view! { <span class="cell-sub break">{reason}</span> })}
            </td>
            <td data-label="Now">{now_words(tag)}</td>
            <td class="num nowrap" data-label="Size">
                {tag.size.map(size_words)}
            </td>
        </tr>
    }
    .into_any()
}

/// Where it points now, beside then.
pub fn now_words(tag: &TagThen) -> AnyView {
    match &tag.digest_now {
        Some(now) if *now == tag.digest => view! { <span class="muted">"the same"</span> }.into_any(),
        Some(now) => view! { <DigestText digest=now.clone() /> }.into_any(),
        None => view! { <Badge tone=Tone::Muted text="Deleted" /> }.into_any(),
    }
}
