//! The admin socket in the file system.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;

/// Owner and group may use it.
const MODE: u32 = 0o660;

/// Why the admin socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another switchd answers on {}; stop it first, or give this one another [admin] socket", .0.display())]
    InUse(PathBuf),
    #[error("{} is in the way: it is no socket; move it, or choose another [admin] socket", .0.display())]
    NoSocket(PathBuf),
    #[error("cannot make the admin socket {}; its folder must exist (or be creatable) and be writable", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The bound socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another daemon may have put its own socket there.
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode);
        if is_ours {
            // Where it cannot be removed, the next start finds that nobody answers on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Socket {
    /// Takes the place of a socket on which nobody answers any more.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if UnixStream::connect(path).is_ok() {
            return Err(SocketError::InUse(path.to_owned()));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            _ => {}
        }
        place(path).map_err(|cause| SocketError::Io {
            path: path.to_owned(),
            cause,
        })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Bound aside and moved into place once its mode is right: nobody else can connect in between.
fn place(path: &Path) -> io::Result<Socket> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let aside = folder.join(format!(".{}", std::process::id()));
    let _left_by_a_crash = fs::remove_file(&aside);
    let listener = UnixListener::bind(&aside)?;
    let moved = fs::set_permissions(&aside, fs::Permissions::from_mode(MODE))
        .and_then(|()| fs::symlink_metadata(&aside))
        .and_then(|it| fs::rename(&aside, path).map(|()| it.ino()));
    if moved.is_err() {
        let _ = fs::remove_file(&aside);
    }
    let file = SocketFile {
        path: path.to_owned(),
        inode: moved?,
    };
    listener.set_nonblocking(true)?;
    Ok(Socket { listener, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_daemon() {
        let folder = folder();
        let path = folder.path().join("run/admin.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_by_a_crash_is_replaced() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");
        let _socket = Socket::bind(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_socket_on_which_somebody_answers_is_left_alone() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        let first = Socket::bind(&path).unwrap();
        let second = Socket::bind(&path);
        assert!(matches!(second, Err(SocketError::InUse(_))), "{second:?}");
        assert!(UnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn a_file_in_the_way_is_never_removed() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        let refused = Socket::bind(&path);
        assert!(matches!(refused, Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        let first = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
