//! All build configs of a project, each with its newest run.

use leptos::prelude::*;

use super::build::menu;
use super::past_builds;
use crate::model::BuildPhase;
use crate::server::auth::Right;
use crate::server::store::ListedConfig;
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, Ago, AsOf, AsOfForm, Badge, Col, DataTable, Empty, More, PageSize, Pager, Tone, Who, duration_words,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::shell::{Page, Section};

/// A phase's colour and word.
pub fn phase_badge(phase: BuildPhase) -> AnyView {
    let (tone, word) = match phase {
        BuildPhase::New => (Tone::Muted, "Queued"),
        BuildPhase::Pending => (Tone::Running, "Starting"),
        BuildPhase::Running => (Tone::Running, "Running"),
        BuildPhase::Complete => (Tone::Ok, "Complete"),
        BuildPhase::Failed => (Tone::Fail, "Failed"),
        BuildPhase::Error => (Tone::Fail, "Error"),
        BuildPhase::Cancelled => (Tone::Muted, "Cancelled"),
    };
    view! { <Badge tone text=word /> }.into_any()
}

/// `/p/:project/builds`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_builds::page(cx, as_of).await;
    }
    let project = cx.project(Right::View).await?;
    let (size, text, after) = (PageSize::of(&cx), cx.query("q"), cx.query("after"));
    let mut configs = cx.store().list_configs_with_last_build(&project.name, text, after, size.limit()).await?;
    let more = size.cut(&mut configs);
    let next = configs.last().filter(|_| more).map(|last| last.name.clone());
    let (first, last) = (configs.first().map_or("", |row| &row.name), configs.last().map_or("", |row| &row.name));
    let mut phases = cx.store().list_last_phases(&project.name, first, last).await?;
    let new = project.can_edit().then(|| {
        view! {
            <a class="btn btn-primary" href=format!("/p/{}/builds/new", project.name)>
                "New build"
            </a>
        }
    });
    let actions = view! {
        {new}
        <AsOfForm />
    };
    let table = if configs.is_empty() {
        empty(&cx, &project, text)
    } else {
        let rows: Vec<_> = configs
            .into_iter()
            .map(|config| {
                let last = phases.remove(&config.id).unwrap_or_default();
                row(&project, config, &last)
            })
            .collect();
        view! {
            <a class="pill-new" data-new-pill hidden href="">"New builds"</a>
            <DataTable
                columns=&[
                    Col::Text("Build"), Col::Text("Last run"), Col::Text("Cause"), Col::Text("Output"), Col::Text("Inputs"),
                    Col::Text("Last ten"), Col::Actions
                ]
            >
                {rows}
            </DataTable>
        }
        .into_any()
    };
    let body = view! {
        <form class="toolbar" method="get" role="search">
            <input type="search" name="q" value=text.to_owned() placeholder="Build name…" aria-label="Filter builds by name" />
            <button class="btn">"Filter"</button>
        </form>
        {table}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Ok(Page::new("Builds", body).within(&project, Section::Builds).actions(actions))
}

fn empty(cx: &Cx, project: &InProject, text: &str) -> AnyView {
    if !text.is_empty() || !cx.query("after").is_empty() {
        let (words, path) = (format!("No build's name contains “{text}”."), cx.path().to_owned());
        return view! {
            <Empty heading="No build fits">
                <p>{words}</p>
                <p>
                    <a class="btn" href=path>
                        "Clear filter"
                    </a>
                </p>
            </Empty>
        }
        .into_any();
    }
    let new = project.can_edit().then(|| {
        view! {
            <p>
                <a class="btn" href=format!("/p/{}/builds/new", project.name)>
                    "New build"
                </a>
            </p>
        }
    });
    view! {
        <Empty heading="No builds yet">
            <p>
                "A build makes an image from a git repository with a Dockerfile, or from a Dockerfile written here. It runs again by itself whenever an image it is based on changes."
            </p>
            {new}
        </Empty>
    }
    .into_any()
}

