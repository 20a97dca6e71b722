//! May traffic still move by itself, in words.

use super::style::{Look, Paint};
use super::table::printable;
use super::words;
use crate::api::{FailbackStatus, ServiceStatus};
use std::fmt::Write;

/// Its line in `status`.
pub(super) fn line(service: &ServiceStatus, look: &Look) -> String {
    let rule = &service.failback;
    let mut text = match rule.mode.as_str() {
        "off" => "failback: off".to_owned(),
        mode => format!(
            "failback: {mode}, {} of {} used",
            rule.moves_in_window,
            words::many(u64::from(rule.max_moves), "move"),
        ),
    };
    // Its trouble has a line of its own.
    if let Some(shared) = &service.shared
        && service.shared_trouble.is_none()
    {
        let _ = write!(text, "; shared {} is {}", shared.address, shared.health);
    }
    let (paint, used_up) = used_up(rule, look);
    look.style.paint(paint, &printable(&(text + &used_up)))
}

/// What follows from it where no automatic move is left.
fn used_up(rule: &FailbackStatus, look: &Look) -> (Paint, String) {
    if rule.mode == "off" || rule.moves_in_window < rule.max_moves {
        return (Paint::Plain, String::new());
    }
    if rule.max_moves == 0 {
        let text =
            ": `failback.max_moves` allows none, so no slot that answers badly is left by itself";
        return (Paint::Notable, text.to_owned());
    }
    let until = rule.limit_ends.as_ref().map_or(String::new(), |ends| {
        let left = words::until(ends, look);
        format!(" until {}, for {left}", words::date(ends, look))
    });
    let text = format!(
        ":{until}, no slot that answers badly is left by itself; find out why traffic had to move, \
         or raise `failback.max_moves` and `switchctl reload`"
    );
    (Paint::Bad, text)
}
