//! A stream: its tags, their history, its imports, who uses it.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::history::{HistoryTable, RowPlace};
use super::sight::Sight;
use super::streams::kind_words;
use super::{past_stream, past_users};
use crate::model::{Stream, StreamTag, TagSort, now};
use crate::server::auth::Right;
use crate::server::store::{CatalogTag, ImmutableTags, NEVER_MOVED};
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, Ago, AsOf, AsOfForm, Badge, Col, CopyText, DataTable, DigestText, Empty, More, PageSize, Pager, Tone, Who,
    size_words,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section, Tab};

/// What the stream's button posts to.
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/check", post(post_check))
}

/// The stream of the path and the project it is in.
pub async fn open(cx: &Cx, right: Right) -> Result<(InProject, Stream), UiError> {
    let project = cx.project(right).await?;
    let stream = cx.store().stream(&project.name, cx.param("stream")).await?;
    Ok((project, stream))
}

/// A page of the stream's: its head, its tabs, and `body`.
pub async fn laid_out(cx: &Cx, tab: &'static str, body: AnyView, project: &InProject, stream: &Stream) -> PageResult {
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let reference = format!("{}/{}", cx.settings().registry_host(), stream.repository());
    let tabs = [
        ("Tags", path.clone()),
        ("History", format!("{path}/history")),
        ("Imports", format!("{path}/imports")),
        ("Used by", format!("{path}/used-by")),
        ("Settings", format!("{path}/settings")),
    ];
    let tabs = tabs.into_iter().map(|(name, href)| Tab::new(name, href, name == tab)).collect();
    let edit = project.can_edit().then(|| {
        view! {
            <a class="btn btn-primary" href=format!("{path}/add-tag")>
                "Add tag"
            </a>
            <Act action=format!("{path}/check") label="Check all now" class="" />
        }
    });
    let actions = view! {
        {edit} <a class="btn" href=format!("/p/{}/graph?q={}", project.name, stream.name)>
            "Graph"
        </a>
    };
    let meta = view! {
        {(!stream.description.is_empty()).then(|| view! { <span>{stream.description.clone()}</span> })}
        <CopyText text=reference />
    };
    Ok(Page::new(stream.name.clone(), body)
        .kind("stream")
        .within(project, Section::Streams)
        .crumb("Streams", format!("/p/{}/streams", project.name))
        .meta(meta)
        .actions(actions)
        .tabs(tabs))
}

/// `/p/:project/streams/:stream` and `/tags`
pub async fn tags_page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_stream::tags_page(cx, as_of).await;
    }
    let (project, stream) = open(&cx, Right::View).await?;
    let (size, text, after) = (PageSize::of(&cx), cx.query("q"), cx.query("after"));
    // By their moves, but what was looked for by name comes by name.
    let sort: Option<TagSort> = cx.query("sort").parse().ok().or((!text.is_empty()).then_some(TagSort::Name));
    let mut tags = match sort {
        Some(sort) => cx.store().list_catalog_tags(&stream.id, sort, text, after, size.limit()).await?,
        None => {
            let after = after.split_once(',').and_then(|(moment, id)| Some((moment.parse().ok()?, id)));
            cx.store().list_newest_tags(&stream.id, after, size.limit()).await?
        }
    };
    let more = size.cut(&mut tags);
    let place = |tag: &CatalogTag| match sort {
        Some(sort) => tag.place_in(sort),
        None => format!("{},{}", tag.moved_at.unwrap_or(NEVER_MOVED), tag.id),
    };
    let next = tags.last().filter(|_| more).map(place);
    let chosen = sort.map_or("", TagSort::as_str);
    let sorts = [("", "Moved last"), ("name", "By name"), ("semver", "By version"), ("size", "By size")]
        .map(|(value, words)| view! { <option value=value selected=value == chosen>{words}</option> })
        .into_iter()
        .collect_view();
    let none_fits = format!("No tag's name contains “{text}”.");
    let everything = cx.path().to_owned();
    let body = if tags.is_empty() && text.is_empty() && after.is_empty() {
        no_tags(&cx, &project, &stream)
    } else if tags.is_empty() {
        view! {
            <Empty heading="No tag fits">
                <p>{none_fits}</p>
                <p>
                    <a class="btn" href=everything>
                        "Clear filter"
                    </a>
                </p>
            </Empty>
        }
        .into_any()
    } else {
        let sorted = |name, sort: &'static str, order: Option<&'static str>| Col::Sorted {
            name,
            href: cx.with_query(&[("sort", sort), ("after", ""), ("trail", "")]),
            order,
        };
        let is = |by: TagSort, order| (sort == Some(by)).then_some(order);
        let mut columns = vec![sorted("Tag", "name", is(TagSort::Name, "ascending")), Col::Text("Image")];
        columns.push(sorted("Moved", "", sort.is_none().then_some("descending")));
        columns.extend(["Source", "Health", "Used by"].map(Col::Text));
        columns.extend([Col::Number("Size"), Col::Actions]);
        let immutable = ImmutableTags::read(&stream.immutable_tags)?;
        let rows: Vec<_> = tags.into_iter().map(|tag| tag_row(&project, &stream, &immutable, tag)).collect();
        view! {
            <a class="pill-new" data-new-pill hidden href="">"New tags"</a>
            <DataTable columns live="tags">{rows}</DataTable>
        }
        .into_any()
    };
    let body = view! {
        <div class="cluster items-start">
            <form class="toolbar" method="get" role="search">
                <input type="search" name="q" value=text.to_owned() placeholder="Tag name…" aria-label="Filter tags by name" />
                <select class="input w-auto" name="sort" aria-label="Sort tags">{sorts}</select>
                <button class="btn">"Show"</button>
                <a href=format!("/p/{}/streams/{}/deleted-tags", project.name, stream.name)>"Deleted tags"</a>
            </form>
            <AsOfForm />
        </div>
        {body}
        <Pager cx=cx.clone() next />
    };
    laid_out(&cx, "Tags", body.into_any(), &project, &stream).await
}

