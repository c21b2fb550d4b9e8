//! Word from a cloud that this machine goes away.
//!
//! Every large cloud tells its machines, by a metadata service that only they can reach, that they are about to be taken
//! away. [`watch`] listens to one of them and says so; what an answer means is decided in [`answers`], which is pure.
//! Nothing here can disturb a run: a service that is hidden, slow or talks nonsense is asked less and less often.
//!
//! The clouds' own documents are named in `docs/notices.md`.

pub mod answers;
mod ask;
mod cloud;
mod watch;

pub use answers::{CloudNotice, Seen};
pub use ask::{AskError, Endpoint, NoEndpoint};
pub use cloud::{Cloud, detect, of_dmi};
pub use watch::{Said, Watch, probe, watch};
