//! Having a store write the entries of an import: batches, each written as a whole, some of them under way at once.

use std::{cell::Cell, collections::VecDeque, time::Duration};

use kvstore::{
    Client, ClientError, PutOptions,
    messages::{ApplyRefused, Condition, Op, StoreError},
    put_time,
};
use tokio::task::{JoinHandle, JoinSet};

use super::{
    super::{lines::Entry, store::unless_overloaded},
    input::Numbered,
};

/// How many batches are under way at most.
const WINDOW_BATCHES: usize = 4;

/// How entries are written.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) client: Client,
    /// Where keys are there already, they stay as they are.
    pub(super) if_absent: bool,
    /// How long a batch may take; it has more where its values are long, unless this was given.
    pub(super) timeout: Duration,
    pub(super) is_timeout_given: bool,
    pub(super) now_ms: fn() -> u64,
}

/// What has become of the entries so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) imported: Cell<u64>,
    /// Of keys that were there already.
    pub(super) kept: Cell<u64>,
    /// They have ended before they were written.
    pub(super) ended: Cell<u64>,
    /// All lines up to this one are done.
    pub(super) done_to_line: Cell<u64>,
}

/// Why a batch was not written, or not all of it.
#[derive(Debug)]
pub(super) struct NotWritten {
    pub(super) why: ClientError,
    /// The entry that it is about, where that is known: its line and its key.
    pub(super) at: Option<(u64, Vec<u8>)>,
    pub(super) first_line: u64,
    pub(super) last_line: u64,
}

struct Written {
    imported: u64,
    kept: u64,
    ended: u64,
    last_line: u64,
}

/// Writes batches, in their order.
pub(super) struct Writes<'a> {
    way: Way,
    tally: &'a Tally,
    under_way: VecDeque<JoinHandle<Result<Written, NotWritten>>>,
    /// No batch before has failed.
    is_unbroken: bool,
}

impl<'a> Writes<'a> {
    pub(super) fn new(way: Way, tally: &'a Tally) -> Self {
        Self { way, tally, under_way: VecDeque::new(), is_unbroken: true }
    }

    /// Begins to write some; waits where too many are under way.
    pub(super) async fn push(&mut self, entries: Vec<Numbered>) -> Result<(), NotWritten> {
        while self.under_way.len() >= WINDOW_BATCHES {
            self.next_done().await?;
        }
        let way = self.way.clone();
        self.under_way.push_back(actix::spawn(async move { way.write(entries).await }));
        Ok(())
    }

    /// Waits for all that are under way, also after one has failed; gives the first failure.
    pub(super) async fn finish(&mut self) -> Result<(), NotWritten> {
        let mut outcome = Ok(());
        while !self.under_way.is_empty() {
            let done = self.next_done().await;
            outcome = outcome.and(done);
        }
        outcome
    }

    async fn next_done(&mut self) -> Result<(), NotWritten> {
        let Some(batch) = self.under_way.pop_front() else { return Ok(()) };
        let written = batch.await.expect("writing does not panic, and nobody stops it");
        let Written { imported, kept, ended, last_line } = match written {
            Ok(written) => written,
            Err(why) => {
                self.is_unbroken = false;
                return Err(why);
            }
        };
        let add = |to: &Cell<u64>, count: u64| to.set(to.get() + count);
        add(&self.tally.imported, imported);
        add(&self.tally.kept, kept);
        add(&self.tally.ended, ended);
        if self.is_unbroken {
            self.tally.done_to_line.set(last_line);
        }
        Ok(())
    }
}

