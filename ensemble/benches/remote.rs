//! Remote calls between two processes over a UNIX socket, against a bare tokio echo that moves the same bytes in the
//! same framing; and local calls against plain actix. Both sides of a comparison run in turn, round by round.
//!
//! `cargo bench -p ensemble --bench remote [-- ROUNDS [IN_FLIGHT]]`

#![expect(clippy::print_stdout, reason = "a benchmark's report goes to stdout")]

use std::{
    cell::Cell,
    error::Error,
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant},
};

use actix::prelude::*;
use ensemble::{Address, Cookie, Exports, Node, RemoteMessage};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

/// The allocator of the command line's binaries. With a few hundred messages at once, the system's own takes more than
/// a third of a server's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyResult<T> = Result<T, Box<dyn Error>>;

const COOKIE: [u8; 32] = [7; 32];
/// What a request's frame has besides the payload (length, kind, number, deadline, names), and a reply's.
const REQUEST_OVERHEAD: usize = 27;
const REPLY_OVERHEAD: usize = 8;

#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "ByteBuf")]
struct Echo(ByteBuf);

impl RemoteMessage for Echo {
    const NAME: &'static str = "bench.echo";
}

struct Echoes;

impl Actor for Echoes {
    type Context = Context<Self>;
}

impl Handler<Echo> for Echoes {
    type Result = MessageResult<Echo>;

    fn handle(&mut self, echo: Echo, _: &mut Context<Self>) -> Self::Result {
        MessageResult(echo.0)
    }
}

fn main() -> AnyResult<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve-node", path] => System::new().block_on(serve_node(path)),
        ["call-node", path, calls] => System::new().block_on(call_node(Path::new(path), calls.parse()?)),
        ["serve-echo", path] => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(serve_echo(Path::new(path))),
        [] => measure(9, None),
        [rounds] => measure(rounds.parse()?, None),
        [rounds, in_flight] => measure(rounds.parse()?, Some(in_flight.parse()?)),
        _ => Err("usage: remote [ROUNDS [IN_FLIGHT]]".into()),
    }
}

/// For a profiler: so many calls of 100 B with 256 in flight, to a server that was started by hand.
async fn call_node(path: &Path, calls: usize) -> AnyResult<()> {
    let node = Node::builder("bench-client").cookie(Cookie::from_bytes(COOKIE)).start().await?;
    node.set_route("bench".parse()?, vec![Address::Unix(path.to_owned())]);
    println!("{:.0} calls/s", remote_round(&node, 100, 256, calls).await);
    Ok(())
}

async fn serve_node(path: &str) -> AnyResult<()> {
    let address = Address::Unix(path.into());
    let node = Node::builder("bench").cookie(Cookie::from_bytes(COOKIE)).listen(address).start().await?;
    node.export("echo", Exports::start(Echoes).message::<Echo>())?;
    node.run().await?;
    Ok(())
}

/// Frames are a length (u32) and that many bytes. The first eight bytes of each say how long the reply is to be.
async fn serve_echo(path: &Path) -> AnyResult<()> {
    let listener = UnixListener::bind(path)?;
    loop {
        let (mut socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut input = bytes::BytesMut::with_capacity(256 * 1024);
            let mut output = Vec::with_capacity(256 * 1024);
            while socket.read_buf(&mut input).await.is_ok_and(|count| count > 0) {
                while let Some(frame) = split(&mut input) {
                    let reply = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
                    output.extend_from_slice(&(reply as u32).to_be_bytes());
                    output.extend_from_slice(&frame[..reply]);
                }
                if socket.write_all(&output).await.is_err() {
                    return;
                }
                output.clear();
                input.reserve(64 * 1024);
            }
        });
    }
}

