//! Frames as they come, weighed: those that only keep us busy are bounded.
//!
//! The `h2` crate bounds what it stores. It does not bound how often it is asked to do something: a PING is
//! answered, SETTINGS are applied to every stream, a stream that is reset frees its place for the next one.

/// Bytes of a frame's head.
const HEAD: usize = 9;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Frames that ask for no answer: so many at once, and so many per second on and on. Those that go along with
/// answers (a `WINDOW_UPDATE` per some bytes, a PRIORITY per request) are credited with the answers.
const FRAMES: Allowance = Allowance {
    burst: 2000,
    per_second: 100,
};
/// Requests that end without an answer because of the client: a page that is left gives up all it has under
/// way, and each request that ends well allows one more.
const RESETS: Allowance = Allowance {
    burst: 200,
    per_second: 20,
};
/// SETTINGS weigh more: they may change every stream.
const SETTINGS_WEIGHT: u32 = 10;
/// A request's share of frames around it.
const PER_REQUEST: u32 = 4;
/// So many bytes of an answer allow for one frame.
const BYTES_PER_FRAME: usize = 1024;

/// What a connection is sent away for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Frames,
    Resets,
}

impl Flood {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames that ask for nothing",
            Self::Resets => "requests given up",
        }
    }
}

/// So many at once, so many per second on and on.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    burst: u32,
    per_second: u64,
}

/// What was used of an allowance.
#[derive(Debug, Default)]
struct Used {
    level: u32,
    /// Milliseconds; as the level was true.
    since: u64,
}

impl Used {
    /// False when that is too much.
    fn add(&mut self, weight: u32, now: u64, allowance: Allowance) -> bool {
        let earned = now.saturating_sub(self.since) * allowance.per_second / 1000;
        if earned > 0 {
            self.since = now;
            self.credit(u32::try_from(earned).unwrap_or(u32::MAX));
        }
        self.level = self.level.saturating_add(weight);
        self.level <= allowance.burst
    }

    fn credit(&mut self, weight: u32) {
        self.level = self.level.saturating_sub(weight);
    }
}

/// Reads along with a connection, from its first byte on.
#[derive(Debug)]
pub(super) struct Meter {
    head: [u8; HEAD],
    /// Bytes of it that are here.
    held: usize,
    /// Bytes until the next frame's head.
    skip: usize,
    /// A request's headers have begun and are not complete.
    in_headers: bool,
    /// The frame whose bytes are being skipped is a part of them.
    is_header_frame: bool,
    frames: Used,
    resets: Used,
    flood: Option<Flood>,
}

