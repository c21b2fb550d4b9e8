//! The accelerators of this machine, and how a program is told which of them are its own.

use std::{collections::BTreeSet, io::Read, path::Path, process::Stdio, sync::mpsc, time::Duration};

use crate::{Env, Fs, Sys};

/// Which environment variables tell a program what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Visibility {
    /// NVIDIA: `CUDA_VISIBLE_DEVICES`, `NVIDIA_VISIBLE_DEVICES`.
    #[default]
    Cuda,
    /// AMD, by the numbers of the HIP runtime: `HIP_VISIBLE_DEVICES`, `CUDA_VISIBLE_DEVICES`.
    Hip,
    /// AMD, by the numbers of the driver: `ROCR_VISIBLE_DEVICES`; HIP counts from 0 what is left.
    Rocr,
}

/// The accelerators that programs may be given, and who said so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accelerators {
    /// Their names: numbers, `GPU-…` or `MIG-…`.
    pub names: Vec<String>,
    /// How a program is told which are its own.
    pub visibility: Visibility,
    /// Where the names come from, in words; empty if nothing was found.
    pub found_by: &'static str,
}

/// What cannot be meant by a choice of accelerators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAccelerator(pub String);

/// A broken accelerator can make the driver's tool hang for ever.
const PATIENCE: Duration = Duration::from_secs(10);

impl Accelerators {
    /// Returns the accelerators of this machine: what `wanted` says, else what the caller's `CUDA_VISIBLE_DEVICES`,
    /// `HIP_VISIBLE_DEVICES` or `ROCR_VISIBLE_DEVICES` leave, else what the driver shows.
    ///
    /// `wanted` is a number (as many of those that are there; if none is seen, that many from 0) or a list of names with
    /// a comma.
    ///
    /// # Errors
    /// [`BadAccelerator`] for a name in `wanted` that is none.
    pub fn detect(sys: &Sys, wanted: Option<&str>) -> Result<Self, BadAccelerator> {
        let machine = Machine { env: &*sys.env, fs: &*sys.fs, root: Path::new("/"), smi: &nvidia_smi };
        machine.choose(wanted)
    }

    /// Returns the variables that let a program see these accelerators and no others.
    pub fn variables(&self, names: &[String]) -> Vec<(&'static str, String)> {
        let own = if names.is_empty() { "-1".to_owned() } else { names.join(",") };
        match self.visibility {
            Visibility::Cuda => {
                let container = if names.is_empty() { "none".to_owned() } else { own.clone() };
                let mut all = vec![("CUDA_VISIBLE_DEVICES", own), ("NVIDIA_VISIBLE_DEVICES", container)];
                // The driver counts by bus, CUDA by speed unless told otherwise; a caller's numbers are CUDA's already.
                if self.found_by != CUDA && names.iter().any(|name| is_number(name)) {
                    all.push(("CUDA_DEVICE_ORDER", "PCI_BUS_ID".to_owned()));
                }
                all
            }
            Visibility::Hip => vec![("HIP_VISIBLE_DEVICES", own.clone()), ("CUDA_VISIBLE_DEVICES", own)],
            Visibility::Rocr => {
                let left = if names.is_empty() { "-1".to_owned() } else { numbers(names.len()).join(",") };
                vec![
                    ("ROCR_VISIBLE_DEVICES", own),
                    ("HIP_VISIBLE_DEVICES", left.clone()),
                    ("CUDA_VISIBLE_DEVICES", left),
                ]
            }
        }
    }
}

const CUDA: &str = "CUDA_VISIBLE_DEVICES";
const HIP: &str = "HIP_VISIBLE_DEVICES";
const ROCR: &str = "ROCR_VISIBLE_DEVICES";
const CHOICE: &str = "the choice of accelerators";

/// What is asked; tests put a directory in place of the root.
struct Machine<'a> {
    env: &'a dyn Env,
    fs: &'a dyn Fs,
    root: &'a Path,
    smi: &'a dyn Fn() -> Option<String>,
}

/// More than this many are a slip of the finger.
const MOST: usize = 1024;

