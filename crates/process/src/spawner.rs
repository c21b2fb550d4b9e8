//! Who starts programs, as the engine sees it: a guardian process, or something that plays one.
//!
//! The product knows guardian processes only. A simulation of whole runs plays them, its programs and its time
//! (`docs/design/0037-engine-in-simulation.md`): what stands here is all that it has to play.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;

use crate::error::ProcessError;
use crate::handle::{GuardianOptions, GuardianProcess};
use crate::identity::ProcessIdentity;
use crate::running::{ProcessEvent, SpawnSpec, Tree, Usage};
use crate::sweep::{Swept, sweep};

/// Plays a guardian: what each method does there, [`Guardian`] says.
#[async_trait]
pub trait Spawner: Send + Sync + fmt::Debug {
    /// See [`Guardian::identity`].
    fn identity(&self) -> ProcessIdentity;
    /// See [`Guardian::spawn`].
    async fn spawn(&self, spec: SpawnSpec) -> Result<Box<dyn Spawned>, ProcessError>;
    /// See [`Guardian::is_dying`].
    fn is_dying(&self) -> bool;
    /// See [`Guardian::died`].
    async fn died(&self);
    /// See [`Guardian::successor`].
    async fn successor(&self) -> Result<Guardian, ProcessError>;
    /// See [`Guardian::sweep`].
    fn sweep(&self, prefix: &str) -> Result<Swept, ProcessError>;
    /// See [`Guardian::listen`].
    fn listen(&self, path: &Path) -> io::Result<Box<dyn Listens>>;
}

/// Plays a running step: what each method does there, [`Running`] says. Dropping it before its end kills the program.
#[async_trait]
pub trait Spawned: Send + Sync + fmt::Debug {
    /// See [`Running::pid`].
    fn pid(&self) -> u32;
    /// See [`Running::usage`].
    fn usage(&self) -> Usage;
    /// See [`Running::signal`].
    fn signal(&self, signal: Signal);
    /// See [`Running::kill_tree`].
    fn kill_tree(&self);
    /// See [`Running::next`].
    async fn next(&mut self) -> Option<ProcessEvent>;
}

/// Plays a socket that programs connect to.
#[async_trait]
pub trait Listens: Send + Sync {
    /// See [`Listener::accept`].
    async fn accept(&self) -> io::Result<Connection>;
}

/// Two ways between a program and the engine.
pub trait TwoWay: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> TwoWay for S {}

/// A program that connected.
pub type Connection = Box<dyn TwoWay>;

/// Who starts programs: the parent of every step. Cheap to clone.
///
/// When the last clone and the last [`Running`] are dropped, the guardian kills what is left and exits.
#[derive(Debug, Clone)]
pub struct Guardian(By);

#[derive(Debug, Clone)]
enum By {
    Process(GuardianProcess),
    Played(Arc<dyn Spawner>),
}

impl Guardian {
    /// Starts a guardian and makes the calling process the subreaper that inherits its orphans.
    ///
    /// Must be called within a Tokio runtime with I/O and time enabled. The caller must not start processes in
    /// sessions of their own, or they die with the guardian.
    ///
    /// # Errors
    /// [`ProcessError::GuardianNotStarted`] if the program cannot be started or is no guardian.
    pub async fn start(options: GuardianOptions) -> Result<Self, ProcessError> {
        Ok(Self(By::Process(GuardianProcess::start(options).await?)))
    }

    /// Returns a guardian that is played; for simulations.
    pub fn played(spawner: Arc<dyn Spawner>) -> Self {
        Self(By::Played(spawner))
    }

    /// Returns which process the guardian is.
    pub fn identity(&self) -> ProcessIdentity {
        match &self.0 {
            By::Process(guardian) => guardian.identity(),
            By::Played(spawner) => spawner.identity(),
        }
    }

    /// Starts a step.
    ///
    /// Its main process is the leader of a process group of its own, with default signal actions, an empty signal
    /// mask and `/dev/null` as standard input. Dropping the future kills what it had started.
    ///
    /// # Errors
    /// [`ProcessError::Spawn`] if the command cannot be started (saying why), [`ProcessError::GuardianDied`] if the
    /// guardian is gone, [`ProcessError::TooLarge`] over 8 MiB of arguments and environment,
    /// [`ProcessError::Resources`] if no pipe can be made.
    pub async fn spawn(&self, spec: SpawnSpec) -> Result<Running, ProcessError> {
        Ok(Running(match &self.0 {
            By::Process(guardian) => Is::Tree(Box::new(guardian.spawn(spec).await?)),
            By::Played(spawner) => Is::Played(spawner.spawn(spec).await?),
        }))
    }

