//! Files that must not touch a disk, handed to a keeper on its stdin.
//!
//! An OCI bundle holds the environment, and that holds secrets; so do the files of a secret
//! volume. The agent sends them through a pipe, and the keeper unpacks them into a tmpfs that only
//! its own mount namespace has: when keeper and container are gone, so are they.
//!
//! ```text
//!   file:  | len of the header u32 | header: JSON | bytes |       repeated until the end
//! ```

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Longest header.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Longest file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a file is called and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its path below the tmpfs; folders on the way are made.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// How many bytes follow.
    pub bytes: u64,
}

/// One file.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its name and owner.
    pub header: Header,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Writes one file.
///
/// # Errors
/// The pipe is closed, or a file is longer than [`FILE_BYTES_MAX`].
pub fn write(out: &mut impl Write, header: &Header, bytes: &[u8]) -> io::Result<()> {
    assert_eq!(header.bytes, bytes.len() as u64, "the header says how long the file is");
    let head = serde_json::to_vec(header)?;
    let len = u32::try_from(head.len()).ok().filter(|&len| len <= HEADER_BYTES_MAX);
    let (Some(len), true) = (len, header.bytes <= FILE_BYTES_MAX) else {
        return Err(io::Error::other(format!("{} is too long for a parcel", header.path)));
    };
    out.write_all(&len.to_le_bytes())?;
    out.write_all(&head)?;
    out.write_all(bytes)
}

/// Reads one file; none at the end.
///
/// # Errors
/// The parcel ends in the middle of a file, or is not in this form.
pub fn read(from: &mut impl Read) -> io::Result<Option<File>> {
    let mut len = [0; 4];
    if from.read(&mut len[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut len[1..])?;
    let len = u32::from_le_bytes(len);
    if len > HEADER_BYTES_MAX {
        return Err(io::Error::other("a parcel's header is too long"));
    }
    let mut head = vec![0; len as usize];
    from.read_exact(&mut head)?;
    let header: Header = serde_json::from_slice(&head)?;
    if header.bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{} is too long for a parcel", header.path)));
    }
    let len = usize::try_from(header.bytes).expect("FILE_BYTES_MAX is small");
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(Some(File { header, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keeper that misreads its parcel would start a container with half of its secrets.
    #[test]
    fn a_parcel_reads_back_and_a_torn_one_is_refused() {
        let mut pipe = Vec::new();
        for (path, bytes) in [("bundle/config.json", &b"{}"[..]), ("volumes/0/key", b"\x00\xff")] {
            let bytes_len = bytes.len() as u64;
            let path = path.to_owned();
            let header = Header { path, mode: 0o400, user: 1, group: 2, bytes: bytes_len };
            write(&mut pipe, &header, bytes).unwrap();
        }
        let mut from = &pipe[..];
        assert_eq!(read(&mut from).unwrap().unwrap().bytes, b"{}");
        assert_eq!(read(&mut from).unwrap().unwrap().header.path, "volumes/0/key");
        assert!(read(&mut from).unwrap().is_none());
        let first = pipe.len() / 2;
        for cut in 1..first {
            assert!(read(&mut &pipe[..cut]).is_err(), "cut at {cut}");
        }
    }
}
