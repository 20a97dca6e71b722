//! TLS to upstreams: verified, or not spoken to at all.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::End;
use crate::support::Leaf;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::eventually;
use crate::support::get;
use crate::support::request;
use tokio::net::TcpListener;

struct Scene {
    pair: Pair,
    ca: Authority,
}

impl Scene {
    async fn start() -> Self {
        Self {
            pair: Pair::start().await,
            ca: Authority::new("the CA of this test"),
        }
    }

    fn both_show(&self, leaf: &Leaf) {
        self.pair.blue.speak_tls(leaf);
        self.pair.green.speak_tls(leaf);
    }

    fn config(&self) -> Config {
        self.pair
            .config()
            .file("ca.pem", &self.ca.pem)
            .set("service.app.failback.mode = \"off\"")
            .set("service.app.upstream_tls.ca = \"DIR/ca.pem\"")
    }

    /// What the checks of blue say when it shows `leaf`, and what a client gets.
    async fn refused(&self, leaf: &Leaf) -> String {
        self.both_show(leaf);
        let daemon = Daemon::start(&self.config()).await;
        daemon.slot_becomes("blue", "unhealthy").await;
        let answer = get(daemon.address, "/").await;
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.head.get("x-switchd-fault"), Some("connect"));
        assert_eq!(self.pair.blue.count(), 0, "a request went to a stranger");
        let reason = daemon.slot("blue").await.reason.unwrap();
        assert!(daemon.stderr().contains(reason.split(": ").nth(1).unwrap()));
        reason
    }
}

#[tokio::test]
async fn requests_and_checks_go_over_tls_on_connections_that_are_kept() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["127.0.0.1"]));
    let daemon = Daemon::start(&scene.config()).await;
    daemon.healthy().await;
    let mut client = Wire::connect(daemon.address).await;
    for path in ["/one", "/two"] {
        let answer = client.ask(request(&format!("GET {path}"), "", "")).await;
        assert_eq!(answer.backend(), "blue");
    }
    let connection = |path| scene.pair.blue.request_for(path).connection;
    assert_eq!(connection("/one"), connection("/two"));
    let body: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: app.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.send([head.as_bytes(), &body].concat()).await;
    assert!(client.answer("POST").await.body.data == body);
    // A few bytes may wait for nothing behind them.
    let chunked = "POST /echo HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(chunked).await;
    for _ in 0..3 {
        client.send("5\r\nhello\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer("POST").await.text(), "hellohellohello");
}

#[tokio::test]
async fn a_name_may_be_given_for_addresses_that_have_none() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["odoo.internal"]));
    let config = scene
        .config()
        .set("service.app.upstream_tls.server_name = \"odoo.internal\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_named() {
    let scene = Scene::start().await;
    let leaf = scene.ca.issue_for_days(&["127.0.0.1"], -30, -3);
    let told = scene.refused(&leaf).await;
    assert!(
        told.contains("its certificate expired 3 days ago"),
        "{told}"
    );
}

#[tokio::test]
async fn a_certificate_for_the_future_is_refused_and_named() {
    let scene = Scene::start().await;
    let leaf = scene.ca.issue_for_days(&["127.0.0.1"], 3, 30);
    let told = scene.refused(&leaf).await;
    assert!(told.contains("not valid yet"), "{told}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_and_named() {
    let scene = Scene::start().await;
    let leaf = scene.ca.issue(&["other.test", "10.0.0.1"]);
    let told = scene.refused(&leaf).await;
    assert!(
        told.contains("its certificate is for other.test, 10.0.0.1, not for 127.0.0.1"),
        "{told}"
    );
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_refused_and_named() {
    let scene = Scene::start().await;
    let stranger = Authority::new("nobody knows this one");
    let told = scene.refused(&stranger.issue(&["127.0.0.1"])).await;
    assert!(told.contains("issued by nobody we trust"), "{told}");
}

#[tokio::test]
async fn an_upstream_that_speaks_plain_http_is_refused_and_named() {
    let scene = Scene::start().await;
    // As servers do that find no HTTP.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut wire = Wire::over(stream);
            wire.bytes(1).await;
            wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    });
    let config = scene.config();
    let config = config.set(&format!("service.app.slots.blue.http = [\"{address}\"]"));
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("blue", "unhealthy").await;
    let told = daemon.slot("blue").await.reason.unwrap();
    assert!(told.contains("it does not speak TLS"), "{told}");
    assert_eq!(get(daemon.address, "/").await.status(), 502);
    server.abort();
}

#[tokio::test]
async fn the_machines_own_cas_do_not_vouch_for_the_ca_of_a_test() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["127.0.0.1"]));
    let config = scene
        .config()
        .unset("service.app.upstream_tls.ca")
        .set("service.app.upstream_tls.enabled = true");
    let daemon = Daemon::start(&config).await;
    daemon.slot_becomes("blue", "unhealthy").await;
    let told = daemon.slot("blue").await.reason.unwrap();
    assert!(told.contains("issued by nobody we trust"), "{told}");
}

#[tokio::test]
async fn a_certificate_that_goes_bad_ends_the_slots_health_and_another_ca_mends_it() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["127.0.0.1"]));
    let daemon = Daemon::start(&scene.config()).await;
    daemon.healthy().await;
    let other = Authority::new("another CA");
    scene.both_show(&other.issue(&["127.0.0.1"]));
    daemon.slot_becomes("blue", "unhealthy").await;
    std::fs::write(daemon.path("ca.pem"), &other.pem).unwrap();
    daemon.healthy().await;
    assert_eq!(get(daemon.address, "/").await.backend(), "blue");
}

#[tokio::test]
async fn connections_of_before_are_not_used_under_new_terms() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["127.0.0.1"]));
    // One worker, so that the connection of before is at hand for what comes after.
    let config = scene
        .config()
        .set("runtime.workers = 1")
        .set("service.app.keepalive.idle = \"1h\"");
    let daemon = Daemon::start(&config).await;
    daemon.healthy().await;
    assert_eq!(get(daemon.address, "/before").await.backend(), "blue");
    let strict = config.set("service.app.upstream_tls.server_name = \"odoo.internal\"");
    daemon.write_config(&strict);
    let output = daemon.ctl(&["reload"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    eventually("the upstream is refused", async || {
        get(daemon.address, "/after").await.status() == 502
    })
    .await;
    assert_eq!(scene.pair.blue.requests_for("/after").len(), 0);
}

#[tokio::test]
async fn an_answer_without_an_end_of_tls_is_cut_not_complete() {
    let scene = Scene::start().await;
    scene.both_show(&scene.ca.issue(&["127.0.0.1"]));
    let begun = || Step::send("HTTP/1.1 200 OK\r\n\r\nperhaps all");
    let blue = &scene.pair.blue;
    blue.on("/cut", Reply::steps([begun(), Step::Hangup]));
    blue.on("/whole", Reply::steps([begun(), Step::Close]));
    let daemon = Daemon::start(&scene.config()).await;
    daemon.healthy().await;
    assert_eq!(get(daemon.address, "/whole").await.body.end, End::Clean);
    assert_eq!(get(daemon.address, "/cut").await.body.end, End::Cut);
}
