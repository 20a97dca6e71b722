//! How quick requests are, one way and another, measured in turns: what else the machine does hits both alike.

use super::Wire;
use std::fmt;
use std::time::Duration;
use std::time::Instant;

/// Requests of each client in one round.
const EACH: usize = 12;

/// The time below which 99 of 100 requests of one round are answered, all of them with 200.
pub(crate) async fn p99(clients: &mut [Wire], raw: &str) -> Duration {
    let ask = async |client: &mut Wire| {
        let mut times = Vec::new();
        for _ in 0..EACH {
            let began = Instant::now();
            let answer = client.ask(raw).await;
            times.push(began.elapsed());
            assert_eq!(answer.status(), 200, "{}", answer.text());
        }
        times
    };
    let rounds = futures_util::future::join_all(clients.iter_mut().map(ask)).await;
    let mut times: Vec<_> = rounds.into_iter().flatten().collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// Of the second way to the first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) middle: f64,
    lowest: f64,
    highest: f64,
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            middle,
            lowest,
            highest,
        } = self;
        write!(f, "{middle:.3}, from {lowest:.3} to {highest:.3}")
    }
}

/// Measures ways 0 and 1 once in each turn; whichever comes first has no advantage of it.
pub(crate) async fn in_turns(
    turns: usize,
    mut measure: impl AsyncFnMut(usize) -> Duration,
) -> Ratio {
    let mut ratios = Vec::new();
    for turn in 0..turns {
        let mut times = [Duration::ZERO; 2];
        for way in [turn % 2, 1 - turn % 2] {
            times[way] = measure(way).await;
        }
        ratios.push(times[1].as_secs_f64() / times[0].as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    Ratio {
        middle: ratios[turns / 2],
        lowest: ratios[0],
        highest: ratios[turns - 1],
    }
}
