//! What every test stands on: the real daemon, scriptable upstreams, and clients that hide nothing.
//!
//! Used by the modules of promises beside it. Never decides what is right: that is the tests' part.
//! Rules: port 0 everywhere, one temporary folder per daemon, every wait has a deadline,
//! and [`eventually`] is the only place that looks again after a pause.

mod acme;
mod api_client;
mod backend;
mod bulk;
mod child;
mod coding;
mod config;
mod daemon;
mod dns;
pub(crate) mod frames;
pub(crate) mod http2;
mod link;
mod memory;
mod message;
mod odoo;
mod postgres;
mod prometheus;
mod ratio;
mod script;
mod site;
mod small_disk;
mod tls;
mod websocket;
mod wire;

pub(crate) use acme::AcmeServer;
pub(crate) use api_client::{EventStream, Reply as ApiReply, call as api_call};
pub(crate) use backend::Backend;
pub(crate) use bulk::{Bulk, Pace};
pub(crate) use child::{ChildUpstream, serve_if_child};
pub(crate) use coding::decoded;
pub(crate) use config::Config;
pub(crate) use daemon::{CtlOutput, Daemon, switchctl, switchd};
pub(crate) use dns::{Answer as DnsAnswer, Blackhole, NameServer};
pub(crate) use http2::{Frames, Http2, h2_request};
pub(crate) use link::Link;
pub(crate) use memory::Memory;
pub(crate) use message::{Answer, Body, End, Head};
pub(crate) use odoo::{
    Behaviour, Content, Database, Digest, Event as WebsocketEvent, MOST_FRAMES,
    Member as OdooMember, Odoo, SerializationFailure,
};
pub(crate) use postgres::Postgres;
pub(crate) use prometheus::{Prometheus, promtool};
pub(crate) use ratio::{in_turns, p99};
pub(crate) use script::{Gate, Reply, Step};
pub(crate) use site::Site;
pub(crate) use small_disk::SmallDisk;
pub(crate) use tls::{Authority, Connector, Leaf};
pub(crate) use websocket::Websocket;
pub(crate) use wire::{Wire, get, request};

use std::time::Duration;
use std::time::Instant;

/// No wait of a test lasts longer; far above anything that a busy machine explains.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for the thing, not for time.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !holds().await {
        assert!(started.elapsed() < DEADLINE, "never happened: {what}");
        looks.tick().await;
    }
}

/// What an upstream does that works for so long; nothing that a test may wait for.
pub(crate) async fn pass(time: Duration) {
    let never = std::future::pending::<()>();
    drop(tokio::time::timeout(time, never).await);
}

/// The two slots of a plain service.
pub(crate) struct Pair {
    pub(crate) blue: Backend,
    pub(crate) green: Backend,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self {
            blue: Backend::start("blue").await,
            green: Backend::start("green").await,
        }
    }

    pub(crate) fn config(&self) -> Config {
        Config::pair(&self.blue, &self.green)
    }

    /// A request that blue is at work on until `gate` opens.
    pub(crate) async fn occupy(&self, daemon: &Daemon, gate: &Gate) -> Wire {
        self.blue.on("/slow", Reply::held(gate));
        let mut client = Wire::connect(daemon.address).await;
        client.send(request("GET /slow", "", "")).await;
        self.blue.saw("/slow", 1).await;
        client
    }

    /// The daemon in front of both, with the plain config.
    pub(crate) async fn daemon(&self) -> Daemon {
        Daemon::start(&self.config()).await
    }
}
