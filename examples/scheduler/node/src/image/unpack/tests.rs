//! Each trick that a layer may try, made by hand from raw headers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::{Limits, Unpacked, unpack};
use crate::image::digest::Digest;
use crate::image::error::Error;

/// Raw entries, one after the other.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn entry(mut self, path: &[u8], kind: u8, mode: u32, link: &[u8], bytes: &[u8]) -> Raw {
        self.header(path, kind, mode, link, bytes.len() as u64, (0, 0));
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: u8,
        mode: u32,
        link: &[u8],
        size: u64,
        dev: (u32, u32),
    ) {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, path);
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"00000001750");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", dev.0).as_bytes());
        put(337, format!("{:07o}", dev.1).as_bytes());
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
    }

    fn file(self, path: &str, bytes: &[u8]) -> Raw {
        self.entry(path.as_bytes(), b'0', 0o644, b"", bytes)
    }

    fn folder(self, path: &str) -> Raw {
        self.entry(path.as_bytes(), b'5', 0o755, b"", b"")
    }

    fn symlink(self, path: &str, to: &str) -> Raw {
        self.entry(path.as_bytes(), b'2', 0o777, to.as_bytes(), b"")
    }

    fn hard(self, path: &str, to: &str) -> Raw {
        self.entry(path.as_bytes(), b'1', 0o644, to.as_bytes(), b"")
    }

    fn device(mut self, path: &str, kind: u8, dev: (u32, u32)) -> Raw {
        self.header(path.as_bytes(), kind, 0o666, b"", 0, dev);
        self
    }

    /// A pax header for the next entry.
    fn pax(self, key: &str, value: &[u8]) -> Raw {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        let mut text = format!("{length} {key}=").into_bytes();
        text.extend_from_slice(value);
        text.push(b'\n');
        self.entry(b"pax", b'x', 0o644, b"", &text)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Small limits, so that a bomb is small as well.
fn small() -> Limits {
    Limits {
        unpacked_bytes_max: 1 << 20,
        entry_count_max: 50,
        path_bytes_max: 300,
        path_depth_max: 8,
        ratio_max: 50,
        ratio_bytes_min: 64 << 10,
        folder_path_bytes_max: 2000,
    }
}

/// Unpacks below `<temp>/root`, beside a file and a folder that no layer may touch.
fn run(packed: &[u8], check: impl FnOnce(&Path, Result<Unpacked, Error>)) {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir(&root).unwrap();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "untouched").unwrap();
    let before = fs::metadata(outside.join("victim")).unwrap();
    let handle = fs::File::open(&root).unwrap().into();
    let result = unpack(packed, handle, "sha256:layer", &small());
    let after = fs::metadata(outside.join("victim")).unwrap();
    let same = |meta: &fs::Metadata| (meta.mode(), meta.nlink(), meta.mtime(), meta.ctime());
    assert_eq!(same(&before), same(&after), "the file outside was touched");
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 2, "something was made outside");
    check(&root, result);
}

/// The layer is refused, and the complaint names the layer, the entry and the rule.
fn refused(packed: &[u8], entry: &str, rule: &str) {
    run(packed, |_, result| {
        let text = result.expect_err(&format!("`{entry}` was let in")).to_string();
        let start = format!("layer sha256:layer, entry `{entry}`");
        assert!(text.starts_with(&start) && text.contains(rule), "{text}");
    });
}

/// The oldest trick: a name that climbs out.
#[test]
fn dots_cannot_climb_out() {
    for path in ["../outside/victim", "a/../../outside/victim", "..", "a/.."] {
        refused(&Raw::default().file(path, b"x").end(), path, "`..` in the path");
    }
    let link = Raw::default().hard("a", "../outside/victim").end();
    refused(&link, "a", "its target: `..` in the path");
}

/// Tools that wrote absolute names meant the image's root.
#[test]
fn an_absolute_name_is_below_the_root() {
    let packed = Raw::default().file("/outside/victim", b"inside").file("//x//./y", b"z").end();
    run(&packed, |root, result| {
        assert_eq!(result.unwrap().bytes, 7);
        assert_eq!(fs::read(root.join("outside/victim")).unwrap(), b"inside");
        assert_eq!(fs::read(root.join("x/y")).unwrap(), b"z");
    });
}

/// A link to the outside, and then a file, a folder, a link or a whiteout "below" it.
#[test]
fn nothing_is_made_through_a_symbolic_link() {
    for to in ["../outside", "/", "."] {
        let link = || Raw::default().symlink("l", to);
        let rule = "its path goes through a symbolic link";
        refused(&link().file("l/victim", b"x").end(), "l/victim", rule);
        refused(&link().folder("l/new").end(), "l/new", rule);
        refused(&link().symlink("l/new", "x").end(), "l/new", rule);
        refused(&link().file("l/deep/new", b"x").end(), "l/deep/new", rule);
        refused(&link().file("l/.wh.victim", b"").end(), "l/.wh.victim", rule);
        refused(&link().file("l/.wh..wh..opq", b"").end(), "l/.wh..wh..opq", rule);
        refused(&link().hard("h", "l/victim").end(), "h", rule);
    }
}