fn no_tags(cx: &Cx, project: &InProject, stream: &Stream) -> AnyView {
    let reference = format!("{}/{}:latest", cx.settings().registry_host(), stream.repository());
    let add = project.can_edit().then(|| {
        view! {
            <p>
                <a class="btn btn-primary" href=format!("/p/{}/streams/{}/add-tag", project.name, stream.name)>
                    "Add tag"
                </a>
            </p>
        }
    });
    view! {
        <Empty heading="No tag yet">
            <p>"Push an image, or add a tag that follows one elsewhere."</p>
            <CopyText text=format!("docker push {reference}") />
            {add}
        </Empty>
    }
    .into_any()
}

fn tag_row(project: &InProject, stream: &Stream, immutable: &ImmutableTags, tag: CatalogTag) -> AnyView {
    let is_immutable = immutable.covers(&tag.name);
    let may_move = if is_immutable { project.can_admin() } else { project.can_edit() };
    let stream_path = format!("/p/{}/streams/{}", project.name, stream.name);
    let path = format!("{stream_path}/tags/{}", tag.name);
    let image = match &tag.digest {
        Some(digest) => {
            let platform = match (tag.platforms, &tag.os, &tag.architecture) {
                (2.., ..) => Some(format!("{} platforms", tag.platforms)),
                (_, Some(os), Some(architecture)) => Some(format!("{os}/{architecture}")),
                _ => None,
            };
            view! {
                <DigestText digest=digest.clone() href=format!("{stream_path}/images/{digest}") />
                {platform.map(|platform| view! { <span class="cell-sub">{platform}</span> })}
            }
            .into_any()
        }
        None => view! { <span class="muted">"no image yet"</span> }.into_any(),
    };
    let moved = tag.moved_at.map(|at| {
        view! {
            <Ago at />
            {tag.actor().map(|(kind, name)| view! { <span class="cell-sub"><Who kind name /></span> })}
        }
    });
    let used = (tag.builds + tag.apps > 0).then(|| {
        let count = |n: i64, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
        [count(tag.builds, "build"), count(tag.apps, "app")].into_iter().flatten().collect::<Vec<_>>().join(", ")
    });
    view! {
        <tr data-row=tag.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {tag.name.clone()}
                </a>
                {is_immutable.then(|| view! { <Badge tone=Tone::Muted text="Immutable" /> })}
            </th>
            <td data-label="Image">{image}</td>
            <td data-label="Moved">{moved}</td>
            <td data-label="Source">{tag_source(&tag)}</td>
            <td data-label="Health">{tag_health(&tag)}</td>
            <td data-label="Used by">{used.map(|used| view! { <a href=format!("{path}/used-by")>{used}</a> })}</td>
            <td class="num nowrap" data-label="Size">
                {tag.size.map(size_words)}
            </td>
            <td>{project.can_edit().then(|| tag_actions(&path, &tag, is_immutable, may_move))}</td>
        </tr>
    }
    .into_any()
}

