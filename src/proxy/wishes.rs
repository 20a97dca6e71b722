//! What a request wants of the content, and has of it already.

use super::request::RequestHead;
use crate::config::Coding;
use crate::config::Service as ServiceSettings;
use crate::content::Conditions;
use crate::content::best;

/// Noted of a request whose service does something with content.
#[derive(Debug)]
pub(super) struct Wishes {
    /// What a body may be encoded with; none when it goes as it is.
    pub coding: Option<Coding>,
    pub conditions: Conditions,
}

/// None when no answer of this service would be looked at: that is the one branch it costs then.
pub(super) fn wishes(head: &RequestHead<'_>, settings: &ServiceSettings) -> Option<Box<Wishes>> {
    if !settings.handles_content() {
        return None;
    }
    let mut conditions = Conditions::default();
    let mut accept = Vec::new();
    for (name, value) in head.fields() {
        if name.len() == 15 && name.eq_ignore_ascii_case("accept-encoding") {
            accept.push(value);
        } else {
            conditions.take(name, value);
        }
    }
    // Chunks are needed to say where an encoded body ends; and who asks for a part means the content as it is.
    let encodes = settings.compression.enabled && head.is_http11 && conditions.range.is_none();
    let coding = if encodes {
        best(accept, &settings.compression.codings)
    } else {
        None
    };
    Some(Box::new(Wishes { coding, conditions }))
}
