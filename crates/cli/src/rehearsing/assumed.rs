//! What is assumed of machines, checkpoints and notices, from the words of the command line.

use clap::Args;
use prunella_healing::Machine;
use prunella_interruptions::{Life, Lives, Shocks, fit, trace::Trace};
use prunella_model::{ByteSize, Span};
use prunella_rehearsal::{Capacity, Checkpoints, Every, Notices, World};

use crate::{context::Context, error::CliError};

/// V100 machines of Amazon in nine zones over 45 days.
const USUAL_LIVES: &str = "weibull:3.22h,0.596";

/// What is assumed.
#[derive(Debug, Clone, Args)]
pub struct Assumed {
    /// How long machines live: `exponential:MEAN`, `weibull:MEAN,SHAPE`, `lognormal:MEDIAN,SPREAD`, `gcp-2019`, or one of the files
    /// of `--trace` with `recorded` (each life as likely as any other) or `fitted` (the model that fits them best).
    #[arg(long, value_name = "LIVES", default_value = USUAL_LIVES)]
    pub lives: String,

    /// Recorded lives of machines, as often as there are files: a table with `life_seconds`, JSON with `gap_seconds` and `data`,
    /// lines `time,machines`, or JSON lines of nodes added and removed. Without `--lives` they are played as recorded.
    #[arg(long, value_name = "FILE")]
    pub trace: Vec<std::path::PathBuf>,

    /// Interruptions that come together, beside the others: how often, and the share of machines taken, as `6h,0.5`.
    #[arg(long, value_name = "EVERY,SHARE")]
    pub shocks: Option<String>,

    /// How often to checkpoint: `auto` as a run would choose, `young`, `daly`, `exact`, `never` (only on notice), or a time.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub every: String,

    /// How long a checkpoint holds the program up.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub checkpoint: String,

    /// How long it then takes until it is durable, beside the program (default: by `--state` and `--bandwidth`, else nothing).
    #[arg(long, value_name = "TIME")]
    pub persist: Option<String>,

    /// The size of the state that a checkpoint holds.
    #[arg(long, value_name = "SIZE")]
    pub state: Option<String>,

    /// How much is uploaded and fetched in a second.
    #[arg(long, value_name = "SIZE", default_value = "100MB")]
    pub bandwidth: String,

    /// How much of the state changes in a second, where only what changed is uploaded.
    #[arg(long, value_name = "SIZE")]
    pub changes: Option<String>,

    /// The share of its speed that the program loses while a checkpoint is uploaded.
    #[arg(long, value_name = "SHARE", default_value = "0.02")]
    pub interference: String,

    /// The time from a notice to the end of a machine (default: no notice).
    #[arg(long, value_name = "TIME")]
    pub notice: Option<String>,

    /// The share of interruptions that are announced.
    #[arg(long, value_name = "SHARE", default_value = "1")]
    pub recall: String,

    /// The share of notices that come true; the others cost a checkpoint each.
    #[arg(long, value_name = "SHARE", default_value = "1")]
    pub precision: String,

    /// What of the notice is kept back.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub margin: String,

    /// From a machine to the program's start.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub start: String,

    /// From then to its state (default: as long as a checkpoint takes until it is durable).
    #[arg(long, value_name = "TIME")]
    pub restore: Option<String>,

    /// The mean time without a machine after an interruption (default: what the traces tell, else there is one at once).
    #[arg(long, value_name = "TIME")]
    pub gap: Option<String>,

    /// After so long without a machine one is taken that nobody takes away, if `--on-demand-price` is given.
    #[arg(long, value_name = "TIME")]
    pub patience: Option<String>,

    /// What a machine costs for an hour.
    #[arg(long, value_name = "PRICE", default_value = "0")]
    pub price: String,

    /// What one costs that nobody takes away.
    #[arg(long, value_name = "PRICE")]
    pub on_demand_price: Option<String>,

    /// How many machines there are at once.
    #[arg(long, value_name = "N", default_value = "1")]
    pub machines: String,
}

