//! Where telemetry goes: the standard variables of OpenTelemetry, and words that count more than they do.
//!
//! Source: *OpenTelemetry Protocol Exporter* and *General SDK Configuration*, specification 1.x.

use std::{path::PathBuf, time::Duration};

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

/// What is told, each to an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Figures.
    Metrics,
    /// Records of what happened.
    Logs,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `http/protobuf`.
    Protobuf,
    /// `http/json`.
    Json,
}

/// Who is told of one signal.
#[derive(Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its address, whole.
    pub url: Url,
    /// What is sent along, such as who asks; never printed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How messages are written.
    pub encoding: Encoding,
    /// Whether they are made small.
    pub gzip: bool,
    /// A file of certificates (PEM) that are trusted beside those of the system.
    pub certificate: Option<PathBuf>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} as {:?}", self.shown(), self.encoding)
    }
}

impl Receiver {
    /// Returns its address without what only it should know.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Of an address without a host there is nothing to hide.
        let _no_host = url.set_username("").and_then(|()| url.set_password(None));
        url.set_query(None);
        url.to_string()
    }
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Who is told of spans.
    pub traces: Option<Receiver>,
    /// Who is told of figures.
    pub metrics: Option<Receiver>,
    /// Who is told what happened.
    pub logs: Option<Receiver>,
    /// What is said of the program with everything; `service.name` is among it.
    pub resource: Vec<(String, String)>,
    /// How often figures are sent.
    pub every: Duration,
}

/// What cannot be, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, and where it stands.
    pub what: String,
    /// What to do.
    pub hint: &'static str,
}

/// How long a request may take, unless a variable says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often figures are sent, unless a variable says otherwise.
const EVERY: Duration = Duration::from_secs(60);

impl Settings {
    /// Returns who is told, by an address that somebody named and by the variables of the environment.
    ///
    /// `endpoint` counts instead of `OTEL_EXPORTER_OTLP_ENDPOINT` and those of single signals, and of
    /// `OTEL_SDK_DISABLED`; `fallback` where none of them says anything. Without an address nobody is told.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn read(
        endpoint: Option<&str>,
        fallback: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Mistake>> {
        let variable =
            |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut read = Reading { variable: &variable, wrong: Vec::new() };
        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true"));
        if disabled && endpoint.is_none() {
            return Ok(Self::default());
        }
        let [traces, metrics, logs] = Signal::ALL.map(|signal| read.receiver(signal, endpoint, fallback));
        if traces.is_none() && metrics.is_none() && logs.is_none() && read.wrong.is_empty() {
            return Ok(Self::default());
        }
        let resource = read.resource();
        let every = read.millis("OTEL_METRIC_EXPORT_INTERVAL").unwrap_or(EVERY);
        match read.wrong {
            wrong if wrong.is_empty() => Ok(Self { traces, metrics, logs, resource, every }),
            wrong => Err(wrong),
        }
    }

    /// Returns whether anybody is told of anything.
    pub fn is_on(&self) -> bool {
        self.traces.is_some() || self.metrics.is_some() || self.logs.is_some()
    }
}

struct Reading<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<Mistake>,
}

