//! A tone that sounds for the first tenth of each second: which sound one is, and when it is heard.

use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::llhls::follow::Followed;
use crate::publisher::run;

/// Samples a second that are looked at.
const RATE: f64 = 48_000.0;
/// What is louder belongs to the tone.
const LOUD: f32 = 0.1;
/// Silence between two tones is longer.
const APART: usize = 4_800;

/// What was heard.
#[derive(Clone, Debug, Default)]
pub struct Beeps {
    /// When each begins, in the rendition's own seconds.
    pub begin: Vec<f64>,
    /// How high they are, in hertz.
    pub pitch: f64,
}

/// The expression of ffmpeg's `aevalsrc` that makes them.
pub fn source(pitch: u32) -> String {
    format!("aevalsrc=exprs='if(lt(mod(t\\,1)\\,0.1)\\,0.8*sin(2*PI*{pitch}*t)\\,0)':s=48000")
}

impl Beeps {
    /// Of a rendition of sound that was followed.
    pub async fn of(rendition: &Followed) -> Result<Self> {
        Self::of_newest(rendition, usize::MAX).await
    }

    /// Of its newest segments.
    pub async fn of_newest(rendition: &Followed, segments: usize) -> Result<Self> {
        let mut file = tempfile::Builder::new().suffix(".mp4").tempfile()?;
        file.write_all(&rendition.init_bytes)?;
        let before = rendition.segment_bytes.len().saturating_sub(segments);
        for bytes in rendition.segment_bytes.values().skip(before) {
            file.write_all(bytes)?;
        }
        file.flush()?;
        let path = file.path().to_str().context("no path")?;
        // Of the first frame as it is decoded: a decoder of Opus leaves out its first samples (pre-skip), which the first packet's
        // time and the stream's begin count.
        let probe = tokio::process::Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "a", "-read_intervals", "%+#1"])
            .args(["-show_entries", "frame=pts_time", "-of", "csv=p=0", path])
            .output()
            .await?;
        let frames = String::from_utf8_lossy(&probe.stdout).into_owned();
        let begins = frames.lines().next().unwrap_or_default().trim().trim_end_matches(',').to_owned();
        let begins: f64 = begins.parse().with_context(|| format!("{}: {begins:?}", rendition.name))?;
        let pcm = run(["-i", path, "-ac", "1", "-ar", "48000", "-f", "f32le"], "-".as_ref()).await?;
        let samples = pcm.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok(Self::heard(&samples.collect::<Vec<_>>(), begins))
    }

    fn heard(samples: &[f32], begins: f64) -> Self {
        let mut beeps = Self::default();
        let (mut last, mut crossings, mut loud) = (None::<(usize, f32)>, 0_usize, 0_usize);
        for (index, sample) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() > LOUD) {
            match last {
                Some((before, value)) if index - before <= APART => {
                    loud += index - before;
                    crossings += usize::from(value.signum() != sample.signum());
                }
                _ => beeps.begin.push(begins + index as f64 / RATE),
            }
            last = Some((index, *sample));
        }
        if loud > 0 {
            beeps.pitch = crossings as f64 * RATE / 2.0 / loud as f64;
        }
        beeps
    }

    /// How far the same moments are apart from another's at most, in seconds; None where nothing was heard of one.
    pub fn off(&self, other: &Self) -> Option<f64> {
        let nearest = |at: &f64| other.begin.iter().map(|b| (b - at).abs()).min_by(f64::total_cmp);
        // What lies at the ends may have been cut off.
        let inner = self.begin.get(1..self.begin.len().checked_sub(1)?)?;
        inner.iter().filter_map(nearest).max_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_told_by_its_pitch_and_its_moments() {
        let tone = |pitch: f64| {
            let sample = move |n: usize| {
                let at = n as f64 / RATE;
                let value = if at.fract() < 0.1 { (std::f64::consts::TAU * pitch * at).sin() } else { 0.0 };
                value as f32
            };
            (0..240_000).map(sample).collect::<Vec<_>>()
        };
        let (low, high) = (Beeps::heard(&tone(440.0), 10.0), Beeps::heard(&tone(880.0), 10.02));
        assert_eq!(low.begin.len(), 5);
        assert!((low.pitch - 440.0).abs() < 20.0 && (high.pitch - 880.0).abs() < 40.0, "{low:?} {high:?}");
        let off = low.off(&high).unwrap();
        assert!((off - 0.02).abs() < 0.001, "{off}");
    }
}
