//! Deleted tags: a stream's list of them, what the page of one says, and restoring it.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::tag::{Open, path_of};
use super::{past_stream, stream};
use crate::server::auth::Right;
use crate::server::store::DeletedTag;
use crate::ui::app::PageResult;
use crate::ui::components::{Act, Ago, AsOf, Col, DataTable, DigestText, Empty, PageSize, Pager, Who};
use crate::ui::context::Cx;
use crate::ui::form::{Fields, Router};

/// What Restore posts to.
pub fn router() -> Router {
    Router::new().route("/p/{project}/streams/{stream}/tags/{tag}/restore", post(post_restore))
}

/// `/p/:project/streams/:stream/deleted-tags`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_stream::deleted_page(cx, as_of).await;
    }
    let (project, stream) = stream::open(&cx, Right::View).await?;
    let size = PageSize::of(&cx);
    let mut tags = cx.store().list_deleted_tags(&stream.id, cx.query("after"), size.limit()).await?;
    let more = size.cut(&mut tags);
    let next = tags.last().filter(|_| more).map(|last| last.name.clone());
    let path = format!("/p/{}/streams/{}", project.name, stream.name);
    let list = if tags.is_empty() {
        view! { <Empty heading="No tag is deleted"><p>"A deleted tag will stand here with its history, and can be restored."</p></Empty> }.into_any()
    } else {
        let rows: Vec<_> = tags.into_iter().map(|tag| row(&path, project.can_edit(), tag)).collect();
        let columns = [Col::Text("Tag"), Col::Text("Pointed to"), Col::Text("Deleted"), Col::Actions];
        view! {
            <DataTable columns live="deleted-tags">{rows}</DataTable>
            <Pager cx=cx.clone() next words=("Back", "Next") />
        }
        .into_any()
    };
    let body = view! {
        <p>
            <a href=path>"Tags that are there"</a>
        </p>
        {list}
    };
    stream::laid_out(&cx, "Tags", body.into_any(), &project, &stream).await
}

fn row(stream_path: &str, can_edit: bool, tag: DeletedTag) -> AnyView {
    let path = format!("{stream_path}/tags/{}", tag.name);
    let image = match tag.digest {
        Some(digest) => {
            view! { <DigestText digest=digest.clone() href=format!("{stream_path}/images/{digest}") /> }.into_any()
        }
        None => view! { <span class="muted">"no image"</span> }.into_any(),
    };
    let restore =
        can_edit.then(|| view! { <Act action=format!("{path}/restore") label="Restore" on=tag.name.clone() /> });
    view! {
        <tr data-row=tag.id>
            <th scope="row">
                <a class="cell-main" href=path.clone()>
                    {tag.name.clone()}
                </a>
            </th>
            <td data-label="Pointed to">{image}</td>
            <td data-label="Deleted">
                <Ago at=tag.deleted_at />
                <span class="cell-sub">
                    <Who kind=tag.actor_kind name=tag.actor />
                </span>
            </td>
            <td>
                <div class="row-actions">{restore}</div>
            </td>
        </tr>
    }
    .into_any()
}

/// What a deleted tag's pages say first: since when it is gone, and the way back.
pub fn banner(open: &Open, at: i64) -> AnyView {
    let restore = open.project.can_edit().then(|| {
        let action = format!("{}/restore", open.path);
        let button = match open.not_restorable.clone() {
            Some(why) => view! { <Act action=action label="Restore" disabled=why /> }.into_any(),
            None => view! { <Act action=action label="Restore" on=open.tag.title() /> }.into_any(),
        };
        view! { <div class="banner-actions">{button}</div> }
    });
    let text = match open.not_restorable.clone() {
        Some(why) => format!("{why}."),
        None => "Pulls by its name are refused; its history and its image stay. Restore points it to the image it had."
            .to_owned(),
    };
    view! {
        <section class="banner banner-warn" aria-label="Deleted" data-live="deleted">
            <p>
                <strong>"Deleted "<Ago at /></strong>
            </p>
            <p>{text}</p>
            {restore}
        </section>
    }
    .into_any()
}

async fn post_restore(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        cx.store().restore_tag(&project.name, cx.param("stream"), cx.param("tag"), None, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
