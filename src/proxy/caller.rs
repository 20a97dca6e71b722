//! Who asks, where a trusted proxy speaks for others.

use super::fields::Field;
use super::fields::options;
use super::request::RequestHead;
use crate::live::View;
use std::net::IpAddr;

/// Whether what this peer says of others is believed.
pub(super) fn is_trusted(view: &View, address: IpAddr) -> bool {
    view.trusted_proxies
        .iter()
        .any(|network| network.contains(address))
}

/// The last address in X-Forwarded-For that is no trusted proxy. What is behind a text that is no address
/// was written by nobody we trust.
pub(super) fn named_client(head: &RequestHead<'_>, view: &View) -> Option<IpAddr> {
    let mut named = None;
    for list in head.values(Field::ForwardedFor).rev() {
        for text in options(list).collect::<Vec<_>>().into_iter().rev() {
            let Some(address) = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
            else {
                return named;
            };
            named = Some(address);
            if !is_trusted(view, address) {
                return named;
            }
        }
    }
    named
}
