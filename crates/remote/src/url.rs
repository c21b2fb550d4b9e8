//! Where a store lies: `s3://bucket/prefix?region=…`.

use std::fmt;
use std::str::FromStr;

use prunella_objects::ObjectKey;
use url::Url;

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Amazon S3, or a store that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Kind {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// The place of a store in a bucket. It holds no secret, so that it may be shown, logged and written down.
///
/// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`, and what the environment does not say as `?key=value`:
/// `endpoint`, `region`, `profile`, `style` (`path` or `virtual`), `checksums` (`crc32c` or `none`) for S3, `account` for
/// Azure, `anonymous=true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    /// Whose.
    pub kind: Kind,
    /// The bucket, or the container.
    pub bucket: String,
    /// What stands before every key: empty, or segments without a slash at either end.
    pub prefix: String,
    /// The address of the service, if it is not the cloud's own.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The profile of the shared configuration.
    pub profile: Option<String>,
    /// The storage account (Azure).
    pub account: Option<String>,
    /// Whether the bucket stands in the path, and not in the host's name; nothing: as the service is known to want it.
    pub path_style: Option<bool>,
    /// Whether uploads carry a checksum (S3).
    pub checksums: bool,
    /// Whether requests are sent without credentials.
    pub anonymous: bool,
}

/// What is wrong with an address, all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no store: {}", problems.join("; "))]
pub struct UrlError {
    /// The address, without what could be a secret.
    pub url: String,
    /// Every mistake.
    pub problems: Vec<String>,
}

impl StoreUrl {
    /// Returns whether a text is meant to be an address and not a path.
    pub fn looks_like_one(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        })
    }

    /// Returns the name that an object of this key has in the bucket.
    pub(crate) fn in_bucket(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// Returns the key under which the bucket holds an object, or all whose key begins so.
    pub(crate) fn root(&self) -> String {
        if self.prefix.is_empty() { "/".to_owned() } else { format!("/{}/", self.prefix) }
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // A query or a user's part may hold a secret that somebody put there by mistake.
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        let shown = match shown.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?.1))) {
            Some((scheme, rest)) => format!("{scheme}://{rest}"),
            None => shown.to_owned(),
        };
        let wrong = |problems| UrlError { url: shown.clone(), problems };
        let parsed = Url::parse(text).map_err(|error| wrong(vec![error.to_string()]))?;
        let kind = match parsed.scheme() {
            "s3" => Kind::S3,
            "gs" => Kind::Gcs,
            "az" => Kind::Azure,
            other => {
                return Err(wrong(vec![format!("`{other}://` is not known; there are `s3://`, `gs://` and `az://`")]));
            }
        };
        let mut problems = Vec::new();
        if !parsed.username().is_empty() || parsed.password().is_some() {
            problems.push("credentials do not belong into an address; they come from the environment".to_owned());
        }
        let bucket = parsed.host_str().unwrap_or_default().to_owned();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        if bucket.is_empty() || !bucket.bytes().all(allowed) {
            problems.push(format!("it names no bucket: `{}://BUCKET/PREFIX`", kind.scheme()));
        }
        if parsed.port().is_some() {
            problems.push("a port belongs into `?endpoint=`".to_owned());
        }
        let prefix = parsed.path().trim_matches('/').to_owned();
        if !prefix.is_empty() && (ObjectKey::new(&prefix).is_err() || prefix.len() > MAX_PREFIX_BYTES) {
            problems.push(format!(
                "the prefix `{prefix}` must be at most {MAX_PREFIX_BYTES} of `A-Z a-z 0-9 . _ = @ + -` in segments joined by `/`"
            ));
        }
        let mut made = Self {
            kind,
            bucket,
            prefix,
            endpoint: None,
            region: None,
            profile: None,
            account: None,
            path_style: None,
            checksums: true,
            anonymous: false,
        };
        for (key, value) in parsed.query_pairs() {
            if let Err(problem) = made.set(&key, &value) {
                problems.push(problem);
            }
        }
        if problems.is_empty() { Ok(made) } else { Err(wrong(problems)) }
    }
}

