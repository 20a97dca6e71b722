//! Several services behind one listener.

use crate::support::Answer;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Wire;

async fn ask(daemon: &Daemon, host: &str) -> Answer {
    let mut client = Wire::connect(daemon.address).await;
    client
        .ask(format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
        .await
}

struct Three {
    exact: Backend,
    suffix: Backend,
    any: Backend,
    green: [Backend; 3],
}

impl Three {
    async fn start() -> Self {
        let green = async || Backend::start("green").await;
        Self {
            exact: Backend::start("exact").await,
            suffix: Backend::start("suffix").await,
            any: Backend::start("any").await,
            green: [green().await, green().await, green().await],
        }
    }

    fn config(&self) -> Config {
        Config::empty()
            .service("exact", &self.exact, &self.green[0])
            .set("service.exact.hosts = [\"erp.example.com\", \"[2001:db8::1]\"]")
            .service("suffix", &self.suffix, &self.green[1])
            .set("service.suffix.hosts = [\"*.example.com\"]")
            .service("any", &self.any, &self.green[2])
            .set("service.any.hosts = [\"*\"]")
    }
}

#[tokio::test]
async fn the_host_chooses_the_service() {
    let three = Three::start().await;
    let daemon = Daemon::start(&three.config()).await;
    for (host, wanted) in [
        ("erp.example.com", "exact"),
        ("ERP.Example.COM", "exact"),
        ("erp.example.com:8080", "exact"),
        ("erp.example.com.", "exact"),
        ("[2001:db8::1]", "exact"),
        ("[2001:db8::1]:8080", "exact"),
        ("shop.example.com", "suffix"),
        ("a.b.example.com", "suffix"),
        ("example.com", "any"),
        ("other.test", "any"),
        ("[::1]:80", "any"),
    ] {
        assert_eq!(ask(&daemon, host).await.backend(), wanted, "{host}");
    }
}

#[tokio::test]
async fn a_host_of_nobody_is_refused() {
    let pair = Pair::start().await;
    let config = pair.config().set("service.app.hosts = [\"app.test\"]");
    let daemon = Daemon::start(&config).await;
    assert_eq!(ask(&daemon, "app.test").await.status(), 200);
    let answer = ask(&daemon, "other.test").await;
    assert_eq!(answer.status(), 421);
    assert_eq!(pair.blue.count(), 1);
}

#[tokio::test]
async fn each_service_flips_alone() {
    let three = Three::start().await;
    let daemon = Daemon::start(&three.config()).await;
    let output = daemon.ctl(&["--service", "suffix", "flip", "green"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(ask(&daemon, "erp.example.com").await.backend(), "exact");
    assert_eq!(ask(&daemon, "shop.example.com").await.backend(), "green");
    assert_eq!(ask(&daemon, "other.test").await.backend(), "any");
    assert_eq!(daemon.service("exact").await.active, "blue");
}

#[tokio::test]
async fn two_services_may_flip_at_the_same_time() {
    let three = Three::start().await;
    let daemon = Daemon::start(&three.config()).await;
    let (first, second) = tokio::join!(
        daemon.ctl(&["--service", "exact", "flip", "green"]),
        daemon.ctl(&["--service", "any", "flip", "green"]),
    );
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    for host in ["erp.example.com", "other.test"] {
        assert_eq!(ask(&daemon, host).await.backend(), "green");
    }
}

#[tokio::test]
async fn trouble_of_one_service_is_not_the_others() {
    let three = Three::start().await;
    let daemon = Daemon::start(&three.config()).await;
    // A slot that was never well has time to become so: failback.start_grace.
    crate::support::eventually("it is well at first", async || {
        let slots = daemon.service("exact").await.slots;
        slots.iter().all(|slot| slot.health == "healthy")
    })
    .await;
    three.exact.health(Reply::status(500, "down"));
    crate::support::eventually("it moves by itself", async || {
        daemon.service("exact").await.active == "green"
    })
    .await;
    assert_eq!(daemon.service("suffix").await.active, "blue");
    assert_eq!(ask(&daemon, "shop.example.com").await.backend(), "suffix");
}

#[tokio::test]
async fn routes_match_whole_segments_and_the_longest_wins() {
    let pair = Pair::start().await;
    let sockets = Pair::start().await;
    sockets.blue.on("/websocket", Reply::status(200, "routed"));
    sockets
        .blue
        .on("/websocket/x", Reply::status(200, "routed"));
    let config = pair
        .config()
        .websocket_member("blue", &sockets.blue)
        .websocket_member("green", &sockets.green)
        .route("/websocket", "websocket")
        .route("/websocket/plain", "http");
    let daemon = Daemon::start(&config).await;
    for (path, routed) in [
        ("/websocket", true),
        ("/websocket?x=1", true),
        ("/websocket/x", true),
        ("/websocket/plain", false),
        ("/websockets", false),
        ("/", false),
    ] {
        let answer = crate::support::get(daemon.address, path).await;
        assert_eq!(
            answer.text() == "routed",
            routed,
            "{path}: {}",
            answer.text()
        );
    }
}
