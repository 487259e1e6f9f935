//! An image: what it is, how it runs, the layers it is made of, and which tags point or pointed to it.

use leptos::prelude::*;

use super::image_inside::Inside;
use super::image_parts::{base_card, history, instruction};
use super::{packages, past_image, stream};
use crate::model::{DigestPrefix, Image, ImageChild, ImageConfig, ImageLayer, Platforms, Stream};
use crate::server::auth::Right;
use crate::server::packages::sounds_secret;
use crate::server::store::ImageTag;
use crate::ui::app::PageResult;
use crate::ui::components::{Ago, AsOf, Badge, Col, CopyText, DataTable, DigestText, Tone, short_digest, size_words};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::shell::{Page, Section, Tab};

/// An image as the address names it, and where it is.
pub struct Open {
    pub project: InProject,
    pub stream: Stream,
    pub digest: String,
    /// `None` when only its digest is known any more.
    pub image: Option<Image>,
    /// `/p/<project>/streams/<stream>/images/<digest>`
    pub path: String,
    /// The moment at which the stream had it, which links keep. The image is the same at any.
    pub as_of: Option<AsOf>,
}

impl Open {
    /// An address at the same moment.
    pub fn link(&self, path: &str) -> String {
        AsOf::keep(self.as_of.as_ref(), path)
    }
}

/// The image of the path; the first digits of the digest do, when no other of its images begins so.
pub async fn open(cx: &Cx) -> Result<Open, UiError> {
    let (project, stream) = stream::open(cx, Right::View).await?;
    let typed = cx.param("digest");
    let missing = || UiError::NotFound { what: format!("Image {typed} of stream {}", stream.name) };
    let id: DigestPrefix = typed.parse().map_err(|_| missing())?;
    let as_of = AsOf::of(cx)?;
    let digest = match &as_of {
        None => cx.store().find_stream_digest(&stream, &id).await?.ok_or_else(missing)?,
        Some(as_of) => past_image::digest_of(cx, &stream, &id, as_of).await?,
    };
    let image = cx.store().find_image(&digest).await?;
    let path = format!("/p/{}/streams/{}/images/{digest}", project.name, stream.name);
    Ok(Open { project, stream, digest, image, path, as_of })
}

/// A page of the image's: its head, its tabs, and `body`.
pub fn laid_out(cx: &Cx, open: &Open, tab: &'static str, body: AnyView, packages: Option<usize>) -> PageResult {
    let Open { project, stream, digest, path, as_of, .. } = open;
    let stream_path = format!("/p/{}/streams/{}", project.name, stream.name);
    let point = (project.can_edit() && as_of.is_none()).then(|| {
        view! {
            <a class="btn btn-primary" href=format!("{stream_path}/add-tag?image={digest}")>
                "Point a tag here…"
            </a>
        }
    });
    let actions = view! {
        {point}
        <a class="btn" href=open.link(&format!("{stream_path}/compare?from={digest}"))>
            "Compare…"
        </a>
    };
    let list = Tab::new("Packages", open.link(&format!("{path}/packages")), tab == "Packages");
    let list = match packages.and_then(|count| i64::try_from(count).ok()) {
        Some(count) => list.count(count),
        None => list,
    };
    let page = Page::new(short_digest(digest), body)
        .kind("image")
        .within(project, Section::Streams)
        .crumb("Streams", open.link(&format!("/p/{}/streams", project.name)))
        .crumb(stream.name.clone(), open.link(&stream_path))
        .meta(view! { <DigestText digest=digest.clone() /> })
        .actions(actions)
        .tabs(vec![Tab::new("Image", open.link(path), tab == "Image"), list]);
    Ok(match as_of {
        Some(as_of) => page.past(cx, as_of),
        None => page,
    })
}