/// A file in the place of a link must replace the link, not write what it points to.
#[test]
fn a_file_replaces_a_link_and_does_not_write_through_it() {
    let packed = Raw::default().symlink("l", "../outside/victim").file("l", b"mine").end();
    run(&packed, |root, result| {
        result.unwrap();
        assert!(fs::symlink_metadata(root.join("l")).unwrap().is_file());
        assert_eq!(fs::read(root.join("l")).unwrap(), b"mine");
    });
}

/// A folder entry in the place of a link must not change the owner or mode of what it points to.
#[test]
fn a_folder_replaces_a_link_and_does_not_dress_its_target() {
    let packed = Raw::default().symlink("l", "../outside").folder("l").end();
    run(&packed, |root, result| {
        result.unwrap();
        assert!(fs::symlink_metadata(root.join("l")).unwrap().is_dir());
    });
}

/// A hard link to a link would, if it followed, put a file of the host into the image.
#[test]
fn a_hard_link_to_a_link_links_the_link() {
    let packed = Raw::default().symlink("l", "../outside/victim").hard("h", "l").file("h", b"x");
    run(&packed.end(), |root, result| {
        result.unwrap();
        assert!(fs::symlink_metadata(root.join("l")).unwrap().is_symlink());
        assert_eq!(fs::read(root.join("h")).unwrap(), b"x");
    });
    for (to, rule) in [("nowhere", "not in this layer"), ("", "the root"), ("d", "no file")] {
        refused(&Raw::default().folder("d").hard("h", to).end(), "h", rule);
    }
}

/// A device of the host in an image is the host's disk in a container.
#[test]
fn device_nodes_are_refused() {
    refused(&Raw::default().device("sda", b'4', (8, 0)).end(), "sda", "a device node (8:0)");
    refused(&Raw::default().device("mem", b'3', (1, 1)).end(), "mem", "a device node (1:1)");
    refused(&Raw::default().device("b", b'4', (0, 0)).end(), "b", "a device node (0:0)");
}

/// What an upper layer takes away must be gone in the container.
#[test]
fn whiteouts_become_overlayfs_own() {
    let packed = Raw::default()
        .file("d/.wh.gone", b"")
        .file("o/.wh..wh..opq", b"")
        .device("native", b'3', (0, 0))
        .file(".wh..wh.plnk", b"")
        .file(".wh.again", b"")
        .folder("again")
        .end();
    run(&packed, |root, result| {
        result.unwrap();
        for path in ["d/gone", "native"] {
            let meta = fs::symlink_metadata(root.join(path)).unwrap();
            assert!(meta.file_type().is_char_device() && meta.rdev() == 0, "{path}");
        }
        for (path, opaque) in [("o", true), ("d", false), ("again", true)] {
            let mut value = [0; 4];
            let name = "trusted.overlay.opaque";
            let got = rustix::fs::getxattr(root.join(path), name, &mut value);
            assert_eq!(got.is_ok_and(|count| &value[..count] == b"y"), opaque, "{path}");
        }
        assert!(!root.join(".wh..wh.plnk").exists());
    });
    for path in [".wh.", ".wh..", ".wh..."] {
        refused(&Raw::default().file(path, b"").end(), path, "a whiteout of no name");
    }
}

/// Overlayfs obeys these attributes: with them, a layer reaches into others.
#[test]
fn attributes_that_overlayfs_obeys_are_refused() {
    for name in ["trusted.overlay.redirect", "user.overlay.metacopy", "trusted.x"] {
        let key = format!("SCHILY.xattr.{name}");
        refused(&Raw::default().pax(&key, b"/etc").file("f", b"").end(), "f", name);
    }
    let bad = Raw::default().pax("SCHILY.xattr.security.capability", b"\0\0\0\x03").file("f", b"");
    refused(&bad.end(), "f", "version 2");
}

/// `ping` works by its capability, and a label of another machine means nothing here.
#[test]
fn capabilities_are_kept_and_foreign_labels_are_left_out() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let packed = Raw::default()
        .pax("SCHILY.xattr.security.capability", &capability)
        .pax("SCHILY.xattr.security.selinux", b"label")
        .pax("SCHILY.xattr.user.x", b"y")
        .entry(b"ping", b'0', 0o4755, b"", b"ping")
        .end();
    run(&packed, |root, result| {
        assert_eq!(result.unwrap().attributes_left_out, 1);
        let mut value = [0; 64];
        let path = root.join("ping");
        let count = rustix::fs::getxattr(&path, "security.capability", &mut value).unwrap();
        assert_eq!(value[..count], capability);
        assert_eq!(rustix::fs::getxattr(&path, "user.x", &mut value).unwrap(), 1);
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o4755, "setuid is kept");
        assert_eq!((meta.uid(), meta.mtime()), (0, 0o1750));
    });
}

