//! The metadata service of a cloud, on loopback: what it says when a machine is to go, as the clouds' documents have it.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use crate::fault::{Fault, Platform, Strike};

/// What it says at present, and whether anybody still asks.
#[derive(Debug, Clone, Default)]
struct Says {
    /// Which machine this is: each is another one.
    machine: u64,
    /// When it is to go, in milliseconds since 1970; nothing if it stays.
    goes: Option<i64>,
    closed: bool,
}

type Shared = Arc<(Mutex<Says>, Condvar)>;

/// A metadata service; it ends when it is dropped.
pub(crate) struct Metadata {
    platform: Platform,
    address: SocketAddr,
    says: Shared,
    thread: Option<JoinHandle<()>>,
}

/// How long a question is held back that waits for a change: less than whoever asks waits for an answer.
const HELD: Duration = Duration::from_secs(20);

/// Nobody asks with more than this.
const MOST: u64 = 16 << 10;

impl Metadata {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// There is no port, or no thread.
    pub(crate) fn start(platform: Platform) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let says = Shared::default();
        let shared = says.clone();
        let thread = std::thread::Builder::new().name("metadata".into()).spawn(move || {
            for stream in listener.incoming().flatten() {
                if look(&shared).closed {
                    return;
                }
                let shared = shared.clone();
                // One that is held back holds no other; without a thread it gets no answer, and asks again.
                let _started = std::thread::Builder::new().spawn(move || {
                    let _whoever_asked_is_gone = answer(stream, platform, &shared);
                });
            }
        })?;
        Ok(Self { platform, address, says, thread: Some(thread) })
    }

    /// Starts the one that engines ask under a plan: that of the first notice that comes by one.
    ///
    /// # Errors
    /// As [`Metadata::start`].
    pub(crate) fn of(plan: &[Strike]) -> io::Result<Option<Self>> {
        let asked = plan.iter().find_map(|strike| match strike.fault {
            Fault::Notice { by: Some(by), .. } if by.is_asked() => Some(by),
            _ => None,
        });
        asked.map(Self::start).transpose()
    }

    /// Returns what tells an engine to ask it; `speed` is how much faster than a cloud's own it is.
    pub(crate) fn variables(&self, speed: f64) -> [(&'static str, OsString); 3] {
        [
            ("PRUNELLA_NOTICES", self.platform.name().into()),
            ("PRUNELLA_METADATA_ENDPOINT", format!("http://{}", self.address).into()),
            ("PRUNELLA_METADATA_SPEED", speed.to_string().into()),
        ]
    }

    /// Returns whose it is.
    pub(crate) fn platform(&self) -> Platform {
        self.platform
    }

    /// Says from now on that the machine goes, as long from now as this cloud does; `now_ms` is the wall clock.
    pub(crate) fn give_notice(&self, now_ms: i64) {
        let grace_ms = i64::try_from(self.platform.grace().as_millis()).unwrap_or(i64::MAX);
        self.change(|says| says.goes = Some(now_ms.saturating_add(grace_ms)));
    }

    /// Is that of another machine from now on, which stays.
    pub(crate) fn of_another_machine(&self) {
        self.change(|says| (says.goes, says.machine) = (None, says.machine + 1));
    }

    fn change(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.says.1.notify_all();
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.change(|says| says.closed = true);
        // Whoever waits for the next question gets one.
        let _woken = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn look(shared: &Shared) -> Says {
    shared.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Reads one question and answers it.
fn answer(mut stream: TcpStream, platform: Platform, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(HELD))?;
    let mut lines = BufReader::new((&stream).take(MOST)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, header, body) = match platform {
        Platform::Aws => aws(method, path, &look(shared)),
        Platform::Gcp => gcp(path, shared),
        Platform::Azure => azure(path, &look(shared)),
        Platform::Argo | Platform::Autopilot | Platform::Kfp => (404, String::new(), String::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{header}Connection: close\r\n\r\n{body}")
}

type Answer = (u16, String, String);

fn plain(status: u16, body: &str) -> Answer {
    (status, String::new(), body.to_owned())
}

/// EC2, the second version: a token first, then `spot/instance-action`, which is not there until there is one.
fn aws(method: &str, path: &str, says: &Says) -> Answer {
    match (method, path) {
        ("PUT", "/latest/api/token") => plain(200, &format!("machine-{}", says.machine)),
        ("GET", "/latest/meta-data/spot/instance-action") => match says.goes {
            Some(at_ms) => plain(200, &format!(r#"{{"action": "terminate", "time": "{}"}}"#, rfc3339(at_ms))),
            None => plain(404, ""),
        },
        _ => plain(404, ""),
    }
}

/// Compute Engine: `instance/preempted`, and a question that waits for its change.
fn gcp(path: &str, shared: &Shared) -> Answer {
    let tag = |says: &Says| format!("{}{}", says.machine, if says.goes.is_some() { "b" } else { "a" });
    let header = |says: &Says| format!("Metadata-Flavor: Google\r\nETag: {}\r\n", tag(says));
    let (what, query) = path.split_once('?').unwrap_or((path, ""));
    let mut says = look(shared);
    if query.contains("wait_for_change=true") {
        let before = query.split('&').find_map(|part| part.strip_prefix("last_etag=")).unwrap_or_default().to_owned();
        let guard = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |says: &mut Says| !says.closed && tag(says) == before;
        let waited = shared.1.wait_timeout_while(guard, HELD, same).unwrap_or_else(PoisonError::into_inner);
        says = waited.0.clone();
    }
    match what {
        "/computeMetadata/v1/instance/preempted" => {
            (200, header(&says), if says.goes.is_some() { "TRUE" } else { "FALSE" }.to_owned())
        }
        "/computeMetadata/v1/instance/maintenance-event" => (200, header(&says), "NONE".to_owned()),
        _ => (404, header(&says), String::new()),
    }
}

/// Azure: scheduled events, of which an eviction is one.
fn azure(path: &str, says: &Says) -> Answer {
    let (what, _version) = path.split_once('?').unwrap_or((path, ""));
    match (what, says.goes) {
        ("/metadata/scheduledevents", Some(at_ms)) => {
            let event = format!(
                r#"{{"EventId": "1", "EventStatus": "Scheduled", "EventType": "Preempt", "ResourceType": "VirtualMachine",
                "Resources": ["machine-{}"], "NotBefore": "{}", "DurationInSeconds": -1, "EventSource": "Platform"}}"#,
                says.machine,
                rfc1123(at_ms)
            );
            plain(200, &format!(r#"{{"DocumentIncarnation": 2, "Events": [{event}]}}"#))
        }
        ("/metadata/scheduledevents", None) => plain(200, r#"{"DocumentIncarnation": 1, "Events": []}"#),
        ("/metadata/instance/compute/name", _) => plain(200, &format!("machine-{}", says.machine)),
        _ => plain(404, ""),
    }
}

/// An instant as EC2 writes it, rounded up to a whole second.
fn rfc3339(at_ms: i64) -> String {
    let Date { year, month, day, clock, .. } = Date::of(at_ms);
    format!("{year:04}-{month:02}-{day:02}T{clock}Z")
}

/// An instant as Azure writes it, rounded up to a whole second.
fn rfc1123(at_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Date { year, month, day, weekday, clock } = Date::of(at_ms);
    format!("{}, {day:02} {} {year:04} {clock} GMT", DAYS[weekday], MONTHS[month - 1])
}

struct Date {
    year: i64,
    month: usize,
    day: i64,
    /// Days since a Thursday.
    weekday: usize,
    clock: String,
}

impl Date {
    fn of(at_ms: i64) -> Self {
        let seconds = at_ms.div_euclid(1000) + i64::from(at_ms.rem_euclid(1000) > 0);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let clock = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
        let (mut year, mut day) = (1970, days);
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        while day >= 365 + i64::from(leap(year)) {
            day -= 365 + i64::from(leap(year));
            year += 1;
        }
        let mut month = 0;
        let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        while day >= lengths[month] {
            day -= lengths[month];
            month += 1;
        }
        Self { year, month: month + 1, day: day + 1, weekday, clock }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2017-09-18T08:20:00Z
    const NOW_MS: i64 = 1_505_722_800_000;

    fn ask(service: &Metadata, request: &str) -> String {
        let mut stream = TcpStream::connect(service.address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn each_cloud_says_nothing_first_and_then_when_the_machine_goes_and_the_next_machine_stays() {
        let questions = [
            (Platform::Aws, "GET /latest/meta-data/spot/instance-action", "404", "\"time\": \"2017-09-18T08:22:00Z\""),
            (Platform::Gcp, "GET /computeMetadata/v1/instance/preempted", "FALSE", "TRUE"),
            (
                Platform::Azure,
                "GET /metadata/scheduledevents?api-version=2020-07-01",
                "\"Events\": []",
                "Mon, 18 Sep 2017 08:20:30 GMT",
            ),
        ];
        for (platform, question, before, after) in questions {
            let service = Metadata::start(platform).unwrap();
            assert!(ask(&service, question).contains(before), "{platform:?}");
            service.give_notice(NOW_MS);
            assert!(ask(&service, question).contains(after), "{platform:?}");
            service.of_another_machine();
            assert!(ask(&service, question).contains(before), "{platform:?}");
        }
    }

    #[test]
    fn a_question_that_waits_is_answered_when_something_changes() {
        let service = Metadata::start(Platform::Gcp).unwrap();
        let question = "GET /computeMetadata/v1/instance/preempted?wait_for_change=true&last_etag=0a";
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| ask(&service, question));
            service.give_notice(NOW_MS);
            assert!(asked.join().unwrap().ends_with("TRUE"));
        });
    }

    #[test]
    fn instants_are_written_as_clouds_write_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_868_798_001), "2000-02-29T23:59:59Z");
        assert_eq!(rfc1123(1_474_309_787_000), "Mon, 19 Sep 2016 18:29:47 GMT");
        assert_eq!(rfc1123(1_660_064_852_000), "Tue, 09 Aug 2022 17:07:32 GMT");
    }
}
