//! Small CMAF made by hand, so that the checker itself can be tested with sound and with broken media.

/// Ticks a second of the forged track.
pub(super) const TIMESCALE: u32 = 90_000;
const FRAME: u32 = 3_000;

fn boxed(kind: &[u8], body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

/// ftyp and moov of a 640x360 H.264 track.
pub(super) fn video_init() -> Vec<u8> {
    let mut entry = vec![0; 78];
    entry[24..28].copy_from_slice(&[2, 128, 1, 104]);
    let avcc = boxed(b"avcC", &[&[1, 0x64, 0, 0x1f, 0xff, 0xe0]]);
    let avc1 = boxed(b"avc1", &[&entry, &avcc]);
    let stsd = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &avc1]);
    let mdhd = boxed(b"mdhd", &[&[0; 12], &TIMESCALE.to_be_bytes(), &[0; 8]]);
    let mdia = boxed(b"mdia", &[&mdhd, &boxed(b"minf", &[&boxed(b"stbl", &[&stsd])])]);
    let trex = boxed(b"trex", &[&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], &[0; 12]]);
    let moov = boxed(b"moov", &[&boxed(b"trak", &[&mdia]), &boxed(b"mvex", &[&trex])]);
    [boxed(b"ftyp", &[b"cmf2"]), moov].concat()
}

/// One moof and mdat of `count` pictures from `decode_time` on; the first is an IDR where `independent`.
pub(super) fn fragment(decode_time: u64, count: u32, independent: bool) -> Vec<u8> {
    let sample = |index: u32| -> Vec<u8> {
        let nal = if index == 0 && independent { 0x65 } else { 0x41 };
        vec![0, 0, 0, 3, nal, index as u8, decode_time as u8]
    };
    let tfhd = boxed(b"tfhd", &[&[0, 2, 0, 0, 0, 0, 0, 1]]);
    let tfdt = boxed(b"tfdt", &[&[1, 0, 0, 0], &decode_time.to_be_bytes()]);
    let rows: Vec<u8> = (0..count)
        .flat_map(|index| {
            let flags: u32 = if index == 0 && independent { 0x0200_0000 } else { 0x0101_0000 };
            [FRAME.to_be_bytes(), 7_u32.to_be_bytes(), flags.to_be_bytes()].concat()
        })
        .collect();
    let moof = |offset: u32| {
        let trun = boxed(b"trun", &[&[0, 0, 7, 1], &count.to_be_bytes(), &offset.to_be_bytes(), &rows]);
        boxed(b"moof", &[&boxed(b"traf", &[&tfhd, &tfdt, &trun])])
    };
    let offset = moof(0).len() as u32 + 8;
    let media: Vec<u8> = (0..count).flat_map(sample).collect();
    [moof(offset), boxed(b"mdat", &[&media])].concat()
}

/// The same fragment with a byte in its mdat that belongs to no sample.
pub(super) fn with_stray_byte(fragment: &[u8]) -> Vec<u8> {
    let mut bytes = fragment.to_vec();
    let mdat = bytes.windows(4).rposition(|w| w == b"mdat").unwrap_or(4) - 4;
    let size = (bytes.len() - mdat + 1) as u32;
    bytes[mdat..mdat + 4].copy_from_slice(&size.to_be_bytes());
    bytes.push(0);
    bytes
}
