//! A project at a glance: what wants attention, what runs, what is held, what moved.

use leptos::prelude::*;

use super::past_overview;
use super::streams::kind_words;
use super::streams_new::FirstStream;
use crate::model::ImportRule;
use crate::server::auth::Right;
use crate::server::store::{BrokenImage, CascadeSummary, DueImport, FailedBuild, HeldThing, RecentMove};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, AsOfForm, Badge, DigestText, Tone, Who, short_digest};
use crate::ui::context::Cx;
use crate::ui::shell::{Page, Section};

/// `/p/:project`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_overview::page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let (store, name) = (cx.store(), project.name.as_str());
    let moves = store.list_recent_moves(name, 8).await?;
    let failing = store.list_imports(name, "failed", "", 20).await?;
    let rules = store.list_failing_import_rules(&project.id, 20).await?;
    let overdue = usize::try_from(store.count_overdue_imports(&project.id).await?).unwrap_or(0);
    let failed = store.list_failed_builds(&project.id, 20).await?;
    let broken = store.list_broken_images(&project.id, 20).await?;
    let held = store.list_held(&project.id, 20).await?;
    let cascades = store.list_cascades(name, None, 30).await?;
    let running: Vec<_> = cascades.into_iter().filter(CascadeSummary::is_running).collect();
    let path = format!("/p/{name}");
    let page = |body: AnyView| {
        let heading = if project.display_name.is_empty() { project.name.clone() } else { project.display_name.clone() };
        let about = project.description.clone();
        Page::new(heading, body)
            .kind("project")
            .within(&project, Section::Overview)
            .meta((!about.is_empty()).then_some(about))
    };
    if moves.is_empty() && failing.is_empty() && store.count_streams(&project.id).await? == 0 {
        let body = view! { <FirstStream project=project.clone() registry=cx.settings().registry_host().to_owned() /> };
        return Ok(page(body.into_any()));
    }
    let body = view! {
        <div class="tiles" data-live="tiles">
            {tile("Needs attention", failing.len() + rules.len() + failed.len() + broken.len(), &format!("{path}#attention"), "look at these", Tone::Fail)}
            {(overdue > 0)
                .then(|| tile("Overdue checks", overdue, &format!("{path}/imports?f=overdue"), "not made in time", Tone::Warn))}
            {tile("Running cascades", running.len(), &format!("{path}/cascades"), "on their way", Tone::Running)}
            {tile("Held", held.len(), &format!("{path}#held"), "to be resumed", Tone::Held)}
        </div>
        {attention(&path, &failing, &rules, &failed, &broken)}
        {running_card(&path, &running)}
        {held_card(&path, &held)}
        {moves_card(&path, moves)}
    };
    Ok(page(body.into_any()).actions(view! { <AsOfForm /> }))
}

fn tile(name: &'static str, count: usize, href: &str, words: &'static str, tone: Tone) -> impl IntoView + use<> {
    let state = if count == 0 {
        view! { <Badge tone=Tone::Ok text="None" /> }
    } else {
        view! { <Badge tone text=words /> }
    };
    view! {
        <a class="tile" href=href.to_owned()>
            <span class="muted">{name}</span>
            <span class="tile-value">{count}</span>
            {state}
        </a>
    }
}

