//! The authority's HTTP side and its memory.

use super::jws::{self, Key, Signed, decode};
use super::proof;
use crate::support::tls::TlsClient;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A running authority.
pub(crate) struct AcmeServer {
    shared: Arc<Shared>,
}

struct Shared {
    base: String,
    /// The CA as PEM, for clients that shall trust it.
    ca: String,
    issuer: Issuer<'static, KeyPair>,
    memory: Mutex<Memory>,
    names: watch::Sender<Option<Names>>,
}

/// Where all names lead to.
#[derive(Clone, Copy)]
struct Names {
    http: SocketAddr,
    tls: SocketAddr,
}

#[derive(Default)]
struct Memory {
    nonces: HashSet<String>,
    accounts: HashMap<String, Key>,
    orders: Vec<Order>,
    /// How many days new certificates hold.
    days: u32,
    refusing: bool,
    next_nonce: u64,
}

struct Order {
    host: String,
    token: String,
    account: String,
    status: &'static str,
    problem: Option<String>,
    chain: Option<String>,
}

impl AcmeServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let shared = Arc::new(Shared {
            base: format!("http://{address}"),
            ca,
            issuer: Issuer::new(params, key),
            memory: Mutex::new(Memory {
                days: 90,
                ..Memory::default()
            }),
            names: watch::Sender::default(),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = serving.clone();
                let service = service_fn(move |request| answer(shared.clone(), request));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service);
                tokio::spawn(connection);
            }
        });
        Self { shared }
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.shared.base)
    }

    /// A client that trusts this authority and no other.
    pub(crate) fn trusted(&self) -> TlsClient {
        TlsClient::trusting(&self.shared.ca)
    }

    /// All names lead there; until this is said, no proof is looked at.
    pub(crate) fn names_lead_to(&self, http: SocketAddr, tls: SocketAddr) {
        self.shared.names.send_replace(Some(Names { http, tls }));
    }

    /// From now on certificates hold so long.
    pub(crate) fn certificates_hold(&self, days: u32) {
        self.shared.memory.lock().unwrap().days = days;
    }

    /// Refuses new orders, or takes them again.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.shared.memory.lock().unwrap().refusing = refusing;
    }

    /// Certificates handed out.
    pub(crate) fn issued(&self) -> usize {
        let memory = self.shared.memory.lock().unwrap();
        memory
            .orders
            .iter()
            .filter(|order| order.chain.is_some())
            .count()
    }

    pub(crate) fn accounts(&self) -> usize {
        self.shared.memory.lock().unwrap().accounts.len()
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let reply = match (&parts.method, path.as_str()) {
        (&Method::GET, "/directory") => Ok(json(200, &directory(&shared.base))),
        (&Method::HEAD, "/new-nonce") => Ok(json(200, &Value::Null)),
        (&Method::POST, _) => match body.collect().await {
            Ok(body) => signed(&shared, &path, &body.to_bytes()).await,
            Err(error) => Err(("malformed", error.to_string())),
        },
        _ => Err(("malformed", "no such resource".to_owned())),
    };
    let mut reply = reply.unwrap_or_else(|(kind, detail)| {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        json(
            400,
            &json!({ "type": kind, "detail": detail, "status": 400 }),
        )
    });
    let mut memory = shared.memory.lock().unwrap();
    memory.next_nonce += 1;
    let nonce = format!("nonce{}", memory.next_nonce);
    reply
        .headers_mut()
        .insert("replay-nonce", nonce.parse().unwrap());
    memory.nonces.insert(nonce);
    Ok(reply)
}

