//! A build config as it was at a moment: what it said, where that is known, and the runs it had, each as far as it was. Nothing here acts.

use leptos::prelude::*;

use super::build_parts::spec_facts;
use super::builds::phase_badge;
use super::past::{deleted_badge, since};
use crate::model::Build;
use crate::server::auth::Right;
use crate::server::store::ConfigThen;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Col, DataTable, DigestText, Empty, PageSize, Pager, Who};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

/// `/p/:project/builds/:build?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let name = cx.param("build");
    let missing = || UiError::NotFound { what: format!("Build {name} at {}", as_of.0.words) };
    let config = cx.store().find_config_then(&project.id, name, &as_of.0).await?.ok_or_else(missing)?;
    let size = PageSize::of(&cx);
    let before = cx.query("after").parse().ok();
    let mut runs = cx.store().list_config_builds_then(&config.id, &as_of.0, before, size.limit()).await?;
    let more = size.cut(&mut runs);
    let next = runs.last().filter(|_| more).map(|last| last.number.to_string());
    let spec = config.spec().map_err(|error| UiError::Internal(error.to_string()))?;
    let spec = match &spec {
        Some(spec) => spec_facts(spec),
        None => view! { <p class="muted">"Not kept: it was changed since, by a server that did not keep what builds had said."</p> }.into_any(),
    };
    let list = if runs.is_empty() {
        view! { <Empty heading="It had not run"><p>"No run of it had been asked for at that moment, or there are no more of them."</p></Empty> }
            .into_any()
    } else {
        let rows: Vec<_> = runs.iter().map(|run| row(&project.name, &as_of, &config, run)).collect();
        let columns = ["Run", "State then", "Cause", "Requested", "Image"].map(Col::Text).to_vec();
        view! { <DataTable columns>{rows}</DataTable> }.into_any()
    };
    let body = view! {
        <section class="stack gap-2">
            <h2>"Its runs then"</h2>
            {list}
            <Pager cx=cx.clone() next />
        </section>
        <section class="stack gap-2">
            <h2>"How it built then"</h2>
            <div class="card">{spec}</div>
        </section>
    };
    let meta = view! { <span>"Since then "{since(config.deleted_at, config.deleted_by.clone())}</span> };
    let page = Page::new(config.name.clone(), body).kind("build").past(&cx, &as_of).meta(meta);
    Ok(page
        .beside(deleted_badge(config.deleted_at))
        .within(&project, Section::Builds)
        .crumb("Builds", as_of.link(&format!("/p/{}/builds", project.name))))
}

fn row(project: &str, as_of: &AsOf, config: &ConfigThen, run: &Build) -> AnyView {
    let href = as_of.link(&format!("/p/{project}/builds/{}/runs/{}", config.name, run.number));
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=href>
                    {format!("#{}", run.number)}
                </a>
            </th>
            <td data-label="State then">
                {phase_badge(run.phase)}
                {run.message.clone().map(|message| view! { <span class="cell-sub break">{message}</span> })}
            </td>
            <td data-label="Cause">{run.trigger_text.clone()}</td>
            <td data-label="Requested">
                <Ago at=run.queued_at />
                <span class="cell-sub">
                    {run.actor_kind.parse().ok().map(|kind| view! { <Who kind name=run.actor.clone() /> })}
                </span>
            </td>
            <td data-label="Image">{run.output_digest.clone().map(|digest| view! { <DigestText digest /> })}</td>
        </tr>
    }
    .into_any()
}
