//! Networks of a test's own: hosts that are network namespaces, at one bridge, with packets lost as the test says.
//!
//! Nothing outside of the namespaces is touched. Each is named after the process that made it, and is removed with the
//! [`Network`]; what a killed test has left behind is removed by the next one, with the processes in it.

use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::{
    process::{Pid, Signal, geteuid, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{process::Proc, skip::skip};

/// What the names of all namespaces begin with; the process and a number follow.
const PREFIX: &str = "ensemble-test-";

/// Where the system keeps the names of network namespaces.
const NAMES: &str = "/run/netns";

/// How one host receives the packets of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// All of them.
    Clear,
    /// So many of a hundred, but not all, are lost at random.
    Lossy(u32),
    /// None.
    Cut,
}

/// Hosts that reach each other, and nothing else. Dropped after what runs in them.
#[derive(Debug)]
pub struct Network {
    name: String,
    hosts: Vec<Host>,
}

/// A network namespace with one address.
#[derive(Debug)]
pub struct Host {
    namespace: String,
    address: Ipv4Addr,
}

/// Runs a program of the system to its end; its standard output.
fn run(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    if !is_installed(program) {
        return Err(format!("there is no program {program}; Debian has it in iproute2 or nftables"));
    }
    let mut command = Command::new(program);
    command.args(args);
    let done = Proc::start(command, input.as_bytes().to_vec()).finish();
    if done.status.success() {
        Ok(done.out().to_owned())
    } else {
        Err(format!("{program} {}: {}", args.join(" "), done.err().trim()))
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn ip(args: &[&str]) -> Result<(), String> {
    run("ip", args, "").map(drop)
}

impl Network {
    /// Makes `hosts` of them. `None` where that is not possible, which needs root and the programs `ip` and `nft`; then
    /// [`skip`] has said why.
    ///
    /// # Panics
    /// Instead of skipping, where everything is to be possible.
    #[track_caller]
    pub fn new(hosts: usize) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            skip("network namespaces need root");
            return None;
        }
        sweep();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut network = Self { name: format!("{PREFIX}{}-{count}", process::id()), hosts: Vec::new() };
        match network.set_up(hosts) {
            Ok(()) => Some(network),
            Err(cause) => {
                skip(&format!("no network can be made: {cause}"));
                None
            }
        }
    }

    fn set_up(&mut self, hosts: usize) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "bridge", "up"])?;
        for number in 1..=hosts {
            let number = u8::try_from(number).map_err(|cause| cause.to_string())?;
            let host = Host {
                namespace: format!("{}-{number}", self.name),
                address: Ipv4Addr::new(10, 0, 0, number),
            };
            let namespace = host.namespace.clone();
            ip(&["netns", "add", &namespace])?;
            let (port, address) = (format!("port{number}"), format!("{}/24", host.address));
            self.hosts.push(host);
            let (here, there) = (["name", "eth0", "netns", &namespace], ["name", &port, "netns", &bridge]);
            ip(&[&["link", "add"], &here[..], &["type", "veth", "peer"], &there[..]].concat())?;
            ip(&["-n", &bridge, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        }
        let Some(first) = self.hosts.first() else { return Ok(()) };
        first.filter(&[(first, Reception::Lossy(1))])?;
        first.filter(&[])
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.name)
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = self.hosts.iter().map(|host| host.namespace.clone());
        for namespace in hosts.chain([self.bridge()]) {
            if Path::new(NAMES).join(&namespace).exists()
                && let Err(cause) = ip(&["netns", "delete", &namespace])
            {
                eprintln!("a namespace is left behind: {cause}");
            }
        }
    }
}

/// Removes what tests that were killed have left behind.
fn sweep() {
    let Ok(names) = fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let Some(maker) = maker.filter(|maker| maker.parse::<u32>().is_ok()) else { continue };
        if Path::new("/proc").join(maker).exists() {
            continue;
        }
        let removed = kill_all_in(&name).and_then(|()| ip(&["netns", "delete", &name]));
        // Another test may remove it in the same moment.
        if let Err(cause) = removed {
            eprintln!("a namespace of a killed test is left behind: {cause}");
        }
    }
}

