//! A plane's lines as columns, so that what is fast over many lines is fast along them.

/// Samples that are turned at a time: as many as a register holds of one line.
const BLOCK: usize = 8;
/// Blocks that are turned one after the other, so that all lines of both planes that they touch stay near.
const TILE: usize = 8 * BLOCK;

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

/// Eight lines of eight. False where they are not all there.
fn block(from: &[u8], from_stride: usize, to: &mut [u8], to_stride: usize) -> bool {
    let mut lines = [0_u64; BLOCK];
    for (line, bytes) in lines.iter_mut().zip(from.chunks(from_stride.max(1))) {
        let Some(bytes) = bytes.first_chunk() else { return false };
        *line = u64::from_le_bytes(*bytes);
    }
    // Quarters of the block change places, then those of each quarter, and so on.
    swap::<4>(&mut lines, 0x0000_0000_FFFF_FFFF);
    swap::<2>(&mut lines, 0x0000_FFFF_0000_FFFF);
    swap::<1>(&mut lines, 0x00FF_00FF_00FF_00FF);
    for (line, bytes) in lines.iter().zip(to.chunks_mut(to_stride.max(1))) {
        let Some(bytes) = bytes.first_chunk_mut() else { return false };
        *bytes = line.to_le_bytes();
    }
    true
}

/// What is right in a line with what is left in the one `FAR` below it.
#[inline(always)]
fn swap<const FAR: usize>(lines: &mut [u64; BLOCK], left: u64) {
    let shift = 8 * FAR;
    for upper in (0..BLOCK).filter(|line| line & FAR == 0) {
        let (above, below) = (lines[upper], lines[upper + FAR]);
        lines[upper] = (above & left) | ((below & left) << shift);
        lines[upper + FAR] = ((above >> shift) & left) | (below & !left);
    }
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
        assert_eq!(turned.iter().filter(|it| **it == 7).count(), 30);
        turn(&[8; 100], 10, &mut turned[..9], 10, (10, 10));
    }
}
