//! What engine and guardian say to each other: frames on a Unix stream socket.
//!
//! A frame is `length: u32 LE` (of what follows), `kind: u8`, `descriptors: u8`, payload. Descriptors travel with the
//! first byte of their frame, so they have arrived when the frame is whole, in the order of the frames.
//! Integers are little-endian, texts are length-prefixed bytes. Both ends are the same executable: no versions.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::SpawnProblem;
use crate::running::{EndStatus, OomEvidence, Usage};

/// The largest frame, bytes.
pub(crate) const MAX_FRAME: usize = 8 << 20;

/// What the engine asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Carries two descriptors: where stdout and stderr go.
    Spawn(SpawnRequest),
    Signal {
        id: u64,
        signal: i32,
    },
    Kill {
        id: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpawnRequest {
    pub id: u64,
    pub attempt_id: String,
    pub memory_limit: Option<u64>,
    pub cwd: PathBuf,
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
    /// What it cannot write, where the kernel lets us.
    pub read_only: Vec<PathBuf>,
}

/// What the guardian answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The guardian is ready: in its own session, a subreaper.
    Hello,
    Spawned {
        id: u64,
        pid: u32,
        /// The error number for which paths could not be made read-only; zero if they are.
        unprotected: i32,
    },
    SpawnFailed {
        id: u64,
        problem: SpawnProblem,
    },
    Usage {
        id: u64,
        usage: Usage,
    },
    Ended {
        id: u64,
        end: End,
    },
    /// A frame that could not be understood was skipped.
    Malformed,
}

/// The guardian's part of an attempt's end; the engine adds what became of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub status: EndStatus,
    pub memory_peak: u64,
    pub cpu: Duration,
    pub out_of_memory: Option<OomEvidence>,
    pub leftovers_killed: u32,
    pub survivors: u32,
    /// Bit n is set if we sent signal n.
    pub sent: u64,
}

impl End {
    /// Returns the end of an attempt whose guardian died before it could tell.
    pub(crate) fn unseen() -> Self {
        Self {
            status: EndStatus::GuardianDied,
            memory_peak: 0,
            cpu: Duration::ZERO,
            out_of_memory: None,
            leftovers_killed: 0,
            survivors: 0,
            sent: 0,
        }
    }
}

/// A frame that does not say what its kind promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes whole frames out of a growing buffer; a frame over the limit is skipped, not kept.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    start: usize,
    skip: usize,
}

/// One step of taking frames.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// More bytes are needed.
    Nothing,
    Frame {
        kind: u8,
        descriptors: u8,
        payload: Vec<u8>,
    },
    /// A frame over the limit, or too short to have a kind, begins here; it will be skipped.
    Bad {
        descriptors: u8,
    },
}

impl Frames {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > 64 << 10 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    pub(crate) fn take(&mut self) -> Taken {
        let rest = &self.buffer[self.start..];
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return Taken::Nothing };
        let length = u32::from_le_bytes(*length) as usize;
        if length < 2 {
            self.start += 4 + length.min(after.len());
            self.skip = length - length.min(after.len());
            return Taken::Bad { descriptors: 0 };
        }
        let [kind, descriptors, payload @ ..] = after else { return Taken::Nothing };
        if length > MAX_FRAME {
            let descriptors = *descriptors;
            let here = after.len().min(length);
            self.start += 4 + here;
            self.skip = length - here;
            return Taken::Bad { descriptors };
        }
        let Some(payload) = payload.get(..length - 2) else { return Taken::Nothing };
        let frame = Taken::Frame { kind: *kind, descriptors: *descriptors, payload: payload.to_vec() };
        self.start += 4 + length;
        frame
    }
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Spawn(spawn) => {
                let mut out = Writer::new(1, 2);
                out.u64(spawn.id);
                out.bytes(spawn.attempt_id.as_bytes());
                out.option(spawn.memory_limit);
                out.bytes(spawn.cwd.as_os_str().as_bytes());
                out.u32(spawn.argv.len());
                spawn.argv.iter().for_each(|word| out.bytes(word.as_bytes()));
                out.u32(spawn.env.len());
                for (name, value) in &spawn.env {
                    out.bytes(name.as_bytes());
                    out.bytes(value.as_bytes());
                }
                out.u32(spawn.read_only.len());
                spawn.read_only.iter().for_each(|path| out.bytes(path.as_os_str().as_bytes()));
                out.finish()
            }
            Self::Signal { id, signal } => {
                let mut out = Writer::new(2, 0);
                out.u64(*id);
                out.i32(*signal);
                out.finish()
            }
            Self::Kill { id } => {
                let mut out = Writer::new(3, 0);
                out.u64(*id);
                out.finish()
            }
        }
    }

    pub(crate) fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(payload);
        let request = match kind {
            1 => Self::Spawn(SpawnRequest {
                id: input.u64()?,
                attempt_id: input.text()?,
                memory_limit: input.option()?,
                cwd: input.os()?.into(),
                argv: input.list(Reader::os)?,
                env: input.list(|input| Ok((input.os()?, input.os()?)))?,
                read_only: input.list(|input| Ok(input.os()?.into()))?,
            }),
            2 => Self::Signal { id: input.u64()?, signal: input.i32()? },
            3 => Self::Kill { id: input.u64()? },
            _ => return Err(Malformed),
        };
        input.end(request)
    }
}

