//! The script: steps one after another, each skipped if what it makes is there, and tried again if it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use prunella_model::{Digest, StepId, StepKey, shell_quote};

/// How often a step is tried by one run of the script.
pub(super) const TRIES: u32 = 3;
/// How long the script pauses between two tries, in seconds.
const PAUSE: u32 = 1;

/// The content of every file of an output, by its path from there; a single file has the empty path.
pub type Artifacts = BTreeMap<String, Digest>;

/// One step of a script.
#[derive(Debug, Clone)]
pub struct Line {
    /// The step.
    pub step: StepId,
    /// Its key in the undisturbed run.
    pub key: StepKey,
    /// Where its command is run: a directory of its own, with its code and links to its inputs.
    pub dir: PathBuf,
    /// What its command sees.
    pub variables: Vec<(OsString, OsString)>,
    /// Variables of the script itself that are passed on by name: what is secret stands in no file.
    pub passed: BTreeSet<String>,
    /// The command, as the undisturbed run ran it.
    pub command: Vec<String>,
    /// Where its outputs are, by name.
    pub outputs: BTreeMap<String, PathBuf>,
    /// Where it keeps its checkpoints, if it does.
    pub checkpoints: Option<PathBuf>,
    /// What is copied where at its end.
    pub publish: Vec<(PathBuf, PathBuf)>,
    /// What its outputs are in the undisturbed run, by name; of steps that are not deterministic nothing.
    pub expected: BTreeMap<String, Artifacts>,
    /// How many bytes they have.
    pub bytes: u64,
}

/// A pipeline as a shell script, in a directory of its own.
#[derive(Debug, Clone)]
pub struct Script {
    /// The directory.
    pub dir: PathBuf,
    /// Its steps, in an order in which each comes after what it needs.
    pub lines: Vec<Line>,
    /// Values of what is passed on by name.
    pub secrets: Vec<(String, OsString)>,
    /// What is published below [`Script::published`] in the undisturbed run; nothing if nobody can know.
    pub expected: Option<Artifacts>,
}

impl Script {
    /// Returns where publications to relative paths go.
    pub fn published(dir: &Path) -> PathBuf {
        dir.join("published")
    }

    /// Returns where the script tells what it does.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("script.log")
    }

    /// Returns the text of the script.
    pub fn text(&self) -> String {
        let log = quoted(self.log().as_os_str());
        let mut text = format!(
            r#"#!/bin/sh
# The steps of a pipeline as people script them: one after another, skipped where what they make is there, tried again when they fail.
# `prunella chaos --compare ad-hoc` wrote it; docs/design/0032-ad-hoc-baseline.md says why it is as it is.

tell() {{ echo "$$ $*" >>{log}; }}

# do_step NUMBER [OUTPUT...]
do_step() {{
    number=$1
    shift
    there=$#
    for output in "$@"; do [ -e "$output" ] || there=0; done
    if [ "$there" -gt 0 ]; then
        tell "skip $number"
        return
    fi
    try=1
    while :; do
        tell "begin $number"
        if "step_$number"; then break; fi
        tell "fail $number"
        if [ "$try" -ge {TRIES} ]; then exit 1; fi
        try=$((try + 1))
        sleep {PAUSE}
    done
    tell "done $number"
}}
"#
        );
        for (number, line) in self.lines.iter().enumerate() {
            text.push_str(&line.function(number));
        }
        text.push('\n');
        for (number, line) in self.lines.iter().enumerate() {
            text.push_str(&format!("do_step {number}"));
            for path in line.outputs.values() {
                text.push_str(&format!(" {}", quoted(path.as_os_str())));
            }
            text.push('\n');
            for (from, to) in &line.publish {
                text.push_str(&published(from, to));
            }
        }
        text
    }
}

impl Line {
    /// Returns the step as a function that ends as its command does.
    fn function(&self, number: usize) -> String {
        let mut text = format!("\n# {}\nstep_{number}() (\n", self.step);
        text.push_str(&format!("    cd {} || exit 1\n", quoted(self.dir.as_os_str())));
        if let Some(checkpoints) = &self.checkpoints {
            // Programs may ask for it instead of looking into the directory.
            let checkpoints = quoted(checkpoints.as_os_str());
            text.push_str(&format!("    restored=0\n    [ -z \"$(ls -A {checkpoints})\" ] || restored=1\n"));
        }
        text.push_str("    exec env -i");
        for (name, value) in &self.variables {
            let name = name.to_string_lossy();
            if !self.passed.contains(name.as_ref()) && name != "PRUNELLA_RESTORED" {
                text.push_str(&format!(" \\\n        {name}={}", quoted(value)));
            }
        }
        for name in &self.passed {
            text.push_str(&format!(" \\\n        {name}=\"${name}\""));
        }
        if self.checkpoints.is_some() {
            text.push_str(" \\\n        PRUNELLA_RESTORED=\"$restored\"");
        }
        let words: Vec<String> = self.command.iter().map(|word| shell_quote(word)).collect();
        text.push_str(&format!(" \\\n        {}\n)\n", words.join(" ")));
        text
    }
}

/// Returns the commands that copy an output to where others read it.
fn published(from: &Path, to: &Path) -> String {
    let parent = to.parent().map_or_else(String::new, |parent| quoted(parent.as_os_str()));
    let (from, to) = (quoted(from.as_os_str()), quoted(to.as_os_str()));
    // A folder that is there would get the new one inside.
    format!("mkdir -p {parent} && {{ [ ! -d {to} ] || rm -rf {to}; }} && cp -R {from} {to} || exit 1\n")
}

fn quoted(text: &OsStr) -> String {
    shell_quote(&text.to_string_lossy())
}
