//! Networks that lose packets, delay them, or are cut: nothing hangs past its deadline, no call is executed twice, and when the
//! network is whole again so is the ensemble, within the bounds of docs/GUARANTEES.md.
//!
//! Each host is a network namespace of the test's own. This needs root and the programs `ip` and `nft`. Servers speak
//! TCP with each other; the test asks them over UNIX sockets, which no network is in the way of.
#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod common;
mod faults;

use std::{
    collections::BTreeMap,
    env,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use common::sandbox_with_cookie;
use ensemble::{Address, Home, Incarnation, ServerId};
use ensemble_tests::{DEADLINE, Host, Network, Pace, Proc, Reception, Relay, Sandbox};
use faults::{
    bound::{GONE, HEALED, MARGIN, SUSPECT_AFTER_SILENCE, within},
    observer::Observer,
    traffic::{self, Outcome, Servers},
};
use registry::Liveness;

const IDS: [&str; 3] = ["a", "b", "c"];
/// Between two calls of a server to another.
const EVERY: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Where all listen, each at its own host, and where relays do.
const PORT: u16 = 7700;
const RELAY_PORT: u16 = 7701;
/// So many answers in a row show that calls go through again.
const SOME: usize = 25;

/// The long cut, in seconds. The default is long enough for leases to end.
const CUT_SECONDS: &str = "ENSEMBLE_TEST_CUT_SECONDS";
const DEFAULT_CUT: Duration = Duration::from_secs(15);

/// A registry and servers, each on a host of its own. Fields are dropped in this order.
struct Cluster {
    observer: Observer,
    processes: Vec<(&'static str, Proc)>,
    relays: Vec<Relay>,
    network: Network,
    sandbox: Sandbox,
}

impl Cluster {
    /// With relays before every host when `pace` is given; `None` when that is not possible here.
    fn start(pace: Option<Pace>) -> Option<Self> {
        let network = Network::new(1 + IDS.len())?;
        let sandbox = sandbox_with_cookie();
        let relays = match pace {
            Some(pace) => network.hosts().iter().map(|host| relay(host, pace)).collect(),
            None => Vec::new(),
        };
        let port = if relays.is_empty() { PORT } else { RELAY_PORT };
        let tcp = |host: &Host, port: u16| format!("tcp:{}:{port}", host.address());
        let registry_address = tcp(&network.hosts()[0], port);
        let mut processes = Vec::new();
        for (id, host) in [registry::SERVER].iter().chain(&IDS).zip(network.hosts()) {
            let (listen, announce) = (tcp(host, PORT), tcp(host, port));
            let socket = socket(&sandbox, id).to_string();
            let addresses =
                ["-l", &socket, "-l", &listen, "-a", &announce, "--insecure-tcp", "--log", "debug"];
            let command = if *id == registry::SERVER {
                sandbox.ensemble_command(&[&["registry"], &addresses[..]].concat())
            } else {
                traffic::command(&sandbox, id, &[&addresses[..], &["-r", &registry_address]].concat())
            };
            let mut process = Proc::start(host.command(&command), Vec::new());
            process.says(&format!("... {id} is ready at "));
            processes.push((*id, process));
        }
        let home = Home::resolve(Some(&sandbox.home())).unwrap();
        let observer = Observer::at(home, socket(&sandbox, registry::SERVER));
        for id in IDS {
            observer.node.set_route(ServerId::new(id).unwrap(), vec![socket(&sandbox, id)]);
        }
        Some(Self { observer, processes, relays, network, sandbox })
    }

    fn host(&self, id: &str) -> &Host {
        let number = IDS.iter().position(|other| *other == id).map_or(0, |position| position + 1);
        &self.network.hosts()[number]
    }

    fn incarnations(&self) -> BTreeMap<&'static str, Incarnation> {
        IDS.iter().map(|id| (*id, self.observer.lookup(id).unwrap().unwrap().incarnation)).collect()
    }

    fn begin(&self) -> Servers<'_> {
        let servers = Servers::begin(&self.observer, &IDS, EVERY, TIMEOUT);
        servers.await_answers(SOME, DEADLINE, |_, _| true);
        servers
    }

    /// From now on, neither of the two receives anything of the other.
    fn cut(&self, one: &str, other: &str) {
        let (one, other) = (self.host(one), self.host(other));
        one.receives(&[(other, Reception::Cut)]);
        other.receives(&[(one, Reception::Cut)]);
    }

    /// From now on, nobody receives anything of it, nor it of others.
    fn isolate(&self, id: &str) {
        let alone = self.host(id);
        let others: Vec<&Host> =
            self.network.hosts().iter().filter(|host| host.address() != alone.address()).collect();
        alone.receives(&others.iter().map(|host| (*host, Reception::Cut)).collect::<Vec<_>>());
        others.iter().for_each(|host| host.receives(&[(alone, Reception::Cut)]));
    }

    fn heal(&self) {
        self.network.hosts().iter().for_each(|host| host.receives(&[]));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            for (id, process) in &self.processes {
                eprintln!("-- the log of {id}\n{}", process.stderr());
            }
        }
    }
}

