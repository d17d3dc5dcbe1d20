//! A configuration file: every text is taken or refused with reasons; what is taken can be written, read again, and is
//! no change of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

// Without the rest of media-server, which would bring GStreamer.
#[allow(dead_code, unused_imports)]
#[path = "../../media-server/src/config"]
mod config {
    mod hook;
    mod ladder;
    mod ladder_rules;
    pub mod load;
    pub mod plan;
    pub mod problem;
    mod structure;
    pub mod types;
    mod validate;
    mod webrtc;
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::load::parse(text, "fuzz.toml") {
        Ok(taken) => {
            assert!(config::plan::diff(Some(&taken), &taken).is_empty());
            let written = toml::to_string(&taken).expect("a configuration can be written");
            let again = config::load::parse(&written, "again.toml").expect("what was written can be read");
            assert_eq!(again, taken);
        }
        Err(error) => {
            assert!(!error.problems.is_empty() && error.problems.len() < 100_000);
            let lines = 1 + data.iter().filter(|byte| **byte == b'\n').count();
            assert!(error.problems.iter().all(|problem| problem.line <= lines));
            assert_eq!(error.to_string().lines().count(), error.problems.len());
        }
    }
});
