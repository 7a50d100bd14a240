//! Random sequences of operations against a simple model, with followers that replay the changes and the writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ensemble::{Incarnation, RoleName, ServerId};
use proptest::{collection::vec, option, prelude::*, sample::Index};

use super::{
    Announced, Contest, Directory, Heartbeat, MAX_CONTEST_ROUNDS, Options, Refusal, Restored, Write,
    roles::RoleIndex,
};
use crate::{Announcement, Liveness, Revision, StoredEntry, View};

const LEASE_MS: u64 = 1000;
const MAX_SERVERS: usize = 3;
const IDS: u8 = 4;
const INCARNATIONS: u8 = 5;
const ROLES: u8 = 3;

#[derive(Debug, Clone)]
enum Operation {
    Advance { millis: u64 },
    Announce { id: u8, incarnation: u8, roles: u8 },
    Resolve { which: Index, alive: bool },
    Heartbeat { id: u8, incarnation: u8 },
    Disconnect { id: u8, incarnation: u8 },
    Withdraw { id: u8, incarnation: Option<u8> },
    Expire,
    Follow,
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let id = 0..IDS;
    let incarnation = 0..INCARNATIONS;
    prop_oneof![
        6 => (0u64..700).prop_map(|millis| Operation::Advance { millis }),
        8 => (id.clone(), incarnation.clone(), 0..1u8 << ROLES)
            .prop_map(|(id, incarnation, roles)| Operation::Announce { id, incarnation, roles }),
        6 => (any::<Index>(), any::<bool>()).prop_map(|(which, alive)| Operation::Resolve { which, alive }),
        8 => (id.clone(), incarnation.clone())
            .prop_map(|(id, incarnation)| Operation::Heartbeat { id, incarnation }),
        4 => (id.clone(), incarnation.clone())
            .prop_map(|(id, incarnation)| Operation::Disconnect { id, incarnation }),
        2 => (id, option::of(incarnation)).prop_map(|(id, incarnation)| Operation::Withdraw { id, incarnation }),
        3 => Just(Operation::Expire),
        2 => Just(Operation::Follow),
        1 => Just(Operation::Restart),
    ]
}

fn id(n: u8) -> ServerId {
    ServerId::new(format!("s{n}")).unwrap()
}