/// Room for the longest key behind it: 1024 bytes are allowed everywhere.
const MAX_PREFIX_BYTES: usize = 256;

impl StoreUrl {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let for_s3 = |done: ()| match self.kind {
            Kind::S3 => Ok(done),
            _ => Err(format!("`{key}` is for `s3://` only")),
        };
        let text = || if value.is_empty() { Err(format!("`{key}` is empty")) } else { Ok(Some(value.to_owned())) };
        match key {
            "endpoint" => {
                let good = Url::parse(value)
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty());
                if !good {
                    return Err("`endpoint` is an address as `https://HOST:PORT`".to_owned());
                }
                self.endpoint = Some(value.trim_end_matches('/').to_owned());
            }
            "region" => {
                for_s3(())?;
                self.region = text()?;
            }
            "profile" => {
                for_s3(())?;
                self.profile = text()?;
            }
            "account" => match self.kind {
                Kind::Azure => self.account = text()?,
                _ => return Err("`account` is for `az://` only".to_owned()),
            },
            "style" => {
                for_s3(())?;
                self.path_style = Some(match value {
                    "path" => true,
                    "virtual" => false,
                    _ => return Err("`style` is `path` or `virtual`".to_owned()),
                });
            }
            "checksums" => {
                for_s3(())?;
                self.checksums = match value {
                    "crc32c" => true,
                    "none" => false,
                    _ => return Err("`checksums` is `crc32c` or `none`".to_owned()),
                };
            }
            "anonymous" => {
                self.anonymous = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err("`anonymous` is `true` or `false`".to_owned()),
                };
            }
            // Its value is not shown: it may be a secret.
            _ => {
                return Err(format!(
                    "`{}` is not known; there are `endpoint`, `region`, `profile`, `style`, `checksums`, `account` and `anonymous`",
                    key.chars().take(40).collect::<String>()
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.scheme(), self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let texts = [
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("profile", &self.profile),
            ("account", &self.account),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                query.append_pair(key, value);
            }
        }
        if let Some(path) = self.path_style {
            query.append_pair("style", if path { "path" } else { "virtual" });
        }
        if !self.checksums {
            query.append_pair("checksums", "none");
        }
        if self.anonymous {
            query.append_pair("anonymous", "true");
        }
        let query = query.finish();
        if query.is_empty() { Ok(()) } else { write!(f, "?{query}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_said() {
        for text in [
            "s3://bucket",
            "s3://my-bucket/team/runs",
            "gs://bucket/a",
            "az://container/a?account=store",
            "s3://b/p?endpoint=http%3A%2F%2F127.0.0.1%3A9000&region=us-east-1&style=path&checksums=none",
        ] {
            let parsed: StoreUrl = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.to_string().parse::<StoreUrl>().unwrap(), parsed);
        }
        assert_eq!("s3://b/p/".parse::<StoreUrl>().unwrap().root(), "/p/");
        assert_eq!("s3://b".parse::<StoreUrl>().unwrap().root(), "/");
    }

    #[test]
    fn all_mistakes_are_named_at_once_and_no_secret_is() {
        let error = "s3://key:secret-word@b:9000/a b?secret_key=secret-word&style=odd&account=x"
            .parse::<StoreUrl>()
            .unwrap_err();
        let said = error.to_string();
        assert!(!said.contains("secret-word"), "{said}");
        assert_eq!(error.problems.len(), 6, "{said}");
        assert!("ftp://x/y".parse::<StoreUrl>().unwrap_err().to_string().contains("`ftp://` is not known"));
        assert!("s3://".parse::<StoreUrl>().is_err());
        assert!("s3://b/a//b".parse::<StoreUrl>().is_err());
        assert!("s3://b/%2e%2e%2f".parse::<StoreUrl>().is_err());
    }

    #[test]
    fn a_path_is_no_address() {
        for path in [".prunella", "/srv/store", "C:/x", "a://", "dir/s3://x"] {
            assert_eq!(StoreUrl::looks_like_one(path), path == "a://", "{path}");
        }
        assert!(StoreUrl::looks_like_one("s3://b"));
    }
}