impl Way {
    async fn write(self, entries: Vec<Numbered>) -> Result<Written, NotWritten> {
        let line = |numbered: Option<&Numbered>| numbered.map_or(0, |(line, _)| *line);
        let (first_line, last_line) = (line(entries.first()), line(entries.last()));
        let now_ms = (self.now_ms)();
        let all = entries.len() as u64;
        let has_ended = |entry: &Entry| entry.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let entries: Vec<Numbered> = entries.into_iter().filter(|(_, entry)| !has_ended(entry)).collect();
        let ended = all - entries.len() as u64;
        let lines: Vec<(u64, Vec<u8>)> =
            entries.iter().map(|(line, entry)| (*line, entry.key.clone())).collect();
        let condition = if self.if_absent { Condition::Absent } else { Condition::Always };
        let ops: Vec<Op> = entries.into_iter().map(|(_, entry)| op(entry, condition, now_ms)).collect();
        let count = ops.len() as u64;
        let failed = |index: Option<usize>, why: ClientError| NotWritten {
            why,
            at: index.and_then(|index| lines.get(index).cloned()),
            first_line,
            last_line,
        };
        if ops.is_empty() {
            return Ok(Written { imported: 0, kept: 0, ended, last_line });
        }
        let kept = match self.together(&ops).await {
            Ok(()) => 0,
            Err(ClientError::Apply(ApplyRefused { why: StoreError::Conflict { .. }, .. }))
                if self.if_absent =>
            {
                // Some are there already: which, each of them is asked.
                self.one_by_one(ops).await.map_err(|(index, why)| failed(Some(index), why))?
            }
            Err(ClientError::Apply(ApplyRefused { index, why })) => {
                let index = index.and_then(|index| usize::try_from(index).ok());
                return Err(failed(index, why.into()));
            }
            Err(why) => return Err(failed(None, why)),
        };
        Ok(Written { imported: count - kept, kept, ended, last_line })
    }

    fn client_for(&self, bytes: usize) -> Client {
        let timeout = if self.is_timeout_given { self.timeout } else { put_time(self.timeout, bytes) };
        self.client.clone().with_timeout(timeout)
    }

    async fn together(&self, ops: &[Op]) -> Result<(), ClientError> {
        let client = self.client_for(ops.iter().map(|op| value(op).len()).sum());
        unless_overloaded(async || client.apply(ops.to_vec()).await.map(drop)).await
    }

    /// Puts each where there is no such key; says how many were there.
    async fn one_by_one(&self, ops: Vec<Op>) -> Result<u64, (usize, ClientError)> {
        let mut puts = JoinSet::new();
        for (index, op) in ops.into_iter().enumerate() {
            let client = self.client_for(value(&op).len());
            puts.spawn_local(async move {
                let put = unless_overloaded(async || put_if_absent(&client, &op).await);
                put.await.map_err(|why| (index, why))
            });
        }
        let mut kept = 0;
        let mut first_failure: Option<(usize, ClientError)> = None;
        for put in puts.join_all().await {
            match put {
                Ok(is_stored) => kept += u64::from(!is_stored),
                Err(failure) => {
                    let earlier = first_failure.take().filter(|(index, _)| *index < failure.0);
                    first_failure = Some(earlier.unwrap_or(failure));
                }
            }
        }
        first_failure.map_or(Ok(kept), Err)
    }
}

/// Whether it was stored.
async fn put_if_absent(client: &Client, op: &Op) -> Result<bool, ClientError> {
    let Op::Put { key, value, ttl_ms, .. } = op else { return Ok(false) };
    let options = PutOptions::new().if_absent();
    let options = ttl_ms.map_or(options, |ttl_ms| options.expires_in(Duration::from_millis(ttl_ms)));
    match client.put_with(key, value.clone(), options).await {
        Ok(_) => Ok(true),
        Err(ClientError::Store(StoreError::Conflict { .. })) => Ok(false),
        Err(other) => Err(other),
    }
}

fn op(entry: Entry, condition: Condition, now_ms: u64) -> Op {
    let ttl_ms = entry.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
    Op::Put { key: entry.key.into(), value: entry.value.into(), condition, ttl_ms }
}

fn value(op: &Op) -> &[u8] {
    match op {
        Op::Put { value, .. } => value,
        Op::Remove { .. } | Op::Check { .. } => &[],
    }
}
