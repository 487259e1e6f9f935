//! A small disk of its own, which can be filled to the last page.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A disk in memory; it is gone with the value.
pub struct Tmpfs {
    directory: TempDir,
}

impl Tmpfs {
    /// Mounts one of so many MiB. Only root may.
    pub fn mount(size: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let options = format!("size={size}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "weir-test"]).arg(directory.path());
        let mounted = mount.output().expect("mount runs");
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(mounted.status.success(), "tests of full disks mount a small one and have to run as root: {said}");
        Self { directory }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).expect("the disk");
        disk.f_bavail * disk.f_frsize
    }

    /// Takes all that is free, until it is given back.
    pub fn fill(&self) -> Ballast {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).expect("a file");
        let page = [7; 4096];
        loop {
            match file.write_all(&page) {
                Ok(()) => {}
                Err(cause) if cause.kind() == ErrorKind::StorageFull => break,
                Err(cause) => panic!("filling {}: {cause}", path.display()),
            }
        }
        assert_eq!(self.free(), 0);
        Ballast { path }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A server that a failed test left may hold files open: the mount goes now, its memory with them.
        let _ = Command::new("umount").arg("--lazy").arg(self.directory.path()).output();
    }
}

/// What fills a disk.
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// Gives the space back.
    pub fn drop_it(self) {
        std::fs::remove_file(self.path).expect("removed");
    }
}
