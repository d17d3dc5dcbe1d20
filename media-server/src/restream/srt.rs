//! A push by SRT: calls the other server and sends what is on the air as a transport stream.

use std::sync::Arc;
use std::time::Duration;

use media::{Format, Kind};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use wire::srt::SrtUrl;

use super::push::Push;
use crate::transport::{Program, Slot, SrtLine, Track};

/// Until the other server takes the call.
const OPENING: Duration = Duration::from_secs(10);

/// Until the stream has nothing more, or the connection is lost.
pub(super) async fn send(push: &Push, url: &SrtUrl) -> Result<(), String> {
    let called = timeout(OPENING, SrtLine::call(url)).await;
    let mut line = called
        .map_err(|_| {
            format!("the server did not answer within {OPENING:?}: is it there, does it listen by SRT?")
        })?
        .map_err(|error| error.to_string())?;
    push.live();
    let mut tap = push.stream.tap();
    let snapshot = push.stream.snapshot();
    let video = snapshot.source_video.clone().map(Format::Video);
    // Sound alone has no keyframe to wait for.
    let sound_only = video.is_none();
    let formats = video.into_iter().chain(snapshot.source_audio.clone().map(Format::Audio));
    let mut program = Program::new(formats.map(Arc::new).map(track));
    drop(snapshot);
    // After a loss nothing goes out until the next keyframe.
    let mut whole = false;
    let mut given_up = 0;
    loop {
        tokio::select! {
            turned = line.turn() => turned.map_err(|error| error.to_string())?,
            tapped = tap.recv() => match tapped {
                Ok(tapped) => {
                    whole |= match tapped.format.kind() {
                        Kind::Video => tapped.unit.keyframe,
                        Kind::Audio => sound_only,
                    };
                    if whole {
                        let packets =
                            program.write(&track(tapped.format), &tapped.unit).map_err(|error| error.to_string())?;
                        push.state.sent(packets.len() as u64);
                        line.give(&packets);
                    }
                }
                Err(RecvError::Lagged(units)) => {
                    push.state.lost(units);
                    whole = false;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
        }
        let stats = line.stats();
        push.state.lost(stats.given_up - given_up);
        given_up = stats.given_up;
    }
}

/// What is on the air has one sound.
fn track(format: Arc<Format>) -> Track {
    let slot = if format.kind() == Kind::Video { Slot::Video } else { Slot::Sound(0) };
    Track::new(slot, format)
}
