//! Lock files in TOML: Cargo's, Poetry's and uv's. Their writers put each package under `[[package]]` with its name and its version on lines
//! of their own, so they are read line by line and never as a whole.

use std::io::{self, Read};

use super::{Found, Lock, broken, next_line};
use crate::server::packages::lists::Lines;

/// The lines of a package before its own tables, as they stand behind the equals sign.
#[derive(Default)]
struct Head {
    name: Option<String>,
    version: Option<String>,
    source: Option<String>,
    /// Poetry's groups, and the category it had before.
    groups: Option<String>,
    category: Option<String>,
}

impl Head {
    fn field(&mut self, key: &str) -> Option<&mut Option<String>> {
        match key {
            "name" => Some(&mut self.name),
            "version" => Some(&mut self.version),
            "source" => Some(&mut self.source),
            "groups" => Some(&mut self.groups),
            "category" => Some(&mut self.category),
            _ => None,
        }
    }

    /// Whether it is of the application itself, or there for development only.
    fn is_left_out(&self, lock: Lock) -> bool {
        let source = self.source.as_deref();
        match lock {
            // What lies beside the application has no source.
            Lock::Cargo => source.is_none(),
            Lock::Uv => {
                let is_own = |source: &str| {
                    ["virtual", "editable", "directory"].iter().any(|word| source.contains(&format!("{{ {word} =")))
                };
                source.is_some_and(is_own)
            }
            _ => {
                self.groups.as_deref().is_some_and(|groups| !groups.contains("\"main\""))
                    || self.category.as_deref() == Some("\"dev\"")
            }
        }
    }

    fn finish(self, lock: Lock, found: &mut Found<'_>) -> io::Result<()> {
        if self.is_left_out(lock) {
            return Ok(());
        }
        // uv gives no version to what tells its own when it is built.
        let (Some(name), Some(version)) = (&self.name, &self.version) else { return Ok(()) };
        found.add(unquoted(name)?, unquoted(version)?)
    }
}

fn unquoted(value: &str) -> io::Result<&str> {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.ok_or_else(|| broken("a name or a version in it is no text"))
}

/// Reads `Cargo.lock`, `poetry.lock` or `uv.lock`.
pub fn read<R: Read>(source: R, lock: Lock, found: &mut Found<'_>) -> io::Result<()> {
    let (mut lines, mut head, mut is_toml, mut is_empty) = (Lines::of(source), None::<Head>, false, true);
    while let Some(line) = next_line(&mut lines)? {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        is_empty = false;
        if line.starts_with('[') {
            if let Some(head) = head.take() {
                head.finish(lock, found)?;
            }
            is_toml = true;
            head = (line == "[[package]]").then(Head::default);
        } else if let Some((key, value)) = line.split_once('=') {
            is_toml = true;
            // Lines of values that go over several begin with blanks, and no key does.
            let field = head.as_mut().and_then(|head| head.field(key.trim_end()));
            field.into_iter().for_each(|field| *field = Some(value.trim().to_owned()));
        }
    }
    match head {
        Some(head) => head.finish(lock, found),
        None if is_toml || is_empty => Ok(()),
        None => Err(broken("it is no TOML")),
    }
}
