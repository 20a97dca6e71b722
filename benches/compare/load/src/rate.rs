//! The open load: requests leave when they are due, not when the last answer has come.

use crate::PATIENCE;
use crate::Plan;
use crate::connection;
use crate::connection::Failure;
use crate::connection::Target;
use crate::results::Results;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Requests that are due and wait for a free connection.
struct Line {
    due: Mutex<VecDeque<Instant>>,
    count: Semaphore,
}

impl Line {
    fn push(&self, due: Instant) {
        self.due().push_back(due);
        self.count.add_permits(1);
    }

    fn due(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.due.lock().expect("nobody panics while holding it")
    }
}

#[derive(Default)]
struct Book {
    results: Results,
    /// One line per request: due and sent (seconds since 1970), latency in µs, slot, outcome.
    record: String,
}

/// Puts requests into the line when they are due. On a thread of its own: tokio's timers round up to the
/// next millisecond, a parked thread wakes within some tens of µs.
fn arrivals(line: &Line, started: Instant, end: Instant, rate: f64) {
    // The same moments for every proxy.
    fastrand::seed(2);
    let mut due = started;
    while due < end {
        while let wait = due.saturating_duration_since(Instant::now())
            && !wait.is_zero()
        {
            std::thread::park_timeout(wait);
        }
        line.push(due);
        // Exponential gaps: arrivals that know nothing of each other.
        let gap = -(1.0 - fastrand::f64()).ln() / rate;
        due += Duration::from_secs_f64(gap);
    }
}

pub async fn run(
    target: Rc<Target>,
    plan: &Plan,
    rate: f64,
    record: Option<&str>,
) -> anyhow::Result<Results> {
    let line = Arc::new(Line {
        due: Mutex::default(),
        count: Semaphore::new(0),
    });
    let book = Rc::new(RefCell::new(Book::default()));
    let started = Instant::now();
    let started_wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let clock = Clock {
        started,
        started_wall,
    };
    let mut clients = Vec::new();
    for _ in 0..plan.connections {
        let (target, line, book) = (target.clone(), line.clone(), book.clone());
        clients.push(tokio::task::spawn_local(async move {
            let mut connection = None;
            // Closed when the time is over and the line is empty.
            while let Ok(permit) = line.count.acquire().await {
                permit.forget();
                let Some(due) = line.due().pop_front() else {
                    continue;
                };
                let sent = Instant::now();
                let exchange = connection::exchange(&mut connection, &target);
                let outcome = timeout(PATIENCE, exchange).await;
                let outcome = outcome.unwrap_or(Err(Failure::Broken));
                let book = &mut *book.borrow_mut();
                book.results.add(due, &outcome);
                let (slot, told) = match &outcome {
                    Ok(answer) => (answer.slot, "ok".to_owned()),
                    Err(failure) => ('-', format!("{failure:?}")),
                };
                let _ = writeln!(
                    book.record,
                    "{:.6} {:.6} {} {slot} {told}",
                    clock.wall(due),
                    clock.wall(sent),
                    due.elapsed().as_micros()
                );
            }
        }));
    }
    let source = line.clone();
    let end = started + plan.duration;
    tokio::task::spawn_blocking(move || arrivals(&source, started, end, rate)).await?;
    while !line.due().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    line.count.close();
    for client in clients {
        client.await?;
    }
    let mut book = book.take();
    book.results.took = started.elapsed();
    if let Some(path) = record {
        std::fs::write(path, &book.record)?;
    }
    Ok(book.results)
}

#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    started_wall: Duration,
}

impl Clock {
    fn wall(&self, moment: Instant) -> f64 {
        (self.started_wall + moment.saturating_duration_since(self.started)).as_secs_f64()
    }
}
