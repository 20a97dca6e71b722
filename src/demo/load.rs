//! The light load: a few clients of each sort, every answer checked.

use super::Colour;
use super::client::Answer;
use super::client::Client;
use super::client::Sent;
use super::client::paced;
use super::client::whole;
use super::upstreams::LOAD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::HOST;
use http::{Method, Request, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const KEEP_ALIVE: u64 = 3;
const SLOW: u64 = 2;
pub(super) const WEBSOCKETS: u64 = 4;
const UPLOAD_PART: usize = 128 * 1024;
/// 2 MiB: enough to count as a transfer.
const UPLOAD_PARTS: u64 = 16;
const UPLOAD_PAUSE: Duration = Duration::from_millis(8);
/// Longer than an echo through the proxy ever takes.
const ECHO_DEADLINE: Duration = Duration::from_secs(5);

/// What the clients see; read by the tally.
#[derive(Debug)]
pub(super) enum Seen {
    /// A request left.
    Sent,
    /// Its answer was whole and right.
    Answered,
    /// It was not; why, in words.
    Failed(String),
    WebsocketOpened,
    /// The handshake failed; why, in words.
    WebsocketRefused(String),
    /// No echo, or a wrong one.
    WebsocketBroken(String),
    /// The other side closed it.
    WebsocketClosed(Colour),
}

/// The clients under way.
pub(super) struct Load {
    clients: JoinSet<()>,
    stop: watch::Sender<bool>,
}

#[derive(Clone)]
struct Desk {
    proxy: SocketAddr,
    seen: mpsc::Sender<Seen>,
    next: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
}

impl Load {
    pub(super) fn start(proxy: SocketAddr, seen: mpsc::Sender<Seen>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let desk = Desk {
            proxy,
            seen,
            next: Arc::new(AtomicU64::new(1)),
            stop: stopped,
        };
        let mut clients = JoinSet::new();
        for _ in 0..KEEP_ALIVE {
            clients.spawn(keep_alive(desk.clone()));
        }
        for _ in 0..SLOW {
            clients.spawn(slow(desk.clone()));
        }
        for _ in 0..WEBSOCKETS {
            clients.spawn(websocket(desk.clone()));
        }
        clients.spawn(new_connections(desk.clone()));
        clients.spawn(uploads(desk));
        Self { clients, stop }
    }

    /// Lets every client finish the request it is at. Call it while the [`Seen`] are being read.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.clients.join_next().await.is_some() {}
    }
}

impl Desk {
    fn is_open(&self) -> bool {
        !*self.stop.borrow()
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    async fn tell(&self, seen: Seen) {
        // Nobody reads any more only when the demo ends.
        let _ = self.seen.send(seen).await;
    }

    fn request(&self, method: Method, path: &str, body: Sent) -> Request<Sent> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        if let Ok(uri) = path.parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert(LOAD, http::HeaderValue::from_static("1"));
        if let Ok(host) = self.proxy.to_string().parse() {
            headers.insert(HOST, host);
        }
        request
    }

    /// One request whose answer must be its slot's colour and `rest`.
    async fn check(&self, client: &mut Client, request: Request<Sent>, rest: &str) {
        let what = format!("{} {}", request.method(), request.uri());
        self.tell(Seen::Sent).await;
        let seen = match client.exchange(request).await {
            Ok(answer) => match judge(&answer, rest) {
                Ok(()) => Seen::Answered,
                Err(why) => Seen::Failed(format!("{what}: {why}")),
            },
            Err(why) => Seen::Failed(format!("{what}: {why}")),
        };
        self.tell(seen).await;
    }
}

/// Whether this is the answer that a slot gives to this request.
fn judge(answer: &Answer, rest: &str) -> Result<(), String> {
    let said = answer.body.trim_end();
    if answer.status != StatusCode::OK {
        return Err(format!("HTTP {}: {said}", answer.status.as_u16()));
    }
    let colour = Colour::named(&answer.slot)
        .ok_or_else(|| format!("answered by {:?}, which is no slot", answer.slot))?;
    match said.strip_prefix(colour.as_str()).map(str::trim_start) {
        Some(told) if told == rest => Ok(()),
        _ => Err(format!("{colour} answered {said:?} instead of {rest:?}")),
    }
}

async fn keep_alive(desk: Desk) {
    let mut client = Client::new(desk.proxy);
    while desk.is_open() {
        let number = desk.number();
        let (request, rest) = if number.is_multiple_of(3) {
            let body = whole(format!("order {number}"));
            let rest = format!("got order {number}");
            (desk.request(Method::POST, "/orders", body), rest)
        } else {
            let path = format!("/pages/{number}");
            let rest = format!("answers {path}");
            (desk.request(Method::GET, &path, whole(String::new())), rest)
        };
        desk.check(&mut client, request, &rest).await;
        sleep(Duration::from_millis(12)).await;
    }
}

async fn new_connections(desk: Desk) {
    let mut client = Client::new(desk.proxy);
    while desk.is_open() {
        let path = format!("/first-visit/{}", desk.number());
        let request = desk.request(Method::GET, &path, whole(String::new()));
        desk.check(&mut client, request, &format!("answers {path}"))
            .await;
        client.hang_up();
        sleep(Duration::from_millis(20)).await;
    }
}

