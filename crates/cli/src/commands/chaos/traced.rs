//! `prunella chaos --trace`: machines live as somebody recorded them.

use std::path::PathBuf;

use clap::Args;
use prunella_chaos::Recorded;
use prunella_model::Span;

use crate::{context::Context, error::CliError, rehearsing::traces};

/// Recorded lives of machines instead of a profile.
#[derive(Debug, Args)]
pub(super) struct Traced {
    /// Let machines live as recorded, one after the other, instead of what a profile draws; the files are those of `simulate`. May be
    /// given several times. `--faults` is how many machines, and `--speed` divides their lives, too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "plan", "kill_at"])]
    trace: Vec<PathBuf>,

    /// With `--trace`: the time from a notice to the end of a machine (default: no notice).
    #[arg(long, value_name = "TIME", requires = "trace")]
    notice: Option<Span>,

    /// With `--trace`: the share of interruptions that are announced.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, requires = "trace")]
    recall: f64,
}

impl Traced {
    /// Reads the traces; nothing if there are none.
    ///
    /// # Errors
    /// [`CliError`] for the first file that cannot be read, and a share that is none.
    pub(super) fn read(&self, context: &Context) -> Result<Option<Recorded>, CliError> {
        if !(0.0..=1.0).contains(&self.recall) {
            return Err(CliError::Usage(format!("--recall: `{}` is no share from 0 to 1", self.recall), None));
        }
        let grace = self.notice.map(|notice| notice.duration()).unwrap_or_default();
        let trace = traces(context, &self.trace)?;
        Ok(trace.map(|trace| Recorded { lives: trace.interrupted(), grace, recall: self.recall }))
    }

    /// Returns the words that ask for it again.
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        self.trace.iter().for_each(|file| words.push_str(&format!(" --trace {}", file.display())));
        if let Some(notice) = &self.notice {
            words.push_str(&format!(" --notice {notice} --recall {}", self.recall));
        }
        words
    }
}
