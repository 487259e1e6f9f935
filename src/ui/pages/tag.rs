//! A tag: what it points to, its whole history with a way back on every row; and what its buttons post to.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use super::cool_down;
use super::history::{HistoryTable, RowPlace};
use super::hold_end::until_form;
use super::imports::{NOT_SCHEDULED, copy_badge, next_check};
use super::past_tag;
use super::resolution;
use super::tag_rejected;
use super::tags_deleted;
use super::usage::traffic_words;
use crate::model::{Cascade, Hold, Lookup, RejectedDigest, Stream, Tag, TagEvent, TagImport, Traffic, now};
use crate::server::auth::Right;
use crate::server::store::ImmutableTags;
use crate::ui::app::PageResult;
use crate::ui::components::{
    Act, Ago, AsOf, AsOfForm, Badge, CopyText, DigestText, Empty, More, PageSize, Pager, Tone,
};
use crate::ui::context::{Cx, InProject};
use crate::ui::error::UiError;
use crate::ui::form::{Fields, Router};
use crate::ui::shell::{Page, Section, Tab};

/// What the tag's buttons post to; rolling back is in `tag_rollback`.
pub fn router() -> Router {
    Router::new()
        .route("/p/{project}/streams/{stream}/tags/{tag}/hold", post(post_hold))
        .route("/p/{project}/streams/{stream}/tags/{tag}/resume", post(post_resume))
        .route("/p/{project}/streams/{stream}/tags/{tag}/check", post(post_check))
        .route("/p/{project}/streams/{stream}/tags/{tag}/explain", post(post_explain))
        .route("/p/{project}/streams/{stream}/tags/{tag}/undo", post(post_undo))
}

/// A tag and all that its pages say about its state.
pub struct Open {
    pub project: InProject,
    pub stream: Stream,
    pub tag: Tag,
    pub path: String,
    hold: Option<Hold>,
    /// The rollback that made the hold.
    cascade: Option<Cascade>,
    waiting: Option<TagEvent>,
    import: Option<TagImport>,
    pub rejected: Vec<RejectedDigest>,
    /// The pattern of the stream's rules that makes it immutable.
    pub immutable: Option<String>,
    /// Why a deleted tag cannot be restored.
    pub not_restorable: Option<String>,
}

impl Open {
    /// Whether the reader may move or delete the tag: an immutable one is for admins.
    pub fn may_move(&self) -> bool {
        if self.immutable.is_some() { self.project.can_admin() } else { self.project.can_edit() }
    }

    /// Digests that no automation may put back on the tag.
    pub fn rejected_digests(&self) -> Vec<String> {
        self.rejected.iter().map(|rejected| rejected.digest.clone()).collect()
    }

    /// Whether no automation may put this image back on the tag.
    pub fn is_rejected(&self, digest: &str) -> bool {
        self.rejected.iter().any(|rejected| rejected.digest == digest)
    }
}

/// The tag of the path; a deleted one too, since its history stays.
pub async fn open(cx: &Cx, right: Right) -> Result<Open, UiError> {
    let project = cx.project(right).await?;
    let store = cx.store();
    let stream = store.stream(&project.name, cx.param("stream")).await?;
    let name = cx.param("tag");
    let missing = || UiError::not_found("Tag", &format!("{}:{name}", stream.name));
    let tag = store.find_tag(&project.name, &stream.name, name).await?.ok_or_else(missing)?;
    let path = path_of(cx);
    let hold = store.tag_hold(&tag.id).await?;
    let cascade = match hold.as_ref().and_then(|hold| hold.cascade_id.as_deref()) {
        Some(id) => store.find_cascade(id).await?,
        None => None,
    };
    let waiting = if hold.is_some() { store.tag_waiting(&tag.id).await? } else { None };
    let import = store.find_import(&tag.id).await?;
    let rejected = store.list_rejected(&tag.id).await?;
    let immutable = ImmutableTags::read(&stream.immutable_tags)?.pattern_for(&tag.name).map(str::to_owned);
    let not_restorable = if tag.deleted_at.is_some() { store.why_not_restorable(&tag).await? } else { None };
    Ok(Open { project, stream, tag, path, hold, cascade, waiting, import, rejected, immutable, not_restorable })
}

