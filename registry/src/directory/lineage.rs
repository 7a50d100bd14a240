//! Which incarnations of an id came after which, so that an old one never comes back.

use std::collections::{BTreeMap, HashMap, VecDeque};

use ensemble::{Incarnation, ServerId};

/// How many replaced incarnations of one id are remembered.
pub const MAX_PREDECESSORS: usize = 16;

/// The incarnations of one id in the order in which they were accepted, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lineage(VecDeque<Incarnation>);

impl Lineage {
    /// These incarnations, the oldest first.
    pub(super) fn of(incarnations: impl IntoIterator<Item = Incarnation>) -> Self {
        let mut lineage = Self::default();
        for incarnation in incarnations {
            lineage.accept(incarnation);
        }
        lineage
    }

    /// The incarnation is the newest from now on.
    pub(super) fn accept(&mut self, incarnation: Incarnation) {
        if self.0.back() == Some(&incarnation) {
            return;
        }
        self.0.push_back(incarnation);
        if self.0.len() > MAX_PREDECESSORS + 1 {
            self.0.pop_front();
        }
    }

    /// Whether another came after it.
    pub(super) fn is_superseded(&self, incarnation: Incarnation) -> bool {
        self.predecessors().any(|other| other == incarnation)
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = Incarnation> {
        self.0.iter().copied()
    }

    /// All but the newest, the oldest first.
    pub(super) fn predecessors(&self) -> impl Iterator<Item = Incarnation> {
        self.0.iter().copied().take(self.0.len().saturating_sub(1))
    }
}

/// The lineages of ids that are gone; the one that went first is forgotten first.
#[derive(Debug)]
pub(super) struct Remembered {
    lineages: HashMap<ServerId, (u64, Lineage)>,
    order: BTreeMap<u64, ServerId>,
    next: u64,
    limit: usize,
}

impl Remembered {
    pub(super) fn new(limit: usize) -> Self {
        Self { lineages: HashMap::new(), order: BTreeMap::new(), next: 0, limit }
    }

    /// Says which id had to be forgotten for it.
    pub(super) fn keep(&mut self, id: ServerId, lineage: Lineage) -> Option<ServerId> {
        self.take(&id);
        self.order.insert(self.next, id.clone());
        self.lineages.insert(id, (self.next, lineage));
        self.next += 1;
        if self.order.len() <= self.limit {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.lineages.remove(&oldest);
        Some(oldest)
    }

    pub(super) fn get(&self, id: &ServerId) -> Option<&Lineage> {
        self.lineages.get(id).map(|(_, lineage)| lineage)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&ServerId, &Lineage)> {
        self.lineages.iter().map(|(id, (_, lineage))| (id, lineage))
    }

    pub(super) fn take(&mut self, id: &ServerId) -> Option<Lineage> {
        let (position, lineage) = self.lineages.remove(id)?;
        self.order.remove(&position);
        Some(lineage)
    }

    pub(super) fn is_superseded(&self, id: &ServerId, incarnation: Incarnation) -> bool {
        self.get(id).is_some_and(|lineage| lineage.is_superseded(incarnation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incarnation(n: u8) -> Incarnation {
        Incarnation::from_bytes([n; 16])
    }

    fn id(n: u8) -> ServerId {
        ServerId::new(format!("s{n}")).unwrap()
    }

    #[test]
    fn only_the_newest_is_not_superseded() {
        let mut lineage = Lineage::default();
        assert!(!lineage.is_superseded(incarnation(1)));
        lineage.accept(incarnation(1));
        lineage.accept(incarnation(1));
        assert!(!lineage.is_superseded(incarnation(1)));
        lineage.accept(incarnation(2));
        assert!(lineage.is_superseded(incarnation(1)));
        assert!(!lineage.is_superseded(incarnation(2)));
        assert_eq!(lineage.predecessors().collect::<Vec<_>>(), [incarnation(1)]);
    }

    #[test]
    fn a_long_lineage_forgets_its_oldest() {
        let mut lineage = Lineage::default();
        for n in 0..=20 {
            lineage.accept(incarnation(n));
        }
        assert_eq!(lineage.predecessors().count(), MAX_PREDECESSORS);
        assert!(!lineage.is_superseded(incarnation(3)));
        assert!(lineage.is_superseded(incarnation(4)));
    }

    #[test]
    fn the_id_that_went_first_is_forgotten_first() {
        let mut lineage = Lineage::default();
        lineage.accept(incarnation(1));
        lineage.accept(incarnation(2));
        let mut remembered = Remembered::new(2);
        for (n, forgotten) in [(1, None), (2, None), (1, None), (3, Some(id(2)))] {
            assert_eq!(remembered.keep(id(n), lineage.clone()), forgotten);
        }
        let known = |n| remembered.is_superseded(&id(n), incarnation(1));
        assert_eq!([known(1), known(2), known(3)], [true, false, true]);
        assert_eq!(remembered.take(&id(1)), Some(lineage));
        assert_eq!(remembered.take(&id(1)), None);
        assert_eq!((remembered.order.len(), remembered.lineages.len()), (1, 1));
    }
}