fn incarnation(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn role(n: u8) -> RoleName {
    RoleName::new(format!("r{n}")).unwrap()
}

fn announcement(id_number: u8, incarnation_number: u8, roles: u8) -> Announcement {
    Announcement {
        id: id(id_number),
        incarnation: incarnation(incarnation_number),
        addresses: vec![],
        roles: (0..ROLES).filter(|n| roles & 1 << n != 0).map(role).collect(),
        agent: None,
        pid: None,
    }
}

fn options() -> Options {
    Options { lease_ms: LEASE_MS, max_servers: MAX_SERVERS, max_changes: 0, ..Options::default() }
}

/// What the model says to an announcement.
#[derive(Debug, PartialEq)]
enum Said {
    Accepted,
    Renewed,
    Contested { round: u32 },
    Held,
    Superseded,
    Full,
}

#[derive(Debug, Clone)]
struct Holder {
    incarnation: u8,
    roles: u8,
    heard_ms: u64,
    /// Disconnected, or not heard from since the restart.
    doubted: bool,
    signs_of_life: u64,
}

/// The same rules without leases that end late, indexes, or changes.
#[derive(Debug, Default)]
struct Model {
    now_ms: u64,
    holders: BTreeMap<u8, Holder>,
    /// Who had each id, in order.
    accepted: BTreeMap<u8, Vec<u8>>,
}

struct Question {
    contest: Contest,
    id: u8,
    incarnation: u8,
    roles: u8,
    holder: u8,
    signs_of_life: u64,
    round: u32,
}

impl Model {
    fn advance(&mut self, millis: u64) {
        self.now_ms += millis;
        let now_ms = self.now_ms;
        self.holders.retain(|_, holder| now_ms < holder.heard_ms + LEASE_MS);
    }

    fn is_superseded(&self, id: u8, incarnation: u8) -> bool {
        let accepted = self.accepted.get(&id).map_or(&[][..], Vec::as_slice);
        accepted.contains(&incarnation) && accepted.last() != Some(&incarnation)
    }

    fn hear(&mut self, id: u8) {
        let holder = self.holders.get_mut(&id).unwrap();
        holder.heard_ms = self.now_ms;
        holder.doubted = false;
        holder.signs_of_life += 1;
    }

    fn announce(&mut self, id: u8, incarnation: u8, roles: u8, answer: Option<(&Question, bool)>) -> Said {
        let holder = self.holders.get(&id).cloned();
        match holder {
            Some(holder) if holder.incarnation == incarnation => {
                self.hear(id);
                self.holders.get_mut(&id).unwrap().roles = roles;
                return if holder.roles == roles { Said::Renewed } else { Said::Accepted };
            }
            _ if self.is_superseded(id, incarnation) => return Said::Superseded,
            None if self.holders.len() >= MAX_SERVERS => return Said::Full,
            None => {}
            Some(holder) => match answer {
                None => return Said::Contested { round: 0 },
                Some((question, alive)) => {
                    let is_about = question.holder == holder.incarnation;
                    let unheard = question.signs_of_life == holder.signs_of_life;
                    if is_about && alive {
                        return Said::Held;
                    }
                    if !(is_about && unheard) {
                        let round = question.round + 1;
                        return if round < MAX_CONTEST_ROUNDS {
                            Said::Contested { round }
                        } else {
                            Said::Held
                        };
                    }
                }
            },
        }
        let holder = Holder { incarnation, roles, heard_ms: self.now_ms, doubted: false, signs_of_life: 1 };
        self.holders.insert(id, holder);
        let accepted = self.accepted.entry(id).or_default();
        if accepted.last() != Some(&incarnation) {
            accepted.push(incarnation);
        }
        Said::Accepted
    }

    fn heartbeat(&mut self, id: u8, incarnation: u8) -> Heartbeat {
        if self.holds(id, incarnation) {
            self.hear(id);
            Heartbeat::Renewed { lease_ms: LEASE_MS }
        } else if self.is_superseded(id, incarnation) {
            Heartbeat::Superseded
        } else {
            Heartbeat::Unknown
        }
    }

    fn holds(&self, id: u8, incarnation: u8) -> bool {
        self.holders.get(&id).is_some_and(|holder| holder.incarnation == incarnation)
    }

    fn is_suspect(&self, holder: &Holder) -> bool {
        holder.doubted || self.now_ms >= holder.heard_ms + LEASE_MS / 2
    }

    fn restart(&mut self) {
        for holder in self.holders.values_mut() {
            holder.heard_ms = self.now_ms;
            holder.doubted = true;
            holder.signs_of_life = 0;
        }
    }
}

/// The directory, beside the model and everyone who follows it.
struct Bench {
    directory: Directory,
    model: Model,
    questions: Vec<Question>,
    /// A watcher that follows after each operation, and one that does so only now and then.
    near: View,
    far: View,
    disk: BTreeMap<ServerId, StoredEntry>,
    written: Revision,
    restarts: u8,
    /// Each incarnation that was ever seen with an id, in order.
    seen: BTreeMap<u8, Vec<Incarnation>>,
}

impl Bench {
    fn new() -> Self {
        let directory = Directory::new(incarnation(100), options());
        let view = View::new([], directory.revision());
        Self {
            written: directory.revision(),
            directory,
            model: Model::default(),
            questions: Vec::new(),
            near: view.clone(),
            far: view,
            disk: BTreeMap::new(),
            restarts: 0,
            seen: BTreeMap::new(),
        }
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.model.now_ms)
    }

    fn run(&mut self, operation: Operation) {
        let now = self.now();
        match operation {
            Operation::Advance { millis } => self.model.advance(millis),
            Operation::Announce { id, incarnation, roles } => {
                let done = self.directory.announce(now, announcement(id, incarnation, roles));
                let expected = self.model.announce(id, incarnation, roles, None);
                self.check_announced(done, expected, (id, incarnation, roles));
            }
            Operation::Resolve { which, alive } => {
                if self.questions.is_empty() {
                    return;
                }
                let question = self.questions.swap_remove(which.index(self.questions.len()));
                self.resolve(question, alive);
            }
            Operation::Heartbeat { id: server, incarnation: n } => {
                let done = self.directory.heartbeat(now, &id(server), incarnation(n));
                assert_eq!(done, self.model.heartbeat(server, n));
            }
            Operation::Disconnect { id: server, incarnation: n } => {
                self.directory.disconnected(now, &id(server), incarnation(n));
                if self.model.holds(server, n) {
                    self.model.holders.get_mut(&server).unwrap().doubted = true;
                }
            }
            Operation::Withdraw { id: server, incarnation: n } => {
                let done = self.directory.withdraw(now, &id(server), n.map(incarnation));
                let expected =
                    n.map_or(self.model.holders.contains_key(&server), |n| self.model.holds(server, n));
                assert_eq!(done, expected);
                if done {
                    self.model.holders.remove(&server);
                }
            }
            Operation::Expire => {
                let before = self.directory.revision().number;
                let changes = self.directory.expire(now);
                assert_eq!(changes.len() as u64, self.directory.revision().number - before);
                assert!(self.directory.next_deadline().is_none_or(|due| due > now));
                self.follow_near();
                let (servers, revision) = self.directory.snapshot(now);
                assert_eq!(self.near, View::new(&servers, revision));
                self.follow_far();
                assert_eq!(self.far, self.near);
            }
            Operation::Follow => self.follow_far(),
            Operation::Restart => self.restart(),
        }
    }

    fn resolve(&mut self, question: Question, alive: bool) {
        let now = self.now();
        let (server, n, roles) = (question.id, question.incarnation, question.roles);
        let holder_before = self.model.holders.get(&server).cloned();
        let done = self.directory.resolve_contest(now, question.contest.clone(), alive);
        let expected = self.model.announce(server, n, roles, Some((&question, alive)));
        if let Some(holder) = holder_before {
            let lives = alive || question.signs_of_life < holder.signs_of_life;
            if question.holder == holder.incarnation && lives {
                let incarnation_now = self.directory.lookup(now, &id(server)).unwrap().incarnation;
                assert_eq!(incarnation_now, incarnation(holder.incarnation), "a live holder was replaced");
            }
        }
        self.check_announced(done, expected, (server, n, roles));
    }

    fn check_announced(&mut self, done: Result<Announced, Refusal>, expected: Said, who: (u8, u8, u8)) {
        let (id, incarnation, roles) = who;
        let said = match done {
            Ok(Announced::Accepted { revision, .. }) => {
                assert_eq!(revision, self.directory.revision());
                Said::Accepted
            }
            Ok(Announced::Renewed { .. }) => Said::Renewed,
            Ok(Announced::Contested(contest)) => {
                let round = contest.round();
                let holder = &self.model.holders[&id];
                self.questions.push(Question {
                    contest: *contest,
                    id,
                    incarnation,
                    roles,
                    holder: holder.incarnation,
                    signs_of_life: holder.signs_of_life,
                    round,
                });
                Said::Contested { round }
            }
            Err(Refusal::Held { .. }) => Said::Held,
            Err(Refusal::Superseded { .. }) => Said::Superseded,
            Err(Refusal::TooManyServers { .. }) => Said::Full,
            Err(other) => panic!("unexpected {other:?}"),
        };
        assert_eq!(said, expected);
    }

    fn restart(&mut self) {
        let now = self.now();
        // What has expired is still on disk when nobody looked after it; the model has forgotten it.
        self.directory.expire(now);
        self.follow_disk();
        self.restarts += 1;
        let history = incarnation(100 + self.restarts);
        let stored = self.disk.values().cloned();
        let Restored { directory, refused } = Directory::restore(now, history, options(), stored);
        assert!(refused.is_empty());
        self.directory = directory;
        self.written = self.directory.revision();
        self.model.restart();
        self.questions.clear();
    }

    fn follow(directory: &Directory, now: Duration, view: &mut View) {
        loop {
            match directory.changes_since(view.revision(), 2) {
                Ok(batch) => {
                    assert!(batch.changes.len() == 2 || !batch.more);
                    for change in &batch.changes {
                        assert_eq!(change.revision.number, view.revision().number + 1);
                        view.apply(change).unwrap();
                    }
                    assert_eq!(view.revision(), batch.revision);
                    if !batch.more {
                        break;
                    }
                }
                Err(compacted) => {
                    assert_eq!(compacted.current, directory.revision());
                    let (servers, revision) = directory.snapshot(now);
                    *view = View::new(&servers, revision);
                }
            }
        }
        assert_eq!(view.revision(), directory.revision());
    }

    fn follow_near(&mut self) {
        Self::follow(&self.directory, self.now(), &mut self.near);
    }

    fn follow_far(&mut self) {
        Self::follow(&self.directory, self.now(), &mut self.far);
    }

    fn follow_disk(&mut self) {
        for write in self.directory.writes_since(self.written).expect("an operation does not outrun the log")
        {
            match write {
                Write::Put(entry) => self.disk.insert(entry.id().clone(), entry),
                Write::Remove(id) => self.disk.remove(&id),
            };
        }
        self.written = self.directory.revision();
        let stored = self.directory.stored_all().into_iter().map(|entry| (entry.id().clone(), entry));
        assert_eq!(self.disk, stored.collect());
    }

    fn check(&mut self) {
        let now = self.now();
        let shown: Vec<_> = self
            .directory
            .all(now)
            .into_iter()
            .map(|info| {
                assert_eq!(self.directory.lookup(now, &info.id).as_ref(), Some(&info));
                assert!(info.unheard_ms < LEASE_MS, "a stale entry");
                assert_eq!(info.unheard_ms + info.lease_left_ms, LEASE_MS);
                (info.id, info.incarnation, info.roles, info.liveness, info.unheard_ms)
            })
            .collect();
        let expected: Vec<_> = self
            .model
            .holders
            .iter()
            .map(|(n, holder)| {
                let server = announcement(*n, holder.incarnation, holder.roles);
                let liveness =
                    if self.model.is_suspect(holder) { Liveness::Suspect } else { Liveness::Reachable };
                (server.id, server.incarnation, server.roles, liveness, self.model.now_ms - holder.heard_ms)
            })
            .collect();
        assert_eq!(shown, expected);

        for n in 0..ROLES {
            let found: Vec<_> =
                self.directory.by_role(now, &role(n)).into_iter().map(|info| info.id).collect();
            let has_role = |holder: &&u8| self.model.holders[holder].roles & 1 << n != 0;
            let expected: Vec<_> = self.model.holders.keys().filter(has_role).map(|n| id(*n)).collect();
            assert_eq!(found, expected);
        }

        for (n, holder) in &self.model.holders {
            let seen = self.seen.entry(*n).or_default();
            let incarnation = incarnation(holder.incarnation);
            if seen.last() != Some(&incarnation) {
                assert!(!seen.contains(&incarnation), "a superseded incarnation came back");
                seen.push(incarnation);
            }
        }
        self.check_parts();
    }

    fn check_parts(&self) {
        let directory = &self.directory;
        let mut roles = RoleIndex::default();
        let mut deadlines = BTreeSet::new();
        for entry in directory.entries.values() {
            roles.add(&entry.server);
            deadlines.insert((entry.deadline, entry.server.id.clone()));
            assert!(entry.deadline <= entry.lease_end);
        }
        assert_eq!(directory.roles, roles);
        assert_eq!(directory.deadlines, deadlines);
        assert!(directory.entries.len() <= MAX_SERVERS);
    }
}

proptest! {
    #[test]
    fn the_directory_does_what_the_model_does(operations in vec(operation(), 1..120)) {
        let mut bench = Bench::new();
        for operation in operations {
            bench.run(operation);
            bench.follow_near();
            bench.follow_disk();
            bench.check();
        }
        bench.run(Operation::Expire);
        bench.check();
    }
}
