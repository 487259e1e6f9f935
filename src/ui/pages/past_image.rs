//! An image as a stream had it at a moment: the image itself never changes; which tags pointed to it and which apps were to run it does.

use leptos::prelude::*;

use super::image::{self, Open, content, laid_out, not_stored};
use super::past::{in_stream, stream_tabs};
use super::past_users::apps;
use crate::model::{DigestPrefix, Stream};
use crate::server::auth::Right;
use crate::server::store::{ImageTag, StreamThen};
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, DigestText, Tone, short_digest};
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::shell::Page;

/// `/p/:project/streams/:stream/images/:digest?as-of=`
pub async fn page(cx: Cx, as_of: AsOf) -> PageResult {
    let project = cx.project(Right::View).await?;
    let (store, typed) = (cx.store(), cx.param("digest"));
    let then = store.stream_then(&project.id, cx.param("stream"), &as_of.0).await?;
    let missing = || UiError::NotFound { what: format!("Image {typed} of stream {} at {}", then.name, as_of.0.words) };
    let id: DigestPrefix = typed.parse().map_err(|_| missing())?;
    let digest = store.find_stream_digest_then(&then, &id, &as_of.0).await?.ok_or_else(missing)?;
    let pointing = store.list_image_tags_then(&then, &digest, &as_of.0).await?;
    let apps = apps(&cx, &as_of, &project, ("", &digest)).await?;
    let path = format!("/p/{}/streams/{}", project.name, then.name);
    let around = view! {
        {tags(&path, &as_of, &then.name, &pointing)}
        <section class="stack gap-2">
            <h2>"Apps that were to run it"</h2>
            {apps}
        </section>
    }
    .into_any();
    if store.serves(&then, &digest).await? {
        let open: Open = image::open(&cx).await?;
        if let Some(image) = &open.image {
            let (body, count) = content(&cx, &open, image, around).await?;
            return laid_out(&cx, &open, "Image", body, count);
        }
        return laid_out(&cx, &open, "Image", not_stored(around), None);
    }
    let page = Page::new(short_digest(&digest), not_stored(around)).kind("image").past(&cx, &as_of);
    let page = page.meta(view! { <DigestText digest /> }).tabs(stream_tabs(&path, &as_of, ""));
    Ok(in_stream(page, &project, &as_of).crumb(then.name.clone(), as_of.link(&path)))
}

fn tags(path: &str, as_of: &AsOf, stream: &str, pointing: &[ImageTag]) -> AnyView {
    let rows: Vec<_> = pointing
        .iter()
        .map(|at| {
            let (tone, words) =
                if at.current == 1 { (Tone::Ok, "Pointed here then") } else { (Tone::Muted, "Had pointed here") };
            view! {
                <li class="cluster">
                    <a href=as_of.link(&format!("{path}/tags/{}", at.tag))>{format!("{stream}:{}", at.tag)}</a>
                    <Badge tone text=words />
                    <span class="muted small">{format!("#{} ", at.number)}<Ago at=at.at /></span>
                </li>
            }
        })
        .collect();
    view! {
        <section class="card">
            <h2>"Tags"</h2>
            {if rows.is_empty() {
                view! { <p class="muted">"No tag had pointed to it; it was served by its digest, or belongs to an image for several platforms."</p> }.into_any()
            } else {
                view! { <ul class="stack gap-2">{rows}</ul> }.into_any()
            }}
        </section>
    }
    .into_any()
}

/// The stream as it was at a moment. Where another one had its name then, that one's images are gone with it.
pub async fn same_stream_then(cx: &Cx, stream: &Stream, as_of: &AsOf) -> Result<StreamThen, UiError> {
    let then = cx.store().stream_then(&stream.project_id, &stream.name, &as_of.0).await?;
    if then.id != stream.id {
        let what = format!("The images of the stream {} that was there at {}", stream.name, as_of.0.words);
        return Err(UiError::NotFound { what });
    }
    Ok(then)
}

/// The one image whose digest begins so that the stream had at a moment.
pub async fn digest_of(cx: &Cx, stream: &Stream, id: &DigestPrefix, as_of: &AsOf) -> Result<String, UiError> {
    let then = same_stream_then(cx, stream, as_of).await?;
    let what = format!("Image {id} of stream {} at {}", stream.name, as_of.0.words);
    cx.store().find_stream_digest_then(&then, id, &as_of.0).await?.ok_or(UiError::NotFound { what })
}