fn card(
    id: &'static str,
    heading: &'static str,
    more: Option<(String, &'static str)>,
    rows: Vec<AnyView>,
) -> Option<AnyView> {
    if rows.is_empty() {
        return None;
    }
    Some(
        view! {
            <section class="card" id=id>
                <div class="card-header">
                    <h2>{heading}</h2>
                    {more.map(|(href, words)| view! { <a href=href>{words}</a> })}
                </div>
                <div class="table-wrap">
                    <table class="table">
                        <tbody data-live=id>{rows}</tbody>
                    </table>
                </div>
            </section>
        }
        .into_any(),
    )
}

fn attention(
    path: &str,
    failing: &[DueImport],
    rules: &[ImportRule],
    failed: &[FailedBuild],
    broken: &[BrokenImage],
) -> Option<AnyView> {
    let imports = failing.iter().map(|due| {
        let why = due.import.reason.clone().unwrap_or_else(|| "failed".to_owned());
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=format!("{path}/streams/{}/tags/{}", due.tag.stream, due.tag.name)>
                        {due.tag.title()}
                    </a>
                    <span class="cell-sub">"import of "<code>{due.tag.source.clone()}</code></span>
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Fail text=why />
                </td>
                <td data-label="Since">{due.import.failing_since.map(|at| view! { <Ago at /> })}</td>
            </tr>
        }
        .into_any()
    });
    let rules = rules.iter().map(|rule| {
        let why = rule.reason.clone().unwrap_or_else(|| "failed".to_owned());
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=format!("{path}/streams/{}/imports", rule.stream)>
                        {format!("Import rule {}", rule.name)}
                    </a>
                    <span class="cell-sub">{format!("of {}: lists ", rule.stream)}<code>{rule.spec.repository.clone()}</code></span>
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Fail text=why />
                </td>
                <td data-label="Since">{rule.failing_since.map(|at| view! { <Ago at /> })}</td>
            </tr>
        }
        .into_any()
    });
    let builds = failed.iter().map(|build| {
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=format!("{path}/builds/{}/runs/{}", build.config, build.number)>
                        {format!("{} #{}", build.config, build.number)}
                    </a>
                    {build.message.clone().map(|message| view! { <span class="cell-sub">{message}</span> })}
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Fail text="Build failed" />
                </td>
                <td data-label="Since">{build.finished_at.map(|at| view! { <Ago at /> })}</td>
            </tr>
        }
        .into_any()
    });
    let images = broken.iter().map(|image| {
        let href = format!("{path}/streams/{}/images/{}", image.stream, image.digest);
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=href>
                        {format!("{}@{}", image.stream, short_digest(&image.digest))}
                    </a>
                    <span class="cell-sub break">{image.problem.clone()}</span>
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Fail text="Not whole" />
                </td>
                <td data-label="Since">
                    <Ago at=image.checked_at />
                </td>
            </tr>
        }
        .into_any()
    });
    card(
        "attention",
        "Needs attention",
        Some((format!("{path}/imports?f=failed"), "Failing imports")),
        images.chain(imports).chain(rules).chain(builds).collect(),
    )
}

fn running_card(path: &str, running: &[CascadeSummary]) -> Option<AnyView> {
    let rows = running.iter().map(|cascade| {
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=format!("{path}/cascades/{}", cascade.number)>
                        {format!("{}: {}", cascade.number, cascade.title)}
                    </a>
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Running text=if cascade.paused_at.is_some() { "Paused" } else { "Running" } />
                </td>
                <td data-label="Since">
                    <Ago at=cascade.created_at />
                </td>
            </tr>
        }
        .into_any()
    });
    card("running", "Running cascades", Some((format!("{path}/cascades"), "All cascades")), rows.collect())
}

fn held_card(path: &str, held: &[HeldThing]) -> Option<AnyView> {
    let rows = held.iter().map(|held| {
        let (href, name) = match &held.stream {
            Some(stream) => (format!("{path}/streams/{stream}/tags/{}", held.name), format!("{stream}:{}", held.name)),
            None => (format!("{path}/apps/{}", held.name), held.name.clone()),
        };
        view! {
            <tr>
                <th scope="row">
                    <a class="cell-main" href=href>{name}</a>
                    {held.reason.clone().map(|reason| view! { <span class="cell-sub">{reason}</span> })}
                </th>
                <td data-label="State">
                    <Badge tone=Tone::Held text=format!("Held by {}", held.actor) />
                </td>
                <td data-label="Since">
                    <Ago at=held.since />
                </td>
            </tr>
        }
        .into_any()
    });
    card("held", "Held", None, rows.collect())
}

fn moves_card(path: &str, moves: Vec<RecentMove>) -> Option<AnyView> {
    let rows = moves.into_iter().map(|moved| {
        let href = format!("{path}/streams/{}/images/{}", moved.stream, moved.digest);
        let who = moved.actor_kind.parse().ok().map(|kind| view! { <Who kind name=moved.actor.clone() /> });
        view! {
            <tr data-row=moved.sequence>
                <th scope="row">
                    <a class="cell-main" href=format!("{path}/streams/{}/tags/{}", moved.stream, moved.tag)>
                        {format!("{}:{}", moved.stream, moved.tag)}
                    </a>
                </th>
                <td data-label="Image">
                    <DigestText digest=moved.digest.clone() href />
                </td>
                <td data-label="How">{kind_words(moved.kind.parse().ok())}</td>
                <td data-label="By">{who}</td>
                <td data-label="When">
                    <Ago at=moved.at />
                </td>
            </tr>
        }
        .into_any()
    });
    card("moves", "Recently changed tags", Some((format!("{path}/activity"), "All activity")), rows.collect())
}
