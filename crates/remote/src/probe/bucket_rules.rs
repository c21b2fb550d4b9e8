//! What the owner of a bucket told the service to do by itself, and what that means for a store: pure.

use prunella_objects::{Finding, Verdict, finding};
use serde::Deserialize;

/// What a service answered when it was asked for a part of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered<T> {
    /// This.
    Rules(T),
    /// There are none.
    None,
    /// It may not be looked at.
    Forbidden,
    /// It does not say, as look-alikes do.
    Unknown(String),
}

impl<T> Answered<T> {
    /// Returns what `read` makes of the rules; an answer that is none stays what it is.
    pub(super) fn and_then<U>(&self, read: impl FnOnce(&T) -> Answered<U>) -> Answered<U> {
        match self {
            Self::Rules(rules) => read(rules),
            Self::None => Answered::None,
            Self::Forbidden => Answered::Forbidden,
            Self::Unknown(said) => Answered::Unknown(said.clone()),
        }
    }
}

/// What a rule of life cycle does to the objects that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Deletes them, by what is said.
    Expires(String),
    /// Moves them to where they cannot be read at once.
    Archives(String),
    /// Deletes versions that were replaced or deleted.
    ExpiresOld,
    /// Removes uploads that were never completed.
    AbortsUploads,
}

/// A rule of life cycle that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// How its owner finds it.
    pub name: String,
    /// What the names begin with that it is about; one of them is enough, none are all.
    pub prefixes: Vec<String>,
    pub deeds: Vec<Deed>,
}

impl Rule {
    /// Whether it is about anything of a store whose keys begin so.
    fn covers(&self, store: &str) -> bool {
        let meets = |prefix: &String| store.starts_with(prefix.as_str()) || prefix.starts_with(store);
        self.prefixes.is_empty() || self.prefixes.iter().any(meets)
    }
}

/// Says what rules of life cycle mean for the store whose keys begin with `store`.
pub(super) fn life_cycle(answered: &Answered<Vec<Rule>>, store: &str, right: &str) -> Vec<Finding> {
    let rules = match answered {
        Answered::Rules(rules) => rules.as_slice(),
        Answered::None => &[],
        Answered::Forbidden => {
            return vec![not_allowed("life cycle", right, "that no rule expires objects under the prefix")];
        }
        Answered::Unknown(said) => {
            let text = format!("the service does not say ({said}): let no rule expire objects under the prefix");
            return vec![finding("life cycle", Verdict::Note, text)];
        }
    };
    let covering: Vec<&Rule> = rules.iter().filter(|rule| rule.covers(store)).collect();
    let (mut found, mut aborts) = (Vec::new(), false);
    for rule in &covering {
        for deed in &rule.deeds {
            match deed {
                Deed::Expires(when) => {
                    let text = format!(
                        "{} deletes objects under this prefix {when}: records that decide would vanish, a closed attempt could commit \
                         again, and artifacts would be lost; limit it to another prefix, and let `prunella gc` delete",
                        rule.name
                    );
                    found.push(finding("life cycle", Verdict::Unfit, text));
                }
                Deed::Archives(class) => {
                    let text = format!(
                        "{} moves objects under this prefix to {class}, where they cannot be read at once",
                        rule.name
                    );
                    found.push(finding("life cycle", Verdict::Note, text));
                }
                Deed::ExpiresOld => {}
                Deed::AbortsUploads => aborts = true,
            }
        }
    }
    if found.is_empty() {
        found.push(finding("life cycle", Verdict::Good, "no rule deletes objects under this prefix"));
    }
    found.push(match aborts {
        true => finding("unfinished uploads", Verdict::Good, "a rule removes them"),
        false => {
            let text = "no rule removes them: what a kill leaves of a large upload costs for ever; let one abort them after a few days";
            finding("unfinished uploads", Verdict::Note, text)
        }
    });
    found
}

/// Says what it means that old versions are kept.
pub(super) fn versions(answered: &Answered<bool>, rules: &Answered<Vec<Rule>>, store: &str, right: &str) -> Finding {
    match answered {
        Answered::Rules(true) => {
            let expire = |rule: &Rule| rule.covers(store) && rule.deeds.contains(&Deed::ExpiresOld);
            match rules {
                Answered::Rules(rules) if rules.iter().any(expire) => {
                    finding("versions", Verdict::Good, "old versions are kept for a while, and a rule deletes them")
                }
                _ => {
                    let text = "old versions are kept, those of signs of life every ten seconds, and what `gc` deletes goes on to cost; no \
                                danger, but let a rule expire noncurrent versions";
                    finding("versions", Verdict::Note, text)
                }
            }
        }
        Answered::Rules(false) | Answered::None => finding("versions", Verdict::Good, "old versions are not kept"),
        Answered::Forbidden => {
            not_allowed("versions", right, "whether old versions are kept; they cost, and are no danger")
        }
        Answered::Unknown(said) => finding("versions", Verdict::Note, format!("the service does not say ({said})")),
    }
}

