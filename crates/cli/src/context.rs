//! What every command starts from: the machine, the wanted output, the store's place.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use prunella_faults::Faults;
use prunella_sys::Sys;

use crate::{
    args::{Args, Command, Output},
    error::CliError,
    project::StoreAt,
    settings::{Origin, Settings},
    transfers::TransferWords,
};

/// What every command starts from.
pub struct Context {
    /// The machine.
    pub sys: Sys,
    /// What storage and clock suffer, where somebody asks for that.
    pub faults: Option<Faults>,
    /// How to answer.
    pub output: Output,
    /// The store that was named, or that the project file names.
    pub store: Option<StoreAt>,
    /// Who named it.
    pub store_from: Origin,
    /// Stores of others from which commits are copied.
    pub read_from: Vec<StoreAt>,
    /// Who named them.
    pub read_from_by: Origin,
    /// What the command line says of transfers.
    pub transfers: TransferWords,
    /// What the project file says.
    pub settings: Settings,
    /// What is wrong with the project file, for the command that says what is wrong.
    pub unread: Option<CliError>,
}

impl Context {
    /// Returns the context of these arguments.
    ///
    /// # Errors
    /// All mistakes of the project file that counts for the command.
    pub fn new(args: &Args) -> Result<Self, CliError> {
        let (settings, unread) = (Settings::default(), None);
        let store_from = if args.store.is_some() { Origin::Flag } else { Origin::BuiltIn };
        let (sys, faults) = machine()?;
        let store = args.store.as_deref().map(StoreAt::named).transpose()?;
        let (read_from, read_from_by) = others(&sys, &args.read_from)?;
        let mut context = Self {
            sys,
            faults,
            output: args.output,
            store,
            store_from,
            read_from,
            read_from_by,
            transfers: args.transfers.clone(),
            settings,
            unread,
        };
        if let Some(base) = args.command.base() {
            let color = context.is_terminal();
            match Settings::read(&context.sys, args.config.as_deref(), &base, color) {
                Ok(settings) => context.settings = settings,
                Err(error) if matches!(args.command, Command::Doctor(_)) => context.unread = Some(error),
                Err(error) => return Err(error),
            }
            if let (None, Some(store)) = (&context.store, context.settings.store()?) {
                (context.store, context.store_from) = (Some(store), Origin::File);
            }
            if let (Origin::BuiltIn, Some(others)) = (context.read_from_by, context.settings.read_from()?) {
                (context.read_from, context.read_from_by) = (others, Origin::File);
            }
        }
        Ok(context)
    }

    /// Returns the context of a line that names this store and this project file.
    ///
    /// # Errors
    /// As [`Context::new`].
    pub fn naming(&self, store: Option<&str>, config: Option<&str>) -> Result<Self, CliError> {
        let config = config.map(str::to_owned).or_else(|| self.sys.env.var("PRUNELLA_CONFIG"));
        let settings = Settings::read(&self.sys, config.as_deref().map(Path::new), Path::new(""), false)?;
        let store = match store.map(Path::new).map(StoreAt::named).transpose()?.or_else(|| self.store.clone()) {
            Some(store) => Some(store),
            None => settings.store()?,
        };
        Ok(Self {
            sys: self.sys.clone(),
            faults: self.faults.clone(),
            output: self.output,
            store,
            store_from: Origin::BuiltIn,
            read_from: Vec::new(),
            read_from_by: Origin::BuiltIn,
            transfers: TransferWords::default(),
            settings,
            unread: None,
        })
    }

    /// Returns whether people read, with colour and in place.
    pub fn is_terminal(&self) -> bool {
        self.output == Output::Text
            && std::io::stdout().is_terminal()
            && self.sys.env.var("NO_COLOR").is_none()
            && self.sys.env.var("TERM").as_deref() != Some("dumb")
    }

    /// Returns the directory of caches: `$XDG_CACHE_HOME/prunella`, by default `~/.cache/prunella`.
    pub fn cache(&self) -> PathBuf {
        let env = &self.sys.env;
        let base = env.var("XDG_CACHE_HOME").filter(|dir| dir.starts_with('/')).map(PathBuf::from);
        let base = base.or_else(|| env.var("HOME").map(|home| PathBuf::from(home).join(".cache")));
        base.unwrap_or_else(|| PathBuf::from("/tmp")).join("prunella")
    }
}

/// Returns this machine, and what its storage and clock suffer if the environment asks for that.
fn machine() -> Result<(Sys, Option<Faults>), CliError> {
    let sys = Sys::real();
    // Around what suffers: a point is what was asked for, whatever comes of it.
    let counted = |sys: Sys| sys.with_crash_points().map_err(|wrong| CliError::Usage(wrong, None));
    match Faults::asked_for(&sys) {
        Ok(None) => Ok((counted(sys)?, None)),
        Ok(Some(faults)) => Ok((counted(faults.around(sys))?, Some(faults))),
        Err(error) => {
            let hint = "docs/configuration.md says what it holds; without the variable nothing goes wrong";
            Err(CliError::Usage(error.to_string(), Some(hint.to_owned())))
        }
    }
}

/// Stores of others, where none is named on the command line.
pub const READ_FROM: &str = "PRUNELLA_READ_FROM";

/// Returns the stores of others that command line or environment name; an empty variable names none.
fn others(sys: &Sys, flags: &[PathBuf]) -> Result<(Vec<StoreAt>, Origin), CliError> {
    let named = |words: Vec<PathBuf>| words.iter().map(|word| StoreAt::named(word)).collect::<Result<Vec<_>, _>>();
    match sys.env.var(READ_FROM) {
        _ if !flags.is_empty() => Ok((named(flags.to_vec())?, Origin::Flag)),
        Some(text) => Ok((named(text.split_whitespace().map(PathBuf::from).collect())?, Origin::Environment)),
        None => Ok((Vec::new(), Origin::BuiltIn)),
    }
}
