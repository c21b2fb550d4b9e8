//! How each cloud's service is reached: endpoint, region, credentials.
//!
//! What the environment says is read through `sys`; the rest of each cloud's usual chain (shared files, web and workload
//! identity, containers, instance metadata) is the library's.

use opendal::Operator;
use opendal::services::{Azblob, Gcs, S3};
use prunella_sys::Sys;

use crate::url::{Kind, StoreUrl};

/// Returns the library's handle on a bucket.
pub(crate) fn operator(sys: &Sys, url: &StoreUrl, endpoint: Option<&str>) -> opendal::Result<Operator> {
    let root = url.root();
    match url.kind {
        Kind::S3 => {
            let mut made = S3::default().bucket(&url.bucket).root(&root);
            let variable = |names: &[&str]| names.iter().find_map(|name| sys.env.var(name)).filter(|v| !v.is_empty());
            if let Some(endpoint) = endpoint {
                made = made.endpoint(endpoint);
            }
            let region = url.region.clone().or_else(|| variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]));
            // Look-alikes have none, or do not mind which.
            made = made.region(region.as_deref().unwrap_or("us-east-1"));
            // Through `sys`, as everything that is read of the machine; the rest of the usual chain (shared files, web identity,
            // containers, instance metadata) is the library's.
            let key = variable(&["AWS_ACCESS_KEY_ID"]).zip(variable(&["AWS_SECRET_ACCESS_KEY"]));
            match (&url.profile, key) {
                (Some(profile), _) => made = made.profile(profile),
                (None, Some((id, secret))) => {
                    made = made.access_key_id(&id).secret_access_key(&secret);
                    if let Some(token) = variable(&["AWS_SESSION_TOKEN"]) {
                        made = made.session_token(&token);
                    }
                }
                (None, None) => {}
            }
            // Of Amazon's own endpoints, the bucket belongs into the name of the host; a dot in it would break the certificate.
            if !url.path_style.unwrap_or(endpoint.is_some() || url.bucket.contains('.')) {
                made = made.enable_virtual_host_style();
            }
            if url.checksums {
                made = made.checksum_algorithm("crc32c");
            }
            if url.anonymous {
                made = made.skip_signature();
            }
            Operator::new(made)
        }
        Kind::Gcs => {
            let mut made = Gcs::default().bucket(&url.bucket).root(&root);
            if let Some(endpoint) =
                url.endpoint.clone().or_else(|| sys.env.var("STORAGE_EMULATOR_HOST").map(with_scheme))
            {
                made = made.endpoint(&endpoint);
            }
            if url.anonymous {
                made = made.skip_signature();
            }
            Operator::new(made)
        }
        Kind::Azure => {
            let account = account(sys, url);
            let mut made = Azblob::default().container(&url.bucket).root(&root);
            if let Some(endpoint) = endpoint {
                made = made.endpoint(endpoint);
            }
            if let Some(account) = &account {
                made = made.account_name(account);
            }
            let key = sys.env.var("AZURE_STORAGE_ACCOUNT_KEY").or_else(|| sys.env.var("AZURE_STORAGE_KEY"));
            if let Some(key) = &key {
                made = made.account_key(key);
            }
            if let Some(token) = sys.env.var("AZURE_STORAGE_SAS_TOKEN") {
                made = made.sas_token(&token);
            }
            if url.anonymous {
                made = made.skip_signature();
            }
            Operator::new(made)
        }
    }
}

/// Returns the address of the service, where it is not the library's own default.
pub(crate) fn endpoint(sys: &Sys, url: &StoreUrl) -> Option<String> {
    let variable = |names: &[&str]| names.iter().find_map(|name| sys.env.var(name)).filter(|v| !v.is_empty());
    let said = url.endpoint.clone();
    match url.kind {
        Kind::S3 => said.or_else(|| variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])),
        Kind::Gcs => said.or_else(|| variable(&["STORAGE_EMULATOR_HOST"]).map(with_scheme)),
        Kind::Azure => said
            .or_else(|| variable(&["AZURE_STORAGE_ENDPOINT"]))
            .or_else(|| account(sys, url).map(|account| format!("https://{account}.blob.core.windows.net"))),
    }
}

fn account(sys: &Sys, url: &StoreUrl) -> Option<String> {
    let variable = |name| sys.env.var(name);
    url.account.clone().or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME")).or_else(|| variable("AZURE_STORAGE_ACCOUNT"))
}

fn with_scheme(host: String) -> String {
    if host.contains("://") { host } else { format!("http://{host}") }
}
