//! What a service's settings make of heads: rules, HSTS, security lines, CORS and cookies.

use crate::support::Answer;
use crate::support::Authority;
use crate::support::Backend;
use crate::support::Config;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::Reply;
use crate::support::Step;
use crate::support::Wire;
use crate::support::get;
use crate::support::request;
use std::net::SocketAddr;

/// A daemon with a plain listener and one that speaks TLS.
struct Scene {
    pair: Pair,
    ca: Authority,
    daemon: Daemon,
    secure: SocketAddr,
}

impl Scene {
    async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let pair = Pair::start().await;
        let ca = Authority::new("the CA of this test");
        let config = pair
            .config()
            .leaf("app", &ca.issue(&["app.test"]))
            .tls_listener("", &["app"]);
        let daemon = Daemon::start(&change(config)).await;
        let secure = daemon.listener(1).await;
        Self {
            pair,
            ca,
            daemon,
            secure,
        }
    }

    async fn plainly(&self, line: &str, fields: &str) -> Answer {
        let mut client = Wire::connect(self.daemon.address).await;
        client.ask(request(line, fields, "")).await
    }

    async fn securely(&self, line: &str, fields: &str) -> Answer {
        let client = self.ca.client().connect(self.secure, "app.test").await;
        let mut client = client.expect("the handshake succeeds");
        client.ask(request(line, fields, "")).await
    }
}

/// From now on the answer to `path` has these lines.
fn answers(backend: &Backend, path: &str, status: &str, lines: &str) {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{lines}\r\n");
    backend.on(path, Reply::raw(answer));
}

#[tokio::test]
async fn rules_set_add_and_remove_lines_in_both_directions() {
    let pair = Pair::start().await;
    let secret = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/token");
    let rules = "service.app.headers";
    let config = pair
        .config()
        .set(&format!(
            "{rules}.request.set = {{ X-Env = \"prod\", X-Token = {{ file = {secret:?} }} }}"
        ))
        .set(&format!("{rules}.request.add = {{ Via = \"switchd\" }}"))
        .set(&format!(
            "{rules}.request.remove = [\"x-debug\", \"User-Agent\"]"
        ))
        .set(&format!("{rules}.response.set = {{ Server = \"none\" }}"))
        .set(&format!("{rules}.response.add = {{ X-Served = \"1\" }}"))
        .set(&format!("{rules}.response.remove = [\"X-Powered-By\"]"));
    let daemon = Daemon::start(&config).await;
    let lines = "Server: a\r\nServer: b\r\nx-powered-by: php\r\nX-Served: 0\r\nX-Kept: 1\r\n";
    answers(&pair.blue, "/", "200 OK", lines);
    let mut client = Wire::connect(daemon.address).await;
    let fields =
        "X-Env: test\r\nx-env: dev\r\nX-Debug: 1\r\nUser-Agent: x\r\nVia: before\r\nX-Kept: 1\r\n";
    let answer = client.ask(request("GET /", fields, "")).await;
    let seen = pair.blue.request_for("/").head;
    assert_eq!(seen.all("x-env"), ["prod"]);
    assert_eq!(seen.all("x-token"), ["a-token"]);
    assert_eq!(seen.all("via"), ["before", "switchd"]);
    assert!(!seen.has("x-debug") && !seen.has("user-agent"));
    assert_eq!(seen.all("x-kept"), ["1"]);
    assert_eq!(answer.head.all("server"), ["none"]);
    assert_eq!(answer.head.all("x-served"), ["0", "1"]);
    assert!(!answer.head.has("x-powered-by"));
    assert_eq!(answer.head.all("x-kept"), ["1"]);

    daemon.write_config(&pair.config());
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    let answer = client.ask(request("GET /", fields, "")).await;
    assert_eq!(answer.head.all("server"), ["a", "b"]);
}

