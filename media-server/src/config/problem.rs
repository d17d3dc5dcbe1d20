//! What is wrong with a configuration, for the person who has to mend it.

use std::fmt::{self, Write as _};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1; 0 where no line is to blame.
    pub line: usize,
    /// The key, e.g. `hls.part_ms`; empty where the text is not TOML at all.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Why a file was not taken; every problem that was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: String,
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            plain(f, &self.file)?;
            if problem.line > 0 {
                write!(f, ":{}", problem.line)?;
            }
            if !problem.key.is_empty() {
                f.write_str(": ")?;
                plain(f, &problem.key)?;
            }
            f.write_str(": ")?;
            plain(f, &problem.text)?;
        }
        Ok(())
    }
}

/// Characters of a key or a text that are shown: what a file has in the wrong place can be long.
const SHOWN: usize = 600;

/// One line of a terminal or a log, whatever the file has in it.
fn plain(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at >= SHOWN => return f.write_char('…'),
            c if c.is_control() => write!(f, "{}", c.escape_default())?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}
