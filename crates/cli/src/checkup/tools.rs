//! What lies outside: the cloud, Python, uv.

use std::{path::Path, process::Command, time::Duration};

use prunella_notices::{detect, probe};

use super::{Check, Health, check};
use crate::{cloud::Service, context::Context};

/// Looks which cloud this machine is in, and whether it would hear of its end there.
pub async fn cloud(context: &Context, service: &Service) -> Check {
    const PATIENCE: Duration = Duration::from_secs(2);
    let Some(cloud) = detect(&*context.sys.fs) else {
        return check("cloud", Health::Good, "none that gives notice (by this machine's firmware)", "");
    };
    let help =
        "runs go on without its notices, and SIGTERM still is one; allow the metadata service, or see docs/notices.md";
    let problem = tokio::select! {
        answer = probe(service.of(cloud, context)) => match answer {
            Ok(()) => {
                return check("cloud", Health::Good, format!("{cloud}: its metadata service answers"), "");
            }
            Err(error) => error.to_string(),
        },
        () = context.sys.clock.sleep(PATIENCE) => format!("nothing within {} s", PATIENCE.as_secs()),
    };
    check("cloud", Health::Note, format!("{cloud}: no notices: {problem}"), help)
}

/// What of Python environments need: where it is, its version, and whether it can make environments by itself.
const ASK: &str = "import sys
print(sys.version.split()[0], sys.executable)
try:
    import venv, ensurepip
except ImportError:
    print('no venv')";

/// Says which Python steps would find, and whether it can make environments.
pub fn python(context: &Context) -> Check {
    let without = "steps in Python need it; steps that use none run without";
    let answer = match Command::new("python3").args(["-c", ASK]).output() {
        Err(_) => return check("python", Health::Note, "no `python3` on the PATH", without),
        Ok(answer) if !answer.status.success() => {
            return check("python", Health::Note, format!("`python3` fails ({})", answer.status), without);
        }
        Ok(answer) => String::from_utf8_lossy(&answer.stdout).into_owned(),
    };
    let mut lines = answer.lines();
    let found = lines.next().unwrap_or_default().replacen(' ', " at ", 1);
    let has_uv =
        context.sys.env.var("PATH").is_some_and(|path| path.split(':').any(|dir| Path::new(dir).join("uv").is_file()));
    match lines.next() {
        Some(_) if !has_uv => {
            let help = "environments cannot be made: install `uv`, or what Python lacks (`apt install python3-venv`)";
            check("python", Health::Note, format!("{found}, without `venv`"), help)
        }
        Some(_) => check("python", Health::Good, format!("{found}, without `venv` (uv does that)"), ""),
        None => check("python", Health::Good, found, ""),
    }
}

/// Says whether environments are made by uv.
pub fn uv() -> Check {
    let without = "environments are made with `venv` and `pip` instead, more slowly";
    match Command::new("uv").arg("--version").output() {
        Ok(answer) if answer.status.success() => {
            check("uv", Health::Good, String::from_utf8_lossy(&answer.stdout).trim().to_owned(), "")
        }
        Ok(answer) => check("uv", Health::Note, format!("`uv --version` fails ({})", answer.status), without),
        Err(_) => check("uv", Health::Note, "no `uv` on the PATH", without),
    }
}
