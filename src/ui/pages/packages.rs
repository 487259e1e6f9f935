//! The packages of an image: searched and paged on the server, each with the layer that brought it.

use leptos::prelude::*;

use super::image::{self, Open};
use crate::model::{Evidence, ImagePackage, ImagePackages, PackageKind};
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, Col, DataTable, DigestText, Empty, PageSize, Pager};
use crate::ui::context::Cx;

/// How many packages stand on the image's own page.
const FIRST: usize = 10;

/// `/p/:project/streams/:stream/images/:digest/packages?q=`
pub async fn page(cx: Cx) -> PageResult {
    let open = image::open(&cx).await?;
    let packages = cx.views().packages(cx.store(), &open.stream.id, &open.digest).await?;
    let children = cx.store().list_children(&open.digest).await?;
    let total = packages.packages.len();
    let found: Vec<&ImagePackage> = packages.search(cx.query("q")).collect();
    let size = PageSize::of(&cx);
    let after: usize = cx.query("after").parse().unwrap_or(0);
    let shown = found.iter().skip(after).take(size.0).copied();
    let next = (found.len() > after.saturating_add(size.0)).then(|| (after + size.0).to_string());
    let why_none = why_none(&packages, open.image.is_some(), !children.is_empty());
    let looked = format!("Looked for “{}” in names, versions, sources and kinds of {total} packages.", cx.query("q"));
    let (everything, count) = (
        open.link(cx.path()),
        match cx.query("q").trim() {
            "" => summary(&packages),
            _ => format!("{} of {total} packages", found.len()),
        },
    );
    let list = match (total, found.is_empty()) {
        (0, _) => view! {
            <Empty heading="No packages are known">
                <p>{why_none}</p>
            </Empty>
        }
        .into_any(),
        (_, true) => view! {
            <Empty heading="No package fits">
                <p>{looked}</p>
                <p>
                    <a class="btn" href=everything>
                        "Clear search"
                    </a>
                </p>
            </Empty>
        }
        .into_any(),
        (_, false) => view! {
            <p class="muted">{count}</p>
            {table(shown)}
            <Pager cx=cx.clone() next words=("Back", "Next") />
        }
        .into_any(),
    };
    let body = view! {
        {(total > 0).then(|| search(&open, &open.path, cx.query("q")))}
        <div class="stack" data-live="packages">
            {notes(&packages)}
            {list}
        </div>
    };
    image::laid_out(&cx, &open, "Packages", body.into_any(), Some(total))
}

/// The section on the image's own page: how many there are, the first of them, and where the others are.
pub fn section(open: &Open, path: &str, packages: &ImagePackages) -> AnyView {
    let total = packages.packages.len();
    let body = if total == 0 {
        view! { <div class="card-body"><p class="muted">{why_none(packages, true, false)}</p></div> }.into_any()
    } else {
        let more = (total > FIRST).then(|| {
            view! {
                <p>
                    <a href=open.link(&format!("{path}/packages"))>{format!("All {total} packages")}</a>
                </p>
            }
        });
        view! {
            <div class="card-body stack gap-2">{search(open, path, "")} <p class="muted">{summary(packages)}</p></div>
            {table(packages.packages.iter().take(FIRST))}
            <div class="card-body">{more}</div>
        }
        .into_any()
    };
    view! {
        <section class="card" data-live="packages">
            <div class="card-header">
                <h2>"Packages"</h2>
            </div>
            {notes(packages)}
            {body}
        </section>
    }
    .into_any()
}

fn search(open: &Open, path: &str, text: &str) -> AnyView {
    view! {
        <form class="toolbar" method="get" action=format!("{path}/packages") role="search">
            {open.as_of.as_ref().map(AsOf::hidden)}
            <input
                type="search"
                name="q"
                value=text.to_owned()
                placeholder="Name, version, source…"
                aria-label="Search packages by name, version, source or kind"
            />
            <button class="btn">"Search"</button>
        </form>
    }
    .into_any()
}

