//! What went wrong, what to do now, and the exit code: the only place where hints are added.

use prunella_engine::EngineError;
use prunella_environment::EnvironmentError;
use prunella_objects::ObjectsError;
use prunella_process::ProcessError;
use prunella_store::StoreError;

use crate::{answer, args::Output};

/// A command that did not do what it was asked.
#[derive(Debug)]
pub enum CliError {
    /// Wrong input, already rendered with its places.
    Diagnostics {
        /// For people.
        text: String,
        /// For programs.
        json: serde_json::Value,
    },
    /// Wrong usage or input.
    Usage(String, Option<String>),
    /// Refused by contract: trying again as it is helps nothing.
    Refused(String, Option<String>),
    /// The engine stopped.
    Engine(EngineError),
    /// The store refused.
    Store(StoreError),
    /// The environment cannot be made.
    Environment(EnvironmentError),
    /// A file cannot be read or written.
    Io(std::path::PathBuf, std::io::Error),
    /// Nobody reads the answer any more.
    Closed,
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => Self::Store(error),
            other => Self::Engine(other),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ObjectsError> for CliError {
    fn from(error: ObjectsError) -> Self {
        Self::Store(error.into())
    }
}

impl From<ProcessError> for CliError {
    fn from(error: ProcessError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<EnvironmentError> for CliError {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl From<prunella_journal::JournalError> for CliError {
    fn from(error: prunella_journal::JournalError) -> Self {
        Self::Engine(error.into())
    }
}

impl CliError {
    /// Returns the error for a file.
    pub fn io(path: impl Into<std::path::PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io(path, error)
    }

    /// Returns the exit code: 2 wrong input, 75 again later, 78 refused.
    pub fn code(&self) -> u8 {
        match self {
            Self::Diagnostics { .. } | Self::Usage(..) => 2,
            Self::Refused(..) => 78,
            Self::Engine(error) => match error {
                EngineError::Plan(_) | EngineError::NoStep { .. } => 2,
                error if error.is_resumable() => 75,
                _ => 78,
            },
            Self::Store(StoreError::NoRun { .. }) => 2,
            Self::Store(StoreError::Objects(ObjectsError::NoStore { .. })) => 2,
            Self::Store(StoreError::Objects(ObjectsError::NewerFormat { .. } | ObjectsError::Unfit { .. })) => 78,
            Self::Store(StoreError::Objects(ObjectsError::Forbidden { .. } | ObjectsError::NoBucket { .. })) => 78,
            Self::Store(
                StoreError::Damaged { .. }
                | StoreError::DamagedRecord { .. }
                | StoreError::GivenUp { .. }
                | StoreError::Occupied { .. },
            ) => 78,
            Self::Store(_) | Self::Io(..) => 75,
            // Whoever closed it had enough: `prunella runs | head -1`.
            Self::Closed => 0,
            Self::Environment(error) => match error.remedy() {
                prunella_environment::Remedy::Retry => 75,
                prunella_environment::Remedy::Stop => 75,
                prunella_environment::Remedy::Fix => 2,
            },
        }
    }

    /// Returns what went wrong, with all causes.
    pub fn message(&self) -> String {
        match self {
            Self::Diagnostics { text, .. } => text.clone(),
            Self::Usage(text, _) | Self::Refused(text, _) => text.clone(),
            Self::Engine(error) => chain(error),
            Self::Store(error) => chain(error),
            Self::Environment(error) => chain(error),
            Self::Io(path, error) => format!("could not access `{}`: {error}", path.display()),
            Self::Closed => String::new(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Diagnostics { .. } => None,
            Self::Usage(_, hint) | Self::Refused(_, hint) => hint.clone(),
            Self::Engine(error) => match error {
                EngineError::Driven { run, .. } => Some(format!(
                    "watch it with `prunella status {run}`, end it with `prunella stop {run}`, or replace it with \
                     `--take-over`"
                )),
                EngineError::Process(_)
                | EngineError::Journal(_)
                | EngineError::NotTakenUp { .. }
                | EngineError::Twin { .. } => Some("what was committed stands; `prunella resume` goes on".to_owned()),
                _ => None,
            },
            Self::Store(error) if error.is_no_space() => {
                Some("make room on that disk, then `prunella resume` goes on; nothing is lost".to_owned())
            }
            Self::Store(error) if error.is_read_only() => {
                Some("give write access, or name another store with `--store DIR`".to_owned())
            }
            Self::Store(StoreError::NoRun { .. }) => Some("`prunella runs` lists them".to_owned()),
            Self::Store(StoreError::GivenUp { .. }) => Some("begin a new run with `prunella run`".to_owned()),
            Self::Store(StoreError::Objects(ObjectsError::NoStore { .. })) => {
                Some("run a pipeline first, or name its store with `--store DIR|URL`".to_owned())
            }
            Self::Store(StoreError::Objects(ObjectsError::Unreachable { .. } | ObjectsError::Undecided { .. })) => {
                Some("what was committed stands; the same command goes on when the store answers again".to_owned())
            }
            Self::Store(StoreError::Objects(ObjectsError::Forbidden { .. })) => Some(
                "credentials come from the environment, the shared configuration or the machine's identity; \
                 `prunella store check URL` says which right is missing"
                    .to_owned(),
            ),
            Self::Store(StoreError::Objects(ObjectsError::NoBucket { .. })) => {
                Some("make the bucket first, or correct its name: prunella makes none".to_owned())
            }
            Self::Store(StoreError::Occupied { .. }) => Some(
                "move it away, or publish to another path; `prunella publish` then does what is outstanding".to_owned(),
            ),
            Self::Store(StoreError::DamagedRecord { .. }) => Some(
                "have the storage checked; `prunella verify` names all that is damaged, and what is lost".to_owned(),
            ),
            Self::Store(StoreError::Damaged { .. }) => {
                Some("have the storage checked; `prunella run --force STEP` makes the step's results anew".to_owned())
            }
            Self::Store(_) => None,
            Self::Environment(error) => Some(error.help()),
            Self::Io(..) | Self::Closed => None,
        }
    }

    /// Prints the error and returns its exit code.
    pub fn report(&self, output: Output) -> u8 {
        let code = self.code();
        if matches!(self, Self::Closed) {
            return code;
        }
        match output {
            Output::Json => {
                let mut answer = serde_json::json!({ "error": self.message(), "code": code });
                if let Some(hint) = self.hint() {
                    answer["hint"] = hint.into();
                }
                if let Self::Diagnostics { json, .. } = self {
                    answer = serde_json::json!({ "diagnostics": json, "code": code });
                }
                let _nobody_reads = answer::say_json_line(&answer);
            }
            Output::Text => {
                match self {
                    Self::Diagnostics { text, .. } => answer::note(text.trim_end()),
                    other => answer::note(&format!("error: {}", other.message())),
                }
                if let Some(hint) = self.hint() {
                    answer::note(&format!("  help: {hint}"));
                }
            }
        }
        code
    }
}

/// Returns the message with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
