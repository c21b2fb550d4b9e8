//! Whether a bucket is fit to be a store: asked of the service itself, not of its name.
//!
//! Create-if-absent is the only atomic operation that the protocol needs, and services differ in whether they have it: some
//! ignore the condition, some check it beside the write, some know it for small objects only.

mod bucket_rules;
mod conditions;
mod figures;
mod replacement;
mod rules;

use std::time::Duration;

use prunella_objects::{ObjectKey, ObjectsError, Report, Verdict, finding};
use prunella_sys::{Sys, random_hex};

use crate::bucket::Bucket;
use crate::options::Options;
use crate::url::StoreUrl;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The condition, alone, in races and for an upload in parts: what every machine asks once before it writes.
    Quick,
    /// Everything, with large objects and figures.
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
        findings.extend(self.rules().await);
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
