//! What the program promises on the command line, asked of the real binary.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn program(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_control-plane"));
    command.args(arguments).env("WEIR_DATA", data).env_remove("RUST_LOG").current_dir(data);
    command
}

fn output(data: &Path, arguments: &[&str]) -> Output {
    program(data, arguments).output().unwrap()
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = output(data, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn bad_usage_is_2_and_a_bad_configuration_is_78_with_its_place() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(output(data.path(), &["fly"]).status.code(), Some(2));
    assert_eq!(output(data.path(), &["run", "--config", "missing.toml"]).status.code(), Some(78));
    std::fs::write(data.path().join("bad.toml"), "[http]\n\nmax_conections = 1\n").unwrap();
    let refused = output(data.path(), &["run", "--config", "bad.toml"]);
    assert_eq!(refused.status.code(), Some(78));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "error: bad.toml:3: `http.max_conections`: unknown key; did you mean `http.max_connections`?\n"
    );
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 1, "nothing was touched");
}

#[test]
fn the_demo_is_made_once_and_a_second_run_keeps_it() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("demo.json");
    let init =
        || assert!(output(data.path(), &["admin", "init-demo", "--out", "demo.json"]).status.success());
    init();
    let first = std::fs::read_to_string(&file).unwrap();
    let demo: Value = serde_json::from_str(&first).unwrap();
    let key = demo["key"].as_str().unwrap();
    assert_eq!(demo["rtmp"], format!("rtmp://127.0.0.1/live/{key}"));
    assert_eq!(demo["watch"], "http://127.0.0.1:8000/watch/demo");
    for name in ["channel", "stream", "srt", "whip", "hls", "whep", "api"] {
        assert!(demo[name].is_string(), "{name}");
    }
    init();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    for secret in ["demo.json", "keys.master", "webhook.secret", "control-plane.db"] {
        assert_eq!(mode(&data.path().join(secret)), 0o600, "{secret}");
    }
    // A rotation is followed; a file that was lost comes back with the same key.
    let rotated = json(data.path(), &["admin", "rotate-key", "demo", "--json"]);
    assert_ne!(rotated["key"], demo["key"]);
    assert_eq!(rotated["sessionDropped"], false);
    std::fs::remove_file(&file).unwrap();
    init();
    let again: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(again["key"], rotated["key"]);
    assert_eq!(json(data.path(), &["admin", "show-key", "demo", "--json"])["key"], rotated["key"]);
}

#[test]
fn an_account_is_made_whole_and_its_password_may_come_by_standard_input() {
    let data = tempfile::tempdir().unwrap();
    let create = ["admin", "create-user", "--username", "Ada", "--email", "ada@example.org", "--json"];
    let made = json(data.path(), &create);
    assert_eq!((&made["username"], &made["channel"]), (&"ada".into(), &"ada".into()));
    assert!(
        made["user"].as_str().unwrap().starts_with("usr_")
            && made["channelId"].as_str().unwrap().starts_with("chn_")
    );
    assert_eq!(made["password"].as_str().unwrap().len(), 24);
    let again = ["admin", "create-user", "--username", "ada", "--email", "other@example.org"];
    let taken = output(data.path(), &again);
    assert_eq!(taken.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&taken.stderr), "error: `username` is taken\n");
    let mut with_stdin =
        vec!["admin", "create-user", "--username", "bob", "--email", "b@example.org", "--password-stdin"];
    with_stdin.push("--json");
    let mut child =
        program(data.path(), &with_stdin).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let said: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said["password"], Value::Null, "what was given is not repeated");
    let listed = output(data.path(), &["admin", "list-channels"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().map(|l| l.split_whitespace().next().unwrap()).eq(["ada", "bob"]), "{listed}");
}

/// Ends the program where the test fails in between.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_server_says_where_it_is_and_ends_cleanly_at_sigterm() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("cp.toml"), "listen = \"127.0.0.1:0\"\n[log]\njson = true\n").unwrap();
    let mut command = program(data.path(), &["run", "--config", "cp.toml"]);
    let mut server = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let listening = log.by_ref().map(Result::unwrap).find(|line| line.contains("listening")).unwrap();
    let listening: Value = serde_json::from_str(&listening).unwrap();
    let ports = std::fs::read_to_string(data.path().join("control-plane.ports.json")).unwrap();
    let ports: Value = serde_json::from_str(&ports).unwrap();
    assert_eq!(ports["http"], listening["address"]);
    // Beside the running server the command line works on the same data.
    json(data.path(), &["admin", "create-user", "--username", "ada", "--email", "a@b.c", "--json"]);
    // A second server on the same port says so.
    std::fs::write(data.path().join("taken.toml"), format!("listen = {}", ports["http"])).unwrap();
    let taken = output(data.path(), &["run", "--config", "taken.toml"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("cannot listen on 127.0.0.1:"));
    assert!(Command::new("kill").args(["-TERM", &server.0.id().to_string()]).status().unwrap().success());
    assert!(server.0.wait().unwrap().success());
    assert!(log.any(|line| line.unwrap().contains("every open request was answered")));
}

#[test]
fn an_unwritable_data_folder_is_said() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("file"), "").unwrap();
    let refused = output(data.path(), &["migrate", "--data", "file/inside"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("file/inside: cannot create the data folder"), "{text}");
}
