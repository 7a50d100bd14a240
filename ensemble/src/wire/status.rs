//! How a call ended at the receiver, as the number that a reply carries. The numbers are part of the protocol.

use crate::error::{Failure, Refusal};

/// The outcome that a reply reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The payload is the result.
    Done,
    /// Not executed.
    Refused(Refusal),
    /// It reached the actor, and went wrong there.
    Failed(Failure),
}

impl Status {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Done => 0,
            Self::Refused(refusal) => match refusal {
                Refusal::NoSuchActor => 1,
                Refusal::UnknownMessage => 2,
                Refusal::NotAuthorized => 3,
                Refusal::Overloaded => 4,
                Refusal::Malformed => 5,
                Refusal::ShuttingDown => 6,
                Refusal::Restarting => 7,
                Refusal::Other(code) => code,
            },
            Self::Failed(failure) => match failure {
                Failure::Died => 32,
                Failure::Cancelled => 33,
                Failure::ReplyTooLarge => 34,
                Failure::ReplyNotEncodable => 35,
                Failure::ReplyMalformed => 36,
                Failure::Other(code) => code,
            },
        }
    }

    /// Codes from 1 to 31 are refusals and all others failures, so that a newer peer's are sorted rightly too.
    pub(crate) fn from_code(code: u16) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Refused(Refusal::NoSuchActor),
            2 => Self::Refused(Refusal::UnknownMessage),
            3 => Self::Refused(Refusal::NotAuthorized),
            4 => Self::Refused(Refusal::Overloaded),
            5 => Self::Refused(Refusal::Malformed),
            6 => Self::Refused(Refusal::ShuttingDown),
            7 => Self::Refused(Refusal::Restarting),
            8..=31 => Self::Refused(Refusal::Other(code)),
            32 => Self::Failed(Failure::Died),
            33 => Self::Failed(Failure::Cancelled),
            34 => Self::Failed(Failure::ReplyTooLarge),
            35 => Self::Failed(Failure::ReplyNotEncodable),
            36 => Self::Failed(Failure::ReplyMalformed),
            _ => Self::Failed(Failure::Other(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_as_itself() {
        for code in 0..=u16::MAX {
            assert_eq!(Status::from_code(code).code(), code);
        }
    }

    #[test]
    fn the_numbers_are_pinned() {
        assert_eq!(Status::Done.code(), 0);
        assert_eq!(Status::Refused(Refusal::ShuttingDown).code(), 6);
        assert_eq!(Status::Refused(Refusal::Restarting).code(), 7);
        assert_eq!(Status::Failed(Failure::Died).code(), 32);
    }
}
