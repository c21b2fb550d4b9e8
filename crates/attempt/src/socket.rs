//! The socket of an attempt: JSON lines for programs that want to say more than files do.
//!
//! A program sends `{"type":"checkpoint","path":"epoch-3"}`, `{"type":"progress","value":…}`, `{"type":"done"}` and hears
//! `taken`, `durable`, `missed`, `failed`, `hint`, `notice` (docs/protocol-socket.md).

use std::path::{Path, PathBuf};

use prunella_process::{Connection, Listener};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::AbortHandle,
};

/// A line longer than this ends the connection.
const LONGEST: u64 = 64 << 10;

/// What a program says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Said {
    /// The entry `path` of the checkpoint directory is complete: take it.
    Checkpoint {
        /// Its name.
        path: String,
        /// Whether it will never be written to again.
        #[serde(default)]
        sealed: bool,
        /// How far the program is.
        #[serde(default)]
        progress: Option<serde_json::Value>,
    },
    /// How far the program is; counts as a sign of life.
    Progress {
        /// Any value; a whole number, or `step` in an object, counts as a mark.
        value: serde_json::Value,
    },
    /// The program has finished its work, whatever notice came.
    Done,
}

/// What a program hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Reply {
    /// The program may go on, and change or delete the entry.
    Taken {
        /// The checkpoint's number.
        seq: u64,
    },
    /// The checkpoint survives this machine.
    Durable {
        /// The checkpoint's number.
        seq: u64,
    },
    /// The entry was being written to, or is not there: nothing was taken.
    Missed,
    /// A newer checkpoint was asked for before this one was taken.
    Superseded,
    /// It could not be taken or stored.
    Failed {
        /// Why.
        problem: String,
    },
    /// The machine may go away: a checkpoint now is worth it.
    Hint,
    /// The machine goes away.
    Notice {
        /// Until the kill.
        grace_ms: u64,
    },
    /// The message was not understood.
    Error {
        /// Why.
        problem: String,
    },
    /// `done` was heard.
    Ok,
}

/// A listening socket, used by one attempt at a time; removed when dropped.
pub(crate) struct Socket {
    /// Its path, short enough for every system.
    pub(crate) path: PathBuf,
    listener: Listener,
    say: UnboundedSender<(Said, UnboundedSender<Reply>)>,
    messages: UnboundedReceiver<(Said, UnboundedSender<Reply>)>,
    connected: Vec<(UnboundedSender<Reply>, AbortHandle)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl Socket {
    /// Returns the socket that this one listens at.
    pub(crate) fn new(path: &Path, listener: Listener) -> Self {
        let (say, messages) = unbounded_channel();
        Self { path: path.to_owned(), listener, say, messages, connected: Vec::new() }
    }

    /// Waits for the next message.
    pub(crate) async fn next(&mut self) -> (Said, UnboundedSender<Reply>) {
        loop {
            tokio::select! {
                biased;
                Some(message) = self.messages.recv() => return message,
                accepted = self.listener.accept() => match accepted {
                    Ok(stream) => self.connect(stream),
                    // Out of descriptors, say: the program's next try finds the socket again.
                    Err(_) => tokio::task::yield_now().await,
                },
            }
        }
    }

    fn connect(&mut self, stream: Connection) {
        let (reply, replies) = unbounded_channel();
        let task = tokio::spawn(serve(stream, self.say.clone(), reply.clone(), replies));
        self.connected.push((reply, task.abort_handle()));
    }

    /// Tells every connected program.
    pub(crate) fn broadcast(&mut self, reply: &Reply) {
        self.connected.retain(|(client, _)| client.send(reply.clone()).is_ok());
    }

    fn disconnect(&mut self) {
        for (_, task) in self.connected.drain(..) {
            task.abort();
        }
    }

    /// Makes the socket ready for another attempt: nothing that a process of this one said or sent is left in it.
    ///
    /// The processes of the attempt are dead, so nobody connects any more.
    pub(crate) async fn clear(mut self) -> Self {
        self.disconnect();
        loop {
            tokio::select! {
                biased;
                Ok(waiting) = self.listener.accept() => drop(waiting),
                () = std::future::ready(()) => break,
            }
        }
        let (say, messages) = unbounded_channel();
        (self.say, self.messages) = (say, messages);
        self
    }
}

async fn serve(
    stream: Connection,
    said: UnboundedSender<(Said, UnboundedSender<Reply>)>,
    reply: UnboundedSender<Reply>,
    mut replies: UnboundedReceiver<Reply>,
) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(reply) = replies.recv() => {
                let mut text = serde_json::to_vec(&reply).expect("replies have only string keys");
                text.push(b'\n');
                if write.write_all(&text).await.is_err() {
                    return;
                }
            }
            // What was read so far stays in `line` if this is dropped for a reply.
            got = read_line(&mut lines, &mut line) => {
                match got {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return,
                }
                match parse(&line) {
                    Ok(message) => {
                        if said.send((message, reply.clone())).is_err() {
                            return;
                        }
                    }
                    Err(problem) => {
                        let _own_end_is_open = reply.send(Reply::Error { problem });
                    }
                }
                line.clear();
            }
        }
    }
}

async fn read_line(lines: &mut BufReader<ReadHalf<Connection>>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let left = LONGEST.saturating_sub(line.len() as u64);
    lines.take(left).read_until(b'\n', line).await?;
    Ok(line.ends_with(b"\n"))
}

/// Reads one message.
pub(crate) fn parse(line: &[u8]) -> Result<Said, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string()).and_then(|said| match said {
        Said::Checkpoint { path, .. } if path.is_empty() || path.contains('/') || path == "." || path == ".." => {
            Err(format!("`{path}` is not the name of an entry of the checkpoint directory"))
        }
        said => Ok(said),
    })
}

/// Returns the mark in a progress value: a whole number, or the one in its field `step` or `epoch`.
pub(crate) fn mark(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| ["step", "epoch"].iter().find_map(|field| value.get(field)?.as_u64()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::UnixStream;

    use super::*;

    #[test]
    fn a_checkpoint_is_named_never_a_path() {
        assert!(parse(br#"{"type":"checkpoint","path":"e1"}"#).is_ok());
        for bad in ["../x", "/etc/passwd", "", "..", "a/b"] {
            let line = serde_json::json!({"type": "checkpoint", "path": bad}).to_string();
            assert!(parse(line.as_bytes()).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn what_was_said_to_one_attempt_is_not_heard_by_the_next() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("s");
        let socket = Socket::new(&path, Listener::bind(&path).expect("bound"));
        // Connected, said and gone before anybody accepted.
        let late = UnixStream::connect(&socket.path).await.expect("listening");
        late.try_write(b"{\"type\":\"done\"}\n").expect("buffered");
        drop(late);
        let mut socket = socket.clear().await;
        let mut client = UnixStream::connect(&socket.path).await.expect("still listening");
        client.write_all(b"{\"type\":\"progress\",\"value\":1}\n").await.expect("buffered");
        let (said, _) = socket.next().await;
        assert_eq!(said, Said::Progress { value: 1.into() });
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_answered_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _no_panic = parse(&bytes);
        }
    }
}
