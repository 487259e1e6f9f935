//! What an import would bring, below the forms of a tag.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;

use super::stream::open;
use super::tag_add::read;
use crate::model::{DigestPrefix, ImageChild, Tag, size_words};
use crate::server::auth::Right;
use crate::server::importer::{Fetched, ImportError};
use crate::ui::components::DigestText;
use crate::ui::context::Cx;
use crate::ui::error::UiError;
use crate::ui::form::{Fields, FormState};

/// What was tried: travels to the page of the same answer.
#[derive(Clone)]
struct Tried {
    reference: String,
    fetched: Arc<Fetched>,
    standing: &'static str,
}

/// Answers with the page itself: the forms as they were typed, and below them what the import would bring.
pub async fn answer(cx: &Cx, fields: &Fields, here: &str, tag: Option<&Tag>) -> Response {
    match look(cx, fields, tag).await {
        Ok(tried) => cx.with_extension(tried).render(here, FormState::of(fields), StatusCode::OK).await,
        Err(error) => cx.refuse(fields, here, &error).await,
    }
}

async fn look(cx: &Cx, fields: &Fields, tag: Option<&Tag>) -> Result<Tried, UiError> {
    let (_, stream) = open(cx, Right::Edit).await?;
    let (spec, _) = read(fields, tag)?;
    let looked = cx.state.app.importer.try_import(&stream, tag, &spec, &cx.actor()?).await;
    let fetched = looked.map_err(|error| match error {
        ImportError::Store(error) => error.into(),
        ImportError::Crowded => UiError::TooMany(error.to_string()),
        error => UiError::field("reference", error.to_string()),
    })?;
    let digest = &fetched.image.digest;
    let is_there = tag.is_some_and(|tag| tag.digest.as_ref() == Some(digest));
    let prefix: DigestPrefix =
        digest.parse().map_err(|error| UiError::field("reference", format!("{digest}: {error}")))?;
    let in_stream = cx.store().find_stream_digest(&stream, &prefix).await?;
    let standing = match (is_there, in_stream) {
        (true, _) => "The tag has this image already.",
        (false, Some(_)) => "The stream has this image already.",
        (false, None) => "This image is new to the stream.",
    };
    Ok(Tried { reference: fields.get("reference").to_owned(), fetched: Arc::new(fetched), standing })
}

/// What was tried, below the forms.
pub fn below(cx: &Cx) -> Option<AnyView> {
    let Tried { reference, fetched, standing } = cx.parts.extensions.get::<Tried>().cloned()?;
    let image = &fetched.image;
    let names = |left_out: bool| {
        let children = image.children.iter();
        let children = children.filter(|child| image.left_out.contains(&child.child_digest) == left_out);
        children.filter_map(ImageChild::platform).collect::<Vec<_>>().join(", ")
    };
    let platforms = if image.children.is_empty() { image.platform().unwrap_or_default() } else { names(false) };
    let size = size_words(i64::try_from(fetched.bytes()).unwrap_or(i64::MAX));
    let facts = [
        ("Platforms", Some(platforms)),
        ("Left out, as the stream chose", Some(names(true))),
        ("To fetch at the most", Some(size)),
    ];
    let facts: Vec<_> = facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)))
        .map(|(name, value)| view! { <dt>{name}</dt><dd class="break">{value}</dd> })
        .collect();
    let digest = image.digest.clone();
    let section = view! {
        <section class="card stack content-narrow" role="status" id="tried">
            <h2>"What this import would bring"</h2>
            <p class="break"><code>{reference}</code>" means "<DigestText digest />" now. "{standing}" Nothing was kept."</p>
            <dl class="facts">{facts}</dl>
        </section>
    };
    Some(section.into_any())
}
