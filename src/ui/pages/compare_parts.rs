//! The parts of a comparison: packages, configuration, layers; and its short form for whoever is about to roll back.

use leptos::prelude::*;

use super::packages::{listed_by, sentence};
use crate::model::Direction;
use crate::server::packages::{Compared, ComparedLayer, PackageChange, Pair, SettingChange, SettingPart};
use crate::ui::components::{Badge, Col, DataTable, DigestText, PageSize, Pager, Tone, size_words};
use crate::ui::context::Cx;

/// How many packages stand in the short form.
const FEW: usize = 8;

/// What differs in how it runs, in its environment and its labels.
pub fn setting_card(compared: &Compared) -> AnyView {
    let rows: Vec<_> = compared.settings.iter().map(setting_row).collect();
    let count = rows.len();
    let body = if rows.is_empty() {
        view! { <div class="card-body"><p class="muted">"Nothing differs: same user, command, ports, environment and labels."</p></div> }.into_any()
    } else {
        let columns = ["What", "Left", "Right"].map(Col::Text);
        view! { <DataTable columns=columns.to_vec()>{rows}</DataTable> }.into_any()
    };
    card("Configuration", Some(count), body)
}

fn setting_row(change: &SettingChange) -> AnyView {
    let value = |value: &Option<String>| match value {
        Some(value) if value.is_empty() => view! { <span class="muted">"empty"</span> }.into_any(),
        Some(value) => view! { <code class="break">{value.clone()}</code> }.into_any(),
        None => view! { <span class="muted">"not set"</span> }.into_any(),
    };
    let part = match change.part {
        SettingPart::Run => None,
        SettingPart::Environment => Some("environment"),
        SettingPart::Label => Some("label"),
    };
    view! {
        <tr>
            <th scope="row">
                <span class="cluster gap-x-2 gap-y-0">
                    <span class="break">{change.name.clone()}</span>
                    {change.caution.then(|| view! { <Badge tone=Tone::Warn text="Look" /> })}
                </span>
                {part.map(|part| view! { <span class="cell-sub">{part}</span> })}
            </th>
            <td data-label="Left">{value(&change.from)}</td>
            <td data-label="Right">{value(&change.to)}</td>
        </tr>
    }
    .into_any()
}

/// Packages that differ, filtered by which way they went.
pub fn package_card(cx: &Cx, compared: &Compared) -> AnyView {
    let chosen: Option<Direction> = cx.query("f").parse().ok();
    let fits = |change: &&PackageChange| chosen.is_none_or(|chosen| change.direction == chosen);
    let found: Vec<&PackageChange> = compared.packages.iter().filter(fits).collect();
    let size = PageSize::of(cx);
    let after: usize = cx.query("after").parse().unwrap_or(0);
    let rows: Vec<_> = found.iter().skip(after).take(size.0).map(|change| package_row(change)).collect();
    let next = (found.len() > after.saturating_add(size.0)).then(|| (after + size.0).to_string());
    let body = if rows.is_empty() {
        let words = match (compared.unknown.is_empty(), chosen) {
            (_, Some(_)) if !compared.packages.is_empty() => "No package went that way.",
            (true, _) => "No package differs.",
            (false, _) => "As far as they are known, no package differs.",
        };
        view! { <div class="card-body"><p class="muted">{words}</p></div> }.into_any()
    } else {
        let columns = ["Package", "Change", "Left", "Right", "Listed by"].map(Col::Text);
        let pager = (after > 0 || next.is_some()).then(|| {
            view! {
                <div class="card-body">
                    <Pager cx=cx.clone() next words=("Back", "Next") />
                </div>
            }
        });
        view! {
            <DataTable columns=columns.to_vec()>{rows}</DataTable>
            {pager}
        }
        .into_any()
    };
    let body = view! {
        {unknown(compared)}
        {(!compared.packages.is_empty()).then(|| filters(cx, compared, chosen))}
        {body}
    };
    card("Packages", Some(compared.packages.len()), body.into_any())
}

fn filters(cx: &Cx, compared: &Compared, chosen: Option<Direction>) -> AnyView {
    let all = std::iter::once(None).chain(Direction::ALL.iter().copied().map(Some));
    let links: Vec<_> = all
        .map(|direction| {
            let (value, words, count) = match direction {
                None => ("", "All", compared.packages.len()),
                Some(direction) => (direction.as_str(), direction_words(direction), compared.count(direction)),
            };
            let href = cx.with_query(&[("f", value), ("after", ""), ("trail", "")]);
            view! {
                <a class="chip" href=href aria-current=(direction == chosen).then_some("true")>
                    {format!("{words} {count}")}
                </a>
            }
        })
        .collect();
    view! {
        <nav class="card-body chips" aria-label="Which way packages went">
            {links}
        </nav>
    }
    .into_any()
}

fn unknown(compared: &Compared) -> Option<AnyView> {
    let lines: Vec<_> = compared.unknown.iter().map(|line| view! { <li class="break">{sentence(line)}</li> }).collect();
    (!lines.is_empty()).then(|| {
        view! {
            <div class="card-body">
                <div class="banner banner-warn">
                    <p>"Not all packages are known:"</p>
                    <ul class="stack gap-1">{lines}</ul>
                </div>
            </div>
        }
        .into_any()
    })
}

