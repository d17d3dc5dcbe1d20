//! The configuration files of a test's own world: every port 0, every file in the world's folder.

use std::path::Path;

/// A configuration as a table that a test may change.
#[derive(Clone, Debug, Default)]
pub struct Settings(toml::Table);

impl Settings {
    /// The media server on port 0, keys being stream names.
    pub fn media_open(data: &Path) -> Self {
        let mut settings = Self::in_folder(data);
        settings.merge(
            "[rtmp]\nlisten = \"127.0.0.1:0\"\n[srt]\nlisten = \"127.0.0.1:0\"\n[webrtc]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n[admission]\nmode = \"open\"\n\
             [thumbnails]\ninterval_ms = 0\n",
        );
        settings
    }

    /// The control plane on port 0.
    pub fn control(data: &Path) -> Self {
        let mut settings = Self::in_folder(data);
        settings.merge("listen = \"127.0.0.1:0\"\n");
        settings
    }

    fn in_folder(data: &Path) -> Self {
        let mut table = toml::Table::new();
        table.insert("data_dir".to_owned(), data.display().to_string().into());
        Self(table)
    }

    /// Lays TOML over what is there; tables are merged, everything else is replaced.
    ///
    /// # Panics
    /// On TOML that does not parse: the test that wrote it is at fault.
    pub fn merge(&mut self, toml: &str) {
        let over: toml::Table = toml.parse().unwrap_or_else(|error| panic!("{error} in:\n{toml}"));
        lay(&mut self.0, over);
    }

    /// The file's text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

fn lay(under: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(toml::Value::Table(under)), toml::Value::Table(over)) => lay(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_merge_and_values_are_replaced() {
        let mut settings = Settings::default();
        settings.merge("a = 1\n[t]\nx = 1\ny = 2\n");
        settings.merge("a = 2\n[t]\ny = 3\n");
        assert_eq!(
            settings.text().parse::<toml::Table>().unwrap(),
            "a = 2\nt = { x = 1, y = 3 }".parse().unwrap()
        );
    }
}
