//! Storage and clocks that go wrong where a file asks for it: files, objects, requests and the time of day.
//!
//! The file that [`VARIABLE`] names holds a [`Weather`]: the storms of this moment. Whoever plays them writes it anew while the
//! program runs; [`Faults`] looks at it, and every operation of the program passes [`Faults::meet`], which says what it
//! suffers. Without the variable nothing is wrapped (docs/design/0031-chaos.md).

mod clock;
mod faults;
mod files;
mod objects;
mod operation;
mod weather;

pub use faults::{BadFaults, Faults, VARIABLE};
pub use operation::{Act, Blow, Met, Operation, Place};
pub use weather::{Storm, Trouble, Weather};
