//! A tape archive, read one entry at a time, with a limit on everything that it makes us keep.
//!
//! ```text
//!   block of 512 bytes              then `size` bytes, filled up to whole blocks
//!   ┌────────┬──────┬─────┬─────┬──────┬───────┬──────────┬──────┬──────┬───────┬─────┬────────┐
//!   │name 100│mode 8│uid 8│gid 8│size12│mtime12│checksum 8│type 1│link  │magic 8│ …   │prefix  │
//!   │        │      │     │     │      │       │          │      │   100│ ustar │     │     155│
//!   └────────┴──────┴─────┴─────┴──────┴───────┴──────────┴──────┴──────┴───────┴─────┴────────┘
//!   type x: its bytes are `<length> <key>=<value>\n`, which overrule fields of the next block
//!   type L, K: its bytes are the next block's name or link (GNU)
//! ```
//!
//! Numbers are octal text, or binary if the first bit is set. Sparse files are refused: nobody
//! makes layers with them, and a few bytes of theirs stand for any number of bytes on disk. Global
//! headers (type g) are read and left out, as the other tools do.

use std::io::{self, Read};

/// Longest header that is kept in memory: names, links, attributes of one entry.
pub(crate) const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Most header blocks in a row before an entry must come.
const HEADERS_IN_A_ROW_MAX: u32 = 8;
const BLOCK: usize = 512;

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Folder,
    Fifo,
}

/// One entry, without its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) link: Vec<u8>,
    pub(crate) device: (u64, u64),
    pub(crate) attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(crate) enum TarError {
    /// It is broken or breaks a rule, at the entry of that path.
    Bad { path: Vec<u8>, reason: String },
    /// Reading failed.
    Io(io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> TarError {
        TarError::Io(error)
    }
}

/// An archive being read.
#[derive(Debug)]
pub(crate) struct Tar<R> {
    reader: R,
    /// Bytes of the last entry that nobody has read, and what fills its last block.
    left: u64,
    fill: u64,
    ended: bool,
}

/// What extension headers said about the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Tar<R> {
    pub(crate) fn new(reader: R) -> Tar<R> {
        Tar { reader, left: 0, fill: 0, ended: false }
    }

    /// The next entry. What was not read of the last one is passed over.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extension = Extension::default();
        for _ in 0..HEADERS_IN_A_ROW_MAX {
            self.pass_over()?;
            let Some(block) = self.block()? else { return Ok(None) };
            let header = Header(&block);
            let name = header.name();
            let bad =
                |reason: &str| TarError::Bad { path: name.clone(), reason: reason.to_owned() };
            if !header.checksum_fits() {
                return Err(bad("the header's checksum is wrong"));
            }
            let size = header.number(124, 12).ok_or_else(|| bad("the size is no number"))?;
            let size = u64::try_from(size).map_err(|_| bad("the size is negative"))?;
            match header.0[156] {
                kind @ (b'x' | b'g' | b'L' | b'K') => {
                    let text = self.header_bytes(size, &name)?;
                    match kind {
                        b'x' => extension.add(&text).map_err(|reason| bad(&reason))?,
                        b'L' => extension.path = Some(until_nul(&text).to_vec()),
                        b'K' => extension.link = Some(until_nul(&text).to_vec()),
                        _ => {}
                    }
                }
                b'S' => return Err(bad("a sparse file")),
                _ => return self.entry(&header, size, extension).map(Some),
            }
        }
        let path = extension.path.unwrap_or_default();
        Err(TarError::Bad { path, reason: "too many headers in a row".to_owned() })
    }

    fn entry(&mut self, header: &Header<'_>, size: u64, ext: Extension) -> Result<Entry, TarError> {
        let path = ext.path.unwrap_or_else(|| header.name());
        let bad = |what: &str| TarError::Bad { path: path.clone(), reason: what.to_owned() };
        let natural = |at, length, what: &str| {
            let number = header.number(at, length);
            let number = number.and_then(|number| u64::try_from(number).ok());
            number.ok_or_else(|| bad(&format!("the {what} is no number")))
        };
        let kind = match header.0[156] {
            0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Folder,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => return Err(bad(&format!("entries of type {other} are not known"))),
        };
        let mtime = match ext.mtime {
            Some(mtime) => mtime,
            None => (header.number(136, 12).ok_or_else(|| bad("the time is no number"))?, 0),
        };
        let mode = natural(100, 8, "mode")?;
        let uid = ext.uid.map_or_else(|| natural(108, 8, "user id"), Ok)?;
        let gid = ext.gid.map_or_else(|| natural(116, 8, "group id"), Ok)?;
        let device = match kind {
            Kind::Char | Kind::Block => {
                (natural(329, 8, "device's number")?, natural(337, 8, "device's number")?)
            }
            _ => (0, 0),
        };
        let link = ext.link.unwrap_or_else(|| until_nul(&header.0[157..257]).to_vec());
        let size = ext.size.unwrap_or(size);
        if kind != Kind::File && kind != Kind::HardLink && size > 0 {
            return Err(bad("only a file may have bytes"));
        }
        // A few old tools give a link the size of its target and no bytes: what follows is a
        // header.
        let size = if kind == Kind::File { size } else { 0 };
        self.expect(size).map_err(bad)?;
        let mode = u32::try_from(mode & 0o7777).expect("twelve bits");
        let attributes = ext.attributes;
        Ok(Entry { path, kind, mode, uid, gid, mtime, link, device, attributes })
    }

    /// From here on, so many bytes are the entry's.
    fn expect(&mut self, size: u64) -> Result<(), &'static str> {
        if size > u64::MAX - BLOCK as u64 {
            return Err("the size is beyond all bounds");
        }
        self.left = size;
        self.fill = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn header_bytes(&mut self, size: u64, name: &[u8]) -> Result<Vec<u8>, TarError> {
        if size > HEADER_BYTES_MAX {
            let reason =
                format!("a header of {size} bytes; header_bytes_max is {HEADER_BYTES_MAX}");
            return Err(TarError::Bad { path: name.to_vec(), reason });
        }
        self.expect(size).expect("a bounded size");
        let mut text = Vec::new();
        self.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Reads past the rest of the entry.
    fn pass_over(&mut self) -> Result<(), TarError> {
        io::copy(self, &mut io::sink())?;
        let mut rest = [0; BLOCK];
        let fill = usize::try_from(self.fill).expect("less than a block");
        self.reader.read_exact(&mut rest[..fill])?;
        self.fill = 0;
        Ok(())
    }

    /// The next header block; nothing at the end, which is a block of zeroes, or no bytes at all.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut known = 0;
        while known < BLOCK && !self.ended {
            match self.reader.read(&mut block[known..])? {
                0 if known == 0 => self.ended = true,
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                count => known += count,
            }
        }
        self.ended |= block == [0; BLOCK];
        Ok((!self.ended).then_some(block))
    }

    /// What lies behind the archive.
    pub(crate) fn into_rest(self) -> R {
        self.reader
    }
}

