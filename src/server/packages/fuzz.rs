//! Layers that nobody honest would make: whatever comes, reading ends soon, takes little memory, and says what is wrong.
//!
//! 10^5 random layers, lists of packages and databases of rpm's each, nearly all of them made from real ones, and some bytes of no kind;
//! `WEIR_MODEL_STEPS` sets another number.

use std::io::{self, Read};
use std::process::Command;
use std::time::{Duration, Instant};

use tar::EntryType;

use super::layer::Budget;
use super::paths::Format;
use super::real::sample as database;
use super::testing::{Tar, gzip, names, read, read_with};
use super::{Limits, languages, lists, rpm};
use crate::model::Package;
use crate::server::fuzzing::cases;

const STATUS: &str = "var/lib/dpkg/status";
const ONE: &[u8] = b"Package: one\nVersion: 1\nStatus: install ok installed\n";

/// Small enough that a thousand of them are quick.
fn tight() -> Limits {
    let time = Duration::from_secs(5);
    Limits { unpacked: 1 << 22, entries: 1000, packages: 100, text: 1 << 16, time, ..Limits::default() }
}

/// What is kept of a layer, however odd, is no more than its limits say: it is all that outlives the reading of a member.
fn read_within(bytes: &[u8], limits: &Limits) {
    let Ok(contents) = read_with(bytes, limits) else { return };
    let packages: Vec<&Package> = contents.databases.iter().flat_map(|database| &database.packages).collect();
    assert!(packages.len() <= limits.packages, "{} packages", packages.len());
    let text = |package: &&Package| package.name.len() + package.version.len();
    let paths = contents.hidden.iter().chain(&contents.emptied).map(String::len);
    let kept = packages.iter().map(text).chain(paths).sum::<usize>();
    assert!(kept <= limits.text, "{kept} bytes are kept");
}

/// A list or a database, read as a layer's would be, within its budget.
fn read_database(format: Format, bytes: &[u8]) {
    let limits = tight();
    let mut budget = Budget::of(&limits);
    let packages = match format {
        Format::Dpkg => lists::dpkg(bytes, &mut budget),
        Format::Apk => lists::apk(bytes, &mut budget),
        format => rpm::read(bytes, format, &mut budget),
    };
    if let Ok(packages) = packages {
        let kept = packages.iter().map(|package| package.name.len() + package.version.len()).sum::<usize>();
        assert!(packages.len() <= limits.packages && kept <= limits.text, "{} packages", packages.len());
    }
}

