//! Certificates of listeners: which one a client gets, and how they change while everything runs.

use crate::support::Authority;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Leaf;
use crate::support::Pair;
use crate::support::eventually;
use crate::support::request;
use crate::support::switchd;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use switchd::api::EventKind;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::TLS12;

struct Scene {
    _pair: Pair,
    ca: Arc<Authority>,
    daemon: Daemon,
    address: SocketAddr,
}

impl Scene {
    /// With these certificates, in this order.
    async fn with(ca: Authority, leaves: &[(&str, &Leaf)]) -> Self {
        let pair = Pair::start().await;
        let mut config = pair.config();
        for (name, leaf) in leaves {
            config = config.leaf(name, leaf);
        }
        let names: Vec<&str> = leaves.iter().map(|(name, _)| *name).collect();
        let daemon = Daemon::start(&config.tls_listener("", &names)).await;
        let address = daemon.listener(1).await;
        Self {
            _pair: pair,
            ca: Arc::new(ca),
            daemon,
            address,
        }
    }

    /// What a client that asks for `host` is shown.
    async fn shown(&self, host: &str) -> CertificateDer<'static> {
        let wire = self.ca.client().connect(self.address, host).await.unwrap();
        shown(&wire)
    }

    fn put(&self, name: &str, leaf: &Leaf) {
        std::fs::write(self.daemon.path(&format!("{name}.pem")), &leaf.chain).unwrap();
        std::fs::write(self.daemon.path(&format!("{name}.key")), &leaf.key).unwrap();
    }
}

fn shown(wire: &crate::support::Wire) -> CertificateDer<'static> {
    let chain = wire.session().peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_host_that_it_names() {
    let ca = Authority::new("the CA of this test");
    let first = ca.issue(&["first.test", "*.wild.test", "anywhere.invalid"]);
    let exact = ca.issue(&["exact.wild.test", "Second.test"]);
    let scene = Scene::with(ca, &[("first", &first), ("exact", &exact)]).await;
    assert_eq!(scene.shown("first.test").await, first.der());
    assert_eq!(scene.shown("second.test").await, exact.der());
    assert_eq!(scene.shown("any.wild.test").await, first.der());
    assert_eq!(scene.shown("exact.wild.test").await, exact.der());
    // One label, as certificates mean it; such a client refuses what it gets, and gets the first.
    let deep = scene.ca.client().connect(scene.address, "a.b.wild.test");
    let refused = deep.await.err().expect("it is not for that").to_string();
    assert!(refused.contains("wild.test"), "{refused}");
    // Without a name, as with an IP, the first.
    let nameless = scene.ca.client().connect(scene.address, "127.0.0.1");
    let refused = nameless
        .await
        .err()
        .expect("it is not for that")
        .to_string();
    assert!(refused.contains("first.test"), "{refused}");
}

#[tokio::test]
async fn ecdsa_is_preferred_and_those_who_cannot_check_it_get_rsa() {
    let ca = Authority::new_rsa("the CA of this test");
    let rsa = ca.issue_rsa(&["app.test"]);
    let ecdsa = ca.issue(&["app.test"]);
    let scene = Scene::with(ca, &[("rsa", &rsa), ("ecdsa", &ecdsa)]).await;
    for client in [scene.ca.client(), scene.ca.client().only(&TLS12)] {
        let modern = client.clone().connect(scene.address, "app.test").await;
        assert_eq!(shown(&modern.unwrap()), ecdsa.der());
        let old = client.rsa_only().connect(scene.address, "app.test").await;
        assert_eq!(shown(&old.unwrap()), rsa.der());
    }
}

#[tokio::test]
async fn the_certificates_for_development_serve_localhost() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/certs-dev");
    let read = |name: &str| std::fs::read_to_string(format!("{folder}/{name}")).unwrap();
    let leaf = Leaf {
        chain: read("localhost.pem"),
        key: read("localhost.key"),
    };
    let scene = Scene::with(Authority::known(read("ca.pem")), &[("localhost", &leaf)]).await;
    assert_eq!(scene.shown("app.localhost").await, leaf.der());
    assert_eq!(scene.shown("127.0.0.1").await, leaf.der());
}

