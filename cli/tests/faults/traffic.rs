//! Servers that call each other all the time, write down how each call ended, and remember what they were asked.
//!
//! Each is a process of its own: this test's program, started again to run the test [`server`], which is `ensemble`'s
//! command line with one more role. What happened it is asked at the end, over its UNIX socket, which no network is
//! in the way of.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt,
    process::{Command, ExitCode},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Message, MessageResult};
use ensemble::{
    CallError, Caller, Exports, Incarnation, RemoteAddr, RemoteMessage, Role, RoleContext, RoleError,
    ServerId, Starting, WeakNode,
};
use ensemble_cli::App;
use ensemble_tests::{DEADLINE, Sandbox};
use serde::{Deserialize, Serialize};

use super::observer::Observer;

/// Name of the role, and of its actor.
pub(crate) const TRAFFIC: &str = "traffic";

/// The arguments of a server, a line each.
const ARGS: &str = "ENSEMBLE_TEST_ARGS";

#[test]
#[ignore = "a server, which another test starts as a process of its own"]
fn server() {
    let args = env::var(ARGS).expect("another test starts this one");
    let args = args.lines().map(OsString::from);
    let code = App::new("ensemble").role(Traffic).run_with(args);
    // It has no other comparison.
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
}

/// The command `ensemble run --roles traffic ID ARGS`.
pub(crate) fn command(sandbox: &Sandbox, id: &str, args: &[&str]) -> Command {
    let mut command = sandbox.as_ensemble(env::current_exe().unwrap());
    command.args(["--exact", concat!(module_path!(), "::server").split_once("::").unwrap().1]);
    command.args(["--ignored", "--nocapture"]);
    command.env(ARGS, [&["ensemble", "run", "--roles", TRAFFIC, id], args].concat().join("\n"));
    command
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// With its result.
    Answered,
    /// As [`CallError::NotSent`].
    NotSent,
    /// As [`CallError::Refused`].
    Refused,
    /// As [`CallError::Unknown`].
    Unknown,
    /// As [`CallError::Failed`].
    Failed,
}

/// A call that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) to: ServerId,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// A call that was executed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Executed {
    pub(crate) from: Incarnation,
    pub(crate) number: u64,
}

/// To be executed once: each has another number.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "u64")]
struct Work {
    number: u64,
    #[serde(skip)]
    caller: Option<Caller>,
}

impl RemoteMessage for Work {
    const NAME: &'static str = "traffic.work";

    fn received_from(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }
}

/// Begin to call these, each again and again without waiting for the answer of the last call.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Incarnation")]
pub(crate) struct Begin {
    pub(crate) to: Vec<ServerId>,
    pub(crate) every: Duration,
    pub(crate) timeout: Duration,
}

impl RemoteMessage for Begin {
    const NAME: &'static str = "traffic.begin";
}

/// Begin no more calls.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Halt;

impl RemoteMessage for Halt {
    const NAME: &'static str = "traffic.halt";
}

/// How it goes with the calls to each.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "BTreeMap<ServerId, Progress>")]
struct Look;

impl RemoteMessage for Look {
    const NAME: &'static str = "traffic.look";
}

/// What a server wrote down.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "Record")]
struct Tell;

impl RemoteMessage for Tell {
    const NAME: &'static str = "traffic.tell";
}

/// Of the calls to one server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Begun and not ended.
    pub(crate) open: usize,
    /// Answered since the last one that was not.
    pub(crate) answered_in_a_row: usize,
    /// Why the last one that failed did.
    pub(crate) last_failure: Option<String>,
}

/// See [`Tell`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) incarnation: Incarnation,
    pub(crate) calls: Vec<Call>,
    /// In the order in which it happened; what is here twice was executed twice.
    pub(crate) executed: Vec<Executed>,
}

/// The role.
struct Traffic;

impl Role for Traffic {
    fn name(&self) -> &'static str {
        TRAFFIC
    }

    fn about(&self) -> &'static str {
        "calls others of its kind all the time"
    }

    fn start(&self, context: RoleContext) -> Starting<'_> {
        Box::pin(async move {
            let incarnation = context.node.incarnation();
            let server = Server {
                node: context.node.downgrade(),
                incarnation,
                executed: Vec::new(),
                out: Rc::default(),
            };
            let exports = Exports::start(server)
                .message::<Work>()
                .message::<Begin>()
                .message::<Halt>()
                .message::<Look>()
                .message::<Tell>();
            context.node.export(TRAFFIC, exports).map_err(RoleError::failed)
        })
    }
}