#[tokio::test]
async fn hsts_is_on_every_answer_over_tls_and_on_none_without() {
    let hsts = |config: Config| {
        config
            .set("service.app.headers.hsts = \"365d\"")
            .set("service.app.headers.hsts_subdomains = true")
            .set("service.app.access.blocked = [\"/blocked\"]")
    };
    let scene = Scene::with(hsts).await;
    answers(&scene.pair.blue, "/404", "404 Not Found", "");
    answers(&scene.pair.blue, "/500", "500 Oops", "");
    let own = "Strict-Transport-Security: max-age=1\r\n";
    answers(&scene.pair.blue, "/own", "303 See Other", own);
    scene
        .pair
        .blue
        .on("/broken", Reply::steps([Step::TakeBody, Step::Reset]));
    for path in ["/", "/404", "/500", "/own", "/broken", "/blocked"] {
        let line = format!("GET {path}");
        let secure = scene.securely(&line, "").await.head;
        let wanted = ["max-age=31536000; includeSubDomains"];
        assert_eq!(secure.all("strict-transport-security"), wanted, "{path}");
        let plain = scene.plainly(&line, "").await.head;
        let theirs: &[&str] = if path == "/own" { &["max-age=1"] } else { &[] };
        assert_eq!(plain.all("strict-transport-security"), theirs, "{path}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_tells_whether_its_client_came_over_tls() {
    let pair = Pair::start().await;
    let config = pair
        .config()
        .set("trusted_proxies = [\"127.0.0.1\"]")
        .set("service.app.headers.hsts = \"1d\"");
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    for (proto, wanted) in [("https", Some("max-age=86400")), ("http", None)] {
        let fields = format!("X-Forwarded-Proto: {proto}\r\n");
        let answer = client.ask(request("GET /", &fields, "")).await;
        assert_eq!(answer.head.get("strict-transport-security"), wanted);
    }
}

#[tokio::test]
async fn security_lines_stand_where_the_application_sends_none() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set("service.app.headers.security = true")).await;
    answers(&pair.blue, "/own", "200 OK", "x-frame-options: DENY\r\n");
    let own = get(daemon.address, "/own").await.head;
    assert_eq!(own.all("x-frame-options"), ["DENY"]);
    assert_eq!(own.all("x-content-type-options"), ["nosniff"]);
    let other = get(daemon.address, "/").await.head;
    assert_eq!(other.all("x-frame-options"), ["SAMEORIGIN"]);
    assert_eq!(
        other.all("referrer-policy"),
        ["strict-origin-when-cross-origin"]
    );
}

#[tokio::test]
async fn rules_for_answers_hold_for_errors_too_but_do_not_say_what_they_are() {
    let pair = Pair::start().await;
    let rules = "service.app.headers.response";
    let config = pair
        .config()
        .set("service.app.headers.security = true")
        .set("service.app.access.blocked = [\"/blocked\"]")
        .set(&format!(
            "{rules}.set = {{ Permissions-Policy = \"camera=()\", Cache-Control = \"public\", Content-Type = \"image/png\", X-Frame-Options = \"DENY\" }}"
        ))
        .set(&format!("{rules}.add = {{ X-Served = \"1\" }}"))
        .set(&format!("{rules}.remove = [\"Referrer-Policy\"]"));
    let daemon = Daemon::start(&config).await;
    pair.blue
        .on("/broken", Reply::steps([Step::TakeBody, Step::Reset]));
    for (path, status) in [("/broken", 502), ("/blocked", 403)] {
        let answer = get(daemon.address, path).await;
        assert_eq!(answer.status(), status);
        let head = answer.head;
        assert_eq!(head.all("permissions-policy"), ["camera=()"], "{path}");
        assert_eq!(head.all("x-frame-options"), ["DENY"]);
        assert_eq!(head.all("x-served"), ["1"]);
        assert_eq!(head.all("x-content-type-options"), ["nosniff"]);
        assert_eq!(head.all("cache-control"), ["no-store"]);
        assert_eq!(head.all("content-type"), ["text/plain; charset=utf-8"]);
        assert!(!head.has("referrer-policy"), "{head:?}");
    }
}

fn cors(pair: &Pair) -> Config {
    pair.config()
        .set("service.app.cors.origins = [\"https://app.example\", \"https://*.shop.example\"]")
        .set("service.app.cors.credentials = true")
        .set("service.app.cors.exposed = [\"X-Total\"]")
        .set("service.app.headers.security = true")
}

const PREFLIGHT: &str =
    "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, content-type\r\n";

