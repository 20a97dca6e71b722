//! PROXY headers: from load balancers to us, and from us to upstreams.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Head;
use crate::support::Link;
use crate::support::Pair;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use proxy_header::ProxiedAddress;
use proxy_header::ProxyHeader;
use proxy_header::SslInfo;
use proxy_header::Tlv;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

const CLIENT: &str = "192.0.2.7:40000";
const DESTINATION: &str = "198.51.100.1:443";

fn addresses(source: &str) -> ProxiedAddress {
    ProxiedAddress::stream(source.parse().unwrap(), DESTINATION.parse().unwrap())
}

fn v1(source: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    ProxyHeader::with_address(addresses(source))
        .encode_v1(&mut bytes)
        .unwrap();
    bytes
}

fn v2(header: &ProxyHeader<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode_v2(&mut bytes).unwrap();
    bytes
}

fn balanced(pair: &Pair) -> Config {
    pair.config()
        .listener_key("proxy_protocol = [\"127.0.0.0/8\"]")
        .listener_key("handshake_timeout = \"300ms\"")
}

/// A connection that begins so.
async fn introduced(to: SocketAddr, header: &[u8]) -> Wire {
    let mut wire = Wire::connect(to).await;
    wire.send(header).await;
    wire
}

/// What the upstream learns of a client that a load balancer introduces so.
async fn told(pair: &Pair, daemon: &Daemon, header: &[u8]) -> Head {
    let mut wire = introduced(daemon.address, header).await;
    assert_eq!(wire.ask(request("GET /", "", "")).await.status(), 200);
    pair.blue.requests().pop().unwrap().head
}

#[tokio::test]
async fn whom_a_load_balancer_names_is_the_client_everywhere() {
    let pair = Pair::start().await;
    let config = balanced(&pair).set("access_log.target = \"DIR/access.log\"");
    let daemon = Daemon::start(&config).await;
    let two = v2(&ProxyHeader::with_address(addresses(CLIENT)));
    for header in [v1(CLIENT), two] {
        let head = told(&pair, &daemon, &header).await;
        assert_eq!(head.all("x-forwarded-for"), ["192.0.2.7"]);
        assert_eq!(head.all("x-real-ip"), ["192.0.2.7"]);
        assert_eq!(head.all("x-forwarded-port"), ["443"]);
        assert_eq!(head.all("x-forwarded-proto"), ["http"]);
    }
    eventually("the log names the client", async || {
        let log = std::fs::read_to_string(daemon.path("access.log")).unwrap_or_default();
        log.matches("\"client\":\"192.0.2.7\"").count() == 2
    })
    .await;
    let head = told(&pair, &daemon, &v1("192.0.2.8:1")).await;
    assert_eq!(head.get("x-real-ip"), Some("192.0.2.8"));
}

#[tokio::test]
async fn a_load_balancer_that_ends_tls_says_so() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&balanced(&pair)).await;
    let mut header = ProxyHeader::with_address(ProxiedAddress::stream(
        "[2001:db8::7]:1".parse().unwrap(),
        "[2001:db8::1]:443".parse().unwrap(),
    ));
    header.append_tlv(Tlv::Authority("app.test".into()));
    header.append_tlv(Tlv::Ssl(SslInfo::new(true, false, false, 0)));
    let head = told(&pair, &daemon, &v2(&header)).await;
    assert_eq!(head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(head.all("x-forwarded-for"), ["2001:db8::7"]);
}

#[tokio::test]
async fn the_checks_of_a_load_balancer_are_its_own() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&balanced(&pair)).await;
    let local = v2(&ProxyHeader::with_local());
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        local,
        b"PROXY UNKNOWN ::1 ::1 1 2\r\n".to_vec(),
    ] {
        let head = told(&pair, &daemon, &header).await;
        assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
        let port = daemon.address.port().to_string();
        assert_eq!(head.get("x-forwarded-port"), Some(port.as_str()));
    }
}

