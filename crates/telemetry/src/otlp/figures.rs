//! The figures of a run as OTLP has them: the same families, under the same names, as for Prometheus.

use crate::{
    Course,
    families::{BOUNDS, Family, Labels, Value, families},
    names::Kind,
};

use super::{
    say::{pair, text},
    wire::{Data, Distribution, Gauge, Histogram, KeyValue, Metric, Number, Sum},
};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: each value is that since the run began.
const CUMULATIVE: i32 = 2;

/// Returns the figures of a run at this time, in milliseconds since 1970.
pub fn metrics(version: &str, course: &Course, at_ms: u64) -> Vec<Metric> {
    let times = Times {
        began: course.started_at_ms.unwrap_or(at_ms).saturating_mul(1_000_000),
        now: at_ms.saturating_mul(1_000_000),
    };
    let families = families(version, &[course]);
    families.into_iter().filter(|family| !family.samples.is_empty()).map(|family| times.metric(family)).collect()
}

#[derive(Clone, Copy)]
struct Times {
    began: u64,
    now: u64,
}

impl Times {
    fn metric(self, Family { name, samples }: Family) -> Metric {
        let data = match name.kind {
            Kind::Counter => Data::Sum(Sum {
                data_points: self.numbers(samples, self.began),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            Kind::Gauge => Data::Gauge(Gauge { data_points: self.numbers(samples, 0) }),
            Kind::Histogram => Data::Histogram(Histogram {
                data_points: samples.into_iter().map(|(labels, value)| self.spread(labels, &value)).collect(),
                aggregation_temporality: CUMULATIVE,
            }),
        };
        Metric {
            name: name.name.to_owned(),
            description: name.help.to_owned(),
            unit: unit(name.name).to_owned(),
            data: Some(data),
        }
    }

    fn numbers(self, samples: Vec<(Labels, Value)>, began: u64) -> Vec<Number> {
        let number = |(labels, value)| Number {
            attributes: attributes(labels),
            start_time_unix_nano: began,
            time_unix_nano: self.now,
            as_double: Some(match value {
                Value::Number(number) => number,
                Value::Spread(numbers) => numbers.iter().sum(),
            }),
        };
        samples.into_iter().map(number).collect()
    }

    fn spread(self, labels: Labels, value: &Value) -> Distribution {
        let numbers = match value {
            Value::Number(number) => std::slice::from_ref(number),
            Value::Spread(numbers) => numbers,
        };
        // The last is for what is above all bounds.
        let mut counts = vec![0; BOUNDS.len() + 1];
        numbers.iter().for_each(|number| counts[BOUNDS.partition_point(|bound| bound < number)] += 1);
        Distribution {
            attributes: attributes(labels),
            start_time_unix_nano: self.began,
            time_unix_nano: self.now,
            count: numbers.len() as u64,
            sum: Some(numbers.iter().sum()),
            bucket_counts: counts,
            explicit_bounds: BOUNDS.to_vec(),
        }
    }
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    labels.into_iter().map(|(key, value)| pair(key, text(value))).collect()
}

/// Returns the unit that a name ends in, as UCUM writes it; a number of things has none.
fn unit(name: &str) -> &'static str {
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NAMES;

    #[test]
    fn what_lies_on_a_bound_is_below_it_and_what_is_above_all_is_counted() {
        let times = Times { began: 1, now: 2 };
        let spread = times.spread(Vec::new(), &Value::Spread(vec![0.05, 0.06, 3600.0, 3601.0]));
        assert_eq!(spread.bucket_counts.iter().sum::<u64>(), 4);
        assert_eq!((spread.bucket_counts[0], spread.bucket_counts[1]), (1, 1));
        assert_eq!(spread.bucket_counts[12..], [1, 1]);
        assert_eq!(spread.count, 4);
        assert!(spread.sum.is_some_and(|sum| (sum - 7201.11).abs() < 1e-9));
    }

    /// So a receiver that adds the unit to a name, as collectors do for Prometheus, makes no other name of it.
    #[test]
    fn a_figure_with_a_unit_ends_in_it() {
        for name in NAMES {
            let last = name.name.rsplit('_').next().expect("a word");
            let of_unit = ["seconds", "bytes", "ratio"].contains(&last);
            assert_eq!(of_unit, !unit(name.name).is_empty(), "{}", name.name);
        }
    }
}
