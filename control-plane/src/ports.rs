//! `control-plane.ports.json` in the data folder: where this run can be reached, for scripts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::secrets::keyfile;

const NAME: &str = "control-plane.ports.json";

/// An address to connect to, for a listener on this one: "any" is reached through loopback.
pub fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// Writes it for this run.
pub fn write(data_dir: &Path, bound: SocketAddr) -> io::Result<()> {
    let text = serde_json::json!({ "http": reachable(bound).to_string() }).to_string();
    keyfile::replace(&data_dir.join(NAME), &text)
}

/// What a program's last run wrote under `name`; nothing where it did not run.
pub fn read(data_dir: &Path, program: &str, name: &str) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(data_dir.join(format!("{program}.ports.json"))).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?.get(name)?.as_str()?.parse().ok()
}
