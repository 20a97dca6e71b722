//! The load of `benches/compare`: one thread, plain HTTP/1.1 to 127.0.0.1, one JSON line of results.
//!
//! `load closed address=A path=P connections=N seconds=S [requests=N]`   keep-alive, as fast as it goes
//! `load connect ...`        the same, with a new connection for each request
//! `load upload ... size=B`  the same, with a body of B bytes
//! `load rate ... rate=R [record=FILE]`  R requests per second at random moments, whatever the answers do:
//!     latency counts from the moment a request was meant to leave, so a stall is felt by all who wait in it
//! `load sink`               a server that reads uploads; prints its address, ends with its input

mod connection;
mod rate;
mod results;
mod sink;

use anyhow::Context;
use anyhow::bail;
use connection::Connection;
use connection::Failure;
use connection::Target;
use results::Results;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;
use tokio::task::LocalSet;
use tokio::time::timeout_at;

/// An answer that takes longer is counted as broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command line: a mode, then `key=value`.
struct Args(Vec<String>);

impl Args {
    fn mode(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|arg| arg.strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str, default: f64) -> anyhow::Result<f64> {
        self.text(key).map_or(Ok(default), |text| {
            text.parse()
                .with_context(|| format!("{key}={text} is no number"))
        })
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args(std::env::args().skip(1).collect());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(&args))
}

async fn run(args: &Args) -> anyhow::Result<()> {
    if args.mode() == "sink" {
        return sink::serve().await;
    }
    let address: SocketAddr = args.text("address").context("address=?")?.parse()?;
    let size = match args.mode() {
        "upload" => args.number("size", 0.0)? as usize,
        _ => 0,
    };
    let path = args.text("path").unwrap_or("/");
    let target = Rc::new(Target::new(address, path, size));
    let plan = Plan {
        connections: args.number("connections", 1.0)? as usize,
        duration: Duration::from_secs_f64(args.number("seconds", 1.0)?),
        requests: args.number("requests", f64::MAX)? as u64,
        keeps: args.mode() != "connect",
    };
    let results = match args.mode() {
        "closed" | "connect" | "upload" => closed(target, plan).await?,
        "rate" => {
            let rate = args.number("rate", 1000.0)?;
            rate::run(target, &plan, rate, args.text("record")).await?
        }
        mode => bail!("unknown mode {mode:?}: closed, connect, upload, rate or sink"),
    };
    println!("{}", results.json());
    Ok(())
}

/// How much of it.
#[derive(Clone, Copy)]
struct Plan {
    connections: usize,
    duration: Duration,
    requests: u64,
    keeps: bool,
}

/// Each connection sends its next request when it has read the answer to the last one.
async fn closed(target: Rc<Target>, plan: Plan) -> anyhow::Result<Results> {
    let results = Rc::new(RefCell::new(Results::default()));
    let started = Instant::now();
    let end = started + plan.duration;
    let mut clients = Vec::new();
    let left = Rc::new(RefCell::new(plan.requests));
    for _ in 0..plan.connections {
        let (target, results, left) = (target.clone(), results.clone(), left.clone());
        clients.push(tokio::task::spawn_local(async move {
            let mut connection: Option<Connection> = None;
            loop {
                let sent = Instant::now();
                if sent >= end || *left.borrow() == 0 {
                    return;
                }
                *left.borrow_mut() -= 1;
                let outcome = connection::exchange(&mut connection, &target).await;
                if !plan.keeps {
                    connection = None;
                }
                let failed = outcome.is_err();
                results.borrow_mut().add(sent, &outcome);
                if failed {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        }));
    }
    for client in clients {
        // One timer for each connection, not for each request: those would be measured as well.
        if timeout_at((end + PATIENCE).into(), client).await.is_err() {
            results.borrow_mut().add(end, &Err(Failure::Broken));
        }
    }
    let mut results = results.take();
    results.took = started.elapsed();
    Ok(results)
}