/// Each limit stops what it is there for, and says its own name.
#[test]
fn limits_are_kept_and_named() {
    let long = "a/".repeat(9) + "b";
    refused(&Raw::default().file(&long, b"").end(), &long, "path_depth_max (8)");
    let longer = "x".repeat(301);
    let raw = Raw::default().pax("path", longer.as_bytes()).file("f", b"").end();
    refused(&raw, &longer, "path_bytes_max (300)");
    let part = "y".repeat(256);
    let raw = Raw::default().pax("path", part.as_bytes()).file("f", b"").end();
    refused(&raw, &part, "longer than 255");
    let many = (0..51).fold(Raw::default(), |raw, index| raw.file(&format!("f{index}"), b""));
    refused(&many.end(), "f50", "entry_count_max (50)");
    let implied =
        (0..8).fold(Raw::default(), |raw, index| raw.file(&format!("{index}/a/b/c/d/e/f"), b""));
    refused(&implied.end(), "7/a/b/c/d/e/f", "entry_count_max");
    refused(&Raw::default().file("big", &vec![1; 2 << 20]).end(), "big", "unpacked_bytes_max");
    let folders = (0..45).fold(Raw::default(), |raw, index| raw.folder(&format!("folder{index}")));
    refused(&folders.end(), "folder41", "folder_path_bytes_max");
}

/// A kilobyte that stands for a megabyte is caught on the way, by either packing.
#[test]
fn bombs_are_stopped_by_their_ratio() {
    let plain = Raw::default().file("zeroes", &vec![0; 900 << 10]).end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain).unwrap();
    refused(&gzip.finish().unwrap(), "zeroes", "ratio_max is 50");
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    refused(&zstd, "zeroes", "ratio_max is 50");
    // Behind the archive's end nothing is unpacked, but the digest needs it read.
    let mut behind = Raw::default().file("f", b"").end();
    behind.resize(900 << 10, 0);
    refused(&zstd::encode_all(behind.as_slice(), 3).unwrap(), "", "ratio_max is 50");
}

/// A sparse file of a terabyte takes a block in the archive and fills a disk when it is copied.
#[test]
fn sparse_files_are_refused() {
    refused(&Raw::default().entry(b"s", b'S', 0o644, b"", b"").end(), "s", "a sparse file");
    let pax = Raw::default().pax("GNU.sparse.realsize", b"1099511627776").file("s", b"").end();
    refused(&pax, "pax", "a sparse file");
}

/// A header is kept in memory, so its size must not be the sender's choice.
#[test]
fn huge_and_broken_headers_are_refused() {
    let mut raw = Raw::default();
    raw.header(b"pax", b'x', 0o644, b"", 1 << 30, (0, 0));
    refused(&raw.0, "pax", "header_bytes_max");
    let mut raw = Raw::default();
    raw.header(b"long", b'L', 0o644, b"", 2 << 20, (0, 0));
    refused(&raw.0, "long", "header_bytes_max");
    for text in ["9999 path=x\n", "x", "6 a=b", "12 path=aaaa\n", "0 \n"] {
        let raw = Raw::default().entry(b"pax", b'x', 0o644, b"", text.as_bytes()).file("f", b"");
        refused(&raw.end(), "pax", "a record of the pax header is broken");
    }
    let many = (0..9).fold(Raw::default(), |raw, _| raw.pax("comment", b"x")).file("f", b"");
    refused(&many.end(), "", "too many headers in a row");
    let mut flipped = Raw::default().file("f", b"").end();
    flipped[1] ^= 1;
    refused(&flipped, "fA".replace('A', "\\x01").as_str(), "checksum");
}

/// A name with a NUL is two names: one that is checked, and one that the system opens.
#[test]
fn a_nul_in_a_name_is_refused() {
    let raw = Raw::default().pax("path", b"a\0/../b").file("f", b"").end();
    refused(&raw, "a\\x00/../b", "a NUL in the path");
    let raw = Raw::default().pax("linkpath", b"a\0b").symlink("l", "x").end();
    refused(&raw, "l", "NUL");
}

/// A layer cut short must not look like a smaller one.
#[test]
fn a_layer_cut_short_is_refused() {
    let whole = Raw::default().file("f", &[7; 2000]).end();
    for cut in [100, 600, 1024, 2511] {
        run(&whole[..cut], |_, result| {
            assert!(matches!(result, Err(Error::Layer { .. })), "cut at {cut}: {result:?}");
        });
    }
}

/// One digest, however it was packed: that is how a layer is known again.
#[test]
fn the_diff_id_does_not_depend_on_the_packing() {
    let plain = Raw::default().folder("d").file("d/f", b"hello").hard("h", "d/f").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    for packed in [plain.clone(), gzip.finish().unwrap(), zstd] {
        run(&packed, |root, result| {
            let out = result.unwrap();
            assert_eq!(out.diff_id, Digest::of(&plain));
            assert_eq!((out.bytes, out.entries), (5, 3));
            assert_eq!(fs::metadata(root.join("h")).unwrap().nlink(), 2);
            assert_eq!(fs::metadata(root.join("d")).unwrap().mtime(), 0o1750);
        });
    }
}
