//! `prunella chaos`: run the pipeline under faults and see whether anything is lost.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use prunella_chaos::{Patience, Played, Profile, Recorded, Site, Sites, Strike, Subject, play};
use prunella_faults::VARIABLE;
use prunella_model::{Pipeline, StepName, is_address};
use prunella_sys::{SeededRandom, random_hex};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

mod compared;
mod points;
mod stores;
mod traced;
mod verdict;

use super::run::are_steps;
use crate::{
    answer::{note, say, say_json},
    args::{Output, Which},
    baseline::can_be_scripted,
    context::Context,
    error::CliError,
    present::{Paint, lasting},
    project::{find, read},
    resilience::Resilience,
};
use compared::{Compared, said_of_script};
use points::KillAt;
use stores::{clear_all, clear_run, sites};
use traced::Traced;
use verdict::{Judge, Verdict};

/// Run the pipeline under faults, and see whether anything is lost.
///
/// The pipeline is run for real, once undisturbed and then as often as asked for, each time in a store of its own; while it runs, its
/// processes are told to end, killed and stopped, its storage fails and its clock jumps as a seed says. After every fault the
/// invariants are read from the store, and at the end everything that was made is compared with what the undisturbed run made.
/// Publications to paths beside the pipeline file go to a directory of their own. Where `--store` names a bucket, the stores
/// lie below a prefix of their own there.
#[derive(Debug, Args)]
pub struct Chaos {
    #[command(flatten)]
    pub which: Which,

    /// What goes wrong: `aws-spot`, `gcp-spot`, `azure-spot`, `argo`, `autopilot`, `kfp`, `pods`, `kills`, `storage-storm` or
    /// `everything`.
    #[arg(long, default_value = "everything")]
    profile: Profile,

    /// How many disturbed runs (default: 5; with `--kill-at` all that there are, otherwise so many of them, drawn by the seed).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: Option<u32>,

    /// How many faults in each of them.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    faults: u32,

    /// Do exactly this to every run: a file with a JSON list of faults and times, as `--output json` shows each run's `plan`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "faults", "speed"])]
    plan: Option<PathBuf>,

    /// Instead of what a profile draws, kill the engine at every crash point of a phase, a run for each: `upload`, `promote`,
    /// `commit`, `publish`, `checkpoint` or `restore`, or one point as in `promote:3`. May be given several times.
    #[arg(long, value_name = "PHASE", conflicts_with_all = ["profile", "faults", "speed", "plan", "compare"])]
    kill_at: Vec<KillAt>,

    #[command(flatten)]
    traced: Traced,

    /// The seed of the first run; the ones after it have the numbers that follow (default: a random one).
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// Divides the times of notices, stops and storms: at 60, a notice of 120 s is one of 2 s.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,

    /// How many steps run at once (default: the number of processors).
    #[arg(long, short, value_name = "N", env = "PRUNELLA_JOBS")]
    jobs: Option<usize>,

    /// Accept data that is not in prunella.lock or has changed.
    #[arg(long)]
    allow_unpinned: bool,

    /// Run although the pipeline publishes to absolute paths or addresses: every run publishes there.
    #[arg(long)]
    publish: bool,

    /// Where the runs live while they run; it must be empty or not there (default: a new directory in $TMPDIR).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Keep the stores of all runs, not only of those in which something was wrong.
    #[arg(long)]
    keep: bool,

    /// Also play the same commands as people script them, under the same faults: `ad-hoc`.
    #[arg(long, value_name = "WHAT")]
    compare: Option<Compare>,
}

/// What Prunella is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compare {
    /// A shell script of the same commands.
    AdHoc,
}

/// Where plans come from.
enum Source {
    Given(Vec<Strike>),
    Recorded(Recorded),
    Profile(Profile),
}

/// One disturbed run and what is wrong with it.
struct Judged {
    seed: u64,
    plan: Vec<Strike>,
    played: Played,
    verdict: Verdict,
}