/// `/p/:project/streams/:stream/images/:digest`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_image::page(cx, as_of).await;
    }
    let open = open(&cx).await?;
    let pointing = cx.store().list_image_tags(&open.stream.id, &open.digest).await?;
    let stream_path = format!("/p/{}/streams/{}", open.project.name, open.stream.name);
    let tags = tags(&stream_path, &open.stream.name, &pointing);
    let (body, count) = match &open.image {
        None => (not_stored(tags), None),
        Some(image) => content(&cx, &open, image, tags).await?,
    };
    laid_out(&cx, &open, "Image", body, count)
}

/// What is told of an image of which nothing is here.
pub fn not_stored(tags: AnyView) -> AnyView {
    view! {
        <div class="banner banner-warn">
            <p>"Its bytes are not stored here. The history remembers that tags pointed to it; it cannot be pulled or rolled back to."</p>
        </div>
        {tags}
    }
    .into_any()
}

/// All that is known of an image, and how many packages it has; `tags` says which point to it.
pub async fn content(cx: &Cx, open: &Open, image: &Image, tags: AnyView) -> Result<(AnyView, Option<usize>), UiError> {
    let Open { project, stream, digest, .. } = open;
    let store = cx.store();
    let stream_path = format!("/p/{}/streams/{}", project.name, stream.name);
    let pull = format!("{}/{}@{digest}", cx.settings().registry_host(), stream.repository());
    let children = store.list_children(digest).await?;
    let left_out = store.list_left_out(&stream.id, digest).await?;
    let inside = Inside::of(cx, image, &children, &left_out).await?;
    let chooser = inside.as_ref().and_then(|inside| inside.chooser(cx, open));
    let is_index = !children.is_empty();
    let inside = inside.map(|inside| inside.image);
    let count = match is_index {
        true => None,
        false => Some(cx.views().packages(store, &stream.id, digest).await?.packages.len()),
    };
    let body = view! {
        {facts(image, inside.as_ref(), &pull)}
        {tags}
        {is_index.then(|| platforms(open, children, &left_out))}
        {chooser}
        {match &inside {
            Some(image) => Some(inside_of(cx, open, image, &stream_path).await?),
            None => None,
        }}
        {is_index.then(|| annotations(image, &ImageConfig::default()))}
    };
    Ok((body.into_any(), count))
}

/// What an image is built on, how it runs, and what it is made of.
async fn inside_of(cx: &Cx, open: &Open, image: &Image, stream_path: &str) -> Result<AnyView, UiError> {
    let (store, stream) = (cx.store(), &open.stream);
    let config: ImageConfig =
        image.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let layers = store.list_layers(&image.digest).await?;
    let packages = cx.views().packages(store, &stream.id, &image.digest).await?;
    let viewer = cx.viewer()?;
    let scope = viewer.scope();
    let mut base = store.find_base(scope, &cx.settings().own_hosts(), stream, image).await?;
    if let (Some(base), true) = (&mut base, open.as_of.is_some()) {
        // How far behind it is, is a question of now.
        base.behind = None;
    }
    let history = history(&config, &layers);
    let path = format!("{stream_path}/images/{}", image.digest);
    let view = view! {
        {base_card(base, open.as_of.as_ref())}
        {image.config.is_some().then(|| runs(&config))}
        {(!layers.is_empty()).then(|| layer_table(&config, layers))}
        {history}
        {(packages.layers > 0).then(|| packages::section(open, &path, &packages))}
        {annotations(image, &config)}
    };
    Ok(view.into_any())
}

