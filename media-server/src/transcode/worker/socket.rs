//! The worker's end of the socket pair, which it finds as its stdin.

use std::{
    io::{self, BufReader, IoSlice, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crate::transcode::protocol::{self, Encoded, FromWorker, ToWorker};

use super::Failure;

/// Messages from the daemon.
pub(super) struct Inlet(BufReader<UnixStream>);

/// Messages to the daemon, from any thread.
pub(super) struct Outlet {
    socket: Mutex<UnixStream>,
    broken: AtomicBool,
}

/// Both directions; `None` where stdin is no socket.
pub(super) fn from_stdin() -> Option<(Inlet, Outlet)> {
    let read = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    read.peer_addr().ok()?;
    let write = read.try_clone().ok()?;
    let outlet = Outlet { socket: Mutex::new(write), broken: AtomicBool::new(false) };
    Some((Inlet(BufReader::with_capacity(64 << 10, read)), outlet))
}

impl Inlet {
    /// The next message; `None` at the end. Waits.
    pub(super) fn next(&mut self) -> Result<Option<ToWorker>, Failure> {
        let mut head = [0; protocol::HEAD];
        match self.0.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (kind, length) = protocol::head(head)?;
        let mut body = Vec::with_capacity(length);
        if (&mut self.0).take(length as u64).read_to_end(&mut body)? < length {
            return Ok(None);
        }
        Ok(Some(ToWorker::decode(kind, body.into())?))
    }
}

impl Outlet {
    /// Writes one message. Waits while the daemon does not read.
    pub(super) fn send(&self, message: &FromWorker) -> io::Result<()> {
        let Encoded { head, payload } = message.encode();
        self.write(&head, &payload)
    }

    /// The daemon has gone.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    fn write(&self, head: &[u8], payload: &[u8]) -> io::Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let written = write_all(&mut socket, head, payload);
        if written.is_err() {
            self.broken.store(true, Relaxed);
        }
        written
    }
}

fn write_all(socket: &mut UnixStream, head: &[u8], payload: &[u8]) -> io::Result<()> {
    let mut slices = [IoSlice::new(head), IoSlice::new(payload)];
    let mut rest = &mut slices[..];
    while rest.iter().any(|slice| !slice.is_empty()) {
        match socket.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
impl Outlet {
    /// One that writes to this socket.
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket: Mutex::new(socket), broken: AtomicBool::new(false) }
    }
}

/// The daemon's end.
#[cfg(test)]
pub(super) struct TestInlet(UnixStream);

#[cfg(test)]
impl TestInlet {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    pub(super) fn next(&mut self) -> Option<FromWorker> {
        let mut head = [0; protocol::HEAD];
        self.0.read_exact(&mut head).ok()?;
        let (kind, length) = protocol::head(head).ok()?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        FromWorker::decode(kind, body.into()).ok()
    }
}
