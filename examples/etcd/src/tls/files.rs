//! The files of certificates: read, and recognised as the same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::second_opinion::is_of_version_one;

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
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| format!("{}: tls: failed to find a private key: {error}", file.display()))
}

/// A certificate with its key, to be shown.
pub(super) fn certified(
    cert_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> Result<SingleCertAndKey, String> {
    let bad = |error: Error| format!("tls: {}: {error}", cert_file.display());
    let key = provider.key_provider.load_private_key(key(key_file)?).map_err(bad)?;
    let certified = CertifiedKey::new(chain(cert_file)?, key);
    match certified.keys_match() {
        // A key that does not say which it is shows itself in the first handshake.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(error) if is_of_version_one(&error, &certified.cert[0]) => {
            let own = certified.key.public_key();
            let named = X509Certificate::from_der(&certified.cert[0]);
            let named = named.as_ref().ok().map(|(_, parsed)| parsed.public_key().raw);
            if own.is_some_and(|own| Some(&*own) != named) {
                return Err(bad(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)));
            }
        }
        Err(error) => return Err(bad(error)),
    }
    Ok(certified.into())
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
