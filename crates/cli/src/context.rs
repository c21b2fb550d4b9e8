//! What every command starts from: the machine, the wanted output, the store's place.

use std::{io::IsTerminal, path::PathBuf};

use prunella_sys::Sys;

use crate::args::{Args, Output};

/// What every command starts from.
pub struct Context {
    /// The machine.
    pub sys: Sys,
    /// How to answer.
    pub output: Output,
    /// The store that was named.
    pub store: Option<PathBuf>,
}

impl Context {
    /// Returns the context of these arguments.
    pub fn new(args: &Args) -> Self {
        Self { sys: Sys::real(), output: args.output, store: args.store.clone() }
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
