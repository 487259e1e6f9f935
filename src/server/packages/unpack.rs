//! A layer's bytes unpacked while they come: gzip, zstd or neither, told by their first bytes rather than by a media type. How much may
//! come out, how long it may take and how much memory it takes are bounded.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Limits, refusal, trouble};

/// The most a zstd frame may want remembered. Everything but `--ultra` and `--long` stays below 8 MiB.
const MAX_ZSTD_WINDOW: u64 = 32 * 1024 * 1024;

/// What was looked at before it was known how to read it, then the rest.
type Packed<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// The time a layer takes: the work on it, and beside that what is waited for its bytes, which is not the layer's doing.
struct Clock {
    began: Instant,
    waited: Cell<Duration>,
    limits: Limits,
}

impl Clock {
    fn check(&self) -> io::Result<()> {
        let waited = self.waited.get();
        if self.began.elapsed().saturating_sub(waited) >= self.limits.time {
            return Err(refusal("reading it took too long"));
        }
        if waited >= self.limits.waiting {
            return Err(trouble(io::Error::other("its bytes come too slowly from where they are stored")));
        }
        Ok(())
    }
}

/// The bytes of a layer as they are stored.
struct Stored<R> {
    source: R,
    clock: Rc<Clock>,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.clock.check()?;
        let began = Instant::now();
        let read = self.source.read(buffer);
        self.clock.waited.set(self.clock.waited.get() + began.elapsed());
        read
    }
}

/// The unpacked bytes of `packed`. Errors made by [`refusal`] say what is wrong with the layer, those made by [`trouble`] what is not.
pub fn unpacked<'a, R: Read + 'a>(packed: R, limits: &Limits) -> io::Result<Box<dyn Read + 'a>> {
    let clock = Rc::new(Clock { began: Instant::now(), waited: Cell::default(), limits: *limits });
    let mut packed = Stored { source: packed, clock: Rc::clone(&clock) };
    let mut start = Vec::new();
    packed.by_ref().take(6).read_to_end(&mut start)?;
    let kind = Packing::of(&start);
    let packed = BufReader::with_capacity(64 * 1024, Cursor::new(start).chain(packed));
    let unpacked: Box<dyn Read + 'a> = match kind {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Zstd => Box::new(Zstd::new(packed)),
        Packing::Unknown(name) => return Err(refusal(format!("it is packed by {name}, which is not read"))),
    };
    Ok(Box::new(Metered { source: unpacked, read: 0, clock }))
}

enum Packing {
    Plain,
    Gzip,
    Zstd,
    Unknown(&'static str),
}

impl Packing {
    fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A frame, or one that is to be skipped: some put their table of contents first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Unknown("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Unknown("xz"),
            _ => Self::Plain,
        }
    }
}

/// Counts what comes out and looks at the clock.
struct Metered<R> {
    source: R,
    read: u64,
    clock: Rc<Clock>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.clock.check()?;
        let read = self.source.read(buffer)?;
        // Once it is beyond, it stays so: whoever takes the first error for one of theirs meets it again.
        self.read = self.read.saturating_add(read as u64);
        if self.read > self.clock.limits.unpacked {
            Err(refusal("it is too large when it is unpacked"))
        } else {
            Ok(read)
        }
    }
}

/// zstd's frames one after the other; the decoder itself knows a single one.
struct Zstd<R> {
    source: Packed<R>,
    decoder: FrameDecoder,
}

impl<R: Read> Zstd<R> {
    fn new(source: Packed<R>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_ZSTD_WINDOW);
        Self { source, decoder }
    }

    /// Enters the next frame that has content; false at the end.
    fn enter(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(refusal(format!("its zstd frames want {requested} bytes of memory")));
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(false)
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if !self.decoder.is_finished() {
                // One block after the other: what is unpacked and not yet taken is never more than a window and a block.
                let strategy = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, strategy).map_err(io::Error::other)?;
            } else if !self.enter()? {
                return Ok(0);
            }
        }
        self.decoder.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;
    use crate::server::packages::in_words;

    fn unpack(packed: &[u8], limits: &Limits) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = unpacked(packed, limits).and_then(|mut unpacked| unpacked.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|error| in_words(&error))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn tells_the_packing_by_its_first_bytes() {
        let limits = Limits::default();
        let (one, two) = (b"one, ".repeat(50_000), b"two".repeat(100_000));
        let both = [one.clone(), two.clone()].concat();
        assert_eq!(unpack(&both, &limits), Ok(both.clone()));
        assert_eq!(unpack(&[gzip(&one), gzip(&two)].concat(), &limits), Ok(both.clone()), "gzip of several members");
        // A frame that is to be skipped, as zstd:chunked has it.
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let frames = [skipped.clone(), zstd(&one), skipped, zstd(&two)].concat();
        assert_eq!(unpack(&frames, &limits), Ok(both));
        assert_eq!(unpack(b"", &limits), Ok(vec![]));
        assert_eq!(unpack(b"BZh91AY", &limits), Err("it is packed by bzip2, which is not read".to_owned()));
    }

    #[test]
    fn what_is_cut_off_or_garbage_is_refused() {
        let limits = Limits::default();
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&text), zstd(&text)] {
            for length in [3, 7, 20, whole.len() / 2, whole.len() - 1] {
                let length = length.max(4);
                assert!(unpack(&whole[..length], &limits).is_err(), "{length} of {}", whole.len());
            }
        }
        assert_eq!(unpack(&zstd(&text)[..5000], &limits), Err("it ends in the middle".to_owned()));
        assert_eq!(unpack(&gzip(&text)[..5000], &limits), Err("it ends in the middle".to_owned()));
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let limits = Limits { unpacked: 1_000_000, ..Limits::default() };
        let zeros = vec![0; 20_000_000];
        for packed in [gzip(&zeros), zstd(&zeros), zeros] {
            assert_eq!(unpack(&packed, &limits), Err("it is too large when it is unpacked".to_owned()));
        }
        let late = Limits { time: Duration::ZERO, ..Limits::default() };
        assert_eq!(unpack(&gzip(b"x"), &late), Err("reading it took too long".to_owned()));
        // Magic, then a frame header that asks for a window of 2^41 bytes.
        let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8];
        let error = unpack(&greedy, &Limits::default()).unwrap_err();
        assert!(error.starts_with("its zstd frames want "), "{error}");
    }
}
