//! Writes that are done all or not at all.

use std::collections::HashSet;

use super::error::WriteError;
use super::options::ValueLimits;
use super::write::Write;

/// How many writes can be done together.
pub const MAX_TOGETHER: usize = 1024;

/// Writes that are done all or not at all, each of another key.
///
/// All conditions are judged before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together(Vec<Write>);

/// Why writes cannot be done together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TogetherError {
    /// There are more than [`MAX_TOGETHER`].
    #[error("{count} writes cannot be done together, and the limit is {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// Two are of the same key, or one holds others or is a step of an upload.
    #[error("write {index} is of a key that has come before")]
    Repeated {
        /// The place of the later one.
        index: usize,
    },
}

impl Together {
    /// Holds the writes against the limits, those of single writes left aside.
    ///
    /// # Errors
    ///
    /// [`TogetherError`]
    pub fn new(writes: Vec<Write>) -> Result<Self, TogetherError> {
        if writes.len() > MAX_TOGETHER {
            return Err(TogetherError::TooMany { count: writes.len(), limit: MAX_TOGETHER });
        }
        let mut seen = HashSet::with_capacity(writes.len());
        let mut keys = writes.iter().map(|write| match write {
            Write::Put { key, .. } | Write::Remove { key, .. } | Write::Check { key, .. } => Some(key),
            Write::Together(_) | Write::Upload(_) => None,
        });
        match keys.position(|key| key.is_none_or(|key| !seen.insert(key))) {
            Some(index) => Err(TogetherError::Repeated { index }),
            None => Ok(Self(writes)),
        }
    }

    /// The writes.
    pub fn writes(&self) -> &[Write] {
        &self.0
    }

    pub(super) fn into_writes(self) -> Vec<Write> {
        self.0
    }

    pub(super) fn check(&self, limits: ValueLimits) -> Result<(), WriteError> {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(index, write)| write.check(limits).map_err(|refusal| refusal.at(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_is_of_another_key() {
        let writes = vec![Write::put("a", "1"), Write::remove("b"), Write::put("a", "2")];
        assert_eq!(Together::new(writes), Err(TogetherError::Repeated { index: 2 }));
        let inner = Write::Together(Together::new(Vec::new()).unwrap());
        assert_eq!(Together::new(vec![inner]), Err(TogetherError::Repeated { index: 0 }));
        let many =
            |count: usize| Together::new((0..count).map(|key| Write::put(key.to_string(), "")).collect());
        assert!(many(MAX_TOGETHER).is_ok());
        let refused = TogetherError::TooMany { count: MAX_TOGETHER + 1, limit: MAX_TOGETHER };
        assert_eq!(many(MAX_TOGETHER + 1), Err(refused));
    }
}
