//! Google Cloud Storage's JSON API, as far as a store needs it.
//!
//! It answers as the service's documentation says, error bodies included: uploads at once, as `multipart/related` with a
//! checksum, and resumable ones; `ifGenerationMatch`; pages, `prefix` and `startOffset`; ranges; the bucket's own rules. Nobody
//! has compared it with the service itself.

mod requests;
mod said;
mod service;
mod uploads;

use std::sync::Arc;

pub use self::service::{ACCESS_TOKEN, SUBJECT_TOKEN};
pub(crate) use self::uploads::Session;
use crate::faults::Faults;
use crate::objects::Objects;
use crate::s3::Conditions;
use crate::server::Loopback;
use service::Service;

/// A server of Google Cloud Storage. It ends when it is dropped.
pub struct GcsServer {
    loopback: Loopback,
    objects: Arc<Objects>,
}

/// Whose requests a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everybody's.
    #[default]
    Open,
    /// Those with [`ACCESS_TOKEN`], which the same server gives for [`SUBJECT_TOKEN`] as Google's token service does.
    Token,
}

impl GcsServer {
    /// Starts a server with one empty bucket that everybody may use.
    ///
    /// # Panics
    /// If loopback cannot be listened on.
    pub fn start(bucket: &str) -> Self {
        Self::with(bucket, Conditions::Atomic, Access::Open)
    }

    /// Starts a server that treats conditions as it is told, for whom it is told.
    ///
    /// # Panics
    /// As [`GcsServer::start`].
    pub fn with(bucket: &str, conditions: Conditions, access: Access) -> Self {
        let objects = Arc::new(Objects::default());
        objects.make_bucket(bucket);
        let service = Arc::new(Service { objects: objects.clone(), conditions, access });
        Self { loopback: Loopback::start("gcs", service), objects }
    }

    /// Returns the address, as an endpoint.
    pub fn endpoint(&self) -> String {
        self.loopback.endpoint()
    }

    /// Returns the address of a store in a bucket of this server.
    pub fn url(&self, bucket: &str, prefix: &str) -> String {
        format!("gs://{bucket}/{prefix}?endpoint={}", self.endpoint())
    }

    /// Returns what `GOOGLE_APPLICATION_CREDENTIALS` may name: a workload's identity, whose token lies in a file.
    pub fn workload_identity(&self, token_file: &std::path::Path) -> String {
        let identity = serde_json::json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/v1/token", self.endpoint()),
            "credential_source": { "file": token_file, "format": { "type": "text" } },
        });
        identity.to_string()
    }

    /// Returns what it holds.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns what goes wrong.
    pub fn faults(&self) -> &Faults {
        self.loopback.faults()
    }
}