/// `/p/<project>/streams/<stream>/tags/<tag>` of the request.
pub fn path_of(cx: &Cx) -> String {
    format!("/p/{}/streams/{}/tags/{}", cx.param("project"), cx.param("stream"), cx.param("tag"))
}

/// A page of the tag's: its head, its banners, its tabs, and `body`.
pub fn laid_out(cx: &Cx, open: &Open, tab: &'static str, body: AnyView) -> PageResult {
    let Open { project, stream, tag, path, .. } = open;
    let stream_path = format!("/p/{}/streams/{}", project.name, stream.name);
    let pull = format!("{}/{}:{}", cx.settings().registry_host(), stream.repository(), tag.name);
    let digest = tag.digest.clone().map(|digest| {
        let href = format!("{stream_path}/images/{digest}");
        view! {
            <DigestText digest href />
            {tag.moved_at.map(|at| view! { <span>"moved "<Ago at /></span> })}
        }
    });
    let badge = view! {
        {open.hold.as_ref().map(|_| view! { <Badge tone=Tone::Held text="Held" /> })}
        {open.immutable.as_ref().map(|_| view! { <Badge tone=Tone::Muted text="Immutable" /> })}
        {tag.deleted_at.map(|_| view! { <Badge tone=Tone::Muted text="Deleted" /> })}
        {open.import.as_ref().and_then(|import| copy_badge(tag, import))}
    };
    let mut page = Page::new(tag.title(), body)
        .kind("tag")
        .within(project, Section::Streams)
        .crumb("Streams", format!("/p/{}/streams", project.name))
        .crumb(stream.name.clone(), stream_path)
        .beside(badge)
        .meta(view! { {digest} <CopyText text=pull /> })
        .tabs(vec![
            Tab::new("History", path.clone(), tab == "History"),
            Tab::new("Used by", format!("{path}/used-by"), tab == "Used by"),
        ]);
    if project.can_edit() && tag.deleted_at.is_none() {
        page = page.actions(buttons(open));
    }
    if let Some(at) = tag.deleted_at {
        page = page.banner(tags_deleted::banner(open, at));
    }
    if let Some(hold) = &open.hold {
        page = page.banner(held_banner(open, hold));
    }
    if let Some(import) = open.import.as_ref().filter(|import| import.failing_since.is_some()) {
        page = page.banner(failing_banner(open, import));
    }
    if let Some(waits) = open.import.as_ref().and_then(|import| cool_down::banner(project, path, tag, import)) {
        page = page.banner(waits);
    }
    Ok(page)
}

fn buttons(open: &Open) -> impl IntoView + use<> {
    let path = &open.path;
    let check =
        open.import.as_ref().map(|_| view! { <Act action=format!("{path}/check") label="Check now" class="" /> });
    let hold = match open.hold {
        Some(_) => view! { <Act action=format!("{path}/resume") label="Resume" class="" /> },
        None => view! { <Act action=format!("{path}/hold") label="Hold" class="" /> },
    };
    let (title, edit, delete) = (open.tag.title(), format!("{path}/edit"), format!("{path}/delete"));
    let compare = open.tag.digest.as_ref().map(|digest| {
        let stream = format!("/p/{}/streams/{}", open.project.name, open.stream.name);
        view! { <a href=format!("{stream}/compare?to={digest}&tag={}", open.tag.name)>"Compare…"</a> }
    });
    let back = open.may_move().then(|| {
        view! {
            <a class="btn btn-primary" href=format!("{path}/rollback")>
                "Roll back…"
            </a>
        }
    });
    let delete = open.may_move().then(|| {
        view! {
            <hr />
            <a class="danger" href=delete>
                "Delete…"
            </a>
        }
    });
    view! {
        {back}
        {check}
        {hold}
        <More on=title>
            {compare}
            <a href=edit>"Change source…"</a>
            {delete}
        </More>
    }
}

