//! A stream as it was at a moment: its tags, their histories, and the tags that were deleted then.

use leptos::prelude::*;

use super::history::{HistoryTable, RowPlace};
use super::past::{now_words, stream_page};
use super::streams::kind_words;
use crate::model::TagSort;
use crate::server::auth::Right;
use crate::server::store::{DeletedThen, TagThen};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Ago, AsOf, Badge, Col, DataTable, DigestText, Empty, PageSize, Pager, Tone, Who, size_words,
};
use crate::ui::context::Cx;

/// `/p/:project/streams/:stream?as-of=`
pub async fn tags_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let (size, text, after) = (PageSize::of(&cx), cx.query("q"), cx.query("after"));
    let asked: Option<TagSort> = cx.query("sort").parse().ok();
    let sort = asked.filter(|sort| *sort == TagSort::Semver).unwrap_or(TagSort::Name);
    let mut tags = cx.store().list_sorted_tags_then(&stream, &as_of.0, sort, text, after, size.limit()).await?;
    let more = size.cut(&mut tags);
    let next = tags.last().filter(|_| more).map(|last| last.place_in(sort));
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let list = if tags.is_empty() {
        let heading = if text.is_empty() { "No tag pointed to an image" } else { "No tag of then fits" };
        view! { <Empty heading><p>"Not at that moment, or no more of them."</p></Empty> }.into_any()
    } else {
        let rows: Vec<_> = tags.iter().map(|tag| tag_row(&path, &as_of, tag)).collect();
        let by_name = cx.with_query(&[("sort", "name"), ("after", ""), ("trail", "")]);
        let order = (sort == TagSort::Name).then_some("ascending");
        let mut columns = vec![Col::Sorted { name: "Tag", href: by_name, order }, Col::Text("Pointed to")];
        columns.extend([Col::Text("Since"), Col::Text("How"), Col::Text("Now"), Col::Number("Size")]);
        view! { <DataTable columns>{rows}</DataTable> }.into_any()
    };
    let sorts = [(TagSort::Name, "By name"), (TagSort::Semver, "By version")]
        .map(|(value, words)| view! { <option value=value.as_str() selected=value == sort>{words}</option> })
        .into_iter()
        .collect_view();
    let other = asked
        .filter(|asked| *asked != sort)
        .map(|_| view! { <p class="muted">"As they were at a moment, tags are sorted by name or by version."</p> });
    let body = view! {
        <form class="toolbar" method="get" role="search">
            {as_of.hidden()}
            <input type="search" name="q" value=text.to_owned() placeholder="Tag name…" aria-label="Filter tags by name" />
            <select class="input w-auto" name="sort" aria-label="Sort tags">{sorts}</select>
            <button class="btn">"Show"</button>
            <a href=as_of.link(&format!("{path}/deleted-tags"))>"Tags that were deleted then"</a>
        </form>
        {other}
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(stream_page(&cx, &as_of, "Tags", body.into_any(), &project, &stream))
}

fn tag_row(path: &str, as_of: &AsOf, tag: &TagThen) -> AnyView {
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
            <td data-label="Pointed to">
                {pointed_to(path, as_of, tag)}
            </td>
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
                {tag.size.filter(|_| tag.refers_to().is_none()).map(size_words)}
            </td>
        </tr>
    }
    .into_any()
}

/// The image that a tag had, or what it only named.
fn pointed_to(path: &str, as_of: &AsOf, tag: &TagThen) -> AnyView {
    if let Some(name) = tag.refers_to() {
        let at = tag.referred_at.map(|at| view! { <span class="cell-sub">"since "<Ago at /></span> });
        return view! {
            "only named "
            <code class="break">{name.to_owned()}</code>
            {at}
        }
        .into_any();
    }
    let platform = tag.os.as_ref().zip(tag.architecture.as_ref()).map(|(os, architecture)| {
        view! { <span class="cell-sub">{format!("{os}/{architecture}")}</span> }
    });
    let image = as_of.link(&format!("{path}/images/{}", tag.digest));
    view! {
        <DigestText digest=tag.digest.clone() href=image />
        {platform}
    }
    .into_any()
}

/// `/p/:project/streams/:stream/history?as-of=`
pub async fn history_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let size = PageSize::of(&cx);
    let before = cx.query("after").parse().ok();
    let mut events = cx.store().list_stream_history_then(&stream, &as_of.0, before, size.limit()).await?;
    let more = size.cut(&mut events);
    let next = events.last().filter(|_| more).map(|last| last.sequence.to_string());
    let body = if events.is_empty() {
        view! { <Empty heading="Nothing had happened"><p>"No tag had moved by that moment, or there are no more rows."</p></Empty> }.into_any()
    } else {
        let place = RowPlace {
            project_path: format!("/p/{}", project.name),
            with_tag: true,
            as_of: Some(as_of.clone()),
            ..RowPlace::default()
        };
        view! {
            <HistoryTable place events />
            <Pager cx=cx.clone() next />
        }
        .into_any()
    };
    Ok(stream_page(&cx, &as_of, "History", body, &project, &stream))
}

/// `/p/:project/streams/:stream/deleted-tags?as-of=`
pub async fn deleted_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let stream = cx.store().stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let size = PageSize::of(&cx);
    let mut tags = cx.store().list_deleted_tags_then(&stream, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut tags);
    let next = tags.last().filter(|_| more).map(|last| last.name.clone());
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let list = if tags.is_empty() {
        view! { <Empty heading="No tag was deleted"><p>"Not at that moment, or no more of them."</p></Empty> }
            .into_any()
    } else {
        let rows: Vec<_> = tags.into_iter().map(|tag| deleted_row(&path, &as_of, tag)).collect();
        let columns = ["Tag", "Had pointed to", "Deleted", "Now"].map(Col::Text).to_vec();
        view! {
            <DataTable columns>{rows}</DataTable>
            <Pager cx=cx.clone() next words=("Back", "Next") />
        }
        .into_any()
    };
    let body = view! {
        <p>
            <a href=as_of.link(&path)>"Tags that were there"</a>
        </p>
        {list}
    };
    Ok(stream_page(&cx, &as_of, "Tags", body.into_any(), &project, &stream))
}

fn deleted_row(path: &str, as_of: &AsOf, tag: DeletedThen) -> AnyView {
    let image = match tag.digest {
        Some(digest) => {
            let href = as_of.link(&format!("{path}/images/{digest}"));
            view! { <DigestText digest href /> }.into_any()
        }
        None => view! { <span class="muted">"no image"</span> }.into_any(),
    };
    let now = match tag.digest_now {
        Some(digest) => view! { "there again: "<DigestText digest /> }.into_any(),
        None => view! { <span class="muted">"still deleted"</span> }.into_any(),
    };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&format!("{path}/tags/{}", tag.name))>
                    {tag.name.clone()}
                </a>
            </th>
            <td data-label="Had pointed to">{image}</td>
            <td data-label="Deleted">
                <Ago at=tag.at />
                <span class="cell-sub">
                    <Who kind=tag.actor_kind name=tag.actor />
                </span>
            </td>
            <td data-label="Now">{now}</td>
        </tr>
    }
    .into_any()
}
