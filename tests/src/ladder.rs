//! Encoding ladders for tests, small enough for two cores that carry encoder, browser and server.

/// Nothing is encoded.
pub const PASS_THROUGH: &str = "[profiles.default]\nrungs = []\n";

/// Two rungs below a 640x360 source, which stays on top as it is.
pub const SMALL: &str = "[profiles.default]\nrungs = [\n\
    { name = \"240p\", height = 240, fps = 30, video_bitrate = \"400k\", audio_bitrate = \"96k\", codec = \"h264\" },\n\
    { name = \"160p\", height = 160, fps = 30, video_bitrate = \"200k\", audio_bitrate = \"96k\", codec = \"h264\" },\n]\n";