fn tag_source(tag: &CatalogTag) -> AnyView {
    match (tag.source_kind.as_deref(), &tag.source, &tag.build) {
        (Some("DockerImage"), Some(source), _) => view! { <code>{source.clone()}</code> }.into_any(),
        (Some("ImageStreamTag"), Some(source), _) => view! { "follows "<code>{source.clone()}</code> }.into_any(),
        (Some("ImageStreamImage"), ..) => "pinned".into_any(),
        (_, _, Some(build)) => format!("built by {build}").into_any(),
        _ => kind_words(tag.kind()).into_any(),
    }
}

fn tag_health(tag: &CatalogTag) -> AnyView {
    let held = tag.held_by.clone().map(|by| {
        view! {
            <Badge tone=Tone::Held text="Held" />
            <span class="cell-sub">{format!("by {by} ")} {tag.held_since.map(|at| view! { <Ago at /> })}</span>
        }
    });
    let state = match tag {
        CatalogTag { failing_since: Some(since), reason, .. } => {
            let words = if tag.digest.is_none() { "Never imported" } else { "Failing" };
            view! {
                <Badge tone=Tone::Fail text=words />
                <span class="cell-sub">{reason.clone()}" since "<Ago at=*since /></span>
            }
            .into_any()
        }
        tag if tag.is_overdue(now()) => view! { <Badge tone=Tone::Warn text="Overdue" /> }.into_any(),
        CatalogTag { refers_to: Some(_), .. } => view! { <Badge tone=Tone::Muted text="Only a name" /> }.into_any(),
        CatalogTag { digest: None, source_kind: Some(_), .. } => {
            view! { <Badge tone=Tone::Running text="Waiting for its image" /> }.into_any()
        }
        CatalogTag { event_sequence: None, .. } => view! { <Badge tone=Tone::Muted text="No image yet" /> }.into_any(),
        _ if held.is_some() => ().into_any(),
        _ => view! { <Badge tone=Tone::Ok text="OK" /> }.into_any(),
    };
    let next = tag.next_at.filter(|_| tag.scheduled == 1 && tag.failing_since.is_none());
    view! {
        {state} {held} {next.map(|at| view! { <span class="cell-sub">"next check "<Ago at /></span> })}
    }
    .into_any()
}

fn tag_actions(path: &str, tag: &CatalogTag, is_immutable: bool, may_move: bool) -> AnyView {
    let back = match (tag.back_to, tag.event_sequence) {
        _ if is_immutable => ().into_any(),
        (Some(to), Some(seen)) => {
            let fields = vec![("to", to.to_string()), ("seen", seen.to_string())];
            view! { <Act action=format!("{path}/rollback") label="Roll back" fields on=tag.name.clone() /> }.into_any()
        }
        _ => view! { <Act action="" label="Roll back" disabled="no earlier image to go back to" /> }.into_any(),
    };
    let look = tag
        .back_to
        .filter(|_| may_move)
        .map(|to| view! { <a href=format!("{path}/rollback?to={to}")>"Roll back…"</a> });
    let is_import = tag.source_kind.as_deref() == Some("DockerImage") && tag.refers_to.is_none();
    let check = is_import.then(|| form(format!("{path}/check"), "Check now"));
    let hold = match tag.held_by {
        Some(_) => form(format!("{path}/resume"), "Resume"),
        None => form(format!("{path}/hold"), "Hold"),
    };
    let (name, edit, delete) = (tag.name.clone(), format!("{path}/edit"), format!("{path}/delete"));
    let delete = may_move.then(|| {
        view! {
            <hr />
            <a class="danger" href=delete>
                "Delete…"
            </a>
        }
    });
    view! {
        <div class="row-actions flex-nowrap">
            {back} <More on=name>
                {look} {check} {hold} <a href=edit>"Change source…"</a> {delete}
            </More>
        </div>
    }
    .into_any()
}

/// A menu's entry that acts.
pub fn form(action: String, label: &'static str) -> AnyView {
    view! {
        <form method="post" action=action>
            <button>{label}</button>
        </form>
    }
    .into_any()
}

