//! Moments at which tests kill the process. In a program that is no test there are none.

/// A moment at which it matters what a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A batch of writes has no transaction yet.
    BeforeTransaction,
    /// All is written to the transaction.
    BeforeCommit,
    /// The commit is done, and nobody knows of it.
    AfterCommit,
    /// The writes of a batch are done, and none is answered.
    BeforeReplies,
    /// The file is synced, and there is no note of that state.
    BeforeNote,
    /// There is the new note, and the pages of its state are not kept yet.
    AfterNote,
    /// The new file of a compaction is whole, and the note of the old one is forgotten.
    BeforeSwap,
    /// The new file of a compaction has the place of the old one.
    AfterSwap,
    /// What a note says was put back, and the note is still there.
    PutBack,
}

#[cfg(test)]
pub(crate) use in_tests::{ALL, VARIABLE, reach};

/// This moment has come.
#[cfg(not(test))]
#[inline]
pub(crate) fn reach(_: Moment) {}

#[cfg(test)]
mod in_tests {
    use std::env;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::Moment;

    /// Says, in the environment of a process, at which moment it is to be killed, and the how many-th of those.
    pub(crate) const VARIABLE: &str = "STORE_TEST_KILL_AT";

    pub(crate) const ALL: [Moment; 9] = [
        Moment::BeforeTransaction,
        Moment::BeforeCommit,
        Moment::AfterCommit,
        Moment::BeforeReplies,
        Moment::BeforeNote,
        Moment::AfterNote,
        Moment::BeforeSwap,
        Moment::AfterSwap,
        Moment::PutBack,
    ];

    static KILL_AT: LazyLock<Option<(Moment, u64)>> = LazyLock::new(|| {
        let text = env::var(VARIABLE).ok()?;
        let (name, count) = text.split_once(' ').expect("a moment and a number");
        let moment = ALL.into_iter().find(|moment| format!("{moment:?}") == name);
        Some((moment.expect("it is a moment"), count.parse().expect("it is a number")))
    });

    static REACHED: AtomicU64 = AtomicU64::new(0);

    pub(crate) fn reach(moment: Moment) {
        let Some((at, count)) = *KILL_AT else { return };
        if at == moment && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == count {
            kill_process(getpid(), Signal::KILL).expect("a process can kill itself");
        }
    }
}
