//! Many servers at one registry, over UNIX sockets and with the default lease: what the registry costs while nothing
//! happens, how long lookups take, and how long it takes until all servers are back after a kill -9 and a restart.
//!
//! `cargo bench -p ensemble-registry --bench servers [-- SERVERS [SECONDS]]`: 1,000 servers in four processes, and ten
//! seconds for each of the two measurements, unless told otherwise.

#![expect(clippy::print_stdout, reason = "a benchmark's report goes to stdout")]

use std::{
    error::Error,
    fs,
    future::Future,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix::System;
use ensemble::{Address, Cookie, Node, ServerId};
use registry::{Client, Join, Liveness, SERVER, serve};
use tokio::{task::JoinSet, time::sleep};

/// The allocator of the command line's binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const COOKIE: [u8; 32] = [7; 32];
const PROCESSES: usize = 4;
/// Servers of one process that join at the same time.
const JOINING: usize = 32;
/// The kernel's unit of CPU time in `/proc/PID/stat`, as in all Linux of today.
const TICKS_PER_SECOND: f64 = 100.0;
/// Descriptors of a process besides those of its servers.
const SPARE_DESCRIPTORS: usize = 64;

fn main() -> AnyResult<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", dir] => System::new().block_on(serve_registry(Path::new(dir))),
        ["join", dir, first, count] => {
            System::new().block_on(join(Path::new(dir), first.parse()?, count.parse()?))
        }
        [] => System::new().block_on(measure(1_000, 10)),
        [servers] => System::new().block_on(measure(servers.parse()?, 10)),
        [servers, seconds] => System::new().block_on(measure(servers.parse()?, seconds.parse()?)),
        _ => Err("usage: servers [SERVERS [SECONDS]]".into()),
    }
}

fn socket(dir: &Path, server: &str) -> Address {
    Address::Unix(dir.join(format!("{server}.sock")))
}

fn name(number: usize) -> String {
    format!("server-{number:05}")
}

/// Waits until the parent has gone or has closed the pipe.
async fn until_told() {
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    if let Ok(Err(cause)) | Err(cause) = waiting.await.map_err(std::io::Error::other) {
        println!("stdin: {cause}");
    }
}

async fn serve_registry(dir: &Path) -> AnyResult<()> {
    let builder = Node::builder(SERVER).cookie(Cookie::from_bytes(COOKIE)).listen(socket(dir, SERVER));
    let node = builder.start().await?;
    serve(&node, &dir.join("registry")).await?;
    println!("ready");
    until_told().await;
    Ok(())
}

async fn join(dir: &Path, first: usize, count: usize) -> AnyResult<()> {
    let mut nodes = Vec::new();
    let mut joining: JoinSet<Result<Node, registry::JoinError>> = JoinSet::new();
    for number in first..first + count {
        if joining.len() >= JOINING
            && let Some(joined) = joining.join_next().await
        {
            nodes.push(joined??);
        }
        let name = name(number);
        let builder = Node::builder(&name).role("bench").cookie(Cookie::from_bytes(COOKIE));
        let joined = builder.listen(socket(dir, &name)).join_at(socket(dir, SERVER));
        joining.spawn_local(joined.join());
    }
    while let Some(joined) = joining.join_next().await {
        nodes.push(joined??);
    }
    println!("ready");
    until_told().await;
    Ok(())
}

/// A process of this benchmark, which goes with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(cause) = self.0.kill().and_then(|()| self.0.wait().map(drop)) {
            println!("a process could not be ended: {cause}");
        }
    }
}

impl Process {
    fn start(args: &[&str]) -> AnyResult<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Ok(Self(command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Waits until it says so.
    async fn ready(&mut self) -> AnyResult<()> {
        let output = self.0.stdout.take().ok_or("it has been waited for already")?;
        let read = move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        };
        let line = tokio::task::spawn_blocking(read).await??;
        if line == "ready\n" { Ok(()) } else { Err(format!("a process failed: {line:?}").into()) }
    }

    fn file(&self, name: &str) -> AnyResult<String> {
        Ok(fs::read_to_string(PathBuf::from("/proc").join(self.0.id().to_string()).join(name))?)
    }

    /// CPU time used so far: in the program, and in the kernel for it.
    fn cpu_seconds(&self) -> AnyResult<[f64; 2]> {
        let stat = self.file("stat")?;
        // The name, in parentheses, may contain anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let seconds = |field: usize| -> AnyResult<f64> {
            let ticks: f64 = fields.get(field).ok_or("/proc/PID/stat is too short")?.parse()?;
            Ok(ticks / TICKS_PER_SECOND)
        };
        Ok([seconds(11)?, seconds(12)?])
    }

    fn memory(&self) -> AnyResult<[f64; 2]> {
        let status = self.file("status")?;
        let mebibytes = |name: &str| -> AnyResult<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
            let kibibytes: f64 = line.split_whitespace().next().ok_or("an empty line")?.parse()?;
            Ok(kibibytes / 1024.0)
        };
        Ok([mebibytes("VmRSS:")?, mebibytes("VmHWM:")?])
    }

    fn descriptors(&self) -> AnyResult<usize> {
        Ok(fs::read_dir(PathBuf::from("/proc").join(self.0.id().to_string()).join("fd"))?.count())
    }
}

