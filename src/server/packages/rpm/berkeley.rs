//! rpm's database in Berkeley DB's hash format, which systems before 2020 use: pages of pairs, whose values are headers that lie on
//! chains of overflow pages (Berkeley DB's `db_page.h`).

use std::collections::HashSet;
use std::io::{self, Read, Seek};

use super::{MAX_HEADER, Pages, damaged, le32};

const MAGIC: u32 = 0x0006_1561;
const META_PAGE: u8 = 8;
const PAIRS: [u8; 2] = [2, 13];
const OVERFLOW: u8 = 7;
/// Where a page's own content begins.
const HEAD: usize = 26;
/// A value on the page itself, and one on overflow pages.
const ON_PAGE: u8 = 1;
const OFF_PAGE: u8 = 3;

/// Calls `take` with the header of each package.
pub fn read<F: Read + Seek>(mut file: Pages<F>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let wrong = || damaged("a page of it does not read");
    let head = file.bytes_at(0, 72).map_err(|_| damaged("it has no header"))?;
    if le32(&head, 12) != Some(MAGIC) || head[25] != META_PAGE || head[24] != 0 {
        return Err(damaged("it is no hash of Berkeley DB written on a PC"));
    }
    let page_size = le32(&head, 20).and_then(|size| usize::try_from(size).ok()).ok_or_else(wrong)?;
    if !(512..=65536).contains(&page_size) || !page_size.is_power_of_two() {
        return Err(damaged("it has no possible page size"));
    }
    let pages = u32::try_from(file.size / page_size as u64).map_err(|_| wrong())?;
    let mut visited = HashSet::new();
    for number in 1..pages {
        let page = file.bytes_at(u64::from(number) * page_size as u64, page_size)?;
        if !PAIRS.contains(&page[25]) {
            continue;
        }
        let count = usize::from(u16::from_le_bytes([page[20], page[21]]));
        let items = page.get(HEAD..HEAD + 2 * count).ok_or_else(wrong)?;
        let items: Vec<usize> =
            items.chunks_exact(2).map(|at| usize::from(u16::from_le_bytes([at[0], at[1]]))).collect();
        // Keys and values take turns, and grow from the page's end towards its start.
        for pair in items.chunks_exact(2) {
            let value = page.get(pair[1]..pair[0]).ok_or_else(wrong)?;
            file.spend(value.len())?;
            let header = match value.first() {
                Some(&OFF_PAGE) => chain(&mut file, value, page_size, &mut visited)?,
                Some(&ON_PAGE) => Some(value[1..].to_vec()),
                _ => None,
            };
            // The first pair counts packages: its value is a number.
            if let Some(header) = header.filter(|header| header.len() > 8) {
                take(&header)?;
            }
        }
    }
    Ok(())
}

/// A value that lies on overflow pages; `None` when it is too large.
fn chain<F: Read + Seek>(
    file: &mut Pages<F>,
    value: &[u8],
    page_size: usize,
    visited: &mut HashSet<u32>,
) -> io::Result<Option<Vec<u8>>> {
    let wrong = || damaged("a chain of its pages does not read");
    let (mut next, length) = le32(value, 4).zip(le32(value, 8)).ok_or_else(wrong)?;
    let length = usize::try_from(length).map_err(|_| wrong())?;
    if length > MAX_HEADER {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        if next == 0 || !visited.insert(next) {
            return Err(wrong());
        }
        let page = file.bytes_at(u64::from(next) * page_size as u64, page_size)?;
        let filled = usize::from(u16::from_le_bytes([page[22], page[23]]));
        let content = page.get(HEAD..HEAD + filled).filter(|content| !content.is_empty() && page[25] == OVERFLOW);
        bytes.extend_from_slice(content.ok_or_else(wrong)?);
        next = le32(&page, 16).ok_or_else(wrong)?;
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}
