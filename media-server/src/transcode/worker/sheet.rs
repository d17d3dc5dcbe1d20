//! Tiles side by side on a sheet of a storyboard: planes of I420 without padding.

use bytes::Bytes;
use media::storyboard::{COLUMNS, ROWS};

/// A sheet with these tiles, in rows from the top left, and its size in pixels. The rest of it is black. A tile's missing bytes are
/// black too, those that are too many are left out.
pub(super) fn of(tiles: &[Bytes], (width, height): (u32, u32)) -> (Vec<u8>, (u32, u32)) {
    let size = (width.saturating_mul(COLUMNS), height.saturating_mul(ROWS));
    let mut sheet = Vec::new();
    // The bytes of a tile before this plane.
    let mut before = 0_usize;
    for (divisor, black) in [(1, 0), (2, 128), (2, 128)] {
        let (row, rows) = ((width / divisor) as usize, (height / divisor) as usize);
        let begin = sheet.len();
        let plane = row.saturating_mul(rows);
        sheet.resize(begin.saturating_add(plane.saturating_mul((COLUMNS * ROWS) as usize)), black);
        let lines = sheet.get_mut(begin..).unwrap_or_default().chunks_exact_mut(row.max(1));
        for (place, line) in lines.enumerate() {
            // Lines of tiles that stand in a row of the sheet follow each other.
            let (column, across) = (place % COLUMNS as usize, place / COLUMNS as usize);
            let (tile, inside) = (across / rows.max(1) * COLUMNS as usize + column, across % rows.max(1));
            let from = before.saturating_add(inside.saturating_mul(row));
            if let Some(pixels) = tiles.get(tile).and_then(|tile| tile.get(from..from.saturating_add(row))) {
                line.copy_from_slice(pixels);
            }
        }
        before = before.saturating_add(plane);
    }
    (sheet, size)
}

#[cfg(test)]
mod tests {
    use media::storyboard::tile_bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_pixel_of_a_tile_is_at_its_place(
            (eighths, halves) in (1_u32..=4, 1_u32..=20),
            tiles in 0_usize..=25,
            seed in any::<u8>(),
        ) {
            let (width, height) = (eighths * 8, halves * 2);
            let byte = |tile: usize, at: usize| (tile * 31 + at * 7) as u8 ^ seed;
            let known: Vec<Bytes> = (0..tiles)
                .map(|tile| (0..tile_bytes((width, height))).map(|at| byte(tile, at)).collect())
                .collect();
            let (sheet, (across, down)) = of(&known, (width, height));
            prop_assert_eq!((across, down), (width * 5, height * 5));
            prop_assert_eq!(sheet.len(), tile_bytes((across, down)));
            let planes = [(width, height, 0), (width / 2, height / 2, 128), (width / 2, height / 2, 128)];
            let (mut of_sheet, mut of_tile) = (0, 0);
            for (w, h, black) in planes {
                for (y, x) in (0..h * 5).flat_map(|y| (0..w * 5).map(move |x| (y, x))) {
                    let tile = (y / h * 5 + x / w) as usize;
                    let at = of_tile + (y % h * w + x % w) as usize;
                    let expected = if tile < tiles { byte(tile, at) } else { black };
                    prop_assert_eq!(sheet[of_sheet + (y * w * 5 + x) as usize], expected);
                }
                of_sheet += (w * h * 25) as usize;
                of_tile += (w * h) as usize;
            }
        }

        #[test]
        fn tiles_of_any_length_are_taken(lengths in proptest::collection::vec(0_usize..300, 0..40)) {
            let tiles: Vec<Bytes> = lengths.iter().map(|length| vec![9; *length].into()).collect();
            let (sheet, _) = of(&tiles, (8, 4));
            prop_assert_eq!(sheet.len(), 8 * 4 * 25 * 3 / 2);
        }
    }
}
