//! The catalog: a project's streams, searched, filtered and paged on the server.

use leptos::prelude::*;

use crate::model::EventKind;
use crate::server::auth::Right;
use crate::server::store::{COUNT_TO, CatalogStream, StreamFilter};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Ago, AsOf, AsOfForm, Badge, Col, DataTable, DigestText, Empty, More, PageSize, Pager, Tone, size_words,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::pages::past;
use crate::ui::pages::streams_new::FirstStream;
use crate::ui::shell::{Page, Section};

const HEALTH: [(&str, &str); 6] = [
    ("", "Any health"),
    ("failing", "Failing"),
    ("overdue", "Overdue"),
    ("held", "Held"),
    ("never", "Never imported"),
    ("ok", "No failure"),
];
const SOURCE: [(&str, &str); 4] =
    [("", "Any source"), ("pushed", "Pushed"), ("imported", "Imported"), ("built", "Built")];

/// `/p/:project/streams`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past::streams_page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let filter = StreamFilter {
        text: cx.query("q"),
        health: cx.query("health"),
        source: cx.query("source"),
        falling: cx.query("dir") == "desc",
    };
    let mut streams = cx.store().list_catalog(&project.id, &filter, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut streams);
    let next = streams.last().filter(|_| more).map(|last| last.name.clone());
    let filtered = [filter.text, filter.health, filter.source].iter().any(|text| !text.is_empty());
    let page = |body: AnyView| Page::new("Streams", body).within(&project, Section::Streams);
    if streams.is_empty() && !filtered && cx.query("after").is_empty() {
        let body = view! { <FirstStream project=project.clone() registry=cx.settings().registry_host().to_owned() /> };
        return Ok(page(body.into_any()));
    }
    let new = project.can_edit().then(|| {
        view! { <a class="btn btn-primary" href=format!("/p/{}/streams/new", project.name)>"New stream"</a> }
    });
    let list = if streams.is_empty() {
        let total = cx.store().count_streams(&project.id).await?;
        no_results(&cx, &filter, total)
    } else {
        table(&cx, &project, streams)
    };
    let body = view! {
        <div class="cluster items-start">{toolbar(&cx, &filter)} <AsOfForm /></div>
        <a class="pill-new" data-new-pill hidden href="">"New streams"</a>
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(page(body.into_any()).actions(new))
}

fn toolbar(cx: &Cx, filter: &StreamFilter<'_>) -> impl IntoView + use<> {
    let select = |name: &'static str, label: &'static str, choices: &[(&'static str, &'static str)], chosen: &str| {
        let options: Vec<_> = choices
            .iter()
            .map(|(value, words)| {
                let selected = *value == chosen;
                view! { <option value=*value selected=selected>{*words}</option> }
            })
            .collect();
        view! { <select name=name aria-label=label>{options}</select> }
    };
    let dir = (cx.query("dir") == "desc").then(|| view! { <input type="hidden" name="dir" value="desc" /> });
    view! {
        <form class="toolbar" method="get" role="search">
            <input
                type="search"
                name="q"
                value=filter.text.to_owned()
                placeholder="Name, tag, digest, upstream…"
                aria-label="Search streams by name, description, tag, digest or upstream reference"
            />
            {select("health", "Health", &HEALTH, filter.health)}
            {select("source", "Source", &SOURCE, filter.source)}
            {dir}
            <button class="btn">"Search"</button>
        </form>
    }
}

