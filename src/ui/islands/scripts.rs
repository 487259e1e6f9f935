//! The lines in a page's head that load the islands. Nothing is inline, so the policy of the page needs `script-src 'self'
//! 'wasm-unsafe-eval'` and no more.

use leptos::prelude::*;

use crate::server::assets;

/// Loads the islands, when this binary has them. Goes into `<head>` of the shell, before any island is rendered.
#[component]
pub fn IslandScripts() -> impl IntoView {
    // Only islands are hydrated: the rest of the page must carry none of hydration's marks.
    if let Some(context) = Owner::current_shared_context() {
        context.set_is_hydrating(false);
    }
    assets::islands().map(|islands| {
        view! {
            <link rel="modulepreload" href=islands.js_path />
            <link rel="preload" href=islands.wasm_path r#as="fetch" r#type="application/wasm" crossorigin="anonymous" />
            <script type="module" src=islands.js_path></script>
        }
    })
}
