//! A stream's past at a glance: small pictures side by side on sheets, and a WebVTT file that says which of them shows which
//! moment (by `#xywh=`, W3C Media Fragments URI 1.0, 4.2.2), as players show it above their time line.
//!
//! A sheet is made anew whenever a picture is added to it, under a name that says how many there are. Pictures never move, so
//! the newest sheet answers to its earlier names too: a player may read the file once, and caches may keep what they got. Bounded
//! by the window, and by what the newest sheet needs to be made again: its pictures, not coded.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::playlist::append_date;
use crate::time::{Span, Timestamp};

/// Pictures in a row of a sheet.
pub const COLUMNS: u32 = 5;
/// Rows of a sheet.
pub const ROWS: u32 = 5;
/// Pictures on a sheet.
pub const TILES: usize = (COLUMNS * ROWS) as usize;

/// A tile's longer side, in pixels.
const LONGEST: u32 = 160;
/// Its width is a multiple of this, so that the rows of its planes are as long in memory as they are.
const ALIGNED: u32 = 8;

/// Size of a tile, in pixels, made of a picture of this size: at most 160 wide and high, in the shape of the picture as far as a
/// width divisible by eight allows.
pub fn tile_size((width, height): (u32, u32)) -> (u32, u32) {
    let longest = u64::from(width.max(height).max(1));
    let side = |side: u32, step: u32| {
        let scaled = u64::from(side).saturating_mul(LONGEST.into()).saturating_add(longest / 2) / longest;
        let scaled = u32::try_from(scaled).unwrap_or(LONGEST).min(LONGEST);
        (scaled / step * step).max(step)
    };
    (side(width, ALIGNED), side(height, 2))
}

/// Bytes of a tile of this size: planes of I420, rows without padding.
pub const fn tile_bytes((width, height): (u32, u32)) -> usize {
    (width as usize).saturating_mul(height as usize).saturating_mul(3) / 2
}

/// A sheet that pictures are still added to, or a full one.
#[derive(Clone, Debug)]
struct Sheet {
    size: (u32, u32),
    /// When each picture is shown, in the order of the tiles.
    times: Vec<Timestamp>,
    /// The tiles themselves, while there is room for more.
    tiles: Vec<Bytes>,
    jpeg: Bytes,
}

impl Sheet {
    fn is_open_for(&self, size: (u32, u32)) -> bool {
        self.size == size && self.times.len() < TILES
    }
}

/// One run's pictures. Clones share what is in them.
#[derive(Clone, Debug)]
pub struct Storyboard {
    epoch: Arc<str>,
    /// The first picture's time: the file's zero.
    zero: Option<Timestamp>,
    sheets: VecDeque<Arc<Sheet>>,
    /// Sheets that have left the window.
    gone: u64,
}

impl Storyboard {
    /// An empty one of the run with this tag.
    pub fn new(epoch: &Arc<str>) -> Self {
        Self { epoch: Arc::clone(epoch), zero: None, sheets: VecDeque::new(), gone: 0 }
    }

    /// It shows this run.
    pub fn is_of(&self, epoch: &str) -> bool {
        *self.epoch == *epoch
    }

    /// There is no picture.
    pub fn is_empty(&self) -> bool {
        self.sheets.is_empty()
    }

    /// The newest picture's time.
    pub fn newest(&self) -> Option<Timestamp> {
        self.sheets.back()?.times.last().copied()
    }

    /// The tiles that a new one of this size is put behind: none where it begins a sheet.
    pub fn beside(&self, size: (u32, u32)) -> &[Bytes] {
        self.sheets.back().filter(|sheet| sheet.is_open_for(size)).map_or(&[], |sheet| &sheet.tiles)
    }

    /// Adds a tile, and the sheet with it and those [`beside`](Self::beside) it. One that is not later than the newest is left
    /// out. Sheets whose every picture is older than `window` before it are forgotten.
    pub fn add(&mut self, at: Timestamp, size: (u32, u32), (tile, jpeg): (Bytes, Bytes), window: Span) {
        if self.newest().is_some_and(|newest| at <= newest) {
            return;
        }
        self.zero.get_or_insert(at);
        if let Some(sheet) = self.sheets.back_mut().filter(|sheet| sheet.is_open_for(size)) {
            let sheet = Arc::make_mut(sheet);
            sheet.times.push(at);
            sheet.tiles.push(tile);
            sheet.jpeg = jpeg;
            if sheet.times.len() == TILES {
                sheet.tiles = Vec::new();
            }
        } else {
            // Of another size: nothing is added to the one before any more.
            if let Some(last) = self.sheets.back_mut() {
                Arc::make_mut(last).tiles = Vec::new();
            }
            let (times, tiles) = (vec![at], vec![tile]);
            self.sheets.push_back(Arc::new(Sheet { size, times, tiles, jpeg }));
        }
        while self.sheets.len() > 1
            && self.sheets.get(1).and_then(|next| next.times.first()).is_some_and(|next| *next < at - window)
        {
            self.sheets.pop_front();
            self.gone = self.gone.saturating_add(1);
        }
    }

