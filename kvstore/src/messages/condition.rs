//! What must hold for a write to be done.

use serde::{Deserialize, Serialize};

/// What must hold for a write to be done. Where it does not, the answer is
/// [`StoreError::Conflict`](super::StoreError::Conflict), with the revision that the key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such key.
    Absent,
    /// The key has this revision.
    Revision(u64),
}