/// Who holds it since when and why, what waits; and while it is a rollback's hold, what the rollback did and the way out of it.
fn held_banner(open: &Open, hold: &Hold) -> AnyView {
    let path = &open.path;
    let waits = match &open.waiting {
        Some(event) => {
            let what = match event.digest.clone() {
                Some(digest) => {
                    let href = format!("/p/{}/streams/{}/images/{digest}", open.project.name, open.stream.name);
                    view! { <DigestText digest href /> }.into_any()
                }
                // What it follows only names an image, and none waits.
                None => view! { <code>{event.reference.clone()}</code> }.into_any(),
            };
            view! {
                <p>
                    "1 newer waiting: "{what}{format!(" ({} by {}, ", event.kind, event.actor)}
                    <Ago at=event.at />"). Resume applies it."
                </p>
            }
            .into_any()
        }
        None => {
            let until = hold.until().words();
            view! { <p>"Nothing newer waits. Imports, pushes, builds and followed tags do not move it "{until}"."</p> }
                .into_any()
        }
    };
    let rejected = match open.rejected.len() {
        0 => None,
        1 => Some("1 image is marked rejected on this tag: no automation brings it back.".to_owned()),
        count => Some(format!("{count} images are marked rejected on this tag: no automation brings them back.")),
    };
    let rejected = rejected.map(|rejected| view! { <p>{rejected}</p> });
    let reason = hold.reason.clone().map(|reason| view! { <p>"Reason: "{reason}</p> });
    let actions = open.project.can_edit().then(|| {
        let undo = open
            .cascade
            .as_ref()
            .map(|_| view! { <Act action=format!("{path}/undo") label="Undo" class="btn-small" on="the rollback" /> });
        view! {
            <div class="banner-actions">
                {undo} <Act action=format!("{path}/resume") label="Resume" />
                {hold.reason.is_none().then(|| explain(path))}
                {until_form(path, hold)}
            </div>
        }
    });
    let cascade = open.cascade.as_ref().map(|cascade| {
        let href = format!("/p/{}/cascades/{}", open.project.name, cascade.number);
        view! { ": "<a href=href>{format!("cascade {}, {}", cascade.number, cascade.title)}</a> }
    });
    view! {
        <section class="banner banner-held" aria-label="Held" data-live="hold">
            <p>
                <strong>{format!("Held by {} ", hold.actor)}<Ago at=hold.since /></strong>
                {cascade}
            </p>
            {reason}
            {rejected}
            {waits}
            {actions}
        </section>
    }
    .into_any()
}

fn explain(path: &str) -> AnyView {
    view! {
        <form class="cluster" method="post" action=format!("{path}/explain")>
            <input class="input w-64" name="reason" maxlength="300" placeholder="Why?" aria-label="Reason" required />
            <button class="btn btn-small">"Add a reason"</button>
        </form>
    }
    .into_any()
}

fn failing_banner(open: &Open, import: &TagImport) -> AnyView {
    let source = open.tag.source.clone().unwrap_or_default();
    let still = match open.tag.digest {
        Some(_) => "The tag still points to the last good image, and pulls work.",
        None => "It has no image yet.",
    };
    let reason = import.reason.clone().unwrap_or_else(|| "failed".to_owned());
    view! {
        <section class="banner banner-fail" aria-label="Import" data-live="import">
            <p>
                <strong>
                    {if open.tag.digest.is_none() { "Never imported" } else { "The import fails" }}": "
                    <code>{source}</code>
                    {format!(" ({reason}) since ")}
                    {import.failing_since.map(|at| view! { <Ago at /> })}
                </strong>
            </p>
            {import.message.clone().map(|message| view! { <p>{message}</p> })}
            <p>
                {still}" Last try "{import.last_try_at.map(|at| view! { <Ago at /> })}
                {import.next_at.map(|at| view! { ", next "<Ago at /> })}"."
            </p>
        </section>
    }
    .into_any()
}