    /// A sheet by one of the names that the file gave it, and the newest of these.
    pub fn sheet(&self, name: &str) -> Option<(Bytes, String)> {
        let rest = name.strip_prefix(NAME)?.strip_suffix(".jpg")?.strip_prefix(&*self.epoch)?;
        let (number, count) = rest.strip_prefix('-')?.split_once('-')?;
        let (number, count) = (digits(number)?, digits(count)?);
        let sheet = self.sheets.get(usize::try_from(number.checked_sub(self.gone)?).ok()?)?;
        let there = sheet.times.len();
        let known = (1..=there as u64).contains(&count);
        known.then(|| (sheet.jpeg.clone(), self.name(number, there)))
    }

    fn name(&self, number: u64, count: usize) -> String {
        format!("{NAME}{}-{number}-{count}.jpg", self.epoch)
    }

    /// The file. Its times count from the first picture of the run; a comment says when that was, given the wall clock (Unix, in
    /// ms) at the zero of media time. A picture is shown until the next one; the newest for `interval`.
    pub fn vtt(&self, wall_zero_ms: i64, interval: Span) -> String {
        let mut out = String::from("WEBVTT\n");
        let Some(zero) = self.zero else { return out };
        out.push_str("\nNOTE 00:00:00.000 is ");
        append_date(&mut out, wall_zero_ms.saturating_add(zero.since_zero().millis()));
        out.push('\n');
        let times = || self.sheets.iter().flat_map(|sheet| sheet.times.iter().copied());
        let mut ends = times().skip(1).chain(self.newest().map(|newest| newest + interval));
        for (number, sheet) in (self.gone..).zip(&self.sheets) {
            let (name, (width, height)) = (self.name(number, sheet.times.len()), sheet.size);
            for (tile, at) in (0_u32..).zip(&sheet.times) {
                let end = ends.next().unwrap_or(*at + interval);
                let (x, y) = (tile % COLUMNS * width, tile / COLUMNS * height);
                out.push('\n');
                append_time(&mut out, *at - zero);
                out.push_str(" --> ");
                append_time(&mut out, end - zero);
                // Writing to a String cannot fail.
                let _infallible = writeln!(out, "\n{name}#xywh={x},{y},{width},{height}");
            }
        }
        out
    }
}

const NAME: &str = "storyboard-";

