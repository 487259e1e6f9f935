//! Everything that is imported: when it was asked for last, with what result, and when next.

use leptos::prelude::*;

use super::cool_down;
use crate::model::{Tag, TagImport, now};
use crate::server::auth::Right;
use crate::server::store::DueImport;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, Badge, Col, DataTable, Empty, PageSize, Pager, Tone};
use crate::ui::context::{Cx, InProject};
use crate::ui::shell::{Page, Section};

/// `/p/:project/imports`
pub async fn page(cx: Cx) -> PageResult {
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let only = cx.query("f");
    let mut due = cx.store().list_imports(&project.name, only, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut due);
    let next = due.last().filter(|_| more).map(|last| last.tag.id.clone());
    let list = if due.is_empty() {
        let (heading, text) = match only {
            "failed" => ("No import fails", "Every tag that follows another registry was checked without trouble."),
            "overdue" => {
                ("Nothing is overdue", "Every tag that follows another registry was checked when it was to be.")
            }
            "limited" => ("No registry rests", "Every registry that tags follow lets itself be asked now."),
            "waiting" => ("Nothing waits", "No tag has something new upstream that its cool-down keeps back."),
            _ => (
                "Nothing is imported",
                "A tag can follow an image in another registry: add one on a stream's page, or make a stream from a reference.",
            ),
        };
        view! { <Empty heading><p>{text}</p></Empty> }.into_any()
    } else {
        table(&cx, &project, due)
    };
    let chip = |words: &'static str, value: &'static str| {
        let current = cx.query("f") == value;
        let href = cx.with_query(&[("f", value), ("after", ""), ("trail", "")]);
        view! { <a class="chip" href=href aria-current=current.then_some("true")>{words}</a> }
    };
    let registries = cx.viewer()?.is_site_admin().then(|| {
        view! { <p><a href="/imports/registries">"Registries: what they allow, and who asks"</a></p> }
    });
    let body = view! {
        {registries}
        <nav class="chips" aria-label="Filter">{chip("All", "")} {chip("Failing", "failed")} {chip("Overdue", "overdue")} {chip("Limited", "limited")} {chip("Waiting", "waiting")}</nav>
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Imports", body).within(&project, Section::Imports))
}

/// The table of imports, of a project or of one stream.
pub fn table(cx: &Cx, project: &InProject, due: Vec<DueImport>) -> AnyView {
    let rows: Vec<_> = due.into_iter().map(|due| row(cx, project, due)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Text("Tag"), Col::Text("Upstream"), Col::Text("Result"), Col::Text("Last good"), Col::Text("Last try"),
                Col::Text("Next"), Col::Actions
            ]
            live="imports"
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

/// Said of a tag that would be checked by schedule on another server.
pub const NOT_SCHEDULED: &str = "not scheduled on this server";

/// When a tag is checked next, in words: as soon as its registry, and whoever paused that, lets it.
pub fn next_check(cx: &Cx, tag: &Tag, import: &TagImport) -> AnyView {
    if let Some(person) = &import.paused_by {
        return format!("not while {person} has its registry paused: a site admin can resume it").into_any();
    }
    let rest = import.rests_until.filter(|until| *until > now());
    match (rest, import.requested_at, import.next_check_at()) {
        (Some(until), _, Some(_)) => {
            view! { <Ago at=import.next_check_at().unwrap_or(until) />" (the registry wants to be left alone until then)" }.into_any()
        }
        (_, Some(_), _) => "now".into_any(),
        (_, None, Some(at)) => view! { <Ago at /> }.into_any(),
        (_, None, None) if tag.scheduled == 1 && cx.settings().import_interval.is_zero() => {
            view! { <span class="muted">{NOT_SCHEDULED}</span> }.into_any()
        }
        (_, None, None) => view! { <span class="muted">"when asked"</span> }.into_any(),
    }
}

/// Why what a tag follows was not to be had, where that is nobody's slip: the other registry did not answer, or refused to.
const AWAY: [&str; 6] = ["unreachable", "timeout", "too-slow", "upstream", "rate-limit", "abuse-limit"];

/// Since when what a tag follows is out of reach, and how old the copy is that pulls get meanwhile.
pub fn copy_badge(tag: &Tag, import: &TagImport) -> Option<AnyView> {
    let since =
        import.failing_since.filter(|_| import.reason.as_deref().is_some_and(|reason| AWAY.contains(&reason)))?;
    let copied_at = import.last_ok_at.or(tag.moved_at).filter(|_| tag.digest.is_some() && tag.deleted_at.is_none())?;
    let badge = view! {
        <span class=Tone::Warn.class()>
            "upstream unreachable since "<Ago at=since />", copy of "<Ago at=copied_at />
        </span>
    };
    Some(badge.into_any())
}

fn row(cx: &Cx, project: &InProject, due: DueImport) -> AnyView {
    let DueImport { tag, import } = due;
    let path = format!("/p/{}/streams/{}/tags/{}", project.name, tag.stream, tag.name);
    let result = match import.outcome.as_str() {
        "failed" => {
            let words = import.reason.clone().unwrap_or_else(|| "failed".to_owned());
            view! {
                <Badge tone=Tone::Fail text=words />
                {import.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
            }
            .into_any()
        }
        "ok" => view! { <Badge tone=Tone::Ok text="New image" /> }.into_any(),
        "unchanged" => view! { <Badge tone=Tone::Ok text="Unchanged" /> }.into_any(),
        "waiting" => view! { <Badge tone=Tone::Ok text="New, waiting" /> }.into_any(),
        _ => view! { <Badge tone=Tone::Running text="On its way" /> }.into_any(),
    };
    let never = || view! { <span class="muted">"never"</span> }.into_any();
    let ago = |at: Option<i64>| at.map_or_else(never, |at| view! { <Ago at /> }.into_any());
    let overdue = import.is_overdue(now()).then(|| view! { <Badge tone=Tone::Warn text="Overdue" /> });
    let next = next_check(cx, &tag, &import);
    let cooling = cool_down::line(project, &path, &tag, &import);
    view! {
        <tr data-row=tag.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {tag.title()}
                </a>
            </th>
            <td data-label="Upstream">
                <code>{tag.source.clone()}</code>
            </td>
            <td data-label="Result">{result} {cooling}</td>
            <td data-label="Last good">{ago(import.last_ok_at)}</td>
            <td data-label="Last try">{ago(import.last_try_at)}</td>
            <td data-label="Next">{next} {overdue}</td>
            <td>
                <div class="row-actions">
                    {project.can_edit().then(|| view! { <Act action=format!("{path}/check") label="Check now" on=tag.title() /> })}
                </div>
            </td>
        </tr>
    }
    .into_any()
}
