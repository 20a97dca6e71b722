//! The demo's temporary folder: config, admin socket, state and log, gone when the demo ends.

use super::Colour;
use super::upstreams::Ports;
use super::upstreams::Upstreams;
use anyhow::Context;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

/// A path to a unix socket has less than 108 bytes.
const LONGEST_SOCKET: usize = 107;

/// Removed with all it holds when dropped.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn create() -> anyhow::Result<Self> {
        let chosen = std::env::temp_dir();
        Self::create_in(&chosen)
            .with_context(|| format!("cannot make a folder in {}", chosen.display()))
    }

    fn create_in(chosen: &Path) -> io::Result<Self> {
        let name = format!("switchd-demo-{:08x}", fastrand::u32(..));
        let mut path = chosen.join(&name);
        if path.join("admin.sock").as_os_str().len() > LONGEST_SOCKET {
            path = Path::new("/tmp").join(&name);
        }
        // Only its owner may reach the admin socket. An existing folder is an error: it is not ours.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("switchd.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("switchd.log")
    }

    /// The config an operator would write for these upstreams.
    pub(super) fn write_config(&self, port: u16, upstreams: &Upstreams) -> anyhow::Result<()> {
        let text = config(&self.0, port, upstreams);
        let path = self.config();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The last lines of the proxy's log, for when it stopped by itself.
    pub(super) fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // What is left in a temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(home: &Path, port: u16, upstreams: &Upstreams) -> String {
    let home = home.display();
    let slots = Colour::BOTH.map(|colour| {
        let Ports { http, websocket } = upstreams.ports(colour);
        format!(
            "[service.demo.slots.{colour}]\nhttp = [\"{http}\"]\nwebsocket = [\"{websocket}\"]\n"
        )
    });
    let slots = slots.concat();
    format!(
        r#"# Two slots with two members each, probed often and drained quickly.
[admin]
socket = "{home}/admin.sock"
[state]
dir = "{home}/state"
[access_log]
target = "{home}/access.log"
[[listener]]
address = "127.0.0.1:{port}"

[service.demo]
initial = "blue"
{slots}
[[service.demo.route]]
prefix = "/websocket"
to = "websocket"
[service.demo.health]
path = "/health"
interval = "500ms"
fast_interval = "50ms"
timeout = "2s"
[service.demo.flip]
drain_requests = "20s"
drain_transfers = "20s"
drain_websockets = "10s"
[service.demo.websocket]
spread = "200ms"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_gone_in_the_end() {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::create().unwrap();
        let path = home.0.clone();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(home.log(), "one\ntwo\n").unwrap();
        assert_eq!(home.end_of_log(), "one\ntwo");
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn the_config_is_one_that_the_daemon_takes() {
        let upstreams = Upstreams::start().unwrap();
        let text = config(Path::new("/tmp/demo"), 0, &upstreams);
        let settings = crate::config::parse(&text, Path::new("demo.toml")).unwrap();
        let slots = &settings.services[0].slots;
        let names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        assert_eq!(names, ["blue", "green"]);
        assert_eq!(slots[0].members.len(), 2);
    }

    #[test]
    fn a_long_temporary_folder_does_not_make_the_socket_unreachable() {
        let long = Path::new("/tmp").join("x".repeat(100));
        let home = Home::create_in(&long).unwrap();
        assert!(home.socket().as_os_str().len() <= LONGEST_SOCKET);
    }
}
