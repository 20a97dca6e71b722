//! What one Odoo process is like: set before it starts, and never changed.

use super::database;
use std::path::PathBuf;
use std::time::Duration;

/// How an operator started it, and how fast its clocks run.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// `--workers`: HTTP worker processes. 0 is the threaded server of the docker image: websockets on the http
    /// port, no gevent process, connections that may idle for ever.
    pub(crate) workers: usize,
    /// All its times are divided by this, in proportion: 10 makes the 2 s of a worker's socket 200 ms.
    pub(crate) pace: u32,
    /// A request that takes longer is killed: no byte of an answer, and its SQL goes on.
    pub(crate) limit_time_real: Option<Duration>,
    /// Of the websocket worker: browsers with another one are told to go away for good.
    pub(crate) version: &'static str,
    /// Which frontend code is checked out: bundles of other code have another hash.
    pub(crate) assets: &'static str,
    /// `dbfilter = ^%d$`: only this Host (without port) leads to the database.
    pub(crate) database_host: Option<&'static str>,
    /// `--x-sendfile`: attachments and bundles are left to the proxy; the folder that stands for the data directory.
    pub(crate) filestore: Option<PathBuf>,
    /// The modules of its code, with their versions.
    pub(crate) modules: Vec<(&'static str, &'static str)>,
    /// What a worker takes longer for its first request: it loads its registry. Health needs none.
    pub(crate) cold: Duration,
    /// What every login page takes longer, on a warm worker too.
    pub(crate) slow_pages: Duration,
    /// The gevent process answers for its health, and opens no websocket.
    pub(crate) opens_no_websocket: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            workers: 2,
            pace: 1,
            limit_time_real: None,
            version: "18.0-5",
            assets: "5e7a1c0",
            database_host: None,
            filestore: None,
            modules: database::MODULES.to_vec(),
            cold: Duration::ZERO,
            slow_pages: Duration::ZERO,
            opens_no_websocket: false,
        }
    }
}

impl Behaviour {
    /// As it is measured, with clocks that run `pace` times faster.
    pub(crate) fn at_pace(pace: u32) -> Self {
        Self {
            pace,
            ..Self::default()
        }
    }

    /// The threaded server.
    pub(crate) fn threaded() -> Self {
        Self {
            workers: 0,
            ..Self::default()
        }
    }

    pub(super) fn is_threaded(&self) -> bool {
        self.workers == 0
    }

    fn paced(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds) / self.pace
    }

    /// The socket timeout of a prefork worker; the other servers have none.
    pub(crate) fn socket_timeout(&self) -> Duration {
        self.paced(2_000)
    }

    /// Between two pings of the server, and until the second of them counts as unanswered for good.
    pub(crate) fn ping_every(&self) -> Duration {
        self.paced(45_000)
    }

    /// [`super::websocket::MOST_FRAMES`] frames of a client in this time are fine, one more is not.
    pub(crate) fn frame_window(&self) -> Duration {
        self.paced(2_000)
    }

    /// How long a close frame may go unanswered.
    pub(super) fn close_patience(&self) -> Duration {
        self.paced(15_000)
    }

    /// How long after SIGTERM the kernel goes on taking connections that nobody will serve.
    pub(crate) fn deaf_time(&self) -> Duration {
        self.paced(3_300)
    }

    /// From the last request's end to the process's, after a SIGTERM.
    pub(crate) fn last_sleep(&self) -> Duration {
        self.paced(2_000)
    }

    /// How long a worker is busy with building a bundle that is not there.
    pub(crate) fn bundle_build(&self) -> Duration {
        self.paced(600)
    }
}
