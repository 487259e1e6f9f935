//! Layers for tests, made with the `tar` crate: another hand than the one that reads them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::{Limits, Unread, read_layer};
use crate::model::LayerContents;

/// A tar archive being made.
pub struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.add(path, EntryType::Regular, content);
        self
    }

    pub fn directory(mut self, path: &str) -> Self {
        self.add(path, EntryType::Directory, b"");
        self
    }

    pub fn link(mut self, path: &str, kind: EntryType, target: &str) -> Self {
        let mut header = header(kind, 0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    /// A member with its path as it stands, however odd; at most 100 bytes.
    pub fn odd(mut self, path: &[u8], content: &[u8]) -> Self {
        let mut header = header(EntryType::Regular, content.len());
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn add(&mut self, path: &str, kind: EntryType, content: &[u8]) {
        let mut header = header(kind, content.len());
        self.0.append_data(&mut header, path, content).unwrap();
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size as u64);
    header
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the reader says of a layer.
pub fn read_with(bytes: &[u8], limits: &Limits) -> Result<LayerContents, String> {
    read_layer(bytes, limits).map_err(|unread| match unread {
        Unread::Refused(why) => why,
        Unread::Failed(cause) => panic!("this machine cannot: {cause}"),
    })
}

/// [`read_with`] the usual limits.
pub fn read(bytes: &[u8]) -> Result<LayerContents, String> {
    read_with(bytes, &Limits::default())
}

/// `name version` of all packages, by path and in their order.
pub fn names(contents: &LayerContents) -> Vec<String> {
    let packages = contents.databases.iter().flat_map(|database| &database.packages);
    packages.map(|package| format!("{} {}", package.name, package.version)).collect()
}
