//! Parts of an image's page: what it is built on, and all the steps that made it.

use leptos::prelude::*;

use crate::model::{Base, ImageConfig, ImageLayer};
use crate::ui::components::{AsOf, Badge, Col, DataTable, DigestText, Tone, size_words};

/// A longer text is no time (RFC 3339, to the nanosecond and with an offset), whatever the image says, and may be broken.
const LONGEST_TIME: usize = 35;

/// What the image is built on, how that is known, and how far behind it is. Links keep the moment that is looked back at.
pub fn base_card(base: Option<Base>, as_of: Option<&AsOf>) -> AnyView {
    let facts = match base {
        None => view! { <p class="muted">"Not known: no build of this server made it, it says nothing of it, and no image here has its lowest layers."</p> }.into_any(),
        Some(base) => {
            let name = base.name.clone().unwrap_or_else(|| "not named".to_owned());
            let name = match &base.tag {
                Some(tag) => {
                    let href = format!("/p/{}/streams/{}/tags/{}", tag.project, tag.stream, tag.tag);
                    view! { <a href=AsOf::keep(as_of, &href)>{name}</a> }.into_any()
                }
                None => view! { <code class="break">{name}</code> }.into_any(),
            };
            let behind = base.behind.map(|behind| match behind {
                0 => view! { <Badge tone=Tone::Ok text="The newest" /> }.into_any(),
                1 => view! { <Badge tone=Tone::Warn text="Behind by 1" /> }.into_any(),
                n => view! { <Badge tone=Tone::Warn text=format!("Behind by {n}") /> }.into_any(),
            });
            let digest = base.digest.clone().map(|digest| view! { <dt>"Its digest"</dt><dd><DigestText digest /></dd> });
            view! {
                <dl class="facts">
                    <dt>"Image"</dt>
                    <dd>{name}" "{behind}</dd>
                    {digest}
                    <dt>"How known"</dt>
                    <dd>{base.known.words()}</dd>
                </dl>
            }
            .into_any()
        }
    };
    view! {
        <section class="card">
            <h2>"Built on"</h2>
            {facts}
        </section>
    }
    .into_any()
}

/// The instruction as its author wrote it, without the shell that old builders put around it.
pub fn instruction(text: &str) -> String {
    let text = text.trim();
    match text.strip_prefix("/bin/sh -c #(nop)") {
        Some(rest) => rest.trim().to_owned(),
        None => text.strip_prefix("/bin/sh -c ").map_or_else(|| text.to_owned(), |run| format!("RUN {run}")),
    }
}

/// Every step, oldest first; those that made no layer, too.
pub fn history(config: &ImageConfig, layers: &[ImageLayer]) -> Option<AnyView> {
    if config.history.is_empty() {
        return None;
    }
    let made = config.layer_steps(layers.len()).of_steps(config.history.len());
    let rows: Vec<_> = config
        .history
        .iter()
        .zip(made)
        .enumerate()
        .map(|(number, (step, made))| {
            let size = match made.and_then(|made| layers.get(made)) {
                Some(layer) => size_words(layer.size),
                None if step.empty_layer => "none".to_owned(),
                None => "unknown".to_owned(),
            };
            let comment = Some(step.comment.clone()).filter(|comment| !comment.is_empty());
            let is_time = step.created.as_ref().is_some_and(|when| when.len() <= LONGEST_TIME);
            view! {
                <tr>
                    <th scope="row" class="num" data-label="#">
                        {number + 1}
                    </th>
                    <td data-label="Step">
                        <code class="break">{instruction(&step.created_by)}</code>
                        {comment.map(|comment| view! { <span class="cell-sub break">{comment}</span> })}
                    </td>
                    <td data-label="When" class:nowrap=is_time>
                        {step.created.clone()}
                    </td>
                    <td data-label="Layer" class="num nowrap">
                        {size}
                    </td>
                </tr>
            }
        })
        .collect();
    let view = view! {
        <section class="card">
            <div class="card-header">
                <h2>"History"</h2>
            </div>
            <DataTable columns=&[Col::Number("#"), Col::Text("Step"), Col::Text("When, as it says"), Col::Number("Layer")]>
                {rows}
            </DataTable>
        </section>
    };
    Some(view.into_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_instructions_as_they_were_written() {
        assert_eq!(instruction("/bin/sh -c #(nop) CMD [\"sh\"]"), "CMD [\"sh\"]");
        assert_eq!(instruction("/bin/sh -c apk add curl"), "RUN apk add curl");
        assert_eq!(instruction("COPY a b # buildkit"), "COPY a b # buildkit");
    }
}
