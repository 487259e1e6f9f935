//! Searching everything one may see: the first finds of each kind, or one kind by pages.

use leptos::prelude::*;

use crate::model::{SEARCHED_WORDS, SHORT_DIGEST, SearchQuery};
use crate::server::store::{Found, SEARCH_FILLING, Scope, SearchCursor};
use crate::ui::app::{PageResult, redirect};
use crate::ui::components::{AsOf, DigestText, Empty, PageSize, Pager};
use crate::ui::context::{Cx, address};
use crate::ui::error::UiError;
use crate::ui::shell::Page;

const GROUPS: [(&str, &str); 5] =
    [("stream", "Streams"), ("tag", "Tags"), ("image", "Images"), ("build", "Builds"), ("app", "Apps")];
const EACH: usize = 20;
/// How many projects are offered to look back in.
const PROJECTS: i64 = 100;

/// `/search?q=`; a single find is gone to at once. With `kind=` all of one kind, by pages.
pub async fn page(cx: Cx) -> PageResult {
    let viewer = cx.viewer()?;
    let text = cx.query("q").trim().to_owned();
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_page(&cx, &as_of, &text).await;
    }
    let Some(query) = SearchQuery::parse(&text) else { return Ok(nothing("Search for what?".to_owned(), None)) };
    if query.is_short_digest {
        return Ok(nothing(format!("To find “{text}”, {SHORT_DIGEST}"), None));
    }
    let filling = cx.store().is_search_filling().await?.then(|| SEARCH_FILLING.to_owned());
    let cut = query.is_cut.then(|| format!("Only the first {SEARCHED_WORDS} words were looked for."));
    let words: Vec<String> = filling.into_iter().chain(cut).collect();
    let warning = (!words.is_empty()).then(|| warning(words.join(" ")));
    let scope = viewer.scope();
    let title = format!("Found for “{text}”");
    if let Some((kind, heading)) = GROUPS.into_iter().find(|(kind, _)| *kind == cx.query("kind")) {
        let body = one_kind(&cx, scope, &query, kind, heading).await?;
        return Ok(Page::new(title, view! { {warning} {body} }).kind("search"));
    }
    let mut groups = Vec::new();
    for (kind, heading) in GROUPS {
        let mut found = cx.store().search(scope, &query, kind, None, EACH as i64 + 1).await?;
        let more = found.len() > EACH;
        found.truncate(EACH);
        let more = more.then(|| cx.with_query(&[("kind", kind), ("after", ""), ("trail", "")]));
        groups.push((heading, found, more));
    }
    groups.retain(|(_, found, _)| !found.is_empty());
    if warning.is_none()
        && let [(_, found, _)] = groups.as_slice()
        && let [only] = found.as_slice()
    {
        redirect(&address_of(only));
    }
    if groups.is_empty() {
        return Ok(nothing(format!("Nothing found for “{text}”"), warning));
    }
    let groups: Vec<_> = groups.into_iter().map(|(heading, found, more)| group(heading, &found, more)).collect();
    Ok(Page::new(title, view! { {warning} {groups} }).kind("search"))
}

/// The index knows what is there now. The streams of a project can be searched as they were, and this is the way there.
async fn past_page(cx: &Cx, as_of: &AsOf, text: &str) -> PageResult {
    let viewer = cx.viewer()?;
    let mut projects = cx.store().list_projects_then(viewer.list_for(), &as_of.0, "", PROJECTS).await?;
    let more = i64::try_from(projects.len()).is_ok_and(|count| count == PROJECTS).then(|| {
        view! {
            <p>
                {format!("These are the first {PROJECTS}: ")}
                <a href=as_of.link("/")>"all projects of then"</a>
            </p>
        }
    });
    projects.retain(|project| viewer.may_see(&project.name));
    let links: Vec<_> = projects
        .iter()
        .map(|project| {
            let path = format!("/p/{}/streams", project.name);
            let href = as_of.link(&address(&path, [("q", text)].into_iter()));
            view! { <li><a href=href>{format!("Streams of {}", project.name)}</a></li> }
        })
        .collect();
    let none = format!("None of the projects that you may see was there at {}.", as_of.0.words);
    let list = match links.is_empty() {
        true => view! { <p>{none}</p> }.into_any(),
        false => view! { <ul class="stack gap-2">{links}</ul> }.into_any(),
    };
    let body = view! {
        <p>
            "The search knows what is there now, not what was there then. The streams of a project can be searched as they were: by name, description, tag or digest."
        </p>
        {list}
        {more}
    };
    Ok(Page::new("Search", body).past(cx, as_of))
}