impl Reading<'_> {
    fn mistake<T>(&mut self, what: String, hint: &'static str) -> Option<T> {
        let mistake = Mistake { what, hint };
        // What stands in a variable for all signals is wrong once.
        if !self.wrong.contains(&mistake) {
            self.wrong.push(mistake);
        }
        None
    }

    /// Returns what is said of a signal, or else of all, and by which variable.
    fn of(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name().to_uppercase()),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ];
        names.into_iter().find_map(|name| Some(((self.variable)(&name)?, name)))
    }

    fn receiver(&mut self, signal: Signal, endpoint: Option<&str>, fallback: Option<&str>) -> Option<Receiver> {
        if !self.is_wanted(signal, endpoint.is_some()) {
            return None;
        }
        let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.name().to_uppercase());
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let variable = self.variable;
        // What is said of one signal is its whole address.
        let (said, place, whole) = if let Some(endpoint) = endpoint {
            (endpoint.to_owned(), "the address for OTLP".to_owned(), false)
        } else if let Some(said) = variable(&own) {
            (said, own, true)
        } else if let Some(said) = variable(all) {
            (said, all.to_owned(), false)
        } else {
            (fallback?.to_owned(), "the address for OTLP".to_owned(), false)
        };
        let url = self.url(&said, &place, (!whole).then_some(signal));
        let encoding = self.encoding(signal);
        let timeout = self.timeout(signal);
        let gzip = self.gzip(signal);
        let headers = self.headers(signal);
        let certificate = self.of(signal, "CERTIFICATE").map(|(path, _)| PathBuf::from(path));
        Some(Receiver {
            url: url?,
            headers: headers?,
            timeout: timeout?,
            encoding: encoding?,
            gzip: gzip?,
            certificate,
        })
    }

    fn is_wanted(&mut self, signal: Signal, asked: bool) -> bool {
        let name = format!("OTEL_{}_EXPORTER", signal.name().to_uppercase());
        let Some(said) = (self.variable)(&name) else { return true };
        // A list; of what others export nothing is known here.
        said.split(',').any(|word| word.trim().eq_ignore_ascii_case("otlp")) || asked
    }

    fn url(&mut self, said: &str, place: &str, below: Option<Signal>) -> Option<Url> {
        let hint = "write where the receiver listens for HTTP, such as `http://127.0.0.1:4318`";
        let url = said.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(mut url) = url else {
            // It may have a password in it.
            return self.mistake(format!("{place} is no address of HTTP"), hint);
        };
        if let Some(signal) = below {
            let path = format!("{}/v1/{}", url.path().trim_end_matches('/'), signal.name());
            url.set_path(&path);
        }
        Some(url)
    }

    fn encoding(&mut self, signal: Signal) -> Option<Encoding> {
        let Some((said, name)) = self.of(signal, "PROTOCOL") else { return Some(Encoding::Protobuf) };
        match said.as_str() {
            "http/protobuf" => Some(Encoding::Protobuf),
            "http/json" => Some(Encoding::Json),
            "grpc" => {
                let hint = "OTLP is spoken over HTTP only: set it to `http/protobuf`, and the address to the receiver's port for HTTP, usually 4318 instead of 4317";
                self.mistake(format!("{name} is `grpc`"), hint)
            }
            _ => self.mistake(format!("{name} is `{said}`"), "write `http/protobuf` or `http/json`"),
        }
    }

    fn timeout(&mut self, signal: Signal) -> Option<Duration> {
        match self.of(signal, "TIMEOUT") {
            None => Some(TIMEOUT),
            Some((said, name)) => self.in_millis(&said, &name),
        }
    }

    fn gzip(&mut self, signal: Signal) -> Option<bool> {
        match self.of(signal, "COMPRESSION") {
            None => Some(false),
            Some((said, _)) if said == "none" => Some(false),
            Some((said, _)) if said == "gzip" => Some(true),
            Some((said, name)) => self.mistake(format!("{name} is `{said}`"), "write `gzip` or `none`"),
        }
    }

    fn headers(&mut self, signal: Signal) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let Some((said, name)) = self.of(signal, "HEADERS") else { return Some(Vec::new()) };
        let header = |(key, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((key.parse::<HeaderName>().ok()?, value))
        };
        let headers = pairs(&said).and_then(|pairs| pairs.into_iter().map(header).collect());
        // What it is stays unsaid: it is how one proves who one is.
        let hint = "write `NAME=VALUE,NAME=VALUE`, with `%2C` for a comma and `%20` for a blank";
        headers.or_else(|| self.mistake(format!("{name} is no list of headers"), hint))
    }

    fn millis(&mut self, name: &str) -> Option<Duration> {
        let said = (self.variable)(name)?;
        self.in_millis(&said, name)
    }

    fn in_millis(&mut self, said: &str, name: &str) -> Option<Duration> {
        let millis = said.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis);
        millis.or_else(|| {
            self.mistake(format!("{name} is `{said}`"), "write a number of milliseconds, at least 1, such as `10000`")
        })
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let mut resource = match (self.variable)(name) {
            None => Vec::new(),
            Some(said) => pairs(&said).unwrap_or_else(|| {
                let hint = "write `NAME=VALUE,NAME=VALUE`, with `%2C` for a comma and `%3D` for `=`";
                self.mistake::<()>(format!("{name} is no list of attributes"), hint);
                Vec::new()
            }),
        };
        match (self.variable)("OTEL_SERVICE_NAME") {
            Some(service) => {
                resource.retain(|(key, _)| key != SERVICE);
                resource.push((SERVICE.to_owned(), service));
            }
            None if resource.iter().any(|(key, _)| key == SERVICE) => {}
            None => resource.push((SERVICE.to_owned(), "prunella".to_owned())),
        }
        resource
    }
}

