//! The ledger: every change of a project's state, by whom and why.

use leptos::prelude::*;

use crate::model::LedgerRow;
use crate::server::auth::Right;
use crate::server::store::LedgerFilter;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, AsOfForm, Col, DataTable, Empty, PageSize, Pager, Who, short_digest};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

const NOUNS: [(&str, &str); 10] = [
    ("", "Everything"),
    ("tag", "Tags"),
    ("stream", "Streams"),
    ("image", "Images"),
    ("build", "Builds"),
    ("app", "Apps"),
    ("cascade", "Cascades"),
    ("freeze", "Freezes"),
    ("member", "Members"),
    ("secret", "Secrets"),
];

/// `/p/:project/activity`
pub async fn page(cx: Cx) -> PageResult {
    let as_of = AsOf::of(&cx)?;
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let filter = LedgerFilter { action: cx.query("what"), actor: cx.query("by"), object: cx.query("q") };
    let before: Option<i64> = cx.query("after").parse().ok();
    let before = match &as_of {
        None => before,
        Some(as_of) if project.created_at >= as_of.0.end => {
            return Err(UiError::NotFound { what: format!("Project {} at {}", project.name, as_of.0.words) });
        }
        Some(as_of) => {
            let end = cx.store().ledger_end_then(&as_of.0).await?;
            Some(before.map_or(end, |before| before.min(end)))
        }
    };
    let mut rows = cx.store().search_ledger(&project.name, &filter, before, size.limit()).await?;
    let more = size.cut(&mut rows);
    let next = rows.last().filter(|_| more).map(|last| last.sequence.to_string());
    let options: Vec<_> = NOUNS
        .into_iter()
        .map(|(value, words)| {
            let selected = value == filter.action;
            view! { <option value=value selected=selected>{words}</option> }
        })
        .collect();
    let everything = AsOf::keep(as_of.as_ref(), cx.path());
    let list = if rows.is_empty() {
        view! {
            <Empty heading="Nothing fits">
                <p>
                    <a class="btn" href=everything>
                        "Clear filters"
                    </a>
                </p>
            </Empty>
        }
        .into_any()
    } else {
        table(&format!("/p/{}", project.name), as_of.as_ref(), rows)
    };
    // Filters keep the moment.
    let moment = as_of.as_ref().map(AsOf::hidden);
    let body = view! {
        <form class="toolbar" method="get" role="search">
            {moment}
            <input type="search" name="q" value=filter.object.to_owned() placeholder="What changed…" aria-label="Name of what changed" />
            <select name="what" aria-label="Kind of thing">
                {options}
            </select>
            <input name="by" value=filter.actor.to_owned() placeholder="By whom" aria-label="By whom, the whole name" class="w-40" />
            <button class="btn">"Filter"</button>
        </form>
        <a class="pill-new" data-new-pill hidden href="">"New rows"</a>
        {list}
        <Pager cx=cx.clone() next />
    };
    let page = Page::new("Activity", body).within(&project, Section::Activity);
    Ok(match &as_of {
        Some(as_of) => page.past(&cx, as_of),
        None => page.actions(view! { <AsOfForm /> }),
    })
}

/// Rows of the ledger. Links keep the moment that is looked back at.
pub fn table(path: &str, as_of: Option<&AsOf>, rows: Vec<LedgerRow>) -> AnyView {
    let rows: Vec<_> = rows.into_iter().map(|entry| row(path, as_of, entry)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Number("#"), Col::Text("When"), Col::Text("Who"), Col::Text("Did"), Col::Text("What"), Col::Text("From → to"),
                Col::Text("Why")
            ]
            live="ledger"
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn row(path: &str, as_of: Option<&AsOf>, entry: LedgerRow) -> AnyView {
    let change = match (&entry.from_value, &entry.to_value) {
        (None, None) => None,
        (from, to) => Some(format!("{} → {}", brief(from.as_deref()), brief(to.as_deref()))),
    };
    let full =
        [entry.from_value.as_deref(), entry.to_value.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" → ");
    let object = match entry.place() {
        Some(place) => {
            let href = AsOf::keep(as_of, &format!("{path}/{place}"));
            view! { <a href=href>{entry.object.clone()}</a> }.into_any()
        }
        None => entry.object.clone().into_any(),
    };
    let cause = entry.cause.map(|cause| view! { <span class="cell-sub">{format!("because of #{cause}")}</span> });
    view! {
        <tr data-row=entry.sequence>
            <th scope="row" class="num" data-label="#">
                {entry.sequence}
            </th>
            <td data-label="When">
                <Ago at=entry.at />
            </td>
            <td data-label="Who">
                <Who kind=entry.actor_kind name=entry.actor.clone() />
            </td>
            <td data-label="Did" class="nowrap">{action_words(&entry.action)}</td>
            <td data-label="What" class="break">{object}</td>
            <td data-label="From → to" class="break">{change.map(|change| view! { <span class="mono small" title=full>{change}</span> })}</td>
            <td data-label="Why" class="break">
                {entry.reason.clone()} {cause}
            </td>
        </tr>
    }
    .into_any()
}

/// `tag.skip-held` as people say it.
fn action_words(action: &str) -> String {
    match action {
        "tag.api" => "tag moved".to_owned(),
        "tag.skip-held" => "tag held back".to_owned(),
        "tag.skip-rejected" => "tag: rejected image skipped".to_owned(),
        other => other.replace(['.', '-'], " "),
    }
}

fn brief(value: Option<&str>) -> String {
    value.map_or_else(|| "none".to_owned(), short_digest)
}
