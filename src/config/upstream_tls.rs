//! TLS to the upstreams of a service.

use super::change::Differences;
use super::keys::{Section, key, section};
use super::slots::WrittenAddress;
use super::table::Table;
use super::value::clip;
use crate::net::EndpointAddr;
use rustls::pki_types::ServerName;
use std::path::PathBuf;

pub(super) const UPSTREAM_TLS: Section = section(
    "service.NAME.upstream_tls",
    &[
        key("enabled", "true"),
        key("ca", r#""/etc/switchd/tls/upstream-ca.pem""#),
        key("server_name", r#""odoo.internal""#),
    ],
);

/// How upstreams prove who they are. They always have to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The CAs that may vouch for them; none means those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// Whom their certificates must be for; none means the host or IP of each address.
    pub server_name: Option<String>,
}

/// None where upstreams are spoken to without TLS.
pub(super) fn read(service: &Table<'_>, addresses: &[WrittenAddress]) -> Option<UpstreamTls> {
    let table = service.table("upstream_tls", &UPSTREAM_TLS);
    // Whoever writes the table wants it: half a config must not mean plain text.
    let enabled = table.flag("enabled", table.is_present());
    let is_set = |key: &str| table.get(key).filter(|value| !value.is_word(""));
    let ca = is_set("ca").and_then(|value| value.absolute_path());
    let server_name = is_set("server_name").and_then(|value| {
        let name = value.text()?;
        if ServerName::try_from(name).is_err() {
            value.wrong(
                format!("`server_name` is no host: \"{}\"", clip(name)),
                "write the host that the upstreams' certificates are for, without port",
            );
        }
        Some(name.to_owned())
    });
    let unix = |written: &&WrittenAddress| matches!(written.address, EndpointAddr::Unix(_));
    if enabled && let Some(written) = addresses.iter().find(unix) {
        table.report().add(
            &written.at,
            format!("address {} cannot be spoken to over TLS", written.address),
            "a unix socket needs none: leave [service.NAME.upstream_tls] out, or write IP:PORT",
        );
    }
    enabled.then_some(UpstreamTls { ca, server_name })
}

pub(super) fn changes(
    lines: &mut Differences,
    old: Option<&UpstreamTls>,
    new: Option<&UpstreamTls>,
) {
    lines.value("upstream_tls", &shown(old), &shown(new));
}

fn shown(tls: Option<&UpstreamTls>) -> String {
    let Some(tls) = tls else {
        return "off".to_owned();
    };
    let ca = tls.ca.as_ref();
    let ca = ca.map_or("the machine's CAs".to_owned(), |ca| {
        ca.display().to_string()
    });
    match &tls.server_name {
        Some(name) => format!("{name} by {ca}"),
        None => format!("by {ca}"),
    }
}