fn socket(sandbox: &Sandbox, id: &str) -> Address {
    format!("unix:{}", sandbox.file(&format!("{id}.sock")).display()).parse().unwrap()
}

fn relay(host: &Host, pace: Pace) -> Relay {
    let at = |port| SocketAddr::from((host.address(), port));
    host.enter(|| Relay::start(at(RELAY_PORT), at(PORT), pace)).unwrap()
}

#[test]
fn a_server_that_the_registry_does_not_hear_is_gone_and_comes_back_while_calls_go_on() {
    let Some(cluster) = Cluster::start(None) else { return };
    let before = cluster.incarnations();
    let servers = cluster.begin();
    let observer = &cluster.observer;

    let cut = Instant::now();
    cluster.cut(registry::SERVER, "a");
    within(SUSPECT_AFTER_SILENCE, "suspect", observer.sees_it("a", Liveness::Suspect) - cut);
    within(GONE, "gone", observer.sees_it_gone("a") - cut);
    for id in ["b", "c"] {
        assert_eq!(observer.lookup(id).unwrap().unwrap().liveness, Liveness::Reachable);
    }
    let healed = Instant::now();
    cluster.heal();
    within(HEALED, "back", observer.sees_it("a", Liveness::Reachable) - healed);
    assert_eq!(cluster.incarnations(), before);

    // The servers had each other's addresses and connections all the time.
    let tally = servers.settle(MARGIN);
    assert_eq!(tally.failed(), 0, "{tally}");
}

#[test]
fn what_is_lost_in_one_direction_only() {
    let Some(cluster) = Cluster::start(None) else { return };
    let before = cluster.incarnations();
    let servers = cluster.begin();
    let (registry, a, b, c) =
        (cluster.host(registry::SERVER), cluster.host("a"), cluster.host("b"), cluster.host("c"));

    // Much is lost of what one server sends, and nothing of what is sent to it.
    for host in [registry, b, c] {
        host.receives(&[(a, Reception::Lossy(20))]);
    }
    servers.await_answers(SOME, DEADLINE, |_, _| true);

    // It hears another server and is not heard: it does what the other asks, whose calls end all the same.
    b.receives(&[(a, Reception::Cut)]);
    let is_between = |from: &str, to: &str| [from, to] == ["a", "b"] || [from, to] == ["b", "a"];
    servers.await_failures(is_between);
    servers.await_answers(SOME, DEADLINE, |from, to| !is_between(from, to));

    // It does not hear the registry; then the registry does not hear it.
    a.receives(&[(registry, Reception::Cut)]);
    servers.await_answers(SOME, DEADLINE, |from, to| !is_between(from, to));
    a.receives(&[]);
    let cut = Instant::now();
    registry.receives(&[(a, Reception::Cut)]);
    within(SUSPECT_AFTER_SILENCE, "suspect", cluster.observer.sees_it("a", Liveness::Suspect) - cut);
    servers.await_answers(SOME, DEADLINE, |from, to| !is_between(from, to));

    let healed = Instant::now();
    cluster.heal();
    servers.await_answers(SOME, HEALED + MARGIN, |_, _| true);
    within(HEALED, "calls go through", healed.elapsed());
    for id in IDS {
        within(HEALED, id, cluster.observer.sees_it(id, Liveness::Reachable) - healed);
    }
    assert_eq!(cluster.incarnations(), before);
    let tally = servers.settle(MARGIN);
    assert!(tally.of(Outcome::Unknown) > 0, "{tally}");
}

