//! `prunella shell`: look around where a step works.

use std::{
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    sync::Arc,
};

use clap::Args;
use prunella_attempt::{Ground, NoScratch, Pool, Request, Scratch, Start};
use prunella_engine::look_request;
use prunella_journal::read_all;
use prunella_model::{Epoch, Item, SlotId, Step, StepAddress, shell_quote};
use prunella_store::{
    KeyView, Store,
    records::{End, EndRecord},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use super::{exec::heal, reading, run_and_step, without_attempt};
use crate::{answer::note, context::Context, error::CliError, history, open, present::short, project::Place};

/// Open a shell where a step works, to look and to try.
///
/// In a directory of its own with the step's code, inputs, environment, variables and checkpoint, as its next attempt would
/// see them, or as the attempt that is named saw them. Nothing that is done there is committed or recorded, and the
/// directory is removed at the end. Exits as the shell or the command does.
#[derive(Debug, Args)]
pub struct Shell {
    /// The step, or one of its attempts; before it a run, or the beginning of its id.
    #[arg(value_name = "[RUN] STEP[@ATTEMPT]", required = true, num_args = 1..=2)]
    words: Vec<String>,

    /// Leave the directory where it is, and say where.
    #[arg(long)]
    keep: bool,

    /// What to run there, after `--` [default: $SHELL].
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Directories of shells that are open.
const OPEN: &str = "shell-";
/// Directories that stay.
const KEPT: &str = "kept-";
/// Variables of the terminal, beside what the step sees.
const TERMINAL: &[&str] = &["TERM", "COLORTERM", "SHELL"];

impl Shell {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if there is no such step or attempt, what it needs is not there, or bytes are damaged (78).
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        let store = reading(context)?;
        let (words, epoch) = without_attempt(&self.words)?;
        let (run, step) = run_and_step(&store, &words).await?;
        let address = StepAddress { name: step.name.clone(), item: step.item.as_ref().map(Item::label) };
        let mut request = look_request(&store, &run, &address, &[]).await?;
        let spec = request.graph.graph.pipeline.steps.get(&step.name).expect("the request is of a step").clone();
        let view = store.look(&request.key).await?;
        let (epoch, start) = match epoch {
            Some(epoch) => (epoch, start_of(&store, &request, &view, epoch).await?),
            None => {
                heal(&mut request, &spec, &view);
                (view.highest().map_or(Epoch::FIRST, |highest| highest.next()), Start::Next)
            }
        };
        let directory = self.directory(context)?;
        let done = self.inside(context, &store, &request, &spec, (epoch, start), &directory).await;
        if self.keep && done.is_ok() {
            return done;
        }
        let removed = context.sys.fs.remove_dir_all(&directory).map_err(CliError::io(&directory));
        let code = done?;
        removed.map(|()| code)
    }

    /// Makes the directory in which everything is laid out: beside the store's workspaces, or where it may be written.
    fn directory(&self, context: &Context) -> Result<PathBuf, CliError> {
        let fs = &*context.sys.fs;
        let place = Place::of(context, Path::new("pipeline.yaml"));
        let beside = std::path::absolute(place.store.join("work")).map_err(CliError::io(&place.store))?.join(".shells");
        let base = match fs.create_dir_all(&beside) {
            Ok(_) => beside,
            Err(_) => context.sys.env.var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from),
        };
        open::remove_dead(context, &base, OPEN);
        let directory = base.join(open::owned_name(context, if self.keep { KEPT } else { OPEN }));
        fs.create_dir(&directory).map_err(CliError::io(&directory))?;
        fs.set_mode(&directory, 0o700).map_err(CliError::io(&directory))?;
        Ok(directory)
    }

    async fn inside(
        &self,
        context: &Context,
        store: &Store,
        request: &Request,
        spec: &Step,
        (epoch, start): (Epoch, Start),
        directory: &Path,
    ) -> Result<u8, CliError> {
        let base = Place::of(context, Path::new("pipeline.yaml")).base;
        let secrets = open::secrets(context, &base, std::iter::once((&request.step.name, spec)))?;
        let environment = open::environment(context, &request.graph.graph)?;
        let (inherited, pool) = (context.sys.env.vars_os(), Arc::<Pool>::default());
        let digests = std::path::absolute(&Place::of(context, Path::new("pipeline.yaml")).store)
            .map_err(CliError::io(directory))?;
        let ground = Ground {
            store,
            sys: &context.sys,
            work: directory,
            digests: &digests,
            environment: &environment,
            secrets: &secrets,
            inherited: &inherited,
            pool: &pool,
        };
        let scratch = match Scratch::make(&ground, request, epoch, start).await {
            Ok(scratch) => scratch,
            Err(error) => return Err(refused(store, request, error).await?),
        };
        for (checkpoint, problem) in &scratch.skipped {
            note(&format!("checkpoint {checkpoint} is not laid out: {problem}"));
        }
        if self.command.is_empty() {
            let restored = scratch.restored.map_or_else(String::new, |id| format!(", with checkpoint {id}"));
            note(&format!("{}@{epoch} of run {}{restored}", request.step, short(&request.run)));
            note(&format!("  it runs: {}", in_words(&scratch.command)));
            note("  nothing is committed here; `exit` ends it");
        }
        if self.keep {
            note(&format!("kept: {}", scratch.root.display()));
        }
        // Before there is a child: a signal to both must not end this one, which has to clean up.
        let heard = Heard::listen()?;
        let child = self.start(context, &scratch)?;
        Ok(code_of(heard.wait(child).await?))
    }

    fn start(&self, context: &Context, scratch: &Scratch) -> Result<Child, CliError> {
        let env = &context.sys.env;
        let shell = env.var("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".to_owned());
        let (program, arguments) = match self.command.split_first() {
            Some((program, arguments)) => (program.clone(), arguments),
            None => (shell, &[][..]),
        };
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(&scratch.root).env_clear();
        if std::io::stdin().is_terminal() {
            command.envs(TERMINAL.iter().filter_map(|name| Some((name, env.var(name)?))));
        }
        command.envs(scratch.variables.iter().map(|(name, value)| (name, value)));
        command.spawn().map_err(|error| {
            let hint = "name a program that is on the step's PATH, or by its path".to_owned();
            CliError::Usage(format!("could not start `{program}`: {error}"), Some(hint))
        })
    }
}

