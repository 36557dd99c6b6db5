//! The files of certificates: read, and recognised as the same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Tells one content of some files from the next: files are replaced, by a rename or behind a
/// symbolic link, or written over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<[i64; 6]>>);

impl Stamp {
    /// Of these files as they are now; one that is missing has a stamp as well.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = Option<&'a PathBuf>>) -> Stamp {
        let stamp = |file: &PathBuf| {
            let found = fs::metadata(file).ok()?;
            let signed = u64::cast_signed;
            Some([
                signed(found.ino()),
                signed(found.size()),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec(),
            ])
        };
        Stamp(files.into_iter().map(|file| file.and_then(stamp)).collect())
    }
}

/// A file, with an error in Go's words.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        format!("open {}: {reason}", file.display())
    })
}

/// A certificate, with what links it to its authority.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |reason: String| format!("{}: {reason}", file.display());
    let text = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| bad(error.to_string()))?;
    match chain.is_empty() {
        true => Err(bad("tls: failed to find any PEM data in certificate input".to_owned())),
        false => Ok(chain),
    }
}

/// A private key.
pub(super) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| format!("{}: tls: failed to find a private key: {error}", file.display()))
}

/// The authorities of a file; none where there is no file.
pub(super) fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else { return Ok(roots) };
    for authority in chain(file)? {
        roots.add(authority).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(roots)
}
