//! Who uses a tag, and deleting it, which says who does.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::past_users;
use super::sight::Sight;
use super::stream::stream_tag;
use super::tag::{laid_out, open, path_of};
use crate::server::auth::Right;
use crate::ui::app::PageResult;
use crate::ui::components::{AsOf, Badge, Col, DataTable, DigestText, Empty, Tone, size_words};
use crate::ui::context::Cx;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section};

/// What deleting posts to.
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/tags/{tag}/delete", post(post_delete))
}

/// `/p/:project/streams/:stream/tags/:tag/used-by`
pub async fn used_by_page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_users::tag_users_page(cx, as_of).await;
    }
    let open = open(&cx, Right::View).await?;
    let of = stream_tag(&open.project.name, &open.stream.name, &open.tag.name);
    let configs = cx.store().list_configs_using(&of).await?;
    let apps = cx.store().list_apps_using(&open.tag.id).await?;
    let followers = cx.store().list_followers(&open.tag.id).await?;
    let now = open.tag.digest.clone();
    let mut sight = Sight::of(&cx, &open.project.name);
    let mut rows = Vec::new();
    for config in configs {
        if !sight.reaches(&config.project).await {
            continue;
        }
        let inputs = cx.store().list_inputs(&config.id).await?;
        let used = inputs
            .into_iter()
            .find(|input| input.input_stream.as_deref() == Some(&of.stream))
            .and_then(|input| input.used_digest);
        let href = format!("/p/{}/builds/{}", config.project, config.name);
        rows.push(user_row("build", href, config.name, used, now.as_deref()));
    }
    for app in apps {
        if !sight.reaches(&app.project).await {
            continue;
        }
        let href = format!("/p/{}/apps/{}", app.project, app.name);
        rows.push(user_row("app", href, app.name, app.wanted_digest, now.as_deref()));
    }
    for tag in followers {
        if !sight.reaches(&tag.project).await {
            continue;
        }
        let href = format!("/p/{}/streams/{}/tags/{}", tag.project, tag.stream, tag.name);
        rows.push(user_row("tag that follows", href, tag.title(), tag.digest, now.as_deref()));
    }
    let body = if rows.is_empty() && sight.hidden == 0 {
        view! { <Empty heading="Nothing uses this tag"><p>"Builds that take it in, apps that run it and tags that follow it will stand here."</p></Empty> }.into_any()
    } else {
        view! {
            <DataTable columns=&[Col::Text("Name"), Col::Text("What"), Col::Text("Has"), Col::Text("State")] live="users">{rows}</DataTable>
            {sight.in_words().map(|hidden| view! { <p class="muted">{hidden}</p> })}
        }
        .into_any()
    };
    laid_out(&cx, &open, "Used by", body)
}

fn user_row(what: &'static str, href: String, name: String, has: Option<String>, newest: Option<&str>) -> AnyView {
    let state = match (&has, newest) {
        (Some(has), Some(newest)) if has == newest => view! { <Badge tone=Tone::Ok text="On current" /> },
        (Some(_), Some(_)) => view! { <Badge tone=Tone::Warn text="Behind" /> },
        _ => view! { <Badge tone=Tone::Muted text="Not yet" /> },
    };
    view! {
        <tr>
            <th scope="row">
                <a class="cell-main" href=href>{name}</a>
            </th>
            <td data-label="What">{what}</td>
            <td data-label="Has">{has.map(|digest| view! { <DigestText digest /> })}</td>
            <td data-label="State">{state}</td>
        </tr>
    }
    .into_any()
}

/// `/p/:project/streams/:stream/tags/:tag/delete`
pub async fn delete_page(cx: Cx) -> PageResult {
    let open = open(&cx, Right::Edit).await?;
    let of = stream_tag(&open.project.name, &open.stream.name, &open.tag.name);
    let configs = cx.store().list_configs_using(&of).await?;
    let apps = cx.store().list_apps_using(&open.tag.id).await?;
    let mut sight = Sight::of(&cx, &open.project.name);
    let mut names = Vec::new();
    let builds = configs.iter().map(|config| (&config.project, format!("build {}", config.name)));
    for (project, name) in builds.chain(apps.iter().map(|app| (&app.project, format!("app {}", app.name)))) {
        if sight.reaches(project).await {
            names.push(name);
        }
    }
    names.extend(sight.in_words());
    let used = match names.as_slice() {
        [] => "No build takes it in and no app runs it.".to_owned(),
        names => format!("In use by {}.", names.join(", ")),
    };
    let size = match &open.tag.digest {
        Some(digest) => cx.store().find_image(digest).await?.map(|image| size_words(image.size)),
        None => None,
    };
    let source = open.tag.source.clone();
    let body = view! {
        <form class="dialog" method="post">
            <p>{used}</p>
            <p>
                "The image stays"{size.map(|size| format!(" ({size})"))}
                ", and so does the tag's history: Restore on the tag's page, a push or an import brings the tag back. Pulls by this tag's name stop at once."
            </p>
            {source.map(|source| view! { <p>"Its source, "<code>{source}</code>", ends for good: Restore brings back the image, not the source."</p> })}
            <div class="form-actions">
                <a class="btn" href=open.path.clone()>
                    "Cancel"
                </a>
                <button class="btn btn-danger">"Delete tag"</button>
            </div>
        </form>
    };
    let stream_path = format!("/p/{}/streams/{}", open.project.name, open.stream.name);
    Ok(Page::new(format!("Delete {}?", open.tag.title()), body)
        .kind("tag")
        .within(&open.project, Section::Streams)
        .crumb(open.stream.name.clone(), stream_path)
        .crumb(open.tag.name.clone(), open.path.clone())
        .narrow())
}

async fn post_delete(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &format!("{path}/delete"), async {
        let project = cx.project(Right::Edit).await?;
        let (stream, tag, actor) = (cx.param("stream"), cx.param("tag"), cx.actor()?);
        match project.can_admin() {
            true => cx.store().delete_tag_as_admin(&project.name, stream, tag, &actor).await?,
            false => cx.store().delete_tag(&project.name, stream, tag, &actor).await?,
        }
        Ok(format!("/p/{}/streams/{}", project.name, cx.param("stream")))
    })
    .await
}
