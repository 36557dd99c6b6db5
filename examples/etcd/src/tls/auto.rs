//! Certificates that a member makes for itself (`--auto-tls`, `--peer-auto-tls`).
//!
//! ```text
//!   <data-dir>/fixtures/client/{cert,key}.pem      what clients are shown
//!   <data-dir>/fixtures/peer/{cert,key}.pem        what members are shown
//! ```
//!
//! They keep listeners out; who is at the other end they do not prove. Made once, they are used
//! until somebody removes them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};

/// A year, as certificates count.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The files of the certificate and of its key in `dir`, made for `hosts` if they are not there.
///
/// # Errors
///
/// If they cannot be made, or `years` is none.
pub(crate) fn make(dir: &Path, hosts: &[String], years: u32) -> io::Result<(PathBuf, PathBuf)> {
    let (cert_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
    if years == 0 {
        let reason = "selfSignedCertValidity is invalid,it should be greater than 0";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    if cert_file.exists() && key_file.exists() {
        return Ok((cert_file, key_file));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    let now = SystemTime::now();
    params.not_before = now.into();
    params.not_after = (now + YEAR * years).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let cert = params.self_signed(&key).map_err(io::Error::other)?;
    // The key first, and each under its name only when it is whole: both there means both whole.
    write_whole(&key_file, 0o600, key.serialize_pem().as_bytes())?;
    write_whole(&cert_file, 0o644, cert.pem().as_bytes())?;
    tracing::warn!(dir = %dir.display(), years, "automatically generate certificates");
    Ok((cert_file, key_file))
}

fn write_whole(file: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let tmp = file.with_extension("tmp");
    let mut open = File::options();
    open.write(true).create(true).truncate(true).mode(mode);
    let mut out = open.open(&tmp)?;
    out.write_all(text)?;
    out.sync_all()?;
    fs::rename(&tmp, file)
}
