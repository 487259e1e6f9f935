//! My projects, and making one.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use crate::model::{Project, ProjectName};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AreaField, AsOf, AsOfForm, Col, DataTable, Empty, PageSize, Pager, TextField};
use crate::ui::context::Cx;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// `POST /projects/new`
pub fn router() -> Router {
    Router::new().route("/projects/new", post(post_new))
}

/// `/`, with `?as-of=` the projects that there were.
pub async fn page(cx: Cx) -> PageResult {
    let viewer = cx.viewer()?;
    let as_of = AsOf::of(&cx)?;
    let (size, after) = (PageSize::of(&cx), cx.query("after"));
    let mut projects = match &as_of {
        None => cx.store().list_projects(viewer.list_for(), after, size.limit()).await?,
        Some(as_of) => cx.store().list_projects_then(viewer.list_for(), &as_of.0, after, size.limit()).await?,
    };
    let more = size.cut(&mut projects);
    let next = projects.last().filter(|_| more).map(|last| last.name.clone());
    projects.retain(|project| viewer.may_see(&project.name));
    if let Some(as_of) = as_of {
        return Ok(past_page(cx, &as_of, projects, next));
    }
    let new = view! { <a class="btn btn-primary" href="/projects/new">"New project"</a> };
    if projects.is_empty() {
        let body = view! {
            <Empty heading="You are a member of no project yet">
                <p>"A project holds streams, builds and apps, and says who may work with them. Make one, or ask the admins of an existing project to add you."</p>
            </Empty>
        };
        return Ok(Page::new("Projects", body).actions(new));
    }
    let rows: Vec<_> = projects.into_iter().map(|project| row(project, None)).collect();
    let body = view! {
        <DataTable columns=&[Col::Text("Project"), Col::Text("Made"), Col::Text("By")] live="projects">{rows}</DataTable>
        <Pager cx next words=("Back", "Next") />
    };
    Ok(Page::new("Projects", body).actions(view! { {new} <AsOfForm /> }))
}

/// Projects that there were, of those that are there still: nobody knows who might see the others.
fn past_page(cx: Cx, as_of: &AsOf, projects: Vec<Project>, next: Option<String>) -> Page {
    let rows: Vec<_> = projects.into_iter().map(|project| row(project, Some(as_of))).collect();
    let list = match rows.is_empty() {
        true => view! { <Empty heading="There was no project"><p>"None of those that you may see now, or no more of them."</p></Empty> }.into_any(),
        false => view! { <DataTable columns=&[Col::Text("Project"), Col::Text("Made"), Col::Text("By")]>{rows}</DataTable> }.into_any(),
    };
    let body = view! {
        <p class="muted">"Of the projects that you may see now. Deleted ones are gone with all that was in them."</p>
        {list}
        <Pager cx=cx.clone() next words=("Back", "Next") />
    };
    Page::new("Projects", body).past(&cx, as_of)
}

fn row(project: Project, as_of: Option<&AsOf>) -> impl IntoView + use<> {
    let href = AsOf::keep(as_of, &format!("/p/{}", project.name));
    let about = match (project.display_name.as_str(), project.description.as_str()) {
        ("", "") => None,
        (name, "") => Some(name.to_owned()),
        ("", about) => Some(about.to_owned()),
        (name, about) => Some(format!("{name}: {about}")),
    };
    view! {
        <tr data-row=project.id.clone()>
            <th scope="row">
                <a class="cell-main" href=href>
                    {project.name.clone()}
                </a>
                {about.map(|about| view! { <span class="cell-sub">{about}</span> })}
            </th>
            <td data-label="Made">
                <Ago at=project.created_at />
            </td>
            <td data-label="By">{project.created_by}</td>
        </tr>
    }
}

/// `/projects/new`
pub async fn new_page(cx: Cx) -> PageResult {
    cx.viewer()?;
    let body = view! {
        <form class="card stack" method="post">
            <TextField
                name="name"
                label="Name"
                required=true
                autofocus=true
                maxlength=63
                hint="Lower-case letters, digits and dashes. It is the first part of every repository's name and cannot be changed."
            />
            <TextField name="display_name" label="Title" hint="How people call it, if that is not its name." />
            <AreaField name="description" label="Description" rows=2 />
            <div class="form-actions">
                <a class="btn" href="/">"Cancel"</a>
                <button class="btn btn-primary">"Make project"</button>
            </div>
        </form>
    };
    Ok(Page::new("New project", body).crumb("Projects", "/").narrow())
}

async fn post_new(cx: Cx, fields: Fields) -> Response {
    cx.submit(&fields, "/projects/new", async {
        let owner = cx.viewer()?.user.as_ref().map(|user| user.id.as_str());
        let name: ProjectName = fields.parse("name")?;
        let (title, about) = (fields.get("display_name"), fields.get("description"));
        cx.store().create_project(&name, title, about, owner, &cx.actor()?).await?;
        Ok(format!("/p/{name}"))
    })
    .await
}
