//! What the facts recorded of Odoo's answers must hold behind `preset = "odoo"` too.

use crate::support::Answer;
use crate::support::Behaviour;
use crate::support::Config;
use crate::support::Content;
use crate::support::Daemon;
use crate::support::Database;
use crate::support::Digest;
use crate::support::End;
use crate::support::Odoo;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;

/// The double, and switchd in front of it.
struct Site {
    odoo: Odoo,
    _other: Odoo,
    daemon: Daemon,
}

impl Site {
    async fn start() -> Self {
        Self::of(Behaviour::default(), |config| config).await
    }

    async fn of(behaviour: Behaviour, change: impl FnOnce(Config) -> Config) -> Self {
        let database = Database::new();
        let odoo = Odoo::start_on("blue", behaviour.clone(), &database);
        let other = Odoo::start_on("green", behaviour, &database);
        let daemon = Daemon::start(&change(Config::odoo(&odoo, &other))).await;
        daemon.healthy().await;
        Self {
            odoo,
            _other: other,
            daemon,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.daemon.address, path).await
    }

    async fn ask(&self, line: &str, extra: &str) -> Answer {
        let mut client = Wire::connect(self.daemon.address).await;
        client.ask(request(line, extra, "")).await
    }

    /// The same question to Odoo and through us.
    async fn both(&self, line: &str, extra: &str) -> (Answer, Answer) {
        let mut client = Wire::connect(self.odoo.http_address()).await;
        let direct = client.ask(request(line, extra, "")).await;
        (direct, self.ask(line, extra).await)
    }

    fn attach(&self, content: Content) -> String {
        let name = r#"" No 5 \"q\".pdf"; filename*=UTF-8''%D1%82%D0%B5.pdf"#;
        let database = self.odoo.database();
        let id = database.attach(name, "application/pdf", content);
        format!("/web/content/{id}?download=true")
    }
}

#[tokio::test]
async fn set_cookie_lines_stay_apart_in_order_and_doubled() {
    let site = Site::start().await;
    let answer = site.get("/web/login").await;
    let cookies = answer.head.all("set-cookie");
    assert_eq!(cookies[..2], ["frontend_lang=en_US; Path=/"; 2]);
    assert!(cookies[2].starts_with("session_id=") && cookies[2].contains("Expires=Fri, 01 Jan"));
    assert!(cookies[2].contains("SameSite=Lax"), "{cookies:?}");
    assert_eq!(cookies.len(), 3);
}

