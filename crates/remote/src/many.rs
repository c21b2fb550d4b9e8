//! Many small requests as few: listings of neighbours share their pages, and what does not depend on each other runs abreast,
//! as far as it is small.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use prunella_objects::{Created, Frames, Listed, MAX_GET_BYTES, ObjectKey, Objects, ObjectsError, Op};

use crate::remote::{ABREAST, Remote};

/// So many prefixes are listed by themselves; of more, neighbours are looked for.
const FEW: usize = 16;

/// A page that answers fewer prefixes than this costs more than to ask for each of them.
const DENSE: usize = 4;

/// How many stretches of neighbours are listed beside each other.
const LANES: usize = 8;

/// What one page holds.
const PAGE: usize = 1000;

/// Nearly every record is smaller. Larger ones are read one after the other: what is on its way is then at most so many bytes
/// for each of [`ABREAST`], and one record.
const RECORD_BYTES: u64 = 1 << 20;

impl Remote {
    /// Reads a record, the begin of it first.
    pub(crate) async fn get_record(&self, key: &ObjectKey) -> Result<Option<Bytes>, ObjectsError> {
        let Some((first, size_bytes)) = self.bucket().get_begin(key, RECORD_BYTES).await? else { return Ok(None) };
        let have = first.len() as u64;
        if size_bytes == have {
            return Ok(Some(first.into_bytes()));
        }
        if size_bytes > MAX_GET_BYTES {
            return Err(ObjectsError::TooLarge { key: key.clone(), size_bytes, limit_bytes: MAX_GET_BYTES });
        }
        let _turn = self.large.lock().await;
        // What may be read so never changes.
        let Some(rest) = self.bucket().get_range(key, have, size_bytes - have).await? else { return Ok(None) };
        let whole: Frames = first.pieces().chain(rest.pieces()).cloned().collect();
        Ok(Some(whole.into_bytes()))
    }

    /// Lists each prefix, in order.
    pub(crate) async fn list_many(&self, prefixes: &[String]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        // A key that ends where a prefix does would not be behind it.
        let folders = prefixes.iter().all(|prefix| prefix.ends_with('/'));
        if prefixes.len() <= FEW || !folders || !self.bucket().lists_from_anywhere() {
            return self.list_each(prefixes).await;
        }
        let mut order: Vec<usize> = (0..prefixes.len()).collect();
        order.sort_unstable_by_key(|at| &prefixes[*at]);
        let sorted: Vec<&str> = order.iter().map(|at| prefixes[*at].as_str()).collect();
        let lanes: Vec<_> =
            sorted.chunks(sorted.len().div_ceil(LANES)).map(|lane| self.list_lane(lane).boxed()).collect();
        let found: Vec<Vec<Vec<Listed>>> = stream::iter(lanes).buffered(LANES).try_collect().await?;
        let mut answers = vec![Vec::new(); prefixes.len()];
        for (at, listed) in order.into_iter().zip(found.into_iter().flatten()) {
            answers[at] = listed;
        }
        Ok(answers)
    }

    async fn list_each(&self, prefixes: &[impl AsRef<str> + Sync]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        let lists: Vec<_> = prefixes.iter().map(|prefix| self.list(prefix.as_ref(), None, usize::MAX)).collect();
        stream::iter(lists).buffered(ABREAST).try_collect().await
    }

    /// Lists prefixes that are in byte order, page by page, as long as pages answer many of them.
    async fn list_lane(&self, prefixes: &[&str]) -> Result<Vec<Vec<Listed>>, ObjectsError> {
        let (Some(first), Some(last)) = (prefixes.first(), prefixes.last()) else { return Ok(Vec::new()) };
        let common = common(first, last);
        let (mut answers, mut left) = (Vec::with_capacity(prefixes.len()), prefixes);
        while let Some(next) = left.first() {
            // The least key that is listed begins with a prefix, and is longer than it.
            let page = self.list(common, Some(next), PAGE).await?;
            let answered = answered(left, &page);
            if answered.len() < DENSE.min(left.len()) {
                answers.extend(self.list_each(left).await?);
                break;
            }
            left = &left[answered.len()..];
            answers.extend(answered);
        }
        Ok(answers)
    }

