//! MPEG transport streams (ISO/IEC 13818-1): bytes in, the packets of elementary streams out
//! ([`Demuxer`]), and the other way around ([`Muxer`]).
//!
//! What comes is hostile or broken: joined in mid-stream, packets lost, doubled or damaged, tables that change. Nothing
//! ends a stream. A unit of which a part is missing is dropped and counted, and never spliced onto the next.

mod demux;
mod mux;
mod packet;
mod pes;
mod program;
mod section;
mod splice;
mod sync;
#[cfg(test)]
mod tests;

pub use demux::{Demuxer, Event, Stats};
pub use mux::{Elementary, Muxer, Unit};
pub use packet::{PACKET, Packet};
pub use pes::Times;
pub use program::{Coding, Program, Stream};
pub use section::crc32;
pub use splice::{Splice, SpliceCommand};