impl Machine<'_> {
    fn choose(&self, wanted: Option<&str>) -> Result<Accelerators, BadAccelerator> {
        let Some(wanted) = wanted.map(str::trim) else { return Ok(self.seen()) };
        if !is_number(wanted) {
            let visibility = match () {
                () if self.env.var(HIP).is_some() => Visibility::Hip,
                () if self.env.var(CUDA).is_none() && self.is_amd() => Visibility::Rocr,
                () => Visibility::Cuda,
            };
            return Ok(Accelerators { names: chosen(wanted)?, visibility, found_by: CHOICE });
        }
        let most = wanted.parse().ok().filter(|most| *most <= MOST).ok_or_else(|| BadAccelerator(wanted.to_owned()))?;
        let mut found = self.seen();
        if found.names.is_empty() {
            // Whoever names a number knows of accelerators that show themselves nowhere.
            found = Accelerators { names: numbers(most), found_by: CHOICE, ..found };
        }
        found.names.truncate(most);
        Ok(found)
    }

    fn seen(&self) -> Accelerators {
        let of = |names: Vec<String>, visibility, found_by| Accelerators { names, visibility, found_by };
        if let Some(text) = self.env.var(CUDA) {
            return of(visible(&text), if self.is_amd() { Visibility::Hip } else { Visibility::Cuda }, CUDA);
        }
        if let Some(text) = self.env.var(HIP) {
            return of(visible(&text), Visibility::Hip, HIP);
        }
        if let Some(text) = self.env.var(ROCR) {
            return of(visible(&text), Visibility::Rocr, ROCR);
        }
        // Without the driver the tool cannot know anything: it is not asked.
        let has_driver = self.fs.list(&self.root.join("proc/driver/nvidia")).is_ok() || self.nvidia_nodes() > 0;
        let listed = if has_driver { (self.smi)().map(|text| of_smi(&text)).unwrap_or_default() } else { Vec::new() };
        if !listed.is_empty() {
            return of(listed, Visibility::Cuda, "nvidia-smi");
        }
        let of_driver = self.driver_gpus();
        if !of_driver.is_empty() {
            return of(of_driver, Visibility::Cuda, "/proc/driver/nvidia/gpus");
        }
        match (self.nvidia_nodes(), self.kfd_gpus()) {
            (0, 0) => Accelerators::default(),
            (0, amd) => of(numbers(amd), Visibility::Rocr, "/sys/class/kfd"),
            (nodes, _) => of(numbers(nodes), Visibility::Cuda, "/dev/nvidia*"),
        }
    }

    fn is_amd(&self) -> bool {
        self.nvidia_nodes() == 0 && self.kfd_gpus() > 0
    }

    /// Returns the identities that the driver shows, or numbers if it hides one of them.
    fn driver_gpus(&self) -> Vec<String> {
        let gpus = self.root.join("proc/driver/nvidia/gpus");
        let Ok(mut entries) = self.fs.list(&gpus) else { return Vec::new() };
        entries.sort();
        let identity = |name: &std::ffi::OsStr| {
            let text = self.fs.read(&gpus.join(name).join("information")).ok()?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let identity = text.lines().find_map(|line| line.strip_prefix("GPU UUID:"))?.trim().to_owned();
            is_name(&identity).then_some(identity)
        };
        let names: Option<Vec<String>> = entries.iter().map(|entry| identity(&entry.name)).collect();
        names.unwrap_or_else(|| numbers(entries.len()))
    }

    fn nvidia_nodes(&self) -> usize {
        let entries = self.fs.list(&self.root.join("dev")).unwrap_or_default();
        let is_node = |name: &str| name.strip_prefix("nvidia").is_some_and(is_number);
        entries.iter().filter(|entry| is_node(&entry.name.to_string_lossy())).count()
    }

    /// Of the nodes of an AMD machine, those that compute are accelerators; the others are processors.
    fn kfd_gpus(&self) -> usize {
        let nodes = self.root.join("sys/class/kfd/kfd/topology/nodes");
        let computes = |text: Vec<u8>| {
            let text = String::from_utf8_lossy(&text).into_owned();
            let count = text.lines().find_map(|line| line.strip_prefix("simd_count ")?.trim().parse::<u64>().ok());
            count.is_some_and(|count| count > 0)
        };
        let listed = self.fs.list(&nodes).unwrap_or_default();
        let properties = |name: &std::ffi::OsStr| self.fs.read(&nodes.join(name).join("properties"));
        listed.iter().filter(|node| properties(&node.name).is_ok_and(computes)).count()
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number, `GPU-` and `MIG-` with an identity, or `MIG-GPU-<identity>/<instance>/<compute instance>`.
fn is_name(text: &str) -> bool {
    let identity = text.strip_prefix("GPU-").or_else(|| text.strip_prefix("MIG-"));
    is_number(text)
        || identity.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/'))
        })
}

/// Returns the names in a caller's variable as the runtimes read it: up to the first that is none.
fn visible(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = text.split(',').map(str::trim).take_while(|name| is_name(name));
    names.filter(|name| seen.insert((*name).to_owned())).map(str::to_owned).collect()
}

fn chosen(text: &str) -> Result<Vec<String>, BadAccelerator> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !is_name(name) || !seen.insert(name) {
            return Err(BadAccelerator(name.to_owned()));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() { Err(BadAccelerator(text.to_owned())) } else { Ok(names) }
}

/// Returns the names in the answer of `nvidia-smi -L`; an accelerator that is cut into instances is not one itself.
fn of_smi(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some((_, rest)) = line.split_once("(UUID: ") else { continue };
        let Some((name, _)) = rest.split_once(')') else { continue };
        if !is_name(name) {
            continue;
        }
        if name.starts_with("MIG-") && names.last().is_some_and(|last| last.starts_with("GPU-")) {
            names.pop();
        }
        names.push(name.to_owned());
    }
    names
}

fn nvidia_smi() -> Option<String> {
    let mut child = std::process::Command::new("nvidia-smi")
        .arg("-L")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut out = child.stdout.take()?;
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = out.read_to_string(&mut text);
        let _nobody_waits = answer.send(read.ok().map(|_| text));
    });
    let text = answered.recv_timeout(PATIENCE).ok().flatten();
    if text.is_none() {
        // One that hangs in the driver cannot even be killed: it is not waited for.
        let _gone_or_stuck = child.kill();
        return None;
    }
    child.wait().ok()?.success().then_some(text).flatten()
}

#[cfg(test)]
#[path = "accelerators_tests.rs"]
mod tests;
