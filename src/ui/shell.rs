//! The frame around every page: top bar, navigation, header, tabs; and what a page hands over to be framed.

use leptos::prelude::*;

use super::components::{AsOf, Icon, LookMenu};
use super::context::Cx;
use super::error::{UiError, ask};
use super::islands::{CopyButtons, LiveStatus, RelativeTimes};
use super::pages::freezes;
use crate::model::Project;

/// The navigation's entries, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Overview,
    Streams,
    Builds,
    Apps,
    Graph,
    Cascades,
    Imports,
    Activity,
    Settings,
}

impl Section {
    const ALL: [Self; 9] = [
        Self::Overview,
        Self::Streams,
        Self::Builds,
        Self::Apps,
        Self::Graph,
        Self::Cascades,
        Self::Imports,
        Self::Activity,
        Self::Settings,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Streams => "Streams",
            Self::Builds => "Builds",
            Self::Apps => "Apps",
            Self::Graph => "Graph",
            Self::Cascades => "Cascades",
            Self::Imports => "Imports",
            Self::Activity => "Activity",
            Self::Settings => "Settings",
        }
    }

    fn path(self, project: &str) -> String {
        match self {
            Self::Overview => format!("/p/{project}"),
            section => format!("/p/{project}/{}", section.name().to_lowercase()),
        }
    }

    fn icon(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Streams => "stream",
            Self::Builds => "build",
            Self::Apps => "app",
            Self::Graph => "graph",
            Self::Cascades => "cascade",
            Self::Imports => "import",
            Self::Activity => "activity",
            Self::Settings => "settings",
        }
    }
}

/// A tab of an object's page.
pub struct Tab {
    pub name: &'static str,
    pub href: String,
    pub current: bool,
    pub count: Option<i64>,
}

impl Tab {
    /// A tab without a count.
    pub fn new(name: &'static str, href: impl Into<String>, current: bool) -> Self {
        Self { name, href: href.into(), current, count: None }
    }

    /// With how many things are in it.
    pub fn count(self, count: i64) -> Self {
        Self { count: Some(count), ..self }
    }
}

/// What a page's function hands over. Build one with [`Page::new`] and what it needs of the rest.
pub struct Page {
    heading: String,
    kind: Option<&'static str>,
    project: Option<Project>,
    section: Option<Section>,
    crumbs: Vec<(String, String)>,
    beside: Option<AnyView>,
    meta: Option<AnyView>,
    actions: Option<AnyView>,
    banners: Vec<AnyView>,
    tabs: Vec<Tab>,
    body: AnyView,
    narrow: bool,
    framed: bool,
    past: Option<AsOf>,
}

impl Page {
    /// A page whose heading (its `h1`) is `heading`.
    pub fn new(heading: impl Into<String>, body: impl IntoView + 'static) -> Self {
        Self {
            heading: heading.into(),
            kind: None,
            project: None,
            section: None,
            crumbs: Vec::new(),
            beside: None,
            meta: None,
            actions: None,
            banners: Vec::new(),
            tabs: Vec::new(),
            body: body.into_any(),
            narrow: false,
            framed: true,
            past: None,
        }
    }

    /// A page that brings its own heading: refusals.
    pub fn bare(title: impl Into<String>, body: impl IntoView + 'static) -> Self {
        Self { heading: String::new(), kind: None, ..Self::new("", body) }.crumb(title, "")
    }

    /// A page without top bar and navigation: sign-in.
    pub fn alone(title: impl Into<String>, body: impl IntoView + 'static) -> Self {
        Self { framed: false, ..Self::new(title, body) }
    }

    /// What kind of object it shows, for the title: `stream`, `tag`, `build`.
    pub fn kind(self, kind: &'static str) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// The project it belongs to and its place in the navigation.
    pub fn within(self, project: &Project, section: Section) -> Self {
        Self { project: Some(project.clone()), section: Some(section), ..self }
    }

    /// A step of the breadcrumb, from the outermost on.
    pub fn crumb(mut self, name: impl Into<String>, href: impl Into<String>) -> Self {
        self.crumbs.push((name.into(), href.into()));
        self
    }

    /// Badges beside the heading.
    pub fn beside(self, view: impl IntoView + 'static) -> Self {
        Self { beside: Some(view.into_any()), ..self }
    }

    /// The line below the heading: digest, description, pull reference.
    pub fn meta(self, view: impl IntoView + 'static) -> Self {
        Self { meta: Some(view.into_any()), ..self }
    }

    /// The buttons at the top right; the primary one first.
    pub fn actions(self, view: impl IntoView + 'static) -> Self {
        Self { actions: Some(view.into_any()), ..self }
    }

    /// A banner between header and tabs.
    pub fn banner(mut self, view: impl IntoView + 'static) -> Self {
        self.banners.push(view.into_any());
        self
    }

    /// The object's tabs.
    pub fn tabs(self, tabs: Vec<Tab>) -> Self {
        Self { tabs, ..self }
    }

    /// A page of one column of forms or text.
    pub fn narrow(self) -> Self {
        Self { narrow: true, ..self }
    }

    /// A page of how things were at a moment.
    pub fn past(self, cx: &Cx, as_of: &AsOf) -> Self {
        Self { past: Some(as_of.clone()), ..self.banner(as_of.banner(cx)) }
    }

    /// `object — kind — project — Weir`
    pub fn title(&self) -> String {
        let heading = if self.heading.is_empty() {
            self.crumbs.last().map(|(name, _)| name.clone())
        } else {
            Some(self.heading.clone())
        };
        let project = self.project.as_ref().map(|project| project.name.clone());
        let parts = [heading, self.kind.map(str::to_owned), project, Some("Weir".to_owned())];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" — ")
    }
}

