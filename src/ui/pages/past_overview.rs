//! A project at a glance as it was at a moment: the first streams, builds and apps it had, the cascades that ran, and what was done last.

use leptos::prelude::*;

use super::freezes::exact;
use super::{activity, past, past_apps, past_builds, past_cascades};
use crate::model::{Freeze, FreezeState};
use crate::server::auth::Right;
use crate::server::store::{CascadeSummary, LedgerFilter};
use crate::ui::app::PageResult;
use crate::ui::components::AsOf;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

/// How many of each are shown.
const SHOWN: i64 = 10;
/// How many of the newest cascades are looked at for those that ran, and of the newest freezes for one in force.
const LOOKED_AT: i64 = 30;

/// `/p/:project?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (store, name, moment) = (cx.store(), project.name.as_str(), &as_of.0);
    if project.created_at >= moment.end {
        return Err(UiError::NotFound { what: format!("Project {name} at {}", moment.words) });
    }
    let path = format!("/p/{name}");
    let streams = store.list_catalog_then(&project.id, moment, ("", false), "", SHOWN).await?;
    let configs = store.list_configs_then(&project.id, moment, "", SHOWN).await?;
    let apps = store.list_apps_then(&project.id, moment, "", SHOWN).await?;
    let mut running = store.list_cascades_then(name, moment, None, LOOKED_AT).await?;
    running.retain(CascadeSummary::is_running);
    let end = store.ledger_end_then(moment).await?;
    let done = store.search_ledger(name, &LedgerFilter::default(), Some(end), SHOWN).await?;
    let frozen = store.list_freezes_then(name, moment, None, LOOKED_AT).await?;
    // Of several the one that was to end last, as the overview of now has it.
    let in_force = frozen.into_iter().filter(|freeze| freeze.state(moment.end - 1) == FreezeState::InForce);
    let frozen = in_force.max_by_key(|freeze| freeze.ends_at.unwrap_or(i64::MAX));
    let running = (!running.is_empty()).then(|| past_cascades::table(name, &as_of, &running));
    let section = |heading: &'static str, rest: &str, words: &'static str, list: Option<AnyView>| {
        let all = as_of.link(&format!("{path}/{rest}"));
        view! {
            <section class="stack gap-2">
                <h2>{heading}</h2>
                {list.unwrap_or_else(|| view! { <p class="muted">"None."</p> }.into_any())}
                <p>
                    <a href=all>{words}</a>
                </p>
            </section>
        }
    };
    let done = (!done.is_empty()).then(|| activity::table(&path, Some(&as_of), done));
    let body = view! {
        {frozen.map(|freeze| strip(&as_of, &path, &freeze))}
        {section("Cascades that ran", "cascades", "All cascades of then", running)}
        {section("Streams", "streams", "All streams of then", past::table(&path, &as_of, &streams))}
        {section("Builds", "builds", "All builds of then", past_builds::table(&path, &as_of, configs))}
        {section("Apps", "apps", "All apps of then", past_apps::table(&path, &as_of, apps))}
        {section("Done last", "activity", "All that had been done", done)}
        <p>
            <a href=as_of.link(&format!("{path}/freezes"))>"Freezes of then"</a>
        </p>
        <p class="muted">
            "Which imports failed, and which images were not whole, is not kept. What was held then stands with each tag and app."
        </p>
    };
    // A project is named and described for good when it is made.
    let heading = if project.display_name.is_empty() { project.name.clone() } else { project.display_name.clone() };
    let about = project.description.clone();
    Ok(Page::new(heading, body)
        .kind("project")
        .within(&project, Section::Overview)
        .meta((!about.is_empty()).then_some(about))
        .past(&cx, &as_of))
}

fn strip(as_of: &AsOf, path: &str, freeze: &Freeze) -> AnyView {
    let end = freeze.ends_at.map_or_else(|| "somebody ends that".into_any(), exact);
    view! {
        <p class="strip">
            <span>
                <strong>"Frozen then, until " {end}</strong>
                {format!(" by {} — {}", freeze.actor, freeze.reason)}
            </span>
            <a href=as_of.link(&format!("{path}/freezes"))>"Freezes of then"</a>
        </p>
    }
    .into_any()
}
