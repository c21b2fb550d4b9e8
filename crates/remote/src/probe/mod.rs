//! Whether a bucket is fit to be a store: asked of the service itself, not of its name.
//!
//! Create-if-absent is the only atomic operation that the protocol needs, and services differ in whether they have it: some
//! ignore the condition, some check it beside the write, some know it for small objects only.

mod conditions;
mod figures;

use std::time::Duration;

use prunella_objects::{ObjectKey, ObjectsError};
use prunella_sys::{Sys, random_hex};

pub use self::figures::Figures;
use crate::bucket::Bucket;
use crate::remote::Options;
use crate::url::StoreUrl;

/// How well one thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Good,
    /// Something to know.
    Note,
    /// The protocol would not hold here.
    Unfit,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub name: &'static str,
    /// How it was found.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
}

/// What was found out about a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// All that was looked at, in order.
    pub findings: Vec<Finding>,
    /// How fast it answers.
    pub figures: Option<Figures>,
}

impl Report {
    /// Returns whether a store may be there.
    pub fn is_fit(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Unfit)
    }

    /// Returns why not, if not.
    pub fn reason(&self) -> Option<String> {
        let unfit = self.findings.iter().filter(|finding| finding.verdict == Verdict::Unfit);
        let reasons: Vec<&str> = unfit.map(|finding| finding.text.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The condition, alone and in one race: what every machine asks once before it writes.
    Quick,
    /// Everything, with several races, large objects and figures.
    Thorough,
}

/// Where objects of a probe lie, beside those of the store; a store never lists them.
pub(crate) const PROBE: &str = "probe/";

/// Finds out whether a bucket is fit to be a store. What it writes lies under `probe/` and is deleted.
///
/// # Errors
/// What the bucket said if it does not answer at all: no access, no bucket, not reachable.
pub async fn check(sys: &Sys, url: &StoreUrl, options: &Options, depth: Depth) -> Result<Report, ObjectsError> {
    let bucket = Bucket::new(sys, url, options)?;
    probe(sys, &bucket, depth).await
}

pub(crate) async fn probe(sys: &Sys, bucket: &Bucket, depth: Depth) -> Result<Report, ObjectsError> {
    let scene = Scene { sys, bucket, base: format!("{PROBE}{}", random_hex(&*sys.random, 16)) };
    let looked = scene.look(depth).await;
    let cleaned = scene.clean().await;
    let mut report = looked?;
    report.findings.push(match cleaned {
        Ok(()) => finding("deletion", Verdict::Good, "what was written for this is deleted again"),
        Err(error) => {
            let base = &scene.base;
            finding(
                "deletion",
                Verdict::Note,
                format!("`{base}/` could not be deleted: {error}; only `gc` needs that right"),
            )
        }
    });
    Ok(report)
}

fn finding(name: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { name, verdict, text: text.into() }
}

/// One probe.
pub(crate) struct Scene<'a> {
    sys: &'a Sys,
    bucket: &'a Bucket,
    base: String,
}

impl Scene<'_> {
    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(format!("{}/{name}", self.base)).expect("the names of a probe are keys")
    }

    async fn look(&self, depth: Depth) -> Result<Report, ObjectsError> {
        let mut findings = self.conditions(depth).await?;
        if depth == Depth::Quick || findings.iter().any(|finding| finding.verdict == Verdict::Unfit) {
            return Ok(Report { findings, figures: None });
        }
        findings.extend(self.order().await?);
        let figures = self.figures().await?;
        if figures.get > SLOW {
            let text = format!("a small object takes {} ms to read; steps wait for that", figures.get.as_millis());
            findings.push(finding("latency", Verdict::Note, text));
        }
        Ok(Report { findings, figures: Some(figures) })
    }

    async fn clean(&self) -> Result<(), ObjectsError> {
        for listed in self.bucket.list(&format!("{}/", self.base), None, usize::MAX).await? {
            self.bucket.delete(&listed.key).await?;
        }
        Ok(())
    }
}

/// Slower than this is worth a word.
const SLOW: Duration = Duration::from_millis(200);
