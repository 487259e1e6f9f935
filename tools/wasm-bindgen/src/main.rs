//! `weir-wasm-bindgen IN.wasm OUT_DIR NAME`: writes the JavaScript loader and the wasm that browsers load as an ES module.
//! What `wasm-bindgen --target web` does, in a tenth of its compile time.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir, name] = args.as_slice() else {
        eprintln!("usage: weir-wasm-bindgen IN.wasm OUT_DIR NAME");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name(name).typescript(false);
    // The names of functions are half of the size and serve nobody in a browser.
    bindgen.remove_name_section(true).remove_producers_section(true);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(out_dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("wasm-bindgen: {err:#}");
            ExitCode::FAILURE
        }
    }
}
