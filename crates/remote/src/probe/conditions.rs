//! Whether conditions hold, and whether what was written is seen.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use prunella_objects::{Finding, ObjectKey, ObjectsError, Verdict, finding};

use super::{Depth, Scene};
use crate::bucket::{PART_BYTES, Put};
use crate::url::Kind;

/// How many writers race for one object.
const RACERS: usize = 50;
/// How many races are held. One is not enough: of a server that looks first and writes then (s3s-fs 0.14.1) it found nothing in three
/// of four tries; of three races one in 300 tries found nothing.
const RACES: usize = 5;
/// How much each of them writes: a service that looks first and writes then takes longer between the two.
const RACE_BYTES: usize = 16 << 10;

/// Returns what a writer of a race writes, and no other.
fn of_racer(writer: usize) -> Bytes {
    let mut bytes = vec![b'.'; RACE_BYTES];
    let name = format!("writer {writer:03}");
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes.into()
}

const IGNORED_IN_PARTS: &str = "it ignores the condition of an upload in parts: a second one replaced the first";

impl Scene<'_> {
    /// Looks at create-if-absent: alone, again, in races, and for large objects.
    pub(super) async fn conditions(&self, depth: Depth) -> Result<Vec<Finding>, ObjectsError> {
        let (key, first) = (self.key("once"), Bytes::from_static(b"first"));
        let mut found = Vec::new();
        let created = self.bucket.put_new(&key, first.clone()).await?;
        let seen = self.bucket.get(&key, 1 << 10).await?;
        let listed = self.bucket.list(key.as_str(), None, 1).await?;
        found.push(match seen {
            Some(bytes) if bytes == first && created == Put::New => {
                finding("read after write", Verdict::Good, "what was written is read at once")
            }
            Some(_) | None => finding(
                "read after write",
                Verdict::Unfit,
                "what was written was not there when it was read right after",
            ),
        });
        found.push(if listed.first().is_some_and(|listed| listed.key == key && listed.size == 5) {
            finding("list after write", Verdict::Good, "what was written is listed at once")
        } else {
            finding("list after write", Verdict::Unfit, "what was written was not listed right after")
        });
        let again = self.bucket.put_new(&key, Bytes::from_static(b"second")).await?;
        let kept = self.bucket.get(&key, 1 << 10).await?.is_some_and(|bytes| bytes == first);
        found.push(if again == Put::There && kept {
            finding("create if absent", Verdict::Good, "a second create is refused and changes nothing")
        } else {
            let condition = match self.bucket.url().kind {
                Kind::Gcs => "ifGenerationMatch=0",
                Kind::S3 | Kind::Azure => "If-None-Match: *",
            };
            let text = format!("it ignores the condition of a create (`{condition}`): a second one replaced the first");
            finding("create if absent", Verdict::Unfit, text)
        });
        if found.iter().any(|finding| finding.verdict == Verdict::Unfit) {
            return Ok(found);
        }
        found.push(self.races().await?);
        match depth {
            Depth::Quick => found.push(self.in_parts(&key).await?),
            Depth::Thorough => {
                found.push(self.large().await?);
                found.extend(self.replacement().await?);
            }
        }
        Ok(found)
    }

    async fn races(&self) -> Result<Finding, ObjectsError> {
        // With connections that have yet to be made, the writers come one after the other.
        let (bucket, taken) = (self.bucket, self.key("once"));
        let reads = (0..RACERS).map(|_| bucket.get(&taken, 1 << 10));
        let _read: Vec<_> = stream::iter(reads).buffer_unordered(RACERS).try_collect().await?;
        for race in 0..RACES {
            let key = self.key(&format!("race-{race}"));
            let writers = (0..RACERS).map(|writer| {
                let (bucket, key) = (self.bucket.clone(), key.clone());
                async move { (writer, bucket.put_new(&key, of_racer(writer)).await) }
            });
            let outcomes: Vec<_> = stream::iter(writers).buffer_unordered(RACERS).collect().await;
            let (mut winners, mut lost) = (Vec::new(), 0);
            for (writer, outcome) in outcomes {
                match outcome {
                    Ok(Put::New) => winners.push(writer),
                    Ok(Put::There) => lost += 1,
                    Err(error) => return Err(error),
                }
            }
            // A writer whose answer got lost may have won and been told "there": nobody is a winner then.
            let there = self.bucket.get(&key, RACE_BYTES as u64).await?;
            let fits = match winners.as_slice() {
                [winner] => there.is_some_and(|bytes| bytes == of_racer(*winner)),
                [] => lost == RACERS && there.is_some(),
                _ => false,
            };
            if !fits {
                let text = format!(
                    "it checks the condition of a create beside the write: of {RACERS} at once, {} were told that they won",
                    winners.len()
                );
                return Ok(finding("races", Verdict::Unfit, text));
            }
        }
        Ok(finding(
            "races",
            Verdict::Good,
            format!("of {RACERS} creates at once exactly one wins, in {RACES} of {RACES} races"),
        ))
    }

    /// Looks at the condition of an upload in parts: some services know it for small objects only.
    async fn large(&self) -> Result<Finding, ObjectsError> {
        let key = self.key("large");
        // One byte more than a part, so that it is sent in two.
        let size = PART_BYTES as u64 + 1;
        let part = |byte: u8| move |_: u64, size: usize| Ok(Bytes::from(vec![byte; size]));
        let first = self.bucket.put_new_in_parts(&key, size, part(1)).await?;
        let again = self.bucket.put_new_in_parts(&key, size, part(2)).await?;
        let kept = self.bucket.get_begin(&key, 1).await?;
        let kept = kept.is_some_and(|(begin, all)| begin.into_bytes().first() == Some(&1) && all == size);
        Ok(if first == Put::New && again == Put::There && kept {
            finding("large objects", Verdict::Good, "an upload in parts is complete or absent, and keeps the condition")
        } else {
            finding("large objects", Verdict::Unfit, IGNORED_IN_PARTS)
        })
    }

    /// Looks at the same condition with few bytes: one upload, to a name that is taken.
    async fn in_parts(&self, taken: &ObjectKey) -> Result<Finding, ObjectsError> {
        let part_bytes = self.bucket.smallest_part_bytes();
        let zeros = |_: u64, size: usize| Ok(Bytes::from(vec![0; size]));
        let put = self.bucket.put_new_in_parts_of(part_bytes, taken, part_bytes as u64 + 1, zeros).await?;
        Ok(match put {
            Put::There => finding("large objects", Verdict::Good, "an upload in parts keeps the condition"),
            Put::New => finding("large objects", Verdict::Unfit, IGNORED_IN_PARTS),
        })
    }

    /// Looks at the order of listings, at hints, and at what a deletion leaves.
    pub(super) async fn order(&self) -> Result<Vec<Finding>, ObjectsError> {
        let mut found = Vec::new();
        let names = ["order/A", "order/a", "order/a-b", "order/a/b", "order/a0", "order/b"];
        for name in names.iter().rev() {
            // Another's probe does not share this name.
            let _new = self.bucket.put_new(&self.key(name), Bytes::from_static(b"x")).await?;
        }
        let listed = self.bucket.list(&format!("{}/order/", self.base), None, 100).await?;
        let listed: Vec<_> = listed.into_iter().map(|listed| listed.key).collect();
        let ordered = listed.iter().eq(names.iter().map(|name| self.key(name)).collect::<Vec<_>>().iter());
        found.push(if ordered {
            finding("order", Verdict::Good, "listings are in the order of bytes")
        } else {
            let text = "listings are not in the order of bytes (a directory bucket, or a hierarchical account?): the newest record could not be found";
            finding("order", Verdict::Unfit, text)
        });
        let hint = self.key("hint");
        self.bucket.put_hint(&hint, Bytes::from_static(b"1")).await?;
        self.bucket.put_hint(&hint, Bytes::from_static(b"2")).await?;
        let newest = self.bucket.get(&hint, 1 << 10).await?.is_some_and(|bytes| bytes == "2");
        let marked = self.bucket.is_hint(&hint).await? == Some(true);
        found.push(match (newest, marked) {
            (true, true) => finding("hints", Verdict::Good, "what is overwritten is read anew at once"),
            (true, false) => finding("hints", Verdict::Note, "it forgets what is said beside the bytes of an object"),
            (false, _) => {
                let text = "what was overwritten was read as it was before: signs of life would come late";
                finding("hints", Verdict::Note, text)
            }
        });
        self.bucket.delete(&hint).await?;
        found.push(match self.bucket.get(&hint, 1 << 10).await? {
            None => finding("absence", Verdict::Good, "what is absent is said to be absent"),
            Some(_) => finding("absence", Verdict::Note, "a deleted object was still read right after"),
        });
        Ok(found)
    }
}
