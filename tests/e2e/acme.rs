//! Certificates that get themselves.

use crate::support::AcmeServer;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;

const HOST: &str = "erp.example.com";

/// A plain listener and one with TLS, ordering a certificate for [`HOST`].
fn config(pair: &Pair, server: &AcmeServer, challenge: &str) -> Config {
    pair.config()
        .set(&format!("acme.hosts = [{HOST:?}]"))
        .set(&format!("acme.directory = {:?}", server.directory()))
        .set("acme.email = \"admin@example.com\"")
        .set(&format!("acme.challenge = {challenge:?}"))
        .tls_listener("acme = true", &[])
}

async fn lead_names_to(server: &AcmeServer, daemon: &Daemon) {
    server.names_lead_to(daemon.address, daemon.listener(1).await);
}

/// Waits until a client that trusts the authority alone is served over TLS.
async fn is_served(server: &AcmeServer, daemon: &Daemon) {
    let at = daemon.listener(1).await;
    let client = server.trusted().build();
    eventually("a certificate is shown", async || {
        if let Some(error) = &daemon.status().await.acme[0].error {
            panic!("{error}");
        }
        client.connect(at, HOST).await.is_ok()
    })
    .await;
    let mut wire = client.connect(at, HOST).await.unwrap();
    let answer = wire.ask(request("GET /", "", "")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_ordered_proved_on_port_80_and_shown_at_once() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    let daemon = Daemon::start(&config(&pair, &server, "http-01")).await;
    let (early, at) = (server.trusted().build(), daemon.listener(1).await);
    assert!(early.connect(at, HOST).await.is_err(), "there is none yet");
    lead_names_to(&server, &daemon).await;
    is_served(&server, &daemon).await;
    assert_eq!((server.issued(), server.accounts()), (1, 1));
    let status = daemon.status().await;
    assert_eq!(status.acme[0].host, HOST);
    assert_eq!((status.acme[0].orders, status.acme[0].failures), (1, 0));
}

#[tokio::test]
async fn a_name_is_proved_by_a_handshake_too() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    let daemon = Daemon::start(&config(&pair, &server, "tls-alpn-01")).await;
    lead_names_to(&server, &daemon).await;
    is_served(&server, &daemon).await;
}

#[tokio::test]
async fn account_and_certificate_are_found_again_after_a_restart() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    let mut daemon = Daemon::start(&config(&pair, &server, "http-01")).await;
    lead_names_to(&server, &daemon).await;
    is_served(&server, &daemon).await;
    daemon.kill_and_restart().await;
    is_served(&server, &daemon).await;
    assert_eq!((server.issued(), server.accounts()), (1, 1));
}

#[tokio::test]
async fn a_certificate_near_its_end_is_renewed_while_it_serves() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    // Its life is behind it on the day it is made.
    server.certificates_hold(0);
    let mut daemon = Daemon::start(&config(&pair, &server, "http-01")).await;
    lead_names_to(&server, &daemon).await;
    eventually("one was handed out", async || server.issued() >= 1).await;
    server.certificates_hold(90);
    is_served(&server, &daemon).await;
    let issued = server.issued();
    assert!(issued >= 2, "{issued}");
    // The long one is good for weeks: nothing more is ordered.
    daemon.kill_and_restart().await;
    lead_names_to(&server, &daemon).await;
    is_served(&server, &daemon).await;
    assert_eq!(server.issued(), issued);
}

#[tokio::test]
async fn an_authority_that_refuses_is_told_of_and_asked_again_later() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    server.refuse(true);
    let daemon = Daemon::start(&config(&pair, &server, "http-01")).await;
    eventually("the refusal is known", async || {
        daemon.status().await.acme[0].error.is_some()
    })
    .await;
    let error = daemon.status().await.acme[0].error.clone().unwrap();
    assert!(error.contains("too many orders for now"), "{error}");
    assert!(daemon.ctl(&["status"]).await.stdout.contains(&error));
    let answer = get(daemon.address, "/").await;
    assert_eq!(answer.status(), 200, "the rest is served");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_not_proved_and_the_authority_says_why() {
    let (pair, server) = (Pair::start().await, AcmeServer::start().await);
    let elsewhere = Backend::start("elsewhere").await;
    let daemon = Daemon::start(&config(&pair, &server, "http-01")).await;
    server.names_lead_to(elsewhere.address(), elsewhere.address());
    eventually("the failure is known", async || {
        daemon.status().await.acme[0].error.is_some()
    })
    .await;
    let error = daemon.status().await.acme[0].error.clone().unwrap();
    assert!(error.contains("expected token-0."), "{error}");
}

#[tokio::test]
async fn tokens_that_nobody_waits_for_are_the_upstreams_to_answer() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let token = "/.well-known/acme-challenge/of-the-upstream";
    assert_eq!(get(daemon.address, token).await.status(), 200);
    assert_eq!(pair.blue.requests_for(token).len(), 1);
}
