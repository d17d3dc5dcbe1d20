//! PES packets (2.4.3.6): gathered from the packets of one PID.

use bytes::{Bytes, BytesMut};

use crate::cursor::Cursor;

/// A PES header's fixed part, and with every optional field that its length can announce.
const FIXED: usize = 9;

/// When a unit is presented and decoded, in ticks of 90 kHz, 33 bits. Without a `dts` it is decoded as it is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Presentation time.
    pub pts: Option<u64>,
    /// Decoding time, where it is another.
    pub dts: Option<u64>,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    times: Times,
    /// Bytes before the payload.
    length: usize,
    /// Bytes of the payload, where it is said.
    payload: Option<usize>,
}

/// What reading a header gives.
enum Read {
    Header(Header),
    /// More bytes are needed.
    Short,
    /// No PES packet, or one whose header contradicts itself.
    Wrong,
}

/// Stream ids whose packets have no header fields (2.4.3.7): maps, padding, private stream 2, ECM, EMM, DSM-CC, H.222.1 E.
fn is_bare(id: u8) -> bool {
    matches!(id, 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff)
}

fn read(bytes: &[u8]) -> Read {
    let mut cursor = Cursor::new(bytes);
    let (Some(prefix), Some(id), Some(length)) = (cursor.u24(), cursor.u8(), cursor.u16()) else {
        return Read::Short;
    };
    if prefix != 1 || is_bare(id) {
        return Read::Wrong;
    }
    let (Some(marker), Some(flags), Some(fields)) = (cursor.u8(), cursor.u8(), cursor.u8()) else {
        return Read::Short;
    };
    if marker & 0xc0 != 0x80 {
        return Read::Wrong;
    }
    let Some(fields) = cursor.take(usize::from(fields)) else { return Read::Short };
    let header = FIXED.saturating_add(fields.len());
    let mut fields = Cursor::new(fields);
    let times = match flags >> 6 {
        0b10 => Times { pts: time(&mut fields), dts: None },
        0b11 => Times { pts: time(&mut fields), dts: time(&mut fields) },
        _ => Times::default(),
    };
    // Counted from behind the length field itself.
    let payload = match usize::from(length) {
        0 => None,
        length => match length.checked_sub(header.saturating_sub(6)) {
            Some(payload) => Some(payload),
            None => return Read::Wrong,
        },
    };
    Read::Header(Header { times, length: header, payload })
}

/// A timestamp of 33 bits between marker bits. None where a marker is wrong: a damaged time is worse than none.
fn time(cursor: &mut Cursor<'_>) -> Option<u64> {
    let (high, middle, low) = (cursor.u8()?, cursor.u16()?, cursor.u16()?);
    (high & 1 == 1 && middle & 1 == 1 && low & 1 == 1)
        .then(|| (u64::from(high & 0x0e) << 29) | (u64::from(middle & 0xfffe) << 14) | (u64::from(low) >> 1))
}

/// A whole PES packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) times: Times,
    pub(super) random_access: bool,
    pub(super) data: Bytes,
}

/// What a payload led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Goes on.
    More,
    /// It is whole.
    Whole(Unit),
    /// It cannot be used; the rest of it is passed over.
    Damaged,
}

/// Where an assembler is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing is gathered.
    #[default]
    Between,
    /// A packet is being gathered.
    Open,
    /// A packet without a length was ended at its stuffing, and nothing of it has come since.
    EndedEarly,
}

/// Gathers the PES packets of one PID.
#[derive(Clone, Debug, Default)]
pub(super) struct Assembler {
    gathered: BytesMut,
    /// Of the packet being gathered, once it is all there.
    header: Option<Header>,
    random_access: bool,
    state: State,
    /// Stuffing stands within this stream's packets too, and ends nothing.
    stuffs_within: bool,
    /// How large the last one was: the next one's room.
    last: usize,
}

impl Assembler {
    /// A new PES packet begins: the one before is at its end. None: there was none.
    pub(super) fn finish(&mut self) -> Option<Outcome> {
        if std::mem::take(&mut self.state) != State::Open {
            return None;
        }
        Some(match self.header.take() {
            // A length that was announced and did not come: something is missing.
            Some(Header { payload: Some(_), .. }) | None => {
                self.gathered.clear();
                Outcome::Damaged
            }
            Some(header) => self.unit(header),
        })
    }

    /// Something of the packet being gathered is lost. True: there was one.
    pub(super) fn lose(&mut self) -> bool {
        self.gathered.clear();
        self.header = None;
        std::mem::take(&mut self.state) == State::Open
    }

    /// Begins one.
    pub(super) fn begin(&mut self, random_access: bool) {
        self.gathered.clear();
        self.gathered.reserve(self.last);
        self.header = None;
        self.random_access = random_access;
        self.state = State::Open;
    }

    /// Takes a payload of the packet being gathered. `stuffed`: stuffing stood before it, as muxers end a packet without
    /// a length; it is given at once then, not when the next one begins. `most`: bytes of a packet.
    pub(super) fn push(&mut self, payload: &[u8], stuffed: bool, most: usize) -> Outcome {
        match self.state {
            State::Open => {}
            State::EndedEarly if !payload.is_empty() => {
                // It was not the end: what was given lacks this.
                self.state = State::Between;
                self.stuffs_within = true;
                return Outcome::Damaged;
            }
            State::EndedEarly | State::Between => return Outcome::More,
        }
        self.gathered.extend_from_slice(payload);
        if self.gathered.len() > most {
            self.lose();
            return Outcome::Damaged;
        }
        let header = match self.header {
            Some(header) => header,
            None => match read(&self.gathered) {
                Read::Short => return Outcome::More,
                Read::Wrong => {
                    self.lose();
                    return Outcome::Damaged;
                }
                Read::Header(header) => *self.header.insert(header),
            },
        };
        let there = self.gathered.len().saturating_sub(header.length);
        match header.payload {
            Some(length) if there >= length => {
                self.gathered.truncate(header.length.saturating_add(length));
                self.state = State::Between;
                self.unit(header)
            }
            None if stuffed && there > 0 && !self.stuffs_within => {
                self.state = State::EndedEarly;
                self.unit(header)
            }
            _ => Outcome::More,
        }
    }

    fn unit(&mut self, header: Header) -> Outcome {
        self.header = None;
        let mut data = std::mem::take(&mut self.gathered).freeze();
        self.last = data.len();
        let data = data.split_off(header.length.min(data.len()));
        Outcome::Whole(Unit { times: header.times, random_access: self.random_access, data })
    }
}
