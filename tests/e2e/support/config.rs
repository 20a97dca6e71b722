//! A daemon's config, with quick health checks and every key open to change.

use super::backend::{Backend, HEALTH_PATH};
use super::odoo::Odoo;
use super::tls::Leaf;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

#[derive(Clone)]
pub(crate) struct Config {
    /// By table, then by key; values are TOML.
    tables: BTreeMap<String, BTreeMap<String, String>>,
    /// Arrays of tables, as text.
    blocks: String,
    listeners: usize,
    /// Further keys of each listener.
    listener_keys: String,
    /// Further ones, as text.
    more_listeners: String,
    /// Written beside the config before the daemon starts.
    files: BTreeMap<String, String>,
}

impl Config {
    /// No service yet.
    pub(crate) fn empty() -> Self {
        let config = Self {
            tables: BTreeMap::new(),
            blocks: String::new(),
            listeners: 1,
            listener_keys: String::new(),
            more_listeners: String::new(),
            files: BTreeMap::new(),
        };
        config.set("runtime.workers = 2")
    }

    /// One service `app` with the slots blue (initial) and green, one http member each.
    pub(crate) fn pair(blue: &Backend, green: &Backend) -> Self {
        Self::empty().service("app", blue, green)
    }

    /// One service `app` with the preset and two Odoos behind it, blue being the initial one. Without the warm-up
    /// before each flip, which takes as long as a bundle takes to be built.
    pub(crate) fn odoo(blue: &Odoo, green: &Odoo) -> Self {
        let off = "[[service.app.gate]]\nkind = \"warm_up\"\nseverity = \"off\"\n";
        Self::odoo_that_warms(blue, green).block(off)
    }

    /// The same with all that the preset has.
    pub(crate) fn odoo_that_warms(blue: &Odoo, green: &Odoo) -> Self {
        let mut config = Self::empty()
            .set("service.app.preset = \"odoo\"")
            .set("service.app.initial = \"blue\"");
        for (slot, odoo) in [("blue", blue), ("green", green)] {
            let slot = format!("service.app.slots.{slot}");
            let http = odoo.http_address().to_string();
            config = config.set(&format!("{slot}.http = [{http:?}]"));
            if odoo.behaviour().workers > 0 {
                let websocket = odoo.websocket_address().to_string();
                config = config.set(&format!("{slot}.websocket = [{websocket:?}]"));
            }
        }
        config
            .set(&format!(
                "service.app.odoo.workers = {}",
                blue.behaviour().workers
            ))
            .set("service.app.health.interval = \"100ms\"")
            .set("service.app.health.fast_interval = \"20ms\"")
    }

    /// One more service of that shape.
    pub(crate) fn service(self, name: &str, blue: &Backend, green: &Backend) -> Self {
        self.set(&format!("service.{name}.initial = \"blue\""))
            .slot(name, "blue", &[blue])
            .slot(name, "green", &[green])
            .quick_health(name)
    }

    pub(crate) fn slot(self, service: &str, slot: &str, http: &[&Backend]) -> Self {
        let addresses: Vec<String> = http.iter().map(|b| b.address().to_string()).collect();
        self.set(&format!(
            "service.{service}.slots.{slot}.http = {addresses:?}"
        ))
    }

    pub(crate) fn websocket_member(self, slot: &str, backend: &Backend) -> Self {
        let address = backend.address().to_string();
        self.set(&format!(
            "service.app.slots.{slot}.websocket = [{address:?}]"
        ))
    }

    fn quick_health(self, service: &str) -> Self {
        let health = format!("service.{service}.health");
        self.set(&format!("{health}.path = {HEALTH_PATH:?}"))
            .set(&format!("{health}.interval = \"50ms\""))
            .set(&format!("{health}.fast_interval = \"10ms\""))
            .set(&format!("{health}.timeout = \"2s\""))
            .set(&format!("{health}.rise = 2"))
            .set(&format!("{health}.fall = 2"))
    }

