//! Go's modules, by `go.mod` or by `go.sum`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};

use super::{Found, broken, next_line};
use crate::model::{Package, PackageKind};
use crate::server::packages::compare_versions;
use crate::server::packages::lists::{Lines, Record};

/// `replace old [version] => new version`; a directory in place of another module has no version.
struct Replacement {
    old: String,
    old_version: Option<String>,
    new: Option<(String, String)>,
}

/// `go.mod`: what it requires, which since Go 1.17 is all that is built in, with what it says is put in its place.
pub fn module<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    let (mut lines, mut block, mut is_module) = (Lines::of(source), None::<String>, false);
    let (mut required, mut replacements) = (BTreeSet::new(), Vec::new());
    while let Some(line) = next_line(&mut lines)? {
        let mut words: Vec<&str> =
            line.split("//").next().unwrap_or_default().split_whitespace().map(|word| word.trim_matches('"')).collect();
        let directive = match (&block, words.as_slice()) {
            (_, []) => continue,
            (Some(_), [")"]) => {
                block = None;
                continue;
            }
            (Some(block), _) => block.clone(),
            (None, [directive, "("]) => {
                block = Some((*directive).to_owned());
                continue;
            }
            (None, _) => words.remove(0).to_owned(),
        };
        is_module |= directive == "module";
        match (directive.as_str(), words.as_slice()) {
            ("require", [name, version]) => _ = required.insert(((*name).to_owned(), (*version).to_owned())),
            ("require", _) => return Err(broken("a module in it has no version")),
            ("replace", words) => replacements.extend(replacement(words)),
            _ => {}
        }
    }
    if !is_module {
        return Err(broken("it names no module"));
    }
    let mut put: HashMap<(&str, Option<&str>), &Replacement> = HashMap::new();
    for replacement in &replacements {
        put.entry((&replacement.old, replacement.old_version.as_deref())).or_insert(replacement);
    }
    for (name, version) in &required {
        let of_version = put.get(&(name.as_str(), Some(version.as_str())));
        match of_version.or_else(|| put.get(&(name.as_str(), None))) {
            None => found.add(name, version)?,
            Some(Replacement { new: Some((name, version)), .. }) => found.add(name, version)?,
            // It is one of the application's own.
            Some(Replacement { new: None, .. }) => {}
        }
    }
    Ok(())
}

fn replacement(words: &[&str]) -> Option<Replacement> {
    let arrow = words.iter().position(|word| *word == "=>")?;
    let (old, new) = (&words[..arrow], &words[arrow + 1..]);
    let new = match new {
        [name, version] => Some(((*name).to_owned(), (*version).to_owned())),
        _ => None,
    };
    Some(Replacement {
        old: (*old.first()?).to_owned(),
        old_version: old.get(1).map(|version| (*version).to_owned()),
        new,
    })
}

/// `go.sum`: of each module the newest version whose contents were fetched, which is the one that is built in. Lines with `/go.mod` say only
/// that a version was looked at.
pub fn sums<R: Read>(source: R, found: &mut Found<'_>) -> io::Result<()> {
    let (mut lines, mut newest) = (Lines::of(source), BTreeMap::<String, Package>::new());
    while let Some(line) = next_line(&mut lines)? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, version) = match words.as_slice() {
            [] => continue,
            [name, version, _] => (*name, *version),
            _ => return Err(broken("a line in it is no sum")),
        };
        let package = Record::of(name.as_bytes(), version.as_bytes()).finish();
        let Some(package) = package.filter(|_| !version.ends_with("/go.mod")) else { continue };
        match newest.entry(package.name.clone()) {
            Entry::Vacant(free) => {
                found.budget.take(&package)?;
                free.insert(package);
            }
            Entry::Occupied(mut taken) => {
                if compare_versions(PackageKind::Go, &package.version, &taken.get().version).is_gt() {
                    taken.insert(package);
                }
            }
        }
    }
    found.packages.extend(newest.into_values());
    Ok(())
}
