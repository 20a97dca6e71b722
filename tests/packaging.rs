//! What is shipped around the program fits it: Compose, the image, the scripts, the documents.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use switchd::config::{self, Settings};
use switchd::net::EndpointAddr;
use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn compose() -> Yaml {
    let mut documents = YamlLoader::load_from_str(&text("docker-compose.yml")).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// A key of a Compose service, also where it comes from what is merged in with `<<`.
fn key<'a>(service: &'a Yaml, name: &str) -> &'a Yaml {
    match &service[name] {
        Yaml::BadValue => &service["<<"][name],
        own => own,
    }
}

fn strings(list: &Yaml) -> Vec<String> {
    list.as_vec()
        .into_iter()
        .flatten()
        .map(|entry| entry.as_str().unwrap().to_owned())
        .collect()
}

/// The values of the first `flag=value` arguments of a service's command.
fn flag(service: &Yaml, name: &str) -> Option<String> {
    let prefix = format!("--{name}=");
    strings(key(service, "command"))
        .iter()
        .find_map(|word| word.strip_prefix(&prefix).map(str::to_owned))
}

struct Mount {
    /// A path of the host, or the name of a volume.
    from: String,
    to: String,
}

fn mounts(compose: &Yaml) -> Vec<Mount> {
    let services = compose["services"].as_hash().unwrap();
    services
        .iter()
        .flat_map(|(_, service)| strings(key(service, "volumes")))
        .map(|volume| {
            let mut parts = volume.split(':');
            let mut part = || parts.next().unwrap().to_owned();
            Mount {
                from: part(),
                to: part(),
            }
        })
        .collect()
}

fn mounted_config() -> Settings {
    let compose = compose();
    let mounts = mounts(&compose);
    let mount = mounts
        .iter()
        .find(|mount| mount.to == "/etc/switchd/switchd.toml")
        .unwrap();
    config::load(&root().join(&mount.from))
        .unwrap_or_else(|problems| panic!("{}", config::summary(&problems)))
}

#[test]
fn every_compose_service_says_what_it_runs_and_whether_it_is_well() {
    let compose = compose();
    let services = compose["services"].as_hash().unwrap();
    for name in ["switchd", "odoo-blue", "odoo-green", "postgres"] {
        assert!(
            services.contains_key(&Yaml::String(name.to_owned())),
            "{name}"
        );
    }
    for (name, service) in services {
        let runs = key(service, "image")
            .as_str()
            .or_else(|| key(service, "build").as_str());
        assert!(runs.is_some(), "{name:?}: neither image nor build");
        let ends_by_itself = key(service, "restart").as_str() == Some("no");
        assert!(
            ends_by_itself || !key(service, "healthcheck").is_badvalue(),
            "{name:?}: no health check"
        );
    }
}

#[test]
fn every_mounted_file_exists_and_every_volume_is_declared() {
    let compose = compose();
    let declared = compose["volumes"].as_hash().unwrap();
    let mounts = mounts(&compose);
    let files = mounts.iter().filter(|mount| mount.from.starts_with('.'));
    assert!(
        files.clone().count() > 0,
        "nothing is mounted from here: looking in the wrong place?"
    );
    for mount in files {
        assert!(
            root().join(&mount.from).is_file(),
            "{} is mounted and is no file",
            mount.from
        );
    }
    for mount in mounts.iter().filter(|mount| !mount.from.starts_with('.')) {
        assert!(
            declared.contains_key(&Yaml::String(mount.from.clone())),
            "volume {}",
            mount.from
        );
    }
}

#[test]
fn the_mounted_config_is_valid_and_its_addresses_are_services_with_these_ports() {
    let compose = compose();
    let settings = mounted_config();
    let service = &settings.services[0];
    let members = service.slots.iter().flat_map(|slot| &slot.members);
    let mut addresses: Vec<&EndpointAddr> = members.flat_map(|member| &member.addresses).collect();
    addresses.extend(service.shared.as_ref().map(|shared| &shared.tcp));
    assert!(addresses.len() >= 5, "{addresses:?}");
    for address in addresses {
        let EndpointAddr::Named { host, port } = address else {
            panic!("{address} is not reached by the name of a service");
        };
        let exposed = strings(key(&compose["services"][host.as_str()], "expose"));
        assert!(
            exposed.contains(&port.to_string()),
            "{address}: the service exposes {exposed:?}"
        );
    }
}