#[tokio::test]
async fn preflights_are_answered_without_the_application() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&cors(&pair)).await;
    let mut client = Wire::connect(daemon.address).await;
    for (origin, is_known) in [
        ("https://app.example", true),
        ("https://de.shop.example", true),
        ("https://evil.example", false),
        ("null", false),
    ] {
        let fields = format!("Origin: {origin}\r\n{PREFLIGHT}");
        let answer = client.ask(request("OPTIONS /api", &fields, "")).await;
        let head = answer.head;
        assert_eq!(head.status(), 204, "{origin}");
        let told = head.all("access-control-allow-origin");
        assert_eq!(told, Vec::from_iter(is_known.then_some(origin)));
        let told = head.get("access-control-allow-headers");
        assert_eq!(told, is_known.then_some("x-a, content-type"));
        assert_eq!(head.has("access-control-allow-methods"), is_known);
        assert_eq!(head.has("access-control-max-age"), is_known);
        assert!(head.names_token("vary", "origin"), "{head:?}");
        assert_eq!(head.all("x-frame-options"), ["SAMEORIGIN"]);
    }
    assert_eq!(pair.blue.count(), 0);
    // What asks for no permission is the application's.
    let answer = client.ask(request("OPTIONS /api", "", "")).await;
    assert_eq!(answer.backend(), "blue");
}

#[tokio::test]
async fn a_preflight_needs_no_password_and_what_follows_does() {
    let pair = Pair::start().await;
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/users");
    let config = cors(&pair).set(&format!("service.app.access.basic_auth.users = {users:?}"));
    let daemon = Daemon::start(&config).await;
    let mut client = Wire::connect(daemon.address).await;
    let origin = "Origin: https://app.example\r\n";
    let preflight = format!("{origin}{PREFLIGHT}");
    let answer = client.ask(request("OPTIONS /api", &preflight, "")).await;
    assert_eq!(answer.status(), 204);
    let refused = client.ask(request("PUT /api", origin, "")).await;
    assert_eq!(refused.status(), 401);
    // Its page is to see why.
    let told = refused.head.get("access-control-allow-origin");
    assert_eq!(told, Some("https://app.example"));
}

#[tokio::test]
async fn answers_name_the_origin_that_may_read_them_and_caches_are_told() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&cors(&pair)).await;
    let theirs = "Access-Control-Allow-Origin: *\r\nVary: Cookie\r\n";
    answers(&pair.blue, "/own", "200 OK", theirs);
    answers(&pair.blue, "/varied", "200 OK", "Vary: accept, origin\r\n");
    let mut client = Wire::connect(daemon.address).await;
    let mut ask = async |path: &str, fields: &str| {
        let line = format!("GET {path}");
        client.ask(request(&line, fields, "")).await.head
    };
    let known = ask("/own", "Origin: https://app.example\r\n").await;
    assert_eq!(
        known.all("access-control-allow-origin"),
        ["https://app.example"]
    );
    assert_eq!(known.all("access-control-allow-credentials"), ["true"]);
    assert_eq!(known.all("access-control-expose-headers"), ["X-Total"]);
    assert_eq!(known.all("vary"), ["Cookie", "Origin"]);
    let unknown = ask("/own", "Origin: https://evil.example\r\n").await;
    assert!(!unknown.has("access-control-allow-origin"));
    assert!(!unknown.has("access-control-allow-credentials"));
    let nobody = ask("/varied", "").await;
    assert_eq!(nobody.all("vary"), ["accept, origin"]);

    let open = pair.config().set("service.app.cors.origins = [\"*\"]");
    daemon.write_config(&open);
    assert_eq!(daemon.call("POST /v1/reload", "").await.status, 200);
    let open = ask("/", "Origin: https://any.example\r\n").await;
    assert_eq!(open.all("access-control-allow-origin"), ["*"]);
    assert!(!open.has("vary"), "it is the same for all");
}

const ODOO: &str = "session_id=a; Expires=Mon, 01 Dec 2025 00:00:00 GMT; HttpOnly; Path=/";