/// `/p/:project/streams/:stream/tags/:tag` and `/history`
pub async fn page(cx: Cx) -> PageResult {
    if let Some(as_of) = AsOf::of(&cx)? {
        return past_tag::page(cx, as_of).await;
    }
    let open = open(&cx, Right::View).await?;
    let size = PageSize::of(&cx);
    let before = cx.query("after").parse().ok();
    let mut events = cx.store().list_history(&open.tag.id, before, size.limit()).await?;
    let more = size.cut(&mut events);
    let next = events.last().filter(|_| more).map(|last| last.number.to_string());
    let place = RowPlace {
        project_path: format!("/p/{}", open.project.name),
        current: open.tag.event_sequence.filter(|_| open.tag.digest.is_some()),
        current_digest: open.tag.digest.clone(),
        then: None,
        rejected: open.rejected_digests(),
        can_edit: open.may_move(),
        asks_first: open.immutable.is_some(),
        with_tag: false,
        as_of: None,
    };
    let list = if events.is_empty() {
        no_history(&open)
    } else {
        view! {
            <a class="pill-new" data-new-pill hidden href="">"New rows"</a>
            <HistoryTable place events />
            <Pager cx=cx.clone() next />
        }
        .into_any()
    };
    let traffic = cx.store().tag_traffic(&open.tag.id).await?;
    let resolved = cx.store().resolve_tag(&open.tag, Lookup::Recent, cx.settings().registry_host()).await?;
    let body = view! {
        <div class="toolbar">
            <AsOfForm />
        </div>
        {list}
        {about(&cx, &open, traffic)}
        {open.tag.deleted_at.is_none().then(|| tag_rejected::card(&open))}
        {open.tag.deleted_at.is_none().then(|| resolution::card(&resolved))}
    };
    laid_out(&cx, &open, "History", body.into_any())
}

fn no_history(open: &Open) -> AnyView {
    let (heading, text) = match (&open.import, open.tag.source_kind.as_deref()) {
        _ if open.tag.is_mere_reference() => {
            ("Only a name", "Nothing is imported: what uses this tag is told the name it has.")
        }
        (Some(import), _) if import.last_try_at.is_none() => {
            ("The first import is on its way", "Its image will stand here in a moment.")
        }
        (Some(_), _) if open.tag.scheduled == 1 => {
            ("Never imported", "The reason is above. The next check tries again; Check now does at once.")
        }
        (Some(_), _) => ("Never imported", "The reason is above. Check now tries again."),
        (None, Some(_)) => ("What it follows has no image yet", "It gets its image when the tag it follows does."),
        (None, None) => ("No image yet", "It gets one when somebody pushes it."),
    };
    view! { <Empty heading><p>{text}</p></Empty> }.into_any()
}

/// How what it follows is taken, and where pulls get it.
fn modes(tag: &Tag) -> AnyView {
    let taken = match (tag.reference_only, tag.import_mode.as_str()) {
        (1, _) => "only its name: nothing is imported",
        (_, "Legacy") => "one platform of an image for several (Legacy)",
        _ => "as it is, with all its platforms (PreserveOriginal)",
    };
    let pulled = match tag.reference_policy.as_str() {
        "Local" => "this registry (Local)",
        _ => "where it comes from (Source)",
    };
    view! {
        <dt>"Taken"</dt>
        <dd>{taken}</dd>
        <dt>"Pulled from"</dt>
        <dd>{pulled}</dd>
    }
    .into_any()
}

