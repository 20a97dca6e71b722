//! ONE REQUEST: from its head to the last byte of its answer.
//!
//! Called by `edge/` once the first bytes of a request are there. Never decides where traffic goes, and
//! never waits for control. Rules: counted before sent, and counted until the last byte (`Seat`);
//! nothing that could be read in two ways is forwarded; every wait is armed on the `Flight`;
//! one type says what went wrong (`Fault`).
//!
//! The story is [`exchange`]; its only loop is `forward`.

mod admit;
mod answer;
mod answer_head;
mod asker;
mod backlog;
mod belongings;
mod body;
mod cached;
mod caller;
mod calls;
mod capture;
mod choose;
mod chunked;
mod client;
mod coder;
mod compress;
mod deed;
mod dress;
mod edits;
mod exchange;
mod fault;
mod fields;
mod file;
mod flight;
mod floor;
mod forward;
mod frames;
mod framing;
mod guard;
mod heads;
mod hold;
mod idlers;
mod lane;
mod lending;
mod lines;
mod local;
mod mark;
mod modes;
mod orphan;
mod outgoing;
mod outlet;
mod peek;
mod pieces;
mod prepare;
mod preview;
mod queue;
mod receive;
mod record;
mod redirect;
mod refusal;
mod reply;
mod request;
mod response;
mod said;
mod screen;
mod seat;
mod sendfile;
mod sessions;
mod shadow;
mod shadow_trip;
mod threads;
mod tunnel;
mod websocket;
mod wishes;

// What reads untrusted bytes is open to the fuzz targets and to the differential tests.
pub use chunked::{BadChunk, Decoder, Piece};
pub use frames::{Frames, close_frame};
pub use framing::Framing;
pub use request::{FieldRoom, HeadLimits, MOST_FIELDS, RequestHead};
pub use response::{Asked, ResponseHead};

pub use belongings::{Enlisted, Proxy};
pub use client::{Client, Peer};
pub use exchange::{Ending, exchange, refuse};
pub use fault::{Fault, Side, Timer};
pub use file::FileFault;
pub use flight::{Clock, Flight, State, TICK};
pub use hold::Held;
pub use queue::Queued;
pub use seat::Seat;
pub use threads::{ENCODERS, FILES};
pub use websocket::Websocket;
