//! Actix actors across processes and machines.

mod address;
pub mod codec;
mod cookie;
pub mod handshake;
mod home;
mod id;

pub use address::{Address, AddressError, HostPort, MAX_ADDRESS_BYTES, MAX_SOCKET_PATH_BYTES};
pub use cookie::{COOKIE_BYTES, Cookie, CookieError};
pub use home::{Home, HomeError};
pub use id::{
    ActorName, Incarnation, MAX_NAME_BYTES, MAX_SERVER_ID_BYTES, NameError, Reference, RoleName, ServerId,
};
