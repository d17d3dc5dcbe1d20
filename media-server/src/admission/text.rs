//! What others say, as logs and protocols can carry it.

/// Longest reason or message taken over, in bytes.
pub(super) const LONGEST: usize = 300;

/// Text that can go into a log line and a protocol's status: one line, bounded.
pub(super) fn plain(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
