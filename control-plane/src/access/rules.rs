//! The decision itself: what is known of a key, to an answer.

use super::message::{Allow, Answer, Deny, False, Limits, Playback, Reason, True};
use crate::config::Publish;
use crate::stream::store::Holder;

/// May the holder of this key publish?
///
/// Whether the stream is live already is not asked: only the media server knows at that moment, and it decides
/// between a broadcaster who comes back and a second one.
pub fn decide(holder: Option<&Holder>, settings: &Publish) -> Answer {
    let deny =
        |reason, message: &str| Answer::Deny(Deny { allow: False, reason, message: message.to_owned() });
    match holder {
        None => {
            deny(Reason::UnknownKey, "This stream key is not known. Copy it again from your channel's page.")
        }
        Some(holder) if holder.revoked => deny(
            Reason::UnknownKey,
            "This stream key was replaced. Copy the new one from your channel's page.",
        ),
        Some(holder) if !holder.owner_active => deny(Reason::Banned, "This account may not broadcast."),
        Some(holder) => Answer::Allow(Allow {
            allow: True,
            stream: holder.slug.clone(),
            profile: settings.profile.clone(),
            record: settings.record,
            limits: Limits {
                bitrate_kbps: settings.bitrate_kbps,
                width: settings.width,
                height: settings.height,
                fps: settings.fps,
                duration_s: settings.duration_s,
            },
            push: Vec::new(),
            playback: Playback::Public,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder { key_id: "key_x".into(), revoked: false, slug: "ada".into(), owner_active: true }
    }

    fn reason(holder: Option<&Holder>) -> Option<Reason> {
        match decide(holder, &Publish::default()) {
            Answer::Allow(_) => None,
            Answer::Deny(deny) => Some(deny.reason),
        }
    }

    #[test]
    fn the_holder_of_a_good_key_publishes_to_their_own_stream() {
        let Answer::Allow(allow) = decide(Some(&holder()), &Publish::default()) else { panic!("denied") };
        assert_eq!(allow.stream, "ada");
        assert_eq!(allow.limits.bitrate_kbps, 12_000);
    }

    #[test]
    fn unknown_replaced_and_banned_stay_out_each_with_a_reason() {
        assert_eq!(reason(None), Some(Reason::UnknownKey));
        assert_eq!(reason(Some(&Holder { revoked: true, ..holder() })), Some(Reason::UnknownKey));
        assert_eq!(reason(Some(&Holder { owner_active: false, ..holder() })), Some(Reason::Banned));
    }
}
