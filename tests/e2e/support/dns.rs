//! A name server that answers what a test says, and counts; and an address where nobody answers at all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What is said of one name.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: u32,
    },
    /// The same, too long for a datagram.
    OverTcp(Vec<IpAddr>),
    Alias(String),
    /// SERVFAIL is 2, NXDOMAIN 3, REFUSED 5.
    Code(u8),
    Silence,
    Late(Duration, Box<Answer>),
}

impl Answer {
    /// With a TTL of a second.
    pub(crate) fn at(addresses: &[&str]) -> Self {
        Self::with_ttl(1, addresses)
    }

    pub(crate) fn with_ttl(ttl: u32, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        Self::Addresses { addresses, ttl }
    }
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    running: Vec<AbortHandle>,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<HashMap<String, Answer>>,
    /// Name and type of each question.
    asked: Mutex<Vec<(String, u16)>>,
}

impl NameServer {
    /// Knows of no name yet: NXDOMAIN.
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = sockets().await;
        let shared = Arc::<Shared>::default();
        let address = udp.local_addr().unwrap();
        let datagrams = tokio::spawn(over_udp(Arc::new(udp), shared.clone()));
        let streams = tokio::spawn(over_tcp(tcp, shared.clone()));
        Self {
            address,
            shared,
            running: vec![datagrams.abort_handle(), streams.abort_handle()],
        }
    }

    /// As the config names it.
    pub(crate) fn setting(&self) -> String {
        format!("resolver.servers = [\"{}\"]", self.address)
    }

    /// From now on.
    pub(crate) fn says(&self, name: &str, answer: Answer) {
        let mut zone = self.shared.zone.lock().unwrap();
        zone.insert(name.to_owned(), answer);
    }

    /// Questions for IPv4 addresses of this name so far.
    pub(crate) fn asked(&self, name: &str) -> usize {
        let asked = self.shared.asked.lock().unwrap();
        let this = asked.iter().filter(|(it, kind)| it == name && *kind == A);
        this.count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        for task in &self.running {
            task.abort();
        }
    }
}

/// On one port, whichever is free for both.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

async fn over_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut room = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut room).await {
        let question = room[..length].to_vec();
        let (socket, shared) = (socket.clone(), shared.clone());
        tokio::spawn(async move {
            if let Some(answer) = shared.answer(&question, true).await {
                // The client may be gone.
                drop(socket.send_to(&answer, client).await);
            }
        });
    }
}

async fn over_tcp(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move {
            let length = stream.read_u16().await.ok()?;
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.ok()?;
            let answer = shared.answer(&question, false).await?;
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            let bytes = [&length[..], &answer].concat();
            stream.write_all(&bytes).await.ok()
        });
    }
}

impl Shared {
    /// None where nothing is said.
    async fn answer(&self, question: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
        let (name, kind, end) = asked(question);
        self.asked.lock().unwrap().push((name.clone(), kind));
        let mut said = self.zone.lock().unwrap().get(&name).cloned();
        while let Some(Answer::Late(time, then)) = said {
            super::pass(time).await;
            said = Some(*then);
        }
        let mut records = Vec::new();
        let (mut code, mut is_cut) = (0, 0);
        match said {
            None => code = 3,
            Some(Answer::Code(it)) => code = it,
            Some(Answer::OverTcp(_)) if is_datagram => is_cut = 2,
            Some(Answer::OverTcp(addresses)) => records = of(&addresses, kind, 1),
            Some(Answer::Addresses { addresses, ttl }) => records = of(&addresses, kind, ttl),
            Some(Answer::Alias(of)) => records = vec![record(CNAME, 1, &labels(&of))],
            Some(Answer::Silence | Answer::Late(..)) => return None,
        }
        let count = u16::try_from(records.len()).unwrap();
        let mut answer = question[..2].to_vec();
        answer.extend([0x81 | is_cut, 0x80 | code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&question[12..end]);
        answer.extend(records.concat());
        Some(answer)
    }
}

/// The name, the type, and where the question ends.
fn asked(question: &[u8]) -> (String, u16, usize) {
    let mut labels = Vec::new();
    let mut at = 12;
    while question[at] != 0 {
        let length = usize::from(question[at]);
        let label = String::from_utf8_lossy(&question[at + 1..=at + length]);
        labels.push(label.to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn of(addresses: &[IpAddr], kind: u16, ttl: u32) -> Vec<Vec<u8>> {
    let records = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(it), A) => Some(record(A, ttl, &it.octets())),
            (IpAddr::V6(it), AAAA) => Some(record(AAAA, ttl, &it.octets())),
            _ => None,
        });
    records.collect()
}

/// Of the name that was asked for.
fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xc0, 0x0c];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A port whose connections are never taken: its backlog is full, and what comes on top is lost on the way.
pub(crate) struct Blackhole {
    _listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl Blackhole {
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let socket = || {
            let domain = socket2::Domain::for_address(address);
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let listener = socket();
        listener.set_reuse_address(true).unwrap();
        listener.bind(&address.into()).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let client = socket();
            // Under way, or lost already.
            let _ = client.connect(&address.into());
            waiting.push(client);
        }
        // Full: nobody gets in any more.
        super::eventually("the backlog is full", async || {
            let time = Duration::from_millis(100);
            tokio::time::timeout(time, TcpStream::connect(address))
                .await
                .is_err()
        })
        .await;
        Self {
            _listener: listener,
            _waiting: waiting,
        }
    }
}
