//! switchd: a blue-green traffic switcher and reverse proxy.
//!
//! # The picture
//!
//! Two planes that never import each other, meeting in one folder. **Control publishes into `live/`;
//! the data plane reads it and counts in it.** Arrows are imports and only point down.
//!
//! ```text
//!  programs        demo ─▶ daemon                           cli
//!                  │    └──────────────┐                     │
//!                  │                 admin                   │
//!  planes         edge              control                  │
//!                  │                   │                     │
//!                proxy                 │                     │
//!                  │                   │                     │
//!                upstream ◀────────────┤ (probes, gates)     │
//!                  └──────▶  live  ◀───┘                     │
//!                             │                              │
//!  tools   filter content spool tls journal                  │
//!                             │                              │
//!  words         config    telemetry    api  ◀───────────────┘
//!                             │
//!  ground              switch     net
//!                   (pure rules) (sockets)
//! ```
//!
//! Beside `live` stand `acme` (certificates that get themselves) and `cache` (answers for the next client).
//!
//! A folder imports only folders on lower lines; folders on one line are strangers
//! (`tests/architecture.rs` fails otherwise). `switch` knows nothing at all: no runtime, no clock, no
//! IO; time is an argument. **The daemon never executes a program.**
//!
//! # Five rules
//!
//! 1. **Counted before sent.** [`live::LiveReader::admit`] picks the slot and counts the request in one
//!    step without waiting, so when a flip has returned no new request can reach the old slot.
//!    `tests/loom.rs` runs the very code in every interleaving.
//! 2. **Written before published.** The journal first, then [`live::Live::publish`]. It needs no free disk: room for
//!    the state is reserved. One exception: when the disk takes nothing at all, traffic still leaves a bad slot by
//!    itself or by `--force`; that is written as soon as it can be, and until then a crash comes back on the slot
//!    that was left, which is asked afresh.
//! 3. **One writer.** Only the conductor publishes. Admin, probes, reload and failback send it messages.
//! 4. **The Ticket outlives the bytes.** It is held until the last byte of an answer or a tunnel has
//!    passed; a client that leaves does not uncount a request that its upstream still works on. Of an
//!    answer that is kept for a slow client the last byte is the one that the upstream sends: what the
//!    client has yet to take is ours ([`live::Ticket::is_done`]), and the slot may be stopped.
//! 5. **The request path takes no process-wide lock and never waits for control.**
//!
//! # Words
//!
//! | word | folder | one sentence |
//! |---|---|---|
//! | [`SlotName`](switch::SlotName), [`Generation`](switch::Generation), [`Epoch`](switch::Epoch) | switch | which colour; which occupant of the active place; which published View |
//! | `Switch`, [`Event`](switch::Event), [`Effect`](switch::Effect), [`Refusal`](switch::Refusal) | switch | the machine, its inputs, its outputs, its "no" |
//! | [`Settings`](config::Settings), `Problem`, `Change` | config | as checked; what is wrong; what a reload means |
//! | [`Live`](live::Live), [`LiveReader`](live::LiveReader), [`View`](live::View), [`Slot`](live::Slot), [`Endpoint`](live::Endpoint) | live | the shared present; one worker's eye on it; its immutable picture |
//! | [`InFlight`](live::InFlight), [`Ticket`](live::Ticket), [`EndpointHealth`](live::EndpointHealth) | live | counts, one count, who is well |
//! | [`Places`](live::Places), [`Place`](live::Place), [`Line`](live::Line), [`Origin`](live::Origin) | live | a slot's bounded number of places, one of them, who waits for one, whose turn it is |
//! | [`Hold`](live::Hold), `Lease` | live, control | new requests of a service wait here; whose connection keeps it |
//! | `Gate`, [`Passed`](switch::Passed) | control, switch | what a slot has to show before traffic moves to it; what was seen of it then |
//! | `Watch`, [`Tally`](switch::Tally), [`Judge`](switch::Judge) | control, switch | looks at a slot after a flip; what was counted; what follows from that |
//! | Canary, Preview, [`Choices`](live::Choices) | switch, live | some new visitors elsewhere; one visitor elsewhere; who goes where |
//! | [`Shadow`](live::Shadow) | live | copies of requests for an idle slot |
//! | [`Spool`](spool::Spool), [`Account`](spool::Account), [`Shelf`](spool::Shelf) | spool | one body at rest; what all of them take; one worker's way to the disk |
//! | [`Material`](tls::Material), [`Server`](tls::Server), [`Upstream`](tls::Upstream) | tls | every certificate of one config; TLS as one listener speaks it; TLS to one service's upstreams |
//! | [`Pools`](upstream::Pools) | upstream | this worker's idle connections |
//! | [`Proxy`](proxy::Proxy), [`Flight`](proxy::Flight), [`Seat`](proxy::Seat), [`Fault`](proxy::Fault) | proxy | one worker's belongings; what one connection does now; what a request occupies; whose fault |
//! | [`Edge`](edge::Edge) | edge | all workers and their listeners |
//! | `Conductor`, `Journal` | control, journal | the one writer; the door to disk |
//!
//! # Journey of one request
//!
//! `edge/worker` accepts → `edge/handshake` (where TLS is spoken) → `edge/connection` waits for bytes → **`proxy/exchange`** → `prepare` (read the
//! head, find the service, write the upstream's head) → `admit` (a place, then the count) → **`forward`** →
//! `upstream/balance` → `upstream/pool` or a dial → `body` up, `answer` down → `record` (metrics, access log).
//! Returned to: only `exchange` and its loop `forward`. Where a service buffers, `receive` takes a body whole
//! before `admit`, and a `backlog` takes an answer as fast as it comes; both put into `spool/` what the other
//! side is too slow for. Over HTTP/2 each stream takes this way for itself, from `exchange` on, with a
//! connection in memory (`edge/http2`).
//!
//! # Journey of `switchctl flip green`
//!
//! `bin/switchctl` → `cli/flip` → `cli/client` ⇒ `admin/routes` → **`control/conductor`** → `switch/machine`
//! → `control/gate` → `journal` → `live` → `control/drain` → the answer's event stream. One POST answers with
//! the flip's own events, so the command line misses nothing, and Ctrl-C only detaches: the daemon owns
//! the operation.
//!
//! # Decisions
//!
//! 1. **Thread per core, nothing shared on the request path.** Each worker is one thread with one local
//!    runtime, its own listeners (`SO_REUSEPORT`), pools, buffers and access-log batch. It costs an
//!    uneven spread of few busy connections; only `edge/worker.rs` knows how sockets arrive.
//! 2. **HTTP/1 towards clients is read by httparse and framed here, not served by hyper.** hyper (1.12)
//!    drops the Content-Length of a message that has a Transfer-Encoding too before a service can see it,
//!    so `400 and close` could not be answered; it cannot send 1xx answers of an upstream; it refuses
//!    targets that upstreams accept and rewrites the case of header names. `tests/differential.rs` holds
//!    our reading against hyper's: whatever we accept, hyper accepts, and sees as the same request.
//!    The framing code is `proxy/{request,response,framing,chunked}.rs`. hyper serves the admin API.
//! 3. **No timer per request.** A wait is two stores into its [`Flight`](proxy::Flight); the worker looks at
//!    all flights ten times a second. Timeouts are late by up to 200 ms, never early.
//! 4. **Journal before publish**, so a crash at any instant comes back on the slot that the journal names.
//! 5. **No traits of our own.** Closed sets are enums; tests use real sockets.
//! 6. **A client that closes its sending side counts as gone**, as with nginx.
//! 7. **HTTP/2 is carried, not served.** The `h2` crate speaks it; a stream becomes a client of HTTP/1.1 in
//!    memory, and its answer becomes frames. It costs one more head to write and to read per request; nothing
//!    that decides about requests exists twice.
//! 8. **A lease is a connection.** A hold ends when the connection that asked for it does: whoever took it and
//!    died cannot leave a site that waits for ever.
//! 9. **A deploy runs beside the daemon.** `switchctl deploy` is a process of its own with the operator's rights;
//!    after a crash of either it asks the daemon where traffic is, and does not trust its own journal alone.

pub mod net;
pub mod switch;

pub mod api;
pub mod config;
pub mod telemetry;

pub mod content;
pub mod filter;
pub mod journal;
pub mod spool;
pub mod tls;

pub mod acme;
pub mod cache;
pub mod live;
pub mod upstream;

pub mod proxy;

pub mod control;
pub mod edge;

pub mod admin;

pub mod cli;
pub mod daemon;
pub mod demo;
