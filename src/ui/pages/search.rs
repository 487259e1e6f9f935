//! Searching everything one may see: names, upstream references, `stream:tag`, the first digits of a digest.

use leptos::prelude::*;

use crate::server::store::Found;
use crate::ui::app::{PageResult, redirect};
use crate::ui::components::{DigestText, Empty};
use crate::ui::context::Cx;
use crate::ui::shell::Page;

const GROUPS: [(&str, &str); 5] =
    [("stream", "Streams"), ("tag", "Tags"), ("image", "Images"), ("build", "Builds"), ("app", "Apps")];
const EACH: i64 = 20;

/// `/search?q=`; a single find is gone to at once.
pub async fn page(cx: Cx) -> PageResult {
    let viewer = cx.viewer()?;
    let text = cx.query("q").trim().to_owned();
    let mut found =
        if text.is_empty() { Vec::new() } else { cx.store().search(viewer.list_for(), &text, EACH).await? };
    found.retain(|found| viewer.may_see(&found.project));
    if let [only] = found.as_slice() {
        redirect(&address_of(only));
    }
    if found.is_empty() {
        let heading =
            if text.is_empty() { "Search for what?".to_owned() } else { format!("Nothing found for “{text}”") };
        let body = view! {
            <Empty heading>
                <p>"Searched are names of streams, tags, builds and apps, upstream references, “stream:tag”, and digests from 7 digits on."</p>
            </Empty>
        };
        return Ok(Page::new("Search", body));
    }
    let groups: Vec<_> = GROUPS.into_iter().filter_map(|(kind, heading)| group(kind, heading, &found)).collect();
    let body = view! { {groups} };
    Ok(Page::new(format!("Found for “{text}”"), body).kind("search"))
}

fn address_of(found: &Found) -> String {
    let project = format!("/p/{}", found.project);
    match (found.kind.as_str(), found.name.split_once(':'), &found.about) {
        ("tag", Some((stream, tag)), _) => format!("{project}/streams/{stream}/tags/{tag}"),
        ("image", _, Some(digest)) => format!("{project}/streams/{}/images/{digest}", found.name),
        (kind, ..) => format!("{project}/{kind}s/{}", found.name),
    }
}

fn group(kind: &str, heading: &'static str, found: &[Found]) -> Option<AnyView> {
    let rows: Vec<_> = found
        .iter()
        .filter(|found| found.kind == kind)
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
                    </th>
                    <td data-label="Project">{found.project.clone()}</td>
                    <td data-label="About">{about}</td>
                </tr>
            }
        })
        .collect();
    let count = rows.len();
    (count > 0).then(|| {
        view! {
            <section class="card">
                <div class="card-header">
                    <h2>{heading}</h2>
                    <span class="count">{if count as i64 == EACH { format!("{EACH} or more") } else { count.to_string() }}</span>
                </div>
                <div class="table-wrap">
                    <table class="table">
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </section>
        }
        .into_any()
    })
}
