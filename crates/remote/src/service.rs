//! How each cloud's service is reached: endpoint, region, credentials.
//!
//! What the environment says is read through `sys`; the rest of each cloud's usual chain (shared files, web and workload
//! identity, containers, instance metadata) is the library's.

use opendal::Operator;
use opendal::services::{Azblob, Gcs};
use prunella_sys::Sys;

use crate::url::{Kind, StoreUrl};

/// Returns the library's handle on a bucket.
pub(crate) fn operator(sys: &Sys, url: &StoreUrl, endpoint: Option<&str>) -> opendal::Result<Operator> {
    let root = url.root();
    match url.kind {
        Kind::S3 => Operator::new(crate::aws::settings(sys, url, endpoint)),
        Kind::Gcs => {
            let mut made = Gcs::default().bucket(&url.bucket).root(&root);
            if let Some(endpoint) = endpoint {
                made = made.endpoint(endpoint);
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
            if let Some(key) = variable(sys, &["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"]) {
                made = made.account_key(&key);
            }
            if let Some(token) = variable(sys, &["AZURE_STORAGE_SAS_TOKEN"]) {
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
    let said = url.endpoint.clone();
    match url.kind {
        Kind::S3 => said.or_else(|| variable(sys, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])),
        Kind::Gcs => said.or_else(|| variable(sys, &["STORAGE_EMULATOR_HOST"]).map(with_scheme)),
        Kind::Azure => said
            .or_else(|| variable(sys, &["AZURE_STORAGE_ENDPOINT"]))
            .or_else(|| account(sys, url).map(|account| format!("https://{account}.blob.core.windows.net"))),
    }
}

fn account(sys: &Sys, url: &StoreUrl) -> Option<String> {
    let variables = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
    url.account.clone().or_else(|| variable(sys, &variables))
}

/// Returns the first of these variables that says something.
pub(crate) fn variable(sys: &Sys, names: &[&str]) -> Option<String> {
    names.iter().filter_map(|name| sys.env.var(name)).find(|value| !value.is_empty())
}

fn with_scheme(host: String) -> String {
    if host.contains("://") { host } else { format!("http://{host}") }
}
