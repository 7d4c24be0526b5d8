//! When what is read from a connection had come to this machine.
//!
//! A server with too much to do leaves requests in their sockets, where nobody counts how long they
//! wait. The kernel knows: it notes for each packet when it came (`SO_TIMESTAMPNS`). It is asked only
//! while there is a line at all ([`Load::is_lagging`]); otherwise what is read has just come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use platform::load::Load;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// When the last bytes of a connection came, in microseconds since its beginning; zero where it is
/// not known.
#[derive(Debug)]
pub(super) struct Arrival {
    beginning: Instant,
    micros: AtomicU64,
}

impl Arrival {
    fn set(&self, at: Option<Instant>) {
        let since = at.map(|at| at.saturating_duration_since(self.beginning).as_micros());
        let micros = since.map_or(0, |micros| u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        self.micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<Instant> {
        let micros = self.micros.load(Ordering::Relaxed);
        (micros > 0).then(|| self.beginning + Duration::from_micros(micros))
    }
}

/// A connection that knows when its bytes came.
pub(super) struct Dated {
    stream: TcpStream,
    load: Option<Arc<Load>>,
    arrival: Arc<Arrival>,
}

impl Dated {
    /// Never looks without a `load`.
    pub(super) fn new(stream: TcpStream, load: Option<Arc<Load>>) -> Self {
        let arrival = Arrival { beginning: Instant::now(), micros: AtomicU64::new(0) };
        Self { stream, load, arrival: Arc::new(arrival) }
    }

    /// Where it is said when its last bytes came.
    pub(super) fn arrival(&self) -> Arc<Arrival> {
        Arc::clone(&self.arrival)
    }
}

/// Has the kernel note when packets come to the connections of a listener. Without it nothing is
/// known of how long requests wait, and all else is as ever.
pub(super) fn note_arrivals(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    if let Err(error) = kernel_notes::begin(listener) {
        tracing::warn!(%error, "how long requests wait in their sockets cannot be known");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

impl AsyncRead for Dated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(target_os = "linux")]
        if self.load.as_ref().is_some_and(|load| load.is_lagging()) {
            let came = std::task::ready!(kernel_notes::read(&self.stream, context, buffer))?;
            self.arrival.set(came);
            return Poll::Ready(Ok(()));
        }
        self.arrival.set(None);
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Dated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The calls: `socket(7)` under `SO_TIMESTAMPNS`, whose notes come with `recvmsg`.
#[cfg(target_os = "linux")]
mod kernel_notes {
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd as _;
    use std::task::ready;
    use std::time::SystemTime;

    use nix::sys::socket::sockopt::ReceiveTimestampns;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
    use nix::sys::time::TimeSpec;
    use tokio::io::Interest;

    use super::*;

    /// Connections have it from their listener.
    pub(super) fn begin(listener: &TcpListener) -> io::Result<()> {
        setsockopt(listener, ReceiveTimestampns, &true).map_err(io::Error::from)
    }

    /// Reads, and answers when the last of it came.
    pub(super) fn read(
        stream: &TcpStream,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<Instant>>> {
        loop {
            ready!(stream.poll_read_ready(context))?;
            let into = buffer.initialize_unfilled();
            match stream.try_io(Interest::READABLE, || receive(stream, into)) {
                Ok((count, came)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(came));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn receive(stream: &TcpStream, into: &mut [u8]) -> io::Result<(usize, Option<Instant>)> {
        let mut notes = nix::cmsg_space!(TimeSpec);
        let mut into = [IoSliceMut::new(into)];
        let flags = MsgFlags::empty();
        let received = recvmsg::<()>(stream.as_raw_fd(), &mut into, Some(&mut notes), flags)?;
        let came = received.cmsgs()?.find_map(|note| match note {
            ControlMessageOwned::ScmTimestampns(at) => age(at),
            _ => None,
        });
        Ok((received.bytes, came.and_then(|age| Instant::now().checked_sub(age))))
    }

    /// How long ago that was. A clock that was set meanwhile makes it wrong once.
    fn age(at: TimeSpec) -> Option<Duration> {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from(at))?;
        at.elapsed().ok()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use platform::load::Policy;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A client, and its connection as the listener has it.
    async fn connected(load: &Arc<Load>) -> (TcpStream, Dated) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        note_arrivals(&listener);
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (client, Dated::new(stream, Some(Arc::clone(load))))
    }

    #[tokio::test]
    async fn while_there_is_a_line_it_is_known_when_bytes_came() {
        let load = Load::new(Policy::default());
        let (mut client, mut dated) = connected(&load).await;
        let (arrival, mut into) = (dated.arrival(), [0; 64]);
        client.write_all(b"one").await.unwrap();
        assert_eq!(dated.read(&mut into).await.unwrap(), 3);
        assert_eq!(arrival.get(), None, "nobody waits");
        load.set_lagging(true);
        for text in [&b"two"[..], b"three"] {
            let before = Instant::now();
            client.write_all(text).await.unwrap();
            let after = Instant::now();
            let count = dated.read(&mut into).await.unwrap();
            assert_eq!(&into[..count], text);
            let came = arrival.get().expect("the kernel notes it");
            let slack = Duration::from_millis(20);
            assert!(
                before - slack <= came && came <= after + slack,
                "{before:?} {came:?} {after:?}"
            );
        }
        drop(client);
        assert_eq!(dated.read(&mut into).await.unwrap(), 0, "the end");
        load.set_lagging(false);
    }

    #[tokio::test]
    async fn what_is_not_there_yet_is_waited_for() {
        let load = Load::new(Policy::default());
        load.set_lagging(true);
        let (mut client, mut dated) = connected(&load).await;
        let reading = tokio::spawn(async move {
            let mut into = Vec::new();
            dated.read_to_end(&mut into).await.unwrap();
            into.len()
        });
        for _ in 0..20 {
            client.write_all(&[7; 50_000]).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        assert_eq!(reading.await.unwrap(), 1_000_000);
    }
}
