//! The catalog as it was at a moment, and what all pages of the past share. Nothing here acts: what was cannot be changed.

use leptos::prelude::*;

use crate::model::Project;
use crate::server::auth::Right;
use crate::server::store::{COUNT_TO_THEN, CatalogThen, StreamThen, TagThen};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, Col, DataTable, DigestText, Empty, PageSize, Pager, Tone};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section, Tab};

/// `/p/:project/streams?as-of=`
pub async fn streams_page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (size, text, falling) = (PageSize::of(&cx), cx.query("q"), cx.query("dir") == "desc");
    let filter = (text, falling);
    let mut streams =
        cx.store().list_catalog_then(&project.id, &as_of.0, filter, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut streams);
    let next = streams.last().filter(|_| more).map(|last| last.stream.name.clone());
    let turn = cx.with_query(&[("dir", if falling { "" } else { "desc" }), ("after", ""), ("trail", "")]);
    let order = Some(if falling { "descending" } else { "ascending" });
    let name = Col::Sorted { name: "Name", href: turn, order };
    let list = sorted_table(&format!("/p/{}", project.name), &as_of, &streams, name).unwrap_or_else(|| {
        let heading = if text.is_empty() { "There was no stream" } else { "No stream of then fits" };
        view! { <Empty heading><p>"The project had none at that moment, or no more of them."</p></Empty> }.into_any()
    });
    let untold = ["health", "source"].iter().any(|name| !cx.query(name).is_empty());
    let untold = untold.then(|| {
        view! { <p class="muted">"How healthy streams were and where their images came from is not kept: all of them are listed."</p> }
    });
    let dir = falling.then(|| view! { <input type="hidden" name="dir" value="desc" /> });
    let body = view! {
        <form class="toolbar" method="get" role="search">
            {as_of.hidden()}
            <input
                type="search"
                name="q"
                value=text.to_owned()
                placeholder="Name, tag, digest…"
                aria-label="Search the streams of then by name, description, tag or digest"
            />
            {dir}
            <button class="btn">"Search"</button>
        </form>
        {untold}
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Streams", body).within(&project, Section::Streams).past(&cx, &as_of))
}

/// Streams of then below the project's path; `None` when there were none.
pub fn table(path: &str, as_of: &AsOf, streams: &[CatalogThen]) -> Option<AnyView> {
    sorted_table(path, as_of, streams, Col::Text("Name"))
}

fn sorted_table(path: &str, as_of: &AsOf, streams: &[CatalogThen], name: Col) -> Option<AnyView> {
    if streams.is_empty() {
        return None;
    }
    let path = format!("{path}/streams");
    let rows: Vec<_> = streams.iter().map(|row| stream_row(&path, as_of, row)).collect();
    let mut columns = vec![name, Col::Number("Tags")];
    columns.extend(["Moved last", "Made", "Since then"].map(Col::Text));
    Some(view! { <DataTable columns>{rows}</DataTable> }.into_any())
}

fn stream_row(path: &str, as_of: &AsOf, row: &CatalogThen) -> AnyView {
    let stream = &row.stream;
    let path = format!("{path}/{}", stream.name);
    let newest = row.newest_tag.clone().zip(row.digest.clone()).map(|(tag, digest)| {
        view! {
            <span class="cluster gap-x-2 gap-y-0">
                <a href=as_of.link(&format!("{path}/tags/{tag}"))>{tag.clone()}</a>
                <DigestText digest=digest.clone() href=as_of.link(&format!("{path}/images/{digest}")) />
            </span>
            {row.moved_at.map(|at| view! { <span class="cell-sub">"moved "<Ago at /></span> })}
        }
    });
    let newest =
        newest.map_or_else(|| view! { <span class="muted">"nothing yet"</span> }.into_any(), IntoAny::into_any);
    let tags = if row.looked_at >= COUNT_TO_THEN { format!("{}+", row.tags) } else { row.tags.to_string() };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&path)>
                    {stream.name.clone()}
                </a>
                {(!stream.description.is_empty()).then(|| view! { <span class="cell-sub">{stream.description.clone()}</span> })}
            </th>
            <td class="num" data-label="Tags">
                {tags}
            </td>
            <td data-label="Moved last">{newest}</td>
            <td data-label="Made">
                <Ago at=stream.created_at />
                <span class="cell-sub">{format!("by {}", stream.created_by)}</span>
            </td>
            <td data-label="Since then">{since(stream.deleted_at, stream.deleted_by.clone())}</td>
        </tr>
    }
    .into_any()
}

/// What became of something since: it is there, or who deleted it.
pub fn since(deleted_at: Option<i64>, deleted_by: Option<String>) -> AnyView {
    match deleted_at {
        Some(at) => view! {
            <Badge tone=Tone::Muted text="Deleted" />
            " "
            <Ago at />
            {deleted_by.map(|by| view! { <span class="cell-sub">{format!("by {by}")}</span> })}
        }
        .into_any(),
        None => view! { <span class="muted">"still there"</span> }.into_any(),
    }
}

/// Says that something is gone since.
pub fn deleted_badge(deleted_at: Option<i64>) -> Option<AnyView> {
    deleted_at.map(|_| view! { <Badge tone=Tone::Muted text="Deleted since" /> }.into_any())
}

/// A page below the catalog of that moment.
pub fn in_stream(page: Page, project: &Project, as_of: &AsOf) -> Page {
    page.within(project, Section::Streams).crumb("Streams", as_of.link(&format!("/p/{}/streams", project.name)))
}

/// The tabs of a stream that know the past.
pub fn stream_tabs(path: &str, as_of: &AsOf, tab: &'static str) -> Vec<Tab> {
    let tabs =
        [("Tags", path.to_owned()), ("History", format!("{path}/history")), ("Used by", format!("{path}/used-by"))];
    tabs.into_iter().map(|(name, href)| Tab::new(name, as_of.link(&href), name == tab)).collect()
}

/// A page of a stream of then.
pub fn stream_page(
    cx: &Cx,
    as_of: &AsOf,
    tab: &'static str,
    body: AnyView,
    project: &Project,
    stream: &StreamThen,
) -> Page {
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let page = Page::new(stream.name.clone(), body)
        .kind("stream")
        .past(cx, as_of)
        .beside(deleted_badge(stream.deleted_at))
        .tabs(stream_tabs(&path, as_of, tab));
    in_stream(page, project, as_of)
}

/// Where it points now, beside then.
pub fn now_words(tag: &TagThen) -> AnyView {
    match &tag.digest_now {
        Some(now) if *now == tag.digest => view! { <span class="muted">"the same"</span> }.into_any(),
        Some(now) => view! { <DigestText digest=now.clone() /> }.into_any(),
        None => view! { <Badge tone=Tone::Muted text="Deleted" /> }.into_any(),
    }
}
