//! The flight recorder: the last seconds of what each publisher sent, as it came off the wire, in bounded memory. An
//! operator, or a storm of repairs, has them written to one file; `media-server replay` takes that file through the
//! same code again, so that a report of trouble is a test.
//!
//! A recording holds media and whatever the encoder says of itself. What came before the publish was accepted, its key
//! above all, is never part of it.

mod folder;
mod layout;
mod recorder;
mod recording;
mod storm;

pub use folder::{Folder, Saved, image};
pub use recorder::{Excerpt, Keep, Recorder};
pub use recording::{Header, Read, Recording, RecordingError};
pub use storm::Storm;
