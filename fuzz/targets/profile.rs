//! What the control plane answers about a source's ladder: every body is an answer or is refused with a short reason, and a
//! ladder that is taken is one that the configuration takes.
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

    pub use ladder::Profile;
    pub use ladder_rules::ladder_problem;
}

#[allow(dead_code)]
#[path = "../../media-server/src/admission"]
mod admission {
    mod profile_answer;
    mod text;

    pub use profile_answer::{ProfileAnswer, UnusableAnswer};

    pub fn read(body: &[u8]) -> Result<ProfileAnswer, UnusableAnswer> {
        profile_answer::read(body, "auto")
    }
}

use admission::ProfileAnswer;

fuzz_target!(|body: &[u8]| match admission::read(body) {
    Ok(ProfileAnswer::Named(name)) => assert!((1..=64).contains(&name.len())),
    Ok(ProfileAnswer::Ladder(ladder)) => {
        assert_eq!(config::ladder_problem(&ladder, "auto"), None);
        assert!(ladder.rungs.len() <= 16 && ladder.audio.len() <= 4);
    }
    Ok(ProfileAnswer::Refused { reason, message }) => {
        assert!(!reason.is_empty() && reason.len() <= 300 && message.len() <= 300);
        assert!(!reason.contains('\n') && !message.contains('\n'));
    }
    Err(error) => assert!(error.to_string().len() < 1000),
});
