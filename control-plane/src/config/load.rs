//! Reading the file, and saying where it is wrong: file, line, key, and what would be right.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Config;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: cannot read the configuration: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{path}:{line}: {}{message}{}", key.as_ref().map(|k| format!("`{k}`: ")).unwrap_or_default(),
        nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The key with its tables, where one is at fault.
        key: Option<String>,
        /// What is wrong.
        message: String,
        /// The valid key that it is closest to.
        nearest: Option<String>,
    },
}

/// From the file, or the defaults where none is given; then `$WEIR_DATA` (passed as `data_dir`).
pub fn load(path: Option<&Path>, data_dir: Option<&Path>) -> Result<Config, ConfigError> {
    let config = match path {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.into(), source })?;
            parse(path, &text)?
        }
    };
    Ok(match data_dir {
        Some(folder) => config.with_data_dir(folder),
        None => config,
    })
}

/// From the file's text; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    toml::from_str(text).map_err(|error| explain(path, text, &error))
}

fn explain(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let line = 1 + text.get(..span.start).unwrap_or_default().matches('\n').count();
    let (message, nearest) = match error.message().strip_prefix("unknown field `") {
        Some(rest) => {
            let (unknown, expected) = rest.split_once('`').unwrap_or((rest, ""));
            ("unknown key".to_owned(), nearest_key(unknown, expected))
        }
        None => (error.message().trim().replace('\n', " "), None),
    };
    let key = key_at(text, &span);
    let table = key.as_deref().and_then(|key| key.rsplit_once('.')).map(|(table, _)| table.to_owned());
    let nearest = nearest.map(|key| match table {
        Some(table) => format!("{table}.{key}"),
        None => key,
    });
    ConfigError::Invalid { path: path.into(), line, key, message, nearest }
}

/// `expected` is serde's own list: ", expected one of `a`, `b`".
fn nearest_key(unknown: &str, expected: &str) -> Option<String> {
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 2))
        .map(|(_, known)| known.to_owned())
}

/// The dotted key whose line holds the start of `span`.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let before = text.get(..span.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..)?.lines().next()?.trim();
    if let Some(header) = line.strip_prefix('[') {
        return Some(header.trim_start_matches('[').split(']').next()?.trim().to_owned());
    }
    let name = line.split('=').next()?.trim();
    if name.is_empty() || name.starts_with('#') || !line.contains('=') {
        return None;
    }
    let table = text
        .get(..line_start)?
        .lines()
        .rev()
        .map(str::trim)
        .find_map(|line| line.strip_prefix('[')?.trim_start_matches('[').split(']').next())
        .map(str::trim);
    Some(match table {
        Some(table) => format!("{table}.{name}"),
        None => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(Path::new("cp.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_file_is_a_complete_configuration() {
        let config = parse(Path::new("cp.toml"), "").unwrap();
        assert_eq!(config.listen.port(), 8000);
        assert_eq!(config.database_path(), Path::new("./data/control-plane.db"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
        assert_eq!(
            refusal("listen = \"0.0.0.0:1\"\n\n[media_server]\nadmin_ulr = \"http://h\"\n"),
            "cp.toml:4: `media_server.admin_ulr`: unknown key; did you mean `media_server.admin_url`?"
        );
        assert_eq!(refusal("[webhok]\n"), "cp.toml:1: `webhok`: unknown key; did you mean `webhook`?");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line_and_key() {
        for (text, start) in [
            ("[http]\nrequest_timeout = -1", "cp.toml:2: `http.request_timeout`: a number of seconds from"),
            ("listen = \"8000\"", "cp.toml:1: `listen`: invalid socket address"),
            (
                "[media_server]\nadmin_url = \"ftp://x\"",
                "cp.toml:2: `media_server.admin_url`: a URL here starts",
            ),
            (
                "[database]\nurl = \"mysql://x\"",
                "cp.toml:2: `database.url`: a database URL here is `sqlite://PATH`",
            ),
            ("a = ", "cp.toml:1: "),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(start), "{message}");
        }
    }

    #[test]
    fn the_shipped_file_says_the_defaults() {
        let shipped = include_str!("../../../conf/control-plane.toml");
        let config = parse(Path::new("conf/control-plane.toml"), shipped).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
        // Every key that is commented out is a real one.
        let all: String = shipped
            .lines()
            .map(|line| match line.strip_prefix("#: ") {
                Some(setting) => format!("{setting}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        parse(Path::new("conf/control-plane.toml"), &all).unwrap();
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}|(\\[[a-z_.]{0,12}\\]\n|[a-z_]{0,9} ?= ?[\"0-9a-z]{0,9}\n){0,8}") {
            drop(parse(Path::new("x"), &text).map_err(|e| e.to_string()));
        }
    }
}
