//! The images that no automation may put on a tag: which, since when and why, and the way out of it.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::tag::{Open, check_reason, path_of};
use crate::model::{Digest, RejectedDigest};
use crate::server::auth::Right;
use crate::ui::components::{Act, Ago, Col, DataTable, DigestText, TextField, short_digest};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};

/// `POST …/reject` and `…/allow`
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/tags/{tag}/reject", post(post_reject))
        .route("/p/{project}/streams/{stream}/tags/{tag}/allow", post(post_allow))
}

/// The list, with a form for those who may add to it.
pub fn card(open: &Open) -> AnyView {
    let rows: Vec<_> = open.rejected.iter().map(|rejected| row(open, rejected)).collect();
    let list = match rows.is_empty() {
        true => view! { <p class="card-body muted">"No image is rejected: automations may put any on this tag."</p> }
            .into_any(),
        false => {
            let columns: Vec<_> =
                ["Image", "Rejected", "Why"].map(Col::Text).into_iter().chain([Col::Actions]).collect();
            view! { <DataTable columns live="rejected">{rows}</DataTable> }.into_any()
        }
    };
    let form = open.project.can_edit().then(|| {
        view! {
            <form class="card-body cluster items-end" method="post" action=format!("{}/reject", open.path)>
                <TextField name="digest" label="Reject an image" placeholder="sha256:…" autocomplete="off" />
                <TextField name="reject_reason" label="Reason" maxlength=300 />
                <button class="btn">"Reject"</button>
            </form>
        }
    });
    view! {
        <section class="card" data-live="rejections">
            <div class="card-header">
                <h2>"Rejected images"</h2>
            </div>
            {list}
            {form}
        </section>
    }
    .into_any()
}

fn row(open: &Open, rejected: &RejectedDigest) -> AnyView {
    let href = format!("/p/{}/streams/{}/images/{}", open.project.name, open.stream.name, rejected.digest);
    let allow = open.project.can_edit().then(|| {
        let fields = vec![("digest", rejected.digest.clone())];
        let on = short_digest(&rejected.digest);
        view! { <Act action=format!("{}/allow", open.path) label="Allow again" class="btn-small" fields on /> }
    });
    view! {
        <tr>
            <td data-label="Image">
                <DigestText digest=rejected.digest.clone() href />
            </td>
            <td data-label="Rejected">
                <Ago at=rejected.since />
                <span class="cell-sub">{format!("by {}", rejected.actor)}</span>
            </td>
            <td data-label="Why">{rejected.reason.clone()}</td>
            <td>
                <div class="row-actions">{allow}</div>
            </td>
        </tr>
    }
    .into_any()
}

fn digest_of(fields: &Fields) -> Result<Digest, UiError> {
    fields.required("digest", "Write the image's digest")?;
    fields.parse("digest")
}

async fn post_reject(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let (digest, reason) = (digest_of(&fields)?, fields.some("reject_reason"));
        check_reason("reject_reason", reason.unwrap_or_default())?;
        let (stream, tag, actor) = (cx.param("stream"), cx.param("tag"), cx.actor()?);
        cx.store().reject_image(&project.name, stream, tag, &digest, reason, &actor).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_allow(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let digest = digest_of(&fields)?;
        cx.store().allow_image(&project.name, cx.param("stream"), cx.param("tag"), &digest, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