/// Puts the page into the console's frame.
pub async fn frame(cx: &Cx, page: Page) -> AnyView {
    let refusal = cx.form.message().map(|message| {
        view! {
            <div class="banner banner-fail" role="alert">
                <strong>"Not done"</strong>
                <p>{message.to_owned()}</p>
            </div>
        }
    });
    if !page.framed {
        return view! {
            <main class="sign-in" id="content" tabindex="-1">
                {page.body}
            </main>
            <RelativeTimes />
            <CopyButtons />
        }
        .into_any();
    }
    let past = page.past.as_ref();
    let bar = top_bar(cx, page.project.as_ref(), page.section, past).await;
    let side = page
        .project
        .as_ref()
        .map(|project| view! { <aside class="sidenav">{navigation(project, page.section, past)}</aside> });
    let layout = if side.is_some() { "layout" } else { "" };
    let events = page.project.as_ref().map(|project| format!("/events?project={}", project.name));
    // Whoever asked for the past must not take the present for it.
    let only_now = (past.is_none() && !page.heading.is_empty() && !AsOf::text(cx).is_empty()).then(|| {
        view! {
            <p class="strip strip-warn" role="status">
                "This page knows no past: it shows how things are now. Projects, streams, tags, images, builds, apps, cascades, freezes and the activity can be seen as they were."
            </p>
        }
    });
    let freeze = match page.project.as_ref().filter(|_| past.is_none()) {
        Some(project) => Some(freezes::strip(cx, project).await),
        None => None,
    };
    let header = header(page.heading, page.crumbs, page.beside, page.meta, page.actions);
    view! {
        <a class="skip-link" href="#content">"Skip to content"</a>
        {bar}
        {events.map(|url| view! { <LiveStatus url /> })}
        <div class=layout>
            {side} <main class=if page.narrow { "content content-narrow" } else { "content" } id="content" tabindex="-1">
                {only_now} {freeze} {header} {refusal} {page.banners} {tabs(page.tabs)} {page.body}
            </main>
        </div>
        <RelativeTimes />
        <CopyButtons />
    }
    .into_any()
}

fn header(
    heading: String,
    crumbs: Vec<(String, String)>,
    beside: Option<AnyView>,
    meta: Option<AnyView>,
    actions: Option<AnyView>,
) -> Option<AnyView> {
    if heading.is_empty() {
        return None;
    }
    let crumbs: Vec<_> = crumbs.into_iter().map(|(name, href)| view! { <li><a href=href>{name}</a></li> }).collect();
    let trail =
        (!crumbs.is_empty()).then(|| view! { <nav class="breadcrumb" aria-label="Breadcrumb"><ol>{crumbs}</ol></nav> });
    Some(
        view! {
            <header class="page-header">
                <div class="page-title">
                    {trail} <h1>{heading} {beside.map(|view| view! { " " {view} })}</h1>
                    {meta.map(|meta| view! { <div class="page-meta">{meta}</div> })}
                </div>
                {actions.map(|actions| view! { <div class="page-actions">{actions}</div> })}
            </header>
        }
        .into_any(),
    )
}

fn tabs(tabs: Vec<Tab>) -> Option<AnyView> {
    if tabs.is_empty() {
        return None;
    }
    let tabs: Vec<_> = tabs
        .into_iter()
        .map(|tab| {
            view! {
                <a href=tab.href aria-current=tab.current.then_some("page")>
                    {tab.name}
                    {tab.count.map(|count| view! { " " <span class="count">{count}</span> })}
                </a>
            }
        })
        .collect();
    Some(view! { <nav class="tabs" aria-label="Views">{tabs}</nav> }.into_any())
}

