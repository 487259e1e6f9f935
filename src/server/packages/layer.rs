//! One layer, read from its first byte to its last for the lists of packages in it and for what it takes away from lower layers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::hints::Hints;
use super::members::{Member, MemberKind, Members};
use super::paths::{Format, Meaning, hides_when_no_directory, meaning};
use super::{Limits, Refusal, Trouble, find_cause, in_words, languages, lists, refusal, rpm, unpack};
use crate::model::{LayerContents, Package, PackageDatabase};

/// What a list costs of the budget, beside its texts.
pub(super) const LIST: usize = 64;

/// Why a layer was not read.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be read, or is not worth it: in words that go on after "the layer was not read: ". Trying again changes nothing.
    Refused(String),
    /// This server could not, now.
    Failed(io::Error),
}

/// Reads a layer. A list in it that is broken by itself is no error: the list says so.
pub fn read_layer(packed: impl Read, limits: &Limits) -> Result<LayerContents, Unread> {
    read(packed, limits).map_err(|error| match find_cause(&error, |cause| cause.downcast_ref::<Trouble>()) {
        Some(_) => Unread::Failed(error),
        None => Unread::Refused(in_words(&error)),
    })
}

fn read(packed: impl Read, limits: &Limits) -> io::Result<LayerContents> {
    let unpacked = unpack::unpacked(packed, limits)?;
    let mut members = Members::new(unpacked, limits.entries);
    let mut layer = Layer::new(limits);
    while let Some(member) = members.next()? {
        match meaning(&member.path) {
            Meaning::Nothing => {}
            Meaning::Hide(path) => layer.hide(path)?,
            Meaning::Empty(path) => {
                layer.budget.take_text(path.len())?;
                layer.emptied.push(path);
            }
            Meaning::Put(path) => layer.put(path, &member, &mut members)?,
        }
    }
    Ok(layer.finish())
}

/// What may still be kept of a layer.
#[derive(Clone)]
pub struct Budget {
    packages: usize,
    text: usize,
    /// This layer has had its share.
    pub spent: bool,
}

impl Budget {
    pub fn of(limits: &Limits) -> Self {
        Self { packages: limits.packages, text: limits.text, spent: false }
    }

    /// Keeps a package.
    pub fn take(&mut self, package: &Package) -> io::Result<()> {
        let more = [&package.architecture, &package.source].map(|text| text.as_ref().map_or(0, String::len));
        self.packages = self.packages.checked_sub(1).ok_or_else(|| self.spend())?;
        self.take_text(package.name.len() + package.version.len() + more.iter().sum::<usize>())
    }

    /// Keeps so many bytes of a path or of names. Each costs some more in the layer's record.
    pub(super) fn take_text(&mut self, length: usize) -> io::Result<()> {
        self.text = self.text.checked_sub(length + 8).ok_or_else(|| self.spend())?;
        Ok(())
    }

    fn spend(&mut self) -> io::Error {
        self.spent = true;
        refusal("it lists more packages, or takes more files of lower layers away, than are kept")
    }
}

/// What was found so far.
struct Layer {
    budget: Budget,
    hints: Hints,
    databases: BTreeMap<String, PackageDatabase>,
    hidden: Vec<String>,
    emptied: Vec<String>,
    /// Databases of rpm's with changes beside them.
    journals: Vec<String>,
}

impl Layer {
    fn new(limits: &Limits) -> Self {
        Self {
            budget: Budget::of(limits),
            hints: Hints::of(limits),
            databases: BTreeMap::new(),
            hidden: Vec::new(),
            emptied: Vec::new(),
            journals: Vec::new(),
        }
    }

    fn hide(&mut self, path: String) -> io::Result<()> {
        self.budget.take_text(path.len())?;
        self.hidden.push(path);
        Ok(())
    }

    fn put<R: Read>(&mut self, path: String, member: &Member, members: &mut Members<R>) -> io::Result<()> {
        let kind = member.kind;
        match Format::of(&path) {
            Some(format) if kind != MemberKind::Directory && !format.evidence().is_installed() => {
                let hint = self.hints.read(&path, format, member, members)?;
                self.databases.extend(hint.map(|database| (path, database)));
                Ok(())
            }
            Some(format) if kind != MemberKind::Directory => self.put_list(path, format, kind, members),
            _ if kind != MemberKind::Directory && hides_when_no_directory(&path) => self.hide(path),
            _ => Ok(()),
        }
    }