type Refusal = (&'static str, String);

async fn signed(
    shared: &Arc<Shared>,
    path: &str,
    body: &[u8],
) -> Result<Response<Full<Bytes>>, Refusal> {
    let signed = jws::open(body, |account| {
        shared.memory.lock().unwrap().accounts.get(account).cloned()
    })
    .map_err(|error| ("malformed", error))?;
    if !shared.memory.lock().unwrap().nonces.remove(&signed.nonce) {
        return Err(("badNonce", "a nonce is good for one request".to_owned()));
    }
    if signed.url != format!("{}{path}", shared.base) {
        return Err(("unauthorized", format!("signed for {}", signed.url)));
    }
    let (kind, id) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
    let id: usize = id.parse().unwrap_or(usize::MAX);
    match kind {
        "new-account" => new_account(shared, signed.key),
        "new-order" => new_order(shared, &signed),
        "authz" => Ok(json(200, &authorization(shared, id))),
        "challenge" => challenge(shared, id).await,
        "order" => Ok(order(shared, id, 200)),
        "finalize" => finalize(shared, id, &signed),
        "cert" => Ok(certificate(shared, id)),
        _ => Err(("malformed", "no such resource".to_owned())),
    }
}

fn directory(base: &str) -> Value {
    json!({
        "newNonce": format!("{base}/new-nonce"),
        "newAccount": format!("{base}/new-account"),
        "newOrder": format!("{base}/new-order"),
    })
}

fn new_account(shared: &Shared, key: Option<Key>) -> Result<Response<Full<Bytes>>, Refusal> {
    let key = key.ok_or(("malformed", "no key".to_owned()))?;
    let mut memory = shared.memory.lock().unwrap();
    let url = format!("{}/account/{}", shared.base, memory.accounts.len());
    memory.accounts.insert(url.clone(), key);
    let mut reply = json(201, &json!({ "status": "valid" }));
    reply.headers_mut().insert("location", url.parse().unwrap());
    Ok(reply)
}

fn new_order(shared: &Shared, signed: &Signed) -> Result<Response<Full<Bytes>>, Refusal> {
    let mut memory = shared.memory.lock().unwrap();
    if memory.refusing {
        return Err(("rateLimited", "too many orders for now".to_owned()));
    }
    let host = signed.payload["identifiers"][0]["value"]
        .as_str()
        .unwrap_or_default();
    let id = memory.orders.len();
    memory.orders.push(Order {
        host: host.to_owned(),
        token: format!("token-{id}"),
        account: signed.account.clone().unwrap_or_default(),
        status: "pending",
        problem: None,
        chain: None,
    });
    drop(memory);
    Ok(order(shared, id, 201))
}

fn order(shared: &Shared, id: usize, status: u16) -> Response<Full<Bytes>> {
    let memory = shared.memory.lock().unwrap();
    let Some(order) = memory.orders.get(id) else {
        return json(404, &Value::Null);
    };
    let base = &shared.base;
    let mut shown = json!({
        "status": order.status,
        "identifiers": [{ "type": "dns", "value": order.host }],
        "authorizations": [format!("{base}/authz/{id}")],
        "finalize": format!("{base}/finalize/{id}"),
    });
    if order.chain.is_some() {
        shown["certificate"] = format!("{base}/cert/{id}").into();
    }
    let mut reply = json(status, &shown);
    let url = format!("{base}/order/{id}");
    reply.headers_mut().insert("location", url.parse().unwrap());
    reply
}

fn authorization(shared: &Shared, id: usize) -> Value {
    let memory = shared.memory.lock().unwrap();
    let Some(order) = memory.orders.get(id) else {
        return Value::Null;
    };
    let status = match order.status {
        "ready" | "valid" => "valid",
        "invalid" => "invalid",
        _ => "pending",
    };
    let challenge = |kind: &str, number: usize| {
        let url = format!("{}/challenge/{}", shared.base, id * 2 + number);
        let mut challenge =
            json!({ "type": kind, "url": url, "token": order.token, "status": status });
        if let Some(problem) = &order.problem {
            challenge["error"] = json!({
                "type": "urn:ietf:params:acme:error:incorrectResponse", "detail": problem,
            });
        }
        challenge
    };
    json!({
        "identifier": { "type": "dns", "value": order.host },
        "status": status,
        "challenges": [challenge("http-01", 0), challenge("tls-alpn-01", 1)],
    })
}

/// Looks at the proof at once, as far as the client can tell.
async fn challenge(shared: &Shared, number: usize) -> Result<Response<Full<Bytes>>, Refusal> {
    let (id, over_tls) = (number / 2, number % 2 == 1);
    let (host, token, expected) = {
        let memory = shared.memory.lock().unwrap();
        let order = memory
            .orders
            .get(id)
            .ok_or(("malformed", "no such order".to_owned()))?;
        let key = &memory.accounts[&order.account];
        let expected = format!("{}.{}", order.token, key.thumbprint);
        (order.host.clone(), order.token.clone(), expected)
    };
    let mut told = shared.names.subscribe();
    let names = told
        .wait_for(Option::is_some)
        .await
        .map_or(None, |names| *names);
    let names = names.expect("the test said where names lead to");
    let proved = if over_tls {
        proof::by_handshake(names.tls, &host, &expected).await
    } else {
        proof::by_http(names.http, &host, &token, &expected).await
    };
    {
        let mut memory = shared.memory.lock().unwrap();
        let order = &mut memory.orders[id];
        order.status = if proved.is_ok() { "ready" } else { "invalid" };
        order.problem = proved.err();
    }
    Ok(json(
        200,
        &authorization(shared, id)["challenges"][number % 2],
    ))
}

fn finalize(shared: &Shared, id: usize, signed: &Signed) -> Result<Response<Full<Bytes>>, Refusal> {
    let mut memory = shared.memory.lock().unwrap();
    let days = memory.days;
    let asked = memory
        .orders
        .get_mut(id)
        .filter(|order| order.status == "ready");
    let asked = asked.ok_or(("orderNotReady", "prove it first".to_owned()))?;
    let csr = decode(&signed.payload["csr"]).into();
    let mut csr = CertificateSigningRequestParams::from_der(&csr)
        .map_err(|error| ("badCSR", error.to_string()))?;
    let names = &csr.params.subject_alt_names;
    if names.len() != 1 || !format!("{names:?}").contains(&asked.host) {
        return Err(("badCSR", format!("names {names:?}")));
    }
    let now = std::time::SystemTime::now();
    let now = rcgen::date_time_ymd(1970, 1, 1) + now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let day = std::time::Duration::from_hours(24);
    csr.params.not_before = now - day;
    // One that holds for no day is over already.
    csr.params.not_after = now + day * days - day / 24;
    let signed = csr
        .signed_by(&shared.issuer)
        .map_err(|error| ("badCSR", error.to_string()))?;
    asked.chain = Some(format!("{}{}", signed.pem(), shared.ca));
    asked.status = "valid";
    drop(memory);
    Ok(order(shared, id, 200))
}

fn certificate(shared: &Shared, id: usize) -> Response<Full<Bytes>> {
    let memory = shared.memory.lock().unwrap();
    let chain = memory.orders.get(id).and_then(|order| order.chain.clone());
    let mut reply = Response::new(Full::from(chain.unwrap_or_default()));
    let kind = "application/pem-certificate-chain".parse().unwrap();
    reply.headers_mut().insert("content-type", kind);
    reply
}

fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply
}