/// The ways to a project's sections, at the moment that is looked back at.
fn navigation(project: &Project, current: Option<Section>, past: Option<&AsOf>) -> impl IntoView + use<> {
    let entry = |section: Section| {
        view! {
            <a href=AsOf::keep(past, &section.path(&project.name)) aria-current=(current == Some(section)).then_some("page")>
                <Icon name=section.icon() />
                <span>{section.name()}</span>
            </a>
        }
    };
    let (work, settings): (Vec<_>, Vec<_>) =
        Section::ALL.into_iter().partition(|section| *section != Section::Settings);
    let work: Vec<_> = work.into_iter().map(entry).collect();
    let settings: Vec<_> = settings.into_iter().map(entry).collect();
    view! {
        <nav class="nav" aria-label="Project">
            {work}
            <hr />
            {settings}
        </nav>
    }
}

async fn top_bar(cx: &Cx, project: Option<&Project>, section: Option<Section>, past: Option<&AsOf>) -> AnyView {
    let viewer = cx.find_viewer().cloned();
    let projects = match &viewer {
        Some(viewer) => {
            // The switcher is a help, not the list: a page still shows when this fails.
            cx.store().list_projects(viewer.list_for(), "", 20).await.unwrap_or_default()
        }
        None => Vec::new(),
    };
    let switcher = viewer.as_ref().map(|_| switcher(&projects, project, past));
    let search = viewer.as_ref().map(|_| {
        view! {
            <form class="topbar-search" action="/search" method="get" role="search">
                {past.map(AsOf::hidden)}
                <input type="search" name="q" placeholder="Search streams, tags, digests…" aria-label="Search everything" value=search_text(cx) />
            </form>
        }
    });
    let user = viewer.map(|viewer| {
        view! {
            <details class="menu">
                <summary class="btn btn-small">
                    <Icon name="person" />
                    {viewer.name().to_owned()}
                </summary>
                <div class="menu-items">
                    <LookMenu look=cx.look />
                    <hr />
                    <a href="/tokens">"Your tokens"</a>
                    <form method="post" action="/logout">
                        <button>"Sign out"</button>
                    </form>
                </div>
            </details>
        }
    });
    let drawer = project.map(|project| {
        view! {
            <details class="nav-drawer">
                <summary aria-label="Menu">
                    <Icon name="menu" />
                </summary>
                {navigation(project, section, past)}
            </details>
        }
    });
    view! {
        <header class="topbar">
            {drawer} <a class="brand" href="/" aria-label="Weir: your projects">
                <img src=crate::server::assets::path("favicon.svg") alt="" width="24" height="24" />
                <span>"Weir"</span>
            </a> {switcher} {search} <div class="topbar-actions">{user}</div>
        </header>
    }
    .into_any()
}

fn search_text(cx: &Cx) -> String {
    if cx.path() == "/search" { cx.query("q").to_owned() } else { String::new() }
}

fn switcher(projects: &[Project], current: Option<&Project>, past: Option<&AsOf>) -> AnyView {
    let links: Vec<_> = projects
        .iter()
        .map(|project| {
            let here = current.is_some_and(|current| current.id == project.id);
            view! {
                <a href=AsOf::keep(past, &format!("/p/{}", project.name)) aria-current=here.then_some("true")>
                    {project.name.clone()}
                </a>
            }
        })
        .collect();
    let name = current.map_or_else(|| "Projects".to_owned(), |project| project.name.clone());
    view! {
        <details class="menu topbar-project">
            <summary class="btn btn-small">
                <span class="visually-hidden">"Project: "</span>
                <span class="truncate">{name}</span>
            </summary>
            <div class="menu-items menu-items-start">
                {links} <hr /> <a href=AsOf::keep(past, "/")>"All projects"</a>
            </div>
        </details>
    }
    .into_any()
}

/// A page that says what is wrong, what to do, and who can help.
#[component]
pub fn ErrorPage(error: UiError, request_id: String) -> impl IntoView {
    let heading = match &error {
        UiError::NotFound { .. } => "Not found",
        UiError::Forbidden { .. } => "You have no right to this",
        UiError::Conflict(_) => "It changed meanwhile",
        UiError::TooMany(_) => "Too many tries",
        UiError::Outage(_) => "Not at the moment",
        UiError::Internal(_) => "The server failed",
        _ => "Not possible",
    };
    let advice = match &error {
        UiError::NotFound { .. } => {
            "It may have been deleted or renamed, or it belongs to a project that you are no member of. A project's admins can add you.".to_owned()
        }
        UiError::Forbidden { owners, .. } => format!("{} Members and their roles are on the project's settings page.", ask(owners)),
        _ => "Go back and try again.".to_owned(),
    };
    view! {
        <div class="empty">
            <h1>{heading}</h1>
            <p>{error.message(&request_id)}</p>
            <p class="muted">{advice}</p>
            <p>
                <a class="btn" href="/">"Your projects"</a>
            </p>
            <p class="small muted">"Request " <code>{request_id.clone()}</code></p>
        </div>
    }
}