fn check_descriptors(servers: usize) -> AnyResult<()> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).ok_or("no such limit")?;
    let limit = line.split_whitespace().next().unwrap_or_default();
    // The registry has a connection of each server; a server has a socket, its lock, and a connection.
    let needed = (servers + SPARE_DESCRIPTORS).max(servers.div_ceil(PROCESSES) * 3 + SPARE_DESCRIPTORS);
    println!("file descriptors: at most {needed} in a process are needed, {limit} are allowed");
    match limit.parse::<usize>() {
        Ok(limit) if limit < needed => Err(format!("raise the limit: ulimit -n {needed}").into()),
        _ => Ok(()),
    }
}

/// Waits until the registry shows all servers as reachable, and says how often it had to look.
async fn all_reachable(client: &Client, servers: usize) -> usize {
    let mut looks = 0;
    loop {
        looks += 1;
        if let Ok(found) = client.all().await {
            let reachable = found.iter().filter(|info| info.liveness == Liveness::Reachable).count();
            if reachable == servers {
                return looks;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn seconds_of(doing: impl Future<Output = AnyResult<()>>) -> AnyResult<f64> {
    let start = Instant::now();
    doing.await?;
    Ok(start.elapsed().as_secs_f64())
}

fn percentile(sorted: &[Duration], percent: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in the list")]
    let position = ((sorted.len() as f64 * percent / 100.0) as usize).min(sorted.len() - 1);
    sorted[position].as_secs_f64() * 1e6
}

async fn measure(servers: usize, seconds: u64) -> AnyResult<()> {
    check_descriptors(servers)?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().to_str().ok_or("the directory has no text form")?;
    let mut registry = Process::start(&["serve", path])?;
    registry.ready().await?;

    let mut processes = Vec::new();
    let took = seconds_of(async {
        let each = servers.div_ceil(PROCESSES);
        for first in (0..servers).step_by(each) {
            let count = each.min(servers - first);
            processes.push(Process::start(&["join", path, &first.to_string(), &count.to_string()])?);
        }
        for process in &mut processes {
            process.ready().await?;
        }
        Ok(())
    });
    println!("{servers} servers in {PROCESSES} processes have joined after {:.2} s", took.await?);

    let node = Node::builder("bench-client").cookie(Cookie::from_bytes(COOKIE)).start().await?;
    let client = Client::new(&node, socket(dir.path(), SERVER));
    all_reachable(&client, servers).await;

    let before = registry.cpu_seconds()?;
    sleep(Duration::from_secs(seconds)).await;
    let after = registry.cpu_seconds()?;
    let [user, system] = [0, 1].map(|part| (after[part] - before[part]) / seconds as f64 * 1e3);
    let [memory, most] = registry.memory()?;
    println!("the registry, heartbeats only, over {seconds} s:");
    println!("  CPU     {:.1} ms a second ({user:.1} program, {system:.1} kernel)", user + system);
    println!("  memory  {memory:.1} MiB (at most {most:.1} MiB), {} descriptors", registry.descriptors()?);

    let before = registry.cpu_seconds()?;
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        // Spread over all servers, in an order that no cache likes.
        let id = ServerId::new(name(took.len() * 7919 % servers))?;
        let asked = Instant::now();
        client.lookup(&id).await?;
        took.push(asked.elapsed());
    }
    let after = registry.cpu_seconds()?;
    let cpu = (after[0] + after[1] - before[0] - before[1]) / took.len() as f64 * 1e6;
    took.sort_unstable();
    println!("{} lookups, one after the other, by one client:", took.len());
    let [half, most] = [50.0, 99.0].map(|percent| percentile(&took, percent));
    println!("  p50 {half:.0} µs, p99 {most:.0} µs, longest {:.0} µs", percentile(&took, 100.0));
    println!("  {cpu:.0} µs of the registry's CPU time for each");

    let mut lists = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        client.all().await?;
        lists.push(asked.elapsed());
    }
    lists.sort_unstable();
    println!(
        "a list of all: p50 {:.0} µs, longest {:.0} µs",
        percentile(&lists, 50.0),
        percentile(&lists, 100.0)
    );

    let killed = Instant::now();
    drop(registry);
    let mut registry = Process::start(&["serve", path])?;
    registry.ready().await?;
    let up = killed.elapsed();
    let looks = all_reachable(&client, servers).await;
    let back = killed.elapsed();
    println!(
        "after kill -9: the registry is up after {:.2} s, all servers are back after {:.2} s ({looks} looks)",
        up.as_secs_f64(),
        back.as_secs_f64()
    );
    let [user, system] = registry.cpu_seconds()?;
    let [memory, most] = registry.memory()?;
    println!(
        "  for that it took {:.0} ms of CPU time and has {memory:.1} MiB (at most {most:.1} MiB)",
        (user + system) * 1e3
    );
    Ok(())
}
