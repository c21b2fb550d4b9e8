//! What limits transfers to and from buckets, and who says so.

use std::num::NonZeroU64;

use clap::Args;
use prunella_manifest::{LEAST_TRANSFER_MEMORY, Placed};
use prunella_model::ByteSize;

use crate::{
    context::Context,
    error::CliError,
    settings::{Origin, Setting},
};

/// Limits of transfers on the command line; read together with the environment, so that all mistakes come at once.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Transfers to and from buckets")]
pub struct TransferWords {
    /// How many bytes may go over the network in a second, such as `50MiB`; also PRUNELLA_TRANSFER_RATE.
    #[arg(long, global = true, value_name = "SIZE", hide_short_help = true)]
    pub transfer_rate: Option<String>,

    /// How much memory they may take, at least 64MiB; also PRUNELLA_TRANSFER_MEMORY.
    #[arg(long, global = true, value_name = "SIZE", hide_short_help = true)]
    pub transfer_memory: Option<String>,

    /// How many processors may cut, hash and lay out files at once; also PRUNELLA_TRANSFER_PROCESSORS.
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    pub transfer_processors: Option<String>,

    /// How many requests may run at once; also PRUNELLA_TRANSFER_REQUESTS.
    #[arg(long, global = true, value_name = "N", hide_short_help = true)]
    pub transfer_requests: Option<String>,
}

/// What limits transfers; nothing is as it is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transfers {
    /// How many bytes go over the network in a second.
    pub rate: Option<NonZeroU64>,
    /// How many bytes of memory they take.
    pub memory: Option<u64>,
    /// How many processors work at once.
    pub processors: Option<usize>,
    /// How many requests run at once.
    pub requests: Option<usize>,
}

/// One limit: its setting, option and variable, and what a wrong value is answered with.
struct Limit {
    name: &'static str,
    option: &'static str,
    variable: &'static str,
    hint: &'static str,
    built_in: &'static str,
}

const RATE: Limit = Limit {
    name: "transfers.rate",
    option: "--transfer-rate",
    variable: "PRUNELLA_TRANSFER_RATE",
    hint: "write a size, such as `50MiB`: so many bytes may go over the network in a second",
    built_in: "no limit",
};
const MEMORY: Limit = Limit {
    name: "transfers.memory",
    option: "--transfer-memory",
    variable: "PRUNELLA_TRANSFER_MEMORY",
    hint: "write a size of at least `64MiB`: so much memory may transfers take",
    built_in: "256MiB",
};
const PROCESSORS: Limit = Limit {
    name: "transfers.processors",
    option: "--transfer-processors",
    variable: "PRUNELLA_TRANSFER_PROCESSORS",
    hint: "write how many processors may cut, hash and lay out at once, such as `1`",
    built_in: "all, at most 4",
};
const REQUESTS: Limit = Limit {
    name: "transfers.requests",
    option: "--transfer-requests",
    variable: "PRUNELLA_TRANSFER_REQUESTS",
    hint: "write how many requests may run at once, such as `8`",
    built_in: "64",
};

/// What was said of a limit, where the project file did not say it.
struct Said {
    text: String,
    from: Origin,
    place: &'static str,
}

impl Limit {
    fn said(&self, context: &Context, word: Option<&String>) -> Option<Said> {
        let flag = word.map(|text| Said { text: text.clone(), from: Origin::Flag, place: self.option });
        flag.or_else(|| {
            let text = context.sys.env.var(self.variable).filter(|text| !text.is_empty())?;
            Some(Said { text, from: Origin::Environment, place: self.variable })
        })
    }

    /// Returns the limit, and notes what is wrong with it.
    fn read<T>(
        &self,
        context: &Context,
        word: Option<&String>,
        file: Option<T>,
        read: impl Fn(&str) -> Option<T>,
        wrong: &mut Vec<(String, &'static str)>,
    ) -> Option<T> {
        let Some(said) = self.said(context, word) else { return file };
        let value = read(said.text.trim());
        if value.is_none() {
            wrong.push((format!("{} is `{}`", said.place, said.text), self.hint));
        }
        value
    }

    fn setting(&self, context: &Context, word: Option<&String>, file: Option<(String, usize)>) -> Setting {
        let (value, from, place) = match (self.said(context, word), file) {
            (Some(said), _) => (said.text, said.from, Some(said.place.to_owned())),
            (None, Some((value, line))) => (value, Origin::File, Some(context.settings.line(line))),
            (None, None) => (self.built_in.to_owned(), Origin::BuiltIn, None),
        };
        Setting { name: self.name, value, from, place }
    }
}

impl Transfers {
    /// Returns the limits that hold for a command.
    ///
    /// # Errors
    /// [`CliError::Usage`] with everything that is wrong on the command line and in the environment.
    pub fn of(context: &Context) -> Result<Self, CliError> {
        let (words, file) = (&context.transfers, &context.settings.project.transfers);
        let size = |text: &str| text.parse::<ByteSize>().ok().map(ByteSize::bytes);
        let number = |text: &str| text.parse().ok().filter(|number: &usize| *number > 0);
        let mut wrong = Vec::new();
        let rate = words.transfer_rate.as_ref();
        let rate =
            RATE.read(context, rate, bytes(file.rate.as_ref()), |text| size(text).filter(|n| *n > 0), &mut wrong);
        let enough = |text: &str| size(text).filter(|memory| *memory >= LEAST_TRANSFER_MEMORY.bytes());
        let memory = words.transfer_memory.as_ref();
        let memory = MEMORY.read(context, memory, bytes(file.memory.as_ref()), enough, &mut wrong);
        let processors = words.transfer_processors.as_ref();
        let in_file = file.processors.as_ref().map(|placed| placed.value);
        let processors = PROCESSORS.read(context, processors, in_file, number, &mut wrong);
        let requests = words.transfer_requests.as_ref();
        let in_file = file.requests.as_ref().map(|placed| placed.value);
        let requests = REQUESTS.read(context, requests, in_file, number, &mut wrong);
        if wrong.is_empty() {
            return Ok(Self { rate: rate.and_then(NonZeroU64::new), memory, processors, requests });
        }
        let (what, hints): (Vec<String>, Vec<&str>) = wrong.into_iter().unzip();
        Err(CliError::Usage(what.join("; "), Some(hints.join("; "))))
    }

    /// Returns the limits as `doctor` shows them.
    pub fn settings(context: &Context) -> [Setting; 4] {
        let (words, file) = (&context.transfers, &context.settings.project.transfers);
        let size = |placed: &Option<Placed<ByteSize>>| placed.as_ref().map(|one| (one.value.to_string(), one.line));
        let number = |placed: &Option<Placed<usize>>| placed.as_ref().map(|one| (one.value.to_string(), one.line));
        [
            RATE.setting(context, words.transfer_rate.as_ref(), size(&file.rate)),
            MEMORY.setting(context, words.transfer_memory.as_ref(), size(&file.memory)),
            PROCESSORS.setting(context, words.transfer_processors.as_ref(), number(&file.processors)),
            REQUESTS.setting(context, words.transfer_requests.as_ref(), number(&file.requests)),
        ]
    }
}

fn bytes(placed: Option<&Placed<ByteSize>>) -> Option<u64> {
    placed.map(|placed| placed.value.bytes())
}
