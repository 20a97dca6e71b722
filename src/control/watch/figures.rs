//! The watch in status and metrics.

use super::Watched;
use crate::api::ConfirmStatus;
use crate::api::WatchFigures;
use crate::api::WatchStatus;
use crate::control::clock::millis;
use crate::control::clock::stamp;
use crate::control::steered::Steered;
use crate::switch::Share;
use crate::switch::Tally;
use crate::telemetry::WatchFigures as WatchMetrics;

impl Watched {
    fn status(&self) -> WatchStatus {
        let latest = self.latest.as_ref();
        let aside = self.evidence.aside();
        WatchStatus {
            verdict: self.verdict().as_str().to_owned(),
            reasons: latest.map(|it| it.reasons.clone()).unwrap_or_default(),
            since: stamp(self.judge.since()),
            until: stamp(self.until),
            figures: latest.map(|it| figures(&it.recent)).unwrap_or_default(),
            not_counted: aside.discounted,
            shared_errors: aside.shared,
            shared_error: aside.shared_name.clone(),
            baseline: self.judge.baseline().map(figures),
        }
    }
}

fn figures(tally: &Tally) -> WatchFigures {
    let Share(hundredths) = tally.error_rate();
    WatchFigures {
        requests: tally.requests,
        failed: tally.failed,
        rpc_errors: tally.rpc_errors,
        error_percent: f64::from(hundredths) / 100.0,
        p95_ms: tally.percentile(95).map(millis),
        p99_ms: tally.percentile(99).map(millis),
        handshakes: tally.handshakes,
        handshakes_refused: tally.refused,
    }
}

impl Steered {
    pub(in crate::control) fn watch_status(&self) -> Option<WatchStatus> {
        self.watched().map(Watched::status)
    }

    pub(in crate::control) fn confirm_status(&self) -> Option<ConfirmStatus> {
        Some(ConfirmStatus {
            until: stamp(self.switch.unconfirmed()?),
            back_to: self.switch.previous()?.to_string(),
        })
    }

    /// Why traffic would not go back to the previous slot by itself, whatever happens.
    pub(in crate::control) fn blocked(&self) -> Option<String> {
        self.switch.schema_moved(self.switch.previous()?)
    }

    pub(in crate::control) fn watch_metrics(&self) -> Option<WatchMetrics> {
        let watched = self.watched()?;
        Some(WatchMetrics {
            verdict: watched.verdict(),
            is_unconfirmed: self.switch.unconfirmed().is_some(),
        })
    }
}