#[tokio::test]
async fn a_load_balancer_that_introduces_nobody_is_cut_off() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&balanced(&pair)).await;
    let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 500]].concat();
    let bad: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 x\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PROXY NOBODY\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\x16\x03\x01\x00\x05",
        &long,
    ];
    for bytes in bad {
        let mut wire = introduced(daemon.address, bytes).await;
        assert_eq!(wire.rest().await, b"", "{}", bytes.escape_ascii());
    }
    // Neither silence nor half a header holds a place.
    for bytes in [b"".as_slice(), b"PROXY TCP4 192.0."] {
        let mut wire = introduced(daemon.address, bytes).await;
        assert_eq!(wire.rest().await, b"");
    }
    assert_eq!(pair.blue.count(), 0);
    let page = daemon.call("GET /metrics", "").await.text;
    assert!(
        page.contains("switchd_connections_unwelcome_total{reason=\"proxy-header\"} 8"),
        "{page}"
    );
    assert!(
        daemon.stderr().contains("proxy_protocol"),
        "{}",
        daemon.stderr()
    );
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .listener_key("proxy_protocol = [\"10.0.0.0/8\"]");
    let daemon = Daemon::start(&config).await;
    let head = told(&pair, &daemon, b"").await;
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    let mut spoof = introduced(daemon.address, &v1(CLIENT)).await;
    let answer = spoof.ask(request("GET /spoofed", "", "")).await;
    assert_eq!(answer.status(), 400);
    assert!(pair.blue.requests_for("/spoofed").is_empty());
    daemon.write_config(&balanced(&pair));
    assert_eq!(daemon.ctl(&["reload"]).await.code, 0);
    let head = told(&pair, &daemon, &v1(CLIENT)).await;
    assert_eq!(head.get("x-forwarded-for"), Some("192.0.2.7"));
}

#[tokio::test]
async fn limits_and_networks_are_those_of_the_named_client() {
    let pair = Pair::start().await;
    let config = balanced(&pair)
        .set("limits.connections_per_client = 2")
        .set("service.app.access.deny = [\"192.0.2.66\"]")
        .set("service.app.access.blocked = [\"/web/database\"]")
        .set("service.app.access.blocked_allow = [\"10.0.0.0/8\"]")
        .block(
            "[[service.app.rate_limit]]\nname = \"one\"\nrate = \"1r/h\"\npaths = [\"/once\"]\n",
        );
    let daemon = Daemon::start(&config).await;
    let ask = async |source: &str, path: &str| {
        let mut wire = introduced(daemon.address, &v1(source)).await;
        let asked = wire.ask(request(&format!("GET {path}"), "Connection: close\r\n", ""));
        let status = asked.await.status();
        wire.rest().await;
        status
    };
    for (source, path, status) in [
        (CLIENT, "/once", 200),
        (CLIENT, "/once", 429),
        ("192.0.2.8:1", "/once", 200),
        ("192.0.2.66:1", "/", 403),
        (CLIENT, "/web/database", 403),
        ("10.1.1.1:1", "/web/database", 200),
    ] {
        assert_eq!(ask(source, path).await, status, "{source} {path}");
    }
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut wire = introduced(daemon.address, &v1("192.0.2.9:1")).await;
        assert_eq!(wire.ask(request("GET /", "", "")).await.status(), 200);
        kept.push(wire);
    }
    assert_eq!(ask("192.0.2.9:1", "/").await, 429);
    assert_eq!(ask(CLIENT, "/").await, 200);
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let pair = Pair::start().await;
    let ca = Authority::new("the CA of this test");
    let config = pair
        .config()
        .leaf("app", &ca.issue(&["app.test"]))
        .tls_listener("proxy_protocol = [\"127.0.0.1\"]", &["app"]);
    let daemon = Daemon::start(&config).await;
    let mut socket = TcpStream::connect(daemon.listener(1).await).await.unwrap();
    socket.write_all(&v1(CLIENT)).await.unwrap();
    let stream = ca.client().build().over(socket, "app.test").await.unwrap();
    let mut wire = Wire::across(Link::Tls(Box::new(stream.into())));
    assert_eq!(wire.ask(request("GET /", "", "")).await.status(), 200);
    let head = pair.blue.requests().pop().unwrap().head;
    assert_eq!(head.get("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
}

/// An upstream that shows how its connections begin, and answers one request on each.
struct Listener {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Listener {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::default());
        let record = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (record, tls) = (Arc::clone(&record), tls.clone());
                tokio::spawn(async move { serve(socket, tls, &record).await });
            }
        });
        Self { address, seen }
    }

    /// How the connection for `path` began.
    async fn beginning(&self, path: &str) -> Vec<u8> {
        let wanted = format!(" {path} HTTP/1.1\r\n");
        let find = || {
            let seen = self.seen.lock().unwrap();

            seen.iter().find_map(|bytes| {
                let at = memchr::memmem::find(bytes, wanted.as_bytes())?;
                Some(bytes[..at].to_vec())
            })
        };
        eventually("the request arrives", async || find().is_some()).await;
        find().unwrap()
    }
}

