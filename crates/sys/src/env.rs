//! Environment variables and the current directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Reads the environment of this process.
pub trait Env: Send + Sync {
    /// Returns the variable's value; `None` if it is unset or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;

    /// Returns all variables.
    fn vars_os(&self) -> Vec<(OsString, OsString)>;

    /// Returns the current directory.
    ///
    /// # Errors
    /// If it was deleted or cannot be read.
    fn current_dir(&self) -> io::Result<PathBuf>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealEnv;

impl Env for RealEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn vars_os(&self) -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }

    fn current_dir(&self) -> io::Result<PathBuf> {
        std::env::current_dir()
    }
}

/// A fixed environment; for tests.
#[derive(Debug, Clone, Default)]
pub struct MapEnv {
    vars: BTreeMap<String, String>,
    dir: PathBuf,
}

impl MapEnv {
    /// Returns an environment without variables whose current directory is `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        MapEnv { vars: BTreeMap::new(), dir: dir.into() }
    }

    /// Returns this environment with `name` set to `value`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.vars.insert(name.into(), value.into());
        self
    }
}

impl Env for MapEnv {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn vars_os(&self) -> Vec<(OsString, OsString)> {
        self.vars.iter().map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn current_dir(&self) -> io::Result<PathBuf> {
        Ok(self.dir.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_env_knows_only_what_it_was_given() {
        let env = MapEnv::new("/w").with("A", "1");
        assert_eq!(env.var("A").as_deref(), Some("1"));
        assert_eq!(env.var("PATH"), None);
        assert_eq!(env.vars_os(), vec![("A".into(), "1".into())]);
        assert_eq!(env.current_dir().unwrap(), PathBuf::from("/w"));
    }

    #[test]
    fn the_real_environment_has_a_path() {
        assert!(RealEnv.var("PATH").is_some());
        assert!(RealEnv.vars_os().iter().any(|(name, _)| name == "PATH"));
    }
}
