//! Prepares the pages for embedding: the built ones (`web/dist`) with a gzip copy of each, or, where nobody has
//! built them, a page that says how.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Weir</title>\
<body><h1>The pages are not built</h1><p>Run <code>make web</code>, then build the control plane again.</p></body></html>\n";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let embedded = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("web");
    let dist = root.join("web/dist");
    // Cargo takes a path that is missing for changed on every build.
    fs::create_dir_all(&dist)?;
    println!("cargo:rerun-if-changed=web/dist");
    if embedded.exists() {
        fs::remove_dir_all(&embedded)?;
    }
    fs::create_dir_all(&embedded)?;
    if dist.join("index.html").exists() {
        copy(&dist, &embedded)
    } else {
        println!("cargo:warning=control-plane/web/dist is empty: the pages will say so; run `make web`");
        fs::write(embedded.join("index.html"), NOT_BUILT)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
            continue;
        }
        let bytes = fs::read(entry.path())?;
        fs::write(&target, &bytes)?;
        let mut name = target.into_os_string();
        name.push(".gz");
        let mut gzip = flate2::write::GzEncoder::new(fs::File::create(name)?, flate2::Compression::best());
        gzip.write_all(&bytes)?;
        gzip.finish()?;
    }
    Ok(())
}
