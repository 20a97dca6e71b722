//! One certificate with its key: read, checked, and what it says of itself.

use super::PROVIDER;
use super::digest;
use crate::config::CertificateFiles;
use crate::config::Problem;
use rustls::CertificateError;
use rustls::SignatureAlgorithm;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Bundles of all the world's CAs are a fifth of this; a wrong path must not fill the memory.
const LONGEST: u64 = 1 << 20;
const DAY: u64 = 24 * 60 * 60;

/// A certificate that a listener shows, with its key.
#[derive(Debug)]
pub struct Certificate {
    pub files: CertificateFiles,
    /// The hosts it is for, in lower case; may begin with `*.`.
    pub names: Vec<String>,
    /// Seconds since the Unix epoch.
    pub not_before: i64,
    pub not_after: i64,
    pub(super) algorithm: SignatureAlgorithm,
    /// Of the whole chain.
    pub(super) digest: Box<[u8]>,
    pub(super) keys: Arc<CertifiedKey>,
}

/// Who a client is, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Printable ASCII: `CN=alice, O=Example`.
    pub subject: Box<str>,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: Box<str>,
}

/// A file that cannot be used.
pub(super) fn problem(file: &Path, what: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem {
        file: file.to_owned(),
        place: None,
        what: what.into(),
        help: help.into(),
    }
}

/// Reads a small file.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    let cannot = |error: &io::Error| {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "write the path of a file that is there",
            io::ErrorKind::PermissionDenied => "let the user of switchd read the file",
            _ => "write the path of a PEM file",
        };
        problem(file, format!("cannot read it: {error}"), help)
    };
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > LONGEST {
        return Err(cannot(&io::Error::other("it is larger than 1MiB")));
    }
    Ok(bytes)
}

/// The certificates in a PEM file: one or more.
pub(super) fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(problem(
            file,
            "there is no certificate in it",
            "it must hold blocks that begin with -----BEGIN CERTIFICATE-----",
        )),
        Ok(chain) => Ok(chain),
        Err(error) => Err(problem(
            file,
            format!("it is not PEM: {error}"),
            "it must hold blocks that begin with -----BEGIN CERTIFICATE-----",
        )),
    }
}

impl Certificate {
    /// Loads a pair and checks that its halves belong together.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(files: &CertificateFiles) -> Result<Self, Problem> {
        let chain = read_chain(&files.chain)?;
        let unreadable = |what: String| {
            problem(
                &files.chain,
                format!("its first certificate {what}"),
                "get it issued anew",
            )
        };
        let (_, leaf) = X509Certificate::from_der(&chain[0])
            .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        let names = names(&leaf);
        let validity = leaf.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let subject = printable(&leaf.subject().to_string());
        let whole: Vec<u8> = chain.iter().flat_map(|it| it.iter().copied()).collect();
        let keys = pair(files, chain.clone(), &subject)?;
        Ok(Self {
            files: files.clone(),
            names,
            not_before,
            not_after,
            algorithm: keys.key.algorithm(),
            digest: digest(&whole),
            keys: Arc::new(keys),
        })
    }

    /// How long it is still valid; none when it has expired.
    #[must_use]
    pub fn left(&self, now: SystemTime) -> Option<Duration> {
        let now = seconds(now);
        u64::try_from(self.not_after - now)
            .ok()
            .map(Duration::from_secs)
    }

    /// Whole days that it is still valid; negative when it has expired.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        (self.not_after - seconds(now)).div_euclid(i64::try_from(DAY).unwrap_or(i64::MAX))
    }

    /// Whole days since it has expired.
    pub(super) fn days_over(&self, now: SystemTime) -> u64 {
        u64::try_from(seconds(now) - self.not_after).unwrap_or(0) / DAY
    }

    /// It is for a time that has not come yet.
    #[must_use]
    pub fn is_early(&self, now: SystemTime) -> bool {
        seconds(now) < self.not_before
    }

    /// What it is for: `localhost, *.localhost`.
    #[must_use]
    pub fn names_in_words(&self) -> String {
        if self.names.is_empty() {
            return "no host".to_owned();
        }
        self.names.join(", ")
    }
}

fn seconds(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The key, proven to be that of the chain's first certificate.
fn pair(
    files: &CertificateFiles,
    chain: Vec<CertificateDer<'static>>,
    subject: &str,
) -> Result<CertifiedKey, Problem> {
    const HELP: &str =
        "it must hold one block that begins with -----BEGIN PRIVATE KEY-----, without a passphrase";
    let bytes = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| problem(&files.key, format!("there is no key in it: {error}"), HELP))?;
    let key = PROVIDER
        .key_provider
        .load_private_key(key)
        .map_err(|error| {
            problem(
                &files.key,
                format!("this kind of key cannot be used: {error}"),
                HELP,
            )
        })?;
    let keys = CertifiedKey::new(chain, key);
    match keys.keys_match() {
        Ok(()) => Ok(keys),
        Err(rustls::Error::InvalidCertificate(CertificateError::BadEncoding)) => Err(problem(
            &files.chain,
            "its first certificate cannot be read",
            "get it issued anew",
        )),
        Err(_) => Err(problem(
            &files.key,
            format!(
                "it is not the key of the first certificate in {} ({subject})",
                files.chain.display()
            ),
            "put the server's own certificate first in the chain, and take the key that it was made with",
        )),
    }
}

/// Host names; the common name where there are none, as old certificates have it.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let alternative = leaf.subject_alternative_name().ok().flatten();
    let listed = alternative.iter().flat_map(|it| &it.value.general_names);
    let mut names: Vec<String> = listed
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if alternative.is_none() {
        let common = leaf.subject().iter_common_name();
        let text = common.filter_map(|name| name.as_str().ok());
        names.extend(text.map(str::to_ascii_lowercase));
    }
    names
}

impl ClientCertificate {
    /// What the first certificate of a verified chain says.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
        let mut fingerprint = String::with_capacity(64);
        for byte in digest(leaf) {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Some(Self {
            subject: printable(&parsed.subject().to_string()).into(),
            fingerprint: fingerprint.into(),
        })
    }
}

/// For a header line and a log line: whatever a CA has signed.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}
