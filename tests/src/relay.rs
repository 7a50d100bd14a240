//! A TCP relay that makes a connection slow, stalls it, or cuts it: what the network of a test cannot do by itself.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What is read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// What is on its way in one direction of a connection, in chunks; then the sender has to wait.
const MAX_CHUNKS: usize = 1024;
/// Between two looks for a new connection.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(2);
/// Shorter than what nodes give a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long things take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// In each direction.
    pub delay: Duration,
    /// Of a hundred chunks, so many come later by [`stall`](Self::stall), and all that is behind them.
    pub stall_percent: u64,
    /// As long as a lost packet would take to be sent again.
    pub stall: Duration,
}

/// Takes connections and passes on what comes over them, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    pace: Pace,
    is_closed: AtomicBool,
    /// Both ends of every connection.
    streams: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a connection in both directions. One that has ended already cannot be.
fn cut(stream: &TcpStream) {
    drop(stream.shutdown(Shutdown::Both));
}

impl Relay {
    /// Listens at `at`, and connects to `to` for each connection that comes.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn start(at: SocketAddr, to: SocketAddr, pace: Pace) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { to, pace, is_closed: AtomicBool::new(false), streams: Mutex::default() });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept_all(&listener, &accepting));
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections that there are; says how many.
    pub fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.shared.streams());
        streams.iter().for_each(cut);
        streams.len() / 2
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take()
            && acceptor.join().is_err()
        {
            eprintln!("the thread of a relay has panicked");
        }
        self.cut();
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.is_closed.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, from)) => {
                if let Err(cause) = pass_on(shared, stream) {
                    eprintln!("a relay could not pass on the connection from {from}: {cause}");
                }
            }
            // A thread that waits for a connection cannot be told to end.
            Err(_) => thread::sleep(ACCEPT_INTERVAL),
        }
    }
}

fn pass_on(shared: &Arc<Shared>, near: TcpStream) -> io::Result<()> {
    let far = TcpStream::connect_timeout(&shared.to, CONNECT_TIMEOUT)?;
    near.set_nonblocking(false)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    shared.streams().extend([near.try_clone()?, far.try_clone()?]);
    for (from, to, seed) in [(near.try_clone()?, far.try_clone()?, 1), (far, near, 2)] {
        let (chunks, queue) = sync_channel(MAX_CHUNKS);
        let pace = shared.pace;
        thread::spawn(move || take_in(from, pace, seed, &chunks));
        thread::spawn(move || give_out(to, &queue));
    }
    Ok(())
}

/// Bytes that are due at a time; none stand for the end.
type Chunk = (Instant, Vec<u8>);

fn take_in(mut from: TcpStream, pace: Pace, seed: u64, chunks: &SyncSender<Chunk>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut random = seed;
    let mut not_before = Instant::now();
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        // The constants are Knuth's, of a generator that is good enough here.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let is_stalled = (random >> 33) % 100 < pace.stall_percent;
        let due = Instant::now() + pace.delay + if is_stalled { pace.stall } else { Duration::ZERO };
        not_before = not_before.max(due);
        let is_taken = chunks.send((not_before, buffer[..read].to_vec())).is_ok();
        if read == 0 || !is_taken {
            return;
        }
    }
}

fn give_out(mut to: TcpStream, queue: &Receiver<Chunk>) {
    for (due, bytes) in queue {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() {
            // The other direction may still have something.
            drop(to.shutdown(Shutdown::Write));
            return;
        }
        if to.write_all(&bytes).is_err() {
            cut(&to);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    const ANY: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

    fn connected(pace: Pace) -> (Relay, TcpStream, TcpStream) {
        let listener = TcpListener::bind(ANY).unwrap();
        let relay = Relay::start(ANY, listener.local_addr().unwrap(), pace).unwrap();
        let near = TcpStream::connect(relay.address()).unwrap();
        (relay, near, listener.accept().unwrap().0)
    }

    #[test]
    fn everything_arrives_in_its_order_and_not_before_its_time() {
        let pace =
            Pace { delay: Duration::from_millis(20), stall_percent: 50, stall: Duration::from_millis(30) };
        let (_relay, mut near, mut far) = connected(pace);
        let begin = Instant::now();
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            near.write_all(&sent).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).unwrap();
            answer
        });
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        assert!(begin.elapsed() >= pace.delay);
        assert!(received == expected);
        far.write_all(b"all of it").unwrap();
        drop(far);
        assert_eq!(writer.join().unwrap(), b"all of it");
        assert!(begin.elapsed() >= 2 * pace.delay);
    }

    #[test]
    fn a_cut_ends_both_ends_and_new_connections_are_taken() {
        let (relay, mut near, mut far) = connected(Pace::default());
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        assert_eq!(relay.cut(), 1);
        for stream in [&mut near, &mut far] {
            assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        }
        TcpStream::connect(relay.address()).unwrap();
    }
}
