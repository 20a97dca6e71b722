//! Gates of kind `warm_up`: each worker of a slot warms alone, so all of them are asked at once.

use super::asking::Asker;
use super::asking::KEPT;
use super::asking::Question;
use super::check::Attempt;
use super::check::Check;
use super::page;
use super::trial::Trial;
use super::trial::in_seconds;
use crate::config::Gate;
use crate::config::WarmUp;
use crate::upstream::Visited;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::Instant;

/// One round: every path, of every address. The gate's attempts are rounds.
pub(super) async fn attempt(trial: &Trial, gate: &Gate, warm_up: &WarmUp) -> Attempt {
    let mut checks = Vec::new();
    for (number, member) in trial.members().iter().enumerate() {
        if !warm_up.members.is_empty() && !warm_up.members.contains(member) {
            continue;
        }
        // Other members give no scripts and styles to clients.
        let with_assets = warm_up.assets && number == 0;
        for asker in trial.askers(gate, member) {
            let started = Instant::now();
            let check = address(trial, &asker, warm_up, with_assets).await;
            checks.push(check.at(&asker.name()).took(started.elapsed()));
        }
    }
    Attempt::of(checks)
}

/// The slowest answer of a round.
struct Slowest {
    path: String,
    took: Duration,
}

async fn address(trial: &Trial, asker: &Asker<'_>, warm_up: &WarmUp, with_assets: bool) -> Check {
    let slot = &trial.slot;
    let failed = |path: &str, said: String| {
        let remedy = format!("look at the log of {slot}");
        Check::failed("warm", format!("GET {path}: {said}"), remedy)
    };
    let mut slowest = Slowest {
        path: String::new(),
        took: Duration::ZERO,
    };
    let mut assets: Vec<String> = Vec::new();
    for path in &warm_up.paths {
        match together(asker, path, warm_up.parallel, KEPT, &mut slowest).await {
            Err(said) => return failed(path, said),
            Ok(page) if with_assets => {
                let named = page::assets(&page, &asker.origin.host);
                let new = named.into_iter().filter(|asset| !assets.contains(asset));
                assets.extend(new.collect::<Vec<_>>());
            }
            Ok(_) => {}
        }
    }
    for path in &assets {
        // The first who asks for a bundle builds it: others would build it once more.
        let first = asker
            .ask(Question::get(path).keeping(0), Duration::MAX)
            .await;
        if let Err(said) = good(first) {
            return failed(path, said);
        }
        if let Err(said) = together(asker, path, warm_up.parallel, 0, &mut slowest).await {
            return failed(path, said);
        }
    }
    let Slowest { path, took } = slowest;
    let said = format!(
        "slowest of {} at once {} (GET {path}), {} at most{}",
        warm_up.parallel,
        in_seconds(took),
        in_seconds(warm_up.within),
        match assets.len() {
            0 => String::new(),
            count => format!(", {count} assets too"),
        }
    );
    if took <= warm_up.within {
        return Check::passed("warm", said);
    }
    let remedy = format!("what keeps {slot} busy? `within` says how fast is fast enough");
    Check::failed("warm", said, remedy)
}

/// So many requests at once; the body of one of them.
async fn together(
    asker: &Asker<'_>,
    path: &str,
    count: u32,
    keep: usize,
    slowest: &mut Slowest,
) -> Result<Vec<u8>, String> {
    let ask = |number: u32| {
        let keep = if number == 0 { keep } else { 0 };
        // The gate's own deadline ends what takes longer.
        asker.ask(Question::get(path).keeping(keep), Duration::MAX)
    };
    let mut body = Vec::new();
    for visited in join_all((0..count).map(ask)).await {
        let visited = good(visited)?;
        if visited.took > slowest.took {
            slowest.took = visited.took;
            path.clone_into(&mut slowest.path);
        }
        if !visited.body.is_empty() {
            body = visited.body;
        }
    }
    Ok(body)
}

fn good(visited: Result<Visited, crate::upstream::ProbeFailure>) -> Result<Visited, String> {
    let visited = visited.map_err(|error| error.to_string())?;
    if visited.status < 400 {
        return Ok(visited);
    }
    Err(format!("HTTP {}", visited.status))
}
