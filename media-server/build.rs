//! Sees that the operators' player page, which the server embeds, is there to embed.
//!
//! `make web` builds `player/dist`. Without it (a plain `cargo check`, no npm) a placeholder says how to get it.

use std::{fs, io, path::Path};

const PLACEHOLDERS: [(&str, &str); 2] = [
    (
        "index.html",
        "<!doctype html><title>Weir</title><p>The player page was not built: run <code>make web</code>.",
    ),
    ("hls.min.js", "/* not built: run `make web` */\n"),
];

fn main() -> io::Result<()> {
    let dist = Path::new("player/dist");
    fs::create_dir_all(dist)?;
    for (name, placeholder) in PLACEHOLDERS {
        let file = dist.join(name);
        if !file.exists() {
            fs::write(&file, placeholder)?;
        }
        println!("cargo::rerun-if-changed={}", file.display());
    }
    Ok(())
}
