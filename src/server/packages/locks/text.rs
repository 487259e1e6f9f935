//! Lock files in forms of their own: yarn's, Bundler's, and lists for pip.

use std::io::{self, Read};

use super::{Found, broken, next_line};
use crate::server::packages::lists::Lines;

/// Where packages are from that belong to the application itself.
const OWN: [&str; 4] = ["workspace:", "link:", "portal:", "file:"];

/// `yarn.lock`: a line with what was asked for, then indented what that came to. YAML since yarn 2, but in lines of the same form.
pub fn yarn<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    let (mut lines, mut package) = (Lines::of(source), None::<(String, String)>);
    while let Some(line) = next_line(&mut lines)? {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            if let Some((name, version)) = package.take() {
                found.add(&name, &version)?;
            }
            package = yarn_name(&line)?.map(|name| (name.to_owned(), String::new()));
            continue;
        }
        let field = line.strip_prefix("  ").filter(|field| !field.starts_with(' '));
        let (Some((name, version)), Some((key, value))) = (&mut package, field.and_then(|field| field.split_once(' ')))
        else {
            continue;
        };
        match key {
            "version" | "version:" => *version = value.trim_matches('"').to_owned(),
            // The name it has where it is from, if it was asked for by another.
            "resolution:" => *name = yarn_name(value)?.unwrap_or(name).to_owned(),
            _ => {}
        }
    }
    package.map_or(Ok(()), |(name, version)| found.add(&name, &version))
}

/// The name in `"@scope/name@^1.0.0", …`; `None` when it is one of the application's own.
fn yarn_name(asked: &str) -> io::Result<Option<&str>> {
    let asked = asked.trim_start_matches('"').split([',', '"']).next().unwrap_or_default();
    if asked.starts_with("__metadata") {
        return Ok(None);
    }
    let (name, range) = at_sign(asked).ok_or_else(|| broken("a line in it names no package"))?;
    if OWN.iter().any(|own| range.starts_with(own)) {
        return Ok(None);
    }
    // `name@npm:real@^1.0.0`
    let real = range.strip_prefix("npm:").and_then(at_sign);
    Ok(Some(real.map_or(name, |(real, _)| real)))
}

/// Splits at the first `@` that does not begin a scope.
fn at_sign(text: &str) -> Option<(&str, &str)> {
    let (at, _) = text.char_indices().skip(1).find(|(_, c)| *c == '@')?;
    Some((&text[..at], &text[at + 1..]))
}

/// `Gemfile.lock`: in sections for each source of gems, `name (version)` with four blanks before it, and what these want with six.
pub fn bundler<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    let (mut lines, mut section, mut is_empty) = (Lines::of(source), String::new(), true);
    while let Some(line) = next_line(&mut lines)? {
        is_empty &= line.is_empty();
        if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            section = line;
            continue;
        }
        // The section `PATH` has the application's own.
        let gem = line.strip_prefix("    ").filter(|gem| !gem.starts_with(' ') && section != "PATH");
        let Some((name, version)) = gem.and_then(|gem| gem.strip_suffix(')')?.split_once(" (")) else { continue };
        // For several platforms it stands there several times.
        found.add(name, version.split('-').next().unwrap_or_default())?;
    }
    if section.is_empty() && !is_empty { Err(broken("it has no section")) } else { Ok(()) }
}

/// `requirements.txt`: lines that say `name==version`. Others say what would do, and not what there is.
pub fn requirements<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    let mut lines = Lines::of(source);
    while let Some(line) = next_line(&mut lines)? {
        if let Some((name, version)) = pinned(&line) {
            found.add(name, version)?;
        }
    }
    Ok(())
}

/// Of `name[extra]==version; marker --hash=… \  # comment` the name and the version.
fn pinned(line: &str) -> Option<(&str, &str)> {
    let (name, version) = line.split(['#', ';']).next()?.split_once("==")?;
    let name = name.split('[').next()?.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    let version = version.split_whitespace().next()?.trim_end_matches('\\');
    (is_name && !name.starts_with('-') && !version.contains(['=', '*', ','])).then_some((name, version))
}