#[test]
fn what_compose_publishes_is_what_the_config_listens_on() {
    let compose = compose();
    let published = strings(&compose["services"]["switchd"]["ports"]);
    for listener in mounted_config().listeners {
        assert!(
            listener.address.ip().is_unspecified(),
            "{}: not reachable in a container",
            listener.address
        );
        let port = format!(":{}", listener.address.port());
        assert!(
            published.iter().any(|line| line.ends_with(&port)),
            "{port} is not in {published:?}"
        );
    }
}

#[test]
fn both_odoo_slots_run_alike_on_one_data_folder_and_without_scheduled_jobs() {
    let compose = compose();
    for name in ["odoo-blue", "odoo-green"] {
        let slot = &compose["services"][name];
        assert_eq!(flag(slot, "http-port").as_deref(), Some("8069"));
        assert_eq!(flag(slot, "gevent-port").as_deref(), Some("8072"));
        assert_eq!(flag(slot, "max-cron-threads").as_deref(), Some("0"));
        assert!(flag(slot, "workers").unwrap().parse::<u32>().unwrap() > 0);
        assert!(strings(key(slot, "command")).contains(&"--proxy-mode".to_owned()));
        assert_eq!(strings(key(slot, "volumes")), ["odoo-data:/var/lib/odoo"]);
    }
    let jobs = flag(&compose["services"]["odoo-cron"], "max-cron-threads");
    assert_ne!(
        jobs.as_deref(),
        Some("0"),
        "somebody must run the scheduled jobs"
    );
}

#[test]
fn compose_waits_longer_than_switchd_needs_to_stop() {
    let stop = mounted_config().stop;
    let patience = compose()["services"]["switchd"]["stop_grace_period"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(config::parse_duration(&patience).unwrap() > stop.grace + stop.timeout);
}

#[test]
fn the_image_is_built_from_what_is_there_and_does_not_run_as_root() {
    let dockerfile = text("Dockerfile");
    let ignored = text(".dockerignore");
    let mut copied = 0;
    for line in dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from="))
    {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "{line}: there is no {source}");
            let mut kept = ignored.lines().filter_map(|line| line.strip_prefix('!'));
            assert!(
                kept.any(|kept| Path::new(source).starts_with(kept)),
                ".dockerignore hides {source}"
            );
            copied += 1;
        }
    }
    assert!(
        copied > 3,
        "found {copied} sources: looking in the wrong place?"
    );
    let stages = dockerfile
        .lines()
        .filter(|line| line.starts_with("FROM "))
        .count();
    assert_eq!(stages, 2, "the compiler stays behind");
    let user = dockerfile
        .lines()
        .find_map(|line| line.strip_prefix("USER "))
        .unwrap();
    assert_ne!(user, "root");
}