/// Requests that are under way whenever a flip comes.
async fn slow(desk: Desk) {
    let mut client = Client::new(desk.proxy);
    while desk.is_open() {
        let millis = 60 + desk.number() % 60;
        let request = desk.request(
            Method::GET,
            &format!("/slow?ms={millis}"),
            whole(String::new()),
        );
        desk.check(&mut client, request, &format!("waited {millis} ms"))
            .await;
    }
}

async fn uploads(desk: Desk) {
    let mut client = Client::new(desk.proxy);
    let part = Bytes::from(vec![b'u'; UPLOAD_PART]);
    let rest = format!("received {} bytes", UPLOAD_PARTS * UPLOAD_PART as u64);
    while desk.is_open() {
        let body = paced(part.clone(), UPLOAD_PARTS, UPLOAD_PAUSE);
        let request = desk.request(Method::POST, "/upload", body);
        desk.check(&mut client, request, &rest).await;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Keeps one websocket open and opens it again when a drain has closed it.
async fn websocket(mut desk: Desk) {
    while desk.is_open() {
        match open(desk.proxy).await {
            Ok(socket) => {
                desk.tell(Seen::WebsocketOpened).await;
                if let Some(seen) = talk(&mut desk, socket).await {
                    desk.tell(seen).await;
                }
            }
            Err(why) => {
                let why = format!("websocket handshake: {why}");
                desk.tell(Seen::WebsocketRefused(why)).await;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn open(proxy: SocketAddr) -> Result<WebSocketStream<TcpStream>, String> {
    let opening = async {
        let stream = TcpStream::connect(proxy).await?;
        let uri = format!("ws://{proxy}/websocket");
        tokio_tungstenite::client_async(uri, stream).await
    };
    match timeout(ECHO_DEADLINE, opening).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ECHO_DEADLINE.as_secs())),
    }
}

/// Sends and checks echoes until the socket closes; nothing is told when the load stops first.
async fn talk(desk: &mut Desk, mut socket: WebSocketStream<TcpStream>) -> Option<Seen> {
    let mut slot = None;
    loop {
        let said = format!("hello {}", desk.number());
        let echo = async {
            // What crosses a close is lost, and the close is still there to be read.
            let _ = socket.send(Message::text(said.clone())).await;
            socket.next().await?.ok()
        };
        let heard = match timeout(ECHO_DEADLINE, echo).await {
            Ok(Some(Message::Text(heard))) => heard,
            Ok(Some(Message::Close(Some(_)))) => {
                // The answer is written with the next look.
                let _ = timeout(ECHO_DEADLINE, socket.next()).await;
                // It may not have said yet who it is.
                return slot.map(Seen::WebsocketClosed);
            }
            Ok(_) => {
                return Some(Seen::WebsocketBroken(
                    "websocket: cut without a close".to_owned(),
                ));
            }
            Err(_) => return Some(Seen::WebsocketBroken("websocket: no echo".to_owned())),
        };
        let colour = heard.split(' ').next().and_then(Colour::named);
        match colour {
            Some(colour) if heard.as_str() == format!("{colour} echoes {said}") => {
                slot = Some(colour);
            }
            _ => {
                return Some(Seen::WebsocketBroken(format!(
                    "websocket: {heard:?} to {said:?}"
                )));
            }
        }
        tokio::select! {
            () = sleep(Duration::from_millis(40)) => {}
            _ = desk.stop.wait_for(|stop| *stop) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstreams::Upstreams;
    use super::*;

    fn answer(slot: &str, body: &str) -> Answer {
        Answer {
            status: StatusCode::OK,
            slot: slot.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn an_answer_must_be_the_one_that_was_asked_for() {
        assert_eq!(
            judge(&answer("blue", "blue got order 3\n"), "got order 3"),
            Ok(())
        );
        assert!(judge(&answer("blue", "blue got order 4\n"), "got order 3").is_err());
        assert!(judge(&answer("blue", "green got order 3\n"), "got order 3").is_err());
        assert!(judge(&answer("", "blue got order 3\n"), "got order 3").is_err());
        let mut broken = answer("blue", "blue got order 3\n");
        broken.status = StatusCode::BAD_GATEWAY;
        assert!(judge(&broken, "got order 3").is_err());
    }

    #[tokio::test]
    async fn every_client_of_the_load_is_content_with_an_upstream() {
        let upstreams = Upstreams::start().unwrap();
        let (seen, mut sight) = mpsc::channel(1024);
        let load = Load::start(upstreams.ports(Colour::Green).http, seen);
        let (mut sent, mut answered, mut sockets) = (0, 0, 0);
        let mut count = |seen| match seen {
            Seen::Sent => sent += 1,
            Seen::Answered => answered += 1,
            Seen::WebsocketOpened => sockets += 1,
            other => panic!("{other:?}"),
        };
        while upstreams.reached()[Colour::Green as usize] < 100 {
            count(sight.recv().await.unwrap());
        }
        let stopped = tokio::spawn(load.stop());
        while let Some(seen) = sight.recv().await {
            count(seen);
        }
        stopped.await.unwrap();
        assert_eq!(sockets, WEBSOCKETS);
        assert_eq!((answered, upstreams.reached()), (sent, [0, sent]));
    }
}
