//! Text → configuration, or everything that is wrong with it.

use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Problem};
use super::types::Config;
use super::validate::validate;

/// A configuration is a page or two; more is a mistake in the path.
const LONGEST: u64 = 1 << 20;

/// Reads a file; `$WEIR_DATA` moves the data directory.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    let wrong = |text: String| ConfigError {
        file: file.clone(),
        problems: vec![Problem { line: 0, key: String::new(), text }],
    };
    let mut text = String::new();
    let source = std::fs::File::open(path).map_err(|e| wrong(format!("cannot be opened: {e}")))?;
    source.take(LONGEST + 1).read_to_string(&mut text).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if text.len() as u64 > LONGEST {
        return Err(wrong("is larger than 1 MiB: is this the right file?".into()));
    }
    parse(&text, &file)
}

/// Reads a text; `file` names it in errors.
pub fn parse(text: &str, file: &str) -> Result<Config, ConfigError> {
    let mut config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(0, |span| line_of(text, span.start));
        let message = error.message().trim().replace('\n', " ");
        let (key, told) = explain(&message, &section_at(text, line));
        ConfigError { file: file.into(), problems: vec![Problem { line, key, text: told }] }
    })?;
    for (name, profile) in Config::default().profiles {
        config.profiles.entry(name).or_insert(profile);
    }
    let problems = validate(&config);
    if problems.is_empty() {
        return Ok(config);
    }
    let table = DeTable::parse(text).ok();
    let located = problems.into_iter().map(|(key, told)| {
        let offset = table.as_ref().and_then(|t| offset_of(t.get_ref(), &key));
        Problem { line: offset.map_or(0, |at| line_of(text, at)), key, text: told }
    });
    Err(ConfigError { file: file.into(), problems: located.collect() })
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The `[table]` that a line stands in.
fn section_at(text: &str, line: usize) -> String {
    let header = |l: &str| {
        let inner = l.trim().strip_prefix('[')?.trim_start_matches('[');
        inner.split(']').next().map(|s| s.trim().to_owned())
    };
    text.lines().take(line).filter_map(header).last().unwrap_or_default()
}

/// Turns serde's message into key and remedy: an unknown key names the nearest known one.
fn explain(message: &str, section: &str) -> (String, String) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    if !message.starts_with("unknown field") {
        return (section.to_owned(), message.to_owned());
    }
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let key = if section.is_empty() { unknown.to_owned() } else { format!("{section}.{unknown}") };
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)));
    let told = match nearest {
        Some(nearest) if strsim::jaro_winkler(nearest, unknown) > 0.7 => {
            format!("unknown key; did you mean `{nearest}`? (known here: {})", known.join(", "))
        }
        _ => format!("unknown key (known here: {})", known.join(", ")),
    };
    (key, told)
}

/// Where a key such as `profiles.default.rungs[2].height` stands; the nearest parent that is written, else nothing.
fn offset_of(table: &DeTable<'_>, key: &str) -> Option<usize> {
    let mut found = None;
    let mut table = table;
    for step in key.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
            None => (step, None),
        };
        let Some((written, value)) = table.iter().find(|(k, _)| k.get_ref().as_ref() == name) else {
            return found;
        };
        found = Some(written.span().start);
        let mut value = value;
        if let (Some(index), DeValue::Array(items)) = (index, value.get_ref()) {
            let Some(item) = items.get(index) else { return found };
            found = Some(item.span().start);
            value = item;
        }
        let DeValue::Table(inner) = value.get_ref() else { return found };
        table = inner;
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::types::{Bitrate, Mode};
    use super::*;

    fn complaint(text: &str) -> String {
        parse(text, "weir.toml").expect_err("must be refused").to_string()
    }

    #[test]
    fn an_empty_file_and_one_line_are_complete_configurations() {
        assert_eq!(parse("", "f").expect("empty"), Config::default());
        let open = parse("[admission]\nmode = \"open\"\n", "f").expect("open");
        assert_eq!(open.admission.mode, Mode::Open);
        assert_eq!(open.profiles, Config::default().profiles);
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_key() {
        let text = complaint("[hls]\npart_ms = 333\nsegmnt_ms = 2000\n");
        assert!(
            text.starts_with("weir.toml:3: hls.segmnt_ms: unknown key; did you mean `segment_ms`?"),
            "{text}"
        );
        let text = complaint("\n[htttp]\n");
        assert!(text.contains("weir.toml:2") && text.contains("`http`"), "{text}");
        let text = complaint("[profiles.default]\nrungs = [{ name = \"a\", video_bitrat = 1 }]\n");
        assert!(text.contains("weir.toml:2") && text.contains("`video_bitrate`"), "{text}");
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_line() {
        let text = complaint(
            "[hls]\npart_ms = 5\nsegment_ms = 2000\nwindow_segments = 1\n\n[http]\ncors_origins = [\"no origin\"]\n",
        );
        assert!(text.contains("weir.toml:2: hls.part_ms: "), "{text}");
        assert!(text.contains("weir.toml:4: hls.window_segments: "), "{text}");
        assert!(text.contains("weir.toml:7: http.cors_origins"), "{text}");
    }

    #[test]
    fn a_rung_is_named_by_its_own_line() {
        let text = complaint(
            "[profiles.x]\nrungs = [\n  { name = \"a\", video_bitrate = \"800k\" },\n  { name = \"a\", video_bitrate = 5 },\n]\n",
        );
        assert!(text.contains("weir.toml:4: profiles.x.rungs[1].name"), "{text}");
        assert!(text.contains("weir.toml:4: profiles.x.rungs[1].video_bitrate"), "{text}");
    }

    #[test]
    fn bitrates_are_numbers_or_text() {
        let text = "[profiles.x]\nrungs = [{ name = \"a\", video_bitrate = \"2.8M\" }, { name = \"b\", video_bitrate = \"800k\" }]";
        let config = parse(text, "f").expect("bitrates");
        let rates: Vec<_> = config.profiles["x"].rungs.iter().map(|r| r.video_bitrate).collect();
        assert_eq!(rates, [Bitrate(2_800_000), Bitrate(800_000)]);
        assert!(
            complaint("[profiles.x]\nrungs = [{ name = \"a\", video_bitrate = \"fast\" }]")
                .contains("bits a second")
        );
    }

    #[test]
    fn a_missing_file_says_so() {
        let error = load(Path::new("/nonexistent/weir.toml")).expect_err("no file").to_string();
        assert!(error.starts_with("/nonexistent/weir.toml: cannot be opened"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[admission]\nmode = \"static\"\nsecret = \"whsec_AAAA\"\nkeys = [{ key = \"hush-hush-key\", stream = \"a\" }]\n";
        let shown = format!("{:?}", parse(text, "f").expect("static"));
        assert!(!shown.contains("hush") && !shown.contains("AAAA"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(?s).{0,300}") {
            let _taken = parse(&text, "f").is_ok();
        }

        #[test]
        fn no_nearly_right_text_panics(
            section in "(hls|http|rtmp|admission|profiles\\.x|log|node)",
            key in "(listen|mode|part_ms|rungs|keys|format|name|secret)",
            value in "(\"[a-z0-9.:]{0,12}\"|-?[0-9]{1,19}|\\[\\]|\\[\\{\\}\\]|true|1e300|\\{a=1\\})",
        ) {
            let _taken = parse(&format!("[{section}]\n{key} = {value}\n"), "f").is_ok();
        }
    }
}
