//! One transport packet (2.4.3.2).

use crate::cursor::Cursor;

/// Bytes of a packet.
pub const PACKET: usize = 188;
/// Its first byte.
pub(super) const SYNC: u8 = 0x47;
/// The PID of packets that only fill time.
pub(super) const NULL: u16 = 0x1fff;

/// A packet's header and where its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the header's own flags")]
pub struct Packet<'a> {
    /// Which stream it belongs to, 13 bits.
    pub pid: u16,
    /// A PES packet or a section begins in its payload.
    pub start: bool,
    /// Counts the packets of a PID that have a payload, modulo 16.
    pub continuity: u8,
    /// The sender says that counter and clock do not go on from before.
    pub discontinuity: bool,
    /// Decoding can begin here.
    pub random_access: bool,
    /// Bytes of stuffing stand before the payload: muxers end a PES packet so.
    pub stuffed: bool,
    /// None: the packet has none. Empty is possible too.
    pub payload: Option<&'a [u8]>,
}

/// Why a packet cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It does not begin with the sync byte, or is short.
    Sync,
    /// A receiver before us found it damaged (`transport_error_indicator`).
    Damaged,
    /// It is scrambled.
    Scrambled,
    /// Its adaptation field reaches beyond its end, or a reserved value stands where none may.
    Malformed,
}

impl<'a> Packet<'a> {
    /// Reads one packet of [`PACKET`] bytes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Unusable> {
        let mut cursor = Cursor::new(bytes);
        let (Some(SYNC), Some(flags), Some(control), PACKET) =
            (cursor.u8(), cursor.u16(), cursor.u8(), bytes.len())
        else {
            return Err(Unusable::Sync);
        };
        if flags & 0x8000 != 0 {
            return Err(Unusable::Damaged);
        }
        if control & 0xc0 != 0 {
            return Err(Unusable::Scrambled);
        }
        let mut packet = Self {
            pid: flags & 0x1fff,
            start: flags & 0x4000 != 0,
            continuity: control & 0x0f,
            discontinuity: false,
            random_access: false,
            stuffed: false,
            payload: None,
        };
        if control & 0x30 == 0 {
            return Err(Unusable::Malformed);
        }
        if control & 0x20 != 0 {
            let length = usize::from(cursor.u8().ok_or(Unusable::Malformed)?);
            let field = cursor.take(length).ok_or(Unusable::Malformed)?;
            packet.adaptation(field);
        }
        if control & 0x10 != 0 {
            packet.payload = Some(cursor.rest());
        }
        Ok(packet)
    }

    /// The adaptation field behind its length (2.4.3.4). A field of length 0 is one byte of stuffing.
    fn adaptation(&mut self, field: &[u8]) {
        let Some(flags) = field.first().copied() else {
            self.stuffed = true;
            return;
        };
        self.discontinuity = flags & 0x80 != 0;
        self.random_access = flags & 0x40 != 0;
        let clocks = [0x10, 0x08].into_iter().filter(|bit| flags & bit != 0).count().saturating_mul(6);
        let splice = usize::from(flags & 0x04 != 0);
        // Private data and extensions say their own length; a field with those is taken to be used up by them.
        let used = clocks.saturating_add(splice).saturating_add(1);
        let (private, extended) = (flags & 0x02 != 0, flags & 0x01 != 0);
        self.stuffed = !private && !extended && field.len() > used;
    }
}
