//! A benchmark's result: rows in Markdown, kept in a file between markers.

use std::path::Path;

use anyhow::{Context as _, Result};

/// One benchmark's table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name on the command line and in the markers.
    pub name: &'static str,
    /// What is measured, and how.
    pub title: String,
    /// Column heads.
    pub columns: Vec<&'static str>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.title);
        let mut row = |cells: &mut dyn Iterator<Item = &str>| {
            text.push('|');
            for cell in cells {
                text += " ";
                text += cell;
                text += " |";
            }
            text.push('\n');
        };
        row(&mut self.columns.iter().copied());
        row(&mut self.columns.iter().map(|_| "---"));
        for cells in &self.rows {
            row(&mut cells.iter().map(String::as_str));
        }
        text
    }

    /// Puts it between its markers in `file`; at the end where they are not there yet.
    pub fn write(&self, file: &Path) -> Result<()> {
        let before = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "# Benchmarks\n".to_owned(),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        std::fs::write(file, replaced(&before, self.name, &self.markdown()))
            .with_context(|| file.display().to_string())
    }
}

fn replaced(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    if let Some((head, rest)) = text.split_once(&begin)
        && let Some((_, tail)) = rest.split_once(&end)
    {
        return format!("{head}{begin}\n{table}{end}{tail}");
    }
    format!("{}\n\n{begin}\n{table}{end}\n", text.trim_end())
}

/// Which of two directions is the good one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// A cost: at most this many times the peer's.
    AtMost(f64),
    /// A yield: at least this many times the peer's.
    AtLeast(f64),
}

impl Target {
    /// The cell that says the target and whether a ratio meets it.
    pub fn verdict(self, ratio: f64) -> String {
        let (met, sign, bound) = match self {
            Self::AtMost(bound) => (ratio <= bound, "≤", bound),
            Self::AtLeast(bound) => (ratio >= bound, "≥", bound),
        };
        let digits = if (bound * 10.0).fract() == 0.0 { 1 } else { 2 };
        format!("{sign} {bound:.digits$} x: {}", if met { "met" } else { "**missed**" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_its_older_self_and_nothing_else() {
        let old = "# B\n\na\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb\n";
        assert_eq!(replaced(old, "x", "new\n"), "# B\n\na\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb\n");
        assert_eq!(replaced("# B\n", "y", "t\n"), "# B\n\n<!-- bench:y -->\nt\n<!-- /bench:y -->\n");
    }

    #[test]
    fn verdicts_know_their_direction() {
        assert_eq!(Target::AtMost(1.05).verdict(1.05), "≤ 1.05 x: met");
        assert!(Target::AtMost(1.0).verdict(0.9).ends_with(": met"));
        assert!(Target::AtLeast(0.8).verdict(0.7).contains("missed"));
    }
}
