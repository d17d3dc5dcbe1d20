//! The house stays as `docs/architecture.md` says: floors, sizes, names, pure rooms, examples that load.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_tests::program::{binary, repository};

/// Longest file, lines.
const LONGEST: usize = 600;
/// Rooms that could hold anything hold everything after a year.
const FORBIDDEN: [&str; 8] = ["util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"];
/// Only what is built here has been downloaded.
const HOST: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
/// The media server's rooms by floor, the upper first; rooms of one floor do not know each other.
const FLOORS: [&[&str]; 6] = [
    &["main"],
    &["lib", "daemon"],
    &["serve", "admin", "ingest", "transcode", "record", "restream"],
    &["live", "admission", "signalling"],
    &["config"],
    &["metrics", "web", "flight", "transport", "backoff"],
];

/// Files that are ours and tracked by git (those being written now included), by extension.
fn sources(extension: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository())
        .output()
        .expect("git");
    String::from_utf8(output.stdout)
        .expect("file names in UTF-8")
        .split('\0')
        .filter(|name| Path::new(name).extension().is_some_and(|found| found == extension))
        .map(|name| repository().join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).display().to_string()
}

/// The code without its comments, and without the tests at a file's end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first step of every `crate::…` path in some code, also in `use crate::{a, b::c}`.
fn own_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            let mut taken = false;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(std::mem::take(&mut name));
                        taken = false;
                    }
                    c if depth == 0 && !taken && (c.is_alphanumeric() || c == '_') => name.push(c),
                    c if depth == 0 && !c.is_whitespace() => taken = true,
                    _ => {}
                }
            }
            found.insert(name);
        } else {
            found.insert(after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found.remove("");
    found
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The room that a file of the media server belongs to: `src/serve/hls.rs` and `src/serve.rs` to `serve`.
fn room_of(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(repository().join("media-server/src")).ok()?;
    Some(inside.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned())
}

#[test]
fn grouped_imports_are_read() {
    let paths = own_paths("use crate::{live::{a, b}, config};\nuse crate::serve::x;\ncrate::admin::y()");
    assert_eq!(paths, ["admin", "config", "live", "serve"].map(String::from).into());
}

#[test]
fn rooms_import_downwards_only() {
    let mut wrong = Vec::new();
    for path in sources("rs") {
        let Some(room) = room_of(&path) else { continue };
        let Some(floor) = floor_of(&room) else { continue };
        for other in own_paths(&code(&path)) {
            if other != room && floor_of(&other).is_some_and(|below| below <= floor) {
                wrong.push(format!("{}: {room} imports {other}", relative(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the floors:\n{}", wrong.join("\n"));
}

#[test]
fn the_two_programs_share_no_code() {
    let manifests = sources("toml");
    let read = |name: &str| {
        let path = manifests.iter().find(|path| path.ends_with(name)).expect("a manifest");
        fs::read_to_string(path).expect("readable").parse::<toml::Table>().expect("TOML")
    };
    let dependencies = |name: &str| -> BTreeSet<String> {
        read(name)["dependencies"].as_table().expect("a table").keys().cloned().collect()
    };
    let control = dependencies("control-plane/Cargo.toml");
    for ours in ["media", "wire", "media-server", "weir-tests"] {
        assert!(!control.contains(ours), "control-plane depends on {ours}");
    }
    assert!(!dependencies("media-server/Cargo.toml").contains("control-plane"));
}

#[test]
fn pure_crates_have_no_runtime_no_clock_and_no_files() {
    let impure = [
        "std::time::Instant",
        "SystemTime",
        "Instant::now",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
    ];
    let mut wrong = Vec::new();
    for path in sources("rs").into_iter().filter(|path| {
        let name = relative(path);
        name.starts_with("media-server/media/src/") || name.starts_with("media-server/wire/src/")
    }) {
        let code = code(&path);
        wrong.extend(
            impure
                .iter()
                .filter(|call| code.contains(**call))
                .map(|call| format!("{}: {call}", relative(&path))),
        );
    }
    assert!(wrong.is_empty(), "pure rooms that are not:\n{}", wrong.join("\n"));

    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", HOST])
        .current_dir(repository())
        .output()
        .expect("cargo metadata");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    for pure in ["media", "wire"] {
        let reached = normal_dependencies(&metadata, pure);
        for banned in ["tokio", "hyper", "gstreamer", "mio", "async-std", "sqlx"] {
            assert!(!reached.contains(banned), "{pure} depends on {banned}");
        }
    }
}

/// Names of all packages that a workspace member is built from, dev-dependencies left out.
fn normal_dependencies(metadata: &serde_json::Value, name: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().expect("packages");
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let name_of = |id: &str| {
        packages
            .iter()
            .find(|package| package["id"] == id)
            .and_then(|package| package["name"].as_str())
            .unwrap_or("")
    };
    let members = metadata["workspace_members"].as_array().expect("members");
    let start = members.iter().filter_map(|id| id.as_str()).find(|id| name_of(id) == name).expect("a member");
    let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let Some(node) = nodes.iter().find(|node| node["id"] == id) else { continue };
        for dependency in node["deps"].as_array().into_iter().flatten() {
            let normal =
                dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null());
            if normal && let Some(id) = dependency["pkg"].as_str() {
                open.push(id);
            }
        }
    }
    seen.into_iter().map(|id| name_of(id).to_owned()).collect()
}

#[test]
fn no_file_is_longer_than_its_subject() {
    let mut long = Vec::new();
    for extension in ["rs", "ts", "svelte", "js", "css"] {
        for path in sources(extension) {
            let lines = fs::read_to_string(&path).expect("readable").lines().count();
            if lines > LONGEST {
                long.push(format!("{}: {lines} lines", relative(&path)));
            }
        }
    }
    assert!(long.is_empty(), "over {LONGEST} lines:\n{}", long.join("\n"));
}

#[test]
fn no_room_is_named_after_nothing() {
    let mut wrong = BTreeSet::new();
    for extension in ["rs", "ts", "svelte", "js", "sh", "toml"] {
        for path in sources(extension) {
            let inside = path.strip_prefix(repository()).expect("ours");
            let stems = inside.components().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
            for stem in stems {
                let stem = stem.split('.').next().unwrap_or_default().to_owned();
                if FORBIDDEN.contains(&stem.as_str()) {
                    wrong.insert(relative(&path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "names that say nothing: {wrong:?}");
}

#[test]
fn example_configurations_load() {
    for (program, files) in [
        ("media-server", &["media-server.toml", "minimal.toml"][..]),
        ("control-plane", &["control-plane.toml"][..]),
    ] {
        let scratch = tempfile::tempdir().expect("a folder");
        for name in files {
            let file = repository().join("conf").join(name);
            if *name == "minimal.toml" && !file.exists() {
                continue;
            }
            let output = Command::new(binary(program).expect("built"))
                .args(["check-config", "--config"])
                .arg(&file)
                .env("WEIR_DATA", scratch.path())
                .output()
                .expect("runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} refuses {}: {said}", file.display());
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let scratch = tempfile::tempdir().expect("a folder");
    let file = scratch.path().join("bad.toml");
    fs::write(&file, "[admission]\nmode = \"open\"\n\n[rtmp]\nlistn = \"127.0.0.1:0\"\n").expect("written");
    let output = Command::new(binary("media-server").expect("built"))
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .expect("runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(78), "{said}");
    for word in ["bad.toml", "5", "listn", "listen"] {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}
