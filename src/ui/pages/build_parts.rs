//! Parts of a build config's page: what it takes in, and how it builds.

use leptos::prelude::*;

use crate::model::{BuildConfig, BuildConfigSpec, ConfigInput, StrategyFrom};
use crate::server::builder::git;
use crate::ui::components::{Ago, Badge, Col, CopyText, DataTable, DigestText, Tone};
use crate::ui::context::InProject;

use super::resolution::why_input;

/// What it takes in, and whether that is the newest.
pub fn inputs_table(project: &InProject, config: &BuildConfig, inputs: &[ConfigInput], host: &str) -> AnyView {
    if inputs.is_empty() {
        let words = if config.inspected_generation < config.generation && config.inspect_error.is_none() {
            "Its Dockerfile is being read; what it takes in appears here in a moment."
        } else {
            "It takes in no image: its Dockerfile begins from scratch, or could not be read yet."
        };
        return view! {
            <p class="muted" data-live="inputs">
                {words}
            </p>
        }
        .into_any();
    }
    let rows: Vec<_> = inputs.iter().map(|input| input_row(project, config, input, host)).collect();
    view! {
        <DataTable
            columns=&[
                Col::Text("Image"), Col::Text("Through"), Col::Text("Used last"), Col::Text("Newest"), Col::Text("How known"),
                Col::Text("Trigger")
            ]
            live="inputs"
        >
            {rows}
        </DataTable>
    }
    .into_any()
}

fn input_row(project: &InProject, config: &BuildConfig, input: &ConfigInput, host: &str) -> AnyView {
    let image = match input.stands_for() {
        Some(tag) => {
            let href = format!("/p/{}/streams/{}/tags/{}", tag.project, tag.stream, tag.tag);
            let name = tag.title_in(&project.name);
            let written = (input.reference != name)
                .then(|| view! { <span class="cell-sub">{format!("written {}", input.reference)}</span> });
            view! {
                <a class="cell-main" href=href>
                    {name}
                </a>
                {written}
                {why_input(input, host)}
            }
            .into_any()
        }
        None => view! {
            <span class="cell-main break">{input.reference.clone()}</span>
            <span class="cell-sub">"from elsewhere: its changes are not seen"</span>
        }
        .into_any(),
    };
    let stage =
        (!input.stage.is_empty()).then(|| view! { <span class="cell-sub">{format!("stage {}", input.stage)}</span> });
    let used = match (&input.used_digest, input.used_at) {
        (Some(digest), at) => view! {
            <DigestText digest=digest.clone() />
            {at.map(|at| view! { <span class="cell-sub"><Ago at /></span> })}
        }
        .into_any(),
        (None, _) => view! { <span class="muted">"never built"</span> }.into_any(),
    };
    let newest = match &input.digest {
        Some(digest) if input.used_digest.as_ref() == Some(digest) => {
            view! { <Badge tone=Tone::Ok text="Same" /> }.into_any()
        }
        Some(digest) => view! {
            <DigestText digest=digest.clone() />
            " "
            <Badge tone=Tone::Warn text="Newer" />
        }
        .into_any(),
        None if input.stands_for().is_some() => view! { <Badge tone=Tone::Warn text="No image yet" /> }.into_any(),
        None => view! { <span class="muted">"not kept here"</span> }.into_any(),
    };
    let how = if input.how == "declared" { "written in this build" } else { "found in the Dockerfile" };
    let trigger =
        match (input.stands_for().is_some(), input.triggering == 1 && config.image_trigger == 1, config.paused_at) {
            (false, ..) => "—",
            (_, false, _) => "off",
            (_, true, Some(_)) => "paused",
            (_, true, None) => "on",
        };
    view! {
        <tr>
            <th scope="row">{image}</th>
            <td data-label="Through">
                <code>{input.kind.clone()}</code>
                {stage}
            </td>
            <td data-label="Used last">{used}</td>
            <td data-label="Newest">{newest}</td>
            <td data-label="How known">{how}</td>
            <td data-label="Trigger">{trigger}</td>
        </tr>
    }
    .into_any()
}

/// What its author wrote.
pub fn facts(project: &InProject, config: &BuildConfig, spec: &BuildConfigSpec) -> AnyView {
    let mut facts = said(spec);
    let starts = match (config.image_trigger == 1, config.config_trigger == 1) {
        (true, true) => "When it is made, and when an image it takes in moves",
        (true, false) => "When an image it takes in moves",
        (false, true) => "When it is made; moves of its inputs do not start it",
        (false, false) => "Only by hand",
    };
    facts.push(("Starts", starts.into_any()));
    let made = view! { <Ago at=config.created_at />{format!(" by {}", config.created_by)} };
    facts.push(("Made", made.into_any()));
    let graph = format!("/p/{}/graph?node=build:{}&focus=both", project.name, config.name);
    facts.push(("In the graph", view! { <a href=graph>"What leads to it and what depends on it"</a> }.into_any()));
    fact_list(facts)
}

/// What a build config says, and where its image goes.
pub fn spec_facts(spec: &BuildConfigSpec) -> AnyView {
    let mut facts = said(spec);
    facts.push(("Makes", format!("{}:{}", spec.output_stream, spec.output_tag).into_any()));
    fact_list(facts)
}

fn said(spec: &BuildConfigSpec) -> Vec<(&'static str, AnyView)> {
    let mut facts: Vec<(&str, AnyView)> = Vec::new();
    if let Some(git) = &spec.source.git {
        facts.push(("Repository", view! { <CopyText text=git::shown(&git.uri) /> }.into_any()));
        let branch = git.reference.clone().unwrap_or_else(|| "the default branch".to_owned());
        facts.push(("Branch, tag or commit", branch.into_any()));
        if let Some(secret) = &git.secret {
            facts.push(("Secret", secret.clone().into_any()));
        }
    }
    if let Some(directory) = &spec.source.context_dir {
        facts.push(("Directory", view! { <code>{directory.clone()}</code> }.into_any()));
    }
    match (&spec.source.dockerfile, &spec.source.dockerfile_path) {
        (Some(dockerfile), _) => facts.push(("Dockerfile", view! { <pre>{dockerfile.clone()}</pre> }.into_any())),
        (None, path) => {
            let path = path.clone().unwrap_or_else(|| "Dockerfile".to_owned());
            facts.push(("Dockerfile", view! { <code>{path}</code> }.into_any()));
        }
    }
    if let Some(StrategyFrom::ImageStreamTag(name) | StrategyFrom::DockerImage(name)) = &spec.strategy_from {
        facts.push(("Last FROM replaced by", view! { <code>{name.clone()}</code> }.into_any()));
    }
    for (words, pairs) in [("Build arguments", &spec.build_args), ("Environment", &spec.env)] {
        if !pairs.is_empty() {
            let lines: Vec<_> = pairs
                .iter()
                .map(|pair| view! { <li><code>{format!("{}={}", pair.name, pair.value)}</code></li> })
                .collect();
            facts.push((words, view! { <ul>{lines}</ul> }.into_any()));
        }
    }
    facts
}

fn fact_list(facts: Vec<(&'static str, AnyView)>) -> AnyView {
    let rows: Vec<_> = facts
        .into_iter()
        .map(|(words, value)| {
            view! {
                <dt>{words}</dt>
                <dd>{value}</dd>
            }
        })
        .collect();
    view! { <dl class="facts">{rows}</dl> }.into_any()
}