/// Reads the bytes of the last entry.
impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buf[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl Extension {
    /// Takes in the records of a pax header.
    fn add(&mut self, text: &[u8]) -> Result<(), String> {
        let mut rest = text;
        while !rest.is_empty() && rest[0] != 0 {
            let broken = || "a record of the pax header is broken".to_owned();
            let space = rest.iter().take(20).position(|&byte| byte == b' ').ok_or_else(broken)?;
            let length = ascii(&rest[..space]).and_then(|text| text.parse::<usize>().ok());
            let length = length.filter(|&length| space + 1 < length && length <= rest.len());
            let (record, after) = rest.split_at(length.ok_or_else(broken)?);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(broken)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            rest = after;
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let number = || {
            let parsed = ascii(value).and_then(|text| text.parse::<u64>().ok());
            let key = String::from_utf8_lossy(key);
            parsed.ok_or_else(|| format!("`{key}` of the pax header is no number"))
        };
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                let time = ascii(value).and_then(seconds);
                self.mtime = Some(time.ok_or("`mtime` of the pax header is no time")?);
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err("a sparse file".to_owned()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.attributes.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// A decimal number of seconds, in seconds and nanoseconds.
fn seconds(text: &str) -> Option<(i64, u32)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = part.chars().chain("000000000".chars()).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    // A part of a second before 1970 would count backwards; nobody writes that.
    Some((whole, if text.starts_with('-') { 0 } else { nanos }))
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii() && !text.starts_with('+'))
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// A header block.
#[derive(Debug)]
struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.0[..100]);
        // GNU's own format has other things where the prefix would be.
        let prefix = until_nul(&self.0[345..500]);
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    fn checksum_fits(&self) -> bool {
        let sum = |at: usize| -> i64 {
            if (148..156).contains(&at) { 32 } else { i64::from(self.0[at]) }
        };
        self.number(148, 8) == Some((0..BLOCK).map(sum).sum())
    }

    /// A number: binary if the first bit is set, else octal text; no text is zero.
    fn number(&self, at: usize, length: usize) -> Option<i64> {
        let field = &self.0[at..at + length];
        if field[0] & 0x80 != 0 {
            let mut number = if field[0] & 0x40 != 0 { -1_i128 } else { 0 };
            for (place, &byte) in field.iter().enumerate() {
                let byte = if place == 0 { byte & 0x7f } else { byte };
                let byte = if place == 0 && number < 0 { byte | 0x80 } else { byte };
                number = (number << 8) | i128::from(byte);
            }
            return i64::try_from(number).ok();
        }
        let text = ascii(until_nul(field))?.trim();
        if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
    }
}