fn row(project: &InProject, config: ListedConfig, last: &[(i64, BuildPhase)]) -> AnyView {
    let path = format!("/p/{}/builds/{}", project.name, config.name);
    let run = format!("{path}/runs/{}", config.last_number);
    let phase = config.phase();
    let under_way = phase.is_some_and(|phase| !phase.is_final());
    let paused = config.paused_at.map(|_| view! { <span class="cell-sub">"Triggers paused"</span> });
    let problem = config
        .inspect_error
        .as_ref()
        .map(|_| view! { <span class="cell-sub">"Its Dockerfile could not be read"</span> });
    let actions = project.can_edit().then(|| {
        let menu = menu(&path, config.paused_at.is_some());
        let cancel = under_way.then(|| {
            view! {
                <form method="post" action=format!("{run}/cancel")>
                    <button>"Cancel running"</button>
                </form>
            }
        });
        view! {
            <Act action=format!("{path}/start") label="Start build" on=format!("of {}", config.name) />
            {(config.last_number > 0).then(|| view! { <a class="btn btn-small" href=format!("{run}#end")>"Log"<span class="visually-hidden">{format!(" of {} {}", config.name, config.last_number)}</span></a> })}
            <More on=config.name.clone()>{cancel} {menu}</More>
        }
        .into_any()
    });
    let actions = actions.or_else(|| {
        (config.last_number > 0).then(|| view! { <a class="btn btn-small" href=run.clone()>"Log"</a> }.into_any())
    });
    let key = config.name.clone();
    view! {
        <tr data-row=config.id.clone()>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {config.name.clone()}
                </a>
                {paused}
                {problem}
            </th>
            <td data-label="Last run" data-live=format!("run-{key}")>
                {last_run(&config, &run)}
            </td>
            <td data-label="Cause" data-live=format!("cause-{key}")>
                {cause(&config)}
            </td>
            <td data-label="Output">
                <a href=format!("/p/{}/streams/{}/tags/{}", project.name, config.output_stream, config.output_tag)>
                    {format!("{}:{}", config.output_stream, config.output_tag)}
                </a>
            </td>
            <td data-label="Inputs" data-live=format!("inputs-{key}")>
                {config.inputs}
                {(config.newer > 0).then(|| view! { ", " <strong>{format!("{} newer", config.newer)}</strong> })}
            </td>
            <td data-label="Last ten" data-live=format!("spark-{key}")>
                {spark(last)}
            </td>
            <td class="row-actions-cell" data-live=format!("actions-{key}")>
                <div class="row-actions">{actions}</div>
            </td>
        </tr>
    }
    .into_any()
}

fn last_run(config: &ListedConfig, run: &str) -> AnyView {
    let Some(phase) = config.phase() else { return view! { <span class="muted">"never built"</span> }.into_any() };
    let when = config.finished_at.or(config.started_at).or(config.queued_at);
    let took = config.started_at.zip(config.finished_at).map(|(from, to)| {
        let words = format!("took {}", duration_words(to - from));
        view! { ", " <span class="nowrap">{words}</span> }
    });
    let place = (config.queue_position > 0).then(|| format!(", {} in the queue", ordinal(config.queue_position)));
    view! {
        {phase_badge(phase)}
        " "
        <a href=run.to_owned()>{format!("#{}", config.last_number)}</a>
        <span class="cell-sub">{when.map(|at| view! { <Ago at /> })}{took} {place}</span>
    }
    .into_any()
}

fn cause(config: &ListedConfig) -> AnyView {
    let (Some(text), Some(actor)) = (&config.trigger_text, &config.actor) else { return ().into_any() };
    let kind = config.actor_kind.as_deref().and_then(|kind| kind.parse().ok());
    let who = kind.map(|kind| view! { <span class="cell-sub"><Who kind name=actor.clone() /></span> });
    view! {
        {text.clone()}
        {who}
    }
    .into_any()
}

/// 1st, 2nd, 3rd, 4th, …
pub fn ordinal(number: i64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The last runs as bars, oldest first, and in words.
fn spark(last: &[(i64, BuildPhase)]) -> AnyView {
    if last.is_empty() {
        return view! { <span class="muted">"none"</span> }.into_any();
    }
    let count = |phases: &[BuildPhase]| last.iter().filter(|(_, phase)| phases.contains(phase)).count();
    let failed = count(&[BuildPhase::Failed, BuildPhase::Error]);
    let words = format!("{} of {} complete, {failed} failed", count(&[BuildPhase::Complete]), last.len());
    let bars: Vec<_> = last
        .iter()
        .map(|(number, phase)| {
            let class = match phase {
                BuildPhase::Complete => "ok",
                BuildPhase::Failed | BuildPhase::Error => "fail",
                BuildPhase::Cancelled => "",
                _ => "running",
            };
            view! { <span class=class title=format!("#{number} {phase}")></span> }
        })
        .collect();
    view! {
        <span class="spark" role="img" aria-label=words>
            {bars}
        </span>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_places() {
        let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].into_iter().map(super::ordinal).collect();
        assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