impl Meter {
    /// `preface` bytes come before the first frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            head: [0; HEAD],
            held: 0,
            skip: preface,
            in_headers: false,
            is_header_frame: false,
            frames: Used::default(),
            resets: Used::default(),
            flood: None,
        }
    }

    /// Looks at the next bytes of the connection. `now` in milliseconds.
    pub(super) fn see(&mut self, mut bytes: &[u8], now: u64) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD - self.held).min(bytes.len());
            self.head[self.held..self.held + taken].copy_from_slice(&bytes[..taken]);
            self.held += taken;
            bytes = &bytes[taken..];
            if self.held == HEAD {
                self.held = 0;
                self.weigh(now);
            }
        }
    }

    /// A frame's head is complete.
    fn weigh(&mut self, now: u64) {
        let [high, middle, low, kind, flags, ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.skip = length;
        self.is_header_frame = matches!(kind, HEADERS | CONTINUATION);
        let weight = match kind {
            DATA => u32::from(length == 0 && flags & END_STREAM == 0),
            HEADERS => {
                self.frames.credit(PER_REQUEST);
                0
            }
            SETTINGS => SETTINGS_WEIGHT,
            // PING, WINDOW_UPDATE, PRIORITY, RST_STREAM, CONTINUATION, and those that nobody knows.
            _ => 1,
        };
        if self.is_header_frame {
            self.in_headers = flags & END_HEADERS == 0;
        }
        if weight > 0 && !self.frames.add(weight, now, FRAMES) {
            self.flood.get_or_insert(Flood::Frames);
        }
    }

    /// A request's headers have begun to arrive, and are not complete.
    pub(super) fn is_in_headers(&self) -> bool {
        self.in_headers || (self.is_header_frame && self.skip > 0)
    }

    /// It is too much.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// So many bytes of an answer were sent: the client may tell that it took them.
    ///
    /// `is_cut` says that its window was too small for what there was. Whoever opens it by the byte gets no
    /// credit for the frames that this makes.
    pub(super) fn sent(&mut self, bytes: usize, is_cut: bool) {
        let frames = bytes / BYTES_PER_FRAME + if is_cut { 0 } else { 2 };
        self.frames
            .credit(u32::try_from(frames).unwrap_or(u32::MAX));
    }

    /// A request was given up by the client, or broke the protocol.
    pub(super) fn given_up(&mut self, now: u64) {
        if !self.resets.add(1, now, RESETS) {
            self.flood.get_or_insert(Flood::Resets);
        }
    }

    /// A request ended well.
    pub(super) fn answered(&mut self) {
        self.resets.credit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(0xff, length.into()));
        frame
    }

    /// How many of these frames are borne when they come `every` so many milliseconds, up to 100,000.
    fn borne(frame: &[u8], every: u64) -> u64 {
        let mut meter = Meter::new(0);
        for count in 0..100_000 {
            meter.see(frame, count * every);
            if meter.flood().is_some() {
                return count;
            }
        }
        u64::MAX
    }

    #[test]
    fn frames_that_ask_for_nothing_are_bounded_by_number_and_rate() {
        const PING: u8 = 0x6;
        const PRIORITY: u8 = 0x2;
        const WINDOW_UPDATE: u8 = 0x8;
        const RST_STREAM: u8 = 0x3;
        const UNKNOWN: u8 = 0xbe;
        for kind in [PING, PRIORITY, WINDOW_UPDATE, RST_STREAM, UNKNOWN] {
            assert_eq!(borne(&frame(kind, 0, 8), 0), 2000, "{kind}");
            assert_eq!(borne(&frame(kind, 0, 8), 10), u64::MAX, "{kind}");
        }
        assert_eq!(borne(&frame(SETTINGS, 0, 6), 0), 200);
        assert_eq!(borne(&frame(SETTINGS, 0, 6), 100), u64::MAX);
        assert_eq!(borne(&frame(DATA, 0, 0), 0), 2000);
        assert_eq!(borne(&frame(DATA, 0, 1), 0), u64::MAX);
        assert_eq!(borne(&frame(DATA, END_STREAM, 0), 0), u64::MAX);
    }

    #[test]
    fn requests_given_up_are_bounded_unless_others_end_well() {
        let borne = |every: u64, well: u64| {
            let mut meter = Meter::new(0);
            let mut ends = 0..10_000;
            ends.find(|count| {
                meter.given_up(count * every);
                (0..well).for_each(|_| meter.answered());
                meter.flood() == Some(Flood::Resets)
            })
        };
        assert_eq!(borne(0, 0), Some(200));
        assert_eq!(borne(50, 0), None);
        assert_eq!(borne(0, 1), None);
    }

    #[test]
    fn a_window_opened_by_the_byte_earns_nothing_and_one_that_follows_the_bytes_does() {
        let update = frame(0x8, 0, 4);
        let mut dribble = Meter::new(0);
        let mut honest = Meter::new(0);
        for _ in 0..3000 {
            dribble.see(&update, 0);
            dribble.sent(1, true);
            honest.see(&update, 0);
            honest.see(&update, 0);
            honest.sent(16_384, false);
        }
        assert_eq!(dribble.flood(), Some(Flood::Frames));
        assert_eq!(honest.flood(), None);
    }

    #[test]
    fn frames_are_found_however_their_bytes_are_cut() {
        let headers = frame(HEADERS, 0, 200);
        let rest = frame(CONTINUATION, END_HEADERS, 30);
        let ping = frame(0x6, 0, 8);
        let mut all = vec![b'P'; 24];
        all.extend([&ping[..], &headers, &rest, &ping].concat());
        let end = all.len() - ping.len();
        for cut in 1..all.len() {
            let mut meter = Meter::new(24);
            let mut at = 0;
            for piece in all.chunks(cut) {
                meter.see(piece, 0);
                at += piece.len();
                let begun = 24 + ping.len() + HEAD;
                let expected = at >= begun && at < end;
                assert_eq!(meter.is_in_headers(), expected, "{cut} {at}");
            }
            // Two PINGs and a CONTINUATION, less what the request allows.
            assert_eq!(meter.frames.level, 2, "{cut}");
        }
    }
}
