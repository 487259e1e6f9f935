// Appended to the loader that wasm-bindgen writes (build.rs fills in the address): starts the wasm and wakes each island of the page.
// An island's export ends in a hash of its source, which may differ between two compilers; its name before that does not.
Promise.all([__wbg_init({ module_or_path: "WASM_PATH" }), import(import.meta.url)]).then(([, islands]) => {
  hydrate();
  const wake = {};
  for (const name of Object.keys(islands)) wake[name.replace(/_\d+$/, "")] = islands[name];
  for (const island of document.querySelectorAll("leptos-island")) {
    const name = (island.dataset.component || "").replace(/_\d+$/, "");
    if (wake[name]) wake[name](island);
    else console.error(`The islands that came with this page have no ${name}: run tools/build-islands and build again.`);
  }
});