impl Chaos {
    /// Runs.
    ///
    /// # Errors
    /// [`CliError`] if the pipeline cannot be run as it is.
    pub async fn run(&self, context: &Context) -> Result<u8, CliError> {
        if !(self.speed.is_finite() && self.speed > 0.0) {
            return Err(CliError::Usage("`--speed` is a number above 0".to_owned(), None));
        }
        if context.faults.is_some() {
            let what = format!("{VARIABLE} is set: who looks for what is wrong must see what is there");
            return Err(CliError::Usage(
                what,
                Some("faults for the runs come from `--profile` and `--plan`".to_owned()),
            ));
        }
        let (place, targets) = find(context, &self.which)?;
        let pipeline = read(context, &place, &self.which.set)?.pipeline;
        are_steps(&targets, &pipeline)?;
        self.publishes_only_here(&pipeline)?;
        if self.compare.is_some() {
            can_be_scripted(&pipeline)?;
        }
        let dir = self.scratch(context)?;
        let subject = self.subject(&pipeline, &place.file, &targets, sites(context, &dir).await?)?;
        let given = match &self.plan {
            Some(file) => Source::Given(given(context, file)?),
            None => self.traced.read(context)?.map_or(Source::Profile(self.profile), Source::Recorded),
        };
        tokio::select! {
            judged = self.judge(context, (&pipeline, &place.base), &subject, &dir, &given) => judged,
            // What runs is killed where it is dropped: nothing is left running, and nothing is worth keeping.
            stopped = stopped() => {
                let code = stopped.map_err(CliError::io("the signal"))?;
                prunella_chaos::kill_all(&context.sys, &subject.sites, &dir).await;
                clear_all(context, &subject.sites, &dir).await;
                note("stopped");
                Ok(code)
            }
        }
    }

    async fn judge(
        &self,
        context: &Context,
        (pipeline, base): (&Pipeline, &Path),
        subject: &Subject,
        dir: &Path,
        source: &Source,
    ) -> Result<u8, CliError> {
        let sys = &context.sys;
        let first = self.seed.unwrap_or_else(|| sys.random.u64() >> 16);
        let began = |error| CliError::Io(subject.binary.clone(), error);
        note(&format!("{} undisturbed, to compare with …", subject.pipeline));
        let calm = dir.join("undisturbed");
        let end = Patience { end: Duration::from_secs(24 * 3600), engine: Duration::from_secs(30) };
        let undisturbed = play(sys, subject, &calm, &[], &*sys.random, end).await.map_err(began)?;
        let Some(expected) = undisturbed.made.as_ref().filter(|_| undisturbed.broken.is_none()) else {
            let words = undisturbed.last_words.join("\n  ");
            let why =
                undisturbed.broken.map(|broken| format!("{}: {}\n", broken.invariant, broken.what)).unwrap_or_default();
            let what = format!("the pipeline does not succeed when nobody disturbs it\n{why}  {words}");
            clear_all(context, &subject.sites, dir).await;
            return Err(CliError::Refused(what, Some("make `prunella run` succeed first".to_owned())));
        };
        note(&format!("… in {}", lasting(millis(undisturbed.wall))));
        let random = pipeline.steps.values().any(|step| !step.deterministic);
        let subject = &Subject { published: (!random).then(|| expected.published.clone()), ..subject.clone() };
        let baseline = match self.compare {
            Some(Compare::AdHoc) => Some(self.baseline(context, (base, subject), dir, &expected.published, end).await?),
            None => None,
        };
        let mut compared = baseline.is_some().then(Compared::default);
        let patience = Patience { end: (undisturbed.wall * 20).max(Duration::from_secs(120)), ..end };
        if !self.kill_at.is_empty() {
            return self
                .take_points(context, pipeline, subject, (dir, &calm), (expected, &undisturbed), patience)
                .await;
        }
        let judge = Judge { subject, expected, pipeline, keep: self.keep };
        let (mut all, mut row, mut wrong) = (Vec::new(), Resilience::default(), 0_u32);
        for n in 0..u64::from(self.runs.unwrap_or(5)) {
            let seed = first.wrapping_add(n);
            let random = SeededRandom::new(seed);
            let (faults, speed) = (self.faults as usize, self.speed);
            let plan = match source {
                Source::Given(plan) => plan.clone(),
                Source::Recorded(recorded) => recorded.draw(&random, faults, speed),
                Source::Profile(profile) => profile.draw(&random, faults, undisturbed.wall, speed),
            };
            let home = dir.join(n.to_string());
            let played = play(sys, subject, &home, &plan, &random, patience).await.map_err(began)?;
            let verdict = judge.judges(context, home, &played, &mut row).await;
            note(&said(seed, &played, &verdict.wrong));
            wrong += u32::from(!verdict.wrong.is_empty());
            if let (Some(baseline), Some(compared)) = (&baseline, &mut compared) {
                let scripted =
                    self.scripted(context, baseline, &dir.join(format!("{n}-ad-hoc")), &plan, patience).await?;
                note(&format!("  {}", said_of_script(&scripted)));
                compared.add(seed, scripted);
            }
            all.push(Judged { seed, plan, played, verdict });
        }
        clear_run(context, &subject.sites, &calm).await;
        if all.iter().all(|one| one.verdict.kept.is_none()) {
            clear_all(context, &subject.sites, dir).await;
        }
        self.answer(context, &all, (&row, compared.as_ref()), undisturbed.wall)?;
        Ok(u8::from(wrong > 0))
    }