const SERVICE: &str = "service.name";

/// Reads `key=value,key=value`, percent-decoded; nothing if it is no such list.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8().ok().map(String::from);
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        Some((decoded(key).filter(|key| !key.is_empty())?, decoded(value)?))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings, Vec<Mistake>> {
        let of = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(endpoint, None, of)
    }

    fn url(receiver: &Option<Receiver>) -> &str {
        receiver.as_ref().map_or("", |receiver| receiver.url.as_str())
    }

    #[test]
    fn without_an_address_nobody_is_told() {
        assert_eq!(read(None, &[]), Ok(Settings::default()));
        assert_eq!(
            read(None, &[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]),
            Ok(Settings::default())
        );
        let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there:4318"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(read(None, &disabled), Ok(Settings::default()));
        assert!(read(Some("http://here:4318"), &disabled).unwrap().is_on(), "the command line wins");
    }

    #[test]
    fn an_address_for_all_is_the_root_of_three_and_one_for_a_signal_is_whole() {
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://there:4318/otlp/");
        let settings = read(None, &[all, ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://there:9/x")]).unwrap();
        assert_eq!(url(&settings.traces), "https://there:4318/otlp/v1/traces");
        assert_eq!(url(&settings.metrics), "http://there:9/x");
        assert_eq!(url(&settings.logs), "https://there:4318/otlp/v1/logs");
        let settings = read(Some("http://here:1"), &[all]).unwrap();
        assert_eq!(url(&settings.traces), "http://here:1/v1/traces");
        let only = read(None, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://there:9")]).unwrap();
        assert_eq!((url(&only.traces), &only.metrics, &only.logs), ("http://there:9/", &None, &None));
        let none =
            read(None, &[all, ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "console,otlp")]).unwrap();
        assert!(none.traces.is_none() && none.metrics.is_some() && none.logs.is_some());
    }

    #[test]
    fn the_rest_is_said_for_all_or_for_one() {
        let settings = read(
            Some("http://user:word@here:1?key=word"),
            &[
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a%2Cb, x-scope=me"),
                ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-logs=1"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
                ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_RESOURCE_ATTRIBUTES", "team=ml%3Dresearch,service.name=no"),
                ("OTEL_SERVICE_NAME", "digits"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ],
        )
        .unwrap();
        let traces = settings.traces.unwrap();
        assert_eq!(traces.headers[0].1, "Bearer a,b");
        assert_eq!((traces.headers.len(), traces.timeout, traces.gzip), (2, Duration::from_millis(250), true));
        assert_eq!(settings.logs.unwrap().headers[0].0, "x-logs");
        assert_eq!((traces.encoding, settings.metrics.unwrap().encoding), (Encoding::Protobuf, Encoding::Json));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(settings.resource, [pair("team", "ml=research"), pair("service.name", "digits")]);
        assert_eq!(settings.every, Duration::from_secs(5));
        assert_eq!(traces.shown(), "http://here:1/v1/traces", "nothing secret is shown");
        assert!(!format!("{traces:?}").contains("word") && !format!("{traces:?}").contains("Bearer"));
    }

    #[test]
    fn all_mistakes_are_said_at_once_each_once_and_without_secrets() {
        let wrong = read(
            None,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:secret@there"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
                ("OTEL_RESOURCE_ATTRIBUTES", "x"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ],
        )
        .unwrap_err();
        let what: Vec<&str> = wrong.iter().map(|mistake| mistake.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "OTEL_EXPORTER_OTLP_ENDPOINT is no address of HTTP",
                "OTEL_EXPORTER_OTLP_PROTOCOL is `grpc`",
                "OTEL_EXPORTER_OTLP_TIMEOUT is `10s`",
                "OTEL_EXPORTER_OTLP_COMPRESSION is `zstd`",
                "OTEL_EXPORTER_OTLP_HEADERS is no list of headers",
                "OTEL_RESOURCE_ATTRIBUTES is no list of attributes",
                "OTEL_METRIC_EXPORT_INTERVAL is `0`",
            ]
        );
        assert!(wrong[1].hint.contains("http/protobuf") && wrong[1].hint.contains("4318"));
        assert!(!format!("{wrong:?}").contains("secret"));
    }
}