impl Reply {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello => Writer::new(64, 0).finish(),
            Self::Malformed => Writer::new(65, 0).finish(),
            Self::Spawned { id, pid, unprotected } => {
                let mut out = Writer::new(66, 0);
                out.u64(*id);
                out.u64(u64::from(*pid));
                out.i32(*unprotected);
                out.finish()
            }
            Self::SpawnFailed { id, problem } => {
                let mut out = Writer::new(67, 0);
                out.u64(*id);
                out.problem(problem);
                out.finish()
            }
            Self::Usage { id, usage } => {
                let mut out = Writer::new(68, 0);
                out.u64(*id);
                out.duration(usage.cpu);
                out.u64(usage.memory);
                out.u64(usage.io_bytes);
                out.finish()
            }
            Self::Ended { id, end } => {
                let mut out = Writer::new(69, 0);
                out.u64(*id);
                let (tag, number) = match end.status {
                    EndStatus::Exited(code) => (0, code),
                    EndStatus::Signaled(signal) => (1, signal),
                    EndStatus::GuardianDied => (2, 0),
                };
                out.u8(tag);
                out.i32(number);
                out.u64(end.memory_peak);
                out.duration(end.cpu);
                out.option(end.out_of_memory.map(|oom| oom.limit));
                if let Some(oom) = end.out_of_memory {
                    out.u64(oom.seen);
                    out.u8(oom.cgroup.into());
                }
                out.u32(end.leftovers_killed as usize);
                out.u32(end.survivors as usize);
                out.u64(end.sent);
                out.finish()
            }
        }
    }

    pub(crate) fn decode(kind: u8, payload: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(payload);
        let reply = match kind {
            64 => Self::Hello,
            65 => Self::Malformed,
            66 => {
                let (id, pid) = (input.u64()?, u32::try_from(input.u64()?).map_err(|_| Malformed)?);
                Self::Spawned { id, pid, unprotected: input.i32()? }
            }
            67 => Self::SpawnFailed { id: input.u64()?, problem: input.problem()? },
            68 => {
                let id = input.u64()?;
                Self::Usage {
                    id,
                    usage: Usage { cpu: input.duration()?, memory: input.u64()?, io_bytes: input.u64()? },
                }
            }
            69 => Self::Ended { id: input.u64()?, end: input.ending()? },
            _ => return Err(Malformed),
        };
        input.end(reply)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8, descriptors: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind, descriptors])
    }
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u32(&mut self, value: usize) {
        // Lengths over u32 never leave the process: frames over MAX_FRAME are refused before they are sent.
        self.0.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn duration(&mut self, value: Duration) {
        self.u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX));
    }
    fn option(&mut self, value: Option<u64>) {
        self.u8(value.is_some().into());
        if let Some(value) = value {
            self.u64(value);
        }
    }
    fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len());
        self.0.extend_from_slice(value);
    }
    fn problem(&mut self, problem: &SpawnProblem) {
        let (tag, text, errno): (u8, &OsStr, i32) = match problem {
            SpawnProblem::NoCommand => (0, OsStr::new(""), 0),
            SpawnProblem::DirectoryMissing { cwd } => (1, cwd.as_os_str(), 0),
            SpawnProblem::CommandNotFound { searched } => (2, OsStr::new(searched), 0),
            SpawnProblem::NotExecutable { path } => (3, path.as_os_str(), 0),
            SpawnProblem::InterpreterMissing { path } => (4, path.as_os_str(), 0),
            SpawnProblem::TooLong => (5, OsStr::new(""), 0),
            SpawnProblem::NulByte => (6, OsStr::new(""), 0),
            SpawnProblem::Refused { errno } => (7, OsStr::new(""), *errno),
        };
        self.u8(tag);
        self.bytes(text.as_bytes());
        self.i32(errno);
    }
    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }
    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }
    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn duration(&mut self) -> Result<Duration, Malformed> {
        Ok(Duration::from_micros(self.u64()?))
    }
    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
    fn option(&mut self) -> Result<Option<u64>, Malformed> {
        if self.flag()? { self.u64().map(Some) } else { Ok(None) }
    }
    fn os(&mut self) -> Result<OsString, Malformed> {
        let length = self.u32()? as usize;
        Ok(OsString::from_vec(self.take(length)?.to_vec()))
    }
    fn text(&mut self) -> Result<String, Malformed> {
        self.os()?.into_string().map_err(|_| Malformed)
    }
    /// Reads a counted list. The count is not trusted with an allocation: every item takes at least its length.
    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        if count > self.0.len() / 4 {
            return Err(Malformed);
        }
        (0..count).map(|_| item(self)).collect()
    }
    fn problem(&mut self) -> Result<SpawnProblem, Malformed> {
        let tag = self.u8()?;
        let text = self.os()?;
        let errno = self.i32()?;
        Ok(match tag {
            0 => SpawnProblem::NoCommand,
            1 => SpawnProblem::DirectoryMissing { cwd: text.into() },
            2 => SpawnProblem::CommandNotFound { searched: text.to_string_lossy().into_owned() },
            3 => SpawnProblem::NotExecutable { path: text.into() },
            4 => SpawnProblem::InterpreterMissing { path: text.into() },
            5 => SpawnProblem::TooLong,
            6 => SpawnProblem::NulByte,
            7 => SpawnProblem::Refused { errno },
            _ => return Err(Malformed),
        })
    }
    fn ending(&mut self) -> Result<End, Malformed> {
        let tag = self.u8()?;
        let number = self.i32()?;
        let status = match tag {
            0 => EndStatus::Exited(number),
            1 => EndStatus::Signaled(number),
            2 => EndStatus::GuardianDied,
            _ => return Err(Malformed),
        };
        let memory_peak = self.u64()?;
        let cpu = self.duration()?;
        let out_of_memory = match self.option()? {
            Some(limit) => Some(OomEvidence { limit, seen: self.u64()?, cgroup: self.flag()? }),
            None => None,
        };
        Ok(End {
            status,
            memory_peak,
            cpu,
            out_of_memory,
            leftovers_killed: self.u32()?,
            survivors: self.u32()?,
            sent: self.u64()?,
        })
    }
    fn end<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed) }
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
