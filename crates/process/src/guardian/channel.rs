//! The guardian's end of the socket: frames and descriptors in, frames out, never blocking.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};

use crate::wire::{Frames, Reply, Request, SpawnRequest, Taken};

/// Reports of use are dropped while more than this waits to be sent: the engine is slow, and newer ones follow.
const CROWDED: usize = 1 << 20;

/// A request with its descriptors.
#[derive(Debug)]
pub(super) enum Order {
    Spawn { request: SpawnRequest, stdout: OwnedFd, stderr: OwnedFd },
    Signal { id: u64, signal: i32 },
    Kill { id: u64 },
}

/// What became of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Bytes,
    Nothing,
    /// The engine is gone.
    End,
}

#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    frames: Frames,
    descriptors: VecDeque<OwnedFd>,
    out: VecDeque<u8>,
    chunk: Vec<u8>,
}

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (frames, descriptors, out) = (Frames::default(), VecDeque::new(), VecDeque::new());
        Ok(Self { socket, frames, descriptors, out, chunk: vec![0; 64 << 10] })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn crowded(&self) -> bool {
        self.out.len() > CROWDED
    }

    /// Reads once.
    pub(super) fn receive(&mut self) -> Received {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let result = rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut self.chunk)], &mut ancillary, flags);
        let length = match result {
            Ok(message) => message.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Received::Nothing,
            Err(_) => return Received::End,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if length == 0 {
            return Received::End;
        }
        self.frames.push(&self.chunk[..length]);
        Received::Bytes
    }

    /// Returns the next whole request; those not understood are answered and passed over.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        loop {
            let (descriptors, request) = match self.frames.take() {
                Taken::Nothing => return None,
                Taken::Bad { descriptors } => (descriptors, None),
                Taken::Frame { kind, descriptors, payload } => (descriptors, Request::decode(kind, &payload).ok()),
            };
            let count = usize::from(descriptors).min(self.descriptors.len());
            let mut carried = self.descriptors.drain(..count);
            let order = match (request, carried.next(), carried.next()) {
                (Some(Request::Spawn(request)), Some(stdout), Some(stderr)) => {
                    Some(Order::Spawn { request, stdout, stderr })
                }
                (Some(Request::Signal { id, signal }), _, _) => Some(Order::Signal { id, signal }),
                (Some(Request::Kill { id }), _, _) => Some(Order::Kill { id }),
                (Some(Request::Spawn(_)) | None, _, _) => None,
            };
            drop(carried);
            match order {
                Some(order) => return Some(order),
                None => self.send(&Reply::Malformed),
            }
        }
    }

    /// Queues a frame and sends what can be sent.
    pub(super) fn send(&mut self, reply: &Reply) {
        let frame = reply.encode();
        let mut sent = 0;
        if self.out.is_empty() {
            sent = rustix::net::send(&self.socket, &frame, SendFlags::NOSIGNAL).unwrap_or(0);
        }
        self.out.extend(&frame[sent.min(frame.len())..]);
    }

    /// Sends what waits, as much as the socket takes now.
    pub(super) fn flush(&mut self) {
        while !self.out.is_empty() {
            match rustix::net::send(&self.socket, self.out.as_slices().0, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.out.drain(..sent)),
                // Full, or broken: a broken socket shows as end of file where it is read.
                Err(_) => return,
            }
        }
    }
}
