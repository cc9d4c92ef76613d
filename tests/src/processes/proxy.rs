//! TCP proxies between validators: one for each ordered pair, so that every direction of every link can be hurt by itself.
//!
//! What is held back is not lost: as TCP does, a link hands it on when it is whole again. While a direction is blocked, ends of
//! streams do not get through either, so a blocked peer looks like one that was unplugged.

use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// The most bytes that are read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// How many chunks a link holds before it stops reading.
const CHUNKS_MAX: usize = 256;

/// How one direction of a link behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    /// Nothing gets through.
    pub blocked: bool,
    /// How much later everything arrives.
    pub delay: Duration,
    /// The most bytes a second, if there is a bound.
    pub bytes_per_second: Option<u64>,
    /// Raised by one, it puts [`GARBAGE`] between two chunks.
    pub garbage: u64,
}

/// What is put into a stream by [`Flow::garbage`].
pub const GARBAGE: [u8; 64] = [0xa5; 64];

/// All links between `count` nodes.
pub struct Proxies {
    count: usize,
    /// By `from * count + to`.
    flows: Vec<watch::Sender<Flow>>,
    /// Raised by one, it cuts what is connected through the link that `from` dials.
    cuts: Vec<watch::Sender<u64>>,
    addresses: Vec<SocketAddr>,
}

/// The two directions of a connection, seen from who dials.
#[derive(Clone)]
struct Ends {
    forth: watch::Receiver<Flow>,
    back: watch::Receiver<Flow>,
    cut: watch::Receiver<u64>,
}

impl Proxies {
    /// Listens for every ordered pair of nodes, which have these addresses. The proxies end with the runtime.
    ///
    /// # Errors
    /// If there is no port to be had.
    pub fn start(runtime: &Handle, nodes: &[SocketAddr]) -> io::Result<Proxies> {
        let count = nodes.len();
        let flows: Vec<_> = (0..count * count).map(|_| watch::Sender::new(Flow::default())).collect();
        let cuts: Vec<_> = (0..count * count).map(|_| watch::Sender::new(0)).collect();
        let mut addresses = Vec::with_capacity(count * count);
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
            addresses.push(listener.local_addr()?);
            let ends = Ends {
                forth: flows[from * count + to].subscribe(),
                back: flows[to * count + from].subscribe(),
                cut: cuts[from * count + to].subscribe(),
            };
            runtime.spawn(accept(listener, nodes[to], ends));
        }
        Ok(Proxies { count, flows, cuts, addresses })
    }

    /// Where `from` dials to reach `to`.
    pub fn address(&self, from: usize, to: usize) -> SocketAddr {
        self.addresses[from * self.count + to]
    }

    /// Changes what goes from `from` to `to`.
    pub fn change(&self, from: usize, to: usize, change: impl FnOnce(&mut Flow)) {
        self.flows[from * self.count + to].send_modify(change);
    }

    /// Changes all directions of all links.
    pub fn change_all(&self, mut change: impl FnMut(&mut Flow)) {
        for flow in &self.flows {
            flow.send_modify(&mut change);
        }
    }

    /// Blocks both directions of every link between a node of `these` and one that is not.
    pub fn partition(&self, these: &[usize]) {
        for (from, to) in self.pairs() {
            if these.contains(&from) != these.contains(&to) {
                self.change(from, to, |flow| flow.blocked = true);
            }
        }
    }

    /// Cuts every connection between two nodes; they may connect anew at once.
    pub fn cut(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            self.cuts[from * self.count + to].send_modify(|cut| *cut += 1);
        }
    }

    /// Makes all links as good as new.
    pub fn heal(&self) {
        self.change_all(|flow| *flow = Flow { garbage: flow.garbage, ..Flow::default() });
    }

    /// Every ordered pair of two different nodes.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.count;
        (0..count).flat_map(move |from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to)
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, ends: Ends) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((inbound, _)) => {
                    connections.spawn(connect(inbound, to, ends.clone()));
                }
                // For lack of file descriptors; later there may be some.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(inbound: TcpStream, to: SocketAddr, mut ends: Ends) {
    // A node that is down refuses, and so does its proxy, by closing.
    let Ok(outbound) = TcpStream::connect(to).await else { return };
    for stream in [&inbound, &outbound] {
        // It only costs latency if this fails.
        let _ = stream.set_nodelay(true);
    }
    let (inbound_read, inbound_write) = inbound.into_split();
    let (outbound_read, outbound_write) = outbound.into_split();
    ends.cut.mark_unchanged();
    tokio::select! {
        _ = ends.cut.changed() => {}
        _ = async {
            tokio::join!(pump(inbound_read, outbound_write, ends.forth), pump(outbound_read, inbound_write, ends.back))
        } => {}
    }
}

/// Moves bytes one way until their end or an error.
async fn pump(mut from: OwnedReadHalf, to: OwnedWriteHalf, flow: watch::Receiver<Flow>) {
    let (chunks, waiting) = mpsc::channel(CHUNKS_MAX);
    let read = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if chunks.send((Instant::now(), Bytes::copy_from_slice(&buffer[..length]))).await.is_err() {
                return;
            }
        }
    };
    // When writing fails, reading ends with the next chunk; an idle direction waits for its other one.
    tokio::join!(read, write(waiting, to, flow));
}

/// Writes chunks as the flow lets it, then the end of the stream.
async fn write(
    mut chunks: mpsc::Receiver<(Instant, Bytes)>,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
) -> Option<()> {
    let mut garbage = flow.borrow().garbage;
    loop {
        let chunk = chunks.recv().await;
        // The flow ends only with the runtime.
        let now = *flow.wait_for(|flow| !flow.blocked).await.ok()?;
        let Some((read_at, chunk)) = chunk else { break };
        sleep_until(read_at + now.delay).await;
        if now.garbage != garbage {
            garbage = now.garbage;
            to.write_all(&GARBAGE).await.ok()?;
        }
        if let Some(rate) = now.bytes_per_second {
            let is_changed = flow.wait_for(|flow| flow.bytes_per_second != now.bytes_per_second);
            tokio::select! {
                () = sleep(Duration::from_secs_f64(chunk.len() as f64 / rate as f64)) => {}
                // As good as new, at once.
                _ = is_changed => {}
            }
        }
        // It may have been blocked while this waited.
        flow.wait_for(|flow| !flow.blocked).await.ok()?;
        to.write_all(&chunk).await.ok()?;
    }
    to.shutdown().await.ok()
}