    /// Returns whether the guardian is gone, or is going: nothing can be started by it any more.
    ///
    /// Whoever has heard the end of a step of a guardian that died finds this true.
    pub fn is_dying(&self) -> bool {
        match &self.0 {
            By::Process(guardian) => guardian.is_dying(),
            By::Played(spawner) => spawner.is_dying(),
        }
    }

    /// Resolves when the guardian is gone and everything that it had spawned is dead.
    ///
    /// By then this process, the next subreaper, has killed and reaped what the guardian left, and every [`Running`]
    /// has ended. A new guardian may be started.
    pub async fn died(&self) {
        match &self.0 {
            By::Process(guardian) => guardian.died().await,
            By::Played(spawner) => spawner.died().await,
        }
    }

    /// Starts the guardian that follows this one, which died.
    ///
    /// # Errors
    /// As [`Guardian::start`].
    pub async fn successor(&self) -> Result<Self, ProcessError> {
        match &self.0 {
            By::Process(_) => Self::start(GuardianOptions::default()).await,
            By::Played(spawner) => spawner.successor().await,
        }
    }

    /// Ends the guardian: it kills what still runs and exits. Resolves when it is gone.
    pub async fn stop(self) {
        match self.0 {
            By::Process(guardian) => guardian.stop().await,
            By::Played(spawner) => spawner.died().await,
        }
    }

    /// Kills what runs on this machine under an attempt id with this prefix, as [`sweep()`].
    ///
    /// # Errors
    /// As [`sweep()`].
    pub fn sweep(&self, prefix: &str) -> Result<Swept, ProcessError> {
        match &self.0 {
            By::Process(_) => sweep(prefix),
            By::Played(spawner) => spawner.sweep(prefix),
        }
    }

    /// Opens a socket at `path` that programs of this guardian can connect to.
    ///
    /// # Errors
    /// If the path is taken, or cannot be used.
    pub fn listen(&self, path: &Path) -> io::Result<Listener> {
        match &self.0 {
            By::Process(_) => Listener::bind(path),
            By::Played(spawner) => Ok(Listener(Ear::Played(spawner.listen(path)?))),
        }
    }
}

/// A started step. Dropping it before its end kills its tree.
#[derive(Debug)]
pub struct Running(Is);

#[derive(Debug)]
enum Is {
    Tree(Box<Tree>),
    Played(Box<dyn Spawned>),
}

impl Running {
    /// Returns the number of the main process, which is also that of its process group.
    pub fn pid(&self) -> u32 {
        match &self.0 {
            Is::Tree(tree) => tree.pid(),
            Is::Played(spawned) => spawned.pid(),
        }
    }

    /// Returns why the paths of [`SpawnSpec::read_only`] can be written after all; nothing if they cannot.
    pub fn unprotected(&self) -> Option<io::Error> {
        match &self.0 {
            Is::Tree(tree) => tree.unprotected(),
            Is::Played(_) => None,
        }
    }

    /// Returns what the tree had used when it was last measured; zero in its first second.
    pub fn usage(&self) -> Usage {
        match &self.0 {
            Is::Tree(tree) => tree.usage(),
            Is::Played(spawned) => spawned.usage(),
        }
    }

    /// Sends a signal to the main process's group; without effect once that process has ended.
    pub fn signal(&self, signal: Signal) {
        match &self.0 {
            Is::Tree(tree) => tree.signal(signal),
            Is::Played(spawned) => spawned.signal(signal),
        }
    }

    /// Kills every process of the tree, wherever it has hidden. The end is told by [`Running::next`].
    pub fn kill_tree(&self) {
        match &self.0 {
            Is::Tree(tree) => tree.kill_tree(),
            Is::Played(spawned) => spawned.kill_tree(),
        }
    }

    /// Returns the next event; none after [`ProcessEvent::Exited`].
    ///
    /// Output is read only here, so a caller that does not come keeps the program waiting (back-pressure) and memory
    /// stays bounded. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<ProcessEvent> {
        match &mut self.0 {
            Is::Tree(tree) => tree.next().await,
            Is::Played(spawned) => spawned.next().await,
        }
    }
}

/// A socket that programs connect to; its path is removed when it is dropped.
pub struct Listener(Ear);

enum Ear {
    Unix(Bound),
    Played(Box<dyn Listens>),
}

struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _gone = rustix::fs::unlink(&self.path);
    }
}

impl Listener {
    /// Opens a socket of the kernel.
    ///
    /// # Errors
    /// If the path is taken, or cannot be used.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self(Ear::Unix(Bound { listener: UnixListener::bind(path)?, path: path.to_owned() })))
    }

    /// Waits for the next program that connects. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the machine has no more descriptors.
    pub async fn accept(&self) -> io::Result<Connection> {
        match &self.0 {
            Ear::Unix(bound) => Ok(Box::new(bound.listener.accept().await?.0)),
            Ear::Played(listens) => listens.accept().await,
        }
    }
}
