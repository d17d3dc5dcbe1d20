//! A plane's lines as columns, so that what is fast over many lines is fast along them.

use wide::u8x16;

/// Samples that are turned at a time: as many as a register holds of one line.
const BLOCK: usize = 16;
/// Blocks that are turned one after the other, so that all lines of both planes that they touch stay near.
const TILE: usize = 4 * BLOCK;

/// Writes `height` lines of `width` samples as the columns of `to`; how far apart lines begin stands behind each plane.
pub(super) fn turn(
    from: &[u8],
    from_stride: usize,
    to: &mut [u8],
    to_stride: usize,
    (width, height): (usize, usize),
) {
    for tile_y in (0..height).step_by(TILE) {
        for tile_x in (0..width).step_by(TILE) {
            for y in (tile_y..height.min(tile_y + TILE)).step_by(BLOCK) {
                for x in (tile_x..width.min(tile_x + TILE)).step_by(BLOCK) {
                    let from = from.get(y * from_stride + x..).unwrap_or_default();
                    let to = to.get_mut(x * to_stride + y..).unwrap_or_default();
                    let (across, down) = (BLOCK.min(width - x), BLOCK.min(height - y));
                    if (across, down) != (BLOCK, BLOCK) || !block(from, from_stride, to, to_stride) {
                        rest(from, from_stride, to, to_stride, (across, down));
                    }
                }
            }
        }
    }
}

/// Sixteen lines of sixteen. False where they are not all there.
fn block(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize) -> bool {
    let mut lines = [u8x16::ZERO; BLOCK];
    for (at, line) in lines.iter_mut().enumerate() {
        let Some(bytes) = from.get(at * from_stride..).and_then(<[u8]>::first_chunk) else { return false };
        *line = u8x16::new(*bytes);
    }
    // A shuffle of cards: after four of them each sample is where its line's number and its own have changed places.
    let columns = shuffle(shuffle(shuffle(shuffle(lines))));
    for (at, column) in columns.iter().enumerate() {
        let Some(bytes) = to.get_mut(at * to_stride..).and_then(<[u8]>::first_chunk_mut) else {
            return false;
        };
        *bytes = column.to_array();
    }
    true
}

/// Samples of the upper half of the lines in turn with those of the lower half.
#[inline]
fn shuffle(lines: [u8x16; BLOCK]) -> [u8x16; BLOCK] {
    let (upper, lower) = lines.split_at(BLOCK / 2);
    let mut shuffled = [u8x16::ZERO; BLOCK];
    for ((pair, upper), lower) in shuffled.chunks_exact_mut(2).zip(upper).zip(lower) {
        pair.copy_from_slice(&[u8x16::unpack_low(*upper, *lower), u8x16::unpack_high(*upper, *lower)]);
    }
    shuffled
}

/// What is left at the edges, sample by sample.
fn rest(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize, (across, down): (usize, usize)) {
    for y in 0..down {
        for x in 0..across {
            if let (Some(from), Some(to)) = (from.get(y * from_stride + x), to.get_mut(x * to_stride + y)) {
                *to = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_columns() {
        for (width, height) in [(8, 8), (64, 64), (1, 1), (3, 200), (200, 3), (71, 65), (427, 240), (128, 9)]
        {
            let plane: Vec<u8> = (0..width * height).map(|at| (at * 31 + at / 256) as u8).collect();
            let mut turned = vec![0; width * height];
            turn(&plane, width, &mut turned, height, (width, height));
            for (at, is) in plane.iter().enumerate() {
                assert_eq!(turned[at % width * height + at / width], *is, "{width}x{height}: {at}");
            }
        }
    }

    #[test]
    fn a_plane_that_is_too_short_is_turned_as_far_as_it_goes() {
        let mut turned = [0; 100];
        turn(&[7; 30], 10, &mut turned, 10, (10, 10));
        assert_eq!(turned.map(usize::from).iter().sum::<usize>(), 30 * 7);
        turn(&[8; 100], 10, &mut turned[..9], 10, (10, 10));
    }
}