/// Returns what an attempt of the step's key began with.
async fn start_of(store: &Store, request: &Request, view: &KeyView, epoch: Epoch) -> Result<Start, CliError> {
    let Some(slot) = view.slots.get(&epoch) else {
        let there: Vec<String> = view.slots.keys().map(|epoch| format!("{}@{epoch}", request.step)).collect();
        let hint = match there.as_slice() {
            [] => "nothing of what it is now was tried yet; without `@` it is opened as the next attempt".to_owned(),
            there => {
                format!("what it is now was tried as {}; an attempt of what it was before is gone", there.join(", "))
            }
        };
        return Err(CliError::Usage(format!("there is no attempt `{}@{epoch}`", request.step), Some(hint)));
    };
    let timeline = match &slot.end {
        Some(EndRecord { end: End::Committed(committed), .. }) => Some(&committed.timeline),
        Some(EndRecord { end: End::Closed(closed), .. }) => Some(&closed.timeline),
        None => None,
    };
    if let Some((id, _)) = timeline.and_then(|timeline| timeline.restored.as_ref()) {
        return Ok(Start::From(*id));
    }
    // Of an attempt that is open, or was closed by somebody else, the journal knows.
    let Some(run) = slot.start.as_ref().map(|start| &start.run) else { return Ok(Start::Zero) };
    let events = read_all(&**store.objects(), run).await?.events;
    let slot = SlotId { key: request.key, epoch };
    let attempts = history::attempts(&events, &request.step);
    let restored = attempts.iter().find(|attempt| attempt.slot == slot).and_then(|attempt| attempt.restored);
    Ok(restored.map_or(Start::Zero, |(id, _)| Start::From(id)))
}

/// Bytes of a run that was given up, or of a retired commit, may be gone by right: that is no damage.
async fn refused(store: &Store, request: &Request, error: NoScratch) -> Result<CliError, CliError> {
    let message = error.to_string();
    match error {
        NoScratch::Store(error) => return Ok(error.into()),
        NoScratch::NoStep { .. } => return Ok(CliError::Usage(message, None)),
        NoScratch::Lost { .. } => {}
    }
    let mut collected = store.is_given_up(&request.run).await?;
    for slot in request.inputs.values().flat_map(|input| input.slots()) {
        let view = store.look(&slot.key).await?;
        collected |= view.slots.get(&slot.epoch).is_some_and(|slot| slot.retired);
    }
    let hint = match collected {
        true => "`prunella gc` removed it; a run with the same code and data makes it anew".to_owned(),
        false => format!("`prunella heal {}` makes what is lost anew", short(&request.run)),
    };
    Ok(CliError::Refused(message, Some(hint)))
}

/// The signals that would end this process before it has cleaned up.
struct Heard {
    interrupt: Listener,
    quit: Listener,
    terminate: Listener,
    hangup: Listener,
}

impl Heard {
    fn listen() -> Result<Self, CliError> {
        let listen = |kind| signal(kind).map_err(CliError::io("signals"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits until the child has ended. What the terminal sends goes to both; the rest is passed on.
    async fn wait(mut self, mut child: Child) -> Result<ExitStatus, CliError> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let by_terminal = std::io::stdin().is_terminal();
        let mut ended = tokio::task::spawn_blocking(move || child.wait());
        loop {
            let heard = tokio::select! {
                ended = &mut ended => {
                    let ended = ended.map_err(std::io::Error::other).and_then(|ended| ended);
                    return ended.map_err(CliError::io("the shell"));
                }
                Some(()) = self.interrupt.recv() => (!by_terminal).then_some(Signal::INT),
                Some(()) = self.quit.recv() => (!by_terminal).then_some(Signal::QUIT),
                Some(()) = self.terminate.recv() => Some(Signal::TERM),
                Some(()) = self.hangup.recv() => Some(Signal::HUP),
            };
            if let (Some(heard), Some(pid)) = (heard, pid) {
                let _gone_already = kill_process(pid, heard);
            }
        }
    }
}

/// Returns the exit code as a shell would.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Returns a command as it could be typed.
fn in_words(command: &[String]) -> String {
    command.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
}
