//! Names that only the store knows, for shells that complete what is typed: runs, steps, items, attempts, outputs.
//!
//! Whatever is wrong, a completion says nothing: a store that is not there, a run that cannot be read, a line that is no
//! command. It opens the store for reading, and reads no more than one run.

mod line;
mod scripts;

use prunella_engine::{Plan, load_state};
use prunella_model::{RunId, StepId, StepName};
use prunella_store::{Store, records::GraphRecord};

use crate::error::CliError;

pub use line::{Line, behind_breaks};
pub use scripts::asking;

/// More names than this are no help to anybody.
const MOST: usize = 1000;

/// What a word of a command may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// A run.
    Run,
    /// A run, or a step of the newest one, or, behind a run, a step of that.
    RunOrStep,
    /// A run, or an output of a step, or, behind a run, an output of one of its steps.
    RunOrOutput,
    /// A step of the newest run, as often as one likes.
    Steps,
}

/// Returns what the words of a command are; nothing for commands whose words the shell knows.
fn wanted(command: &str) -> Option<Wanted> {
    Some(match command {
        "resume" | "stop" | "status" | "verify" | "heal" | "diff" => Wanted::Run,
        "logs" | "explain" | "shell" | "retry" => Wanted::RunOrStep,
        "get" | "publish" => Wanted::RunOrOutput,
        "run" | "plan" | "graph" => Wanted::Steps,
        _ => return None,
    })
}

/// Options that take a value, by which they are told from words; the value of `--store` and `--config` counts.
const WITH_VALUE: &[&str] = &[
    "--store",
    "--config",
    "--output",
    "--set",
    "--jobs",
    "-j",
    "--gpus",
    "--notices",
    "--force",
    "--from",
    "--warm",
    "--run",
    "--step",
    "--sample",
    "--timeout",
    "--format",
    "--upstream",
    "--keep-runs",
];

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Asked {
    command: Option<String>,
    /// The words of the command that are ended.
    words: Vec<String>,
    /// The option whose value is being typed.
    option: Option<String>,
    /// The store that is named.
    pub store: Option<String>,
    /// The project file that is named.
    pub config: Option<String>,
}

impl Asked {
    /// Takes the words of a line apart.
    pub fn of(line: &Line) -> Self {
        let mut asked = Self::default();
        let mut words = line.words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                // What follows belongs to another program.
                return Self::default();
            }
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            if !word.starts_with('-') {
                match asked.command {
                    None => asked.command = Some(word.clone()),
                    Some(_) => asked.words.push(word.clone()),
                }
            } else if WITH_VALUE.contains(&name) {
                let Some(value) = value.map(str::to_owned).or_else(|| words.next().cloned()) else {
                    asked.option = Some(name.to_owned());
                    break;
                };
                match name {
                    "--store" => asked.store = Some(value),
                    "--config" => asked.config = Some(value),
                    "--run" => asked.words.insert(0, value),
                    _ => {}
                }
            }
        }
        asked
    }

    /// Returns what could stand there, beginning with what is typed.
    ///
    /// # Errors
    /// The store's; whoever completes says nothing then.
    pub async fn answer(&self, store: &Store, current: &str) -> Result<Vec<String>, CliError> {
        let Some(command) = self.command.as_deref() else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        match self.option.as_deref() {
            Some("--run") => runs(store, current, &mut names).await?,
            Some("--force" | "--from" | "--step") => steps(store, self.run(store).await?, current, &mut names).await?,
            Some(_) => {}
            None if current.starts_with('-') => {}
            None => match wanted(command) {
                None => {}
                Some(Wanted::Run) => runs(store, current, &mut names).await?,
                Some(Wanted::Steps) => steps(store, newest(store).await?, current, &mut names).await?,
                Some(of @ (Wanted::RunOrStep | Wanted::RunOrOutput)) => {
                    let run = match self.words.first() {
                        Some(word) => run_of(store, word).await?,
                        None => {
                            runs(store, current, &mut names).await?;
                            newest(store).await?
                        }
                    };
                    match of {
                        Wanted::RunOrOutput => outputs(store, run, current, &mut names).await?,
                        _ => steps(store, run, current, &mut names).await?,
                    }
                }
            },
        }
        names.truncate(MOST);
        Ok(names)
    }

    async fn run(&self, store: &Store) -> Result<Option<RunId>, CliError> {
        match self.words.first() {
            Some(word) => Ok(run_of(store, word).await?.or(newest(store).await?)),
            None => newest(store).await,
        }
    }
}