/// `inside` has the labels that tell where it comes from: the image itself, or an index's for one platform.
fn facts(image: &Image, inside: Option<&Image>, pull: &str) -> AnyView {
    let annotations: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&image.annotations).unwrap_or_default();
    let config: Option<ImageConfig> =
        inside.and_then(|image| image.config.as_deref()).and_then(|text| serde_json::from_str(text).ok());
    let label = |name: &str| {
        annotations
            .get(name)
            .cloned()
            .or_else(|| config.as_ref().and_then(|config| config.config.labels.get(name).cloned()))
    };
    let text = |name: &'static str, value: Option<String>| value.map(|value| view! { <dt>{name}</dt><dd>{value}</dd> });
    let platform = image.os.clone().zip(image.architecture.clone()).map(|(os, architecture)| {
        let variant = image.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{os}/{architecture}{variant}")
    });
    view! {
        <section class="card">
            <h2>"Facts"</h2>
            <dl class="facts">
                <dt>"Pull"</dt>
                <dd>
                    <CopyText text=pull.to_owned() />
                </dd>
                <dt>"Media type"</dt>
                <dd>
                    <code>{image.media_type.clone()}</code>
                </dd>
                {text("Artifact type", image.artifact_type.clone())}
                {text("Platform", platform)}
                <dt>"Size"</dt>
                <dd>{size_words(image.size)}</dd>
                <dt>"First seen here"</dt>
                <dd>
                    <Ago at=image.first_seen_at />
                </dd>
                {text("Created, as it says", image.created_claimed.clone())}
                {text("Source", label("org.opencontainers.image.source"))}
                {text("Revision", label("org.opencontainers.image.revision"))}
                {text("Version", label("org.opencontainers.image.version"))}
            </dl>
        </section>
    }
    .into_any()
}

fn tags(stream_path: &str, stream: &str, pointing: &[ImageTag]) -> AnyView {
    let rows: Vec<_> = pointing
        .iter()
        .map(|at| {
            let (tone, words) =
                if at.current == 1 { (Tone::Ok, "Points here now") } else { (Tone::Muted, "Pointed here") };
            view! {
                <li class="cluster">
                    <a href=format!("{stream_path}/tags/{}", at.tag)>{format!("{stream}:{}", at.tag)}</a>
                    <Badge tone text=words />
                    <span class="muted small">{format!("#{} ", at.number)}<Ago at=at.at /></span>
                </li>
            }
        })
        .collect();
    view! {
        <section class="card" data-live="tags">
            <h2>"Tags"</h2>
            {if rows.is_empty() {
                view! { <p class="muted">"No tag points or pointed to it; it is served by its digest, or belongs to an image for several platforms."</p> }.into_any()
            } else {
                view! { <ul class="stack gap-2">{rows}</ul> }.into_any()
            }}
        </section>
    }
    .into_any()
}

fn platforms(open: &Open, children: Vec<ImageChild>, left_out: &[String]) -> AnyView {
    let chosen = Platforms::of(&open.stream.annotations).unwrap_or_default();
    let rows: Vec<_> = children
        .into_iter()
        .map(|child| {
            let is_chosen = chosen.cover(
                child.os.as_deref().unwrap_or_default(),
                child.architecture.as_deref().unwrap_or_default(),
                child.variant.as_deref(),
            );
            let platform = match (child.os, child.architecture, child.variant) {
                (Some(os), Some(architecture), Some(variant)) => format!("{os}/{architecture}/{variant}"),
                (Some(os), Some(architecture), None) => format!("{os}/{architecture}"),
                _ => "—".to_owned(),
            };
            let digest = child.child_digest;
            let image = match left_out.contains(&digest) {
                true => {
                    let words = match is_chosen {
                        true => "still in the other registry: it is being brought, or tried again",
                        false => "left in the other registry: it is fetched when somebody pulls it",
                    };
                    view! { <DigestText digest /><span class="cell-sub">{words}</span> }.into_any()
                }
                false => {
                    let href = format!("/p/{}/streams/{}/images/{digest}", open.project.name, open.stream.name);
                    let href = open.link(&href);
                    view! { <DigestText digest href /> }.into_any()
                }
            };
            view! {
                <tr>
                    <th scope="row">{platform}</th>
                    <td data-label="Image">{image}</td>
                    <td data-label="Manifest" class="num">
                        {size_words(child.size)}
                    </td>
                </tr>
            }
        })
        .collect();
    view! {
        <section class="card">
            <div class="card-header">
                <h2>"Platforms"</h2>
            </div>
            <DataTable columns=&[Col::Text("Platform"), Col::Text("Image"), Col::Number("Manifest")]>{rows}</DataTable>
        </section>
    }
    .into_any()
}

