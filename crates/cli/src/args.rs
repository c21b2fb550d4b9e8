//! What may stand on the command line.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::{commands, project::pipeline_file, transfers::TransferWords};

/// Machine-learning pipelines that finish correctly although machines vanish.
#[derive(Debug, Parser)]
#[command(
    name = "prunella",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 succeeded, 1 failed, 2 wrong \
    input or usage, 75 stopped or interrupted and resumable, 78 refused."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// How to answer.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// The store: a directory, or `s3://BUCKET/PREFIX`, `gs://…`, `az://…` [default: `.prunella` beside the pipeline file].
    #[arg(long, global = true, value_name = "DIR|URL", env = "PRUNELLA_STORE")]
    pub store: Option<PathBuf>,

    /// A store of others from which finished work is copied, as often as there are some; it is only read.
    /// Also PRUNELLA_READ_FROM, with blanks between them.
    #[arg(long, global = true, value_name = "DIR|URL")]
    pub read_from: Vec<PathBuf>,

    /// The project file [default: `prunella.toml` beside the pipeline file, or the nearest above it].
    #[arg(long, global = true, value_name = "FILE", env = "PRUNELLA_CONFIG")]
    pub config: Option<PathBuf>,

    /// What limits transfers.
    #[command(flatten)]
    pub transfers: TransferWords,
}

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs; the schemas are in docs/cli.md.
    Json,
}

/// The commands. The first lines of each command's own documentation are its help.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(commands::init::Init),
    Validate(commands::validate::Validate),
    Pin(commands::pin::Pin),
    Graph(commands::graph::Graph),
    Plan(commands::plan::Plan),
    Run(commands::run::Run),
    Resume(commands::resume::Resume),
    Retry(commands::retry::Retry),
    Stop(commands::stop::Stop),
    Status(commands::status::Status),
    Logs(commands::logs::Logs),
    Explain(commands::explain::Explain),
    Shell(commands::shell::Shell),
    Get(commands::get::Get),
    Publish(commands::publish::Publish),
    Runs(commands::runs::Runs),
    Report(commands::report::ReportCommand),
    Diff(commands::diff::Diff),
    Exec(commands::exec::Exec),
    Tell(commands::tell::Tell),
    Verify(commands::verify::Verify),
    Heal(commands::heal::Heal),
    Chaos(commands::chaos::Chaos),
    Gc(commands::gc::Gc),
    Store(commands::store::StoreCommand),
    Index(commands::index::Index),
    Doctor(commands::doctor::Doctor),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
    #[command(hide = true)]
    Complete(commands::complete::Complete),
}

impl Command {
    /// Returns the directory from which the project file is looked for; nothing if the command is not about a project.
    pub fn base(&self) -> Option<PathBuf> {
        let file = match self {
            Self::Graph(graph) => pipeline_file(&graph.which.words),
            Self::Plan(plan) => pipeline_file(&plan.which.words),
            Self::Run(run) => pipeline_file(&run.which.words),
            Self::Chaos(chaos) => pipeline_file(&chaos.which.words),
            Self::Pin(pin) => return Some(directory(pin.file.as_deref())),
            Self::Validate(validate) => return Some(directory(validate.file.as_deref())),
            Self::Init(_) | Self::Tell(_) | Self::Completions(_) | Self::Man(_) | Self::Complete(_) => return None,
            _ => None,
        };
        Some(directory(file.as_deref()))
    }
}

/// Returns the directory of a pipeline file, or the one that was named in its place.
fn directory(file: Option<&Path>) -> PathBuf {
    match file {
        Some(path) if path.is_dir() => path.to_owned(),
        Some(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        None => PathBuf::new(),
    }
}

/// Which pipeline, and which of its steps.
#[derive(Debug, Clone, ClapArgs)]
pub struct Which {
    /// The pipeline file (default ./pipeline.yaml), then steps: only these and what they need.
    #[arg(value_name = "FILE|STEP")]
    pub words: Vec<String>,

    /// Set a parameter.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}
