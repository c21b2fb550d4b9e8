//! The two programs that resolve and install: uv, or pip from an environment of its own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use prunella_sys::Sys;
use serde::Deserialize;

use crate::cache::built_once;
use crate::interpreter::Interpreter;
use crate::lock::{Package, PythonLock};
use crate::message::{Cause, cause, last_words};
use crate::tool::{command, find_uv, output, said};
use crate::{EnvironmentError, Progress};

/// Who does the work.
pub(crate) enum Installer {
    Uv(PathBuf),
    /// The interpreter of a cached environment that holds nothing but pip.
    Pip(PathBuf),
}

impl Installer {
    /// Returns uv where it is on the `PATH`; else pip, whose environment is made the first time.
    pub(crate) fn choose(
        sys: &Sys,
        interpreter: &Interpreter,
        cache: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, EnvironmentError> {
        if let Some(uv) = find_uv(sys) {
            return Ok(Self::Uv(uv));
        }
        let name = format!("pip-{}", interpreter.id.digest().short());
        let prefix = built_once(sys, cache, &name, &interpreter.id, progress, &mut |prefix, held, _| {
            venv(sys, interpreter, prefix, held, &[])?;
            Ok(interpreter.clone())
        })?;
        Ok(Self::Pip(prefix.join("bin/python")))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip(_) => "pip",
        }
    }

