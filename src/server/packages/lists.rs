//! Lists of packages that systems keep as text: dpkg's and apk's. Each is read line by line; what a line may have and how many packages a
//! list may name is bounded.

use std::io::{self, BufRead, BufReader, Read};

use super::layer::Budget;
use crate::model::Package;

/// What is kept of a line: names and versions are short, dependencies and descriptions are not of interest.
const KEPT_OF_A_LINE: u64 = 4096;
/// The longest name or version that is kept.
const MAX_WORD: usize = 256;

/// Lines of text that is not trusted, without their ends, each cut at [`KEPT_OF_A_LINE`].
pub(super) struct Lines<R> {
    source: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(super) fn of(source: R) -> Self {
        Self { source: BufReader::with_capacity(32 * 1024, source), line: Vec::new() }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = self.source.by_ref().take(KEPT_OF_A_LINE).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if self.line.last() != Some(&b'\n') {
            self.source.skip_until(b'\n')?;
        }
        Ok(Some(self.line.trim_ascii_end()))
    }
}

/// A name or a version: no control characters, and not longer than anybody would write one.
pub(super) fn word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * MAX_WORD)]);
    text.trim().chars().filter(|c| !c.is_control()).take(MAX_WORD).collect()
}

fn some_word(bytes: &[u8]) -> Option<String> {
    Some(word(bytes)).filter(|word| !word.is_empty())
}

/// A record that is being read, field by field.
#[derive(Default)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) version: String,
    architecture: Option<String>,
    source: Option<String>,
    absent: bool,
}

impl Record {
    /// A record of which no more than this is known.
    pub(super) fn of(name: &[u8], version: &[u8]) -> Self {
        Self { name: word(name), version: word(version), ..Self::default() }
    }

    /// The package, if the record is one of an installed package; begins the next record.
    pub(super) fn finish(&mut self) -> Option<Package> {
        let Self { name, version, architecture, source, absent } = std::mem::take(self);
        let source = source.filter(|source| *source != name);
        (!absent && !name.is_empty() && !version.is_empty()).then_some(Package { name, version, architecture, source })
    }
}

/// Reads records of lines, which end at empty lines; `field` takes the lines of one.
fn records<R: Read>(source: R, budget: &mut Budget, field: impl Fn(&mut Record, &[u8])) -> io::Result<Vec<Package>> {
    let (mut lines, mut packages, mut record) = (Lines::of(source), Vec::new(), Record::default());
    loop {
        match lines.next()? {
            Some(line) if !line.is_empty() => field(&mut record, line),
            line => {
                let is_end = line.is_none();
                if let Some(package) = record.finish() {
                    budget.take(&package)?;
                    packages.push(package);
                }
                if is_end {
                    return Ok(packages);
                }
            }
        }
    }
}

/// dpkg's status file (deb822), and parts of one. What is removed and left its configuration is not there.
pub fn dpkg<R: Read>(source: R, budget: &mut Budget) -> io::Result<Vec<Package>> {
    records(source, budget, |record, line| {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let value = &line[colon + 1..];
        // Lines that begin with a blank go on with a field before; no name begins so.
        match line[..colon].to_ascii_lowercase().as_slice() {
            b"package" => record.name = word(value),
            b"version" => record.version = word(value),
            b"architecture" => record.architecture = some_word(value),
            // `name` or `name (version)`
            b"source" => record.source = value.split(|byte| *byte == b'(').next().and_then(some_word),
            // Selection, flag, state: files are there from unpacking on, until removal.
            b"status" => {
                let state = word(value).rsplit(' ').next().unwrap_or_default().to_owned();
                record.absent = matches!(state.as_str(), "not-installed" | "config-files" | "half-installed");
            }
            _ => {}
        }
    })
}

/// apk's database of what is installed: a letter, a colon and a value on each line. The files of a package follow below `F:`.
pub fn apk<R: Read>(source: R, budget: &mut Budget) -> io::Result<Vec<Package>> {
    records(source, budget, |record, line| match line {
        [b'P', b':', value @ ..] => record.name = word(value),
        [b'V', b':', value @ ..] => record.version = word(value),
        [b'A', b':', value @ ..] => record.architecture = some_word(value),
        [b'o', b':', value @ ..] => record.source = some_word(value),
        _ => {}
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::packages::{Limits, in_words};

    fn budget(packages: usize) -> Budget {
        Budget::of(&Limits { packages, ..Limits::default() })
    }

    fn package(name: &str, version: &str, architecture: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.map(str::to_owned),
            source: source.map(str::to_owned),
        }
    }

    #[test]
    fn reads_what_dpkg_writes() {
        let status = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nSource: glibc\n\
            Version: 2.36-9+deb12u4\nDescription: GNU C Library\n Version: 0 of nothing\n .\n Package: lie\n\n\
            Package: perl-base\nStatus: install ok unpacked\nArchitecture: amd64\nSource: perl (5.36.0-7)\nVersion: 5.36.0-7+deb12u1\n\n\
            Package: removed\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok installed\n\n\
            Package: held\nStatus: hold ok installed\nSource: held\nArchitecture: all\nVersion: 1:2.0~rc1-1";
        let expected = [
            package("libc6", "2.36-9+deb12u4", Some("amd64"), Some("glibc")),
            package("perl-base", "5.36.0-7+deb12u1", Some("amd64"), Some("perl")),
            package("held", "1:2.0~rc1-1", Some("all"), None),
        ];
        assert_eq!(dpkg(status.as_bytes(), &mut budget(10)).unwrap(), expected);
        let part = "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n";
        assert_eq!(
            dpkg(part.as_bytes(), &mut budget(10)).unwrap(),
            [package("tzdata", "2024a-0+deb12u1", Some("all"), None)]
        );
    }

    #[test]
    fn reads_what_apk_writes() {
        let installed = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nS:1\no:musl\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n\n\
            C:Q1def=\nP:ssl_client\nV:1.36.1-r29\nA:x86_64\no:busybox\n\n";
        let expected = [
            package("musl", "1.2.5-r0", Some("x86_64"), None),
            package("ssl_client", "1.36.1-r29", Some("x86_64"), Some("busybox")),
        ];
        assert_eq!(apk(installed.as_bytes(), &mut budget(10)).unwrap(), expected);
    }

    #[test]
    fn hostile_text_is_cut() {
        let long = format!(
            "Package: {}\nVersion: 1\x1b[31m\u{0}\nDepends: {}\n\n",
            "a".repeat(100_000),
            "b, ".repeat(1_000_000)
        );
        let packages = dpkg(long.as_bytes(), &mut budget(10)).unwrap();
        assert_eq!((packages[0].name.len(), packages[0].version.as_str()), (MAX_WORD, "1[31m"));
        let many = "Package: a\nVersion: 1\n\n".repeat(12);
        let refused = dpkg(many.as_bytes(), &mut budget(10)).unwrap_err();
        assert!(in_words(&refused).starts_with("it lists more packages"));
    }
}