#[test]
fn a_slow_network_that_loses_packets_and_connections() {
    let pace =
        Pace { delay: Duration::from_millis(200), stall_percent: 5, stall: Duration::from_millis(200) };
    let Some(cluster) = Cluster::start(Some(pace)) else { return };
    for host in cluster.network.hosts() {
        let all: Vec<(&Host, Reception)> =
            cluster.network.hosts().iter().map(|from| (from, Reception::Lossy(5))).collect();
        host.receives(&all);
    }
    let before = cluster.incarnations();
    let servers = cluster.begin();
    for relay in &cluster.relays {
        assert!(relay.cut() > 0);
        servers.await_answers(SOME, DEADLINE, |_, _| true);
    }
    for id in IDS {
        cluster.observer.sees_it(id, Liveness::Reachable);
    }
    assert_eq!(cluster.incarnations(), before);
    let tally = servers.settle(MARGIN);
    assert!(tally.of(Outcome::Answered) > IDS.len() * SOME, "{tally}");
}

#[test]
fn a_long_cut_and_its_healing() {
    let Some(cluster) = Cluster::start(None) else { return };
    let seconds = env::var(CUT_SECONDS).ok();
    let length = seconds.map_or(DEFAULT_CUT, |text| Duration::from_secs(text.parse().unwrap()));
    let before = cluster.incarnations();
    let servers = cluster.begin();
    let observer = &cluster.observer;

    let cut = Instant::now();
    cluster.isolate("a");
    within(SUSPECT_AFTER_SILENCE, "suspect", observer.sees_it("a", Liveness::Suspect) - cut);
    within(GONE, "gone", observer.sees_it_gone("a") - cut);
    // Who asks in vain is told so in time.
    let registry = format!("tcp:{}:{PORT}", cluster.host(registry::SERVER).address());
    let asked = Instant::now();
    let args = ["list", "servers", "-r", &registry, "--insecure-tcp", "--timeout", "1"];
    let command = cluster.host("a").command(&cluster.sandbox.ensemble_command(&args));
    Proc::start(command, Vec::new()).finish().fails(4, &[&registry]);
    within(Duration::from_secs(1), "a command ends", asked.elapsed());
    // The others go on, for as long as the cut lasts.
    while cut.elapsed() < length {
        servers.await_answers(SOME, DEADLINE, |from, to| from != "a" && to != "a");
        thread::sleep(EVERY);
    }
    let healed = Instant::now();
    cluster.heal();
    within(HEALED, "back", observer.sees_it("a", Liveness::Reachable) - healed);
    servers.await_answers(SOME, HEALED + MARGIN, |_, _| true);
    within(HEALED, "calls go through", healed.elapsed());
    assert_eq!(cluster.incarnations(), before);

    // What the command line says after it.
    let registry = socket(&cluster.sandbox, registry::SERVER).to_string();
    let shown = cluster.sandbox.ensemble(&["lookup", "a", "-r", &registry]).exits(0);
    assert!(shown.out().contains("reachable"), "{}", shown.out());

    let tally = servers.settle(MARGIN);
    assert!(tally.failed() > 0, "{tally}");
}
