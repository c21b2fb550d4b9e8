//! A run that goes on, told to receivers of OTLP.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prunella_journal::Stamped;
use prunella_model::{SlotId, StepId, TraceParent};
use prunella_store::records;
use prunella_sys::Sys;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{
    figures::metrics,
    lane::{Closing, Lane, Tally, carry, deliver, ends, over},
    logs,
    say::{pair, text},
    sender::{Sender, shown},
    settings::{Receiver, Settings},
    spans::Spans,
    wire,
};
use crate::Course;

/// How long what is still to be told may take at the end of a run, at most.
pub const FLUSH: Duration = Duration::from_secs(3);

/// What then still does not end is ended.
const LAST: Duration = Duration::from_millis(500);

/// What is told of.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The store's identity.
    pub store: String,
    /// The run, for the identity of the resource.
    pub run: String,
    /// The span that called the run, if there is one.
    pub caller: Option<TraceParent>,
    /// The version of the program.
    pub version: String,
}

/// A run that goes on, told to receivers of OTLP; nothing here waits for them but [`Exporter::end`].
pub struct Exporter {
    told: Mutex<Told>,
    spans: Option<To<wire::Span>>,
    logs: Option<To<wire::LogRecord>>,
    /// Why the last figures were not delivered, and to whom.
    figures: Option<(Arc<Mutex<Option<String>>>, String)>,
    closing: watch::Sender<Option<Duration>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    sys: Sys,
}

/// A lane, and whom it leads to, for people.
type To<T> = (Arc<Lane<T>>, String);

/// Begins to carry what is put in the lane that is returned to this receiver.
fn lane_to<T: Send + 'static>(
    sys: &Sys,
    receiver: &Receiver,
    closes: Closing,
    pack: impl Fn(&Sender, Vec<T>) -> Vec<u8> + Send + 'static,
) -> Result<(To<T>, JoinHandle<()>), String> {
    let (lane, sender) = (Arc::<Lane<T>>::default(), Sender::new(sys, receiver.clone())?);
    let whom = sender.receiver();
    let task = tokio::spawn(carry(lane.clone(), sender, sys.clone(), closes, pack));
    Ok(((lane, whom), task))
}

struct Told {
    spans: Spans,
    /// What attempts said of their time when they ended, until the event that reports it.
    recorded: HashMap<SlotId, records::Timeline>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Begins to tell of a run whose figures `course` has.
    ///
    /// Must be called within a runtime of tokio.
    ///
    /// # Errors
    /// What is wrong with the certificates of a receiver, for people.
    pub fn start(sys: &Sys, settings: &Settings, origin: &Origin, course: Arc<Mutex<Course>>) -> Result<Self, String> {
        let (closing, closes) = watch::channel(None);
        let packing = Packing::of(settings, origin);
        let mut tasks = Vec::new();
        let mut spans = None;
        if let Some(receiver) = &settings.traces {
            let packing = packing.clone();
            let pack = move |sender: &Sender, spans| sender.body(&packing.spans(spans));
            let (lane, task) = lane_to(sys, receiver, closes.clone(), pack)?;
            tasks.push(task);
            spans = Some(lane);
        }
        let mut logs = None;
        if let Some(receiver) = &settings.logs {
            let packing = packing.clone();
            let pack = move |sender: &Sender, records| sender.body(&packing.logs(records));
            let (lane, task) = lane_to(sys, receiver, closes.clone(), pack)?;
            tasks.push(task);
            logs = Some(lane);
        }
        let mut figures = None;
        if let Some(receiver) = &settings.metrics {
            let (lacking, sender) = (Arc::new(Mutex::new(None)), Sender::new(sys, receiver.clone())?);
            figures = Some((lacking.clone(), sender.receiver()));
            let send = Figures { sender, packing, course, version: origin.version.clone(), lacking };
            tasks.push(tokio::spawn(send.go_on(sys.clone(), settings.every, closes)));
        }
        let told = Told { spans: Spans::new(&origin.store, origin.caller), recorded: HashMap::new() };
        Ok(Self { told: Mutex::new(told), spans, logs, figures, closing, tasks: Mutex::new(tasks), sys: sys.clone() })
    }