#[tokio::test]
async fn the_named_cookie_gets_secure_over_tls_and_same_site_and_the_others_nothing() {
    let named = |config: Config| config.set("service.app.cookies.names = [\"session_id\"]");
    let scene = Scene::with(named).await;
    let lines = format!(
        "Set-Cookie: frontend_lang=de_DE; Path=/\r\nSet-Cookie: {ODOO}\r\n\
         Location: /odoo/discuss?x=1#frag\r\nSet-Cookie: frontend_lang=de_DE; Path=/\r\n"
    );
    answers(&scene.pair.blue, "/login", "303 See Other", &lines);
    let secure = scene.securely("POST /login", "").await.head;
    let flagged = format!("{ODOO}; Secure; SameSite=Lax");
    assert_eq!(
        secure.all("set-cookie"),
        [
            "frontend_lang=de_DE; Path=/",
            flagged.as_str(),
            "frontend_lang=de_DE; Path=/"
        ]
    );
    assert_eq!(secure.all("location"), ["/odoo/discuss?x=1#frag"]);
    let plain = scene.plainly("POST /login", "").await.head;
    let flagged = format!("{ODOO}; SameSite=Lax");
    assert_eq!(plain.all("set-cookie")[1], flagged);
}

#[tokio::test]
async fn cookies_that_lack_nothing_or_are_not_named_stay_where_they_are() {
    let pair = Pair::start().await;
    let daemon = Daemon::start(&pair.config().set("service.app.cookies.names = [\"id\"]")).await;
    let lines = "Set-Cookie: id=1; samesite=Strict\r\nX-Between: 1\r\nSet-Cookie: other=2\r\n";
    answers(&pair.blue, "/", "200 OK", lines);
    let answer = get(daemon.address, "/").await;
    let raw = String::from_utf8(answer.head.raw).unwrap();
    assert!(raw.contains(lines), "{raw}");
}

#[tokio::test]
async fn the_head_of_a_websocket_passes_as_it_is() {
    let pair = Pair::start().await;
    let config = cors(&pair)
        .set("service.app.cookies.names = [\"*\"]")
        .set("service.app.headers.security = true")
        .set("service.app.headers.response.set = { X-Served = \"1\" }");
    let daemon = Daemon::start(&config).await;
    let theirs = "Set-Cookie: session_id=a\r\nAccess-Control-Allow-Origin: *\r\n";
    pair.blue.on(
        "/socket",
        Reply::steps([
            Step::send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{theirs}\r\n"
            )),
            Step::Hang,
        ]),
    );
    let mut client = Wire::connect(daemon.address).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: https://app.example\r\n";
    client.send(request("GET /socket", upgrade, "")).await;
    let head = client.head().await.unwrap().unwrap();
    let raw = String::from_utf8(head.raw.clone()).unwrap();
    assert!(raw.contains(theirs), "{raw}");
    assert!(!head.has("x-served") && !head.has("x-frame-options"));
}

#[tokio::test]
async fn kept_answers_and_files_are_dressed_for_the_one_who_gets_them() {
    let pair = Pair::start().await;
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::write(dir.path().join("file"), b"the content").unwrap();
    let config = cors(&pair)
        .set("service.app.headers.security = true")
        .set("service.app.headers.response.remove = [\"Server\"]")
        .set("service.app.cookies.names = [\"session_id\"]")
        .set("service.app.cache.enabled = true")
        .set(&format!("service.app.sendfile.root = {:?}", dir.path()));
    let daemon = Daemon::start(&config).await;
    let cookie = "Set-Cookie: session_id=a\r\nAccess-Control-Allow-Origin: *\r\nServer: x\r\n";
    let kept = format!("Cache-Control: public, max-age=900, immutable\r\n{cookie}");
    answers(&pair.blue, "/kept", "200 OK", &kept);
    let file = dir.path().join("file").display().to_string();
    let named = format!("X-Sendfile: {file}\r\n{cookie}");
    answers(&pair.blue, "/file", "200 OK", &named);
    let mut client = Wire::connect(daemon.address).await;
    for path in ["/kept", "/kept", "/file"] {
        for origin in ["https://app.example", "https://de.shop.example"] {
            let line = format!("GET {path}");
            let fields = format!("Origin: {origin}\r\n");
            let head = client.ask(request(&line, &fields, "")).await.head;
            assert_eq!(head.all("access-control-allow-origin"), [origin], "{path}");
            assert_eq!(head.all("x-frame-options"), ["SAMEORIGIN"], "{path}");
            assert!(!head.has("server"), "{path}");
            let cookies: &[&str] = match path {
                "/file" => &["session_id=a; SameSite=Lax"],
                // What is for everybody has no cookies.
                _ => &[],
            };
            assert_eq!(head.all("set-cookie"), cookies, "{path}");
        }
    }
    assert_eq!(pair.blue.requests_for("/kept").len(), 1);
}
