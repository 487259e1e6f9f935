//! Makes what browsers load and puts it into the server's binary: the style sheet (`style/` and the utilities that encre-css
//! compiles from the classes in `src/ui`), `public/`, and the islands' wasm package when `tools/build-islands` has made one. Each
//! file gets a name with the hash of its content and is compressed here, once. `src/server/assets.rs` serves the table written here.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use encre_css::preflight::Preflight;
use encre_css::scanner::Scanner;
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_SSR").is_none() {
        return Ok(());
    }
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let pkg_dir = pkg_dir(&out_dir)?;
    // Cargo takes a watched path that does not exist for one that changed.
    fs::create_dir_all(&pkg_dir)?;
    println!("cargo:rerun-if-env-changed=WEIR_PKG_DIR");
    for watched in [Path::new("src/ui"), Path::new("style"), Path::new("public"), Path::new("migrations"), &pkg_dir] {
        println!("cargo:rerun-if-changed={}", watched.display());
    }

    let mut table = Table::new(&out_dir);
    table.add("/assets/", "style.css", style_sheet()?.into_bytes())?;
    for file in files_below(Path::new("public"), "")? {
        let name = file.strip_prefix("public")?.to_string_lossy().replace('\\', "/");
        table.add("/assets/", &name, fs::read(&file)?)?;
    }
    add_islands(&mut table, &pkg_dir)?;
    table.write()
}

/// Where `tools/build-islands` leaves the package: `site/pkg` in the target directory. Cargo builds in `<target>/<profile>/build/…/out`,
/// or one deeper when it is told the platform.
fn pkg_dir(out_dir: &Path) -> Result<PathBuf> {
    if let Some(dir) = env::var_os("WEIR_PKG_DIR") {
        return Ok(dir.into());
    }
    let built = out_dir.ancestors().map(|dir| dir.join("site/pkg")).find(|dir| dir.exists());
    let target = out_dir.ancestors().nth(4).ok_or("OUT_DIR lies in no target directory of cargo's")?;
    Ok(built.unwrap_or_else(|| target.join("site/pkg")))
}

/// All files below `dir` whose names end in `suffix`, in the order of their names.
fn files_below(dir: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path, suffix)?);
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The wasm, and its loader with the lines that start it, which name the wasm by its hash.
fn add_islands(table: &mut Table, pkg_dir: &Path) -> Result<()> {
    let (loader, wasm) = (pkg_dir.join("weir.js"), pkg_dir.join("weir_bg.wasm"));
    if !loader.exists() || !wasm.exists() {
        return Ok(());
    }
    let wasm_path = table.add("/pkg/", "weir.wasm", fs::read(wasm)?)?;
    let boot = fs::read_to_string("src/ui/islands/boot.js")?.replace("WASM_PATH", &wasm_path);
    table.add("/pkg/", "weir.js", format!("{}\n{boot}", fs::read_to_string(loader)?).into_bytes())?;
    Ok(())
}

// ---- the style sheet ------------------------------------------------------------------------------------------------------

fn style_sheet() -> Result<String> {
    let mut css = fs::read_to_string("style/tokens.css")? + &fs::read_to_string("style/base.css")?;
    let sources: Vec<String> = files_below(Path::new("src/ui"), ".rs")?
        .iter()
        .map(fs::read_to_string)
        .collect::<std::result::Result<_, _>>()?;
    let utilities = encre_css::generate(sources.iter().map(String::as_str), &utilities_config(&css));
    css.push_str(&utilities);
    Ok(minify(&css))
}

/// Tailwind's classes, with the tokens as colours (`text-muted`, `bg-surface`, `border-line`, …) and no reset: base.css has its own.
fn utilities_config(css: &str) -> encre_css::Config {
    let mut config = encre_css::Config::default();
    config.preflight = Preflight::new_none();
    for line in css.lines() {
        if let Some((name, _)) = line.trim().strip_prefix("--").and_then(|line| line.split_once(": light-dark(")) {
            config.theme.colors.add(name.to_owned(), format!("var(--{name})"));
        }
    }
    // A name that style/ defines is never a utility too: `.table` would be `display: table` and win.
    let own: BTreeSet<String> = own_classes(css);
    config.scanner = Scanner::from_fn(move |source| {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = code.flat_map(|line| line.split([' ', '\'', '"', '`', '\\']));
        words.filter(|word| !own.contains(*word)).collect()
    });
    config
}

