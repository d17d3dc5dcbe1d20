//! ffmpeg with several sounds that beep at the same moments, each at a pitch of its own.

use anyhow::Result;
use tokio::process::Command;

use crate::beeps;
use crate::program::Program;

/// A sound that is sent: its pitch, its language and its encoder with options.
pub struct Sent(pub u32, pub &'static str, pub &'static [&'static str]);

/// Sends a picture and these sounds as a transport stream.
pub fn send(sounds: &[Sent], to: &str) -> Result<Program> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "warning", "-nostdin"]);
    command.args(["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    for Sent(pitch, ..) in sounds {
        command.args(["-re", "-f", "lavfi", "-i", &beeps::source(*pitch)]);
    }
    command.args(["-map", "0:v", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"]);
    command.args(["-pix_fmt", "yuv420p", "-g", "25", "-b:v", "150k", "-maxrate", "150k", "-bufsize", "150k"]);
    for (index, Sent(_, language, codec)) in sounds.iter().enumerate() {
        command.args(["-map", &format!("{}:a", index + 1)]);
        command.args([format!("-metadata:s:a:{index}"), format!("language={language}")]);
        command.arg(format!("-c:a:{index}"));
        // Of this sound alone.
        command.args(
            codec.iter().map(|it| if *it == "-ac" { format!("-ac:a:{index}") } else { (*it).to_owned() }),
        );
    }
    command.args(["-f", "mpegts", to]);
    Program::start("ffmpeg", command)
}

/// The same to a server's SRT port.
pub fn by_srt(srt: &str, sounds: &[Sent], stream: &str) -> Result<Program> {
    send(sounds, &format!("srt://{srt}?streamid=publish/{stream}"))
}