/// Reads recorded traces, all as one.
///
/// # Errors
/// [`CliError`] for the first file that cannot be read.
pub fn traces(context: &Context, files: &[std::path::PathBuf]) -> Result<Option<Trace>, CliError> {
    let mut all: Option<Trace> = None;
    for path in files {
        let bytes = context.sys.fs.read(path).map_err(CliError::io(path))?;
        let read = Trace::read(&String::from_utf8_lossy(&bytes));
        let trace = read.map_err(|error| CliError::Usage(format!("{}: {error}", path.display()), None))?;
        all.get_or_insert_with(Trace::default).and(trace);
    }
    let checked = all.map(Trace::with_interruptions).transpose();
    checked.map_err(|error| CliError::Usage(format!("--trace: {error}"), None))
}

impl Assumed {
    /// Sets an option by its name, as `--sweep` does; answers whether there is one.
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        let value = value.to_owned();
        match name {
            "lives" => self.lives = value,
            "shocks" => self.shocks = Some(value),
            "every" => self.every = value,
            "checkpoint" => self.checkpoint = value,
            "persist" => self.persist = Some(value),
            "state" => self.state = Some(value),
            "bandwidth" => self.bandwidth = value,
            "changes" => self.changes = Some(value),
            "interference" => self.interference = value,
            "notice" => self.notice = Some(value),
            "recall" => self.recall = value,
            "precision" => self.precision = value,
            "margin" => self.margin = value,
            "start" => self.start = value,
            "restore" => self.restore = Some(value),
            "gap" => self.gap = Some(value),
            "patience" => self.patience = Some(value),
            "price" => self.price = value,
            "on-demand-price" => self.on_demand_price = Some(value),
            "machines" => self.machines = value,
            _ => return false,
        }
        true
    }

    /// Returns the world that the words describe.
    ///
    /// # Errors
    /// [`CliError::Usage`] with every word that is wrong.
    pub fn world(&self, trace: Option<&Trace>) -> Result<World, CliError> {
        let mut wrong = Wrong::default();
        let blocking = wrong.time("checkpoint", &self.checkpoint);
        let bandwidth = wrong.size("bandwidth", &self.bandwidth).max(1.0);
        let state = self.state.as_ref().map(|state| wrong.size("state", state));
        let upload = state.map_or(0.0, |state| state / bandwidth);
        let persist = self.persist.as_ref().map_or(upload, |persist| wrong.time("persist", persist));
        let changes = self.changes.as_ref().map(|changes| wrong.size("changes", changes) / bandwidth);
        let (recall, precision) = (wrong.share("recall", &self.recall), wrong.share("precision", &self.precision));
        if precision <= 0.0 {
            wrong.say("--precision: if no notice comes true, there is none: leave `--notice` out".to_owned());
        }
        let notices = match &self.notice {
            None => Notices::NONE,
            Some(grace) => {
                let (grace, margin) = (wrong.time("notice", grace), wrong.time("margin", &self.margin));
                Notices { recall, precision, grace, margin }
            }
        };
        let gaps = match (&self.gap, trace) {
            (Some(gap), _) => {
                Some(wrong.time("gap", gap)).filter(|gap| *gap > 0.0).map(|mean| Lives::Exponential { mean })
            }
            (None, Some(trace)) if !trace.gaps.is_empty() => Some(Lives::Recorded(trace.gaps.clone())),
            (None, _) => None,
        };
        let capacity = Capacity {
            gaps,
            patience: self.patience.as_ref().map(|patience| wrong.time("patience", patience)),
            price: wrong.number("price", &self.price),
            on_demand_price: self.on_demand_price.as_ref().map(|price| wrong.number("on-demand-price", price)),
        };
        let world = World {
            lives: self.lives_of(trace, &mut wrong),
            shocks: self.shocks.as_ref().and_then(|shocks| wrong.shocks(shocks)),
            checkpoints: Checkpoints {
                blocking,
                persist,
                interference: wrong.share("interference", &self.interference),
                per_second: changes,
            },
            notices,
            start: wrong.time("start", &self.start),
            restore: self.restore.as_ref().map_or(blocking.max(persist), |restore| wrong.time("restore", restore)),
            capacity,
            machines: wrong.number("machines", &self.machines).clamp(1.0, 10_000.0) as usize,
            every: wrong.every(&self.every),
            machine: Machine::Unknown,
        };
        wrong.none().map(|()| world)
    }

    fn lives_of(&self, trace: Option<&Trace>, wrong: &mut Wrong) -> Lives {
        let (kind, rest) = self.lives.split_once(':').unwrap_or((&self.lives, ""));
        let (first, second) = rest.split_once(',').unwrap_or((rest, ""));
        let usual = Lives::Exponential { mean: 3600.0 };
        let lives = match (kind, trace) {
            ("fitted", Some(trace)) => {
                let mean = Lives::Recorded(trace.interrupted()).mean();
                let seen: Vec<Life> = trace.lives.clone();
                fit::choose(&seen, &fit::Prior { mean, shape: 0.6 })
            }
            // The default gives way to a trace.
            ("recorded", Some(trace)) => Lives::Recorded(trace.interrupted()),
            ("weibull", Some(trace)) if self.lives == USUAL_LIVES => Lives::Recorded(trace.interrupted()),
            ("exponential", _) => Lives::Exponential { mean: wrong.time("lives", first) },
            ("weibull", _) => Lives::weibull_of_mean(wrong.time("lives", first), wrong.number("lives", second)),
            ("lognormal", _) => {
                Lives::Lognormal { median: wrong.time("lives", first), spread: wrong.number("lives", second) }
            }
            ("gcp-2019", _) => Lives::gcp_2019(),
            ("fitted" | "recorded", None) => {
                wrong.say(format!("`--lives {kind}` needs `--trace`"));
                usual.clone()
            }
            _ => {
                wrong.say(format!("`{}` is no model of lives", self.lives));
                usual.clone()
            }
        };
        lives.checked().unwrap_or_else(|error| {
            wrong.say(format!("--lives: {error}"));
            usual
        })
    }
}

