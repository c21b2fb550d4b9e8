//! Where a bucket of S3 answers, and by whose credentials.

use opendal::services::S3;
use prunella_sys::Sys;
use reqsign_aws_v4::{DefaultCredentialProvider, StaticCredentialProvider};
use reqsign_core::ProvideCredentialChain;

pub(crate) use reqsign_aws_v4::Credential;

use crate::service::variable;
use crate::url::StoreUrl;

/// Returns the region; look-alikes have none, or do not mind which.
pub(crate) fn region(sys: &Sys, url: &StoreUrl) -> String {
    let said = url.region.clone().or_else(|| variable(sys, &["AWS_REGION", "AWS_DEFAULT_REGION"]));
    said.unwrap_or_else(|| "us-east-1".to_owned())
}

/// Returns whether the bucket stands in the path, and not in the host's name.
///
/// Of Amazon's own endpoints, it belongs into the name of the host; a dot in it would break the certificate.
fn path_style(url: &StoreUrl, endpoint: Option<&str>) -> bool {
    url.path_style.unwrap_or(endpoint.is_some() || url.bucket.contains('.'))
}

/// Returns the address of the bucket itself.
pub(crate) fn bucket_address(url: &StoreUrl, endpoint: Option<&str>, region: &str) -> String {
    let amazon = format!("https://s3.{region}.amazonaws.com");
    let base = endpoint.unwrap_or(&amazon);
    match base.split_once("://").filter(|_| !path_style(url, endpoint)) {
        Some((scheme, host)) => format!("{scheme}://{}.{host}", url.bucket),
        None => format!("{base}/{}", url.bucket),
    }
}

/// Returns the library's settings of a bucket.
pub(crate) fn settings(sys: &Sys, url: &StoreUrl, endpoint: Option<&str>) -> S3 {
    let mut made = S3::default().bucket(&url.bucket).root(&url.root()).region(&region(sys, url));
    made = made.credential_provider_chain(credentials(sys, url));
    if let Some(endpoint) = endpoint {
        made = made.endpoint(endpoint);
    }
    if !path_style(url, endpoint) {
        made = made.enable_virtual_host_style();
    }
    if url.checksums {
        made = made.checksum_algorithm("crc32c");
    }
    if url.anonymous {
        made = made.skip_signature();
    }
    made
}

/// Returns the usual chain: what the address or the environment says, shared files, identities, the machine's service.
pub(crate) fn credentials(sys: &Sys, url: &StoreUrl) -> ProvideCredentialChain<Credential> {
    let mut usual = DefaultCredentialProvider::builder();
    if let Some(profile) = &url.profile {
        usual = usual.with_profile(profile);
    }
    let chain = ProvideCredentialChain::new().push(usual.build());
    let key = variable(sys, &["AWS_ACCESS_KEY_ID"]).zip(variable(sys, &["AWS_SECRET_ACCESS_KEY"]));
    match key.filter(|_| url.profile.is_none()) {
        None => chain,
        Some((id, secret)) => {
            let mut said = StaticCredentialProvider::new(&id, &secret);
            if let Some(token) = variable(sys, &["AWS_SESSION_TOKEN"]) {
                said = said.with_session_token(&token);
            }
            chain.push_front(said)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_asked_where_its_objects_are() {
        let address = |text: &str, endpoint| bucket_address(&text.parse().unwrap(), endpoint, "eu-1");
        assert_eq!(address("s3://b/p", None), "https://b.s3.eu-1.amazonaws.com");
        assert_eq!(address("s3://b.c/p", None), "https://s3.eu-1.amazonaws.com/b.c");
        assert_eq!(address("s3://b/p", Some("http://h:1")), "http://h:1/b");
        assert_eq!(address("s3://b/p?style=virtual", Some("http://h:1")), "http://b.h:1");
    }
}
