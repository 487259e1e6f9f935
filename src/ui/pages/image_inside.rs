//! Of which image the inside is shown: an index has none of its own, so the image for one of its platforms stands for it.

use leptos::prelude::*;

use super::image::Open;
use crate::model::{Image, ImageChild, USUAL_PLATFORM};
use crate::ui::components::DigestText;
use crate::ui::context::Cx;
use crate::ui::error::UiError;

/// An image that has a configuration and layers, and for which platform it was chosen.
pub struct Inside {
    pub image: Image,
    /// Of an index: the platform that is shown, and all that are here.
    chosen: Option<String>,
    platforms: Vec<String>,
}

impl Inside {
    /// The image's own inside, or that of an index for the platform that the address asks for, else for the usual one, else for the first
    /// that is here. `None` when an index has nothing here.
    pub async fn of(
        cx: &Cx,
        image: &Image,
        children: &[ImageChild],
        left_out: &[String],
    ) -> Result<Option<Self>, UiError> {
        if children.is_empty() {
            return Ok(Some(Self { image: image.clone(), chosen: None, platforms: Vec::new() }));
        }
        let here: Vec<(String, &str)> = children
            .iter()
            .filter(|child| !left_out.contains(&child.child_digest))
            .filter_map(|child| Some((child.platform()?, child.child_digest.as_str())))
            .collect();
        let named = |name: &str| here.iter().find(|(platform, _)| platform == name);
        let platforms: Vec<_> = here.iter().map(|(platform, _)| platform.clone()).collect();
        let first = [cx.query("platform"), USUAL_PLATFORM].into_iter().find_map(named);
        for (platform, digest) in first.into_iter().chain(&here) {
            if let Some(image) = cx.store().find_image(digest).await? {
                return Ok(Some(Self { image, chosen: Some(platform.clone()), platforms }));
            }
        }
        Ok(None)
    }

    /// Says which platform is shown and offers the others; nothing for an image that is for one alone.
    pub fn chooser(&self, cx: &Cx, open: &Open) -> Option<AnyView> {
        let chosen = self.chosen.as_ref()?;
        let chip = |name: &String| {
            let href = cx.with_query(&[("platform", name)]);
            let current = (name == chosen).then_some("true");
            view! { <a class="chip" href=href aria-current=current>{name.clone()}</a> }
        };
        let chips = (self.platforms.len() > 1).then(|| {
            view! { <nav class="chips" aria-label="Platform">{self.platforms.iter().map(chip).collect_view()}</nav> }
        });
        let digest = self.image.digest.clone();
        let href = format!("/p/{}/streams/{}/images/{digest}", open.project.name, open.stream.name);
        let href = open.link(&href);
        Some(
            view! {
                <section class="card stack gap-2" id="inside">
                    <h2>{format!("Inside, for {chosen}")}</h2>
                    <p class="cluster">"What follows is of this platform's image: "<DigestText digest href /></p>
                    {chips}
                </section>
            }
            .into_any(),
        )
    }
}