/// `/p/:project/streams/:stream/history`
pub async fn history_page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_stream::history_page(cx, as_of).await;
    }
    let (project, stream) = open(&cx, Right::View).await?;
    let size = PageSize::of(&cx);
    let before = cx.query("after").parse().ok();
    let mut events = cx.store().list_stream_history(&stream.id, before, size.limit()).await?;
    let more = size.cut(&mut events);
    let next = events.last().filter(|_| more).map(|last| last.sequence.to_string());
    let body = if events.is_empty() {
        view! { <Empty heading="Nothing happened yet"><p>"Every move of every tag will stand here, the newest first."</p></Empty> }.into_any()
    } else {
        let place = RowPlace { project_path: format!("/p/{}", project.name), with_tag: true, ..RowPlace::default() };
        view! {
            <div class="toolbar">
                <AsOfForm />
            </div>
            <a class="pill-new" data-new-pill hidden href="">"New rows"</a>
            <HistoryTable place events />
            <Pager cx=cx.clone() next />
        }
        .into_any()
    };
    laid_out(&cx, "History", body, &project, &stream).await
}

/// `/p/:project/streams/:stream/imports`
pub async fn imports_page(cx: Cx) -> PageResult {
    let (project, stream) = open(&cx, Right::View).await?;
    let size = PageSize::of(&cx);
    let mut due = cx.store().list_stream_imports(&stream.id, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut due);
    let next = due.last().filter(|_| more).map(|last| last.tag.name.clone());
    let tags = if due.is_empty() {
        view! {
            <Empty heading="Nothing is imported into this stream">
                <p>"A tag can follow an image in another registry: it is checked on a schedule and moves when the image changes there."</p>
            </Empty>
        }
        .into_any()
    } else {
        view! {
            {super::imports::table(&cx, &project, due)}
            <Pager cx=cx.clone() next words=("Back", "Next") />
        }
        .into_any()
    };
    let rules = super::import_rules::section(&cx, &project, &stream).await?;
    let body = view! {
        {rules}
        <h2>"Tags"</h2>
        {tags}
    };
    laid_out(&cx, "Imports", body.into_any(), &project, &stream).await
}

/// `/p/:project/streams/:stream/used-by`
pub async fn used_by_page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_users::stream_users_page(cx, as_of).await;
    }
    let (project, stream) = open(&cx, Right::View).await?;
    let users = cx.store().list_stream_users(&project.name, &stream, 200).await?;
    let mut sight = Sight::of(&cx, &project.name);
    let mut rows = Vec::new();
    for user in users {
        if sight.reaches(&user.project).await {
            let href = match (user.kind.as_str(), user.name.split_once(':')) {
                ("tag", Some((stream, tag))) => format!("/p/{}/streams/{stream}/tags/{tag}", user.project),
                (kind, _) => format!("/p/{}/{kind}s/{}", user.project, user.name),
            };
            rows.push(view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=href>{user.name}</a>
                    </th>
                    <td data-label="What">{user.kind}</td>
                    <td data-label="Project">{user.project}</td>
                    <td data-label="Tag">{user.tag}</td>
                    <td data-label="How">{user.how}</td>
                </tr>
            });
        }
    }
    let body = if rows.is_empty() && sight.hidden == 0 {
        view! {
            <Empty heading="Nothing uses this stream">
                <p>"Builds whose Dockerfile takes in one of its tags, apps that run one, and tags that follow one will stand here."</p>
            </Empty>
        }
        .into_any()
    } else {
        view! {
            <DataTable
                columns=&[Col::Text("Name"), Col::Text("What"), Col::Text("Project"), Col::Text("Tag"), Col::Text("How")]
                live="users"
            >
                {rows}
            </DataTable>
            {sight.in_words().map(|hidden| view! { <p class="muted">{hidden}</p> })}
        }
        .into_any()
    };
    laid_out(&cx, "Used by", body, &project, &stream).await
}

async fn post_check(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/streams/{}", cx.param("project"), cx.param("stream"));
    cx.submit(&fields, &path, async {
        let (project, stream) = open(&cx, Right::Edit).await?;
        let mut after = String::new();
        let mut asked = 0;
        loop {
            let page = cx.store().list_stream_imports(&stream.id, &after, 200).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.tag.name);
            for due in &page {
                cx.store().request_check(&project.name, &stream.name, &due.tag.name, &cx.actor()?).await?;
                asked += 1;
            }
        }
        match asked {
            0 => Err(UiError::Conflict(
                "no tag of this stream follows another registry, so there is nothing to check".to_owned(),
            )),
            _ => Ok(format!("{path}/imports")),
        }
    })
    .await
}

/// The tag of a stream, as build configs and apps name it.
pub fn stream_tag(project: &str, stream: &str, tag: &str) -> StreamTag {
    StreamTag { project: project.to_owned(), stream: stream.to_owned(), tag: tag.to_owned() }
}
