//! The members of a tar archive, one after the other, from a stream that is not trusted: ustar, GNU and PAX headers. Memory is bounded by
//! the largest header that is accepted, whatever the archive says of itself.

use std::io::{self, Read};

use super::refusal;

const BLOCK: usize = 512;
/// The longest path taken from a GNU header. Linux has no paths longer than 4096 bytes.
const MAX_LONG_NAME: u64 = 64 * 1024;
/// The largest PAX header: extended attributes are in it, 64 KiB each.
const MAX_PAX: u64 = 1024 * 1024;

/// What kind of thing a member is, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    File,
    /// A file whose holes are left out.
    SparseFile,
    Directory,
    /// Links, devices and whatever else.
    Other,
}

/// The head of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// As the archive has it.
    pub path: Vec<u8>,
    pub kind: MemberKind,
    /// Bytes of its content in the archive.
    pub size: u64,
}

/// An archive being read.
pub struct Members<R> {
    source: R,
    /// Content of the present member that was not read yet, and the padding behind it.
    left: u64,
    padding: u64,
    count: u64,
    max_count: u64,
    scratch: Vec<u8>,
}

/// What the headers before a member's own say of it.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl<R: Read> Members<R> {
    /// Of an archive with at most `max_count` members.
    pub fn new(source: R, max_count: u64) -> Self {
        Self { source, left: 0, padding: 0, count: 0, max_count, scratch: vec![0; 32 * 1024] }
    }

    /// The next member, `None` at the archive's end.
    pub fn next(&mut self) -> io::Result<Option<Member>> {
        let mut ahead = Ahead::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.next_header()? else { return Ok(None) };
            self.count += 1;
            if self.count > self.max_count {
                return Err(refusal(format!("it has more than {} entries", self.max_count)));
            }
            let (flag, size) = (header[156], number(&header[124..136])?);
            match flag {
                b'L' => {
                    let mut name = self.read_header_content(size, MAX_LONG_NAME)?;
                    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                    ahead.path = Some(name);
                }
                b'x' => read_pax(&self.read_header_content(size, MAX_PAX)?, &mut ahead)?,
                b'g' | b'K' | b'X' => self.expect_content(size)?,
                _ => return self.member(&header, flag, size, ahead).map(Some),
            }
        }
    }

    /// The content of the present member. What is left of it is passed over.
    pub fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn member(&mut self, header: &[u8; BLOCK], flag: u8, size: u64, ahead: Ahead) -> io::Result<Member> {
        let path = ahead.path.unwrap_or_else(|| path_of(header));
        let kind = match flag {
            b'S' => MemberKind::SparseFile,
            b'0' | b'7' | 0 if path.ends_with(b"/") => MemberKind::Directory,
            b'0' | b'7' | 0 if ahead.sparse => MemberKind::SparseFile,
            b'0' | b'7' | 0 => MemberKind::File,
            b'5' => MemberKind::Directory,
            _ => MemberKind::Other,
        };
        // Links, devices and directories have no content, whatever size they claim: as Go's reader has it, and so all who unpack images.
        let size = if matches!(flag, b'1'..=b'6') { 0 } else { ahead.size.unwrap_or(size) };
        if flag == b'S' {
            self.skip_sparse_map(header[482])?;
        }
        self.expect_content(size)?;
        Ok(Member { path, kind, size })
    }

    /// The header's list of holes goes on in blocks of its own, which no size counts.
    fn skip_sparse_map(&mut self, mut goes_on: u8) -> io::Result<()> {
        let mut block = [0; BLOCK];
        while goes_on != 0 {
            self.source.read_exact(&mut block)?;
            goes_on = block[504];
        }
        Ok(())
    }

    fn expect_content(&mut self, size: u64) -> io::Result<()> {
        let blocks =
            size.checked_next_multiple_of(BLOCK as u64).ok_or_else(|| broken("an entry has no possible size"))?;
        self.left = size;
        self.padding = blocks - size;
        Ok(())
    }

    fn read_header_content(&mut self, size: u64, max: u64) -> io::Result<Vec<u8>> {
        if size > max {
            return Err(refusal(format!("a header in it has {size} bytes, and at most {max} are read")));
        }
        self.expect_content(size)?;
        let mut content = Vec::new();
        self.content().read_to_end(&mut content)?;
        Ok(content)
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let mut left = self.left.saturating_add(self.padding);
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(self.scratch.len());
            let read = self.source.read(&mut self.scratch[..part])?;
            if read == 0 {
                // Some writers leave the padding of the last member out.
                if left <= self.padding && self.left == 0 {
                    break;
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read as u64;
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next header with a right checksum; `None` behind two empty blocks, or where the stream ends between members.
    fn next_header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let Some(()) = self.read_block(&mut block)? else { return Ok(None) };
        if block == [0; BLOCK] {
            return match self.read_block(&mut block)? {
                Some(()) if block != [0; BLOCK] => Err(broken("there is something behind its end")),
                _ => Ok(None),
            };
        }
        let stated = number(&block[148..156])?;
        if stated != checksum(&block, u64::from) && stated != checksum(&block, signed) {
            return Err(broken("a header has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<Option<()>> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        Ok(Some(()))
    }
}

/// The content of a member.
pub struct Content<'a, R>(&'a mut Members<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        if part == 0 {
            return Ok(0);
        }
        let read = self.0.source.read(&mut buffer[..part])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= read as u64;
        Ok(read)
    }
}

/// The sum of a header's bytes, those of the sum itself taken as blanks.
fn checksum(block: &[u8; BLOCK], value: impl Fn(u8) -> u64) -> u64 {
    let mut sum = 8 * u64::from(b' ');
    for byte in block[..148].iter().chain(&block[156..]) {
        sum = sum.wrapping_add(value(*byte));
    }
    sum
}

/// Old writers added signed characters.
fn signed(byte: u8) -> u64 {
    i64::from(byte.cast_signed()).cast_unsigned()
}

fn broken(what: &str) -> io::Error {
    refusal(format!("it is no tar archive: {what}"))
}

/// A number of a header: octal digits between spaces and NULs, or binary when its first bit is set.
fn number(field: &[u8]) -> io::Result<u64> {
    let wrong = || broken("a header has no number where one belongs");
    if field[0] & 0x80 != 0 {
        let bytes = field.iter().enumerate().map(|(at, byte)| if at == 0 { byte & 0x7f } else { *byte });
        return bytes
            .map(u64::from)
            .try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(byte))
            .ok_or_else(wrong);
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    u64::from_str_radix(text, 8).map_err(|_| wrong())
}

fn path_of(header: &[u8; BLOCK]) -> Vec<u8> {
    let until_nul = |field: &[u8]| field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
    let name = until_nul(&header[..100]);
    // GNU's own magic ends in blanks, and it keeps other things where POSIX has the prefix.
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { Vec::new() };
    if prefix.is_empty() { name } else { [prefix.as_slice(), b"/", name.as_slice()].concat() }
}

/// Takes path, size and sparseness out of a PAX header: records `<length> <key>=<value>\n`, whose values may be binary.
fn read_pax(mut records: &[u8], ahead: &mut Ahead) -> io::Result<()> {
    let wrong = || broken("a PAX header is not well-formed");
    let mut sparse_name = None;
    while records.first().is_some_and(|byte| *byte != 0) {
        let space = records.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|length| *length > space + 1 && *length <= records.len()).ok_or_else(wrong)?;
        let (record, rest) = records.split_at(length);
        let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => ahead.path = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                ahead.size = Some(size.ok_or_else(wrong)?);
            }
            b"GNU.sparse.name" => sparse_name = Some(value.to_vec()),
            _ => {}
        }
        ahead.sparse |= key.starts_with(b"GNU.sparse.");
        records = rest;
    }
    if sparse_name.is_some() {
        ahead.path = sparse_name;
    }
    Ok(())
}
