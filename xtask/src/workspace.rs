//! What cargo says about the workspace.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use serde_json::Value;

/// A package, ours or another's.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// The SPDX expression; empty if it declares none.
    pub license: String,
    /// What it is built with.
    pub needs: BTreeSet<String>,
    pub ours: bool,
}

/// All packages of one build on this platform.
pub struct Workspace {
    pub packages: Vec<Package>,
}

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

/// Returns where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// Returns a command of the cargo that runs this program, in the root.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    command
}

/// Runs a program to its end and returns how it exits; 75 if it cannot be started.
pub fn exits(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("{}: {error}", command.get_program().display());
            ExitCode::from(75)
        }
    }
}

impl Workspace {
    /// Asks cargo.
    pub fn read() -> Result<Self, String> {
        let mut command = cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", &host()?]);
        let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err("cargo metadata failed".to_owned());
        }
        let metadata: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        let members: BTreeSet<&str> = array(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
        let names: BTreeMap<&str, &str> = array(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let nodes: BTreeMap<&str, &Value> =
            array(&metadata["resolve"]["nodes"]).filter_map(|node| Some((node["id"].as_str()?, node))).collect();
        let packages = array(&metadata["packages"])
            .filter_map(|package| Some(read_package(package, nodes.get(package["id"].as_str()?)?, &names, &members)))
            .collect();
        Ok(Self { packages })
    }

    /// Returns the packages of this repository.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.ours)
    }
}

fn read_package(package: &Value, node: &Value, names: &BTreeMap<&str, &str>, members: &BTreeSet<&str>) -> Package {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
    // What is resolved, not what is declared: what a feature that is off would bring is not there. What only tests are built with may
    // point anywhere.
    let for_more_than_tests =
        |need: &&Value| array(&need["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev"));
    let needs = array(&node["deps"]).filter(for_more_than_tests);
    let needs = needs.filter_map(|need| names.get(need["pkg"].as_str()?)).map(|name| (*name).to_owned()).collect();
    Package {
        name: text("name"),
        version: text("version"),
        license: text("license"),
        needs,
        ours: members.contains(package["id"].as_str().unwrap_or_default()),
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns the platform that the compiler builds for here, such as `x86_64-unknown-linux-gnu`.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say its host".to_owned())
}