fn kill_all_in(namespace: &str) -> Result<(), String> {
    for id in run("ip", &["netns", "pids", namespace], "")?.lines() {
        if let Some(pid) = id.trim().parse().ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).map_err(|cause| cause.to_string())?;
        }
    }
    Ok(())
}

impl Host {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The same command, to be run on this host.
    pub fn command(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.namespace]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            there.current_dir(dir);
        }
        there
    }

    /// Runs `work` on a thread whose sockets, and those of the threads that it starts, belong to this host.
    ///
    /// # Panics
    /// When the thread cannot be moved there, or `work` panics.
    #[track_caller]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(Path::new(NAMES).join(&self.namespace)).expect("the namespace is there");
        let moved = || {
            use std::os::fd::AsFd;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            work()
        };
        thread::scope(|scope| scope.spawn(moved).join()).expect("what is done on a host does not panic")
    }

    /// From now on this host receives the packets of those as it says, and those of all others.
    ///
    /// # Panics
    /// When that cannot be set.
    #[track_caller]
    pub fn receives(&self, from: &[(&Host, Reception)]) {
        if let Err(cause) = self.filter(from) {
            panic!("{cause}");
        }
    }

    fn filter(&self, from: &[(&Host, Reception)]) -> Result<(), String> {
        // Made first, so that it can be removed whether or not it was there; all of it at once.
        let mut rules = String::from("table inet faults\ndelete table inet faults\ntable inet faults {\n");
        rules.push_str("chain input { type filter hook input priority 0; policy accept;\n");
        for (host, reception) in from {
            let from = format!("ip saddr {}", host.address);
            let written = match reception {
                Reception::Clear => Ok(()),
                Reception::Lossy(percent) => {
                    writeln!(rules, "{from} numgen random mod 100 < {percent} drop")
                }
                Reception::Cut => writeln!(rules, "{from} drop"),
            };
            written.expect("a string takes all");
        }
        rules.push_str("}\n}\n");
        run("ip", &["netns", "exec", &self.namespace, "nft", "-f", "-"], &rules).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    fn is_reached(from: &Host, listener: &TcpListener) -> bool {
        let at: SocketAddr = listener.local_addr().unwrap();
        from.enter(|| TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_ok())
    }

    #[test]
    fn hosts_reach_each_other_as_they_are_told() {
        let Some(network) = Network::new(2) else { return };
        let [one, two] = network.hosts() else { panic!("two were asked for") };
        let listener = two.enter(|| TcpListener::bind((two.address(), 0)).unwrap());
        assert!(is_reached(one, &listener));
        two.receives(&[(one, Reception::Cut)]);
        assert!(!is_reached(one, &listener));
        two.receives(&[(one, Reception::Clear)]);
        assert!(is_reached(one, &listener));
        // The test itself is elsewhere.
        let at = listener.local_addr().unwrap();
        assert!(TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_err());
    }

    #[test]
    fn what_a_killed_test_has_left_behind_is_removed() {
        let Some(network) = Network::new(1) else { return };
        let mut maker = Command::new("true").spawn().unwrap();
        let (gone, own) = (maker.id(), &network.hosts()[0].namespace);
        maker.wait().unwrap();
        let left_behind = format!("{PREFIX}{gone}-0-1");
        ip(&["netns", "add", &left_behind]).unwrap();
        let host = Host { namespace: left_behind.clone(), address: Ipv4Addr::LOCALHOST };
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        let mut process = Proc::start(host.command(&sleep), Vec::new());
        let entered = || run("ip", &["netns", "pids", &left_behind], "").unwrap();
        crate::eventually("the process is in the namespace", || (!entered().is_empty()).then_some(()));
        drop(Network::new(1));
        assert!(!Path::new(NAMES).join(&left_behind).exists());
        assert!(Path::new(NAMES).join(own).exists());
        crate::eventually("the process is killed", || (!process.is_running()).then_some(()));
    }
}
