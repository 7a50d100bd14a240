//! Making the store's file as small as its data.

use actix::Message;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Asks the store to give the free room in its file back to the file system. Writes wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<CompactDone, StoreError>")]
pub struct Compact;

/// What a compaction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactDone {
    /// The length of the file before.
    pub before_bytes: u64,
    /// The length of the file now.
    pub after_bytes: u64,
}

impl RemoteMessage for Compact {
    const NAME: &'static str = "kvstore.compact";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        Compact.encode(&mut out).unwrap();
        assert!(out.is_empty());
        let done = Ok(CompactDone { before_bytes: 300, after_bytes: 2 });
        Compact::encode_result(&done, &mut out).unwrap();
        assert_eq!(out[..], [0, 251, 44, 1, 2]);
        assert_eq!(Compact::decode_result(&out.freeze()).unwrap(), done);
    }
}
