//! The bytes of a long message in two parts: what was written for it, and data that it carries and that need not be
//! copied. On the wire they are one.

use bytes::Bytes;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) head: Bytes,
    pub(crate) tail: Bytes,
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// The bytes from `at` on, at most `most` of them; fewer where the parts meet. None only at the end.
    pub(crate) fn part(&self, at: usize, most: usize) -> &[u8] {
        let (part, at) = match at.checked_sub(self.head.len()) {
            Some(at) => (&self.tail, at),
            None => (&self.head, at),
        };
        &part[at..part.len().min(at + most)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_the_bytes_in_order() {
        for (head, tail) in [("", ""), ("a", ""), ("", "bcd"), ("abc", "defgh")] {
            let payload = Payload { head: head.into(), tail: tail.into() };
            for most in 1..10 {
                let mut all = Vec::new();
                while all.len() < payload.len() {
                    let part = payload.part(all.len(), most);
                    assert!(!part.is_empty() && part.len() <= most);
                    all.extend_from_slice(part);
                }
                assert_eq!(all, format!("{head}{tail}").as_bytes());
            }
        }
    }
}