/// Gathers what is wrong, so that it is all told at once.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn say(&mut self, what: String) {
        if !self.0.contains(&what) {
            self.0.push(what);
        }
    }

    fn time(&mut self, name: &str, text: &str) -> f64 {
        match text.parse::<Span>() {
            Ok(span) => span.duration().as_secs_f64(),
            Err(error) => {
                self.say(format!("--{name}: {error}"));
                1.0
            }
        }
    }

    fn size(&mut self, name: &str, text: &str) -> f64 {
        match text.trim_end_matches("/s").parse::<ByteSize>() {
            Ok(size) => size.bytes() as f64,
            Err(error) => {
                self.say(format!("--{name}: {error}"));
                1.0
            }
        }
    }

    fn number(&mut self, name: &str, text: &str) -> f64 {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => number,
            _ => {
                self.say(format!("--{name}: `{text}` is no number from 0 on"));
                1.0
            }
        }
    }

    fn share(&mut self, name: &str, text: &str) -> f64 {
        let share = self.number(name, text);
        if share > 1.0 {
            self.say(format!("--{name}: `{text}` is no share from 0 to 1"));
        }
        share.min(1.0)
    }

    fn shocks(&mut self, text: &str) -> Option<Shocks> {
        let Some((every, takes)) = text.split_once(',') else {
            self.say(format!("--shocks: `{text}` is not EVERY,SHARE, such as `6h,0.5`"));
            return None;
        };
        let (every, takes) = (self.time("shocks", every), self.share("shocks", takes));
        Some(Shocks { every: every.max(1.0), takes, within: 180.0 })
    }

    fn every(&mut self, text: &str) -> Every {
        match text {
            "auto" => Every::Auto,
            "young" => Every::Young,
            "daly" => Every::Daly,
            "exact" => Every::Exact,
            "never" => Every::Never,
            _ => Every::Work(self.time("every", text)),
        }
    }

    fn none(self) -> Result<(), CliError> {
        if self.0.is_empty() { Ok(()) } else { Err(CliError::Usage(self.0.join("\n"), None)) }
    }
}
