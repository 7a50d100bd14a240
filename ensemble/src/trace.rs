//! The trace that a call belongs to, as W3C Trace Context (level 1) describes it. Nothing is recorded here: a program, or
//! what it traces with, makes the contexts and reads them.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::wire::frame::Trace;

/// Which trace a call belongs to, and the span in it that the call comes from.
///
/// ```
/// use ensemble::TraceContext;
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context: TraceContext = text.parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), text);
/// # Ok::<(), ensemble::TraceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

/// Why something is no trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Not of the form `00-` 32 digits `-` 16 digits `-` 2 digits, hexadecimal and lower-case.
    #[error(
        "a traceparent has four parts of 2, 32, 16 and 2 lower-case hexadecimal digits, joined by hyphens"
    )]
    Form,
    /// The version is `ff`, which is none.
    #[error("the version of the traceparent is not valid")]
    Version,
    /// The trace id or the parent id is zero, which is none.
    #[error("the trace id or the parent id is zero")]
    Zero,
}

/// The flag that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;

/// Length of the text in version 0, in bytes. Later versions may be longer.
const TEXT_BYTES: usize = 55;

impl TraceContext {
    /// A context from its parts.
    ///
    /// # Errors
    /// When one of the ids is zero.
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8) -> Result<Self, TraceError> {
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return Err(TraceError::Zero);
        }
        Ok(Self { trace_id, parent_id, flags })
    }

    /// The id of the whole trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span that the call comes from.
    pub fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// The flags, of which the lowest says that the trace is sampled.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the caller may have recorded the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same trace, from another span: what a called actor sends on with.
    ///
    /// # Errors
    /// When the id is zero.
    pub fn with_parent(self, parent_id: [u8; 8]) -> Result<Self, TraceError> {
        Self::new(self.trace_id, parent_id, self.flags)
    }

    pub(crate) fn to_wire(self) -> Trace {
        Trace { trace_id: self.trace_id, span_id: self.parent_id, flags: self.flags }
    }

    /// What a peer has sent; `None` when it is no context, which harms nobody.
    pub(crate) fn from_wire(trace: Trace) -> Option<Self> {
        Self::new(trace.trace_id, trace.span_id, trace.flags).ok()
    }

    /// The trace id in hexadecimal, for logs.
    pub(crate) fn shown_id(&self) -> impl fmt::Display + use<> {
        Hexadecimal(self.trace_id)
    }
}

struct Hexadecimal<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> fmt::Display for Hexadecimal<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// As the header `traceparent` has it.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace_id, parent_id) = (Hexadecimal(self.trace_id), Hexadecimal(self.parent_id));
        write!(f, "00-{trace_id}-{parent_id}-{:02x}", self.flags)
    }
}

fn hexadecimal<const BYTES: usize>(text: &str) -> Result<[u8; BYTES], TraceError> {
    let mut bytes = [0; BYTES];
    if text.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return Err(TraceError::Form);
    }
    hex::decode_to_slice(text, &mut bytes).map_err(|_| TraceError::Form)?;
    Ok(bytes)
}

/// Reads a `traceparent`. Of a version later than 0, the parts that this one knows are read.
impl FromStr for TraceContext {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        let mut parts = text.splitn(5, '-');
        let mut part = || parts.next().ok_or(TraceError::Form);
        let [version] = hexadecimal(part()?)?;
        let trace_id = hexadecimal(part()?)?;
        let parent_id = hexadecimal(part()?)?;
        let [flags] = hexadecimal(part()?)?;
        match version {
            0xff => Err(TraceError::Version),
            0 if text.len() != TEXT_BYTES => Err(TraceError::Form),
            0 => Self::new(trace_id, parent_id, flags),
            _ => Self::new(trace_id, parent_id, flags & SAMPLED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(text: &str) -> Result<TraceContext, TraceError> {
        text.parse()
    }

    #[test]
    fn a_context_prints_as_it_parses() {
        let context = parse(TEXT).unwrap();
        assert_eq!(context.trace_id()[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(context.parent_id()[6..], [0x33, 0x31]);
        assert_eq!((context.flags(), context.is_sampled(), context.to_string().as_str()), (1, true, TEXT));
        assert_eq!(context.shown_id().to_string(), TEXT[3..35]);
        let other = context.with_parent([0xab; 8]).unwrap();
        assert_eq!(other.to_string(), TEXT.replace("b7ad6b7169203331", "abababababababab"));
        assert!(!parse(&TEXT.replace("-01", "-fe")).unwrap().is_sampled());
        assert_eq!(TraceContext::from_wire(context.to_wire()), Some(context));
    }

    #[test]
    fn what_is_no_context_is_refused() {
        for (text, why) in [
            ("", TraceError::Form),
            (&TEXT[..54], TraceError::Form),
            (&TEXT[..52], TraceError::Form),
            (&format!("{TEXT}-"), TraceError::Form),
            (&format!("{TEXT}0"), TraceError::Form),
            (&TEXT.replace("af", "AF"), TraceError::Form),
            (&TEXT.replace("af", "ag"), TraceError::Form),
            (&TEXT.replace("af", "é"), TraceError::Form),
            (&TEXT.replace("00-", "0-0"), TraceError::Form),
            (&TEXT.replace("00-", "ff-"), TraceError::Version),
            (&TEXT.replace("b7ad6b7169203331", &"0".repeat(16)), TraceError::Zero),
            (&TEXT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), TraceError::Zero),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
        let zero = Trace { trace_id: [0; 16], span_id: [1; 8], flags: 0 };
        assert_eq!(TraceContext::from_wire(zero), None);
        assert_eq!(parse(TEXT).unwrap().with_parent([0; 8]), Err(TraceError::Zero));
    }

    #[test]
    fn of_a_later_version_the_known_part_is_read() {
        let later = TEXT.replace("00-", "cc-").replace("-01", "-ff");
        for text in [later.clone(), format!("{later}-what-the-future-will-be-like")] {
            let context = parse(&text).unwrap();
            assert_eq!(context.to_string(), TEXT);
        }
        assert_eq!(parse(&format!("{later}.")), Err(TraceError::Form));
    }
}
