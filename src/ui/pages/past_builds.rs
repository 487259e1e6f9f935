//! The build configs as they were at a moment, each with the newest run it had then. Nothing here acts.

use leptos::prelude::*;

use super::builds::phase_badge;
use super::past::since;
use crate::server::auth::Right;
use crate::server::store::ConfigThen;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Col, DataTable, Empty, PageSize, Pager, Who};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section};

/// `/p/:project/builds?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let size = PageSize::of(&cx);
    let mut configs = cx.store().list_configs_then(&project.id, &as_of.0, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut configs);
    let next = configs.last().filter(|_| more).map(|last| last.name.clone());
    let list = table(&format!("/p/{}", project.name), &as_of, configs).unwrap_or_else(|| {
        view! { <Empty heading="There was no build"><p>"The project had none at that moment, or no more of them."</p></Empty> }.into_any()
    });
    let body = view! {
        <p class="muted">"Each build with the newest run it had."</p>
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Builds", body).within(&project, Section::Builds).past(&cx, &as_of))
}

/// Builds of then below the project's path; `None` when there were none.
pub fn table(path: &str, as_of: &AsOf, configs: Vec<ConfigThen>) -> Option<AnyView> {
    if configs.is_empty() {
        return None;
    }
    let path = format!("{path}/builds");
    let rows: Vec<_> = configs.into_iter().map(|config| row(&path, as_of, config)).collect();
    let columns = ["Build", "Last run then", "State then", "Cause", "Made", "Now"].map(Col::Text).to_vec();
    Some(view! { <DataTable columns>{rows}</DataTable> }.into_any())
}

fn row(path: &str, as_of: &AsOf, config: ConfigThen) -> AnyView {
    let path = format!("{path}/{}", config.name);
    let state = config.phase_then(&as_of.0).map(phase_badge);
    let last = match config.number {
        Some(number) => view! {
            <a href=as_of.link(&format!("{path}/runs/{number}"))>{format!("#{number}")}</a>
            " "
            {config.queued_at.map(|at| view! { <Ago at /> })}
        }
        .into_any(),
        None => view! { <span class="muted">"none yet"</span> }.into_any(),
    };
    let who = config.actor_kind.as_deref().and_then(|kind| kind.parse().ok()).zip(config.actor.clone());
    let now = match config.number {
        _ if config.deleted_at.is_some() => since(config.deleted_at, config.deleted_by.clone()),
        Some(number) if number == config.last_number => view! { <span class="muted">"no newer run"</span> }.into_any(),
        _ if config.last_number == 0 => view! { <span class="muted">"none yet"</span> }.into_any(),
        // It came later: its page is one of now.
        _ => {
            let href = format!("{path}/runs/{}", config.last_number);
            view! { <a href=href>{format!("#{}", config.last_number)}</a> }.into_any()
        }
    };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=as_of.link(&path)>
                    {config.name.clone()}
                </a>
            </th>
            <td data-label="Last run then">{last}</td>
            <td data-label="State then">{state}</td>
            <td data-label="Cause">
                {config.trigger_text.clone()}
                {who.map(|(kind, name)| view! { <span class="cell-sub"><Who kind name /></span> })}
            </td>
            <td data-label="Made">
                <Ago at=config.created_at />
                <span class="cell-sub">{format!("by {}", config.created_by)}</span>
            </td>
            <td data-label="Now">{now}</td>
        </tr>
    }
    .into_any()
}