    /// Refuses a pipeline whose publications would go where others read them.
    fn publishes_only_here(&self, pipeline: &Pipeline) -> Result<(), CliError> {
        let outward = pipeline.steps.iter().flat_map(|(step, spec)| {
            let paths = spec.publish.values().map(|publication| &publication.path);
            paths
                .filter(|path| is_address(path) || path.starts_with('/'))
                .map(move |path| format!("  `{step}` publishes to {path}"))
        });
        let outward: Vec<String> = outward.collect();
        if outward.is_empty() || self.publish {
            return Ok(());
        }
        let what = format!("every run would publish to where others may read:\n{}", outward.join("\n"));
        Err(CliError::Refused(what, Some("`--publish` lets it".to_owned())))
    }

    fn scratch(&self, context: &Context) -> Result<PathBuf, CliError> {
        let fs = &context.sys.fs;
        let dir = match &self.dir {
            Some(dir) => std::path::absolute(dir).map_err(CliError::io(dir))?,
            None => {
                let parent = context
                    .sys
                    .env
                    .var("TMPDIR")
                    .filter(|dir| dir.starts_with('/'))
                    .unwrap_or_else(|| "/tmp".to_owned());
                Path::new(&parent).join(format!("prunella-chaos-{}", random_hex(&*context.sys.random, 4)))
            }
        };
        fs.create_dir_all(&dir).map_err(CliError::io(&dir))?;
        if !fs.list(&dir).map_err(CliError::io(&dir))?.is_empty() {
            return Err(CliError::Usage(format!("`{}` is not empty", dir.display()), None));
        }
        Ok(dir)
    }

    fn subject(
        &self,
        pipeline: &Pipeline,
        file: &Path,
        targets: &[StepName],
        sites: Sites,
    ) -> Result<Subject, CliError> {
        let binary = std::env::current_exe().map_err(CliError::io("/proc/self/exe"))?;
        let mut words = vec![std::path::absolute(file).map_err(CliError::io(file))?.into_os_string()];
        words.extend(targets.iter().map(|target| target.as_str().into()));
        for set in &self.which.set {
            words.extend(["--set".into(), set.into()]);
        }
        if let Some(jobs) = self.jobs {
            words.extend(["--jobs".into(), jobs.to_string().into()]);
        }
        if self.allow_unpinned {
            words.push("--allow-unpinned".into());
        }
        let limited = pipeline.steps.iter().filter_map(|(name, step)| {
            let (memory, most) = (step.resources.memory?.bytes(), step.resources.memory_max?.bytes());
            (most > memory).then(|| (name.to_string(), memory))
        });
        let (memory, speed) = (limited.collect(), self.speed);
        Ok(Subject { binary, words, pipeline: pipeline.name.clone(), memory, speed, published: None, sites })
    }