/// What keeps objects from being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Retention {
    /// Deletions take effect later; overwriting works.
    Later(String),
    /// Nothing can be overwritten or deleted for so long.
    Frozen(String),
}

/// Says what retention means.
pub(super) fn retention(answered: &Answered<Retention>, right: &str) -> Finding {
    match answered {
        Answered::None => finding("retention", Verdict::Good, "what is deleted goes at once"),
        Answered::Rules(Retention::Later(what)) => finding(
            "retention",
            Verdict::Note,
            format!("{what}: `gc` frees nothing before that; no danger, but it costs"),
        ),
        Answered::Rules(Retention::Frozen(what)) => {
            let text = format!(
                "{what}: signs of life cannot be renewed, so that attempts that live would be taken for dead, and `gc` cannot delete"
            );
            finding("retention", Verdict::Unfit, text)
        }
        Answered::Forbidden => {
            not_allowed("retention", right, "whether objects are locked; `gc` could not delete then")
        }
        Answered::Unknown(said) => finding("retention", Verdict::Note, format!("the service does not say ({said})")),
    }
}

fn not_allowed(name: &'static str, right: &str, what: &str) -> Finding {
    finding(name, Verdict::Note, format!("not allowed to look (`{right}`): see yourself {what}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LifecycleConfiguration {
    #[serde(default)]
    rule: Vec<S3Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Rule {
    #[serde(rename = "ID")]
    id: Option<String>,
    status: Option<String>,
    prefix: Option<String>,
    filter: Option<S3Filter>,
    expiration: Option<S3Expiration>,
    #[serde(default)]
    transition: Vec<S3Transition>,
    noncurrent_version_expiration: Option<serde::de::IgnoredAny>,
    abort_incomplete_multipart_upload: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Filter {
    prefix: Option<String>,
    tag: Option<serde::de::IgnoredAny>,
    and: Option<S3And>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3And {
    prefix: Option<String>,
    #[serde(default)]
    tag: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Expiration {
    days: Option<u64>,
    date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct S3Transition {
    storage_class: String,
}

/// Reads the rules of life cycle of S3; nothing if they cannot be understood.
pub(super) fn of_s3(xml: &str) -> Option<Vec<Rule>> {
    let read: LifecycleConfiguration = quick_xml::de::from_str(xml).ok()?;
    let numbered = read.rule.into_iter().enumerate();
    let enabled = numbered.filter(|(_, rule)| rule.status.as_deref() == Some("Enabled"));
    let rules = enabled.filter_map(|(n, rule)| {
        let filter = rule.filter.as_ref();
        // Objects of a store have no tags.
        if filter.is_some_and(|f| f.tag.is_some() || f.and.as_ref().is_some_and(|and| !and.tag.is_empty())) {
            return None;
        }
        let said = filter.and_then(|f| f.prefix.clone().or_else(|| f.and.as_ref()?.prefix.clone())).or(rule.prefix);
        let mut deeds = Vec::new();
        if let Some(expiration) = rule.expiration {
            let when = expiration.days.map(|days| format!("after {days} days"));
            deeds.extend(when.or(expiration.date.map(|date| format!("on {date}"))).map(Deed::Expires));
        }
        let slow =
            rule.transition.into_iter().filter(|to| ["GLACIER", "DEEP_ARCHIVE"].contains(&to.storage_class.as_str()));
        deeds.extend(slow.map(|to| Deed::Archives(to.storage_class)));
        deeds.extend(rule.noncurrent_version_expiration.map(|_| Deed::ExpiresOld));
        deeds.extend(rule.abort_incomplete_multipart_upload.map(|_| Deed::AbortsUploads));
        let name = rule.id.map_or_else(|| format!("rule {}", n + 1), |id| format!("rule `{id}`"));
        Some(Rule { name, prefixes: said.filter(|prefix| !prefix.is_empty()).into_iter().collect(), deeds })
    });
    Some(rules.collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersioningConfiguration {
    status: Option<String>,
}

/// Reads whether S3 keeps versions.
pub(super) fn versions_of_s3(xml: &str) -> Option<bool> {
    let read: VersioningConfiguration = quick_xml::de::from_str(xml).ok()?;
    Some(read.status.as_deref() == Some("Enabled"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectLockConfiguration {
    rule: Option<LockRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LockRule {
    default_retention: Option<DefaultRetention>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DefaultRetention {
    mode: Option<String>,
    days: Option<u64>,
    years: Option<u64>,
}

/// Reads what S3 locks by itself.
pub(super) fn retention_of_s3(xml: &str) -> Option<Answered<Retention>> {
    let read: ObjectLockConfiguration = quick_xml::de::from_str(xml).ok()?;
    Some(match read.rule.and_then(|rule| rule.default_retention) {
        None => Answered::None,
        Some(lock) => {
            let long =
                lock.days.map(|days| format!("{days} days")).or(lock.years.map(|years| format!("{years} years")));
            let mode = lock.mode.unwrap_or_default().to_lowercase();
            let text =
                format!("object lock ({mode}) keeps every version for {}", long.unwrap_or_else(|| "a time".to_owned()));
            Answered::Rules(Retention::Later(text))
        }
    })
}

/// What Google says of a bucket.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct GoogleBucket {
    lifecycle: GoogleLifecycle,
    versioning: GoogleVersioning,
    retention_policy: Option<GoogleRetention>,
    soft_delete_policy: Option<GoogleSoftDelete>,
    default_event_based_hold: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GoogleLifecycle {
    rule: Vec<GoogleRule>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GoogleVersioning {
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleRetention {
    retention_period: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoogleSoftDelete {
    retention_duration_seconds: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GoogleRule {
    action: GoogleAction,
    condition: GoogleCondition,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GoogleAction {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GoogleCondition {
    age: Option<u64>,
    is_live: Option<bool>,
    num_newer_versions: Option<u64>,
    days_since_noncurrent_time: Option<u64>,
    noncurrent_time_before: Option<String>,
    matches_prefix: Vec<String>,
}

impl GoogleBucket {
    pub(super) fn rules(&self) -> Answered<Vec<Rule>> {
        let rules = self.lifecycle.rule.iter().enumerate().map(|(n, rule)| {
            let condition = &rule.condition;
            let old_only = condition.is_live == Some(false)
                || condition.num_newer_versions.is_some_and(|n| n > 0)
                || condition.days_since_noncurrent_time.is_some()
                || condition.noncurrent_time_before.is_some();
            let when = condition.age.map_or_else(|| "on a condition".to_owned(), |days| format!("after {days} days"));
            let deed = match rule.action.kind.as_str() {
                "Delete" if old_only => Some(Deed::ExpiresOld),
                "Delete" => Some(Deed::Expires(when)),
                "AbortIncompleteMultipartUpload" => Some(Deed::AbortsUploads),
                _ => None,
            };
            // Google names no rules.
            let (name, prefixes) = (format!("rule {} ({})", n + 1, rule.action.kind), condition.matches_prefix.clone());
            Rule { name, prefixes, deeds: deed.into_iter().collect() }
        });
        Answered::Rules(rules.collect())
    }

    pub(super) fn versions(&self) -> Answered<bool> {
        Answered::Rules(self.versioning.enabled)
    }

    pub(super) fn retention(&self) -> Answered<Retention> {
        if let Some(policy) = &self.retention_policy {
            let text = format!("a retention policy keeps every object for {} s", policy.retention_period);
            return Answered::Rules(Retention::Frozen(text));
        }
        if self.default_event_based_hold {
            return Answered::Rules(Retention::Frozen("every new object is held until an event".to_owned()));
        }
        match &self.soft_delete_policy {
            Some(policy) if policy.retention_duration_seconds != "0" => {
                let text = format!("soft delete keeps what is deleted for {} s", policy.retention_duration_seconds);
                Answered::Rules(Retention::Later(text))
            }
            _ => Answered::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Rule><ID>tidy</ID><Filter><Prefix>team/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>
  <Rule><ID>off</ID><Filter/><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>tagged</ID><Filter><And><Prefix></Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status>
    <Expiration><Days>1</Days></Expiration></Rule>
  <Rule><ID>cold</ID><Prefix>team/store/data/</Prefix><Status>Enabled</Status>
    <Transition><Days>9</Days><StorageClass>STANDARD_IA</StorageClass></Transition>
    <Transition><Days>90</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
  <Rule><ID>uploads</ID><Filter></Filter><Status>Enabled</Status>
    <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>
    <NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration></Rule>
</LifecycleConfiguration>"#;

    fn said(findings: &[Finding]) -> Vec<(Verdict, &str)> {
        findings.iter().map(|finding| (finding.verdict, finding.text.as_str())).collect()
    }

    #[test]
    fn a_rule_that_expires_what_a_store_needs_is_named_and_others_are_not() {
        let rules = Answered::Rules(of_s3(S3).unwrap());
        let found = life_cycle(&rules, "team/store/", "r");
        let said = said(&found);
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[0].0 == Verdict::Unfit
                && said[0].1.starts_with("rule `tidy` deletes objects under this prefix after 30 days")
        );
        assert!(said[1].0 == Verdict::Note && said[1].1.contains("rule `cold`") && said[1].1.contains("GLACIER"));
        assert_eq!(said[2], (Verdict::Good, "a rule removes them"));
        let beside = life_cycle(&rules, "other/", "r");
        assert!(beside.iter().all(|finding| finding.verdict == Verdict::Good), "{beside:?}");
        assert_eq!(
            versions(&Answered::Rules(true), &rules, "other/", "r").verdict,
            Verdict::Good,
            "old versions expire"
        );
        assert_eq!(versions(&Answered::Rules(true), &Answered::None, "other/", "r").verdict, Verdict::Note);
    }

    #[test]
    fn not_to_be_allowed_to_look_is_no_failure() {
        for found in life_cycle(&Answered::Forbidden, "", "s3:GetLifecycleConfiguration") {
            assert!(found.verdict == Verdict::Note && found.text.contains("`s3:GetLifecycleConfiguration`"));
        }
        assert_eq!(retention(&Answered::Forbidden, "r").verdict, Verdict::Note);
        assert_eq!(versions(&Answered::Forbidden, &Answered::None, "", "r").verdict, Verdict::Note);
        assert_eq!(life_cycle(&Answered::Unknown("NotImplemented".into()), "", "r")[0].verdict, Verdict::Note);
    }

    #[test]
    fn versions_and_locks_of_s3_are_read() {
        assert_eq!(
            versions_of_s3("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
            Some(true)
        );
        assert_eq!(versions_of_s3("<VersioningConfiguration/>"), Some(false));
        let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                    <Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
        let found = retention(&retention_of_s3(lock).unwrap(), "r");
        assert!(found.verdict == Verdict::Note && found.text.contains("3 days"), "{}", found.text);
        assert_eq!(of_s3("<html>"), None);
        assert_eq!(of_s3("not xml"), None);
    }

    #[test]
    fn rules_of_google_are_read() {
        let bucket: GoogleBucket = serde_json::from_value(serde_json::json!({
            "lifecycle": { "rule": [
                { "action": { "type": "Delete" }, "condition": { "age": 30, "matchesPrefix": ["team/"] } },
                { "action": { "type": "Delete" }, "condition": { "isLive": false } },
                { "action": { "type": "AbortIncompleteMultipartUpload" }, "condition": { "age": 7 } },
                { "action": { "type": "SetStorageClass", "storageClass": "NEARLINE" }, "condition": { "age": 7 } },
            ] },
            "versioning": { "enabled": true },
            "softDeletePolicy": { "retentionDurationSeconds": "604800" },
        }))
        .unwrap();
        let found = life_cycle(&bucket.rules(), "team/store/", "r");
        assert!(found[0].verdict == Verdict::Unfit && found[0].text.contains("rule 1 (Delete)"), "{found:?}");
        assert!(life_cycle(&bucket.rules(), "other/", "r").iter().all(|finding| finding.verdict == Verdict::Good));
        assert_eq!(versions(&bucket.versions(), &bucket.rules(), "other/", "r").verdict, Verdict::Good);
        assert!(retention(&bucket.retention(), "r").text.contains("604800"));
        let frozen: GoogleBucket =
            serde_json::from_value(serde_json::json!({ "retentionPolicy": { "retentionPeriod": "60" } })).unwrap();
        assert_eq!(retention(&frozen.retention(), "r").verdict, Verdict::Unfit);
        let plain: GoogleBucket = serde_json::from_str("{}").unwrap();
        assert_eq!(retention(&plain.retention(), "r").verdict, Verdict::Good);
    }
}
