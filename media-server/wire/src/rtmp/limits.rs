//! What one connection may cost.

/// Bounds on one connection. The defaults suit any real encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest audio, video or aggregate message, in bytes.
    pub max_media_message: usize,
    /// Longest command, data or control message before a publish is accepted, in bytes.
    pub max_command_message: usize,
    /// Longest command, data or control message of an accepted publisher, in bytes.
    pub max_data_message: usize,
    /// Chunk streams that may be in use at once.
    pub max_chunk_streams: usize,
    /// Memory for all unfinished messages together, in bytes.
    pub max_buffered: usize,
    /// Longest stream name with its query, `app` or `tcUrl`, in bytes.
    pub max_name: usize,
    /// Answers that may wait for [`Session::output`](super::Session::output), in bytes.
    pub max_output: usize,
    /// The window that both sides are told, in bytes (5.4.4, 5.4.5).
    pub window: u32,
    /// Size of the chunks that are sent, in bytes (5.4.1).
    pub chunk_size: u32,
    /// What one AMF0 message may cost.
    pub amf0: crate::amf0::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_media_message: 8 << 20,
            max_command_message: 64 << 10,
            max_data_message: 1 << 20,
            max_chunk_streams: 64,
            max_buffered: 16 << 20,
            max_name: 2048,
            max_output: 512 << 10,
            window: 2_500_000,
            chunk_size: 4096,
            amf0: crate::amf0::Limits::default(),
        }
    }
}
