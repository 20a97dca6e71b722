//! Lines of the metrics page.

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::MetricEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;

/// One line of a metric.
pub(super) struct Sample<'a> {
    pub(super) labels: Vec<(&'static str, &'a str)>,
    pub(super) value: f64,
}

impl<'a> Sample<'a> {
    /// Exact up to 2^53, as everything in Prometheus is.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
    pub(super) fn new(labels: &[(&'static str, &'a str)], value: u64) -> Self {
        Self {
            labels: labels.to_vec(),
            value: value as f64,
        }
    }
}

/// Name and help of one metric.
pub(super) struct About(pub(super) &'static str, pub(super) &'static str);

fn write<'a>(
    out: &mut DescriptorEncoder<'_>,
    about: &About,
    metric_type: MetricType,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> fmt::Result {
    let is_counter = matches!(metric_type, MetricType::Counter);
    let mut lines = out.encode_descriptor(about.0, about.1, None, metric_type)?;
    for Sample { labels, value } in samples {
        if labels.is_empty() {
            // A family without labels would be written with empty braces.
            return one(lines, is_counter, value);
        }
        one(lines.encode_family(&labels)?, is_counter, value)?;
    }
    Ok(())
}

fn one(line: MetricEncoder<'_>, is_counter: bool, value: f64) -> fmt::Result {
    if is_counter {
        ConstCounter::new(value).encode(line)
    } else {
        ConstGauge::new(value).encode(line)
    }
}

pub(super) fn counter<'a>(
    out: &mut DescriptorEncoder<'_>,
    about: &About,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> fmt::Result {
    write(out, about, MetricType::Counter, samples)
}

pub(super) fn gauge<'a>(
    out: &mut DescriptorEncoder<'_>,
    about: &About,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> fmt::Result {
    write(out, about, MetricType::Gauge, samples)
}
