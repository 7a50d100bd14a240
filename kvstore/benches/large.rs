//! How long pings take while a value of 64 MiB goes over the same connection, in each direction, and while nothing
//! does. The server is another process, reached over a UNIX socket.
//!
//! `cargo bench -p ensemble-kvstore --bench large [-- ROUNDS]`

#![expect(clippy::print_stdout, reason = "a benchmark's report goes to stdout")]

use std::{
    collections::BTreeMap,
    error::Error,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use actix::System;
use bytes::Bytes;
use ensemble::{Address, Cookie, Node, Role, RoleContext};
use kvstore::{Client, KvStoreRole};

type AnyResult<T> = Result<T, Box<dyn Error>>;

const COOKIE: [u8; 32] = [7; 32];
const VALUE_BYTES: usize = 64 << 20;
/// No ping may take longer.
const MOST: Duration = Duration::from_millis(50);

fn main() -> AnyResult<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", dir] => System::new().block_on(serve(Path::new(dir))),
        [] => System::new().block_on(measure(5)),
        [rounds] => System::new().block_on(measure(rounds.parse()?)),
        _ => Err("usage: large [ROUNDS]".into()),
    }
}

async fn serve(dir: &Path) -> AnyResult<()> {
    let address = Address::Unix(dir.join("socket"));
    let node = Node::builder("kvstore").cookie(Cookie::from_bytes(COOKIE)).listen(address).start().await?;
    let context = RoleContext::new(node.clone(), dir.to_owned(), BTreeMap::new());
    KvStoreRole.start(context).await?;
    node.run().await?;
    Ok(())
}

/// Stops its process when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            self.0.wait().ok();
        }
    }
}

/// What was done, how long it took, and how long each ping took meanwhile.
type Pinged<T> = (T, Duration, Vec<Duration>);

/// Pings until `work` is done.
async fn ping_during<T>(node: &Node, work: impl Future<Output = T>) -> AnyResult<Pinged<T>> {
    let remote = node.remote("kvstore", "kvstore");
    let began = Instant::now();
    let mut pings = Vec::new();
    tokio::pin!(work);
    loop {
        let ping = async {
            let began = Instant::now();
            let pong = remote.ping().await.map(|()| began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
            pong
        };
        tokio::select! {
            done = &mut work => return Ok((done, began.elapsed(), pings)),
            pong = ping => pings.push(pong?),
        }
    }
}

fn report(what: &str, times: &mut [Duration], pings: &mut [Duration]) {
    times.sort();
    pings.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let at = |part: f64| ms(pings[((pings.len() - 1) as f64 * part) as usize]);
    let median = ms(times[times.len() / 2]);
    println!(
        "{what:<22} {median:>8.0} {:>7} {:>9.2} {:>9.2} {:>9.2}",
        pings.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn measure(rounds: usize) -> AnyResult<()> {
    let dir = tempfile::tempdir()?;
    let mut server = Command::new(std::env::current_exe()?);
    let _server = Server(server.arg("serve").arg(dir.path()).stdin(Stdio::null()).spawn()?);
    let socket = dir.path().join("socket");
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        if Instant::now() > deadline {
            return Err("the server does not start".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let node = Node::builder("bench-client").cookie(Cookie::from_bytes(COOKIE)).start().await?;
    node.set_route("kvstore".parse()?, vec![Address::Unix(socket)]);
    let client = Client::new(&node, "kvstore").with_timeout(Duration::from_secs(60));
    // Bytes that do not compress, as a photograph's would not.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let value: Bytes = std::iter::repeat_with(noise).take(VALUE_BYTES).collect();
    println!(
        "pings of the store's actor on the connection that carries a value of 64 MiB; {rounds} rounds, ms"
    );
    println!("{:<22} {:>8} {:>7} {:>9} {:>9} {:>9}", "during", "median", "pings", "p50", "p99", "worst");
    let mut idle = (Vec::new(), Vec::new());
    let mut putting = (Vec::new(), Vec::new());
    let mut getting = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let ((), took, pings) = ping_during(&node, tokio::time::sleep(Duration::from_millis(500))).await?;
        idle.0.push(took);
        idle.1.extend(pings);
        let (put, took, pings) = ping_during(&node, client.put("large", value.clone())).await?;
        put?;
        putting.0.push(took);
        putting.1.extend(pings);
        let (got, took, pings) = ping_during(&node, client.get("large")).await?;
        assert!(got?.is_some_and(|got| got.bytes == value), "the value has come back whole");
        getting.0.push(took);
        getting.1.extend(pings);
    }
    report("nothing", &mut idle.0, &mut idle.1);
    report("a put of 64 MiB", &mut putting.0, &mut putting.1);
    report("a get of 64 MiB", &mut getting.0, &mut getting.1);
    let worst = putting.1.iter().chain(&getting.1).max();
    match worst {
        Some(&worst) if worst >= MOST => Err(format!("a ping took {worst:?}; the bound is {MOST:?}").into()),
        _ => Ok(()),
    }
}