    /// Returns the exact packages that satisfy a requirements file.
    pub(crate) fn resolve(
        &self,
        sys: &Sys,
        interpreter: &Interpreter,
        requirements: &Path,
    ) -> Result<Vec<Package>, EnvironmentError> {
        let mut command = match self {
            Self::Uv(uv) => {
                let mut command = command(sys, uv, None)?;
                command.args(["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]);
                command.arg("--python").arg(&interpreter.path).arg(requirements);
                command
            }
            Self::Pip(python) => {
                let mut command = command(sys, python, None)?;
                command.args(["-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]);
                command.arg("-r").arg(requirements);
                command
            }
        };
        if let Some(dir) = requirements.parent() {
            command.current_dir(dir);
        }
        let answer = self.run(command, |message, cause| match cause {
            Cause::Requirement | Cause::Other => {
                EnvironmentError::Unresolvable { path: requirements.to_owned(), tool: self.name(), message }
            }
            cause => self.failure(message, cause, requirements),
        })?;
        let packages = match self {
            Self::Uv(_) => compiled(&String::from_utf8_lossy(&answer.stdout)),
            Self::Pip(_) => reported(&answer.stdout),
        };
        let program = match self {
            Self::Uv(program) | Self::Pip(program) => program.clone(),
        };
        packages.map_err(|message| EnvironmentError::Tool { program, message })
    }

    /// Makes an environment without any package at `prefix`.
    pub(crate) fn create(
        &self,
        sys: &Sys,
        interpreter: &Interpreter,
        prefix: &Path,
        held: &File,
    ) -> Result<(), EnvironmentError> {
        match self {
            Self::Pip(_) => venv(sys, interpreter, prefix, held, &["--without-pip"]),
            Self::Uv(uv) => {
                let mut command = command(sys, uv, Some(held))?;
                command.args(["venv", "--quiet", "--no-project", "--python"]).arg(&interpreter.path).arg(prefix);
                self.run(command, |message, cause| match cause {
                    Cause::DiskFull => EnvironmentError::DiskFull { path: prefix.to_owned() },
                    _ => EnvironmentError::NoVenv { python: interpreter.path.clone(), message },
                })
                .map(drop)
            }
        }
    }

    /// Installs exactly the locked packages, and no dependency that is not among them.
    pub(crate) fn install(
        &self,
        sys: &Sys,
        lock: &PythonLock,
        prefix: &Path,
        held: &File,
    ) -> Result<(), EnvironmentError> {
        // Where one requirement has a hash all must, so those without (repositories at a commit) go apart.
        let (hashed, bare): (Vec<&Package>, Vec<&Package>) =
            lock.packages.iter().partition(|package| !package.hashes.is_empty());
        for (name, packages, flag) in
            [("locked.txt", hashed, Some("--require-hashes")), ("locked-sources.txt", bare, None)]
        {
            if packages.is_empty() {
                continue;
            }
            let file = prefix.join(name);
            write_list(sys, &file, lock, &packages)
                .map_err(|source| EnvironmentError::Cache { path: file.clone(), source })?;
            let target = prefix.join("bin/python");
            let mut command = match self {
                Self::Uv(uv) => {
                    let mut command = command(sys, uv, Some(held))?;
                    command.args(["pip", "install", "--quiet", "--compile-bytecode", "--python"]).arg(target);
                    command
                }
                Self::Pip(python) => {
                    let mut command = command(sys, python, Some(held))?;
                    command.args(["-m", "pip", "--python"]).arg(target).args(["install", "--quiet"]);
                    command
                }
            };
            command.arg("--no-deps").args(flag).arg("-r").arg(&file).current_dir(prefix);
            self.run(command, |message, cause| self.failure(message, cause, prefix))?;
        }
        Ok(())
    }

    fn run(
        &self,
        command: Command,
        failure: impl FnOnce(String, Cause) -> EnvironmentError,
    ) -> Result<Output, EnvironmentError> {
        finished(output(command, self.name())?, self.name(), failure)
    }

    fn failure(&self, message: String, cause: Cause, path: &Path) -> EnvironmentError {
        let tool = self.name();
        match cause {
            Cause::Network => EnvironmentError::Network { tool, message },
            Cause::Hash => EnvironmentError::HashMismatch { message },
            Cause::DiskFull => EnvironmentError::DiskFull { path: path.to_owned() },
            Cause::Requirement | Cause::Other => EnvironmentError::Install { tool, message },
        }
    }
}

/// Returns the output of a program that succeeded.
fn finished(
    answer: Output,
    tool: &'static str,
    failure: impl FnOnce(String, Cause) -> EnvironmentError,
) -> Result<Output, EnvironmentError> {
    if answer.status.success() {
        return Ok(answer);
    }
    let said = said(&answer);
    match answer.status.code() {
        // A Ctrl-C that the program caught, or a shell's word for a signal.
        Some(130) => Err(EnvironmentError::Interrupted { tool, signal: 2 }),
        Some(143) => Err(EnvironmentError::Interrupted { tool, signal: 15 }),
        _ if said.contains("Operation cancelled by user") => Err(EnvironmentError::Interrupted { tool, signal: 2 }),
        _ => Err(failure(last_words(&said), cause(&said))),
    }
}

/// Makes an environment by the interpreter's own module.
fn venv(
    sys: &Sys,
    interpreter: &Interpreter,
    prefix: &Path,
    held: &File,
    options: &[&str],
) -> Result<(), EnvironmentError> {
    let mut command = command(sys, &interpreter.path, Some(held))?;
    command.args(["-I", "-m", "venv"]).args(options).arg(prefix);
    finished(output(command, "venv")?, "venv", |message, cause| match cause {
        Cause::DiskFull => EnvironmentError::DiskFull { path: prefix.to_owned() },
        _ => EnvironmentError::NoVenv { python: interpreter.path.clone(), message },
    })
    .map(drop)
}

fn write_list(sys: &Sys, file: &Path, lock: &PythonLock, packages: &[&Package]) -> std::io::Result<()> {
    let mut text = String::new();
    for line in lock.options.iter().cloned().chain(packages.iter().map(|package| package.requirement())) {
        text.push_str(&line);
        text.push('\n');
    }
    sys.fs.create_new(file)?.write_all(text.as_bytes())
}

/// Reads what `uv pip compile` prints: `name==version \` or `name @ url \`, then indented hashes.
fn compiled(text: &str) -> Result<Vec<Package>, String> {
    let mut packages: Vec<Package> = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_end_matches('\\').trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(hash) = line.strip_prefix("--hash=") {
            packages.last_mut().ok_or("a hash before the first package")?.hashes.push(hash.to_owned());
        } else if line.starts_with('-') {
            // Index options are repeated here; they come from the requirements file itself.
        } else if let Some((name, source)) = line.split_once(" @ ") {
            packages.push(Package {
                name: name.to_owned(),
                version: String::new(),
                source: Some(source.trim().to_owned()),
                hashes: Vec::new(),
            });
        } else {
            let (name, version) = line.split_once("==").ok_or_else(|| format!("no exact version in `{line}`"))?;
            // `; marker` may follow: it held when this was resolved, for this very interpreter.
            let version = version.split(';').next().unwrap_or_default().trim();
            packages.push(Package {
                name: name.trim().to_owned(),
                version: version.to_owned(),
                source: None,
                hashes: Vec::new(),
            });
        }
    }
    for package in &mut packages {
        pin_archive(package);
    }
    Ok(packages)
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    download_info: Download,
    #[serde(default)]
    is_direct: bool,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Download {
    url: String,
    subdirectory: Option<String>,
    archive_info: Option<Archive>,
    vcs_info: Option<Repository>,
}

#[derive(Deserialize)]
struct Archive {
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    hash: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    vcs: String,
    commit_id: String,
}

/// Reads the report of `pip install --dry-run --report -`.
fn reported(json: &[u8]) -> Result<Vec<Package>, String> {
    let report: Report = serde_json::from_slice(json).map_err(|error| format!("its report: {error}"))?;
    report.install.into_iter().map(package).collect()
}

fn package(item: Item) -> Result<Package, String> {
    let Item { metadata, download_info: download, is_direct } = item;
    let mut package = Package { name: metadata.name, version: metadata.version, source: None, hashes: Vec::new() };
    if let Some(archive) = download.archive_info {
        package.hashes.extend(archive.hashes.iter().map(|(kind, hash)| format!("{kind}:{hash}")));
        if package.hashes.is_empty() {
            package.hashes.extend(archive.hash.map(|hash| hash.replacen('=', ":", 1)));
        }
    }
    if is_direct {
        let place = download.subdirectory.map_or_else(String::new, |dir| format!("#subdirectory={dir}"));
        package.version.clear();
        package.source = Some(match download.vcs_info {
            Some(repository) => format!("{}+{}@{}{place}", repository.vcs, download.url, repository.commit_id),
            None if package.hashes.is_empty() => return Err(format!("`{}` comes from a local path", package.name)),
            None => format!("{}{place}", download.url),
        });
        pin_archive(&mut package);
    }
    Ok(package)
}

/// Puts the hash of an archive into its URL, so that the URL says which content it means.
fn pin_archive(package: &mut Package) {
    if let (Some(source), [hash]) = (&mut package.source, package.hashes.as_slice())
        && !source.contains("sha256=")
    {
        source.push(if source.contains('#') { '&' } else { '#' });
        source.push_str(&hash.replacen(':', "=", 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_uv_prints_is_read() {
        let text = "--index-url https://host\nsix==1.17.0 ; python_version > '3' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n\
                    x @ git+https://host/x@0123\ny @ https://host/y.whl \\\n    --hash=sha256:cc\n    # via z\n";
        let found = compiled(text).unwrap();
        assert_eq!(found[0].requirement(), "six==1.17.0 --hash=sha256:aa --hash=sha256:bb");
        assert_eq!(found[1].requirement(), "x @ git+https://host/x@0123");
        assert_eq!(found[2].requirement(), "y @ https://host/y.whl#sha256=cc --hash=sha256:cc");
        assert!(compiled("six>=1").is_err());
    }

    #[test]
    fn what_pip_reports_is_read_to_the_same_packages() {
        let json = br#"{"version":"1","install":[
            {"metadata":{"name":"six","version":"1.17.0"},"is_direct":false,
             "download_info":{"url":"https://host/six.whl","archive_info":{"hash":"sha256=aa","hashes":{"sha256":"aa"}}}},
            {"metadata":{"name":"x","version":"1"},"is_direct":true,
             "download_info":{"url":"https://host/x","vcs_info":{"vcs":"git","commit_id":"0123"}}},
            {"metadata":{"name":"y","version":"1"},"is_direct":true,
             "download_info":{"url":"https://host/y.whl","archive_info":{"hash":"sha256=cc"}}}]}"#;
        let found = reported(json).unwrap();
        assert_eq!(found[0].requirement(), "six==1.17.0 --hash=sha256:aa");
        assert_eq!(found[1].requirement(), "x @ git+https://host/x@0123");
        assert_eq!(found[2].requirement(), "y @ https://host/y.whl#sha256=cc --hash=sha256:cc");
    }

    #[test]
    fn a_report_without_a_hash_for_a_direct_package_is_refused() {
        let json = br#"{"install":[{"metadata":{"name":"x","version":"1"},"is_direct":true,
            "download_info":{"url":"file:///x","dir_info":{}}}]}"#;
        assert!(reported(json).unwrap_err().contains("local path"));
        assert!(reported(b"{").is_err());
    }
}
