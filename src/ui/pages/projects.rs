//! My projects, and making one.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use crate::model::{Project, ProjectName};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AreaField, Col, DataTable, Empty, PageSize, Pager, TextField};
use crate::ui::context::Cx;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::Page;

/// `POST /projects/new`
pub fn router() -> Router {
    Router::new().route("/projects/new", post(post_new))
}

/// `/`
pub async fn page(cx: Cx) -> PageResult {
    let viewer = cx.viewer()?;
    let size = PageSize::of(&cx);
    let mut projects = cx.store().list_projects(viewer.list_for(), cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut projects);
    let next = projects.last().filter(|_| more).map(|last| last.name.clone());
    projects.retain(|project| viewer.may_see(&project.name));
    let new = view! { <a class="btn btn-primary" href="/projects/new">"New project"</a> };
    if projects.is_empty() {
        let body = view! {
            <Empty heading="You are a member of no project yet">
                <p>"A project holds streams, builds and apps, and says who may work with them. Make one, or ask the admins of an existing project to add you."</p>
            </Empty>
        };
        return Ok(Page::new("Projects", body).actions(new));
    }
    let rows: Vec<_> = projects.into_iter().map(row).collect();
    let body = view! {
        <DataTable columns=&[Col::Text("Project"), Col::Text("Made"), Col::Text("By")] live="projects">{rows}</DataTable>
        <Pager cx next words=("Back", "Next") />
    };
    Ok(Page::new("Projects", body).actions(new))
}

fn row(project: Project) -> impl IntoView {
    let about = match (project.display_name.as_str(), project.description.as_str()) {
        ("", "") => None,
        (name, "") => Some(name.to_owned()),
        ("", about) => Some(about.to_owned()),
        (name, about) => Some(format!("{name}: {about}")),
    };
    view! {
        <tr data-row=project.id.clone()>
            <th scope="row">
                <a class="cell-main" href=format!("/p/{}", project.name)>
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
