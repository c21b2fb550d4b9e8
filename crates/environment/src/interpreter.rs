//! Which Python: what identifies it, and how it is found.

use std::fmt;
use std::path::{Path, PathBuf};

use prunella_model::{Digest, Encoder};
use prunella_sys::Sys;
use serde::{Deserialize, Serialize};

use crate::EnvironmentError;
use crate::message::last_words;
use crate::tool::{command, find_uv, is_executable, on_path, output};

/// What of an interpreter can change a step's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterId {
    /// The exact version, such as `3.12.1`.
    pub version: String,
    /// Such as `cpython`.
    pub implementation: String,
    /// The ABI of extension modules, such as `cpython-312-x86_64-linux-gnu`.
    pub abi: String,
    /// Such as `linux-x86_64`.
    pub platform: String,
}

impl InterpreterId {
    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        encoder.field("version").text(&self.version);
        encoder.field("implementation").text(&self.implementation);
        encoder.field("abi").text(&self.abi);
        encoder.field("platform").text(&self.platform);
    }

    /// Returns whether `wanted` stands for this version, as `3.12` does for `3.12.1`.
    ///
    /// Whole numbers are compared, so that `3.1` does not.
    pub(crate) fn fits(&self, wanted: &str) -> bool {
        self.version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Returns the digest of these four.
    pub(crate) fn digest(&self) -> Digest {
        let mut encoder = Encoder::new("prunella-interpreter-1");
        self.encode(&mut encoder);
        encoder.finish()
    }
}

impl fmt::Display for InterpreterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}, {})", self.implementation, self.version, self.abi, self.platform)
    }
}

/// An interpreter on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    pub(crate) id: InterpreterId,
}

#[derive(Deserialize)]
struct Answer {
    executable: PathBuf,
    #[serde(flatten)]
    id: InterpreterId,
}

/// Asks an interpreter who it is. Started by a shim, it tells where it really lies.
const PROBE: &str = "\
import json, platform, sys, sysconfig
print(json.dumps({
    'executable': sys.executable,
    'version': platform.python_version(),
    'implementation': sys.implementation.name,
    'abi': sysconfig.get_config_var('SOABI') or sys.implementation.cache_tag,
    'platform': sysconfig.get_platform(),
}))";

/// Returns the interpreter behind `program`, or why it is none.
pub(crate) fn probe(sys: &Sys, program: &Path) -> Result<Interpreter, String> {
    let answer = command(sys, program, None)
        .and_then(|mut command| {
            command.args(["-I", "-c", PROBE]);
            output(command, "python")
        })
        .map_err(|error| error.to_string())?;
    if !answer.status.success() {
        let words = last_words(&String::from_utf8_lossy(&answer.stderr));
        return Err(words.lines().next().unwrap_or_default().to_owned());
    }
    let answer: Answer = serde_json::from_slice(&answer.stdout).map_err(|_| "is no Python 3".to_owned())?;
    Ok(Interpreter { path: answer.executable, id: answer.id })
}

/// Returns the interpreter that the user asks for.
///
/// # Errors
/// [`EnvironmentError::NoPython`], with all that was looked at.
pub(crate) fn find(sys: &Sys, wanted: Option<&str>) -> Result<Interpreter, EnvironmentError> {
    let mut tried = Vec::new();
    search(sys, wanted, &mut tried, &|id| wanted.is_none_or(|wanted| wanted.contains('/') || id.fits(wanted)))
        .ok_or_else(|| EnvironmentError::NoPython {
            wanted: wanted.map_or_else(|| "python3".to_owned(), |wanted| format!("Python {wanted}")),
            tried,
        })
}

/// Returns an interpreter of this machine that is exactly the one in a lock.
///
/// # Errors
/// [`EnvironmentError::InterpreterDiffers`], with all that was looked at.
pub(crate) fn find_locked(sys: &Sys, locked: &InterpreterId) -> Result<Interpreter, EnvironmentError> {
    let mut tried = Vec::new();
    search(sys, Some(&locked.version), &mut tried, &|id| id == locked)
        .ok_or_else(|| EnvironmentError::InterpreterDiffers { locked: Box::new(locked.clone()), tried })
}

fn search(
    sys: &Sys,
    wanted: Option<&str>,
    tried: &mut Vec<String>,
    fit: &dyn Fn(&InterpreterId) -> bool,
) -> Option<Interpreter> {
    let mut attempt = |program: PathBuf| match probe(sys, &program) {
        Ok(found) if fit(&found.id) => Some(found),
        Ok(found) => {
            tried.push(format!("`{}`: {}", program.display(), found.id.version));
            None
        }
        Err(why) => {
            tried.push(format!("`{}`: {why}", program.display()));
            None
        }
    };
    if let Some(path) = wanted.filter(|wanted| wanted.contains('/')) {
        return attempt(PathBuf::from(path));
    }
    for name in names(wanted) {
        for program in on_path(sys, &name) {
            if let Some(found) = attempt(program) {
                return Some(found);
            }
        }
    }
    uv_managed(sys, wanted).and_then(attempt)
}

/// Returns what an interpreter of that version may be called, most exact first.
fn names(wanted: Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(wanted) = wanted {
        let parts: Vec<&str> = wanted.split('.').collect();
        if parts.len() >= 2 {
            names.push(format!("python{}.{}", parts[0], parts[1]));
        }
    }
    names.extend(["python3".to_owned(), "python".to_owned()]);
    names
}

/// Returns an interpreter that uv knows; it downloads none.
fn uv_managed(sys: &Sys, wanted: Option<&str>) -> Option<PathBuf> {
    let mut command = command(sys, &find_uv(sys)?, None).ok()?;
    command.args(["python", "find", "--no-python-downloads", "--no-project"]).arg(wanted.unwrap_or("3"));
    let answer = output(command, "uv").ok().filter(|answer| answer.status.success())?;
    let path = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim_end());
    is_executable(&path).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(version: &str) -> InterpreterId {
        InterpreterId {
            version: version.into(),
            implementation: "cpython".into(),
            abi: "cpython-312".into(),
            platform: "linux-x86_64".into(),
        }
    }

    #[test]
    fn a_version_asked_for_is_compared_by_whole_numbers() {
        for (wanted, version, expected) in [
            ("3.12", "3.12.1", true),
            ("3.1", "3.12.1", false),
            ("3.12.1", "3.12.1", true),
            ("3.12.1", "3.12.10", false),
        ] {
            assert_eq!(id(version).fits(wanted), expected, "{wanted} {version}");
        }
    }

    #[test]
    fn each_part_of_an_interpreter_changes_its_digest() {
        let base = id("3.12.1");
        let others = [
            InterpreterId { version: "3.12.2".into(), ..base.clone() },
            InterpreterId { implementation: "pypy".into(), ..base.clone() },
            InterpreterId { abi: "cpython-312-x86_64-linux-musl".into(), ..base.clone() },
            InterpreterId { platform: "linux-aarch64".into(), ..base.clone() },
        ];
        for other in others {
            assert_ne!(base.digest(), other.digest(), "{other}");
        }
    }
}
