//! Connecting over TCP: to an address, or to whichever address of a name can be connected (RFC 8305).

use super::address::EndpointAddr;
use super::lack::is_ours;
use super::lack::told_apart;
use super::resolver::Name;
use super::resolver::resolver;
use futures_util::stream::FuturesUnordered;
use futures_util::stream::StreamExt;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout_at;

/// An address that is not connected by then gets company.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Whether a name has other addresses by now is waited for so long, where none of the known ones can be connected.
const NEWS: Duration = Duration::from_secs(1);
/// Addresses that one connect tries.
const MOST: usize = 16;

/// How long a connect may take, and where it begins.
#[derive(Debug, Clone, Copy)]
pub struct Dial {
    /// The caller's own deadline; every address of a name gets its share of it.
    pub within: Duration,
    /// The address of the name that is tried first; none means the one whose turn it is.
    pub first: Option<SocketAddr>,
}

impl Dial {
    #[must_use]
    pub fn within(within: Duration) -> Self {
        Self {
            within,
            first: None,
        }
    }
}

/// Connects over TCP. A name that is known is not looked up: its addresses are tried, the next one when one fails or
/// is slow.
///
/// # Errors
/// The operating system's, of the last address that failed; [`super::NameFailure`], where there is no address; a unix
/// socket is refused. The deadline is the caller's all the same. Cancel safe.
pub async fn connect_tcp(address: &EndpointAddr, dial: Dial) -> io::Result<TcpStream> {
    let socket = match address {
        EndpointAddr::Tcp(address) => connect(*address).await?,
        EndpointAddr::Named { host, port } => {
            let name = resolver().name(host);
            // Boxed: most connects need nothing of all this.
            Box::pin(connect_name(&name, *port, dial)).await?
        }
        EndpointAddr::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connected = TcpStream::connect(address).await;
    connected.map_err(|error| told_apart(error, address))
}

pub(super) async fn connect_name(name: &Arc<Name>, port: u16, dial: Dial) -> io::Result<TcpStream> {
    let began = Instant::now();
    // Before the addresses are looked at: what is learned after that is news.
    let news = name.listen();
    let known = name.addresses(dial.within).await?;
    let mut waiting = VecDeque::from(name.order(&known, port, dial.first));
    waiting.truncate(MOST);
    let share = dial.within / u32::try_from(waiting.len() + 1).unwrap_or(u32::MAX);
    Race {
        name,
        port,
        pause: NEXT_ADDRESS.min(share),
        until: began + NEWS.min(dial.within / 2),
        waiting,
        tried: Vec::new(),
        failed: Vec::new(),
        news,
        has_asked: false,
    }
    .run()
    .await
}

/// All addresses of a name against each other.
struct Race<'a> {
    name: &'a Arc<Name>,
    port: u16,
    /// From one address to the next.
    pause: Duration,
    /// Until when it is worth to wait for other addresses.
    until: Instant,
    waiting: VecDeque<SocketAddr>,
    tried: Vec<(SocketAddr, Instant)>,
    failed: Vec<SocketAddr>,
    news: watch::Receiver<()>,
    /// The name was looked up once more.
    has_asked: bool,
}

impl Race<'_> {
    async fn run(mut self) -> io::Result<TcpStream> {
        let mut connecting = FuturesUnordered::new();
        let mut last = None;
        loop {
            if let Some(address) = self.waiting.pop_front() {
                self.tried.push((address, Instant::now()));
                connecting.push(async move { (address, connect(address).await) });
            } else if connecting.is_empty() && !self.other_addresses().await {
                return Err(last.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            let next = Instant::now() + self.pause;
            tokio::select! {
                // What is connected by now is not slow, however late we look.
                biased;
                Some((address, result)) = connecting.next() => match result {
                    Ok(stream) => {
                        self.won(address);
                        return Ok(stream);
                    }
                    // No other address would do better.
                    Err(error) if is_ours(&error) => return Err(error),
                    Err(error) => {
                        self.failed.push(address);
                        last = Some(error);
                    }
                },
                () = sleep_until(next), if !self.waiting.is_empty() || !self.has_asked => self.ask(),
                Ok(()) = self.news.changed(), if self.has_asked => self.take_news(),
                else => {}
            }
        }
    }

    /// Where all are slow or failed, the name may have moved.
    fn ask(&mut self) {
        if self.waiting.is_empty() && !self.has_asked {
            self.has_asked = true;
            if !self.name.hurry() {
                self.until = Instant::now();
            }
        }
    }

    /// Waits for a look-up that ends after now; whether it brought something to try.
    async fn other_addresses(&mut self) -> bool {
        self.ask();
        while self.waiting.is_empty() {
            match timeout_at(self.until, self.news.changed()).await {
                Ok(Ok(())) => {
                    self.take_news();
                    if self.waiting.is_empty() {
                        return false;
                    }
                }
                _ => return false,
            }
        }
        true
    }

    fn take_news(&mut self) {
        let known = self.name.known();
        let fresh = self.name.order(&known, self.port, None);
        let is_new = |address: &SocketAddr| self.tried.iter().all(|(tried, _)| tried != address);
        self.waiting = fresh.into_iter().filter(is_new).take(MOST).collect();
    }

    /// Those that failed, or had more time and did not get there, are not tried first any more.
    fn won(&self, winner: SocketAddr) {
        self.name.trust(winner);
        let now = Instant::now();
        for (address, began) in &self.tried {
            let is_slow = now.duration_since(*began) >= self.pause;
            if *address != winner && (is_slow || self.failed.contains(address)) {
                self.name.shun(*address);
            }
        }
    }
}
