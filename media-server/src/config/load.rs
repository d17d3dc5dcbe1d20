//! Text → configuration, or everything that is wrong with it.

use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Problem};
use super::structure::{self, Reading, line_of};
use super::types::Config;
use super::validate::validate;

/// A configuration is a page or two; more is a mistake in the path.
const LONGEST: u64 = 1 << 20;

/// Reads a file of at most 1 MiB.
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

/// Reads a text; `file` names it in errors. Every mistake is found, not only the first.
pub fn parse(text: &str, file: &str) -> Result<Config, ConfigError> {
    let Reading { config, mut problems } = structure::read(text);
    let wrong = |problems| Err(ConfigError { file: file.into(), problems });
    let Some(mut config) = config else { return wrong(problems) };
    for (name, profile) in Config::default().profiles {
        config.profiles.entry(name).or_insert(profile);
    }
    let cut: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    let table = DeTable::parse(text).ok();
    for (key, told) in validate(&config) {
        if cut.iter().any(|cut| is_consequence(&key, cut)) {
            continue;
        }
        let offset = table.as_ref().and_then(|t| offset_of(t.get_ref(), &key));
        problems.push(Problem { line: offset.map_or(0, |at| line_of(text, at)), key, text: told });
    }
    if problems.is_empty() {
        return Ok(config);
    }
    problems.sort_by_key(|problem| problem.line);
    wrong(problems)
}

/// Whether a complaint about `key` may only be there because `cut` could not be read.
fn is_consequence(key: &str, cut: &str) -> bool {
    fn place(key: &str) -> impl Iterator<Item = &str> {
        key.split('.').take(2).map(|step| step.split('[').next().unwrap_or_default())
    }
    place(key).eq(place(cut))
        || cut.starts_with("profiles") && key.ends_with("profile")
        || place(key).next() == Some(cut)
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
    fn unknown_keys_wrong_types_and_wrong_values_are_told_together() {
        let text = complaint(
            "[hls]\npart_ms = \"x\"\nsegmnt_ms = 2000\nwindow_segments = 1\n\n[rtmp]\nlisten = \"here\"\n\n\
             [profiles.x]\nrungs = [\n  { name = \"a\" },\n  { name = \"b\", video_bitrate = 1e6, hight = 3 },\n]\n[logg]\n",
        );
        let expected = [
            "weir.toml:2: hls.part_ms: invalid type: string \"x\"; it must be a whole number from 0",
            "weir.toml:3: hls.segmnt_ms: unknown key; did you mean `segment_ms`?",
            "weir.toml:4: hls.window_segments: is 1; it must be 4 to 10000",
            "weir.toml:7: rtmp.listen: ",
            "weir.toml:11: profiles.x.rungs[0]: missing field `video_bitrate`",
            "weir.toml:12: profiles.x.rungs[1]",
            "weir.toml:14: logg: unknown key; did you mean `log`?",
        ];
        for line in expected {
            assert!(text.lines().any(|told| told.starts_with(line)), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn every_line_that_is_not_toml_is_told() {
        let text = complaint("[hls]\npart_ms = \nsegment_ms = 2000\n[rtmp\n");
        assert!(
            text.contains("weir.toml:2: is not TOML") && text.contains("weir.toml:4: is not TOML"),
            "{text}"
        );
    }

    #[test]
    fn a_mistake_is_one_line_of_bounded_length() {
        let text =
            complaint(&format!("[profiles.\"a\\n\\u001b[31m{}\"]\npassthrough = 1\n", "x".repeat(100_000)));
        assert_eq!(text.lines().count(), 2, "the name and the value: {text}");
        assert!(text.len() < 4000 && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for wrong in [
            "keys = \"hush\"",
            "keys = [\"hush\"]",
            "secret = [\"hush\"]",
            "keys = [{ key = [\"hush\"], stream = \"a\" }]",
        ] {
            let text = complaint(&format!("[admission]\n{wrong}\n"));
            assert!(text.starts_with("weir.toml:2: admission.") && !text.contains("hush"), "{text}");
        }
    }

    #[test]
    fn an_address_or_a_secret_of_no_use_is_found_before_the_start() {
        for url in ["ftp://a/", "http://", "here", "http://a b/", "http://user:hush@a/"] {
            let text = complaint(&format!("[admission]\nurl = \"{url}\"\n"));
            assert!(text.starts_with("weir.toml:2: admission.url: ") && !text.contains("hush"), "{text}");
        }
        for secret in ["hush", "whsec_hush", "whsec_c2hvcnQ="] {
            let text = complaint(&format!("[admission]\nsecret = \"{secret}\"\n"));
            assert!(text.starts_with("weir.toml:2: admission.secret: ") && !text.contains("hush"), "{text}");
        }
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
        let text = "[admission]\nmode = \"static\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\nkeys = [{ key = \"hush-hush-key\", stream = \"a\" }]\n";
        let shown = format!("{:?}", parse(text, "f").expect("static"));
        assert!(!shown.contains("hush") && !shown.contains("MfKQ"), "{shown}");
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
