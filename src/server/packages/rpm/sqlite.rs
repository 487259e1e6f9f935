//! rpm's database in SQLite, as far as reading one table takes it (<https://sqlite.org/fileformat2.html>). It comes out of images that
//! anybody may push, so it is not handed to SQLite itself, which would run what a schema says.

use std::collections::HashSet;
use std::io::{self, Read, Seek};

use super::{MAX_HEADER, Pages, be32, damaged};

const MAGIC: &[u8] = b"SQLite format 3\0";
const INTERIOR: u8 = 0x05;
const LEAF: u8 = 0x0d;
/// Deeper than any tree of 2^32 pages gets.
const MAX_DEPTH: u32 = 24;
/// The largest definition of a table that is looked at.
const MAX_DEFINITION: usize = 64 * 1024;

/// Calls `take` with the header of each package.
pub fn read<F: Read + Seek>(file: Pages<F>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut database = Database::open(file)?;
    let mut root = None;
    database.walk(1, MAX_DEFINITION, &mut |row| {
        // type, name, tbl_name, rootpage, sql
        let is_packages = row.column(0) == Some(b"table") && row.column(1) == Some(b"Packages");
        if is_packages {
            root = row.column(3).and_then(number);
        }
        Ok(())
    })?;
    let root = root.ok_or_else(|| damaged("it has no table Packages"))?;
    database.visited.clear();
    // hnum, blob
    database.walk(root, MAX_HEADER, &mut |row| take(row.column(1).unwrap_or_default()))
}

struct Database<F> {
    file: Pages<F>,
    page_size: usize,
    /// What is left of a page for content.
    usable: usize,
    /// Pages seen so far: a page that comes twice is a circle.
    visited: HashSet<u32>,
}

/// The values of a row: their types and where their bytes begin.
struct Row<'a> {
    types: &'a [u8],
    body: &'a [u8],
}

impl<F: Read + Seek> Database<F> {
    fn open(mut file: Pages<F>) -> io::Result<Self> {
        let head = file.bytes_at(0, 100).map_err(|_| damaged("it has no header"))?;
        if !head.starts_with(MAGIC) {
            return Err(damaged("it is no SQLite database"));
        }
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            _ => return Err(damaged("it has no possible page size")),
        };
        let usable = page_size - usize::from(head[20]);
        // The format promises as much, and the arithmetic of overflow pages relies on it.
        if usable < 480 || be32(&head, 56) != Some(1) {
            return Err(damaged("it is not written as rpm writes it"));
        }
        Ok(Self { file, page_size, usable, visited: HashSet::new() })
    }

    fn page(&mut self, number: u32) -> io::Result<Vec<u8>> {
        if number == 0 || !self.visited.insert(number) {
            return Err(damaged("its pages do not make a tree"));
        }
        let offset = u64::from(number - 1) * self.page_size as u64;
        self.file.bytes_at(offset, self.page_size)
    }

    /// Visits every row of a table, `max` bytes of a row at most.
    fn walk(&mut self, root: u32, max: usize, visit: &mut impl FnMut(Row<'_>) -> io::Result<()>) -> io::Result<()> {
        let wrong = || damaged("a page of it does not read");
        let mut ahead = vec![(root, 0)];
        while let Some((number, depth)) = ahead.pop() {
            let page = self.page(number)?;
            // The first page begins with the header of the file.
            let start = if number == 1 { 100 } else { 0 };
            let head = &page[start..];
            let count = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let cells = match head[0] {
                LEAF => head.get(8..8 + 2 * count),
                INTERIOR if depth < MAX_DEPTH => head.get(12..12 + 2 * count),
                _ => None,
            };
            for cell in cells.ok_or_else(wrong)?.chunks_exact(2) {
                let cell = page.get(usize::from(u16::from_be_bytes([cell[0], cell[1]]))..).ok_or_else(wrong)?;
                if head[0] == INTERIOR {
                    ahead.push((be32(cell, 0).ok_or_else(wrong)?, depth + 1));
                } else if let Some(record) = self.record(cell, max)? {
                    visit(Row::of(&record).ok_or_else(wrong)?)?;
                }
            }
            if head[0] == INTERIOR {
                ahead.push((be32(head, 8).ok_or_else(wrong)?, depth + 1));
            }
        }
        Ok(())
    }

    /// A row's bytes, gathered from its overflow pages; `None` when they are too many.
    fn record(&mut self, cell: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
        let wrong = || damaged("a row of it does not read");
        let (size, cell) = varint(cell).ok_or_else(wrong)?;
        let (_, cell) = varint(cell).ok_or_else(wrong)?;
        let size = usize::try_from(size).map_err(|_| wrong())?;
        if size > max {
            return Ok(None);
        }
        let local = self.local(size);
        let mut record = cell.get(..local).ok_or_else(wrong)?.to_vec();
        self.file.spend(local)?;
        let mut next = if local < size { be32(cell, local).ok_or_else(wrong)? } else { 0 };
        while record.len() < size {
            let page = self.page(next)?;
            let part = (size - record.len()).min(self.usable - 4);
            record.extend_from_slice(&page[4..4 + part]);
            next = be32(&page, 0).ok_or_else(wrong)?;
        }
        Ok(Some(record))
    }

    /// How much of a row stays on the leaf ("Cell Payload Overflow Pages").
    fn local(&self, size: usize) -> usize {
        let most = self.usable - 35;
        let least = (self.usable - 12) * 32 / 255 - 23;
        if size <= most {
            return size;
        }
        let fits = least + (size - least) % (self.usable - 4);
        if fits <= most { fits } else { least }
    }
}

impl<'a> Row<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let (header, rest) = varint(record)?;
        let header = usize::try_from(header).ok()?;
        let types = record.get(record.len() - rest.len()..header)?;
        Some(Self { types, body: &record[header..] })
    }

    /// The bytes of a column; `None` behind the last one.
    fn column(&self, column: usize) -> Option<&'a [u8]> {
        let (mut types, mut at) = (self.types, 0_usize);
        for number in 0..=column {
            let (kind, rest) = varint(types)?;
            types = rest;
            let size = match kind {
                0 | 8..=11 => 0,
                1..=4 => usize::try_from(kind).ok()?,
                5 => 6,
                6 | 7 => 8,
                // Even for blobs, odd for texts.
                _ => usize::try_from((kind - 12) / 2).ok()?,
            };
            let end = at.checked_add(size)?;
            if number == column {
                return self.body.get(at..end);
            }
            at = end;
        }
        None
    }
}

/// A number of one to four bytes: pages have no larger ones.
fn number(bytes: &[u8]) -> Option<u32> {
    (1..=4).contains(&bytes.len()).then(|| bytes.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
}

/// A number of SQLite's variable length, and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some(((value << 8) | u64::from(*byte), &bytes[9..]));
        }
        value = (value << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}