fn split(input: &mut bytes::BytesMut) -> Option<bytes::BytesMut> {
    let prefix = input.first_chunk::<4>()?;
    let length = u32::from_be_bytes(*prefix) as usize;
    if input.len() < 4 + length {
        return None;
    }
    let mut frame = input.split_to(4 + length);
    Some(frame.split_off(4))
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

fn start(mode: &str, path: &Path) -> AnyResult<Server> {
    let child = Command::new(std::env::current_exe()?).arg(mode).arg(path).stdin(Stdio::null()).spawn()?;
    let server = Server(child);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::os::unix::net::UnixStream::connect(path).is_err() {
        if Instant::now() > deadline {
            return Err("the server does not start".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// Calls per second of the bare echo.
async fn echo_round(path: &Path, payload: usize, in_flight: usize, calls: usize) -> AnyResult<f64> {
    let mut socket = UnixStream::connect(path).await?;
    let (request, reply) = (payload + REQUEST_OVERHEAD - 4, payload + REPLY_OVERHEAD - 4);
    let mut frame = (request as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(reply as u32).to_be_bytes());
    frame.resize(4 + request, 1);
    let mut input = bytes::BytesMut::with_capacity(256 * 1024);
    let mut output = Vec::new();
    let began = Instant::now();
    let (mut sent, mut done) = (0, 0);
    let (mut reader, mut writer) = socket.split();
    while done < calls {
        while sent < calls && sent < done + in_flight {
            output.extend_from_slice(&frame);
            sent += 1;
        }
        // Both directions at once, or large frames would fill both sockets and stop everything.
        let mut written = 0;
        while written < output.len() {
            tokio::select! {
                count = writer.write(&output[written..]) => written += count?,
                count = reader.read_buf(&mut input) => { count?; }
            }
        }
        output.clear();
        let before = done;
        loop {
            while split(&mut input).is_some() {
                done += 1;
            }
            if done > before {
                break;
            }
            input.reserve(64 * 1024);
            reader.read_buf(&mut input).await?;
        }
    }
    Ok(calls as f64 / began.elapsed().as_secs_f64())
}

/// Calls per second of `send`, from so many tasks.
async fn concurrently<F>(in_flight: usize, calls: usize, call: impl Fn() -> F + 'static) -> f64
where
    F: Future<Output = usize> + 'static,
{
    let began = Instant::now();
    let left = Rc::new(Cell::new(calls));
    let call = Rc::new(call);
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (left, call) = (Rc::clone(&left), Rc::clone(&call));
            actix_rt::spawn(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    assert!(call().await > 0);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a calling task does not panic");
    }
    calls as f64 / began.elapsed().as_secs_f64()
}

async fn remote_round(node: &Node, payload: usize, in_flight: usize, calls: usize) -> f64 {
    let remote = node.remote("bench", "echo");
    concurrently(in_flight, calls, move || {
        let call = remote.send(Echo(ByteBuf::from(vec![1; payload])));
        async move { call.await.expect("the server answers").len() }
    })
    .await
}

async fn local_round(node: &Node, in_flight: usize, calls: usize) -> f64 {
    let remote = node.remote(node.server().as_str(), "echo");
    concurrently(in_flight, calls, move || {
        let call = remote.send(Echo(ByteBuf::from(vec![1; 100])));
        async move { call.await.expect("the actor answers").len() }
    })
    .await
}

async fn actix_round(addr: &Addr<Echoes>, in_flight: usize, calls: usize) -> f64 {
    let addr = addr.clone();
    concurrently(in_flight, calls, move || {
        let call = addr.send(Echo(ByteBuf::from(vec![1; 100])));
        async move { call.await.expect("the actor answers").len() }
    })
    .await
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(what: &str, mut floor: Vec<f64>, mut ours: Vec<f64>) {
    let (floor_median, ours_median) = (median(&mut floor), median(&mut ours));
    let spread = |sorted: &[f64]| format!("{:.0}..{:.0}", sorted[0], sorted[sorted.len() - 1]);
    println!(
        "{what:<34} {floor_median:>11.0} {ours_median:>11.0} {:>6.1} %   {:<22} {}",
        100.0 * ours_median / floor_median,
        spread(&floor),
        spread(&ours)
    );
}

fn measure(rounds: usize, only_in_flight: Option<usize>) -> AnyResult<()> {
    let dir = tempfile::tempdir()?;
    let (echo_path, node_path) = (dir.path().join("echo"), dir.path().join("node"));
    let _echo = start("serve-echo", &echo_path)?;
    let _node = start("serve-node", &node_path)?;
    System::new().block_on(async {
        let node = Node::builder("bench-client").cookie(Cookie::from_bytes(COOKIE)).start().await?;
        node.set_route("bench".parse()?, vec![Address::Unix(node_path)]);
        let exports = Exports::start(Echoes).message::<Echo>();
        let addr = exports.addr().clone();
        node.export("echo", exports)?;
        println!("calls per second, medians of {rounds} rounds; floor: a bare echo, or plain actix");
        println!(
            "{:<34} {:>11} {:>11} {:>8}   {:<22} spread of ours",
            "", "floor", "ours", "ratio", "spread of floor"
        );
        for (payload, in_flight, calls) in [
            (100, 1, 10_000),
            (100, 64, 100_000),
            (100, 256, 200_000),
            (16 * 1024, 1, 5_000),
            (16 * 1024, 64, 20_000),
            (16 * 1024, 256, 20_000),
        ] {
            if only_in_flight.is_some_and(|only| only != in_flight) {
                continue;
            }
            let (mut floor, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..=rounds {
                floor.push(echo_round(&echo_path, payload, in_flight, calls).await?);
                ours.push(remote_round(&node, payload, in_flight, calls).await);
            }
            // The first round warms up.
            report(
                &format!("remote, {payload} B, {in_flight} in flight"),
                floor.split_off(1),
                ours.split_off(1),
            );
        }
        for in_flight in [1, 256] {
            let (mut floor, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..=rounds {
                floor.push(actix_round(&addr, in_flight, 100_000).await);
                ours.push(local_round(&node, in_flight, 100_000).await);
            }
            report(&format!("local, 100 B, {in_flight} in flight"), floor.split_off(1), ours.split_off(1));
        }
        Ok(())
    })
}
