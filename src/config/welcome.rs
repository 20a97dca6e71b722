//! What becomes of those who connect to a listener, and who says for whom they connect.

use super::change::{Differences, Lists};
use super::sections::networks;
use super::settings::Network;
use super::table::Table;
use super::value::{Choice, Value};
use crate::net::ProxyVersion;
use std::fmt;
use std::net::IpAddr;

/// How clients of one listener are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub kind: ListenerKind,
    /// Of https, where requests are redirected to.
    pub redirect_port: u16,
    /// Load balancers, which must begin with a PROXY header; nobody else's is believed.
    pub proxy_protocol: Vec<Network>,
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListenerKind {
    #[default]
    Serve,
    /// Every request is sent to https.
    Redirect,
}

impl Default for Welcome {
    fn default() -> Self {
        Self {
            kind: ListenerKind::Serve,
            redirect_port: 443,
            proxy_protocol: Vec::new(),
        }
    }
}

impl Welcome {
    /// Whether a connection from there begins with a PROXY header.
    #[must_use]
    pub fn expects_introduction(&self, peer: IpAddr) -> bool {
        self.proxy_protocol
            .iter()
            .any(|network| network.contains(peer))
    }

    /// The port of https that requests are sent to.
    #[must_use]
    pub fn redirects_to(&self) -> Option<u16> {
        match self.kind {
            ListenerKind::Serve => None,
            ListenerKind::Redirect => Some(self.redirect_port),
        }
    }
}

impl fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serve => "serve",
            Self::Redirect => "redirect",
        })
    }
}

/// Reads what `[[listener]]` says of it.
pub(super) fn read(listener: &Table<'_>) -> Welcome {
    let kind = listener.get("kind");
    let chosen = kind.as_ref().and_then(|value| {
        value.choice(&[
            Choice {
                word: "serve",
                means: ListenerKind::Serve,
            },
            Choice {
                word: "redirect",
                means: ListenerKind::Redirect,
            },
        ])
    });
    if chosen == Some(ListenerKind::Redirect) && listener.has("certificate") {
        let told = |value: &Value<'_>| {
            value.wrong(
                "a listener that redirects to https speaks no TLS itself",
                "leave the certificate to the listener that serves https, or leave `kind` out",
            );
        };
        kind.iter().for_each(told);
    }
    let default = Welcome::default();
    Welcome {
        kind: chosen.unwrap_or_default(),
        redirect_port: listener.number("redirect_port", 1..=65_535, default.redirect_port),
        proxy_protocol: networks(listener, "proxy_protocol", default.proxy_protocol),
    }
}

pub(super) fn changes(lines: &mut Differences, old: &Welcome, new: &Welcome) {
    lines.value("kind", &old.kind, &new.kind);
    lines.value("redirect_port", &old.redirect_port, &new.redirect_port);
    let networks = Lists {
        old: &old.proxy_protocol,
        new: &new.proxy_protocol,
    };
    lines.list("proxy_protocol", &networks, ToString::to_string);
}

/// Whether upstreams are told for whom a connection is made; `[service.NAME]` says so.
pub(super) fn upstream(service: &Table<'_>) -> Option<ProxyVersion> {
    let value = service.get("upstream_proxy_protocol")?;
    value.choice(&[
        Choice {
            word: "off",
            means: None,
        },
        Choice {
            word: "v1",
            means: Some(ProxyVersion::V1),
        },
        Choice {
            word: "v2",
            means: Some(ProxyVersion::V2),
        },
    ])?
}

pub(super) fn upstream_changes(
    lines: &mut Differences,
    old: Option<ProxyVersion>,
    new: Option<ProxyVersion>,
) {
    let shown = |version| match version {
        None => "off",
        Some(ProxyVersion::V1) => "v1",
        Some(ProxyVersion::V2) => "v2",
    };
    lines.value("upstream_proxy_protocol", &shown(old), &shown(new));
}