fn runs(config: &ImageConfig) -> AnyView {
    let run = &config.config;
    let words = |words: &[String]| if words.is_empty() { None } else { Some(words.join(" ")) };
    let fact = |name: &'static str, value: Option<String>| {
        value.map(|value| view! { <dt>{name}</dt><dd><code>{value}</code></dd> })
    };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let env: Vec<_> = run
        .env
        .iter()
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if sounds_secret(name) && !value.is_empty() {
                view! { <li><code>{name.to_owned()}"="</code><span class="muted">"hidden: its name sounds like a secret"</span></li> }.into_any()
            } else {
                view! { <li><code>{pair.clone()}</code></li> }.into_any()
            }
        })
        .collect();
    let user = some(&run.user).unwrap_or_else(|| "root (not set)".to_owned());
    view! {
        <section class="card">
            <h2>"How it runs"</h2>
            <dl class="facts">
                {fact("Entrypoint", words(&run.entrypoint))}
                {fact("Command", words(&run.cmd))}
                <dt>"User"</dt>
                <dd>{user}</dd>
                {fact("Working directory", some(&run.working_dir))}
                {fact("Ports", words(&run.exposed_ports))}
                {fact("Volumes", words(&run.volumes))}
                {fact("Stop signal", some(&run.stop_signal))}
                <dt>"Environment"</dt>
                <dd>{if env.is_empty() { "none".into_any() } else { view! { <ul class="stack gap-1">{env}</ul> }.into_any() }}</dd>
            </dl>
        </section>
    }
    .into_any()
}

fn layer_table(config: &ImageConfig, layers: Vec<ImageLayer>) -> AnyView {
    let steps = config.layer_steps(layers.len());
    let rows: Vec<_> = layers
        .into_iter()
        .zip(&steps.of_layers)
        .enumerate()
        .map(|(number, (layer, step))| {
            let made = step.and_then(|step| config.history.get(step)).map(|step| instruction(&step.created_by));
            let made = made.map_or_else(
                || view! { <span class="muted">"not recorded"</span> }.into_any(),
                |made| view! { <code class="break">{made}</code> }.into_any(),
            );
            view! {
                <tr>
                    <th scope="row" class="num" data-label="#">
                        {number + 1}
                    </th>
                    <td data-label="Made by">{made}</td>
                    <td data-label="Layer">
                        <DigestText digest=layer.layer_digest />
                    </td>
                    <td data-label="Size" class="num nowrap">
                        {size_words(layer.size)}
                    </td>
                </tr>
            }
        })
        .collect();
    view! {
        <section class="card">
            <div class="card-header">
                <h2>"Layers"</h2>
            </div>
            {steps
                .guessed
                .then(|| {
                    view! {
                        <p>
                            "The image’s history tells of fewer layers than there are: it is taken for that of the upper ones."
                        </p>
                    }
                })}
            <DataTable columns=&[Col::Number("#"), Col::Text("Made by"), Col::Text("Layer"), Col::Number("Size")]>{rows}</DataTable>
        </section>
    }
    .into_any()
}

fn annotations(image: &Image, config: &ImageConfig) -> Option<AnyView> {
    let annotations: std::collections::BTreeMap<String, String> =
        serde_json::from_str(&image.annotations).unwrap_or_default();
    let rows = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(name, value)| view! { <dt><code>{name}</code></dt><dd class="break">{value}</dd> })
            .collect_view()
    };
    let labels: Vec<_> = config.config.labels.clone().into_iter().collect();
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let section = |heading: &'static str, pairs: Vec<(String, String)>| {
        (!pairs.is_empty()).then(|| {
            view! {
                <section class="card">
                    <h2>{heading}</h2>
                    <dl class="facts">{rows(pairs)}</dl>
                </section>
            }
        })
    };
    Some(view! { {section("Labels", labels)} {section("Annotations", annotations.into_iter().collect())} }.into_any())
}
