//! Actix actors across processes and machines.

mod address;
pub mod codec;
mod id;

pub use address::{Address, AddressError, HostPort, MAX_ADDRESS_BYTES, MAX_SOCKET_PATH_BYTES};
pub use id::{
    ActorName, Incarnation, MAX_NAME_BYTES, MAX_SERVER_ID_BYTES, NameError, Reference, RoleName, ServerId,
};
