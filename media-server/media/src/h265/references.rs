//! st_ref_pic_set (ITU-T H.265 7.3.7, 7.4.8): only stepped over, but where each begins depends on those before it.

use crate::bits::Bits;

/// The most sets of an SPS (7.4.3.2.1), and the most pictures of one.
const MOST_SETS: u32 = 64;
const MOST_PICTURES: usize = 16;

/// Steps over num_short_term_ref_pic_sets and the sets.
pub(super) fn step_over_reference_sets(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.ue().filter(|count| *count <= MOST_SETS)?;
    let mut before: Option<Vec<i32>> = None;
    for _ in 0..count {
        before = Some(set(bits, before.as_deref())?);
    }
    Some(())
}

/// The picture order differences of one set: the nearest past ones first, then the nearest coming ones.
fn set(bits: &mut Bits<'_>, before: Option<&[i32]>) -> Option<Vec<i32>> {
    if let Some(before) = before
        && bits.bit()?
    {
        return predicted(bits, before);
    }
    let (past, coming) = (bits.ue()? as usize, bits.ue()? as usize);
    if past > MOST_PICTURES || coming > MOST_PICTURES {
        return None;
    }
    let mut differences = Vec::with_capacity(past.saturating_add(coming));
    for (count, direction) in [(past, -1), (coming, 1)] {
        let mut difference = 0_i32;
        for _ in 0..count {
            let step = i32::try_from(bits.ue().filter(|step| *step < 1 << 15)?).ok()?.saturating_add(1);
            difference = difference.saturating_add(step.saturating_mul(direction));
            differences.push(difference);
            bits.skip(1)?; // used_by_curr_pic
        }
    }
    Some(differences)
}

fn predicted(bits: &mut Bits<'_>, before: &[i32]) -> Option<Vec<i32>> {
    let negative = bits.bit()?;
    let step = i32::try_from(bits.ue().filter(|step| *step < 1 << 15)?).ok()?.saturating_add(1);
    let shift = if negative { step.saturating_neg() } else { step };
    let mut differences = Vec::with_capacity(before.len().saturating_add(1));
    for reference in before.iter().copied().chain([0]) {
        let kept = bits.bit()? || bits.bit()?;
        let difference = reference.saturating_add(shift);
        if kept && difference != 0 && differences.len() < MOST_PICTURES {
            differences.push(difference);
        }
    }
    differences.sort_by_key(|difference| (*difference > 0, difference.saturating_abs()));
    Some(differences)
}
