//! A disk of a few kilobytes, which only those see who enter it: a tmpfs in a mount namespace of its own.

use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;

/// It lasts until this is dropped, whoever enters and leaves it. Needs the rights to mount.
pub(crate) struct SmallDisk {
    holder: Child,
    at: PathBuf,
}

impl SmallDisk {
    /// `size` as mount takes it: `256k`.
    pub(crate) async fn at(folder: &Path, size: &str) -> Self {
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$0\" && echo mounted && exec sleep 600";
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(folder)
            .arg(size)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(super::DEADLINE, lines.next_line());
        let line = line.await.expect("it is mounted in time").unwrap();
        assert_eq!(line.as_deref(), Some("mounted"));
        Self {
            holder,
            at: folder.to_owned(),
        }
    }

    fn pid(&self) -> String {
        self.holder.id().expect("it is held").to_string()
    }

    /// What a command is run through to see it.
    pub(crate) fn wrapper(&self) -> [String; 4] {
        ["nsenter", "-m", "-t", &self.pid()].map(str::to_owned)
    }

    /// Where a file on it is found from here.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let inside = self.at.strip_prefix("/").unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(inside).join(name)
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.path("fill")).unwrap();
        let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    }

    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.path("fill")).unwrap();
    }
}