/// Clients that open connection after connection while certificates change.
#[derive(Default)]
struct Traffic {
    stop: AtomicBool,
    served: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    async fn run(self: Arc<Self>, ca: Arc<Authority>, address: SocketAddr, resumes: bool) {
        let mut connector = ca.client().build();
        while !self.stop.load(Ordering::SeqCst) {
            if !resumes {
                connector = ca.client().build();
            }
            let answered = async {
                let mut wire = connector.connect(address, "app.test").await?;
                wire.send(request("GET /", "Connection: close\r\n", ""))
                    .await;
                wire.try_answer("GET").await
            };
            match answered.await {
                Ok(answer) if answer.status() == 200 => {
                    self.served.fetch_add(1, Ordering::SeqCst);
                }
                Ok(answer) => self.failures.lock().unwrap().push(format!("{answer:?}")),
                Err(error) => self.failures.lock().unwrap().push(error.to_string()),
            }
        }
    }

    async fn more(&self) {
        let before = self.served.load(Ordering::SeqCst);
        eventually("clients are served", async || {
            self.served.load(Ordering::SeqCst) > before + 20
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_swapped_under_load_without_a_failed_handshake() {
    let ca = Authority::new("the CA of this test");
    let leaves: Vec<Leaf> = (0..6).map(|_| ca.issue(&["app.test"])).collect();
    let scene = Scene::with(ca, &[("app", &leaves[0])]).await;
    let traffic = Arc::new(Traffic::default());
    let clients: Vec<_> = [true, false, true, false]
        .into_iter()
        .map(|resumes| {
            let run = Arc::clone(&traffic).run(Arc::clone(&scene.ca), scene.address, resumes);
            tokio::spawn(run)
        })
        .collect();
    for leaf in &leaves[1..] {
        traffic.more().await;
        // In place, half after half: in between the two do not fit together.
        scene.put("app", leaf);
        eventually("the new one is shown", async || {
            scene.shown("app.test").await == leaf.der()
        })
        .await;
    }
    traffic.more().await;
    traffic.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let failures = traffic.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{failures:?}");
    let served = traffic.served.load(Ordering::SeqCst);
    assert!(served > 120, "only {served} were served");
}

#[tokio::test]
async fn a_broken_pair_changes_nothing_and_is_told_until_it_is_mended() {
    let ca = Authority::new("the CA of this test");
    let leaf = ca.issue(&["app.test"]);
    let scene = Scene::with(ca, &[("app", &leaf)]).await;
    let other = scene.ca.issue(&["app.test"]);
    let expired = scene.ca.issue_for_days(&["app.test"], -9, -2);
    let mixed = Leaf {
        chain: other.chain.clone(),
        key: leaf.key.clone(),
    };
    let no_key = Leaf {
        chain: leaf.chain.clone(),
        key: "not a key".to_owned(),
    };
    let mut events = scene.daemon.stream("GET /v1/events", "").await;
    for (broken, words) in [
        (
            &mixed,
            "app.key: it is not the key of the first certificate in",
        ),
        (&no_key, "app.key: there is no key in it"),
        (&expired, "app.pem: it expired 2 days ago"),
    ] {
        scene.put("app", broken);
        let told = events
            .until(|event| matches!(event, EventKind::CertificatesNotTaken { problems } if problems[0].contains(words)))
            .await;
        let secret = leaf.key.lines().nth(1).unwrap();
        assert!(!format!("{told:?}").contains(secret));
        let status = scene.daemon.status().await.certificates;
        assert!(status.problems[0].contains(words), "{status:?}");
        assert!(status.in_force[0].days_left > 0);
        assert!(scene.daemon.metric(&["switchd_certificates_valid"]).await < 0.5);
        assert_eq!(scene.shown("app.test").await, leaf.der());
        assert!(scene.daemon.stderr().contains("certificates not taken"));
        let shown = scene.daemon.ctl(&["status"]).await.stdout;
        assert!(shown.contains(words), "{shown}");
        // Nor does a reload take it.
        assert_ne!(scene.daemon.ctl(&["reload"]).await.code, 0);
        assert_eq!(scene.shown("app.test").await, leaf.der());
    }
    scene.put("app", &other);
    events
        .until(|event| matches!(event, EventKind::CertificatesReloaded { .. }))
        .await;
    eventually("the mended pair is in force", async || {
        scene.shown("app.test").await == other.der()
    })
    .await;
    assert!(scene.daemon.status().await.certificates.problems.is_empty());
    assert!(scene.daemon.metric(&["switchd_certificates_valid"]).await > 0.5);
}

#[tokio::test]
async fn what_expires_is_told_in_days() {
    let ca = Authority::new("the CA of this test");
    let leaf = ca.issue_for_days(&["app.test", "*.app.test"], -1, 10);
    let scene = Scene::with(ca, &[("app", &leaf)]).await;
    let status = scene.daemon.status().await.certificates;
    let days = status.in_force[0].days_left;
    assert!((9..=10).contains(&days), "{status:?}");
    assert_eq!(status.in_force[0].names, ["app.test", "*.app.test"]);
    let figure = scene
        .daemon
        .metric(&["switchd_certificate_days_left"])
        .await;
    assert!((9.0..=10.0).contains(&figure), "{figure:?}");
    let shown = scene.daemon.ctl(&["status"]).await.stdout;
    assert!(
        shown.contains("app.pem (app.test, *.app.test): "),
        "{shown}"
    );
    let log = scene.daemon.stderr();
    assert!(
        log.contains("the certificate for app.test, *.app.test expires in"),
        "{log}"
    );
    let config = scene.daemon.config_path().display().to_string();
    let checked = switchd(&["check", "--config", &config]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(checked.stderr.starts_with("warning: "), "{checked:?}");
    assert!(checked.stdout.contains("1 certificate"), "{checked:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_check_and_the_start() {
    let pair = Pair::start().await;
    let ca = Authority::new("the CA of this test");
    let dir = tempfile::TempDir::new().unwrap();
    let config: Config = pair
        .config()
        .leaf("app", &ca.issue(&["app.test"]))
        .file("empty.pem", "")
        .file("empty.key", "")
        .tls_listener("", &["app", "missing", "empty"])
        .set("service.app.upstream_tls.ca = \"DIR/app.key\"");
    config.write_files(dir.path());
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let file = dir.path().join("switchd.toml");
    std::fs::write(&file, config.text(dir.path())).unwrap();
    let file = file.display().to_string();
    for command in ["check", "run"] {
        let output = switchd(&[command, "--config", &file]).await;
        assert_eq!(output.code, 1, "{output:?}");
        for words in [
            "missing.pem: cannot read it: No such file",
            "empty.pem: there is no certificate in it",
            "app.key: there is no certificate in it",
            "  help: ",
        ] {
            assert!(output.stderr.contains(words), "{words} in {output:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_changes_how_a_listener_is_spoken_to() {
    let ca = Authority::new("the CA of this test");
    let leaf = ca.issue(&["app.test"]);
    let scene = Scene::with(ca, &[("app", &leaf)]).await;
    let text = std::fs::read_to_string(scene.daemon.config_path()).unwrap();
    let second = scene.ca.issue(&["second.test"]);
    scene.put("second", &second);
    let dir = scene.daemon.path("second").display().to_string();
    let more = format!("[[listener.certificate]]\nchain = \"{dir}.pem\"\nkey = \"{dir}.key\"\n");
    std::fs::write(scene.daemon.config_path(), format!("{text}{more}")).unwrap();
    scene.daemon.signal(Signal::HUP);
    eventually("the second one is shown", async || {
        let client = scene.ca.client();
        client.connect(scene.address, "second.test").await.is_ok()
    })
    .await;
    assert_eq!(scene.shown("second.test").await, second.der());
    assert_eq!(scene.shown("app.test").await, leaf.der());
    assert!(scene.daemon.status().await.config.needs_restart.is_empty());
}
