//! Access units as RTP payloads. Made once for all who are sent them: what is each one's own is the header, and the key.

use std::sync::Arc;

use bytes::Bytes;

/// One payload; whoever sends it shares it.
pub type Payload = Arc<[u8]>;

/// RFC 6184 5.2.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
/// ISO/IEC 14496-10 table 7-1.
const KIND: u8 = 0x1f;
const IMPORTANCE: u8 = 0x60;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// An H.264 access unit (NAL units with 4-byte lengths) in payloads of `most` bytes at most (RFC 6184, packetization mode 1).
/// `sets` are parameter sets to go before it, in place of those in it. What is cut off is left out.
pub fn h264(unit: &[u8], sets: &[Bytes], most: usize) -> Vec<Payload> {
    let most = most.max(16);
    let mut payloads = Vec::new();
    together(sets, most, &mut payloads);
    let mut rest = unit;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((nal, after)) = after.split_at_checked(length) else { break };
        rest = after;
        let Some(head) = nal.first() else { continue };
        let kind = head & KIND;
        let known = matches!(kind, SPS | PPS) && !sets.is_empty();
        if !known && !matches!(kind, DELIMITER | FILLER) {
            one(nal, most, &mut payloads);
        }
    }
    payloads
}

/// Small NAL units in one payload.
fn together(sets: &[Bytes], most: usize, payloads: &mut Vec<Payload>) {
    let mut whole = vec![STAP_A];
    for set in sets {
        let (Some(head), Ok(length)) = (set.first(), u16::try_from(set.len())) else { continue };
        if let Some(first) = whole.first_mut() {
            // The most important of them.
            *first = STAP_A | (*first & IMPORTANCE).max(head & IMPORTANCE);
        }
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(set);
    }
    if whole.len() > most {
        for set in sets {
            one(set, most, payloads);
        }
    } else if whole.len() > 1 {
        payloads.push(whole.into());
    }
}

/// A NAL unit, in pieces where it is too long. All but the last are of one length, so that the kernel can send them together.
fn one(nal: &[u8], most: usize, payloads: &mut Vec<Payload>) {
    let Some((head, body)) = nal.split_first() else { return };
    if nal.len() <= most {
        payloads.push(nal.into());
        return;
    }
    let pieces = body.chunks(most.saturating_sub(2).max(1));
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.enumerate() {
        let start = if index == 0 { FU_START } else { 0 };
        let end = if index == last { FU_END } else { 0 };
        let mut payload = Vec::with_capacity(piece.len().saturating_add(2));
        payload.extend_from_slice(&[(head & IMPORTANCE) | FU_A, start | end | (head & KIND)]);
        payload.extend_from_slice(piece);
        payloads.push(payload.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
    }

    /// RFC 6184 5.6 to 5.8, the other way.
    fn read(payloads: &[Payload]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & KIND {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while let Some((length, after)) = rest.split_first_chunk::<2>() {
                        let (nal, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
                        nals.push(nal.to_vec());
                        rest = after;
                    }
                }
                FU_A => {
                    if payload[1] & FU_START > 0 {
                        nals.push(vec![(payload[0] & IMPORTANCE) | (payload[1] & KIND)]);
                    }
                    nals.last_mut().unwrap().extend(&payload[2..]);
                }
                _ => nals.push(payload.to_vec()),
            }
        }
        nals
    }

    #[test]
    fn parameter_sets_go_before_the_picture_once() {
        let sets = [Bytes::from_static(&[0x67, 1, 2]), Bytes::from_static(&[0x68, 3])];
        let picture = unit(&[vec![9, 0xf0], sets[0].to_vec(), sets[1].to_vec(), vec![0x65, 4, 5]]);
        let payloads = h264(&picture, &sets, 1200);
        assert_eq!(payloads.len(), 2);
        assert_eq!(payloads[0][0], 0x60 | STAP_A);
        assert_eq!(read(&payloads), [sets[0].to_vec(), sets[1].to_vec(), vec![0x65, 4, 5]]);
        assert_eq!(read(&h264(&picture, &[], 1200)).len(), 3, "those in it, where no others are given");
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let mut picture = unit(&[vec![0x65, 1], vec![0x41, 2, 3]]);
        picture.pop();
        assert_eq!(read(&h264(&picture, &[], 1200)), [vec![0x65, 1]]);
        assert!(h264(&[0xff; 3], &[], 0).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_received(
            nals in prop::collection::vec((0x20_u8..=0x65, prop::collection::vec(any::<u8>(), 0..3000)), 0..6),
            most in 16_usize..1500,
        ) {
            let nals: Vec<Vec<u8>> = nals
                .into_iter()
                .map(|(head, body)| [&[(head & IMPORTANCE) | 1][..], &body].concat())
                .collect();
            let payloads = h264(&unit(&nals), &[], most);
            prop_assert!(payloads.iter().all(|payload| payload.len() <= most));
            prop_assert_eq!(read(&payloads), nals);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..400), most in any::<usize>()) {
            h264(&bytes, &[Bytes::copy_from_slice(&bytes)], most % 2000);
        }
    }
}