fn no_results(cx: &Cx, filter: &StreamFilter<'_>, total: i64) -> AnyView {
    let words = |choices: &[(&'static str, &'static str)], value: &str| {
        choices.iter().find(|(key, _)| *key == value && !value.is_empty()).map(|(_, words)| words.to_lowercase())
    };
    let filters: Vec<String> = [
        (!filter.text.is_empty()).then(|| format!("“{}”", filter.text)),
        words(&HEALTH, filter.health),
        words(&SOURCE, filter.source),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (words, everything) = (
        format!("Looked for {}. Without filters there are {total} streams.", filters.join(", ")),
        cx.path().to_owned(),
    );
    view! {
        <Empty heading="No stream fits">
            <p>{words}</p>
            <p>
                <a class="btn" href=everything>
                    "Clear filters"
                </a>
            </p>
        </Empty>
    }
    .into_any()
}

fn table(cx: &Cx, project: &InProject, streams: Vec<CatalogStream>) -> AnyView {
    let falling = cx.query("dir") == "desc";
    let turn = cx.with_query(&[("dir", if falling { "" } else { "desc" }), ("after", ""), ("trail", "")]);
    let registry = cx.settings().registry_host();
    let rows: Vec<_> = streams.into_iter().map(|stream| row(project, registry, stream)).collect();
    let order = Some(if falling { "descending" } else { "ascending" });
    let mut columns = vec![Col::Sorted { name: "Name", href: turn, order }, Col::Number("Tags")];
    columns.extend(["Newest", "Health", "Source", "Used by"].map(Col::Text));
    columns.extend([Col::Number("Size"), Col::Number("Pulls, 30 d"), Col::Actions]);
    view! { <DataTable columns live="streams">{rows}</DataTable> }.into_any()
}

fn row(project: &InProject, registry: &str, stream: CatalogStream) -> AnyView {
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let newest = stream.newest_tag.clone().zip(stream.digest.clone()).map(|(tag, digest)| {
        view! {
            <span class="cluster gap-x-2 gap-y-0">
                <a href=format!("{path}/tags/{tag}")>{tag.clone()}</a>
                <DigestText digest=digest.clone() href=format!("{path}/images/{digest}") />
            </span>
            {stream.moved_at.map(|at| view! { <span class="cell-sub">"moved "<Ago at /></span> })}
        }
    });
    let newest =
        newest.map_or_else(|| view! { <span class="muted">"no image yet"</span> }.into_any(), IntoAny::into_any);
    let used = match (stream.builds, stream.apps) {
        (0, 0) => "nothing".to_owned(),
        (builds, apps) => {
            let count = |n: i64, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
            [count(builds, "build"), count(apps, "app")].into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    };
    let (name, pull) = (stream.name.clone(), pull_command(registry, project, &stream));
    let (history, settings) = (format!("{path}/history"), format!("{path}/settings"));
    view! {
        <tr data-row=stream.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {stream.name.clone()}
                </a>
                {(!stream.description.is_empty()).then(|| view! { <span class="cell-sub">{stream.description.clone()}</span> })}
            </th>
            <td class="num" data-label="Tags">
                {up_to(stream.tags)}
            </td>
            <td data-label="Newest">{newest}</td>
            <td data-label="Health">{health(&stream)}</td>
            <td data-label="Source">{source(&stream)}</td>
            <td data-label="Used by">
                <a href=format!("{path}/used-by")>{used}</a>
            </td>
            <td class="num nowrap" data-label="Size">
                {size_words(stream.bytes)}
            </td>
            <td class="num nowrap" data-label="Pulls, 30 days">
                {stream.pulls}
            </td>
            <td>
                <div class="row-actions">
                    <a class="btn btn-small" href=format!("/p/{}/graph?q={}", project.name, stream.name)>
                        "Graph"
                        <span class="visually-hidden">{format!(" of {}", stream.name)}</span>
                    </a>
                    <More on=name>
                        <a href=history>"History"</a>
                        <button type="button" data-copy=pull>
                            "Copy pull command"
                        </button>
                        <a href=settings>"Settings"</a>
                    </More>
                </div>
            </td>
        </tr>
    }
    .into_any()
}

fn pull_command(registry: &str, project: &InProject, stream: &CatalogStream) -> String {
    let tag = stream.newest_tag.as_deref().unwrap_or("latest");
    format!("docker pull {registry}/{}/{}:{tag}", project.name, stream.name)
}

/// A count that may not have been taken to its end.
fn up_to(count: i64) -> String {
    if count > COUNT_TO { format!("{COUNT_TO}+") } else { count.to_string() }
}

fn health(stream: &CatalogStream) -> AnyView {
    let held = (stream.held > 0).then(|| view! { <Badge tone=Tone::Held text=format!("Held {}", stream.held) /> });
    let state = match stream {
        CatalogStream { failing: 1.., .. } => {
            Some(view! { <Badge tone=Tone::Fail text=format!("Failing {}", stream.failing) /> }.into_any())
        }
        CatalogStream { overdue: 1.., .. } => {
            Some(view! { <Badge tone=Tone::Warn text=format!("Overdue {}", stream.overdue) /> }.into_any())
        }
        CatalogStream { never: 1.., .. } => {
            Some(view! { <Badge tone=Tone::Warn text=format!("Never imported {}", up_to(stream.never)) /> }.into_any())
        }
        CatalogStream { held: 1.., .. } => None,
        CatalogStream { tags: 0, .. } => Some(view! { <Badge tone=Tone::Muted text="Empty" /> }.into_any()),
        _ => Some(view! { <Badge tone=Tone::Ok text="OK" /> }.into_any()),
    };
    view! { <span class="cluster gap-1">{state} {held}</span> }.into_any()
}

fn source(stream: &CatalogStream) -> String {
    if let Some(reference) = &stream.imports {
        let host = reference.split('/').next().filter(|host| reference.contains('/') && host.contains(['.', ':']));
        return format!("imported from {}", host.unwrap_or("docker.io"));
    }
    if let Some(config) = &stream.built_by {
        return format!("built by {config}");
    }
    match stream.newest_kind.as_deref().and_then(|kind| kind.parse().ok()) {
        None => "—".to_owned(),
        Some(EventKind::Follow) => "follows".to_owned(),
        // Going back and pointing by hand change where a tag points, not where its images come from.
        Some(_) => "pushed".to_owned(),
    }
}

/// How an image came, in a word for people.
pub fn kind_words(kind: Option<EventKind>) -> &'static str {
    match kind {
        Some(EventKind::Push) => "pushed",
        Some(EventKind::Import) => "imported",
        Some(EventKind::Build) => "built",
        Some(EventKind::Follow) => "follows",
        Some(EventKind::Rollback) => "rolled back",
        Some(EventKind::Restore) => "restored",
        Some(EventKind::Api) => "set",
        None => "—",
    }
}
