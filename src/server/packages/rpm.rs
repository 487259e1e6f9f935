//! rpm's database: headers of packages, which three file formats wrap.

mod berkeley;
mod ndb;
mod sqlite;

use std::io::{self, Read, Seek, SeekFrom, Write as _};

use super::layer::Budget;
use super::lists::word;
use super::paths::Format;
use super::{refusal, trouble};
use crate::model::Package;

/// The largest database that is read: those of whole desktops have some 300 MB.
const MAX_DATABASE: u64 = 512 * 1024 * 1024;
/// What is kept in memory of a database; larger ones go to a temporary file.
const IN_MEMORY: usize = 4 * 1024 * 1024;
/// The largest header of one package. The kernel's sources, with 80,000 files, have 6 MB.
const MAX_HEADER: usize = 32 * 1024 * 1024;

/// Tags of a header (rpm's `rpmtag.h`).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;

/// Reads a database from its start to its end: it is put aside first, because none of its formats can be read in one go.
pub fn read<R: Read>(source: R, format: Format, budget: &mut Budget) -> io::Result<Vec<Package>> {
    let file = put_aside(source)?;
    let mut packages = Vec::new();
    let mut take = |header: &[u8]| {
        if let Some(package) = package(header)? {
            budget.take(&package)?;
            packages.push(package);
        }
        Ok(())
    };
    match format {
        Format::RpmNdb => ndb::read(file, &mut take)?,
        Format::RpmBerkeley => berkeley::read(file, &mut take)?,
        _ => sqlite::read(file, &mut take)?,
    }
    Ok(packages)
}

fn put_aside<R: Read>(source: R) -> io::Result<Pages<tempfile::SpooledTempFile>> {
    let mut source = source.take(MAX_DATABASE + 1);
    let mut file = tempfile::SpooledTempFile::new(IN_MEMORY);
    let (mut piece, mut size) = (vec![0; 64 * 1024], 0);
    loop {
        let read = source.read(&mut piece)?;
        if read == 0 {
            break;
        }
        file.write_all(&piece[..read]).map_err(trouble)?;
        size += read as u64;
    }
    if size > MAX_DATABASE {
        return Err(refusal("it is larger than 512 MiB"));
    }
    // Each page and each header is read once; what leads to the same bytes again and again was made to keep its reader busy.
    let left = size.saturating_mul(4).saturating_add(1024 * 1024);
    Ok(Pages { file, size, left })
}

/// A file that is read in pieces from anywhere.
struct Pages<F> {
    file: F,
    size: u64,
    /// How many bytes may still be read.
    left: u64,
}

impl<F: Read + Seek> Pages<F> {
    /// Fills the buffer from `offset` on.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            return Err(damaged("something in it points behind its end"));
        }
        self.spend(buffer.len())?;
        self.file.seek(SeekFrom::Start(offset)).map_err(trouble)?;
        self.file.read_exact(buffer).map_err(trouble)
    }

    /// Counts bytes that are looked at.
    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(|| damaged("parts of it stand for each other"))?;
        Ok(())
    }

    /// `length` bytes from `offset` on.
    fn bytes_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // Looked at first: what does not fit into the file must not be asked of the memory.
        if length as u64 > self.size {
            return Err(damaged("something in it points behind its end"));
        }
        let mut bytes = vec![0; length];
        self.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}

fn damaged(what: &str) -> io::Error {
    refusal(format!("it is damaged: {what}"))
}

/// The number at `at`, most significant byte first.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The number at `at`, least significant byte first.
fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    be32(bytes, at).map(u32::swap_bytes)
}

/// The package of a header: counts of entries and of bytes of data, the entries (tag, type, offset, count), the data. `None` for keys,
/// which rpm keeps as if they were packages.
fn package(header: &[u8]) -> io::Result<Option<Package>> {
    let wrong = || damaged("the header of a package does not read");
    let (entries, size) = be32(header, 0).zip(be32(header, 4)).ok_or_else(wrong)?;
    let data_at = usize::try_from(entries).ok().and_then(|entries| entries.checked_mul(16)?.checked_add(8));
    let data = data_at.and_then(|at| header.get(at..)).ok_or_else(wrong)?;
    let data = usize::try_from(size).ok().and_then(|size| data.get(..size)).ok_or_else(wrong)?;
    let index = &header[8..header.len() - data.len()];
    let entry = |tag: u32| index.chunks_exact(16).find(|entry| be32(entry, 0) == Some(tag));
    let at = |entry: &[u8]| be32(entry, 8).and_then(|offset| data.get(usize::try_from(offset).ok()?..));
    let text = |tag: u32| {
        let text = at(entry(tag)?)?.split(|byte| *byte == 0).next()?;
        Some(word(text)).filter(|text| !text.is_empty() && text != "(none)")
    };
    let (Some(name), Some(version), Some(release)) = (text(NAME), text(VERSION), text(RELEASE)) else {
        return Err(wrong());
    };
    if name == "gpg-pubkey" {
        return Ok(None);
    }
    let epoch = entry(EPOCH).and_then(at).and_then(|data| be32(data, 0)).filter(|epoch| *epoch > 0);
    let version = match epoch {
        Some(epoch) => format!("{epoch}:{version}-{release}"),
        None => format!("{version}-{release}"),
    };
    // `name-version-release.src.rpm`
    let source =
        text(SOURCE).and_then(|file| Some(file.rsplitn(3, '-').nth(2)?.to_owned())).filter(|source| *source != name);
    Ok(Some(Package { name, version, architecture: text(ARCHITECTURE), source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_not_read_many_times_over() {
        const PAGE: usize = 65536;
        let mut file = vec![0; 2 * PAGE];
        // The header of a hash of Berkeley DB.
        file[12..16].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
        file[20..24].copy_from_slice(&(PAGE as u32).to_le_bytes());
        file[25] = 8;
        // A page of 2000 pairs which all have the same 5000 bytes for their value.
        let page = &mut file[PAGE..];
        page[20..22].copy_from_slice(&4000_u16.to_le_bytes());
        page[25] = 2;
        for pair in page[26..26 + 8000].chunks_exact_mut(4) {
            pair[..2].copy_from_slice(&65_000_u16.to_le_bytes());
            pair[2..].copy_from_slice(&60_000_u16.to_le_bytes());
        }
        page[60_000] = 1;
        let mut taken = 0;
        let read = berkeley::read(put_aside(&*file).unwrap(), |_| {
            taken += 1;
            Ok(())
        });
        assert_eq!(read.unwrap_err().to_string(), "it is damaged: parts of it stand for each other");
        // Four times its size and 1 MiB, at 5000 bytes each.
        assert!((200..400).contains(&taken), "{taken}");
    }

    #[test]
    fn pages_are_read_a_few_times_at_most() {
        let mut pages = put_aside(&[7; 10_000][..]).unwrap();
        let reads = std::iter::from_fn(|| pages.bytes_at(0, 10_000).ok()).take(1000).count();
        assert_eq!(reads, (4 * 10_000 + 1024 * 1024) / 10_000);
    }
}