#[tokio::test]
async fn cookies_of_60_kb_with_any_bytes_arrive_as_they_were_sent() {
    let site = Site::start().await;
    let session = site.odoo.database().log_in("admin");
    let long = "x".repeat(60_000);
    let cookie = format!("a=\"q;ü\"; session_id={session}; session_id=second; b={long}");
    let known = site
        .ask("GET /whoami", &format!("Cookie: {cookie}\r\n"))
        .await;
    assert!(
        known.text().contains(r#""user":"admin""#),
        "{}",
        known.text()
    );
    let seen = site.odoo.record().request_for("/whoami");
    assert_eq!(seen.head.all("cookie"), [cookie]);
}

#[tokio::test]
async fn locations_are_left_alone() {
    let site = Site::start().await;
    for path in ["/odoo", "/web", "/odoo//action-7"] {
        let (direct, ours) = site.both(&format!("GET {path}"), "").await;
        assert_eq!(ours.status(), direct.status(), "{path}");
        assert_eq!(
            ours.head.all("location"),
            direct.head.all("location"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_304_has_its_validators_and_no_length() {
    let site = Site::start().await;
    let attachment = site.attach(Content::Bytes(b"%PDF".to_vec()));
    for path in [
        &*attachment,
        "/web/static/src/app.js",
        "/web/assets/5e7a1c0/web.assets_web.min.js",
    ] {
        let etag = site.get(path).await.head.get("etag").unwrap().to_owned();
        let plain = etag.trim_start_matches("W/");
        for known in [plain, &format!("W/{plain}")] {
            let extra = format!("If-None-Match: {known}\r\nAccept-Encoding: gzip\r\n");
            let answer = site.ask(&format!("GET {path}"), &extra).await;
            assert_eq!(answer.status(), 304, "{path} {known}");
            assert!(!answer.head.has("content-length"), "{:?}", answer.head);
            assert!(answer.head.has("etag") && answer.head.has("cache-control"));
        }
    }
}

#[tokio::test]
async fn ranges_are_odoos_own() {
    let site = Site::start().await;
    let path = site.attach(Content::Bytes(b"0123456789".to_vec()));
    for range in ["bytes=2-4", "bytes=-3", "bytes=20-", "bytes=0-1,3-4"] {
        let extra = format!("Range: {range}\r\nAccept-Encoding: gzip\r\n");
        let (direct, ours) = site.both(&format!("GET {path}"), &extra).await;
        assert_eq!(ours.status(), direct.status(), "{range}");
        assert_eq!(ours.text(), direct.text(), "{range}");
        assert_eq!(
            ours.head.all("content-range"),
            direct.head.all("content-range")
        );
    }
    let stale = site
        .ask(
            &format!("GET {path}"),
            "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n",
        )
        .await;
    assert_eq!((stale.status(), &*stale.text()), (200, "0123456789"));
}

#[tokio::test]
async fn head_has_the_length_of_get_and_no_body() {
    let site = Site::start().await;
    let path = site.attach(Content::Pattern(100_000));
    let line = format!("HEAD {path}");
    let (direct, ours) = site.both(&line, "").await;
    assert_eq!(ours.head.get("content-length"), Some("100000"));
    assert_eq!(
        direct.head.get("content-length"),
        ours.head.get("content-length")
    );
    assert!(ours.body.data.is_empty());
}

#[tokio::test]
async fn a_204_keeps_its_type_and_gets_no_length() {
    let site = Site::start().await;
    let answer = site
        .ask("OPTIONS /web/static/a.js", "Origin: https://a.example\r\n")
        .await;
    assert_eq!(answer.status(), 204);
    assert!(answer.head.has("content-type") && !answer.head.has("content-length"));
    assert!(answer.head.has("access-control-allow-methods"));
}

#[tokio::test]
async fn names_of_files_and_security_headers_arrive_byte_for_byte() {
    let site = Site::start().await;
    let path = site.attach(Content::Bytes(b"%PDF".to_vec()));
    let (direct, ours) = site.both(&format!("GET {path}"), "").await;
    for name in [
        "content-disposition",
        "content-security-policy",
        "x-content-type-options",
        "etag",
    ] {
        assert_eq!(ours.head.all(name), direct.head.all(name), "{name}");
    }
    assert!(
        direct
            .head
            .get("content-disposition")
            .unwrap()
            .contains("UTF-8''%D1")
    );
}

#[tokio::test]
async fn there_is_one_date() {
    let site = Site::start().await;
    for path in [
        "/web/static/src/app.js",
        "/web/login",
        "/web/assets/5e7a1c0/web.assets_web.min.css",
    ] {
        let (direct, ours) = site.both(&format!("GET {path}"), "").await;
        assert!(!direct.head.all("date").is_empty());
        assert_eq!(ours.head.all("date").len(), 1, "{path}");
    }
}

#[tokio::test]
async fn the_service_worker_keeps_its_scope() {
    let site = Site::start().await;
    let answer = site.get("/web/service-worker.js").await;
    assert_eq!(answer.head.get("service-worker-allowed"), Some("/odoo"));
    let manifest = site.get("/web/manifest.webmanifest").await;
    assert_eq!(
        manifest.head.get("content-type"),
        Some("application/manifest+json")
    );
}

#[tokio::test]
async fn bundles_are_compressed_and_their_cookie_is_nobodys() {
    let site = Site::start().await;
    let path = "/web/assets/5e7a1c0/web.assets_web.min.js";
    let plain = site.get(path).await;
    let zipped = site
        .ask(&format!("GET {path}"), "Accept-Encoding: gzip\r\n")
        .await;
    assert_eq!(zipped.head.get("content-encoding"), Some("gzip"));
    assert!(
        zipped.head.get("etag").unwrap().starts_with("W/"),
        "{:?}",
        zipped.head
    );
    assert!(zipped.body.data.len() * 4 < plain.body.data.len());
    for answer in [plain, zipped] {
        assert!(
            answer.head.names_token("vary", "accept-encoding"),
            "{:?}",
            answer.head
        );
        assert!(!answer.head.has("set-cookie"), "{:?}", answer.head);
        assert!(answer.head.names_token("cache-control", "immutable"));
    }
    assert_eq!(site.odoo.record().requests_for(path).len(), 1, "asked once");
}

#[tokio::test]
async fn trace_is_not_for_odoo() {
    let site = Site::start().await;
    let answer = site.ask("TRACE /web/login", "").await;
    assert_eq!(answer.status(), 405);
    assert_eq!(site.odoo.record().requests().len(), 0);
}

#[tokio::test]
async fn a_backup_arrives_in_chunks_and_a_broken_one_looks_broken() {
    let site = Site::of(Behaviour::default(), |config| {
        config.set("service.app.access.blocked_allow = [\"127.0.0.0/8\"]")
    })
    .await;
    let length = 3_000_000;
    let backup = format!("/web/database/backup?silence_ms=100&size={length}");
    let answer = site.ask(&format!("GET {backup}"), "").await;
    assert!(
        answer.head.names_token("transfer-encoding", "chunked"),
        "{:?}",
        answer.head
    );
    assert_eq!(
        Digest::of(&answer.body.data),
        Content::Pattern(length).digest()
    );
    let mut client = Wire::connect(site.daemon.address).await;
    client
        .send(request(&format!("GET {backup}&reset=1"), "", ""))
        .await;
    let answer = client.answer("GET").await;
    assert_eq!(answer.body.end, End::Cut);
}

#[tokio::test]
async fn what_is_larger_than_odoo_takes_is_refused_before_it_is_sent() {
    let site = Site::start().await;
    let mut client = Wire::connect(site.daemon.address).await;
    let length = (128 << 20) + 1;
    client
        .send(format!("POST /web/binary/upload_attachment HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"))
        .await;
    assert_eq!(client.answer("POST").await.status(), 413);
    assert_eq!(site.odoo.record().requests().len(), 0);
}

#[tokio::test]
async fn a_restart_of_postgres_logs_nobody_out() {
    let site = Site::start().await;
    let session = site.odoo.database().log_in("admin");
    let cookie = format!("Cookie: session_id={session}\r\nAccept: text/html\r\n");
    assert_eq!(site.ask("GET /odoo", &cookie).await.status(), 200);
    site.odoo.database().set_down(true);
    let answer = site.ask("GET /odoo", &cookie).await;
    assert_eq!(answer.status(), 503);
    assert!(!answer.head.has("set-cookie") && answer.head.has("retry-after"));
    site.odoo.database().set_down(false);
    assert_eq!(site.ask("GET /odoo", &cookie).await.status(), 200);
}

#[tokio::test]
async fn files_that_odoo_only_names_are_sent_from_its_filestore() {
    let folder = tempfile::TempDir::new().unwrap();
    let behaviour = Behaviour {
        filestore: Some(folder.path().to_owned()),
        ..Behaviour::default()
    };
    let root = folder.path().join("filestore");
    std::fs::create_dir(&root).unwrap();
    let site = Site::of(behaviour, |config| {
        config.set(&format!(
            "service.app.sendfile.root = {:?}",
            root.display().to_string()
        ))
    })
    .await;
    let content = Content::Pattern(700_000);
    let path = site.attach(content.clone());
    let (direct, ours) = site.both(&format!("GET {path}"), "").await;
    assert_eq!(direct.head.get("content-length"), Some("0"));
    assert_eq!(Digest::of(&ours.body.data), content.digest());
    for name in ["etag", "content-security-policy", "x-content-type-options"] {
        assert_eq!(ours.head.all(name), direct.head.all(name), "{name}");
    }
    assert!(!ours.head.has("x-sendfile") && !ours.head.has("x-accel-redirect"));
    let part = site
        .ask(&format!("GET {path}"), "Range: bytes=100-299999\r\n")
        .await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.body.data, content.piece(100..300_000));
    assert_eq!(
        part.head.get("content-range"),
        Some("bytes 100-299999/700000")
    );
}

#[tokio::test]
async fn the_threaded_server_needs_no_member_of_its_own_for_websockets() {
    let site = Site::of(Behaviour::threaded(), |config| config).await;
    assert_eq!(site.get("/whoami").await.status(), 200);
    let mut client = Wire::connect(site.daemon.address).await;
    let ask = request(
        "GET /websocket?version=18.0-5",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://app.test\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "",
    );
    assert_eq!(client.ask(ask).await.status(), 101);
    site.odoo.notify("[]");
    assert_eq!(client.bytes(4).await, b"\x81\x02[]");
}
