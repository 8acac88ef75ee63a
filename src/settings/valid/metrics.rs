//! Where metrics and health are told.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where somebody on this machine may ask; nobody on another one can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address; port 0 is one that the kernel chooses.
    Loopback(SocketAddr),
    /// A unix socket, below the alternate root like a target.
    Socket(PathBuf),
}
