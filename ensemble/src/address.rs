//! Where a node listens: the text form of an address and its parts. Sockets are opened in `transport`.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest address, in bytes of its text form.
pub const MAX_ADDRESS_BYTES: usize = 300;

/// Longest path of a UNIX socket, in bytes: `sun_path` has 108 on Linux, one of them for the final NUL.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Where a node listens, or is reached.
///
/// ```
/// use ensemble::Address;
/// let address: Address = "tcp:127.0.0.1:7700".parse()?;
/// assert_eq!(address.to_string(), "tcp:127.0.0.1:7700");
/// assert!(address.is_loopback());
/// # Ok::<(), ensemble::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `unix:/path`: a socket in the file system, of one machine.
    Unix(PathBuf),
    /// `tcp:host:port`: plain TCP. Authenticated when a connection is made, but not encrypted.
    Tcp(HostPort),
    /// `tls:host:port`: TLS 1.3 over TCP, with certificates on both sides.
    Tls(HostPort),
    /// `mem:name`: inside one process, over a [`MemoryNetwork`](crate::MemoryNetwork).
    Memory(Arc<str>),
}

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Arc<str>,
    port: u16,
}

impl HostPort {
    /// The host, without the brackets that an IPv6 address has in the text form.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 asks the system for a free one when listening.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It does not start with a known scheme.
    #[error("the address must start with unix:, tcp: or tls:")]
    UnknownScheme,
    /// It is longer than the limit.
    #[error("the address has {bytes} bytes; the limit is {MAX_ADDRESS_BYTES}")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A `unix:` address whose path is not absolute.
    #[error("the socket's path must be absolute, as in unix:/run/ensemble/name.sock")]
    RelativePath,
    /// A `tcp:` or `tls:` address without host or port.
    #[error("the address needs a host and a port, as in tcp:127.0.0.1:7700")]
    NoHostPort,
    /// The port is no number from 0 to 65535.
    #[error("the port must be a number from 0 to 65535")]
    BadPort,
}

impl Address {
    /// An address from a socket address of the system.
    pub fn tcp(address: std::net::SocketAddr) -> Self {
        Self::Tcp(HostPort { host: address.ip().to_string().into(), port: address.port() })
    }

    /// The scheme: `unix`, `tcp`, `tls` or `mem`.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::Unix(_) => "unix",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Memory(_) => "mem",
        }
    }

    /// Whether what is sent there stays on this machine. A host name counts only when it is `localhost`.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Memory(_) => true,
            Self::Tcp(at) | Self::Tls(at) => {
                at.host() == "localhost" || at.host().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }

    /// Whether it stands for all addresses of a machine: good for listening, but nobody can connect to it.
    pub(crate) fn is_wildcard(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Memory(_) => false,
            Self::Tcp(at) | Self::Tls(at) => {
                at.host().parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified())
            }
        }
    }
}

fn parse_host_port(text: &str) -> Result<HostPort, AddressError> {
    let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoHostPort)?;
    let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner,
        None if host.contains(':') => return Err(AddressError::NoHostPort),
        None => host,
    };
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control() || "[]/".contains(c)) {
        return Err(AddressError::NoHostPort);
    }
    if !port.chars().all(|c| c.is_ascii_digit()) {
        return Err(AddressError::BadPort);
    }
    let port = port.parse().map_err(|_| AddressError::BadPort)?;
    Ok(HostPort { host: host.into(), port })
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_ADDRESS_BYTES {
            return Err(AddressError::TooLong { bytes: text.len() });
        }
        let (scheme, rest) = text.split_once(':').ok_or(AddressError::UnknownScheme)?;
        match scheme {
            "unix" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::Unix(rest.into())),
            "unix" => Err(AddressError::RelativePath),
            "tcp" => parse_host_port(rest).map(Self::Tcp),
            "tls" => parse_host_port(rest).map(Self::Tls),
            "mem" if !rest.is_empty() => Ok(Self::Memory(rest.into())),
            _ => Err(AddressError::UnknownScheme),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(at) => write!(f, "tcp:{at}"),
            Self::Tls(at) => write!(f, "tls:{at}"),
            Self::Memory(name) => write!(f, "mem:{name}"),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_parse() {
        for text in ["unix:/run/x.sock", "tcp:127.0.0.1:7700", "tcp:[::1]:0", "tls:db.example:443", "mem:a"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_addresses_say_why() {
        for (text, why) in [
            ("", AddressError::UnknownScheme),
            ("/run/x.sock", AddressError::UnknownScheme),
            ("udp:1.2.3.4:5", AddressError::UnknownScheme),
            ("unix:x.sock", AddressError::RelativePath),
            ("tcp:localhost", AddressError::NoHostPort),
            ("tcp::1", AddressError::NoHostPort),
            ("tcp:::1:80", AddressError::NoHostPort),
            ("tcp:h:65536", AddressError::BadPort),
            ("tcp:h:+1", AddressError::BadPort),
            ("tcp:h:", AddressError::BadPort),
        ] {
            assert_eq!(text.parse::<Address>(), Err(why), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_told_apart() {
        for (text, is) in [
            ("unix:/x", true),
            ("tcp:127.0.0.9:1", true),
            ("tcp:[::1]:1", true),
            ("tcp:localhost:1", true),
            ("tcp:0.0.0.0:1", false),
            ("tcp:10.0.0.1:1", false),
            ("tls:example:1", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_loopback(), is, "{text}");
        }
    }
}
