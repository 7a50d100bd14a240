//! Storing a value part by part: one that is too long for a message, or whose length is not known yet.

use actix::Message;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use ensemble::{
    RemoteMessage,
    codec::{DecodeError, EncodeError},
};
use serde::{Deserialize, Serialize};

use super::{
    condition::Condition,
    error::StoreError,
    put::PutDone,
    wire::{malformed, tail},
};

/// Begins to store a value part by part. What is given is judged now, to save the way to a value that would be refused, and
/// again at the end. An upload to which nothing comes for five minutes is given up, and so are all when the server ends.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<UploadBegun, StoreError>")]
pub struct UploadBegin {
    /// 1 to 511 bytes.
    pub key: Bytes,
    /// What must hold.
    pub condition: Condition,
    /// The length of the value, where it is known.
    pub value_bytes: Option<u64>,
}

/// What is needed to go on with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadBegun {
    /// What to name it by. It is never given to another.
    pub upload: u64,
    /// How long each part but the last has to be, in bytes.
    pub part_bytes: u32,
}

/// Adds a part, which is on disk when this is answered. It may be sent twice: one that has come already is not written
/// again.
///
/// The payload is the upload (eight bytes), the number of the part (four bytes), and the part. Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<UploadPartDone, StoreError>")]
pub struct UploadPart {
    /// As [`UploadBegun`] has it.
    pub upload: u64,
    /// From 0, one after the other.
    pub number: u32,
    /// At least one byte.
    pub bytes: Bytes,
}

/// A part is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadPartDone {
    /// The length of the part as it is stored: after compression.
    pub stored_bytes: u64,
}

/// Puts what has come under the key, as [`PutWith`](super::PutWith) does with a value. Done or refused, the upload has ended
/// then, unless the answer is [`StoreError::UploadDiffers`] or [`StoreError::Overloaded`].
#[derive(Debug, Clone, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<PutDone, StoreError>")]
pub struct UploadFinish {
    /// As [`UploadBegun`] has it.
    pub upload: u64,
    /// 1 to 511 bytes.
    pub key: Bytes,
    /// What must hold.
    pub condition: Condition,
    /// How long the key is there, in milliseconds from when the store has the message; for ever without.
    pub ttl_ms: Option<u64>,
    /// The length of the value.
    pub value_bytes: u64,
    /// The CRC-32 (IEEE) of the value.
    pub checksum: u32,
}

/// Gives an upload up. That there is none is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message, Serialize, Deserialize)]
#[rtype(result = "Result<(), StoreError>")]
pub struct UploadAbort {
    /// As [`UploadBegun`] has it.
    pub upload: u64,
}

const BYTES_AT: usize = size_of::<u64>() + size_of::<u32>();

impl RemoteMessage for UploadBegin {
    const NAME: &'static str = "kvstore.upload-begin";
}

impl RemoteMessage for UploadPart {
    const NAME: &'static str = "kvstore.upload-part";

    fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u64_le(self.upload);
        out.put_u32_le(self.number);
        Ok(())
    }

    fn tail(&self) -> Bytes {
        self.bytes.clone()
    }

    fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let (mut fixed, _) = bytes.split_at_checked(BYTES_AT).ok_or_else(malformed)?;
        let (upload, number) = (fixed.get_u64_le(), fixed.get_u32_le());
        Ok(Self { upload, number, bytes: tail(bytes, BYTES_AT) })
    }
}

impl RemoteMessage for UploadFinish {
    const NAME: &'static str = "kvstore.upload-finish";
}

impl RemoteMessage for UploadAbort {
    const NAME: &'static str = "kvstore.upload-abort";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of<M: RemoteMessage>(message: &M) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out).unwrap();
        out.extend_from_slice(&message.tail());
        out.freeze()
    }

    fn result_bytes<M: RemoteMessage>(result: &M::Result) -> Bytes {
        let mut out = BytesMut::new();
        M::encode_result(result, &mut out).unwrap();
        out.freeze()
    }

    #[test]
    fn golden_bytes() {
        let begin =
            UploadBegin { key: "key".into(), condition: Condition::Revision(7), value_bytes: Some(300) };
        assert_eq!(bytes_of(&begin)[..], [3, b'k', b'e', b'y', 2, 7, 1, 251, 44, 1]);
        assert_eq!(UploadBegin::decode(&bytes_of(&begin)).unwrap(), begin);
        let begun = Ok(UploadBegun { upload: 5, part_bytes: 1 << 20 });
        assert_eq!(result_bytes::<UploadBegin>(&begun)[..], [0, 5, 252, 0, 0, 16, 0]);

        let part = UploadPart { upload: 0x0102_0304_0506_0708, number: 9, bytes: "part".into() };
        assert_eq!(bytes_of(&part)[..], *b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0part");
        assert_eq!(UploadPart::decode(&bytes_of(&part)).unwrap(), part);
        let done = Ok(UploadPartDone { stored_bytes: 300 });
        assert_eq!(result_bytes::<UploadPart>(&done)[..], [0, 251, 44, 1]);

        let finish = UploadFinish {
            upload: 5,
            key: "k".into(),
            condition: Condition::Absent,
            ttl_ms: Some(6),
            value_bytes: 7,
            checksum: 8,
        };
        assert_eq!(bytes_of(&finish)[..], [5, 1, b'k', 1, 1, 6, 7, 8]);
        assert_eq!(UploadFinish::decode(&bytes_of(&finish)).unwrap(), finish);
        let done = Ok(PutDone { stored_bytes: 300, revision: 7 });
        assert_eq!(result_bytes::<UploadFinish>(&done)[..], [0, 251, 44, 1, 7]);

        let abort = UploadAbort { upload: 5 };
        assert_eq!(bytes_of(&abort)[..], [5]);
        assert_eq!(UploadAbort::decode(&bytes_of(&abort)).unwrap(), abort);
        assert_eq!(result_bytes::<UploadAbort>(&Ok(()))[..], [0]);
    }

    #[test]
    fn a_large_part_is_a_slice_of_what_came_in() {
        let bytes = bytes_of(&UploadPart { upload: 1, number: 2, bytes: vec![7; 1 << 20].into() });
        let part = UploadPart::decode(&bytes).unwrap();
        assert_eq!(part.bytes.as_ptr(), bytes[BYTES_AT..].as_ptr());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let bytes = Bytes::from(bytes);
            match UploadPart::decode(&bytes) {
                Ok(part) => prop_assert_eq!(bytes_of(&part), bytes),
                Err(_) => prop_assert!(bytes.len() < BYTES_AT),
            }
        }
    }
}