/// A number as it is written here: without a sign or needless zeros.
fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// A WebVTT timestamp (WebVTT 4.1).
fn append_time(out: &mut String, at: Span) {
    let ms = at.millis().max(0);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let _infallible = write!(out, "{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (u32, u32) = (160, 90);
    const HOUR: Span = Span::from_millis(3_600_000);
    const TEN: Span = Span::from_millis(10_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ticks(seconds, 1)
    }

    fn bytes(seconds: i64) -> Bytes {
        Bytes::from(seconds.to_string())
    }

    fn add(board: &mut Storyboard, seconds: i64, size: (u32, u32), window: Span) {
        board.add(at(seconds), size, (bytes(seconds), bytes(seconds)), window);
    }

    fn empty() -> Storyboard {
        Storyboard::new(&"k-7".into())
    }

    #[test]
    fn a_picture_is_shown_until_the_next_one() {
        let mut board = empty();
        assert_eq!(board.vtt(0, TEN), "WEBVTT\n");
        add(&mut board, 100, SIZE, HOUR);
        add(&mut board, 112, SIZE, HOUR);
        let expected = "WEBVTT\n\nNOTE 00:00:00.000 is 1970-01-01T00:01:41.000Z\n\
            \n00:00:00.000 --> 00:00:12.000\nstoryboard-k-7-0-2.jpg#xywh=0,0,160,90\n\
            \n00:00:12.000 --> 00:00:22.000\nstoryboard-k-7-0-2.jpg#xywh=160,0,160,90\n";
        assert_eq!(board.vtt(1000, TEN), expected);
    }

    fn known(board: &Storyboard, name: &str) -> Option<Bytes> {
        board.sheet(&format!("storyboard-{name}.jpg")).map(|(jpeg, _)| jpeg)
    }

    #[test]
    fn a_sheet_answers_to_each_name_that_it_had() {
        let mut board = empty();
        (1..=3).for_each(|n| add(&mut board, n, SIZE, HOUR));
        for name in ["k-7-0-3", "k-7-0-2", "k-7-0-1"] {
            assert_eq!(known(&board, name), Some(bytes(3)), "{name}");
        }
        assert_eq!(board.sheet("storyboard-k-7-0-1.jpg").unwrap().1, "storyboard-k-7-0-3.jpg");
        for unknown in
            ["k-7-0-0", "k-7-0-4", "k-7-1-3", "k-8-0-3", "k-7-0-03", "k-7-00-3", "k-7-0-+3", "k-7-0-", "k-7"]
        {
            assert_eq!(known(&board, unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_full_sheet_and_another_size_begin_a_new_one() {
        let mut board = empty();
        (1..=25).for_each(|n| add(&mut board, n, SIZE, HOUR));
        assert!(board.beside(SIZE).is_empty());
        (26..=27).for_each(|n| add(&mut board, n, SIZE, HOUR));
        assert_eq!(board.beside(SIZE), [bytes(26), bytes(27)]);
        add(&mut board, 28, (88, 160), HOUR);
        assert!(board.beside(SIZE).is_empty());
        assert_eq!(board.beside((88, 160)), [bytes(28)]);
        let vtt = board.vtt(0, TEN);
        assert!(vtt.contains("0-25.jpg#xywh=640,360,160,90\n"));
        assert!(vtt.contains("1-2.jpg#xywh=160,0,160,90\n"));
        assert!(vtt.ends_with("2-1.jpg#xywh=0,0,88,160\n"));
    }

    #[test]
    fn what_has_left_the_window_is_forgotten_and_times_stay() {
        let mut board = empty();
        (0..=60).for_each(|n| add(&mut board, n * 10, SIZE, Span::from_millis(100_000)));
        assert_eq!(known(&board, "k-7-0-25"), None);
        assert_eq!(known(&board, "k-7-1-25"), Some(bytes(490)));
        assert!(
            board
                .vtt(0, TEN)
                .contains("\n00:04:10.000 --> 00:04:20.000\nstoryboard-k-7-1-25.jpg#xywh=0,0,160,90")
        );
        assert!(!board.vtt(0, TEN).contains("\n00:04:00.000 -->"));
    }

    #[test]
    fn tiles_are_as_long_as_a_side_may_be_and_in_shape() {
        assert_eq!(tile_size((640, 360)), (160, 90));
        assert_eq!(tile_size((480, 360)), (160, 120));
        assert_eq!(tile_size((360, 640)), (88, 160));
        assert_eq!(tile_size((114, 64)), (160, 90));
    }

    proptest! {
        #[test]
        fn any_picture_has_a_tile(width in 0..=u32::MAX, height in 0..=u32::MAX) {
            let (w, h) = tile_size((width, height));
            prop_assert!((8..=160).contains(&w) && w.is_multiple_of(8));
            prop_assert!((2..=160).contains(&h) && h.is_multiple_of(2));
        }

        #[test]
        fn any_name_is_answered(name in "(storyboard-)?(k-7)?[-0-9a-z+.]{0,30}(.jpg)?") {
            let mut board = empty();
            (1..=30).for_each(|n| add(&mut board, n, SIZE, HOUR));
            if board.sheet(&name).is_some() {
                let known = |sheet: u64, most: u64| {
                    (1..=most).any(|count| name == format!("storyboard-k-7-{sheet}-{count}.jpg"))
                };
                prop_assert!(known(0, 25) || known(1, 5), "{}", name);
            }
        }

        #[test]
        fn every_sheet_that_was_told_of_is_there_as_long_as_its_pictures(
            steps in proptest::collection::vec((-5_i64..30, 0..3_u32), 1..200),
            window in 0_i64..600,
        ) {
            let (mut board, mut now, mut told) = (empty(), 0_i64, Vec::<String>::new());
            for (step, shape) in steps {
                now += step;
                add(&mut board, now, (8 + 8 * (shape / 2), 90), Span::from_millis(window * 1000));
                let vtt = board.vtt(0, TEN);
                told.extend(vtt.lines().filter_map(|line| Some(line.split_once('#')?.0.to_owned())));
                told.dedup();
                for name in &told {
                    let number = name.split('-').nth(3).unwrap().parse::<u64>().unwrap();
                    prop_assert!(number < board.gone || board.sheet(name).is_some(), "{}", name);
                }
                prop_assert!(board.sheets.iter().rev().skip(1).all(|sheet| sheet.tiles.is_empty()));
            }
        }
    }
}