    fn put_list<R: Read>(
        &mut self,
        path: String,
        format: Format,
        kind: MemberKind,
        members: &mut Members<R>,
    ) -> io::Result<()> {
        if format == Format::RpmJournal {
            let is_empty = members.content().read(&mut [0])? == 0;
            self.journals.extend(path.strip_suffix("-wal").filter(|_| !is_empty).map(str::to_owned));
            return Ok(());
        }
        let read = match kind {
            MemberKind::File => self.read_list(&path, format, members),
            MemberKind::SparseFile => Err(refusal("it is a sparse file, which is not read")),
            _ => Err(refusal("it is a link or a device, which is not followed")),
        };
        let (packages, problem) = match read {
            Ok(packages) => (packages, None),
            // The stream broke off, or this layer has had its share.
            Err(error) if self.budget.spent || !is_refusal(&error) => return Err(error),
            Err(error) => (Vec::new(), Some(in_words(&error))),
        };
        // Many a manifest is of no package but says how modules load, or is there for somebody's tests.
        if packages.is_empty() && matches!(format, Format::Python | Format::Npm | Format::Gem) {
            self.databases.remove(&path);
            return self.hide(path);
        }
        self.budget.take_text(LIST + path.len() + problem.as_ref().map_or(0, String::len))?;
        // Of two files with one path the later one stays.
        let (kind, evidence) = (format.kind(), format.evidence());
        let database = PackageDatabase { path: path.clone(), kind, evidence, packages, problem };
        self.databases.insert(path, database);
        Ok(())
    }

    fn read_list<R: Read>(&mut self, path: &str, format: Format, members: &mut Members<R>) -> io::Result<Vec<Package>> {
        let source = members.content();
        let single = match format {
            Format::Dpkg => return lists::dpkg(source, &mut self.budget),
            Format::Apk => return lists::apk(source, &mut self.budget),
            Format::Python => languages::python(source)?,
            Format::Npm => languages::npm(source)?,
            Format::Gem => languages::gem(path),
            Format::Composer => return languages::composer(source, &mut self.budget),
            _ => return rpm::read(source, format, &mut self.budget),
        };
        if let Some(package) = &single {
            self.budget.take(package)?;
        }
        Ok(single.into_iter().collect())
    }

    fn finish(mut self) -> LayerContents {
        for path in &self.journals {
            if let Some(database) = self.databases.get_mut(path) {
                let problem = "a journal lies beside it, which is not read: the newest changes may be missing";
                database.problem.get_or_insert_with(|| problem.to_owned());
            }
        }
        self.hidden.sort_unstable();
        self.hidden.dedup();
        LayerContents { databases: self.databases.into_values().collect(), hidden: self.hidden, emptied: self.emptied }
    }
}

/// Whether the error says what is wrong with a list, or the layer.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Refusal>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::server::packages::testing::Tar;

    /// Gives a few bytes at a time, and takes its time for each.
    struct Slow(io::Cursor<Vec<u8>>);

    impl Read for Slow {
        #[expect(clippy::disallowed_methods, reason = "readers of layers have threads of their own")]
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(5));
            let few = buffer.len().min(64);
            self.0.read(&mut buffer[..few])
        }
    }

    #[test]
    fn bytes_that_come_slowly_are_not_the_layers_fault() {
        let text: Vec<u8> = (0..8_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let plain = Tar::new().file("a", &text).bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, &plain).unwrap();
        let zstd = compress_to_vec(&*plain, CompressionLevel::Fastest);
        for packed in [plain, gzip.finish().unwrap(), zstd] {
            let slow = || Slow(io::Cursor::new(packed.clone()));
            let limits = Limits { waiting: Duration::from_millis(50), ..Limits::default() };
            let read = read_layer(slow(), &limits);
            assert!(
                matches!(&read, Err(Unread::Failed(cause)) if cause.to_string().contains("too slowly")),
                "{read:?}"
            );
            // Waiting is no work.
            let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
            assert!(read_layer(slow(), &limits).is_ok());
        }
    }
}
