//! Data that does not lie beside the pipeline file: addresses in buckets, and folders of this machine.

use prunella_model::{FOLDER, is_address};

use crate::{
    diagnostic::clip,
    reader::Reader,
    tree::{NodeId, Value},
};

/// What an address may say beside the place; of what else stands there the value is not shown, since it may be a secret.
const WORDS: &[&str] = &["endpoint", "region", "profile", "style", "checksums", "account", "anonymous", "versions"];

/// What the names of secrets have in them: the line is not shown then.
const SECRETS: &[&str] = &["sig", "token", "key", "secret", "password", "credential"];

const FORM: &str = "write `s3://BUCKET/PREFIX/`, `gs://BUCKET/PREFIX/`, `az://CONTAINER/PREFIX/` or `dir:///PATH`; without `/` at the \
                    end it is the one object of that name";

impl Reader<'_> {
    /// Returns whether the value is a text that is meant to be an address.
    pub fn is_elsewhere(&self, id: NodeId) -> bool {
        matches!(&self.tree.node(id).value, Value::Scalar { text, .. } if text.contains("://"))
    }

    /// Reads the address of a data set; what lies there is found out when it is pinned.
    pub fn uri(&mut self, id: NodeId) -> Option<String> {
        let text = self.filled_text(id, "the address of a data set")?;
        let mark = self.mark(id);
        if let Some(path) = text.strip_prefix(FOLDER) {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                let message = format!("`{}` is no absolute path without `..`", clip(path));
                self.found
                    .error("bad-path", mark, message)
                    .help("write `dir:///srv/corpus`; data in the directory of the pipeline file is named by `path`");
                return None;
            }
            return Some(text.to_owned());
        }
        if !is_address(text) {
            self.found.error("unknown-value", mark, format!("`{}` is no address of data", clip(text))).help(FORM);
            return None;
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let rest = place.split_once("://").map_or("", |(_, rest)| rest);
        let bucket = rest.split('/').next().unwrap_or_default();
        if bucket.contains('@') {
            self.found
                .error("secret-in-file", mark, "an address holds no credentials")
                .help("they come from the environment, by each cloud's usual chain");
            return None;
        }
        if bucket.is_empty() {
            self.found.error("bad-path", mark, format!("`{}` names no bucket", clip(text))).help(FORM);
            return None;
        }
        let words = query.split('&').filter(|word| !word.is_empty()).map(|word| word.split('=').next().unwrap_or(word));
        let odd: Vec<&str> = words.filter(|word| !WORDS.contains(word)).collect();
        let secret = |word: &&str| SECRETS.iter().any(|part| word.to_ascii_lowercase().contains(part));
        if odd.iter().any(secret) {
            self.found
                .error("secret-in-file", mark, "an address holds no credentials, and no signature")
                .help("they come from the environment, by each cloud's usual chain");
            return None;
        }
        if let Some(first) = odd.first() {
            let help = format!("there are {}; credentials come from the environment", WORDS.join(", "));
            self.found.error("unknown-value", mark, format!("an address has no `{}`", clip(first))).help(&help);
            return None;
        }
        Some(text.to_owned())
    }
}
