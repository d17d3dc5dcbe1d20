//! Sections of tables (2.4.4): gathered from packets, checked by their CRC.

use bytes::{Bytes, BytesMut};

/// Bytes of a section at most, from `table_id` on: tables of programs have 1024 (2.4.4.3), private ones 4096.
const LONGEST: usize = 4096;

/// CRC_32 of Annex A: 0 over a section with its CRC.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 }
        })
    })
}

/// Gathers the sections of one PID.
#[derive(Clone, Debug, Default)]
pub(super) struct Sections {
    kept: BytesMut,
    /// A section is being gathered.
    open: bool,
}

impl Sections {
    /// What came before is incomplete.
    pub(super) fn lose(&mut self) {
        self.kept.clear();
        self.open = false;
    }

    /// Takes a payload; `each` gets every whole section, with whether its CRC is right.
    pub(super) fn push(&mut self, payload: &[u8], start: bool, mut each: impl FnMut(Option<Bytes>)) {
        if !start {
            self.append(payload, &mut each);
            return;
        }
        let Some((pointer, rest)) = payload.split_first() else { return self.lose() };
        let Some((end, rest)) = rest.split_at_checked(usize::from(*pointer)) else { return self.lose() };
        self.append(end, &mut each);
        self.lose();
        self.open = true;
        self.append(rest, &mut each);
    }

    fn append(&mut self, bytes: &[u8], each: &mut impl FnMut(Option<Bytes>)) {
        if !self.open {
            return;
        }
        self.kept.extend_from_slice(bytes);
        while self.open {
            // Stuffing behind the last section.
            if self.kept.first().is_none_or(|table| *table == 0xff) {
                return self.lose();
            }
            let (Some(high), Some(low)) = (self.kept.get(1), self.kept.get(2)) else { return };
            let length = usize::from(u16::from_be_bytes([high & 0x0f, *low])).saturating_add(3);
            if length > LONGEST {
                each(None);
                return self.lose();
            }
            if self.kept.len() < length {
                return;
            }
            let section = self.kept.split_to(length).freeze();
            each((crc32(&section) == 0).then_some(section));
            if self.kept.is_empty() {
                self.open = false;
            }
        }
    }
}
