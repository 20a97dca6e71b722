//! docs/api.md does what it says: its curl lines and its workflow are run against the daemon.

use crate::support::Authority;
use crate::support::Daemon;
use crate::support::Pair;
use crate::support::switchctl;
use std::path::Path;
use std::process::Output;
use tokio::process::Command;
use yaml_rust2::Yaml;
use yaml_rust2::YamlLoader;

const DOCUMENT: &str = include_str!("../../docs/api.md");
/// The service in the document is called otherwise than the one here.
const THEIRS: &str = "odoo";
const OURS: &str = "app";

/// The pieces of the document that begin with this fence.
fn pieces(fence: &str) -> Vec<String> {
    let fence = format!("```{fence}\n");
    let pieces = DOCUMENT.split(&fence).skip(1);
    pieces
        .map(|rest| rest.split("```").next().unwrap().replace(THEIRS, OURS))
        .collect()
}

/// The daemon over TLS, and what its callers have in their environment.
struct House {
    daemon: Daemon,
    environment: Vec<(&'static str, String)>,
}

impl House {
    async fn build(pair: &Pair) -> Self {
        let made = ["token", "new", "--role", "operate", "--for", OURS, "--json"];
        let made = switchctl(&made, &[]).await.json();
        let authority = Authority::new("ours");
        let config = pair
            .config()
            .leaf("api", &authority.issue(&["127.0.0.1"]))
            .file("ca.pem", &authority.pem)
            .set("admin.tcp.address = \"127.0.0.1:0\"")
            .set("admin.tcp.chain = \"DIR/api.pem\"")
            .set("admin.tcp.key = \"DIR/api.key\"")
            // A slot that is not well is waited for.
            .set("service.app.flip.gate_timeout = \"2s\"")
            .block(made["toml"].as_str().unwrap());
        let daemon = Daemon::start(&config).await;
        daemon.healthy().await;
        let address = daemon.status().await.admin_api.unwrap();
        let environment = vec![
            ("SWITCHD_URL", format!("https://{address}")),
            ("SWITCHD_TOKEN", made["token"].as_str().unwrap().to_owned()),
            (
                "CURL_CA_BUNDLE",
                daemon.path("ca.pem").display().to_string(),
            ),
        ];
        Self {
            daemon,
            environment,
        }
    }

    async fn run(&self, script: &str, more: &[(String, String)]) -> Output {
        let shell = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", script])
            .current_dir(self.daemon.path(""))
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .envs(more.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(crate::support::DEADLINE, shell)
            .await
            .expect("it ends")
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn every_curl_line_of_the_document_works() {
    let pair = Pair::start().await;
    let house = House::build(&pair).await;
    let lines = pieces("sh curl");
    assert_eq!(lines.len(), 5, "found {lines:?}");
    let mut told = Vec::new();
    for line in &lines {
        let output = house.run(line, &[]).await;
        assert!(output.status.success(), "{line}\n{output:?}");
        told.push(text(&output));
    }
    assert!(told[0].contains("\"active\":\"blue\""), "{}", told[0]);
    assert!(told[1].contains("\"passed\":true"), "{}", told[1]);
    assert!(
        told[2]
            .lines()
            .last()
            .unwrap()
            .contains("\"verdict\":\"done\"")
    );
    assert!(told[3].contains("release 18.0.4"), "{}", told[3]);
    assert!(
        told[4]
            .lines()
            .last()
            .unwrap()
            .contains("\"active\":\"blue\"")
    );
    let socket = house.daemon.socket().display().to_string();
    for line in pieces("sh socket") {
        let line = line.replace("/run/switchd/admin.sock", &socket);
        let output = house.run(&line, &[]).await;
        assert!(output.status.success(), "{line}\n{output:?}");
    }
}

/// What GitHub puts in place of `${{ ... }}`.
fn filled_in(value: &str) -> Option<String> {
    match value {
        "${{ inputs.slot }}" => Some("green".to_owned()),
        "${{ secrets.SWITCHD_TOKEN }}" => None,
        value if value.starts_with("https://erp") => None,
        value if value.contains("github.run_id") => {
            Some("https://github.example/runs/7".to_owned())
        }
        value => Some(value.to_owned()),
    }
}

#[tokio::test]
async fn the_workflow_of_the_document_moves_traffic_and_notices_a_refusal() {
    let pair = Pair::start().await;
    let house = House::build(&pair).await;
    let workflow = &pieces("yaml")[0];
    let workflow = &YamlLoader::load_from_str(workflow).unwrap()[0];
    let job = &workflow["jobs"]["flip"];
    assert_eq!(job["defaults"]["run"]["shell"].as_str(), Some("bash"));
    let environment: Vec<(String, String)> = job["env"]
        .as_hash()
        .unwrap()
        .iter()
        .filter_map(|(name, value)| {
            let value = filled_in(value.as_str().unwrap())?;
            Some((name.as_str().unwrap().to_owned(), value))
        })
        .collect();
    assert_eq!(environment.len(), 3, "{environment:?}");
    let steps: Vec<&str> = job["steps"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|step: &Yaml| step["run"].as_str().unwrap())
        .collect();
    assert_eq!(steps.len(), 2);
    for step in &steps {
        let output = house.run(step, &environment).await;
        assert!(output.status.success(), "{step}\n{output:?}");
    }
    assert_eq!(house.daemon.active().await, "green");
    let history = house.daemon.history().await;
    assert_eq!(
        history[0].reason.as_deref(),
        Some("https://github.example/runs/7")
    );
    assert_eq!(history[0].actor, "token ci from 127.0.0.1");
    // With a slot that is not well both steps fail.
    pair.blue
        .health(crate::support::Reply::status(503, "no database"));
    house.daemon.slot_becomes("blue", "unhealthy").await;
    let back: Vec<_> = environment
        .into_iter()
        .map(|(name, value)| {
            if name == "SLOT" {
                (name, "blue".to_owned())
            } else {
                (name, value)
            }
        })
        .collect();
    for step in &steps {
        let output = house.run(step, &back).await;
        assert!(!output.status.success(), "{step}\n{output:?}");
    }
    assert_eq!(house.daemon.active().await, "green");
}

#[tokio::test]
async fn a_signature_is_verified_as_the_document_says() {
    let python = &pieces("python")[0];
    let check = "printf '%s' '1785585600.{}' | openssl dgst -sha256 -hmac hunter2 | sed 's/.* //'";
    let hex = Command::new("sh")
        .args(["-c", check])
        .output()
        .await
        .unwrap();
    let hex = text(&hex).trim().to_owned();
    let script = format!(
        "{python}\ntime.time = lambda: 1785585610\nheader = 't=1785585600,v1={hex}'\n\
         assert is_from_switchd(header, b'{{}}', b'hunter2')\n\
         assert not is_from_switchd(header, b'{{ }}', b'hunter2')\n\
         assert not is_from_switchd(header, b'{{}}', b'hunter3')\n\
         time.time = lambda: 1785586000\n\
         assert not is_from_switchd(header, b'{{}}', b'hunter2')\n"
    );
    assert!(Path::new("docs/api.md").exists());
    let output = Command::new("python3")
        .args(["-c", &script])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}