/// What the tag is for: where its images come from and when, and how often they are taken.
fn about(cx: &Cx, open: &Open, traffic: Traffic) -> AnyView {
    let tag = &open.tag;
    let source = match (tag.source_kind.as_deref(), &tag.source) {
        (Some("DockerImage"), Some(source)) if tag.reference_only == 1 => {
            view! { "names "<code>{source.clone()}</code> }.into_any()
        }
        (Some("DockerImage"), Some(source)) => view! { "imports "<code>{source.clone()}</code> }.into_any(),
        (Some("ImageStreamTag"), Some(source)) => view! { "follows "<code>{source.clone()}</code> }.into_any(),
        (Some(_), Some(source)) => view! { "pinned to "<code>{source.clone()}</code> }.into_any(),
        _ => "pushes and builds".into_any(),
    };
    let checks = open.import.as_ref().map(|import| {
        let every = tag.interval_ms.unwrap_or_else(|| i64::try_from(cx.settings().import_interval.as_millis()).unwrap_or(i64::MAX));
        let words = crate::ui::components::duration_words;
        let schedule = match tag.scheduled {
            1 if cx.settings().import_interval.is_zero() => NOT_SCHEDULED.to_owned(),
            1 if import.least_interval_ms > every => format!(
                "every {}: the limit of its registry is too low for every {}",
                words(import.least_interval_ms),
                words(every)
            ),
            1 => format!("every {}", words(every)),
            _ => "only when asked".to_owned(),
        };
        view! {
            <dt>"Checked"</dt>
            <dd>{schedule}</dd>
            <dt>"Cool-down"</dt>
            <dd>{cool_down::rule(tag)}</dd>
            <dt>"Last check"</dt>
            <dd>{import.last_try_at.map_or_else(|| "not yet".into_any(), |at| view! { <Ago at />": "{import.outcome.clone()} }.into_any())}</dd>
            <dt>"Next check"</dt>
            <dd>
                {next_check(cx, tag, import)}
                {import.is_overdue(now()).then(|| view! { <Badge tone=Tone::Warn text="Overdue" /> })}
            </dd>
        }
    });
    view! {
        <section class="card" data-live="about">
            <h2>"About this tag"</h2>
            <dl class="facts">
                <dt>"Source"</dt>
                <dd>{source}</dd>
                {tag.source_kind.is_some().then(|| modes(tag))}
                {checks}
                <dt>"Last 30 days"</dt>
                <dd>{traffic_words(traffic)}</dd>
                <dt>"May move"</dt>
                <dd>
                    {match open.immutable.clone() {
                        Some(pattern) => view! { "no: it is immutable, as all tags named "<code>{pattern}</code> }.into_any(),
                        None => "yes".into_any(),
                    }}
                </dd>
            </dl>
        </section>
    }
    .into_any()
}

async fn post_hold(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        let (stream, tag) = (cx.param("stream"), cx.param("tag"));
        cx.store().hold_tag(&project.name, stream, tag, fields.some("reason"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_resume(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        cx.store().resume_tag(&project.name, cx.param("stream"), cx.param("tag"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_check(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Edit).await?;
        cx.store().request_check(&project.name, cx.param("stream"), cx.param("tag"), &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

async fn post_explain(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let open = open(&cx, Right::Edit).await?;
        let reason = fields.required("reason", "Write why it is held")?;
        check_reason("reason", reason)?;
        let hold = open.hold.ok_or_else(|| UiError::Conflict(format!("{} is not held any more", open.tag.title())))?;
        cx.store().explain_hold(&hold.id, &open.project.name, &open.tag.title(), reason, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

/// Undoes the rollback whose hold is on the tag.
async fn post_undo(cx: Cx, fields: Fields) -> Response {
    let path = path_of(&cx);
    cx.submit(&fields, &path, async {
        let open = open(&cx, Right::Edit).await?;
        let gone = || UiError::Conflict(format!("{} is not held by a rollback any more", open.tag.title()));
        let cascade = open.cascade.as_ref().ok_or_else(gone)?;
        cx.store().undo_cascade(&open.project.name, cascade.number, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}

/// Reasons are one line for people, not an essay. `field` is what the form calls it.
pub fn check_reason(field: &str, reason: &str) -> Result<(), UiError> {
    match reason.chars().count() {
        0..=300 => Ok(()),
        count => Err(UiError::field(field, format!("At most 300 characters, this has {count}"))),
    }
}