fn package_row(change: &PackageChange) -> AnyView {
    let tone = match change.direction {
        Direction::Up => Tone::Ok,
        Direction::Down => Tone::Warn,
        Direction::Added | Direction::Removed => Tone::Muted,
    };
    let version = |version: &Option<String>| match version {
        Some(version) => view! { <code class="break">{version.clone()}</code> }.into_any(),
        None => view! { <span class="muted">"—"</span> }.into_any(),
    };
    let layer = change.layer.map(|layer| view! { <span class="cell-sub">{format!("layer {}", layer + 1)}</span> });
    view! {
        <tr>
            <th scope="row">
                <span class="break">{change.name.clone()}</span>
            </th>
            <td data-label="Change">
                <Badge tone text=direction_words(change.direction) />
            </td>
            <td data-label="Left">{version(&change.from)}</td>
            <td data-label="Right">{version(&change.to)} {layer}</td>
            <td data-label="Listed by">{listed_by(change.kind, change.evidence)}</td>
        </tr>
    }
    .into_any()
}

fn direction_words(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "Newer",
        Direction::Down => "Older",
        Direction::Added => "Added",
        Direction::Removed => "Removed",
    }
}

/// Layers of both, those of the right image in their order first.
pub fn layer_card(pair: &Pair, compared: &Compared) -> AnyView {
    let rows: Vec<_> = compared.layers.iter().map(layer_row).collect();
    let words = format!(
        "{} shared; left {} layers, right {}.",
        compared.shared_layers(),
        pair.from.layers.len(),
        pair.to.layers.len()
    );
    let columns =
        vec![Col::Text("Layer"), Col::Text("In"), Col::Number("Left"), Col::Number("Right"), Col::Number("Size")];
    let table = (!rows.is_empty()).then(|| view! { <DataTable columns>{rows}</DataTable> });
    let body = view! {
        <div class="card-body"><p class="muted">{words}</p></div>
        {table}
    };
    card("Layers", None, body.into_any())
}

fn layer_row(it: &ComparedLayer) -> AnyView {
    let (tone, words) = match (it.from, it.to) {
        (Some(_), Some(_)) => (Tone::Ok, "Both"),
        (Some(_), None) => (Tone::Muted, "Left only"),
        _ => (Tone::Muted, "Right only"),
    };
    let place = |place: Option<usize>| place.map(|place| (place + 1).to_string());
    view! {
        <tr>
            <th scope="row">
                <DigestText digest=it.layer.layer_digest.clone() />
            </th>
            <td data-label="In">
                <Badge tone text=words />
            </td>
            <td class="num" data-label="Left">
                {place(it.from)}
            </td>
            <td class="num" data-label="Right">
                {place(it.to)}
            </td>
            <td class="num nowrap" data-label="Size">
                {size_words(it.layer.size)}
            </td>
        </tr>
    }
    .into_any()
}

fn card(heading: &'static str, count: Option<usize>, body: AnyView) -> AnyView {
    let count = count.filter(|count| *count > 0).map(|count| view! { <span class="muted">{count}</span> });
    view! {
        <section class="card">
            <div class="card-header">
                <h2>{heading} " " {count}</h2>
            </div>
            {body}
        </section>
    }
    .into_any()
}

/// The comparison in short: the verdict, what differs in how it runs, the first packages, and the way to all of it.
pub fn in_short(pair: &Pair, compared: &Compared, full: String) -> AnyView {
    let lines: Vec<_> = compared
        .settings
        .iter()
        .filter(|change| change.part != SettingPart::Label)
        .map(|change| {
            let mark = change.caution.then(|| view! { <strong>"Look: "</strong> });
            view! { <li class="break">{mark} {change.in_words()}</li> }
        })
        .collect();
    let settings = if lines.is_empty() {
        view! { <p>"How it runs does not differ: same user, command, ports and environment."</p> }.into_any()
    } else {
        view! { <ul class="stack gap-1">{lines}</ul> }.into_any()
    };
    let packages: Vec<_> = compared
        .packages
        .iter()
        .take(FEW)
        .map(|change| {
            let words = match (&change.from, &change.to) {
                (Some(from), Some(to)) => format!("{from} → {to}"),
                (from, to) => from.clone().or(to.clone()).unwrap_or_default(),
            };
            view! { <li class="break">{format!("{} {}: {words}", change.name, direction_words(change.direction).to_lowercase())}</li> }
        })
        .collect();
    let more = compared.packages.len().saturating_sub(FEW);
    let more = (more > 0).then(|| view! { <li>{format!("and {more} more")}</li> });
    let packages = (!packages.is_empty()).then(|| view! { <ul class="stack gap-1">{packages} {more}</ul> });
    view! {
        <section class="stack gap-2">
            <h2>"What changes"</h2>
            <p>
                <strong>{compared.verdict.clone()}</strong>
            </p>
            {settings}
            {packages}
            <p>
                {format!("{} of {} layers are shared. ", compared.shared_layers(), pair.to.layers.len())}
                <a href=full>"Full comparison"</a>
            </p>
        </section>
    }
    .into_any()
}
