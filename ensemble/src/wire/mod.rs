//! The bytes of an authenticated connection, as plain code: frames and their limits, the side that sends
//! ([`outbox`]) and the side that receives ([`assembly`]). No socket, no clock and no actor: time is an
//! argument, bytes go in and come out. `docs/PROTOCOL.md` describes what is pinned here by tests.

pub(crate) mod assembly;
#[cfg(feature = "benching")]
pub mod benching;
pub(crate) mod calls;
pub(crate) mod frame;
pub(crate) mod limits;
pub(crate) mod outbox;
pub(crate) mod payload;
pub(crate) mod status;
