//! rpm's database in its own format, "ndb", which SUSE uses: pages of slots in front, each of which says where a header lies.

use std::io::{self, Read, Seek};

use super::{MAX_HEADER, Pages, damaged, le32};

const MAGIC: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB: u32 = u32::from_le_bytes(*b"BlbS");
/// Bytes of a page of slots; the first one begins with the file's header, as long as two slots.
const PAGE: u64 = 4096;
/// Bytes of a slot, of a block, and of what stands before a header.
const UNIT: u64 = 16;
/// A million packages.
const MAX_SLOT_PAGES: u32 = 4096;

/// Calls `take` with the header of each package.
pub fn read<F: Read + Seek>(mut file: Pages<F>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let wrong = || damaged("it is not written as rpm writes it");
    let head = file.bytes_at(0, 32).map_err(|_| damaged("it has no header"))?;
    if le32(&head, 0) != Some(MAGIC) || le32(&head, 4) != Some(0) {
        return Err(wrong());
    }
    let pages = le32(&head, 12).filter(|pages| *pages <= MAX_SLOT_PAGES).ok_or_else(wrong)?;
    for page in 0..u64::from(pages) {
        let slots = file.bytes_at(page * PAGE, 4096)?;
        let skipped = if page == 0 { 2 } else { 0 };
        for slot in slots.chunks_exact(16).skip(skipped) {
            let (package, block) = le32(slot, 4).zip(le32(slot, 8)).ok_or_else(wrong)?;
            // An empty slot names no package.
            if le32(slot, 0) != Some(SLOT) || package == 0 || block == 0 {
                continue;
            }
            let at = u64::from(block) * UNIT;
            let blob = file.bytes_at(at, 16)?;
            if le32(&blob, 0) != Some(BLOB) || le32(&blob, 4) != Some(package) {
                return Err(damaged("a slot of it leads to no package"));
            }
            let length = le32(&blob, 12).and_then(|length| usize::try_from(length).ok()).ok_or_else(wrong)?;
            if length <= MAX_HEADER {
                take(&file.bytes_at(at + UNIT, length)?)?;
            }
        }
    }
    Ok(())
}
