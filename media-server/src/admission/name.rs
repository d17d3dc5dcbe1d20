//! What a stream may be called.

/// Longest name, in bytes.
const LONGEST: usize = 64;

/// Whether this can be a stream's public name: 1 to 64 of `A-Z a-z 0-9 - _`. It becomes part of addresses, file
/// names and log lines, so nothing that means something in one of them (`.`, `/`, `%`, a space) is in it.
pub fn is_stream_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::is_stream_name;

    #[test]
    fn a_name_fits_an_address_a_file_and_a_log_line() {
        for good in ["ada", "a", "A-b_9", &"x".repeat(64)] {
            assert!(is_stream_name(good), "{good}");
        }
        for bad in ["", "..", "a.b", "a/b", "a b", "a%2e", "ä", "a\n", "a\0", &"x".repeat(65)] {
            assert!(!is_stream_name(bad), "{bad:?}");
        }
    }
}
