//! What a worker may not do, whatever a damaged stream makes of its decoder: no network, no files to write, no
//! other programs or processes, bounded memory. Best effort: a kernel that knows less confines less, and the stream
//! still runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Memory that a worker may write to: decoder, scaler and encoders of a 4K ladder stay below half of it.
const MEMORY: u64 = 4 << 30;
/// The same where a driver maps a device's memory.
const MEMORY_WITH_DEVICES: u64 = 64 << 30;
/// Open files: the socket, stderr, and GStreamer's wake-up pipes.
const FILES: u64 = 256;
/// Longest file: orc keeps its compiled code in one of 64 KiB that has no name, and nothing else is written.
const FILE: u64 = 16 << 20;

/// All that libraries, plugins and their look at the processor need. The data folder with its keys is not here.
const READABLE: [&str; 8] = ["/usr", "/lib", "/lib64", "/opt", "/etc", "/proc", "/sys", "/dev"];

/// System calls that a decoder has no use for: network, programs, other processes, names in the file system.
const REFUSED: [libc::c_long; 29] = [
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_pidfd_open,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
];

/// Older names of the same, which exist on this processor only.
#[cfg(target_arch = "x86_64")]
const REFUSED_TOO: [libc::c_long; 13] = [
    libc::SYS_creat,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_mknod,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_TOO: [libc::c_long; 0] = [];

/// Confines this process. Before any other thread exists: threads inherit it. `devices`: it encodes on one, whose driver
/// opens it for writing and reserves memory for all of the device's.
pub(super) fn apply(devices: bool) {
    for (resource, most) in [
        (Resource::Data, if devices { MEMORY_WITH_DEVICES } else { MEMORY }),
        (Resource::Nofile, FILES),
        // No core dumps, which would hold the picture.
        (Resource::Fsize, FILE),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        // Refused only where a lower limit already holds.
        setrlimit(resource, limit).ok();
    }
    confine_thread(devices);
}

/// What holds for this thread and those that it begins.
fn confine_thread(devices: bool) {
    // Landlock first: the filter below does not let it through everywhere.
    read_only(devices).ok();
    for filter in [filter(devices), devices.then(nothing_there).flatten()].into_iter().flatten() {
        seccompiler::apply_filter(&filter).ok();
    }
}

/// Nodes of devices that encode begin with these.
const DEVICES: [&str; 3] = ["nvidia", "video", "dri"];

/// Such nodes.
fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        DEVICES.iter().any(|begins| name.to_string_lossy().starts_with(begins))
    });
    named.map(|entry| entry.path()).collect()
}

/// Where CUDA's driver gives its threads their names; where it cannot, it does not begin. This process's own alone.
const OWN_THREADS: &str = "/proc/self/task";

/// Files: reads where libraries lie, writes nowhere but to devices.
fn read_only(devices: bool) -> Result<(), landlock::RulesetError> {
    let known = ABI::V5;
    let nodes = if devices { nodes() } else { Vec::new() };
    let names = path_beneath_rules(devices.then_some(OWN_THREADS), AccessFs::WriteFile | AccessFs::Truncate);
    let operators = std::env::var_os(super::PLUGIN_DIRS).unwrap_or_default();
    Ruleset::default()
        .handle_access(AccessFs::from_all(known))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(known)))?
        .add_rules(path_beneath_rules(std::env::split_paths(&operators), AccessFs::from_read(known)))?
        .add_rules(path_beneath_rules(nodes, AccessFs::from_all(known)))?
        .add_rules(names)?
        .restrict_self()?;
    Ok(())
}

/// What is refused of [`REFUSED`] in part only where CUDA's driver is to begin. It gives itself a local address without a name
/// in the file system, by which other programs could ask for the device's memory. None can: nobody is accepted.
const OF_CUDA: [libc::c_long; 2] = [libc::SYS_bind, libc::SYS_listen];
/// The driver removes a file that is not there first, and does not begin where it is told anything else of that.
#[cfg(target_arch = "x86_64")]
const REMOVES: [libc::c_long; 2] = [libc::SYS_unlink, libc::SYS_unlinkat];
#[cfg(not(target_arch = "x86_64"))]
const REMOVES: [libc::c_long; 1] = [libc::SYS_unlinkat];

