//! Who and what may come in, before a request is admitted anywhere.

use super::fault::Fault;
use super::framing::Framing;
use super::local::Local;
use super::prepare::Judge;
use super::request::RequestHead;
use crate::config::Service as ServiceSettings;
use std::net::IpAddr;

/// Judges a request by its head. An answer means that no upstream is asked.
pub(super) fn screen(
    head: &RequestHead<'_>,
    settings: &ServiceSettings,
    _caller: IpAddr,
    judge: Judge<'_>,
) -> Result<Option<Local>, Fault> {
    let limit = settings.limits.most_body(judge.view.limits.body_bytes);
    if matches!(head.framing, Framing::Length(length) if limit > 0 && length > limit) {
        return Err(Fault::BodyTooLarge { limit });
    }
    Ok(None)
}
