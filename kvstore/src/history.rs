//! Which run of revisions a revision belongs to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names a run of revisions: in it, a revision is given out once.
///
/// A store has a new one when revisions may be given out again: when it was made of a backup, and when a crash took
/// back writes that were answered (see [`Durability`](crate::store::Durability)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct History(Uuid);

impl History {
    /// A fresh one, from the operating system's random numbers.
    pub fn fresh() -> Self {
        Self(Uuid::new_v4())
    }

    /// One with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its bytes, as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text names no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not written as the id of a history")]
pub struct NoHistory;

impl FromStr for History {
    type Err = NoHistory;

    fn from_str(text: &str) -> Result<Self, NoHistory> {
        Uuid::try_parse(text).map(Self).map_err(|_| NoHistory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_is_read_again() {
        let history = History::fresh();
        assert_eq!(history.to_string().parse(), Ok(history));
        assert_eq!(History::from_bytes(*history.as_bytes()), history);
        assert_ne!(History::fresh(), history);
        for wrong in ["", "7", "2f1d", "not-a-history"] {
            assert_eq!(wrong.parse::<History>(), Err(NoHistory), "{wrong}");
        }
    }
}
