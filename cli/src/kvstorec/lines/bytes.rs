//! Bytes in an export: a member with text, or one named `.._base64`.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::members::{LineError, Members};

/// The bytes as text where that can be read and hardly becomes longer: UTF-8 without control characters other than tab
/// and the ends of lines.
pub(super) fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    let is_short = |byte: u8| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r');
    bytes.iter().all(|byte| is_short(*byte)).then_some(text)
}

/// Appends `"NAME":"TEXT"` or `"NAME_base64":"BASE64"`.
pub(super) fn push(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    match as_text(bytes) {
        Some(text) => {
            out.extend_from_slice(format!("\"{name}\":").as_bytes());
            serde_json::to_writer(out, text).expect("text can be written to memory");
        }
        None => {
            out.extend_from_slice(format!("\"{name}_base64\":\"").as_bytes());
            let begin = out.len();
            let length = base64::encoded_len(bytes.len(), true).expect("what is in memory is short enough");
            out.resize(begin + length, 0);
            let written = STANDARD.encode_slice(bytes, &mut out[begin..]);
            assert_eq!(written, Ok(length), "the length is that of base64");
            out.push(b'"');
        }
    }
}

/// Reads such a member.
pub(super) fn of(members: &Members<'_>, name: &str) -> Result<Option<Vec<u8>>, LineError> {
    let in_base64 = format!("{name}_base64");
    match (members.text(name)?, members.base64(&in_base64)?) {
        (Some(_), Some(_)) => {
            Err(members.wrong(&in_base64, format!("{name} and {in_base64} do not go together")))
        }
        (Some(Cow::Borrowed(text)), None) => Ok(Some(text.as_bytes().to_vec())),
        (Some(Cow::Owned(text)), None) => Ok(Some(text.into_bytes())),
        (None, bytes) => Ok(bytes),
    }
}