    /// Returns whether anybody is told of spans.
    pub fn tells_spans(&self) -> bool {
        self.spans.is_some()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what earlier engines left of the run: it was theirs to tell.
    pub fn begins<'a>(&self, earlier: impl IntoIterator<Item = &'a Stamped>) {
        let mut told = self.told();
        for stamped in earlier {
            told.spans.push(stamped, |_| None);
        }
    }

    /// Takes what an attempt that ended says of its time; the event that reports its end follows.
    pub fn came_out(&self, slot: SlotId, timeline: &records::Timeline) {
        if self.spans.is_some() {
            self.told().recorded.insert(slot, timeline.clone());
        }
    }

    /// Takes the next event of the run.
    pub fn event(&self, stamped: &Stamped) {
        let mut told = self.told();
        let Told { spans, recorded } = &mut *told;
        let (now, over) = spans.push(stamped, |slot| recorded.remove(slot));
        let Some((trace, _)) = spans.run() else { return };
        if let Some((lane, _)) = self.spans.as_ref().filter(|_| trace.is_sampled()) {
            lane.put(over);
        }
        if let Some((lane, _)) = &self.logs {
            lane.put(logs::record(trace, now, &stamped.event));
        }
    }

    /// Takes a line that a step wrote, as it was kept, to `stdout` or `stderr`.
    pub fn line(&self, step: &StepId, stream: &str, line: &str) {
        let Some((lane, _)) = &self.logs else { return };
        let told = self.told();
        let (Some((trace, _)), Some(span)) = (told.spans.run(), told.spans.at_work(step)) else { return };
        let now = prunella_journal::Moment(u64::try_from(self.sys.clock.wall_ms()).unwrap_or(0));
        lane.put([logs::line(trace, span, now, step, stream, line)]);
    }

    /// Tells what is still to be told, for [`FLUSH`] at most, and returns what was not delivered, a line each.
    pub async fn end(&self) -> Vec<String> {
        self.closing.send_replace(Some(self.sys.clock.monotonic() + FLUSH));
        let mut tasks = JoinSet::new();
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let stop = task.abort_handle();
            let (sys, closing) = (self.sys.clone(), self.closing.subscribe());
            tasks.spawn(async move {
                tokio::select! {
                    _done = task => {}
                    // They end by themselves, but for what they wait for.
                    () = over(&sys, closing) => {
                        sys.clock.sleep(LAST).await;
                        stop.abort();
                    }
                }
            });
        }
        while tasks.join_next().await.is_some() {}
        let mut lines = Vec::new();
        if let Some((lane, receiver)) = &self.spans {
            lines.extend(in_words("spans", receiver, &lane.close()));
        }
        if let Some((lane, receiver)) = &self.logs {
            lines.extend(in_words("log records", receiver, &lane.close()));
        }
        if let Some((lacking, receiver)) = &self.figures
            && let Some(why) = &*lacking.lock().unwrap_or_else(PoisonError::into_inner)
        {
            lines.push(format!("OpenTelemetry: the last figures were not delivered to {receiver}: {why}"));
        }
        lines
    }
}

/// Says what was not delivered.
pub fn in_words(what: &str, receiver: &str, tally: &Tally) -> Vec<String> {
    let mut lines = Vec::new();
    if tally.lost > 0 {
        let why = if tally.why.is_empty() { "there was no time left" } else { &tally.why };
        lines.push(format!("OpenTelemetry: {} {what} were not delivered to {receiver}: {why}", tally.lost));
    }
    if tally.dropped > 0 {
        lines.push(format!("OpenTelemetry: {} {what} were dropped: {receiver} takes them too slowly", tally.dropped));
    }
    if tally.rejected > 0 || !tally.remark.is_empty() {
        let said = if tally.remark.is_empty() { String::new() } else { format!(": {}", tally.remark) };
        lines.push(format!("OpenTelemetry: {receiver} rejected {} {what}{said}", tally.rejected));
    }
    lines
}