    /// Reads each object, in order.
    pub(crate) async fn get_many(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Bytes>>, ObjectsError> {
        let reads: Vec<_> = keys.iter().map(|key| self.get(key)).collect();
        stream::iter(reads).buffered(ABREAST).try_collect().await
    }

    /// Writes all, the last one after the others.
    pub(crate) async fn write_many(&self, mut ops: Vec<Op>) -> Result<Vec<Created>, ObjectsError> {
        let mut outcomes = Vec::with_capacity(ops.len());
        if !distinct(&ops) {
            for op in ops {
                outcomes.push(self.write_one(op).await?);
            }
            return Ok(outcomes);
        }
        let Some(last) = ops.pop() else { return Ok(outcomes) };
        let writes: Vec<_> = ops.into_iter().map(|op| self.write_one(op).boxed()).collect();
        let mut running = stream::iter(writes).buffered(ABREAST);
        let mut failed = None;
        // All that were begun are waited for: whoever is told of an error finds nothing under way.
        while let Some(outcome) = running.next().await {
            match outcome {
                Ok(created) => outcomes.push(created),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        drop(running);
        match failed {
            Some(error) => Err(error),
            None => {
                outcomes.push(self.write_one(last).await?);
                Ok(outcomes)
            }
        }
    }

    async fn write_one(&self, op: Op) -> Result<Created, ObjectsError> {
        match op {
            Op::Create { key, bytes } => self.create(&key, bytes).await,
            Op::Overwrite { key, bytes } => self.overwrite(&key, bytes).await.map(|()| Created::New),
        }
    }
}

/// Returns what a page, which begins behind the first prefix, says of the first of them: as many as it surely holds all of.
fn answered(prefixes: &[&str], page: &[Listed]) -> Vec<Vec<Listed>> {
    let is_last = page.len() < PAGE;
    let end = page.last().map_or("", |listed| listed.key.as_str());
    let (mut answers, mut from) = (Vec::new(), 0);
    for prefix in prefixes {
        // More of it may be on the next page.
        if !is_last && (end < *prefix || end.starts_with(prefix)) {
            break;
        }
        from += page[from..].partition_point(|listed| listed.key.as_str() < *prefix);
        // The next one may hold the same keys again: equal steps have equal keys.
        let len = page[from..].partition_point(|listed| listed.key.as_str().starts_with(prefix));
        answers.push(page[from..from + len].to_vec());
    }
    answers
}

/// Returns the directory that both are in.
fn common<'a>(first: &'a str, last: &str) -> &'a str {
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    first[..same].rfind('/').map_or("", |slash| &first[..=slash])
}

fn distinct(ops: &[Op]) -> bool {
    let mut keys: Vec<&ObjectKey> = ops
        .iter()
        .map(|op| match op {
            Op::Create { key, .. } | Op::Overwrite { key, .. } => key,
        })
        .collect();
    keys.sort_unstable();
    keys.windows(2).all(|two| two[0] != two[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(keys: &[&str]) -> Vec<Listed> {
        keys.iter().map(|key| Listed { key: ObjectKey::new(*key).expect("a key"), size: 1 }).collect()
    }

    fn names(answers: &[Vec<Listed>]) -> Vec<Vec<&str>> {
        answers.iter().map(|answer| answer.iter().map(|listed| listed.key.as_str()).collect()).collect()
    }

    #[test]
    fn a_last_page_answers_every_prefix() {
        let page = listed(&["k/a/1", "k/a/2", "k/b/1", "k/d/1"]);
        let answers = answered(&["k/a/", "k/c/", "k/d/", "k/e/"], &page);
        assert_eq!(names(&answers), [vec!["k/a/1", "k/a/2"], vec![], vec!["k/d/1"], vec![]]);
        assert_eq!(answered(&["k/a/"], &[]), [Vec::new()]);
        let again = answered(&["k/", "k/a/", "k/a/", "k/b/"], &page);
        assert_eq!(again.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 2, 1], "one may hold or be another");
    }

    #[test]
    fn a_full_page_answers_what_it_surely_holds_all_of() {
        let keys: Vec<String> = (0..PAGE).map(|n| format!("k/{:04}/{n}", n / 10 * 10)).collect();
        let page = listed(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let prefixes = ["k/0000/", "k/0005/", "k/0980/", "k/0990/", "k/1000/"];
        let answers = answered(&prefixes, &page);
        assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [10, 0, 10], "more of the last may follow");
    }

    #[test]
    fn the_directory_of_neighbours_is_what_they_share() {
        assert_eq!(common("attempts/ab/", "attempts/ac/"), "attempts/");
        assert_eq!(common("a/b/", "a/b/"), "a/b/");
        assert_eq!(common("a/", "b/"), "");
    }
}