#[test]
fn the_image_is_built_with_the_compiler_that_the_package_asks_for() {
    let manifest = text("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap()
        .trim_matches('"');
    let wanted = format!("FROM rust:{version}-");
    assert!(
        text("Dockerfile")
            .lines()
            .any(|line| line.starts_with(&wanted)),
        "{wanted}"
    );
}

#[test]
fn ci_runs_what_everybody_runs() {
    let script = text(".ci/run");
    let commands: Vec<&str> = script
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    assert_eq!(
        commands,
        ["set -eu", "cd \"$(dirname \"$0\")/..\"", "exec make test"]
    );
}

#[test]
fn scripts_are_well_formed_and_may_be_run() {
    use std::os::unix::fs::PermissionsExt;
    let mut scripts = vec![root().join("certs-dev/renew.sh")];
    scripts.extend(
        fs::read_dir(root().join(".ci"))
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    assert!(scripts.len() >= 4, "{scripts:?}");
    for script in scripts {
        let mode = fs::metadata(&script).unwrap().permissions().mode();
        assert!(mode & 0o111 != 0, "{} is not executable", script.display());
        let checked = Command::new("sh").arg("-n").arg(&script).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

/// All that is written for people, from the root on.
fn documents() -> Vec<String> {
    let mut documents: Vec<_> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "certs-dev/README.md",
    ]
    .map(str::to_owned)
    .into();
    for entry in root().join("docs").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "md") {
            let path = path.strip_prefix(root()).unwrap();
            documents.push(path.to_str().unwrap().to_owned());
        }
    }
    documents.sort();
    documents
}

#[test]
fn every_page_is_named_by_the_readme() {
    let readme = text("README.md");
    for document in documents().iter().filter(|it| it.starts_with("docs/")) {
        assert!(readme.contains(&format!("({document})")), "{document}");
    }
}

#[test]
fn the_links_of_the_documents_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let document = document.as_str();
        let folder = root().join(document).parent().unwrap().to_owned();
        for link in text(document).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(
                folder.join(target).exists(),
                "{document}: there is no {target}"
            );
            links += 1;
        }
    }
    assert!(
        links > 5,
        "found {links} links: looking in the wrong place?"
    );
}

#[test]
fn every_config_in_the_documents_is_valid() {
    let mut checked = 0;
    for document in documents() {
        let document = document.as_str();
        let text = text(document);
        let configs = text.split("```toml\n").skip(1);
        // A piece without slots shows a few keys only.
        let whole = configs
            .map(|rest| rest.split("```").next().unwrap())
            .filter(|config| config.contains(".slots."));
        for config in whole {
            let settings = config::parse(config, Path::new(document));
            assert!(
                settings.is_ok(),
                "{config}\n{}",
                config::summary(&settings.unwrap_err())
            );
            checked += 1;
        }
    }
    assert!(checked >= 3, "found only {checked}");
}

/// The rule of `make` itself: `make -n test` names the steps in order.
#[test]
fn make_test_runs_every_check_once() {
    let plan = Command::new("make")
        .args(["--dry-run", "test"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(plan.status.success(), "{plan:?}");
    let plan = String::from_utf8(plan.stdout).unwrap();
    let steps = [
        "cargo fmt",
        "cargo clippy",
        "cargo doc",
        "cargo deny",
        "cargo machete",
        "cargo test --locked --doc",
        "cargo nextest run",
    ];
    let places: Vec<usize> = steps
        .map(|step| plan.find(step).unwrap_or_else(|| panic!("{step}")))
        .to_vec();
    assert!(places.is_sorted(), "{plan}");
}

fn openssl(arguments: &[&str]) -> std::process::Output {
    let folder = root().join("certs-dev");
    Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn the_development_certificates_have_not_expired() {
    for file in ["ca.pem", "localhost.pem"] {
        let checked = openssl(&["x509", "-in", file, "-noout", "-checkend", "0"]);
        assert!(
            checked.status.success(),
            "{file} has expired: run certs-dev/renew.sh"
        );
    }
}

#[test]
fn the_development_certificates_belong_together() {
    let chain = openssl(&[
        "verify",
        "-no_check_time",
        "-x509_strict",
        "-CAfile",
        "ca.pem",
        "localhost.pem",
    ]);
    assert!(chain.status.success(), "{chain:?}");
    let certified = openssl(&["x509", "-in", "localhost.pem", "-noout", "-pubkey"]).stdout;
    let kept = openssl(&["pkey", "-in", "localhost.key", "-pubout"]).stdout;
    assert!(!kept.is_empty());
    assert_eq!(
        certified, kept,
        "localhost.key is not the key of localhost.pem"
    );
}

/// Whoever trusts the CA must not have to trust everyone who has read this folder.
#[test]
fn no_key_of_the_development_ca_is_kept() {
    let certified = openssl(&["x509", "-in", "ca.pem", "-noout", "-pubkey"]).stdout;
    let keys: BTreeSet<PathBuf> = fs::read_dir(root().join("certs-dev"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "key"))
        .collect();
    assert!(!keys.is_empty());
    for key in keys {
        let public = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]).stdout;
        assert_ne!(public, certified, "{}", key.display());
    }
}