/// What goes out.
#[derive(Default)]
struct Out {
    is_halted: bool,
    next: u64,
    progress: BTreeMap<ServerId, Progress>,
    calls: Vec<Call>,
}

struct Server {
    node: WeakNode,
    incarnation: Incarnation,
    executed: Vec<Executed>,
    out: Rc<RefCell<Out>>,
}

impl Actor for Server {
    type Context = Context<Self>;
}

impl Handler<Work> for Server {
    type Result = u64;

    fn handle(&mut self, Work { number, caller }: Work, _: &mut Context<Self>) -> u64 {
        let from = caller.expect("it came from another node").incarnation();
        self.executed.push(Executed { from, number });
        number
    }
}

impl Handler<Begin> for Server {
    type Result = MessageResult<Begin>;

    fn handle(&mut self, Begin { to, every, timeout }: Begin, _: &mut Context<Self>) -> Self::Result {
        let node = self.node.upgrade().expect("the node runs");
        self.out.borrow_mut().is_halted = false;
        for server in to {
            let remote = node.remote(&server, TRAFFIC).with_timeout(timeout);
            actix::spawn(call_all_the_time(remote, server, every, Rc::clone(&self.out)));
        }
        MessageResult(self.incarnation)
    }
}

async fn call_all_the_time(remote: RemoteAddr, server: ServerId, every: Duration, out: Rc<RefCell<Out>>) {
    let mut tick = tokio::time::interval(every);
    loop {
        tick.tick().await;
        if out.borrow().is_halted {
            return;
        }
        let number = {
            let mut out = out.borrow_mut();
            out.next += 1;
            out.progress.entry(server.clone()).or_default().open += 1;
            out.next
        };
        let begun = Instant::now();
        let call = remote.send(Work { number, caller: None });
        let (server, out) = (server.clone(), Rc::clone(&out));
        actix::spawn(async move {
            let result = call.await;
            let took = begun.elapsed();
            let mut out = out.borrow_mut();
            let progress = out.progress.entry(server.clone()).or_default();
            progress.open -= 1;
            progress.answered_in_a_row += 1;
            let outcome = match &result {
                Ok(answer) => {
                    assert_eq!(*answer, number);
                    Outcome::Answered
                }
                Err(why) => {
                    progress.answered_in_a_row = 0;
                    progress.last_failure = Some(format!("{why:?}"));
                    match why {
                        CallError::NotSent(_) => Outcome::NotSent,
                        CallError::Refused(_) => Outcome::Refused,
                        CallError::Unknown(_) => Outcome::Unknown,
                        CallError::Failed(_) => Outcome::Failed,
                    }
                }
            };
            out.calls.push(Call { number, to: server, outcome, took });
        });
    }
}

impl Handler<Halt> for Server {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Context<Self>) {
        self.out.borrow_mut().is_halted = true;
    }
}

impl Handler<Look> for Server {
    type Result = MessageResult<Look>;

    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.out.borrow().progress.clone())
    }
}

impl Handler<Tell> for Server {
    type Result = MessageResult<Tell>;

    fn handle(&mut self, _: Tell, _: &mut Context<Self>) -> Self::Result {
        let calls = self.out.borrow().calls.clone();
        MessageResult(Record { incarnation: self.incarnation, calls, executed: self.executed.clone() })
    }
}

/// The servers with this role, as the test speaks to them.
pub(crate) struct Servers<'a> {
    observer: &'a Observer,
    ids: Vec<ServerId>,
    timeout: Duration,
}

impl<'a> Servers<'a> {
    /// Has each call each other.
    #[track_caller]
    pub(crate) fn begin(observer: &'a Observer, ids: &[&str], every: Duration, timeout: Duration) -> Self {
        let ids: Vec<ServerId> = ids.iter().map(|id| ServerId::new(id).unwrap()).collect();
        let servers = Self { observer, ids, timeout };
        for id in &servers.ids {
            servers.begin_at(id, every);
        }
        servers
    }

    #[track_caller]
    fn begin_at(&self, id: &ServerId, every: Duration) {
        let to = self.ids.iter().filter(|other| *other != id).cloned().collect();
        self.ask(id, Begin { to, every, timeout: self.timeout });
    }

    #[track_caller]
    fn ask<M: RemoteMessage>(&self, id: &ServerId, message: M) -> M::Result {
        let remote = self.observer.node.remote(id, TRAFFIC);
        let asked = self.observer.wait_for(async { remote.send(message).await });
        asked.unwrap_or_else(|why| panic!("{id}: {why:?}"))
    }

