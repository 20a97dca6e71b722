//! The wall clock as text, formatted once per second.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Keeps the text of the current second.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    rfc3339: String,
    clf: String,
}

impl Stamp {
    /// `2026-11-21T08:00:00.123Z`
    pub(super) fn rfc3339(&mut self, out: &mut Vec<u8>) {
        let millis = self.refresh();
        out.extend_from_slice(self.rfc3339.as_bytes());
        out.push(b'.');
        digits3(millis, out);
        out.push(b'Z');
    }

    /// `21/Nov/2026:08:00:00 +0000`, as the combined format has it.
    pub(super) fn clf(&mut self, out: &mut Vec<u8>) {
        self.refresh();
        out.extend_from_slice(self.clf.as_bytes());
    }

    fn refresh(&mut self) -> u64 {
        // A clock before 1970 is shown as 1970.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        if now.as_secs() != self.second || self.rfc3339.is_empty() {
            self.second = now.as_secs();
            let second = i64::try_from(self.second)
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok());
            let utc = second.unwrap_or_default().to_zoned(TimeZone::UTC);
            self.rfc3339 = utc.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.clf = utc.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        }
        u64::from(now.subsec_millis())
    }
}

/// Three digits, with leading zeros; `value` below 1000.
pub(super) fn digits3(value: u64, out: &mut Vec<u8>) {
    for place in [100, 10, 1] {
        // A digit is below 10.
        out.push(b'0' + u8::try_from(value / place % 10).unwrap_or_default());
    }
}
