//! Does a websocket open at the member that clients' websockets reach?

use super::check::Check;
use super::check::shown;
use super::trial::Trial;
use crate::config::Gate;
use std::time::Duration;
use tokio::time::Instant;

const WEBSOCKET: &str = "/websocket";
/// Of the websocket process, which answers at once or not at all.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub(super) async fn opens(trial: &Trial, gate: &Gate) -> Vec<Check> {
    let mut checks = Vec::new();
    let member = trial.member_for(WEBSOCKET, true);
    for asker in member.iter().flat_map(|member| trial.askers(gate, member)) {
        let started = Instant::now();
        let opened = asker.open_websocket(WEBSOCKET, HANDSHAKE).await;
        let slot = &trial.slot;
        let remedy = || {
            format!(
                "is the websocket process (gevent) of {slot} alive? look at its log; with workers it has a port of its own"
            )
        };
        let check = match opened {
            Ok(opened) if opened.is_websocket => Check::passed("websocket", "101, it opens"),
            Ok(opened) if opened.status == 101 => Check::failed(
                "websocket",
                "101 without a proof that it is a websocket",
                remedy(),
            ),
            Ok(opened) => {
                let body = shown(&opened.body);
                let said = format!("HTTP {} instead of 101: {body}", opened.status);
                Check::failed("websocket", said, remedy())
            }
            Err(error) => Check::failed("websocket", error.to_string(), remedy()),
        };
        checks.push(check.at(&asker.name()).took(started.elapsed()));
    }
    checks
}
