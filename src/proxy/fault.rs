//! Everything that can go wrong with one request, in one type: whose fault, which status, what next.

use super::file::FileFault;
use crate::net::Lack;
use crate::spool::SpoolError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
    /// Limits, stops and operators.
    Ours,
}

/// Which wait was over. Each is a setting of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// An idle keep-alive connection: nobody's fault.
    KeepAlive,
    /// TLS with the client.
    Handshake,
    Head,
    Queue,
    /// Its service is held.
    Hold,
    /// No slot could be connected.
    Outage,
    /// A password waited too long to be compared.
    Password,
    Connect,
    FirstByte,
    /// The upstream neither sent nor took a byte.
    UpstreamIdle,
    /// The client neither sent nor took a byte.
    ClientIdle,
    /// It did both too slowly.
    ClientRate,
    /// The disk that bodies are kept on.
    Spool,
    Total,
    Tunnel,
    /// A websocket's ends were told that it ends.
    Close,
}

/// Why a request did not get its answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    #[error("this port speaks TLS: ask again with https://")]
    PlainHttp,
    #[error("method not allowed: {0} is not forwarded")]
    Method(&'static str),
    #[error("expectation failed: only 100-continue is understood")]
    Expectation,
    #[error("request head too large: {0}")]
    HeadTooLarge(&'static str),
    #[error("request body larger than the limit of {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("no service answers this host")]
    UnknownHost,
    #[error("forbidden: this client may not come in here")]
    Denied,
    #[error("forbidden: this path is not open to this client")]
    BlockedPath,
    /// Says when there will be room again.
    #[error("too many requests: the limit \"{limit}\" is reached; come again in {}s", whole_seconds(*.wait))]
    RateLimited { limit: Box<str>, wait: Duration },
    #[error("unauthorized: a name and a password are needed")]
    Unauthorized { realm: Arc<str> },
    #[error("the client closed the connection")]
    ClientGone,
    #[error("{}", .0.in_words())]
    Timeout(Timer),
    #[error("the queue is full")]
    QueueFull,
    #[error("the service is held, and no more may wait")]
    HoldFull,
    #[error("cannot connect to the upstream")]
    Connect(#[source] io::Error),
    /// Before a byte of the answer arrived.
    #[error("the upstream closed the connection before it answered")]
    NoAnswer(#[source] Option<io::Error>),
    #[error("the upstream's answer is not HTTP: {0}")]
    BadAnswer(&'static str),
    /// Whatever went wrong with the upstream, it is we who lack what it takes. Of a body that is sent from a file
    /// as well. What exactly is for the log.
    #[error("the proxy lacks resources to answer this now")]
    OutOfResources(#[source] io::Error),
    #[error("the upstream cut its answer short")]
    CutShort(#[source] Option<io::Error>),
    /// A redirect to itself with a new session, which is what Odoo answers while its database is down.
    #[error("the upstream's answer would end the session: its database does not answer")]
    LoggedOut,
    /// Of a request, before anything was asked upstream; of an answer, when what was kept cannot be read.
    /// Where and why is for the log: strangers learn nothing of our disk.
    #[error("there is no room to keep this body now")]
    Spool(#[source] SpoolError),
    /// Of what an upstream named in place of a body.
    #[error("the file that the upstream named cannot be sent: {0}")]
    File(FileFault),
    #[error("{}", .0.in_words())]
    Maintenance(Box<Closed>),
    #[error("the service can be read and not changed for now")]
    ReadOnly,
    #[error("ended by an operator")]
    Killed,
    #[error("the slot was drained and its time is over")]
    CutOff,
    #[error("the connection asked for nothing while others waited to come in")]
    Dismissed,
    #[error("the proxy is stopping")]
    Stopping,
}

/// What is told of a maintenance.
#[derive(Debug)]
pub struct Closed {
    pub message: Option<Arc<str>>,
    /// Until it is expected to be over.
    pub wait: Option<Duration>,
}

impl Closed {
    fn in_words(&self) -> String {
        let message = self.message.as_deref();
        let told = message.map(|message| format!(": {message}"));
        format!("the service is in maintenance{}", told.unwrap_or_default())
    }
}

/// As Retry-After tells it: never too early, and never at once.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + begun).max(1)
}

impl Timer {
    /// As the log, the metrics and the fault header name it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::KeepAlive => "timeout-keep-alive",
            Self::Handshake => "timeout-handshake",
            Self::Head => "timeout-head",
            Self::Queue => "timeout-queue",
            Self::Hold => "timeout-hold",
            Self::Outage => "timeout-outage",
            Self::Password => "timeout-password",
            Self::Connect => "timeout-connect",
            Self::FirstByte => "timeout-first-byte",
            Self::UpstreamIdle => "timeout-idle",
            Self::ClientIdle => "timeout-client-idle",
            Self::ClientRate => "timeout-client-rate",
            Self::Spool => "timeout-spool",
            Self::Total => "timeout-total",
            Self::Tunnel => "timeout-tunnel-idle",
            Self::Close => "timeout-websocket-close",
        }
    }

    /// What did not happen in time.
    fn in_words(self) -> &'static str {
        match self {
            Self::KeepAlive => "the connection was idle for too long",
            Self::Handshake => "the TLS handshake was not over in time",
            Self::Head => "the headers of the request did not arrive in time",
            Self::Queue => "no place became free in time",
            Self::Hold => "the service was held for too long",
            Self::Outage => "the upstream could not be connected for too long",
            Self::Password => "the password was not compared in time",
            Self::Connect => "connecting to the upstream took too long",
            Self::FirstByte => "the upstream did not begin its answer in time",
            Self::UpstreamIdle => "the upstream stood still for too long",
            Self::ClientIdle => "the client stood still for too long",
            Self::ClientRate => "the client was slower than limits.min_rate",
            Self::Spool => "the disk that bodies are kept on stood still for too long",
            Self::Total => "the request took too long as a whole",
            Self::Tunnel => "the upgraded connection was silent for too long",
            Self::Close => "an end of the websocket did not answer a close in time",
        }
    }
}

impl From<SpoolError> for Fault {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::TooLong { limit } => Self::BodyTooLarge { limit },
            error => Self::Spool(error),
        }
    }
}

impl Fault {
    /// The answer's status; 499 (never sent) when the client is gone.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) | Self::PlainHttp => 400,
            Self::Method(_) => 405,
            Self::Expectation => 417,
            Self::HeadTooLarge(_) => 431,
            Self::BodyTooLarge { .. } => 413,
            Self::UnknownHost => 421,
            Self::Denied | Self::BlockedPath => 403,
            Self::RateLimited { .. } => 429,
            Self::Unauthorized { .. } => 401,
            Self::ClientGone => 499,
            Self::Timeout(
                Timer::Handshake
                | Timer::Head
                | Timer::ClientIdle
                | Timer::ClientRate
                | Timer::KeepAlive,
            ) => 408,
            Self::Timeout(Timer::Queue | Timer::Hold | Timer::Outage | Timer::Password)
            | Self::QueueFull
            | Self::HoldFull
            | Self::LoggedOut
            | Self::Maintenance(_)
            | Self::ReadOnly
            | Self::Killed
            | Self::CutOff
            | Self::Dismissed
            | Self::OutOfResources(_)
            | Self::Stopping => 503,
            Self::File(FileFault::Missing) => 404,
            Self::Spool(_) | Self::Timeout(Timer::Spool) => 507,
            Self::Timeout(_) => 504,
            Self::File(_)
            | Self::Connect(_)
            | Self::NoAnswer(_)
            | Self::BadAnswer(_)
            | Self::CutShort(_) => 502,
        }
    }

    #[must_use]
    pub fn side(&self) -> Side {
        match self {
            Self::BadRequest(_)
            | Self::PlainHttp
            | Self::Method(_)
            | Self::Expectation
            | Self::HeadTooLarge(_)
            | Self::BodyTooLarge { .. }
            | Self::UnknownHost
            | Self::ClientGone
            | Self::Timeout(
                Timer::Handshake
                | Timer::Head
                | Timer::ClientIdle
                | Timer::ClientRate
                | Timer::KeepAlive,
            ) => Side::Client,
            Self::Connect(_)
            | Self::NoAnswer(_)
            | Self::BadAnswer(_)
            | Self::CutShort(_)
            | Self::LoggedOut
            | Self::Timeout(
                Timer::Connect | Timer::Outage | Timer::FirstByte | Timer::UpstreamIdle,
            ) => Side::Upstream,
            Self::Timeout(_)
            | Self::QueueFull
            | Self::HoldFull
            | Self::Denied
            | Self::BlockedPath
            | Self::RateLimited { .. }
            | Self::Unauthorized { .. }
            | Self::Spool(_)
            | Self::File(_)
            | Self::Maintenance(_)
            | Self::ReadOnly
            | Self::Killed
            | Self::CutOff
            | Self::Dismissed
            | Self::OutOfResources(_)
            | Self::Stopping => Side::Ours,
        }
    }

    /// A short stable name: in the access log, and in the answer's `X-Switchd-Fault`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad-request",
            Self::PlainHttp => "plain-http",
            Self::Method(_) => "method",
            Self::Expectation => "expectation",
            Self::HeadTooLarge(_) => "head-too-large",
            Self::BodyTooLarge { .. } => "body-too-large",
            Self::UnknownHost => "unknown-host",
            Self::Denied => "denied",
            Self::BlockedPath => "blocked-path",
            Self::RateLimited { .. } => "rate-limited",
            Self::Unauthorized { .. } => "unauthorized",
            Self::ClientGone => "client-gone",
            Self::Timeout(timer) => timer.code(),
            Self::QueueFull => "queue-full",
            Self::HoldFull => "hold-full",
            Self::Connect(_) => "connect",
            Self::NoAnswer(_) => "no-answer",
            Self::BadAnswer(_) => "bad-answer",
            Self::CutShort(_) => "cut-short",
            Self::LoggedOut => "logged-out",
            Self::Spool(SpoolError::Full { .. }) => "spool-full",
            Self::Spool(_) => "spool-failed",
            Self::File(_) => "file",
            Self::Maintenance(_) => "maintenance",
            Self::ReadOnly => "read-only",
            Self::Killed => "killed",
            Self::CutOff => "cut-off",
            Self::Dismissed => "dismissed",
            Self::OutOfResources(_) => "out-of-resources",
            Self::Stopping => "stopping",
        }
    }

    /// When the same request may do better, and does no harm: after `usual`, where nothing tells it better.
    /// For one that no upstream has seen.
    #[must_use]
    pub fn retry_after(&self, usual: Duration) -> Option<Duration> {
        match self {
            Self::RateLimited { wait, .. } => Some(*wait),
            Self::Maintenance(closed) => Some(closed.wait.unwrap_or(usual)),
            Self::Connect(_)
            | Self::QueueFull
            | Self::HoldFull
            | Self::ReadOnly
            | Self::LoggedOut
            | Self::Spool(_)
            | Self::OutOfResources(_)
            | Self::Stopping => Some(usual),
            Self::Timeout(_) if self.status() >= 500 => Some(usual),
            _ => None,
        }
    }

    /// Whether a request that an upstream has seen may be done, although it ends like this. Not when the upstream
    /// has said that it did nothing, and not when the client has not sent all of it.
    #[must_use]
    pub(super) fn may_be_done(&self) -> bool {
        self.status() >= 500 && !matches!(self, Self::LoggedOut)
    }

    /// The same fault, told as ours where its cause is what this machine lacks: no upstream has to answer for that.
    #[must_use]
    pub(super) fn owned(self) -> Self {
        let is_lack = |cause: &io::Error| Lack::of(cause).is_some();
        match self {
            Self::Connect(cause)
            | Self::NoAnswer(Some(cause))
            | Self::CutShort(Some(cause))
            | Self::File(FileFault::Unreadable(cause))
                if is_lack(&cause) =>
            {
                Self::OutOfResources(cause)
            }
            other => other,
        }
    }

    /// Whether it speaks against the endpoint: then it is probed soon.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        self.side() == Side::Upstream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn what_this_machine_lacks_is_never_the_upstreams_fault() {
        let lack = || io::Error::from(Errno::MFILE);
        for fault in [
            Fault::Connect(lack()),
            Fault::NoAnswer(Some(lack())),
            Fault::CutShort(Some(lack())),
            Fault::File(FileFault::Unreadable(lack())),
        ] {
            let told = fault.owned();
            assert_eq!((told.status(), told.side()), (503, Side::Ours), "{told:?}");
            assert!(!told.is_suspicious(), "{told:?}");
            assert_eq!(told.code(), "out-of-resources");
            let usual = Duration::from_secs(5);
            assert_eq!(told.retry_after(usual), Some(usual));
            assert!(!told.to_string().contains("descriptor"), "{told}");
        }
    }

    #[test]
    fn what_the_upstream_did_stays_its_fault() {
        let refused = Fault::Connect(io::Error::from(Errno::CONNREFUSED)).owned();
        assert_eq!((refused.status(), refused.side()), (502, Side::Upstream));
        let reset = Fault::NoAnswer(Some(io::Error::from(Errno::CONNRESET))).owned();
        assert!(reset.is_suspicious());
    }
}