/// Small archives of real members: what goes wrong does so at a few of them as well as at many.
fn small() -> Vec<Vec<u8>> {
    let link = |kind| Tar::new().link("var/lib/rpm", kind, "../../usr/lib/sysimage/rpm").file(STATUS, ONE).bytes();
    vec![
        Tar::new().directory("var/lib/").file(STATUS, ONE).file("x/.wh.y", b"").bytes(),
        Tar::new().file("lib/apk/db/installed", b"P:musl\nV:1.2.5-r0\n\n").file("x/.wh..wh..opq", b"").bytes(),
        Tar::new().file("app/node_modules/a/package.json", br#"{"name": "a", "version": "1.0.0"}"#).bytes(),
        Tar::new().file(&format!("{}/package.json", ["node_modules"; 10].join("/x/")), br#"{"name": "b"}"#).bytes(),
        link(EntryType::Symlink),
        link(EntryType::Link),
    ]
}

/// A real archive with every kind of member.
fn sample() -> Vec<u8> {
    let long = format!("{}/x/package.json", ["node_modules"; 20].join("/x/"));
    Tar::new()
        .directory("var/lib/")
        .file(STATUS, ONE)
        .file("lib/apk/db/installed", b"P:musl\nV:1.2.5-r0\n\n")
        .file("app/node_modules/a/package.json", br#"{"name": "a", "version": "1.0.0"}"#)
        .file(&long, br#"{"name": "b", "version": "1.0.0"}"#)
        .file("x/.wh.y", b"")
        .link("var/lib/rpm", EntryType::Symlink, "../../usr/lib/sysimage/rpm")
        .bytes()
}

#[test]
fn random_bytes_are_refused_or_read() {
    let limits = tight();
    let starts: [&[u8]; 4] = [b"", &[0x1f, 0x8b, 8, 0], &[0x28, 0xb5, 0x2f, 0xfd], &[0x50, 0x2a, 0x4d, 0x18]];
    cases(1, |random| {
        let start = starts[random.below(starts.len())];
        read_within(&[start, &random.bytes(1500)].concat(), &limits);
    });
}

#[test]
fn archives_with_wrong_bytes_are_refused_or_read() {
    let (limits, samples) = (tight(), small());
    let packed: Vec<Vec<u8>> = samples.iter().map(|sample| gzip(sample)).collect();
    cases(8, |random| {
        // Of packed ones a wrong byte is mostly the end.
        let is_plain = random.below(8) > 0;
        let mut bytes = random.choose(if is_plain { &samples } else { &packed }).clone();
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len());
            bytes[at] = random.next().to_le_bytes()[0];
            // A wrong checksum would be the end of most stories.
            if is_plain {
                mend(&mut bytes, at / 512 * 512);
            }
        }
        bytes.truncate(random.below(4 * bytes.len()));
        read_within(&bytes, &limits);
    });
}

/// Sets the checksum of the header at `at`.
fn mend(bytes: &mut [u8], at: usize) {
    let header = &mut bytes[at..at + 512];
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn lists_with_wrong_bytes_are_refused_or_read() {
    wrong_bytes(&[(Format::Dpkg, ONE.repeat(3)), (Format::Apk, b"P:musl\nV:1.2.5-r0\n\nP:x\nV:1\n".to_vec())]);
}

#[test]
fn databases_of_rpm_with_wrong_bytes_are_refused_or_read() {
    wrong_bytes(&[Format::RpmSqlite, Format::RpmNdb, Format::RpmBerkeley].map(|format| (format, database(format))));
}

fn wrong_bytes(databases: &[(Format, Vec<u8>)]) {
    cases(8, |random| {
        let (format, mut bytes) = random.choose(databases).clone();
        for _ in 0..=random.below(8) {
            // Half of them in front, where lengths and offsets are.
            let end = if random.next().is_multiple_of(2) { 256 } else { bytes.len() };
            let at = random.below(end.min(bytes.len()));
            bytes[at] = random.next().to_le_bytes()[0];
        }
        bytes.truncate(random.below(8 * bytes.len()));
        read_database(format, &bytes);
    });
}

#[test]
fn random_databases_are_refused_or_read() {
    let words = [
        "Package", "Version", "Status", "Name", "P", "V", ": ", ":", "ok ", "a", "\n", "\n\n", " ", "\u{fe0f}", "{",
        "\"name\"", "[", "-1.0",
    ];
    let formats = [Format::RpmSqlite, Format::RpmNdb, Format::RpmBerkeley];
    cases(1, |random| {
        let text: String = (0..random.below(40)).map(|_| words[random.below(words.len())]).collect();
        let bytes = random.bytes(600);
        for source in [text.as_bytes(), &bytes] {
            read_database(Format::Dpkg, source);
            read_database(Format::Apk, source);
            let _ = languages::python(source);
            let _ = languages::npm(source);
            let _ = languages::composer(source, &mut Budget::of(&tight()));
            let _ = languages::gem(&format!("specifications/{}.gemspec", String::from_utf8_lossy(source)));
        }
        let which = random.below(formats.len());
        let magic: &[u8] = [&b"SQLite format 3\0\x02\0"[..], b"RpmP\0\0\0\0", b""][which];
        read_database(formats[which], &[magic, &bytes].concat());
    });
}

#[test]
fn paths_lead_nowhere_else() {
    let layer = Tar::new()
        .odd(b"/var/lib/dpkg/status.d/absolute", ONE)
        .odd(b"./var/./lib/dpkg//status.d/dots", ONE)
        .odd(b"etc/../var/lib/dpkg/status.d/up", ONE)
        .odd(b"../var/lib/dpkg/status.d/outside", ONE)
        .odd(b"etc/../../var/lib/dpkg/status.d/outside", ONE)
        .odd(b"var/lib/dpkg/status.d/\xff\xfe", ONE)
        .bytes();
    let contents = read(&layer).unwrap();
    let paths: Vec<_> = contents.databases.iter().map(|database| database.path.as_str()).collect();
    let below = |name: &str| format!("var/lib/dpkg/status.d/{name}");
    assert_eq!(paths, [below("absolute"), below("dots"), below("up"), below("\u{fffd}\u{fffd}")]);
}

#[test]
fn links_are_not_followed() {
    for (kind, target) in [(EntryType::Symlink, "/etc/shadow"), (EntryType::Link, "etc/shadow")] {
        let contents = read(&Tar::new().link(STATUS, kind, target).bytes()).unwrap();
        let problem = contents.databases[0].problem.as_deref();
        assert_eq!(problem, Some("it is a link or a device, which is not followed"));
    }
    let contents = read(&Tar::new().link("var/lib", EntryType::Symlink, "/proc/self").bytes()).unwrap();
    assert_eq!(contents.hidden, ["var/lib"], "what lay below is gone");
}

#[test]
fn sparse_files_do_not_grow() {
    // A terabyte of nothing, in GNU's own form, whose map of holes goes on in a second block.
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    header.set_path(STATUS).unwrap();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(1 << 40);
    gnu.set_is_extended(true);
    header.set_cksum();
    let after = Tar::new().file("var/lib/dpkg/status.d/after", ONE).bytes();
    let layer = [header.as_bytes().as_slice(), &[0; 512], &after].concat();
    let contents = read(&layer).unwrap();
    assert_eq!(contents.databases[0].problem.as_deref(), Some("it is a sparse file, which is not read"));
    assert_eq!(names(&contents), ["one 1"], "what follows is found");
}

/// Bytes that are made while they are read.
struct Endless<F>(F, Vec<u8>, usize);

impl<F: FnMut() -> Option<Vec<u8>>> Read for Endless<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.2 == self.1.len() {
            (self.1, self.2) = (self.0().unwrap_or_default(), 0);
        }
        let part = (self.1.len() - self.2).min(buffer.len());
        buffer[..part].copy_from_slice(&self.1[self.2..self.2 + part]);
        self.2 += part;
        Ok(part)
    }
}

#[test]
fn a_million_entries_are_read_in_little_memory() {
    if !is_alone("a_million_entries_are_read_in_little_memory") {
        return;
    }
    let mut count = 0;
    let header = Tar::new().odd(b"usr/share/x", b"").bytes()[..512].to_vec();
    let status = Tar::new().file(STATUS, ONE).bytes();
    let many = Endless(
        || {
            count += 1;
            match count {
                ..1000 => Some(header.repeat(1000)),
                1000 => Some(status.clone()),
                _ => None,
            }
        },
        Vec::new(),
        0,
    );
    let (before, began) = (peak_kb(), Instant::now());
    let contents = super::read_layer(many, &Limits::default()).unwrap();
    assert_eq!(names(&contents), ["one 1"]);
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    let grown = peak_kb() - before;
    assert!(grown < MOST_KB, "{grown} kB more");
    let endless = Endless(|| Some(header.repeat(1000)), Vec::new(), 0);
    let refused = super::read_layer(endless, &Limits { entries: 5000, ..Limits::default() });
    assert!(matches!(refused, Err(super::Unread::Refused(why)) if why == "it has more than 5000 entries"));
}

/// What a layer may take while it is read, with the bytes of these tests.
const MOST_KB: u64 = 64 * 1024;

/// Whether this is a process of its own for the test of this name. Where it is not, one is made, and waited for: what others take beside
/// this, or took before, would hide what this does.
#[expect(clippy::disallowed_methods, reason = "the setting is that of the test run")]
fn is_alone(test: &str) -> bool {
    if std::env::var("WEIR_TEST_ALONE").is_ok_and(|alone| alone == test) {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let name = format!("{}::{test}", module_path!().split_once("::").expect("a crate and a module").1);
    let ran = Command::new(program).args(["--exact", &name, "--nocapture"]).env("WEIR_TEST_ALONE", test).output();
    let ran = ran.expect("it runs");
    let said = [String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)].concat();
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// The most memory this process ever had.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn bombs_are_refused_whatever_they_are_filled_with() {
    if !is_alone("bombs_are_refused_whatever_they_are_filled_with") {
        return;
    }
    let limits = Limits { unpacked: 64 << 20, ..Limits::default() };
    // 10 GB of zeros in one member, and 10 GB of packages in one list.
    let mut header = tar::Header::new_gnu();
    header.set_path(STATUS).unwrap();
    header.set_size(10 << 30);
    header.set_cksum();
    for filling in [vec![0; 1 << 16], ONE.repeat(1000), b"Package: x\nVersion: 1\n\n".repeat(1000)] {
        let mut first = Some(header.as_bytes().to_vec());
        let bomb = Endless(|| Some(first.take().unwrap_or_else(|| filling.clone())), Vec::new(), 0);
        let (before, began) = (peak_kb(), Instant::now());
        let Err(super::Unread::Refused(why)) = super::read_layer(bomb, &limits) else { panic!("it was read") };
        assert!(why == "it is too large when it is unpacked" || why.starts_with("it lists more packages"), "{why}");
        assert!(began.elapsed() < Duration::from_secs(120) && peak_kb() - before < MOST_KB);
    }
}

#[test]
fn headers_do_not_ask_for_memory() {
    for (flag, size) in [(b'L', 1_u64 << 33), (b'x', 1 << 33), (b'L', 100_000), (b'x', 2_000_000)] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::new(flag));
        header.set_size(size);
        header.set_cksum();
        let endless = Endless(|| Some(header.as_bytes().to_vec()), Vec::new(), 0);
        let Err(super::Unread::Refused(why)) = super::read_layer(endless, &Limits::default()) else { panic!("read") };
        assert!(why.starts_with(&format!("a header in it has {size} bytes")), "{why}");
    }
}

