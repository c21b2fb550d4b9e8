//! Which accelerators steps can be given.

use prunella_sys::{Accelerators, BadAccelerator};

use super::{Check, Health, check};
use crate::{context::Context, present::count};

/// More names than this are counted, not shown.
const SHOWN: usize = 4;

/// Says which accelerators steps of this machine would be given, and who named them.
pub fn check_them(context: &Context) -> Check {
    let wanted = context.sys.env.var("PRUNELLA_GPUS").or_else(|| context.settings.gpus());
    match Accelerators::detect(&context.sys, wanted.as_deref()) {
        Ok(found) => judge(&found),
        Err(BadAccelerator(name)) => {
            let help =
                "write how many, or a list with a comma: `2`, `0,1`, `GPU-…,` (`gpus` in prunella.toml, PRUNELLA_GPUS)";
            check("accelerators", Health::Bad, format!("`{name}` is not one, or stands twice"), help)
        }
    }
}

fn judge(found: &Accelerators) -> Check {
    if found.names.is_empty() {
        return check("accelerators", Health::Good, "none: steps with `gpu` cannot run here", "");
    }
    let more = if found.names.len() > SHOWN { ", …" } else { "" };
    let names = found.names[..found.names.len().min(SHOWN)].join(", ");
    let shown = format!("{} ({names}{more}), by {}", count(found.names.len(), "accelerator"), found.found_by);
    // The driver is there, but its tool said nothing.
    let silent = found.found_by.starts_with("/dev/") || found.found_by.starts_with("/proc/driver/");
    let help = "`nvidia-smi -L` says nothing within 10 s: whether an accelerator is cut into MIG instances is not known; name \
                them with `--gpus MIG-…,`";
    check("accelerators", if silent { Health::Note } else { Health::Good }, shown, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_counted_and_a_silent_tool_is_noted() {
        let found = |names: usize, found_by| Accelerators {
            names: (0..names).map(|n| n.to_string()).collect(),
            found_by,
            ..Accelerators::default()
        };
        assert_eq!(judge(&found(0, "")).health, Health::Good);
        let many = judge(&found(8, "nvidia-smi"));
        assert_eq!((many.health, many.found.as_str()), (Health::Good, "8 accelerators (0, 1, 2, 3, …), by nvidia-smi"));
        assert_eq!(judge(&found(1, "/dev/nvidia*")).health, Health::Note);
    }
}
