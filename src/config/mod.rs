//! WHAT THE OPERATOR WROTE, CHECKED.
//!
//! Called by the daemon at start and at each reload, and by `switchd check`.
//! Never opens a socket. Rules: a mistake is a [`Problem`] with file, line, column and remedy;
//! all of them are reported at once; [`Settings`] is complete, nothing in it "must be Some".
//!
//! A text becomes settings in [`parse`]: `table` and `value` read the tree, `sections`, `service`
//! and what it calls know the keys, `check` looks at everything together. A new key stands in
//! `keys`, in `defaults`, in `change` and in `config/switchd.toml`; tests compare the four.

mod access;
mod acme;
mod admin_api;
mod advice;
mod buffering;
mod cache;
mod canary;
mod change;
mod check;
mod compression;
mod cookies;
mod cors;
mod defaults;
mod deploy;
mod deploy_steps;
mod derived;
mod descriptors;
mod documented;
mod errors;
mod explain;
mod file;
mod gates;
mod headers;
mod health;
mod hold;
mod hook_events;
mod hooks;
mod keepalive;
mod keys;
mod listeners;
mod maintenance;
mod page;
mod path_pattern;
mod prefixes;
mod presets;
mod preview;
mod problem;
mod queue;
mod rate_limit;
mod read_only;
mod resolver;
mod routes;
mod rules;
mod secret;
mod sections;
mod sendfile;
mod service;
mod service_limits;
mod settings;
mod shadow;
mod slot_changes;
mod slots;
mod table;
mod toml_text;
mod units;
mod upstream_tls;
mod users;
mod value;
mod watch;
mod watcher;
mod websocket;
mod welcome;
mod words;

pub use access::{Access, BasicAuth, User};
pub use acme::{Acme, AcmeChallenge};
pub use admin_api::{AdminApi, AdminTcp, AdminToken, Role, TokenHash, fresh_token, token_lines};
pub use advice::advice;
pub use buffering::{Buffering, Spooling};
pub use cache::{Cache, CacheRoom, KeepOnFlip};
pub use canary::Canary;
pub use change::Change;
pub use compression::{Coding, Compression};
pub use cookies::{Cookies, SameSite};
pub use cors::{Cors, Origins};
pub use defaults::default_failback;
pub use deploy::Deploy;
pub use deploy_steps::{DeployStep, Program, StepKind};
pub use descriptors::Descriptors;
pub use errors::{ErrorFormat, Errors};
pub use explain::explain;
pub use file::{load, parse};
pub use gates::{
    Captured, Gate, GateKind, LatencyGate, OdooGate, Origin, Severity, SmokeTest, Step, WarmUp,
};
pub use headers::{HeaderRules, Headers};
pub use hold::Hold;
pub use hook_events::HookEvent;
pub use hooks::{Hook, HookKind, HookUrl};
pub use keepalive::{Keepalive, Keepalives};
pub use listeners::{CertificateFiles, ClientAuth, Listener, TlsRules, TlsVersion};
pub use maintenance::{Maintenance, check_message, parse_network};
pub use page::{Blank, Page};
pub use path_pattern::PathPattern;
pub use preview::Preview;
pub use problem::{Place, Problem, summary};
pub use queue::Queue;
pub use rate_limit::{Rate, RateKey, RateLimit};
pub use read_only::{ReadOnly, Writes};
pub use sendfile::Sendfile;
pub use service_limits::ServiceLimits;
pub use settings::{
    AccessLog, AccessLogFormat, AccessLogTarget, Admin, Flip, Health, HostPattern, Limits, Log,
    LogFormat, Member, Network, Route, Runtime, Secret, Service, Settings, Shared, Slot, State,
    Stop, Timeouts,
};
pub use shadow::{Shadow, Share};
pub use units::{UnitError, format_duration, format_size, parse_duration, parse_size};
pub use upstream_tls::UpstreamTls;
pub use watch::Watch;
pub use watcher::Watcher;
pub use websocket::{OnFlip, Websocket};
pub use welcome::{ListenerKind, Welcome};
