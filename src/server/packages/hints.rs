//! Lists that are no more than hints: lock files, and archives that are known by their names. What there is too much of, or broken, is said so,
//! and costs neither the layer nor its databases anything.

use std::io::{self, Read};

use super::layer::{Budget, LIST, is_refusal};
use super::members::{Member, MemberKind, Members};
use super::paths::Format;
use super::{Limits, in_words, jars, locks, refusal};
use crate::model::PackageDatabase;

/// What may still be kept of hints.
pub struct Hints {
    budget: Budget,
    is_full: bool,
}

impl Hints {
    /// A part of what is kept of a layer, beside that of its databases.
    pub fn of(limits: &Limits) -> Self {
        let share = Limits { packages: limits.packages / 2, text: limits.text / 4, ..*limits };
        Self { budget: Budget::of(&share), is_full: false }
    }

    /// The list at this path; `None` when there were too many before it.
    pub fn read<R: Read>(
        &mut self,
        path: &str,
        format: Format,
        member: &Member,
        members: &mut Members<R>,
    ) -> io::Result<Option<PackageDatabase>> {
        if self.is_full {
            return Ok(None);
        }
        let (kind, evidence) = (format.kind(), format.evidence());
        let mut database =
            PackageDatabase { path: path.to_owned(), kind, evidence, packages: Vec::new(), problem: None };
        let mut budget = self.budget.clone();
        let read = match (member.kind, format) {
            (MemberKind::File, Format::Lock(lock)) => locks::read(members.content(), member.size, lock, &mut budget),
            (MemberKind::File, _) => {
                let package = jars::jar(path);
                package.iter().try_for_each(|package| budget.take(package)).map(|()| package.into_iter().collect())
            }
            (MemberKind::SparseFile, _) => Err(refusal("it is a sparse file, which is not read")),
            // What a link leads to is read where it lies.
            _ => Ok(Vec::new()),
        };
        match read {
            Ok(packages) => database.packages = packages,
            Err(error) if is_refusal(&error) => {
                database.problem = Some(in_words(&error));
                // Nothing of it is kept.
                budget = self.budget.clone();
            }
            Err(error) => return Err(error),
        }
        let length = LIST + path.len() + database.problem.as_ref().map_or(0, String::len);
        if budget.take_text(length).is_err() {
            self.is_full = true;
            database.packages = Vec::new();
            database.problem = Some("there are more such lists in the layer than are kept".to_owned());
        } else {
            self.budget = budget;
        }
        Ok(Some(database))
    }
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use crate::model::{Evidence, LayerContents, LayerReading};
    use crate::server::packages::stack::image_packages;
    use crate::server::packages::testing::{Tar, names, read};

    const LOCK: &str = "app/requirements.txt";

    /// `name version @layer` of an image of these layers.
    fn shown(layers: Vec<Tar>) -> Vec<String> {
        let readings: Vec<LayerReading> = layers
            .into_iter()
            .zip(0_i64..)
            .map(|(layer, position)| LayerReading {
                position,
                layer_digest: format!("sha256:{position}"),
                read_at: Some(1),
                problem: None,
                contents: Some(serde_json::to_string(&read(&layer.bytes()).unwrap()).unwrap()),
            })
            .collect();
        let image = image_packages(&readings);
        assert!(image.is_whole(), "{:?}", image.problems);
        image
            .packages
            .into_iter()
            .map(|it| format!("{} {} @{}", it.package.name, it.package.version, it.layer))
            .collect()
    }

    #[test]
    fn upper_layers_write_over_lock_files_and_take_them_away() {
        let base = || Tar::new().file(LOCK, b"a==1\nb==1\n").file("app/lib/x-1.0.jar", b"").file("y-1.0.jar", b"");
        let all = ["a 1 @0", "b 1 @0", "x 1.0 @0", "y 1.0 @0"];
        for (above, left) in [
            (Tar::new(), &all[..]),
            (Tar::new().file(LOCK, b"a==1\nb==2\n"), &["a 1 @0", "b 2 @1", "x 1.0 @0", "y 1.0 @0"]),
            (Tar::new().file(LOCK, b"a>=1\n"), &["x 1.0 @0", "y 1.0 @0"]),
            (Tar::new().link(LOCK, EntryType::Symlink, "elsewhere"), &["x 1.0 @0", "y 1.0 @0"]),
            (Tar::new().file("app/.wh.requirements.txt", b""), &["x 1.0 @0", "y 1.0 @0"]),
            (Tar::new().file("app/lib/.wh.x-1.0.jar", b""), &["a 1 @0", "b 1 @0", "y 1.0 @0"]),
            (Tar::new().file("app/.wh..wh..opq", b""), &["y 1.0 @0"]),
            (Tar::new().file(".wh.app", b""), &["y 1.0 @0"]),
            (Tar::new().file(".wh.app", b"").file(LOCK, b"c==1\n"), &["c 1 @1", "y 1.0 @0"]),
            (Tar::new().link("app/lib/x-1.0.jar", EntryType::Symlink, "/elsewhere"), &["a 1 @0", "b 1 @0", "y 1.0 @0"]),
        ] {
            assert_eq!(shown(vec![base(), above]), left);
        }
    }

    #[test]
    fn a_layer_says_how_its_packages_are_known() {
        let layer = Tar::new()
            .file("app/go.mod", b"module x\nrequire y v1.0.0\n")
            .file("app/node_modules/z/package.json", br#"{"name": "z", "version": "1.0.0"}"#)
            .file("app/x-1.0.jar", b"")
            .directory("requirements.txt");
        let contents = read(&layer.bytes()).unwrap();
        let known: Vec<_> = contents.databases.iter().map(|it| it.evidence).collect();
        assert_eq!(known, [Evidence::LockFile, Evidence::Installed, Evidence::FileName]);
        assert_eq!(names(&contents), ["y v1.0.0", "z 1.0.0", "x 1.0"]);
        let text = serde_json::to_string(&contents).unwrap();
        assert_eq!(serde_json::from_str::<LayerContents>(&text).unwrap(), contents, "it is kept");
        // What was read before there were any of these.
        let old = r#"{"databases": [{"path": "x", "kind": "dpkg"}]}"#;
        assert!(serde_json::from_str::<LayerContents>(old).unwrap().databases[0].evidence.is_installed());
    }

    #[test]
    fn the_later_of_two_files_stays() {
        let layer = Tar::new().file(LOCK, b"a==1\n").file(LOCK, b"b==1\n");
        assert_eq!(names(&read(&layer.bytes()).unwrap()), ["b 1"]);
    }
}
