//! Checking every record, in parts.

use actix::Message;
use bytes::Bytes;
use ensemble::RemoteMessage;
use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Asks the store to check some of its records, from the one behind a key on.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<VerifiedPart, StoreError>")]
pub struct Verify {
    /// The key behind which to begin; empty for the beginning.
    pub after: Bytes,
}

/// What was found in some of the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedPart {
    /// How many records were checked.
    pub records: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The keys whose records are not what was written.
    pub damaged: Vec<DamagedKey>,
    /// What to go on behind; none when there are no more.
    pub next: Option<Bytes>,
}

/// A key whose record is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedKey {
    /// The key.
    pub key: Bytes,
    /// What is wrong with its record, for people.
    pub why: String,
}

impl RemoteMessage for Verify {
    const NAME: &'static str = "kvstore.verify";
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = BytesMut::new();
        let verify = Verify { after: "a".into() };
        verify.encode(&mut out).unwrap();
        assert_eq!(out[..], *b"\x01a");
        assert_eq!(Verify::decode(&out.freeze()).unwrap(), verify);
        let damaged = vec![DamagedKey { key: "k".into(), why: "no".into() }];
        let part = Ok(VerifiedPart { records: 2, bytes: 300, damaged, next: Some("l".into()) });
        let mut out = BytesMut::new();
        Verify::encode_result(&part, &mut out).unwrap();
        assert_eq!(out[..], *b"\0\x02\xfb\x2c\x01\x01\x01k\x02no\x01\x01l");
        assert_eq!(Verify::decode_result(&out.freeze()).unwrap(), part);
        for bytes in [&[][..], &[0, 0, 0, 200, 0], &[0, 0, 0, 0, 0, 0]] {
            assert!(Verify::decode_result(&bytes.into()).is_err(), "{bytes:?}");
        }
    }
}
