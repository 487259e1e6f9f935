//! A run of a build as it was at a moment: as far as it was, with what it had taken in. Nothing here acts.

use leptos::prelude::*;

use super::builds::phase_badge;
use super::run::{chain, facts, inputs, output, reason_words, steps};
use crate::model::{Build, BuildPhase};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, Badge, Tone};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section};

/// `/p/:project/builds/:build/runs/:number?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (config, number) = (cx.param("build"), cx.param("number"));
    let missing = || UiError::NotFound { what: format!("Run {config} #{number} at {}", as_of.0.words) };
    let known = number.parse().map_err(|_| missing())?;
    let run = cx.store().find_build_then(&project.name, config, known, &as_of.0).await?.ok_or_else(missing)?;
    let present = cx.store().find_build(&project.name, config, known).await?.filter(|now| now.id == run.id);
    let is_there = present.is_some();
    let path = format!("/p/{}/builds/{config}", project.name);
    let here = format!("{path}/runs/{known}");
    let log = match is_there {
        true => view! {
            <p class="muted">
                "Which lines its log had at a moment is not kept: "<a href=format!("{here}#log")>"its log, as it is now"</a>
            </p>
        }
        .into_any(),
        false => view! { <p class="muted">"It was deleted since. Logs of deleted runs are not kept."</p> }.into_any(),
    };
    let body = view! {
        {steps(&run, is_there.then_some(here.as_str()))}
        <div class="split">
            <section class="card">
                <h2>"Run"</h2>
                {facts(&project, &run, Some(&as_of))}
            </section>
            <aside class="stack">
                <section class="card">
                    <h2>"Inputs"</h2>
                    {inputs(&project, &run, Some(&as_of))}
                </section>
                <section class="card">
                    <h2>"Output"</h2>
                    {output(&project, &run, Some(&as_of))}
                </section>
            </aside>
        </div>
        {log}
    };
    let gone = (!is_there).then(|| view! { <Badge tone=Tone::Muted text="Deleted since" /> });
    let mut page = Page::new(format!("{config} #{known}"), body)
        .kind("build run")
        .past(&cx, &as_of)
        .beside(view! { {phase_badge(run.phase)} {gone} })
        .meta(chain(&cx, &project, &run, Some(&as_of)).await?);
    if matches!(run.phase, BuildPhase::Failed | BuildPhase::Error) {
        page = page.banner(failure(&run));
    }
    Ok(page
        .within(&project, Section::Builds)
        .crumb("Builds", as_of.link(&format!("/p/{}/builds", project.name)))
        .crumb(config.to_owned(), as_of.link(&path)))
}

/// Why it had failed.
fn failure(run: &Build) -> AnyView {
    let reason = run.reason.clone().unwrap_or_default();
    view! {
        <section class="banner banner-fail" aria-label="Failure">
            <strong>{reason_words(&reason)}</strong>
            {run.message.clone().map(|message| view! { <p class="break">{message}</p> })}
            <small>
                <code>{reason}</code>
            </small>
        </section>
    }
    .into_any()
}
