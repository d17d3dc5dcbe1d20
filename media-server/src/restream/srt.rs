//! A push by SRT: calls the other server and sends what is on the air as a transport stream.

use std::sync::Arc;
use std::time::Duration;

use media::{Format, Kind};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use wire::srt::SrtUrl;

use super::push::Push;
use crate::live::{Phase, Tapped};
use crate::transport::{Program, Slot, SrtLine, Track};

/// Until the other server takes the call.
const OPENING: Duration = Duration::from_secs(10);
/// Until a stream that has just begun has shown its tracks.
const TRACKS: Duration = Duration::from_secs(3);

/// Until the stream has nothing more, or the connection is lost.
pub(super) async fn send(push: &Push, url: &SrtUrl) -> Result<(), String> {
    // Until all of its tracks are known, or have had their time.
    let mut snapshots = push.stream.watch();
    let ready = snapshots.wait_for(|snapshot| snapshot.ready || snapshot.phase == Phase::Ended);
    let _known = timeout(TRACKS, ready).await.is_ok();
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
    let video = video.map(|format| Track::new(Slot::Video, Arc::new(format)));
    let sounds = (0..).map(Slot::Sound).zip(&snapshot.audio);
    let sounds = sounds.map(|(slot, rendition)| Track {
        slot,
        format: Arc::new(rendition.format.clone()),
        language: rendition.language,
    });
    let mut program = Program::new(video.into_iter().chain(sounds));
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
                            program.write(&track(&tapped), &tapped.unit).map_err(|error| error.to_string())?;
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

fn track(tapped: &Tapped) -> Track {
    let slot = if tapped.format.kind() == Kind::Video { Slot::Video } else { Slot::Sound(tapped.sound) };
    Track { slot, format: Arc::clone(&tapped.format), language: tapped.language }
}
