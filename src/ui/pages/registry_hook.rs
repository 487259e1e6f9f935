//! The project's webhook for registries: its address for those who may see secrets, and a button that makes another secret.

use axum::response::Response;
use axum::routing::post;
use leptos::prelude::*;

use crate::server::auth::Right;
use crate::server::store::RegistryHook;
use crate::ui::components::{Act, CopyText};
use crate::ui::context::Cx;
use crate::ui::form::{Fields, Router};

/// `POST /p/:project/settings/registry-hook`
pub fn router() -> Router {
    Router::new().route("/p/{project}/settings/registry-hook", post(post_renew))
}

/// Where registries are to send their messages.
pub fn card(project: &str, public_url: &str, hook: &RegistryHook) -> AnyView {
    let address = format!("{public_url}/weir/v1/projects/{project}/registry-hook");
    let with_secret = format!("{address}/{}", hook.secret);
    view! {
        <section class="card stack content-narrow">
            <h2>"Webhook for registries"</h2>
            <p>
                "A registry that sends its push events here has the tags that follow it checked at once. Checks on schedule go on without it, too."
            </p>
            <dl class="facts">
                <dt>"Docker Hub, Quay"</dt>
                <dd class="break">
                    <CopyText text=with_secret />
                </dd>
                <dt>"Harbor, GitHub, distribution"</dt>
                <dd class="break">
                    <CopyText text=address />
                </dd>
                <dt>"Their secret or authorization header"</dt>
                <dd class="break">
                    <CopyText text=hook.secret.clone() />
                </dd>
            </dl>
            <div class="form-actions">
                <Act action=format!("/p/{project}/settings/registry-hook") label="Make another secret" class="" />
            </div>
        </section>
    }
    .into_any()
}

async fn post_renew(cx: Cx, fields: Fields) -> Response {
    let path = format!("/p/{}/settings", cx.param("project"));
    cx.submit(&fields, &path, async {
        let project = cx.project(Right::Admin).await?;
        cx.store().renew_registry_hook(&project.name, &cx.actor()?).await?;
        Ok(path.clone())
    })
    .await
}
