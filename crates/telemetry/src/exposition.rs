//! The figures of a run in the text format of Prometheus.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    Course,
    families::{BOUNDS, Family, Value, families},
    names::Kind,
};

/// Returns the figures of these runs, at most one a pipeline, in the text format 0.0.4.
///
/// How many series there are depends on the number of pipelines and of classes only, never on steps, attempts or runs.
pub fn exposition(version: &str, courses: &[&Course]) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(families(version, courses))));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a string takes all");
    text
}

#[derive(Debug)]
struct Figures(Vec<Family>);

impl Collector for Figures {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|family| encode(&mut to, family))
    }
}

fn encode(to: &mut DescriptorEncoder<'_>, Family { name, samples }: &Family) -> std::fmt::Result {
    let kind = match name.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut family = to.encode_descriptor(name.name, name.help.trim_end_matches('.'), None, kind)?;
    for (labels, value) in samples {
        let to = family.encode_family(labels)?;
        match (value, name.kind) {
            (Value::Number(number), Kind::Counter) => ConstCounter::new(*number).encode(to)?,
            (Value::Number(number), _) => ConstGauge::new(*number).encode(to)?,
            (Value::Spread(numbers), _) => {
                let histogram = Histogram::new(BOUNDS);
                numbers.iter().for_each(|number| histogram.observe(*number));
                histogram.encode(to)?;
            }
        }
    }
    Ok(())
}