/// The system call filter, where this processor has one. It does not see what is opened: where devices may be, it is
/// Landlock alone that keeps files from being written.
fn filter(devices: bool) -> Option<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(&REFUSED_TOO).map(|&call| (call, Vec::new())).collect();
    if devices {
        rules.retain(|call, _| !OF_CUDA.contains(call) && !REMOVES.contains(call));
        rules.insert(libc::SYS_socket, not_local());
    } else {
        rules.insert(libc::SYS_openat, writing(2));
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, writing(1));
    }
    program(rules, libc::EPERM)
}

/// Whatever is removed is not there.
fn nothing_there() -> Option<BpfProgram> {
    program(REMOVES.iter().map(|&call| (call, Vec::new())).collect(), libc::ENOENT)
}

/// Answers calls that match with that error.
fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, error: libc::c_int) -> Option<BpfProgram> {
    let refuse = SeccompAction::Errno(error.cast_unsigned());
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into().ok()?);
    filter.ok()?.try_into().ok()
}

/// Matches every kind of socket but those of this machine alone.
fn not_local() -> Vec<SeccompRule> {
    let other =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64).ok();
    other.and_then(|other| SeccompRule::new(vec![other]).ok()).into_iter().collect()
}

/// Matches O_WRONLY and O_RDWR in the flags, which are this argument.
fn writing(flags: u8) -> Vec<SeccompRule> {
    let rule = |mode: libc::c_int| {
        let mask = SeccompCmpOp::MaskedEq(libc::O_ACCMODE as u64);
        let condition = SeccompCondition::new(flags, SeccompCmpArgLen::Dword, mask, mode as u64).ok()?;
        SeccompRule::new(vec![condition]).ok()
    };
    [libc::O_WRONLY, libc::O_RDWR].into_iter().filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_confined_has_no_network_writes_nothing_and_starts_nothing() {
        use std::io::ErrorKind::PermissionDenied;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("key");
        std::fs::write(&secret, "the daemon's").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let path = secret.clone();
        let refused = std::thread::spawn(move || {
            confine_thread(false);
            [
                std::net::TcpStream::connect(address).map(drop),
                std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
                std::os::unix::net::UnixListener::bind(path.with_extension("socket")).map(drop),
                std::fs::write(path.with_extension("new"), "x"),
                std::fs::OpenOptions::new().append(true).open(&path).map(drop),
                std::fs::remove_file(&path),
                std::fs::rename(&path, path.with_extension("old")),
                std::fs::create_dir(path.with_extension("folder")),
                std::process::Command::new("true").status().map(drop),
            ]
            .map(|done| done.err().map(|error| error.kind()))
        })
        .join()
        .unwrap();
        assert_eq!(refused, [Some(PermissionDenied); 9]);
        assert!(std::fs::read_to_string(&secret).is_ok(), "only that thread is confined");
    }

    /// Seen of CUDA 13's driver (docs/gpu.md).
    #[test]
    fn cudas_driver_can_begin_and_still_nothing_leaves_and_nothing_is_removed() {
        use std::io::ErrorKind::{NotFound, PermissionDenied};
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
        let folder = tempfile::tempdir().unwrap();
        let (kept, socket) = (folder.path().join("key"), folder.path().join("socket"));
        std::fs::write(&kept, "the daemon's").unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _local = UnixListener::bind(&socket).unwrap();
        let own = SocketAddr::from_abstract_name(format!("weir-test-{}", std::process::id())).unwrap();
        let path = kept.clone();
        let (named, own, refused, removed) = std::thread::spawn(move || {
            confine_thread(true);
            (
                std::fs::write("/proc/thread-self/comm", "named").is_ok(),
                UnixListener::bind_addr(&own).is_ok(),
                [
                    std::net::TcpStream::connect(address).map(drop),
                    std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
                    UnixStream::connect(socket).map(drop),
                    std::process::Command::new("true").status().map(drop),
                ]
                .map(|done| done.err().map(|error| error.kind())),
                [std::fs::remove_file(path), std::fs::remove_file("")]
                    .map(|done| done.err().map(|error| error.kind())),
            )
        })
        .join()
        .unwrap();
        assert!(named && own);
        assert_eq!(refused, [Some(PermissionDenied); 4]);
        assert_eq!(removed, [Some(NotFound); 2]);
        assert!(std::fs::read_to_string(&kept).is_ok());
    }

    #[test]
    fn the_filter_compiles_for_this_processor() {
        assert!(filter(false).is_some() && filter(true).is_some() && nothing_there().is_some());
    }
}