async fn serve(mut socket: TcpStream, tls: Option<TlsAcceptor>, record: &Mutex<Vec<Vec<u8>>>) {
    let mut seen = Vec::new();
    let Some(tls) = tls else {
        return answer(socket, seen, record).await;
    };
    while !seen.ends_with(b"\r\n") {
        seen.push(socket.read_u8().await.unwrap());
    }
    if let Ok(stream) = tls.accept(socket).await {
        answer(stream, seen, record).await;
    }
}

async fn answer(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    mut seen: Vec<u8>,
    record: &Mutex<Vec<Vec<u8>>>,
) {
    // The signature of version 2 holds an empty line too.
    while !(seen.ends_with(b"\r\n\r\n") && memchr::memmem::find(&seen, b"HTTP/1.1").is_some()) {
        match stream.read_buf(&mut seen).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    record.lock().unwrap().push(seen);
    // It would go on: whoever does not is the other side.
    let _ = stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

fn telling(blue: &Listener, green: &Listener, version: &str) -> Config {
    Config::empty()
        .set("service.app.initial = \"blue\"")
        .set(&format!(
            "service.app.slots.blue.http = [\"{}\"]",
            blue.address
        ))
        .set(&format!(
            "service.app.slots.green.http = [\"{}\"]",
            green.address
        ))
        .set("service.app.health.path = \"/health\"")
        .set("service.app.health.interval = \"50ms\"")
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set(&format!(
            "service.app.upstream_proxy_protocol = \"{version}\""
        ))
}

#[tokio::test]
async fn upstreams_are_told_for_whom_each_connection_is() {
    let (blue, green) = (Listener::start(None).await, Listener::start(None).await);
    for version in ["v1", "v2"] {
        let daemon = Daemon::start(&telling(&blue, &green, version)).await;
        daemon.slot_becomes("blue", "healthy").await;
        let mut client = Wire::connect(daemon.address).await;
        for path in ["/one", "/two"] {
            let path = format!("{path}-{version}");
            let line = format!("GET {path}");
            assert_eq!(client.ask(request(&line, "", "")).await.status(), 200);
            let beginning = blue.beginning(&path).await;
            let (header, length) = ProxyHeader::parse(&beginning, Default::default()).unwrap();
            let told = header.proxied_address().unwrap().clone();
            assert_eq!(told.source.ip().to_string(), "127.0.0.1");
            assert_ne!(told.source.port(), 0);
            assert_eq!(told.destination, daemon.address);
            assert_eq!(&beginning[length..], b"GET", "a connection of its own");
        }
        let named = "X-Forwarded-For: 192.0.2.7\r\n";
        let path = format!("/named-{version}");
        client.ask(request(&format!("GET {path}"), named, "")).await;
        let beginning = blue.beginning(&path).await;
        let (header, _) = ProxyHeader::parse(&beginning, Default::default()).unwrap();
        let source = header.proxied_address().unwrap().source;
        assert_eq!(source.to_string(), "192.0.2.7:0");
    }
    // Checks are ours alone, in either version.
    let checks = blue.seen.lock().unwrap().clone();
    let of = |begin: &[u8]| {
        checks
            .iter()
            .filter(|bytes| bytes.starts_with(begin))
            .count()
    };
    assert!(of(b"PROXY UNKNOWN\r\nGET /health") > 0);
    assert!(of(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00GET /health") > 0);
}

#[tokio::test]
async fn an_upstream_is_told_before_tls() {
    let ca = Authority::new("the CA of this test");
    let acceptor = TlsAcceptor::from(ca.issue(&["127.0.0.1"]).server());
    let (blue, green) = (
        Listener::start(Some(acceptor.clone())).await,
        Listener::start(Some(acceptor)).await,
    );
    let config = telling(&blue, &green, "v1")
        .file("ca.pem", &ca.pem)
        .set("service.app.upstream_tls.ca = \"DIR/ca.pem\"");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("green", "healthy").await;
    assert_eq!(get(daemon.address, "/secret").await.text(), "ok");
    let beginning = blue.beginning("/secret").await;
    let text = String::from_utf8(beginning).unwrap();
    assert!(
        text.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{text}"
    );
}
