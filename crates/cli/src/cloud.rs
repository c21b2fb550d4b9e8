//! Notices of the cloud that this machine is in, as words for the engine.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use prunella_attempt::{Control, Deadline};
use prunella_manifest::NoticesOf;
use prunella_model::Span;
use prunella_notices::{Cloud, Endpoint, Said, Watch, detect, watch};
use prunella_sys::{Clock, HurriedClock};
use tokio::task::JoinHandle;

use crate::{context::Context, present::lasting, signals::Words};

/// Where clouds' metadata services are asked.
#[derive(Debug, Args)]
pub struct Service {
    /// Where the metadata service answers, if not at its usual address: for machines that hide it behind another, and for
    /// tests.
    #[arg(long = "metadata-endpoint", value_name = "URL", env = "PRUNELLA_METADATA_ENDPOINT", hide = true)]
    endpoint: Option<Endpoint>,

    /// How much faster than a cloud's own the metadata service is: its times are divided by this, as `chaos` divides them.
    #[arg(long = "metadata-speed", value_name = "X", env = "PRUNELLA_METADATA_SPEED", hide = true)]
    speed: Option<f64>,
}

impl Service {
    /// Returns whom to ask in this cloud.
    pub fn of(&self, cloud: Cloud, context: &Context) -> Watch {
        Watch { cloud, endpoint: self.endpoint.unwrap_or_default(), clock: context.sys.clock.clone() }
    }
}

/// Who may give notice that this machine goes away.
#[derive(Debug, Args)]
pub struct Notices {
    /// Which cloud's notices end steps in checkpoints; `auto` asks the machine's firmware [default: auto].
    #[arg(long, value_name = "CLOUD", value_enum, env = "PRUNELLA_NOTICES")]
    notices: Option<Which>,

    #[command(flatten)]
    service: Service,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Auto,
    None,
    Aws,
    Gcp,
    Azure,
}

impl From<Which> for NoticesOf {
    fn from(which: Which) -> Self {
        match which {
            Which::Auto => Self::Auto,
            Which::None => Self::None,
            Which::Aws => Self::Aws,
            Which::Gcp => Self::Gcp,
            Which::Azure => Self::Azure,
        }
    }
}

/// A watcher; it ends when this is dropped.
pub struct Watching(Option<JoinHandle<()>>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Notices {
    /// Watches for notices beside a run and passes them on; `tell` gets a line for people now and then. Waits for nothing.
    pub fn watch(&self, context: &Context, words: Words, tell: impl Fn(&str) + Send + Sync + 'static) -> Watching {
        let named = match self.notices.map(NoticesOf::from).or(context.settings.notices()) {
            Some(NoticesOf::None) => return Watching(None),
            Some(NoticesOf::Auto) | None => None,
            Some(NoticesOf::Aws) => Some(Cloud::Aws),
            Some(NoticesOf::Gcp) => Some(Cloud::Gcp),
            Some(NoticesOf::Azure) => Some(Cloud::Azure),
        };
        let fs = context.sys.fs.clone();
        let speed = self.service.speed.filter(|speed| speed.is_finite() && *speed > 0.0).unwrap_or(1.0);
        let endpoint = self.service.endpoint.unwrap_or_default();
        let clock: Arc<dyn Clock> = match speed {
            1.0 => context.sys.clock.clone(),
            speed => Arc::new(HurriedClock::new(context.sys.clock.clone(), speed)),
        };
        let task = tokio::spawn(async move {
            let Some(cloud) = named.or_else(|| detect(&*fs)) else { return };
            watch(Watch { cloud, endpoint, clock }, move |said| {
                match &said {
                    Said::Notice { at, .. } => {
                        words.say(Control::Notice(Deadline::by(cloud.as_str(), at.div_f64(speed))))
                    }
                    Said::Hint(hint) => words.say(Control::hint(cloud.as_str(), hint)),
                    Said::Silent(_) => {}
                }
                tell(&line(cloud, &said));
            })
            .await;
        });
        Watching(Some(task))
    }
}

fn line(cloud: Cloud, said: &Said) -> String {
    match said {
        Said::Notice { notice, .. } => {
            let left = lasting(Span::from(notice.within).as_millis());
            format!("{cloud}: this machine goes away in {left} ({})", notice.what)
        }
        Said::Hint(hint) => format!("{cloud}: {hint}"),
        Said::Silent(error) => format!("{cloud}: no cloud notices for now: {error}"),
    }
}
