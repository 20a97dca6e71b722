//! What is counted, and how it is told.

use crate::connection::Answer;
use crate::connection::Failure;
use std::time::Duration;
use std::time::Instant;

#[derive(Default)]
pub struct Results {
    pub took: Duration,
    latencies_us: Vec<u32>,
    bytes: u64,
    connect: u64,
    reset: u64,
    broken: u64,
    status: u64,
}

impl Results {
    pub fn add(&mut self, since: Instant, outcome: &Result<Answer, Failure>) {
        match outcome {
            Ok(answer) => {
                let micros = since.elapsed().as_micros();
                self.latencies_us
                    .push(micros.try_into().unwrap_or(u32::MAX));
                self.bytes += answer.bytes;
            }
            Err(Failure::Connect) => self.connect += 1,
            Err(Failure::Reset) => self.reset += 1,
            Err(Failure::Broken) => self.broken += 1,
            Err(Failure::Status(_)) => self.status += 1,
        }
    }

    pub fn json(mut self) -> String {
        self.latencies_us.sort_unstable();
        let failed = self.connect + self.reset + self.broken + self.status;
        format!(
            r#"{{"requests":{},"failed":{failed},"connect":{},"reset":{},"broken":{},"status":{},"bytes":{},"seconds":{:.4},"p50_us":{},"p99_us":{},"p999_us":{}}}"#,
            self.latencies_us.len(),
            self.connect,
            self.reset,
            self.broken,
            self.status,
            self.bytes,
            self.took.as_secs_f64(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(0.999),
        )
    }

    fn quantile(&self, share: f64) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (share * last as f64).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or(0)
    }
}
