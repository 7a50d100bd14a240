//! The parts that messages are made of: fixed-size little-endian numbers, and texts behind one byte of length. What
//! the messages are is said in `message`.

use super::{MAX_HANDSHAKE_BYTES, MalformedError, MessageKind, PeerLimits, identity::Agent};
use crate::{Incarnation, ServerId};

#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn of(kind: MessageKind) -> Self {
        Self(vec![kind.byte()])
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let length =
            u8::try_from(text.len()).expect("ids and agents are checked to be shorter than 256 bytes");
        self.bytes(&[length]).bytes(text.as_bytes())
    }

    pub(super) fn limits(&mut self, limits: &PeerLimits) -> &mut Self {
        self.u32(limits.max_frame_bytes).u64(limits.max_message_bytes).u32(limits.max_in_flight)
    }

    pub(super) fn done(self) -> Vec<u8> {
        self.0
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the kind that every message starts with; what is left is its content.
    pub(super) fn of(message: &'a [u8]) -> Result<(MessageKind, Self), MalformedError> {
        if message.len() > MAX_HANDSHAKE_BYTES {
            return Err(MalformedError::TooLong { bytes: message.len() });
        }
        let (&kind, content) = message.split_first().ok_or(MalformedError::Truncated)?;
        Ok((MessageKind::from_byte(kind).ok_or(MalformedError::UnknownKind { kind })?, Self(content)))
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], MalformedError> {
        let (slice, rest) = self.0.split_at_checked(length).ok_or(MalformedError::Truncated)?;
        self.0 = rest;
        Ok(slice)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], MalformedError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(MalformedError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn u16(&mut self) -> Result<u16, MalformedError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, MalformedError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, MalformedError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, MalformedError> {
        let [length] = self.array()?;
        str::from_utf8(self.slice(length.into())?).map_err(|_| MalformedError::NotText)
    }

    pub(super) fn server_id(&mut self) -> Result<ServerId, MalformedError> {
        ServerId::new(self.text()?).map_err(MalformedError::BadServerId)
    }

    /// A server id, or an empty text for none.
    pub(super) fn optional_server_id(&mut self) -> Result<Option<ServerId>, MalformedError> {
        match self.text()? {
            "" => Ok(None),
            text => ServerId::new(text).map(Some).map_err(MalformedError::BadServerId),
        }
    }

    pub(super) fn incarnation(&mut self) -> Result<Incarnation, MalformedError> {
        self.array().map(Incarnation::from_bytes)
    }

    pub(super) fn limits(&mut self) -> Result<PeerLimits, MalformedError> {
        let limits = PeerLimits {
            max_frame_bytes: self.u32()?,
            max_message_bytes: self.u64()?,
            max_in_flight: self.u32()?,
        };
        limits.check().map_err(MalformedError::BadLimits)?;
        Ok(limits)
    }

    pub(super) fn agent(&mut self) -> Result<Agent, MalformedError> {
        Agent::new(self.text()?).map_err(MalformedError::BadAgent)
    }

    pub(super) fn end(self) -> Result<(), MalformedError> {
        match self.0.len() {
            0 => Ok(()),
            extra => Err(MalformedError::TrailingBytes { extra }),
        }
    }
}