/// `412 packages: 400 of dpkg, 12 of Python`
fn summary(packages: &ImagePackages) -> String {
    let counts = PackageKind::ALL.iter().map(|kind| (kind_words(*kind), packages.count(*kind)));
    let counts: Vec<String> =
        counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} of {name}")).collect();
    let total = packages.packages.len();
    let locked = match packages.locked() {
        0 => String::new(),
        locked if locked == total => "; all known from lock files, which say what was meant to be installed".to_owned(),
        locked => format!("; {locked} of them known from lock files only, which say what was meant to be installed"),
    };
    format!("{total} package{}: {}{locked}", if total == 1 { "" } else { "s" }, counts.join(", "))
}

/// What is not known, and why.
fn notes(packages: &ImagePackages) -> AnyView {
    let waiting = match packages.waiting {
        0 => None,
        1 => Some("1 layer is still to be read; its packages will stand here in a moment.".to_owned()),
        many => Some(format!("{many} layers are still to be read; their packages will stand here in a moment.")),
    };
    let waiting = waiting.map(|words| view! { <div class="banner"><p>{words}</p></div> });
    let problems = (!packages.problems.is_empty()).then(|| {
        let lines: Vec<_> =
            packages.problems.iter().map(|problem| view! { <li class="break">{sentence(problem)}</li> }).collect();
        view! {
            <div class="banner banner-warn">
                <p>"The list is not whole:"</p>
                <ul class="stack gap-1">{lines}</ul>
            </div>
        }
    });
    view! { {waiting} {problems} }.into_any()
}

/// With a capital letter, unless it begins with a path, and a full stop.
pub fn sentence(text: &str) -> String {
    let is_path = text.split(' ').next().is_some_and(|word| word.contains('/'));
    let mut chars = text.chars();
    match chars.next().filter(|_| !is_path) {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => format!("{text}."),
    }
}

fn why_none(packages: &ImagePackages, is_stored: bool, is_index: bool) -> &'static str {
    match (packages.waiting, packages.problems.is_empty()) {
        _ if !is_stored => "The image is not stored here any more.",
        _ if is_index => "It is for several platforms, and each has packages of its own: open one of them.",
        (1.., _) => "Its layers are read in the background.",
        (_, false) => "What could be read of its layers lists none.",
        (0, true) => {
            "None of its layers has a list of packages: of dpkg, apk or rpm, of Python's or of Node's; and none has the lock file of an application. Programs that are one file with all they need in it have no such list."
        }
    }
}

fn table<'a>(packages: impl Iterator<Item = &'a ImagePackage>) -> AnyView {
    let rows: Vec<_> = packages
        .map(|it| {
            let source =
                it.package.source.clone().map(|source| view! { <span class="cell-sub">"from "{source}</span> });
            let digest = it.layer_digest.clone();
            view! {
                <tr>
                    <th scope="row">
                        <span class="break">{it.package.name.clone()}</span>
                        {source}
                    </th>
                    <td data-label="Version">
                        <code class="break">{it.package.version.clone()}</code>
                    </td>
                    <td data-label="Architecture">{it.package.architecture.clone()}</td>
                    <td data-label="Listed by">
                        {listed_by(it.kind, it.evidence)} <span class="cell-sub break">{it.path.clone()}</span>
                    </td>
                    <td data-label="Layer">
                        <span class="cluster gap-x-2 gap-y-0">{format!("{} ", it.layer + 1)}<DigestText digest /></span>
                    </td>
                </tr>
            }
        })
        .collect();
    let columns = ["Package", "Version", "Architecture", "Listed by", "Layer"].map(Col::Text);
    view! { <DataTable columns=columns.to_vec()>{rows}</DataTable> }.into_any()
}

/// Who keeps the list, and what sort of list it is where that is not what was installed.
pub fn listed_by(kind: PackageKind, evidence: Evidence) -> AnyView {
    let note = match evidence {
        Evidence::Installed => None,
        Evidence::LockFile => Some(", lock file"),
        Evidence::FileName => Some(", file name"),
    };
    view! { {kind_words(kind)} {note.map(|note| view! { <span class="muted">{note}</span> })} }.into_any()
}

/// Who keeps the list.
fn kind_words(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Dpkg => "dpkg",
        PackageKind::Apk => "apk",
        PackageKind::Rpm => "rpm",
        PackageKind::Python => "Python",
        PackageKind::Npm => "npm",
        PackageKind::Gem => "RubyGems",
        PackageKind::Composer => "Composer",
        PackageKind::Cargo => "Cargo",
        PackageKind::Go => "Go",
        PackageKind::Java => "Java",
    }
}
