//! WHAT THE OPERATOR WROTE, CHECKED.
//!
//! Called by the daemon at start and at each reload, and by `switchd check`.
//! Never opens a socket. Rules: a mistake is a [`Problem`] with file, line, column and remedy;
//! all of them are reported at once; [`Settings`] is complete, nothing in it "must be Some".

mod settings;

pub use settings::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, Flip, Health, HostPattern, Keepalive,
    Limits, Listener, Log, LogFormat, Member, Network, Queue, Route, Runtime, Secret, Service,
    Settings, Shared, Slot, State, Stop, Timeouts,
};