/// A page of what is found of one kind.
async fn one_kind(
    cx: &Cx,
    scope: Scope<'_>,
    query: &SearchQuery,
    kind: &str,
    heading: &'static str,
) -> Result<AnyView, UiError> {
    let size = PageSize::of(cx);
    let after = SearchCursor::parse(cx.query("after"));
    let mut found = cx.store().search(scope, query, kind, after.as_ref(), size.limit()).await?;
    let more = size.cut(&mut found);
    let next = found.last().filter(|_| more).map(Found::cursor);
    let all = cx.with_query(&[("kind", ""), ("after", ""), ("trail", "")]);
    let body = view! {
        {group(heading, &found, None)}
        <Pager cx=cx.clone() next words=("Before", "More") />
        <p>
            <a href=all>"All kinds"</a>
        </p>
    };
    Ok(body.into_any())
}

fn warning(words: String) -> AnyView {
    view! {
        <div class="banner banner-warn">
            <p>{words}</p>
        </div>
    }
    .into_any()
}

fn nothing(heading: String, warning: Option<AnyView>) -> Page {
    let body = view! {
        {warning}
        <Empty heading>
            <p>
                "Found is what begins so: words of the names of streams, tags, builds and apps, of descriptions and of upstream references, “stream:tag”, digests from 7 digits on."
            </p>
            <p>
                "Images are found by their labels, the names of their variables, their ports and what they are built on; "
                <code>"label:"</code>", "<code>"env:"</code>", "<code>"port:"</code>" and "<code>"base:"</code>
                " look only there, "<code>"app:"</code>", "<code>"build:"</code>", "<code>"stream:"</code>" and "<code>"tag:"</code>
                " only for those. Of several words, three at the most, all must be found."
            </p>
        </Empty>
    };
    Page::new("Search", body)
}

fn address_of(found: &Found) -> String {
    let project = format!("/p/{}", found.project);
    match (found.kind.as_str(), found.name.split_once(':'), &found.about) {
        ("tag", Some((stream, tag)), _) => format!("{project}/streams/{stream}/tags/{tag}"),
        ("image", _, Some(digest)) => format!("{project}/streams/{}/images/{digest}", found.name),
        (kind, ..) => format!("{project}/{kind}s/{}", found.name),
    }
}

/// Why it was found, when its name does not say so.
fn found_by(found: &Found) -> Option<String> {
    (!matches!(found.field.as_str(), "name" | "description") && found.entry_id != 0)
        .then(|| format!("{}: {}", found.field, found.term))
}

/// `more` is where all of them are, when there are more.
fn group(heading: &'static str, found: &[Found], more: Option<String>) -> AnyView {
    let rows: Vec<_> = found
        .iter()
        .map(|found| {
            let about = found.about.clone().filter(|about| !about.is_empty()).map(|about| {
                if about.starts_with("sha256:") {
                    view! { <DigestText digest=about /> }.into_any()
                } else {
                    view! { <span class="muted">{about}</span> }.into_any()
                }
            });
            view! {
                <tr>
                    <th scope="row">
                        <a class="cell-main" href=address_of(found)>
                            {found.name.clone()}
                        </a>
                        {found_by(found).map(|by| view! { <span class="cell-sub break">{by}</span> })}
                    </th>
                    <td data-label="Project">{found.project.clone()}</td>
                    <td data-label="About">{about}</td>
                </tr>
            }
        })
        .collect();
    let count = if more.is_some() { format!("{} or more", rows.len()) } else { rows.len().to_string() };
    let more = more.map(|href| view! { <a href=href>"All of them"</a> });
    view! {
        <section class="card">
            <div class="card-header">
                <h2>{heading}</h2>
                <span class="count">{count}</span>
                {more}
            </div>
            <div class="table-wrap">
                <table class="table">
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    }
    .into_any()
}