    /// How it goes, of each pair: who calls, and who is called.
    #[track_caller]
    pub(crate) fn progress(&self) -> BTreeMap<(ServerId, ServerId), Progress> {
        let of = |from: &ServerId| {
            let to = self.ask(from, Look).into_iter();
            to.map(|(to, progress)| ((from.clone(), to), progress)).collect::<Vec<_>>()
        };
        self.ids.iter().flat_map(of).collect()
    }

    /// Waits until the last `count` calls of each pair that `is_meant` were answered; returns how long that took.
    #[track_caller]
    pub(crate) fn await_answers(
        &self,
        count: usize,
        deadline: Duration,
        is_meant: impl Fn(&str, &str) -> bool,
    ) -> Duration {
        let begin = Instant::now();
        loop {
            let progress = self.progress();
            let waiting: Vec<_> = progress
                .iter()
                .filter(|((from, to), _)| is_meant(from.as_str(), to.as_str()))
                .filter(|(_, progress)| progress.answered_in_a_row < count)
                .collect();
            if waiting.is_empty() {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < deadline, "not all calls are answered: {waiting:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the last call of each pair that `is_meant` failed.
    #[track_caller]
    pub(crate) fn await_failures(&self, is_meant: impl Fn(&str, &str) -> bool) {
        let begin = Instant::now();
        let has_failed =
            |progress: &Progress| progress.answered_in_a_row == 0 && progress.last_failure.is_some();
        while !self
            .progress()
            .iter()
            .filter(|((from, to), _)| is_meant(from.as_str(), to.as_str()))
            .all(|(_, progress)| has_failed(progress))
        {
            assert!(begin.elapsed() < self.timeout + DEADLINE, "calls do not fail: {:?}", self.progress());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the traffic, waits until all calls have ended, and holds what callers and called wrote down against each other:
    /// no call took longer than its deadline and `margin`, none was executed twice, and what its outcome says of that is true.
    #[track_caller]
    pub(crate) fn settle(self, margin: Duration) -> Tally {
        for id in &self.ids {
            self.ask(id, Halt);
        }
        let begin = Instant::now();
        while self.progress().values().any(|progress| progress.open > 0) {
            assert!(begin.elapsed() < self.timeout + margin, "calls are still open: {:?}", self.progress());
            std::thread::sleep(Duration::from_millis(5));
        }
        let records: BTreeMap<ServerId, Record> =
            self.ids.iter().map(|id| (id.clone(), self.ask(id, Tell))).collect();
        let mut tally = Tally::default();
        let executed: BTreeMap<&ServerId, BTreeMap<&Executed, usize>> =
            records.iter().map(|(id, record)| (id, count(&record.executed))).collect();
        for (id, executed) in &executed {
            let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{id} was made to do things twice: {twice:?}");
        }
        for (from, record) in &records {
            for call in &record.calls {
                tally.add(call);
                let Call { to, number, outcome, took } = call;
                assert!(*took <= self.timeout + margin, "a call took too long: {from}: {call:?}");
                let key = Executed { from: record.incarnation, number: *number };
                let was_executed = executed[to].contains_key(&key);
                match outcome {
                    Outcome::Answered => assert!(was_executed, "{from}: {call:?}"),
                    Outcome::NotSent | Outcome::Refused => assert!(!was_executed, "{from}: {call:?}"),
                    Outcome::Unknown | Outcome::Failed => {}
                }
            }
        }
        eprintln!("{tally}");
        tally
    }
}

fn count(executed: &[Executed]) -> BTreeMap<&Executed, usize> {
    let mut counts = BTreeMap::new();
    for one in executed {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

/// How many calls ended how.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) ended: BTreeMap<Outcome, usize>,
    longest: Duration,
}

impl Tally {
    fn add(&mut self, call: &Call) {
        *self.ended.entry(call.outcome).or_default() += 1;
        self.longest = self.longest.max(call.took);
    }

    /// How many ended in that way.
    pub(crate) fn of(&self, outcome: Outcome) -> usize {
        self.ended.get(&outcome).copied().unwrap_or_default()
    }

    /// How many did not end with an answer.
    pub(crate) fn failed(&self) -> usize {
        self.ended.values().sum::<usize>() - self.of(Outcome::Answered)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls: {:?}; the longest took {:.3?}", self.ended, self.longest)
    }
}
