//! Where switchd is: behind its socket, or at a URL.

use super::failure::Failure;
use crate::config::Secret;
use crate::net::Stream;
use crate::tls::connect_web;
use http::HeaderValue;
use http::Uri;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const TOKEN: &str = "SWITCHD_TOKEN";

/// Whom the command line talks to.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Socket(PathBuf),
    Web(Box<Web>),
}

/// The admin API over TCP.
#[derive(Debug, Clone)]
pub(super) struct Web {
    pub(super) url: Uri,
    /// None: in the environment.
    pub(super) token_file: Option<PathBuf>,
    /// Whom to trust; none means the roots of this machine.
    pub(super) ca: Option<PathBuf>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Web(web) => web.url.fmt(f),
        }
    }
}

impl Place {
    /// `within` is the caller's own deadline.
    pub(super) async fn connect(&self, within: Duration) -> io::Result<Stream> {
        match self {
            Self::Socket(path) => Ok(tokio::net::UnixStream::connect(path).await?.into()),
            Self::Web(web) => connect_web(&web.url, web.ca.as_deref(), within).await,
        }
    }

    /// The Host header.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "switchd",
            Self::Web(web) => web.url.authority().map_or("", |it| it.as_str()),
        }
    }

    /// What stands before every path.
    pub(super) fn prefix(&self) -> &str {
        match self {
            Self::Socket(_) => "",
            Self::Web(web) => web.url.path().trim_end_matches('/'),
        }
    }

    /// The Authorization header; none where the socket itself knows who asks.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let Self::Web(web) = self else {
            return Ok(None);
        };
        let text = format!("Bearer {}", web.token()?.reveal());
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Failure::Usage("the token holds what no token holds".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Web {
    fn token(&self) -> Result<Secret, Failure> {
        let text = match &self.token_file {
            Some(file) => fs::read_to_string(file).map_err(|error| {
                Failure::Usage(format!(
                    "cannot read the token in {}: {error}",
                    file.display()
                ))
            })?,
            None => env::var(TOKEN).map_err(|_| {
                Failure::Usage(format!(
                    "at a URL switchd wants a token: --token-file FILE, or {TOKEN}\n  \
                     `switchctl token new` makes one"
                ))
            })?,
        };
        Ok(Secret::new(text.trim().to_owned()))
    }
}

/// For the command line: where a token may be sent to.
pub(super) fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("{error}"))?;
    let host = url.host().unwrap_or_default();
    let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    if url.query().is_some() || url.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err("scheme, host and port are all it takes".to_owned());
    }
    match url.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if is_here => Ok(url),
        Some("http") => {
            Err("the token would cross the network for everybody to read; use https".to_owned())
        }
        _ => Err("write https://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_crosses_a_network_in_the_clear() {
        for good in [
            "https://erp.example:9146",
            "http://127.0.0.1:9146/",
            "http://[::1]:1",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://erp.example:9146",
            "ftp://127.0.0.1",
            "erp.example:9146",
            "https://me:secret@erp.example",
            "https://erp.example/?a=b",
            "",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