#[test]
fn too_much_that_is_worth_keeping_is_refused() {
    let limits = Limits { text: 10_000, ..Limits::default() };
    let mut hides = Tar::new();
    for n in 0..1000 {
        hides = hides.file(&format!("usr/share/doc/.wh.{n}"), b"");
    }
    let refused = Err("it lists more packages, or takes more files of lower layers away, than are kept".to_owned());
    assert_eq!(read_with(&hides.bytes(), &limits), refused);
    let many = (0..1000).fold(Tar::new(), |tar, n| {
        tar.file(
            &format!("node_modules/p{n}/package.json"),
            format!(r#"{{"name": "p{n}", "version": "1.0.0"}}"#).as_bytes(),
        )
    });
    assert_eq!(read_with(&many.bytes(), &limits), refused);
}

#[test]
fn what_is_cut_off_is_said_to_be() {
    let sample = sample();
    for whole in [sample.clone(), gzip(&sample)] {
        let end = if whole.len() == sample.len() { 700 } else { whole.len() / 2 };
        assert_eq!(read(&whole[..end]), Err("it ends in the middle".to_owned()));
    }
    assert_eq!(
        read(&b"not a layer at all, but some text that goes on for a while ".repeat(20)[..])
            .unwrap_err()
            .split(':')
            .next(),
        Some("it is no tar archive")
    );
    assert_eq!(names(&read(&sample).unwrap()), ["a 1.0.0", "musl 1.2.5-r0", "b 1.0.0", "one 1"]);
    assert_eq!(
        read(&sample[..sample.len() - 1024]).map(|contents| names(&contents).len()),
        Ok(4),
        "its end may be missing"
    );
}
