//! What is wrong with an upstream's TLS, for those who have to mend it.

use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::InvalidMessage;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use std::io;

/// A failed handshake in words.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Failed {
    words: String,
    source: io::Error,
}

/// The same failure, told in words; what the operating system said stays as it is.
pub(super) fn in_words(error: io::Error, name: &ServerName<'_>) -> io::Error {
    let Some(words) = words_for(&error, name) else {
        return error;
    };
    let kind = error.kind();
    io::Error::new(
        kind,
        Failed {
            words,
            source: error,
        },
    )
}

/// The upstream showed a certificate that is not accepted: waiting mends that as little as trying again.
#[must_use]
pub fn refuses_certificate(error: &io::Error) -> bool {
    let told = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Failed>());
    let inner = told.and_then(|told| told.source.get_ref());
    let cause = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

fn words_for(error: &io::Error, name: &ServerName<'_>) -> Option<String> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some("the connection was closed during the TLS handshake".to_owned());
    }
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match inner {
        rustls::Error::InvalidCertificate(wrong) => certificate(wrong, name),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it asks for a certificate of ours, and there is none".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("it ended the TLS handshake: {alert:?}"),
        rustls::Error::PeerIncompatible(why) => format!("no TLS in common: {why:?}"),
        other => format!("the TLS handshake failed: {other}"),
    })
}

fn certificate(wrong: &CertificateError, name: &ServerName<'_>) -> String {
    let name = name.to_str();
    match wrong {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = days(*time, *not_after);
            format!("its certificate expired {ago} ago")
        }
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let left = days(*not_before, *time);
            format!("its certificate is not valid yet, for another {left}")
        }
        CertificateError::NotValidForName => format!("its certificate is not for {name}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let hosts = if presented.is_empty() {
                "no host at all".to_owned()
            } else {
                hosts(presented)
            };
            format!("its certificate is for {hosts}, not for {name}")
        }
        CertificateError::UnknownIssuer => {
            "its certificate was issued by nobody we trust (`ca` of upstream_tls)".to_owned()
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::BadSignature => "its certificate has a wrong signature".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers".to_owned()
        }
        other => format!("its certificate cannot be accepted: {other}"),
    }
}

/// `DnsName("localhost")` becomes `localhost`.
fn hosts(presented: &[String]) -> String {
    let bare = |name: &String| {
        let quoted = name.split('"').nth(1);
        let inside = quoted.or_else(|| name.split(['(', ')']).nth(1));
        inside.unwrap_or(name).to_owned()
    };
    presented.iter().map(bare).collect::<Vec<_>>().join(", ")
}

fn days(later: UnixTime, earlier: UnixTime) -> String {
    let seconds = later.as_secs().saturating_sub(earlier.as_secs());
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}
