//! Secrets at rest: the files that hold them, and the key ring made from the master file.

pub mod keyfile;
pub mod keyring;
