//! What a worker may not do, whatever a damaged stream makes of its decoder. Best effort: a kernel that knows less
//! confines less, and the stream still runs.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory that a worker may write to: decoder, scaler and encoders of a 4K ladder stay below half of it.
const MEMORY: u64 = 4 << 30;
/// Open files: the socket, stderr, and GStreamer's wake-up pipes.
const FILES: u64 = 256;
/// Longest file: orc keeps its compiled code in one of 64 KiB that has no name, and nothing else is written.
const FILE: u64 = 16 << 20;

/// Sets the limits of this process.
pub(super) fn apply() {
    for (resource, most) in [
        (Resource::Data, MEMORY),
        (Resource::Nofile, FILES),
        // No core dumps, which would hold the picture.
        (Resource::Fsize, FILE),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // Refused only where a lower limit already holds.
        setrlimit(resource, limit).ok();
    }
}
