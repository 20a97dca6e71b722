//! The demo from its first line to its last.

use super::Args;
use super::Colour;
use super::admin::Admin;
use super::admin::Events;
use super::home::Home;
use super::load::Load;
use super::load::Seen;
use super::proxy::Proxy;
use super::screen::Screen;
use super::tally::Books;
use super::tally::Move;
use super::tally::Tally;
use super::upstreams::Upstreams;
use crate::api::StreamEvent;
use anyhow::Context;
use anyhow::bail;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use std::time::Instant;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio::time::timeout;

const TICK: Duration = Duration::from_millis(50);
/// Between one flip's line and the next flip.
const BREATH: Duration = Duration::from_millis(50);
/// More than the gate and the drain of the demo's config may take together.
const FLIP_DEADLINE: Duration = Duration::from_mins(1);
const SERVICE: &str = "demo";

/// Why the demo ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// All flips are done.
    Finished,
    /// Ctrl-C, which the proxy hears as well.
    Interrupted,
}

/// The proxy comes first: it ends before what it leans on does.
struct Demo {
    proxy: Proxy,
    home: Home,
    upstreams: Upstreams,
    admin: Admin,
    events: Events,
    screen: Screen,
    tally: Tally,
    flips_left: u32,
    flipping: Option<JoinHandle<anyhow::Result<()>>>,
    last_line: Instant,
    is_unattended: bool,
}

pub(super) async fn tell(args: &Args) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let upstreams = Upstreams::start()?;
    let home = Home::create()?;
    home.write_config(args.port, &upstreams)?;
    let mut proxy = Proxy::start(&home)?;
    let admin = Admin::new(home.socket());
    let status = tokio::select! {
        status = proxy.ready(&admin, &home) => status?,
        () = signals.any() => return Ok(ExitCode::FAILURE),
    };
    let address = status
        .listeners
        .first()
        .context("the proxy has no listener")?;
    let address: SocketAddr = address
        .parse()
        .context("the proxy listens on an odd address")?;

    let mut screen = Screen::new();
    screen.welcome(address, &home.socket(), args)?;
    let mut demo = Demo {
        events: admin.events().await?,
        proxy,
        home,
        upstreams,
        admin,
        screen,
        tally: Tally::new(Colour::Blue),
        flips_left: args.flips(),
        flipping: None,
        last_line: Instant::now(),
        is_unattended: args.exit,
    };
    let (seen, mut sight) = mpsc::channel(1024);
    let load = Load::start(address, seen);
    match demo.watch(&mut sight, &mut signals).await? {
        Ending::Finished => {
            demo.settle(load, sight).await;
            demo.end(Ending::Finished).await
        }
        Ending::Interrupted => {
            drop(load);
            demo.end(Ending::Interrupted).await
        }
    }
}

impl Demo {
    async fn watch(
        &mut self,
        sight: &mut mpsc::Receiver<Seen>,
        signals: &mut Signals,
    ) -> anyhow::Result<Ending> {
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                biased;
                () = signals.any() => return Ok(Ending::Interrupted),
                event = self.events.next() => self.hear(event?)?,
                Some(seen) = sight.recv() => self.tally.see(Instant::now(), seen),
                _ = ticks.tick() => if self.tick().await? {
                    return Ok(Ending::Finished);
                },
            }
        }
    }

    fn hear(&mut self, event: Option<StreamEvent>) -> anyhow::Result<()> {
        let Some(event) = event else {
            self.proxy.still_runs(&self.home)?;
            bail!("the proxy ended its stream of events");
        };
        let reached = self.upstreams.reached();
        match self.tally.hear(Instant::now(), &event.kind, reached) {
            Some(ended) => self.line(&ended),
            None => Ok(()),
        }
    }

    fn line(&mut self, flip: &Move) -> anyhow::Result<()> {
        self.last_line = Instant::now();
        Ok(self.screen.flip(flip)?)
    }

    /// What is due now; whether that was the last of it.
    async fn tick(&mut self) -> anyhow::Result<bool> {
        self.proxy.still_runs(&self.home)?;
        if let Some(flip) = self.tally.due(Instant::now()) {
            self.line(&flip)?;
        }
        self.screen.live(&self.tally)?;
        if self.flipping.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(flipping) = self.flipping.take()
        {
            flipping.await??;
        }
        let is_idle = self.flipping.is_none() && !self.tally.is_moving();
        if is_idle && self.flips_left > 0 && self.last_line.elapsed() >= BREATH {
            self.flips_left -= 1;
            self.tally.check_empty(self.upstreams.reached());
            self.flipping = Some(tokio::spawn(flip(
                self.admin.clone(),
                self.tally.active.other(),
            )));
            return Ok(false);
        }
        Ok(is_idle && self.flips_left == 0 && self.is_unattended)
    }

    /// Lets the clients end what they are at, and counts it.
    async fn settle(&mut self, load: Load, mut sight: mpsc::Receiver<Seen>) {
        let stopping = load.stop();
        tokio::pin!(stopping);
        loop {
            tokio::select! {
                Some(seen) = sight.recv() => self.tally.see(Instant::now(), seen),
                () = &mut stopping => break,
            }
        }
        while let Ok(seen) = sight.try_recv() {
            self.tally.see(Instant::now(), seen);
        }
    }

    async fn end(mut self, ending: Ending) -> anyhow::Result<ExitCode> {
        let reached = self.upstreams.reached();
        self.tally.check_empty(reached);
        let books = match ending {
            Ending::Finished => Some(self.tally.books(reached)),
            // Cut by ourselves in the middle: nothing to balance.
            Ending::Interrupted => None,
        };
        self.screen.end(&self.tally, books)?;
        let is_well = self.tally.is_well() && books.is_none_or(Books::is_balanced);
        let stopped = self.proxy.stop().await;
        match ending {
            Ending::Finished => stopped?,
            // It was interrupted by the same Ctrl-C, at any moment of its life.
            Ending::Interrupted if self.is_unattended => return Ok(ExitCode::FAILURE),
            Ending::Interrupted => {}
        }
        Ok(if is_well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

async fn flip(admin: Admin, to: Colour) -> anyhow::Result<()> {
    timeout(FLIP_DEADLINE, admin.flip(SERVICE, to.as_str()))
        .await
        .with_context(|| {
            format!(
                "the flip to {to} took more than {} s",
                FLIP_DEADLINE.as_secs()
            )
        })?
}

/// Whatever asks a program to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