async fn runs(store: &Store, current: &str, names: &mut Vec<String>) -> Result<(), CliError> {
    let mut all = store.runs().await?;
    all.sort_by_key(|run| std::cmp::Reverse((run.at_ms, run.order)));
    let ids = all.into_iter().map(|run| run.run.to_string());
    names.extend(ids.filter(|id| id.starts_with(current)).take(MOST));
    Ok(())
}

async fn newest(store: &Store) -> Result<Option<RunId>, CliError> {
    Ok(store.runs().await?.into_iter().max_by_key(|run| (run.at_ms, run.order)).map(|run| run.run))
}

async fn run_of(store: &Store, word: &str) -> Result<Option<RunId>, CliError> {
    let mut found = store.runs().await?.into_iter().filter(|run| run.run.as_str().starts_with(word));
    Ok(match (found.next(), found.next()) {
        (Some(run), None) => Some(run.run),
        _ => None,
    })
}

/// Names steps; items only behind the colon, for there may be very many.
async fn steps(store: &Store, run: Option<RunId>, current: &str, names: &mut Vec<String>) -> Result<(), CliError> {
    let Some(run) = run else { return Ok(()) };
    let record = store.graph(&run).await?;
    if let Some((step, _)) = current.split_once(':') {
        let items = items(store, &run, &record, step).await?;
        names.extend(items.iter().map(StepId::to_string).filter(|name| name.starts_with(current)));
        return Ok(());
    }
    let all = record.graph.pipeline.steps.keys().map(StepName::to_string);
    names.extend(all.filter(|name| name.starts_with(current)));
    Ok(())
}

/// Names outputs, as `get` takes them.
async fn outputs(store: &Store, run: Option<RunId>, current: &str, names: &mut Vec<String>) -> Result<(), CliError> {
    let Some(run) = run else { return Ok(()) };
    let record = store.graph(&run).await?;
    let of_items = current.split_once(':').map(|(step, _)| step);
    for (name, step) in &record.graph.pipeline.steps {
        let makers = match of_items {
            Some(wanted) if wanted == name.as_str() => items(store, &run, &record, wanted).await?,
            Some(_) => continue,
            None => vec![StepId::plain(name.clone())],
        };
        let all = makers.iter().flat_map(|maker| step.outputs.keys().map(move |port| format!("{maker}.{port}")));
        names.extend(all.filter(|name| name.starts_with(current)));
    }
    Ok(())
}

/// Returns the items of a step; the journal is read only if the graph does not say them.
async fn items(store: &Store, run: &RunId, record: &GraphRecord, step: &str) -> Result<Vec<StepId>, CliError> {
    let Ok(address) = step.parse() else { return Ok(Vec::new()) };
    let of = |plan: &Plan| -> Option<Vec<StepId>> {
        let members = plan.topology().members(plan.find(&address).ok()?)?;
        Some(members.iter().take(MOST).map(|member| plan.id(*member).clone()).collect())
    };
    let plan = Plan::build(record.graph.clone(), &record.targets).ok();
    if let Some(found) = plan.as_ref().and_then(of) {
        return Ok(found);
    }
    let plan = load_state(store, run).await?.plan;
    Ok(of(&plan).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        Asked::of(&Line::read(text))
    }

    #[test]
    fn options_and_their_values_are_told_from_words() {
        let told = asked("prunella --store a logs --follow --output=json 01a2 tr");
        assert_eq!((told.command.as_deref(), told.store.as_deref()), (Some("logs"), Some("a")));
        assert_eq!(told.words, ["01a2"]);
        assert_eq!(asked("prunella run --force ").option.as_deref(), Some("--force"));
        assert_eq!(asked("prunella exec --run 01a2 --step ").words, ["01a2"]);
        assert_eq!(asked("prunella shell train -- ca"), Asked::default());
    }
}
