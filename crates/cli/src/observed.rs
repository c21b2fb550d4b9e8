//! A run under the eyes of Prometheus: an endpoint while it goes on, a file that the node exporter reads.
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
use prunella_store::records::Owner;
use prunella_sys::{Sys, blocking};
use prunella_telemetry::{Course, exposition, serve};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    answer::note,
    context::Context,
    error::CliError,
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
}

/// The screen of a run, and what Prometheus sees of it.
pub struct Observed {
    screen: Arc<Screen>,
    course: Option<Arc<Mutex<Course>>>,
}

/// What goes on beside the run, until it is ended.
pub struct Observing {
    course: Arc<Mutex<Course>>,
    file: Option<PathBuf>,
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
/// [`CliError::Io`] if nobody can be answered at the address.
pub async fn observe(
    context: &Context,
    figures: &Figures,
    screen: Arc<Screen>,
) -> Result<(Arc<Observed>, Option<Observing>), CliError> {
    if figures.metrics_listen.is_none() && figures.metrics_file.is_none() {
        return Ok((Arc::new(Observed { screen, course: None }), None));
    }
    let course = Arc::new(Mutex::new(Course::default()));
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
    let observing =
        Observing { course: course.clone(), file: figures.metrics_file.clone(), tasks, sys: context.sys.clone() };
    Ok((Arc::new(Observed { screen, course: Some(course) }), Some(observing)))
}

impl Observing {
    /// Writes how the run came out; what cannot be written is said and changes nothing.
    pub fn end(self, outcome: Option<&Outcome>) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(outcome) = outcome {
            known(&self.course).covers(Coverage::of(&outcome.plan, &outcome.state).share());
        }
        if let Some(file) = &self.file
            && let Err(error) = write_whole(&self.sys, file, text(&self.course).as_bytes())
        {
            note(&format!("the figures were not written: {}", error.message()));
        }
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
        self.screen.begins(earlier, state, plan);
    }

    fn event(&self, event: &Stamped, state: &RunState, plan: &Plan) {
        if let Some(course) = &self.course {
            known(course).push(event);
        }
        self.screen.event(event, state, plan);
    }

    fn told(&self, step: StepIndex, told: &Told, plan: &Plan) {
        self.screen.told(step, told, plan);
    }
}
