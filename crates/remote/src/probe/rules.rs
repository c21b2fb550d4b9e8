//! Asking for the rules of a bucket, where that is allowed.

use std::time::Duration;

use prunella_objects::{Finding, Verdict, finding};

use super::Scene;
use super::bucket_rules::{
    Answered, GoogleBucket, life_cycle, of_s3, retention, retention_of_s3, versions, versions_of_s3,
};
use crate::transport::hearing;
use crate::url::Kind;

/// How long a service may take to say a rule.
const ANSWER: Duration = Duration::from_secs(20);

/// What the service says when there are no rules of the kind.
const NONE: &[&str] =
    &["NoSuchLifecycleConfiguration", "ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"];

impl Scene<'_> {
    /// Says what the owner's rules mean for the store. Nothing of it fails the look: who may use a bucket need not be allowed to
    /// look at its rules.
    pub(super) async fn rules(&self) -> Vec<Finding> {
        let prefix = self.bucket.url().in_bucket("");
        match self.bucket.url().kind {
            Kind::S3 => {
                let rules = understood(self.asked("lifecycle").await, of_s3);
                let kept = understood(self.asked("versioning").await, versions_of_s3);
                let locked = understood(self.asked("object-lock").await, retention_of_s3).and_then(Answered::clone);
                let mut found = life_cycle(&rules, &prefix, "s3:GetLifecycleConfiguration");
                found.push(versions(&kept, &rules, &prefix, "s3:GetBucketVersioning"));
                found.push(retention(&locked, "s3:GetBucketObjectLockConfiguration"));
                found
            }
            Kind::Gcs => {
                let fields = "lifecycle,versioning,retentionPolicy,softDeletePolicy,defaultEventBasedHold";
                let bucket =
                    understood(self.asked(fields).await, |text| serde_json::from_str::<GoogleBucket>(text).ok());
                let right = "storage.buckets.get";
                let rules = bucket.and_then(GoogleBucket::rules);
                let (kept, locked) =
                    (bucket.and_then(GoogleBucket::versions), bucket.and_then(GoogleBucket::retention));
                let mut found = life_cycle(&rules, &prefix, right);
                found.push(versions(&kept, &rules, &prefix, right));
                found.push(retention(&locked, right));
                found
            }
            Kind::Azure => {
                let text = "Azure keeps rules (management policies, immutability, soft delete) with the account, where credentials for blobs \
                            cannot look: see yourself that none deletes or freezes blobs under the prefix";
                vec![finding("life cycle", Verdict::Note, text)]
            }
        }
    }

    async fn asked(&self, part: &str) -> Answered<String> {
        let Some(own) = self.bucket.own() else { return Answered::Unknown("it is not asked".to_owned()) };
        let (answered, heard) = hearing(tokio::time::timeout(ANSWER, own.rules(part))).await;
        match (answered, heard.status) {
            (Ok(Ok(text)), _) => Answered::Rules(String::from_utf8_lossy(&text).into_owned()),
            (Ok(Err(error)), _) if NONE.iter().any(|none| error.message().contains(none)) => Answered::None,
            (Ok(Err(_)), Some(401 | 403)) => Answered::Forbidden,
            (Ok(Err(_)), Some(status)) => Answered::Unknown(format!("HTTP {status}")),
            (Ok(Err(_)) | Err(_), _) => Answered::Unknown("no answer".to_owned()),
        }
    }
}

fn understood<T>(answered: Answered<String>, read: impl Fn(&str) -> Option<T>) -> Answered<T> {
    let unknown = || Answered::Unknown("in words not known here".to_owned());
    answered.and_then(|text| read(text).map_or_else(unknown, Answered::Rules))
}