    /// `table.key = value`, the value as TOML; replaces an earlier one.
    pub(crate) fn set(mut self, line: &str) -> Self {
        let (path, value) = line.split_once(" = ").expect("KEY = VALUE");
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        let table = self.tables.entry(table.to_owned()).or_default();
        table.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn unset(mut self, path: &str) -> Self {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        let removed = self.tables.get_mut(table).and_then(|t| t.remove(key));
        assert!(removed.is_some(), "{path} was not set");
        self.tables.retain(|_, keys| !keys.is_empty());
        self
    }

    pub(crate) fn listeners(mut self, count: usize) -> Self {
        self.listeners = count;
        self
    }

    /// One more key of each listener.
    pub(crate) fn listener_key(mut self, line: &str) -> Self {
        self.listener_keys += &format!("{line}\n");
        self
    }

    /// One more listener, with these keys and the certificates of these names (see [`Config::leaf`]).
    pub(crate) fn tls_listener(mut self, keys: &str, leaves: &[&str]) -> Self {
        let text = &mut self.more_listeners;
        writeln!(text, "[[listener]]\naddress = \"127.0.0.1:0\"\n{keys}").unwrap();
        for name in leaves {
            writeln!(
                text,
                "[[listener.certificate]]\nchain = \"DIR/{name}.pem\"\nkey = \"DIR/{name}.key\""
            )
            .unwrap();
        }
        self
    }

    /// A certificate and its key in the daemon's folder: `NAME.pem`, `NAME.key`.
    pub(crate) fn leaf(self, name: &str, leaf: &Leaf) -> Self {
        self.file(&format!("{name}.pem"), &leaf.chain)
            .file(&format!("{name}.key"), &leaf.key)
    }

    /// A file in the daemon's folder, there before it starts.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    pub(crate) fn write_files(&self, dir: &Path) {
        for (name, text) in &self.files {
            std::fs::write(dir.join(name), text).unwrap();
        }
    }

    /// Requests below `prefix` go to `member`.
    pub(crate) fn route(mut self, prefix: &str, member: &str) -> Self {
        write!(
            self.blocks,
            "[[service.app.route]]\nprefix = {prefix:?}\nto = {member:?}\n"
        )
        .unwrap();
        self
    }

    /// One more key of the route that was added last.
    pub(crate) fn with_in_route(mut self, line: &str) -> Self {
        assert!(!self.blocks.is_empty(), "there is a route");
        self.blocks.push_str(line);
        self.blocks.push('\n');
        self
    }

    /// As [`Config::route`], for requests that ask for an upgrade.
    pub(crate) fn upgrades_route(self, prefix: &str, member: &str) -> Self {
        let mut config = self.route(prefix, member);
        config.blocks.push_str("upgrades_only = true\n");
        config
    }

    /// More of the file, as it is written.
    pub(crate) fn block(mut self, text: &str) -> Self {
        self.blocks.push_str(text.trim_start());
        self.blocks.push('\n');
        self
    }

    /// The file's text, with all paths below `dir`.
    pub(crate) fn text(&self, dir: &Path) -> String {
        let here = |name: &str| format!("{:?}", dir.join(name).display().to_string());
        let mut text = String::new();
        let with_paths = self
            .clone()
            .set(&format!("admin.socket = {}", here("admin.sock")))
            .set(&format!("state.dir = {}", here("state")));
        for (table, keys) in &with_paths.tables {
            if !table.is_empty() {
                writeln!(text, "[{table}]").unwrap();
            }
            for (key, value) in keys {
                writeln!(
                    text,
                    "{key} = {}",
                    value.replace("DIR", &dir.display().to_string())
                )
                .unwrap();
            }
        }
        for _ in 0..self.listeners {
            text.push_str("[[listener]]\naddress = \"127.0.0.1:0\"\n");
            text.push_str(&self.listener_keys);
        }
        let dir = dir.display().to_string();
        text.push_str(&self.more_listeners.replace("DIR", &dir));
        text.push_str(&self.blocks);
        text
    }
}