/// What is said with everything.
#[derive(Debug, Clone)]
pub struct Packing {
    resource: wire::Resource,
    scope: wire::Scope,
}

impl Packing {
    /// Returns what is said with everything of this run.
    pub fn of(settings: &Settings, origin: &Origin) -> Self {
        let said = |key: &str| settings.resource.iter().any(|(known, _)| known == key);
        let mut attributes: Vec<_> = settings.resource.iter().map(|(key, value)| pair(key, text(value))).collect();
        // One writer of each figure: two runs of a pipeline are two.
        for (key, value) in [
            ("service.version", origin.version.as_str()),
            ("service.instance.id", origin.run.as_str()),
            ("telemetry.sdk.name", "prunella"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", origin.version.as_str()),
        ] {
            if !said(key) {
                attributes.push(pair(key, text(value)));
            }
        }
        let scope = wire::Scope { name: "prunella".to_owned(), version: origin.version.clone() };
        Self { resource: wire::Resource { attributes }, scope }
    }

    /// Returns the message with these spans.
    pub fn spans(&self, spans: Vec<wire::Span>) -> wire::Traces {
        let scope_spans = vec![wire::ScopeSpans { scope: Some(self.scope.clone()), spans }];
        wire::Traces {
            resource_spans: vec![wire::ResourceSpans { resource: Some(self.resource.clone()), scope_spans }],
        }
    }

    fn logs(&self, log_records: Vec<wire::LogRecord>) -> wire::Logs {
        let scope_logs = vec![wire::ScopeLogs { scope: Some(self.scope.clone()), log_records }];
        wire::Logs { resource_logs: vec![wire::ResourceLogs { resource: Some(self.resource.clone()), scope_logs }] }
    }

    fn metrics(&self, metrics: Vec<wire::Metric>) -> wire::Metrics {
        let scope_metrics = vec![wire::ScopeMetrics { scope: Some(self.scope.clone()), metrics }];
        let of_run = wire::ResourceMetrics { resource: Some(self.resource.clone()), scope_metrics };
        wire::Metrics { resource_metrics: vec![of_run] }
    }
}

/// Figures on their way: the next ones replace those that did not arrive.
struct Figures {
    sender: Sender,
    packing: Packing,
    course: Arc<Mutex<Course>>,
    version: String,
    lacking: Arc<Mutex<Option<String>>>,
}

impl Figures {
    async fn go_on(self, sys: Sys, every: Duration, mut closing: Closing) {
        loop {
            let is_last = tokio::select! {
                _end = ends(closing.clone()) => true,
                () = sys.clock.sleep(every) => false,
            };
            if let Some(body) = self.body(&sys) {
                // Until it is there it is not: whoever ends this task finds that.
                self.note(Some("it did not answer in time".to_owned()));
                self.note(match deliver(&self.sender, &sys, &mut closing, body).await {
                    Ok(None) => None,
                    Ok(Some(partial)) => Some(shown(&partial.error_message)),
                    Err(why) => Some(why),
                });
            }
            if is_last {
                return;
            }
        }
    }

    fn body(&self, sys: &Sys) -> Option<Vec<u8>> {
        // A copy: the run does not wait for what is made of it.
        let course = self.course.lock().unwrap_or_else(PoisonError::into_inner).clone();
        course.pipeline()?;
        let at_ms = u64::try_from(sys.clock.wall_ms()).unwrap_or(0);
        Some(self.sender.body(&self.packing.metrics(metrics(&self.version, &course, at_ms))))
    }

    fn note(&self, why: Option<String>) {
        *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