/// The names that follow a dot in the style sheets.
fn own_classes(css: &str) -> BTreeSet<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>();
    css.split('.').skip(1).map(name).filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

/// Drops comments and the white space that means nothing. Strings are kept as they are, and so is the space around operators.
fn minify(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' | '\'' => {
                let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
                out.push_str(&rest[..end]);
                end
            }
            c if c.is_whitespace() => {
                let end = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
                // No selector has a space after its colon; before it, it has a meaning.
                let before = out.chars().last().is_none_or(|c| "{};,>:".contains(c));
                let behind = rest[end..].chars().next().is_none_or(|c| "{};,>".contains(c));
                if !before && !behind {
                    out.push(' ');
                }
                end
            }
            '}' => {
                out.truncate(out.trim_end_matches(';').len());
                out.push('}');
                1
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

// ---- the table ------------------------------------------------------------------------------------------------------------

/// Collects assets and writes `assets.rs`, an array of `Asset`, with their bytes in files beside it.
struct Table {
    out_dir: PathBuf,
    rows: String,
    /// Packing well takes seconds in a build script; a debug build's sizes do not matter.
    level: u32,
}

impl Table {
    fn new(out_dir: &Path) -> Self {
        let level = if env::var("PROFILE").is_ok_and(|profile| profile == "release") { 11 } else { 5 };
        Self { out_dir: out_dir.to_owned(), rows: String::new(), level }
    }

    /// Adds a file under `prefix` and gives the path, with the hash in it, that serves it.
    fn add(&mut self, prefix: &str, name: &str, content: Vec<u8>) -> Result<String> {
        let hash = hex::encode(&Sha256::digest(&content)[..8]);
        let (stem, extension) = name.rsplit_once('.').ok_or_else(|| format!("{name} has no extension"))?;
        let path = format!("{prefix}{stem}.{hash}.{extension}");
        let (content_type, packs) = content_type(extension)?;
        let (brotli, gzip) =
            if packs { (Some(brotli(&content, self.level)?), Some(gzip(&content)?)) } else { (None, None) };
        let plain = self.file(&hash, "plain", &content)?;
        let packed = |kind: &str, bytes: Option<Vec<u8>>| match bytes.filter(|bytes| bytes.len() < content.len()) {
            Some(bytes) => self.file(&hash, kind, &bytes).map(|bytes| format!("Some({bytes})")),
            None => Ok("None".to_owned()),
        };
        let (brotli, gzip) = (packed("br", brotli)?, packed("gz", gzip)?);
        writeln!(
            self.rows,
            "Asset {{ name: {name:?}, path: {path:?}, hash: {hash:?}, content_type: {content_type:?}, plain: {plain}, \
             brotli: {brotli}, gzip: {gzip} }},"
        )?;
        Ok(path)
    }

    /// Writes the bytes and gives the expression that includes them.
    fn file(&self, hash: &str, kind: &str, bytes: &[u8]) -> Result<String> {
        let path = self.out_dir.join(format!("{hash}.{kind}"));
        fs::write(&path, bytes)?;
        Ok(format!("include_bytes!({path:?})"))
    }

    fn write(self) -> Result<()> {
        Ok(fs::write(self.out_dir.join("assets.rs"), format!("&[\n{}]\n", self.rows))?)
    }
}

/// The media type of an extension, and whether compressing pays.
fn content_type(extension: &str) -> Result<(&'static str, bool)> {
    Ok(match extension {
        "css" => ("text/css; charset=utf-8", true),
        "js" => ("text/javascript; charset=utf-8", true),
        "wasm" => ("application/wasm", true),
        "svg" => ("image/svg+xml", true),
        "txt" => ("text/plain; charset=utf-8", true),
        "webmanifest" => ("application/manifest+json", true),
        "ico" => ("image/x-icon", true),
        "png" => ("image/png", false),
        "webp" => ("image/webp", false),
        other => return Err(format!("no media type known for .{other}: add it to build.rs").into()),
    })
}

fn brotli(content: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut packed = brotli::CompressorWriter::new(Vec::new(), 1 << 16, level, 22);
    packed.write_all(content)?;
    Ok(packed.into_inner())
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    packed.write_all(content)?;
    Ok(packed.finish()?)
}
