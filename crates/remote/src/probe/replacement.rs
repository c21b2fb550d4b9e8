//! Whether a write can ask for the version that it replaces. No store needs it; publications do, where it is known.

use bytes::Bytes;
use prunella_objects::{Finding, ObjectKey, ObjectsError, Verdict, finding};

use super::Scene;
use crate::bucket::{Asks, Put, unquoted};
use crate::url::Kind;

/// What becomes of publications where it is not known.
const LAST_WINS: &str = "of two that publish one file at once the last wins, always whole";
/// A tag that no object has.
const NOBODYS: &str = "\"00000000000000000000000000000000\"";

impl Scene<'_> {
    /// Looks at the replacement of a version; nothing at Google's, whose condition the library does not know.
    pub(super) async fn replacement(&self) -> Result<Option<Finding>, ObjectsError> {
        if self.bucket.url().kind == Kind::Gcs {
            return Ok(None);
        }
        let key = self.key("replaced");
        let note = |text: &str| Some(finding("replacement", Verdict::Note, format!("{text}: {LAST_WINS}")));
        let put = async |text: &'static str, asks: Asks<'_>| {
            self.bucket.put_shown_asking(key.as_str(), Bytes::from_static(text.as_bytes()), "", asks).await
        };
        put("first", Asks::Nothing).await?;
        if put("second", Asks::Tag(NOBODYS)).await? == Put::New {
            return Ok(note("it ignores the version that a write asks for (`If-Match`)"));
        }
        let Some(there) = self.bucket.look(key.as_str()).await? else {
            return Ok(note("what was written was not there when it was looked for"));
        };
        let quoted = put("third", Asks::Tag(&there.version)).await? == Put::New;
        if !quoted && put("third", Asks::Tag(unquoted(&there.version))).await? == Put::There {
            return Ok(note("it does not know its own version when a write asks for it (`If-Match`)"));
        }
        if self.replaces_in_parts(&key).await? {
            return Ok(note("it ignores the version that an upload in parts asks for (`If-Match`)"));
        }
        let text = "a write can ask for the version that it replaces";
        Ok(Some(match quoted {
            true => finding("replacement", Verdict::Good, text),
            false => finding("replacement", Verdict::Note, format!("{text}, by its tag without quotes only")),
        }))
    }

    /// Returns whether an upload in parts replaces another version than it asks for.
    async fn replaces_in_parts(&self, key: &ObjectKey) -> Result<bool, ObjectsError> {
        let part_bytes = self.bucket.smallest_part_bytes();
        let zeros = |_: u64, size: usize| Ok(Bytes::from(vec![0; size]));
        let sent = (part_bytes, part_bytes as u64 + 1, zeros);
        Ok(self.bucket.put_shown_in_parts_asking(key.as_str(), sent, "", Asks::Tag(NOBODYS)).await? == Put::New)
    }
}