    fn answer(
        &self,
        context: &Context,
        all: &[Judged],
        (row, compared): (&Resilience, Option<&Compared>),
        undisturbed: Duration,
    ) -> Result<(), CliError> {
        match context.output {
            Output::Json => say_json(&json!({
                "profile": (self.plan.is_none() && self.traced.words().is_empty()).then(|| self.profile.name()),
                "speed": self.plan.is_none().then_some(self.speed),
                "undisturbed_ms": millis(undisturbed),
                "runs": all.iter().map(as_json).collect::<Vec<_>>(),
                "prunella": row.json(),
                "ad_hoc": compared.map(Compared::json),
            })),
            Output::Text => {
                let mut rows = vec![("prunella", row)];
                rows.extend(compared.map(|compared| ("ad-hoc", &compared.row)));
                let mut text = Resilience::table(Paint::of(context), &rows);
                text.push_str(&compared.map(Compared::remarks).unwrap_or_default());
                if let Some(first) = all.iter().find(|one| !one.verdict.wrong.is_empty()) {
                    text.push_str(&self.in_full(first));
                }
                say(&text)
            }
        }
    }

    /// Returns the begin of the command that was given.
    fn again(&self) -> String {
        let mut again = String::from("prunella chaos");
        self.which.words.iter().for_each(|word| again.push_str(&format!(" {word}")));
        self.which.set.iter().for_each(|set| again.push_str(&format!(" --set {set}")));
        again
    }

    /// Tells the first run in which something was wrong: what, when, and how to see it again.
    fn in_full(&self, first: &Judged) -> String {
        let mut text = format!("\nseed {}:\n", first.seed);
        text.push_str(&told(&first.verdict.wrong, &first.played, first.verdict.kept.as_ref().map(|(_, site)| site)));
        let mut again = self.again();
        match &self.plan {
            Some(plan) => again.push_str(&format!(" --plan {}", plan.display())),
            None => {
                let traced = self.traced.words();
                let drawn = if traced.is_empty() { format!(" --profile {}", self.profile) } else { traced };
                again.push_str(&format!("{drawn} --faults {} --speed {}", self.faults, self.speed));
            }
        }
        text.push_str(&format!("  again: {again} --seed {} --runs 1\n", first.seed));
        text
    }
}

/// Tells what is wrong with a run, what happened in it, what its engines said last, and where its store is.
fn told(wrong: &[String], played: &Played, kept: Option<&Site>) -> String {
    let mut text = String::new();
    wrong.iter().for_each(|wrong| text.push_str(&format!("  {wrong}\n")));
    for (at, what) in &played.timeline {
        text.push_str(&format!("  {:>9}  {what}\n", lasting(*at)));
    }
    played.last_words.iter().for_each(|line| text.push_str(&format!("  | {line}\n")));
    if let Some(site) = kept {
        text.push_str(&format!("  its store: {}\n", site.word().display()));
    }
    text
}

/// Waits for Ctrl-C or SIGTERM; returns the exit code of whoever was stopped by it.
async fn stopped() -> std::io::Result<u8> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 130),
        _ = terminate.recv() => Ok(143),
    }
}

/// Reads a plan.
fn given(context: &Context, file: &Path) -> Result<Vec<Strike>, CliError> {
    let text = context.sys.fs.read(file).map_err(CliError::io(file))?;
    serde_json::from_slice(&text).map_err(|error| {
        let hint = "a list as in `[{\"after_ms\": 300, \"fault\": \"notice\", \"grace_ms\": 2000}]`; docs/cli.md has the faults";
        CliError::Usage(format!("{}: {error}", file.display()), Some(hint.to_owned()))
    })
}

fn clear(context: &Context, dir: &Path) {
    // What cannot be removed is in the way of nobody.
    let _left = context.sys.fs.remove_dir_all(dir);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn said(seed: u64, played: &Played, problems: &[String]) -> String {
    let mark = if problems.is_empty() { "✓" } else { "✗" };
    let faults = match played.strikes {
        1 => "1 fault".to_owned(),
        n => format!("{n} faults"),
    };
    let wrong = problems.first().map_or_else(String::new, |first| format!(" · {first}"));
    format!("{mark} seed {seed} · {faults} · {} engines · {}{wrong}", played.engines, lasting(millis(played.wall)))
}

fn as_json(judged: &Judged) -> Value {
    let Judged { seed, plan, played, verdict } = judged;
    let mut json = verdict::as_json(played, verdict);
    json["seed"] = json!(seed);
    json["plan"] = json!(plan);
    json["faults"] = json!(played.strikes);
    json
}
