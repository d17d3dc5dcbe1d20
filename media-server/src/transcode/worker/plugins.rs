//! Loads the handful of GStreamer plugins that the pipeline needs, by file, without the registry.

use std::path::{Path, PathBuf};

use super::scaler;

/// Variable in which the daemon passes on the operator's plugin directories, separated by colons.
pub(in crate::transcode) const PLUGIN_DIRS: &str = "WEIR_GST_PLUGIN_DIRS";

/// Where distributions keep plugins.
pub(in crate::transcode) const SYSTEM_DIRS: [&str; 7] = [
    "/usr/local/lib/gstreamer-1.0",
    "/usr/lib/x86_64-linux-gnu/gstreamer-1.0",
    "/usr/lib/aarch64-linux-gnu/gstreamer-1.0",
    "/usr/lib64/gstreamer-1.0",
    "/usr/lib/gstreamer-1.0",
    "/opt/gstreamer/lib/gstreamer-1.0",
    "/usr/local/lib64/gstreamer-1.0",
];

/// A plugin's file, an element of it, and the Debian package it comes in.
const PLUGINS: [(&str, &str, &str); 5] = [
    ("libgstcoreelements.so", "queue", "libgstreamer1.0-0"),
    ("libgstapp.so", "appsrc", "gstreamer1.0-plugins-base"),
    ("libgstvideoconvertscale.so", "videoconvert", "gstreamer1.0-plugins-base"),
    ("libgstlibav.so", "avdec_h264", "gstreamer1.0-libav"),
    ("libgstx264.so", "x264enc", "gstreamer1.0-plugins-ugly"),
];

/// What keeps GStreamer from working here.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    #[error("GStreamer cannot be initialised: {0}")]
    Init(gstreamer::glib::Error),
    #[error("GStreamer does not take an element of ours: {0}")]
    Ours(gstreamer::glib::BoolError),
    #[error("GStreamer's element {element} is not installed (on Debian and Ubuntu: apt install {package})")]
    Missing { element: String, package: &'static str },
}

/// Only for sound.
const SOUND: [(&str, &str, &str); 3] = [
    ("libgstopus.so", "opusdec", "gstreamer1.0-plugins-base"),
    ("libgstaudioconvert.so", "audioconvert", "gstreamer1.0-plugins-base"),
    ("libgstaudioresample.so", "audioresample", "gstreamer1.0-plugins-base"),
];

/// What a slate's file may need besides; what is missing is a format that is not read.
const FILES: [&str; 16] = [
    "libgstplayback.so",
    "libgsttypefindfunctions.so",
    "libgstpng.so",
    "libgstjpeg.so",
    "libgstwebp.so",
    "libgstimagefreeze.so",
    "libgstvideorate.so",
    "libgstisomp4.so",
    "libgstmatroska.so",
    "libgstflv.so",
    "libgstmpegtsdemux.so",
    "libgstvideoparsersbad.so",
    "libgstaudioparsers.so",
    "libgstaudioconvert.so",
    "libgstaudioresample.so",
    "libgstvpx.so",
];

/// Makes files of the usual kinds readable.
pub(super) fn load_files() {
    let dirs = dirs();
    for file in FILES {
        // The first directory that has it.
        let _loaded = dirs.iter().any(|dir| load_file(&dir.join(file)));
    }
}

/// Initialises GStreamer with just what is needed.
pub(super) fn load() -> Result<(), PluginError> {
    gstreamer::init().map_err(PluginError::Init)?;
    scaler::register().map_err(PluginError::Ours)?;
    PLUGINS.into_iter().try_for_each(provide)
}

/// Makes pictures encodable.
pub(super) fn load_jpeg() -> Result<(), PluginError> {
    provide(("libgstjpeg.so", "jpegenc", "gstreamer1.0-plugins-good"))
}

/// Makes sound convertible.
pub(super) fn load_sound() -> Result<(), PluginError> {
    SOUND.into_iter().try_for_each(provide)
}

/// Makes an element usable that comes in this file.
pub(super) fn provide_from(file: &str, element: &str, package: &'static str) -> Result<(), PluginError> {
    // Already there when the worker runs with an ordinary registry.
    if is_there(element) || dirs().iter().any(|dir| load_file(&dir.join(file)) && is_there(element)) {
        Ok(())
    } else {
        Err(PluginError::Missing { element: element.to_owned(), package })
    }
}

/// Loads a plugin by its file's name; None where there is none.
pub(super) fn load_named(file: &str) -> Option<gstreamer::Plugin> {
    dirs()
        .iter()
        .map(|dir| dir.join(file))
        .filter(|path| path.is_file())
        .find_map(|path| gstreamer::Plugin::load_file(path).ok())
}

fn provide((file, element, package): (&'static str, &'static str, &'static str)) -> Result<(), PluginError> {
    provide_from(file, element, package).or_else(|missing| {
        // Named differently in this GStreamer: look at everything that lies there.
        for dir in dirs().iter().filter(|dir| dir.is_dir()) {
            gstreamer::Registry::get().scan_path(dir);
        }
        if is_there(element) { Ok(()) } else { Err(missing) }
    })
}

fn dirs() -> Vec<PathBuf> {
    let operators = std::env::var_os(PLUGIN_DIRS).unwrap_or_default();
    std::env::split_paths(&operators).chain(SYSTEM_DIRS.iter().map(PathBuf::from)).collect()
}

fn is_there(element: &str) -> bool {
    gstreamer::ElementFactory::find(element).is_some()
}

fn load_file(file: &Path) -> bool {
    file.is_file() && gstreamer::Plugin::load_file(file).is_ok()
}
