//! `[telemetry]`: who is told of runs while they go on.

use super::{
    defaults::Placed,
    hand::{Hand, Value},
};
use crate::section::Section;

/// Who is told of runs while they go on; what is not there is as it is built in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Telemetry {
    /// The address of a receiver of OTLP over HTTP.
    pub otlp_endpoint: Option<Placed<String>>,
    /// Whether it is told of the lines that steps write.
    pub otlp_output: Option<Placed<bool>>,
}

const TELEMETRY: Section = Section { name: "`telemetry`", keys: &["otlp_endpoint", "otlp_output"] };

pub(super) fn telemetry(hand: &mut Hand<'_>, value: &Value<'_>) -> Telemetry {
    let mut read = Telemetry::default();
    let Some(table) = hand.table(value, TELEMETRY.name, TELEMETRY.keys) else { return read };
    for (key, value) in hand.known(table, &TELEMETRY) {
        let (what, at) = (format!("`{key}`"), value.span());
        match key {
            "otlp_endpoint" => {
                let address = hand.text(value, &what).filter(|address| is_address(hand, address, &what, value));
                read.otlp_endpoint = address.map(|address| hand.placed(address, &at));
            }
            _ => read.otlp_output = hand.boolean(value, &what).map(|is| hand.placed(is, &at)),
        }
    }
    read
}

/// Returns whether it is an address of HTTP without a password, which has no place in this file.
fn is_address(hand: &mut Hand<'_>, address: &str, what: &str, value: &Value<'_>) -> bool {
    let host = address.strip_prefix("http://").or_else(|| address.strip_prefix("https://"));
    let host = host.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host {
        Some(host) if host.contains('@') => {
            let message = format!("{what} has a user or password in it");
            hand.error("bad-path", &value.span(), message)
                .help("say who you are in the variable OTEL_EXPORTER_OTLP_HEADERS, which no file keeps");
            false
        }
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => true,
        _ => {
            hand.error("bad-path", &value.span(), format!("{what} is no address of HTTP"))
                .help("write where the receiver listens for HTTP, such as `http://127.0.0.1:4318`");
            false
        }
    }
}
