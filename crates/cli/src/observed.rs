//! A run under the eyes of others: an endpoint for Prometheus, a file that the node exporter reads, receivers of OTLP.
//!
//! Nothing of it holds the run up, or changes how it ends.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::Args;
use prunella_attempt::Told;
use prunella_engine::{Outcome, Plan, Spectator};
use prunella_journal::{RunState, Stamped, StepIndex};
use prunella_model::SlotId;
use prunella_process::Stream;
use prunella_store::records::{Owner, Timeline};
use prunella_sys::{Sys, blocking};
use prunella_telemetry::{
    Course, exposition,
    otlp::{Exporter, Origin},
    serve,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    answer::note,
    context::Context,
    error::CliError,
    otlp::Otlp,
    progress::{Coverage, Screen},
    whole_file::write_whole,
};

/// How often the file is written.
const EVERY: Duration = Duration::from_secs(10);

/// Where figures of the run go.
#[derive(Debug, Clone, Args)]
pub struct Figures {
    /// Answer Prometheus at this address while the run goes on (`127.0.0.1:9464`), at `/metrics`.
    #[arg(long, value_name = "ADDR")]
    pub metrics_listen: Option<String>,

    /// Write the figures to this file, every 10 s and at the end, for the node exporter's textfile collector.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,

    #[command(flatten)]
    pub otlp: Otlp,

    /// Tell the receiver of OpenTelemetry also the lines that steps write, without the values of secrets.
    #[arg(long)]
    pub otlp_output: bool,
}

/// The screen of a run, and what others see of it.
pub struct Observed {
    screen: Arc<Screen>,
    course: Option<Arc<Mutex<Course>>>,
    otlp: Option<Arc<Exporter>>,
    /// Whether receivers of OTLP are told what steps write.
    output: bool,
}

/// What goes on beside the run, until it is ended.
pub struct Observing {
    course: Arc<Mutex<Course>>,
    file: Option<PathBuf>,
    otlp: Option<Arc<Exporter>>,
    tasks: Vec<JoinHandle<()>>,
    sys: Sys,
}

fn known(course: &Mutex<Course>) -> MutexGuard<'_, Course> {
    course.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(course: &Mutex<Course>) -> String {
    // A copy: the run does not wait for whoever reads.
    let copy = known(course).clone();
    exposition(env!("CARGO_PKG_VERSION"), &[&copy])
}

/// Returns who watches the run, and what goes on beside it if anybody wants figures.
///
/// # Errors
/// [`CliError::Io`] if nobody can be answered at the address, [`CliError::Usage`] if a receiver of OTLP is named wrongly.
pub async fn observe(
    context: &Context,
    figures: &Figures,
    screen: Arc<Screen>,
    origin: &Origin,
) -> Result<(Arc<Observed>, Option<Observing>), CliError> {
    let settings = figures.otlp.settings(context)?;
    if figures.metrics_listen.is_none() && figures.metrics_file.is_none() && !settings.is_on() {
        return Ok((Arc::new(Observed { screen, course: None, otlp: None, output: false }), None));
    }
    let course = Arc::new(Mutex::new(Course::default()));
    let otlp = settings.is_on().then(|| Exporter::start(&context.sys, &settings, origin, course.clone()));
    let otlp = otlp.transpose().map_err(|problem| CliError::Usage(problem, None))?.map(Arc::new);
    let mut tasks = Vec::new();
    if let Some(address) = &figures.metrics_listen {
        let listener = TcpListener::bind(address).await.map_err(CliError::io(address))?;
        if let Ok(at) = listener.local_addr() {
            note(&format!("figures for Prometheus: http://{at}/metrics"));
        }
        let seen = course.clone();
        tasks.push(tokio::spawn(serve(listener, move || text(&seen))));
    }
    if let Some(file) = figures.metrics_file.clone() {
        let (sys, seen) = (context.sys.clone(), course.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                sys.clock.sleep(EVERY).await;
                let (sys, file, figures) = (sys.clone(), file.clone(), text(&seen));
                let _told_at_the_end = blocking(move || write_whole(&sys, &file, figures.as_bytes())).await;
            }
        }));
    }
    let (file, sys) = (figures.metrics_file.clone(), context.sys.clone());
    let observing = Observing { course: course.clone(), file, otlp: otlp.clone(), tasks, sys };
    let output =
        figures.otlp_output || context.settings.project.telemetry.otlp_output.as_ref().is_some_and(|is| is.value);
    Ok((Arc::new(Observed { screen, course: Some(course), otlp, output }), Some(observing)))
}

impl Observing {
    /// Writes how the run came out; what cannot be written is said and changes nothing. Receivers of OTLP are left to
    /// whoever has shown how the run came out: they may take a moment.
    pub fn end(self, outcome: Option<&Outcome>) -> Option<Arc<Exporter>> {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(outcome) = outcome {
            known(&self.course).covers(Coverage::of(&outcome.plan, &outcome.state).share());
        }
        if let Some(file) = &self.file
            && let Err(error) = write_whole(&self.sys, file, text(&self.course).as_bytes())
        {
            note(&format!("the figures were not written: {}", error.message()));
        }
        self.otlp
    }
}

impl Observed {
    /// Returns whether anybody is told of spans.
    pub fn is_traced(&self) -> bool {
        self.otlp.as_ref().is_some_and(|otlp| otlp.tells_spans())
    }
}

impl Spectator for Observed {
    fn watches(&self, driver: &Owner) {
        self.screen.watches(driver);
    }

    fn begins(&self, earlier: &[Stamped], state: &RunState, plan: &Plan) {
        if let Some(course) = &self.course {
            let mut course = known(course);
            earlier.iter().for_each(|event| course.push(event));
        }
        if let Some(otlp) = &self.otlp {
            otlp.begins(earlier);
        }
        self.screen.begins(earlier, state, plan);
    }

    fn event(&self, event: &Stamped, state: &RunState, plan: &Plan) {
        if let Some(course) = &self.course {
            known(course).push(event);
        }
        if let Some(otlp) = &self.otlp {
            otlp.event(event);
        }
        self.screen.event(event, state, plan);
    }

    fn came_out(&self, slot: SlotId, timeline: &Timeline) {
        if let Some(otlp) = &self.otlp {
            otlp.came_out(slot, timeline);
        }
    }

    fn told(&self, step: StepIndex, told: &Told, plan: &Plan) {
        if let (Some(otlp), Told::Line { stream, text }, true) = (&self.otlp, told, self.output) {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            otlp.line(plan.id(step), stream, text);
        }
        self.screen.told(step, told, plan);
    }
}
