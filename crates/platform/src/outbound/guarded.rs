//! Calls to addresses that users have named, such as those of webhooks.
//!
//! Whoever may name an address would have us ask our own machines, or the metadata service of the
//! cloud beside them (server-side request forgery). So an address is https, and leads to the public
//! internet or nowhere: literal addresses are looked at here, and names at every single call, where
//! they are looked up. What was looked at is what is connected to, so that a name which turns private
//! between the two (DNS rebinding) gains nothing. No redirect is followed and no proxy of the
//! environment is used.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use kernel::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Answer, Failure, builder};
use crate::network::Network;

/// Bytes of an address that somebody may name.
const ADDRESS_MAX: usize = 2000;

/// Looks names up.
pub trait Names: Send + Sync {
    fn addresses(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// As the system does it.
#[derive(Debug)]
pub struct SystemNames;

impl Names for SystemNames {
    fn addresses(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|socket| socket.ip()).collect())
        }
        .boxed()
    }
}

/// What is let through.
#[derive(Clone)]
pub struct Options {
    /// Also addresses without TLS: for development.
    pub allow_http: bool,
    /// Networks that may be called although they are not public.
    pub networks: Vec<Network>,
    /// Connecting, waiting and reading together.
    pub timeout: Duration,
    /// Bytes that are read of an answer; what comes after them is not waited for.
    pub answer_max: usize,
    pub names: Arc<dyn Names>,
    /// An authority whose certificates are believed beside the system's: PEM.
    pub authority: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_http: false,
            networks: Vec::new(),
            timeout: Duration::from_secs(15),
            answer_max: 4096,
            names: Arc::new(SystemNames),
            authority: None,
        }
    }
}

/// An address that may be called, as far as can be told without looking its name up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(reqwest::Url);

impl Address {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, without what may be secret behind it.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// The client for addresses that users have named. Cheap to clone.
#[derive(Clone)]
pub struct Guarded {
    client: reqwest::Client,
    rules: Arc<Rules>,
    answer_max: usize,
}

struct Rules {
    allow_http: bool,
    networks: Vec<Network>,
    names: Arc<dyn Names>,
}

impl Guarded {
    /// # Errors
    /// Internal, when there is no TLS to be had; `Invalid` `invalid_configuration` where the
    /// authority is no certificate.
    pub fn new(options: Options) -> Result<Self> {
        let Options { allow_http, networks, timeout, answer_max, names, authority } = options;
        let rules = Arc::new(Rules { allow_http, networks, names });
        let client = builder(authority.as_deref())?
            .no_proxy()
            .connect_timeout(timeout)
            .timeout(timeout)
            .pool_max_idle_per_host(2)
            .dns_resolver(Looked(Arc::clone(&rules)))
            .build()
            .map_err(|error| Error::internal("no HTTP client").because(error))?;
        Ok(Self { client, rules, answer_max })
    }

    /// Takes an address as somebody has written it.
    ///
    /// # Errors
    /// `Invalid` `invalid_address` with the reason: no https, a user or password, a fragment, or an
    /// address that is not public.
    pub fn parse(&self, text: &str) -> Result<Address> {
        let wrong = |what: &'static str| Err(Error::invalid("invalid_address", what));
        if text.len() > ADDRESS_MAX || text.chars().any(char::is_control) {
            return wrong("an address of at most 2000 characters");
        }
        let Ok(url) = reqwest::Url::parse(text) else {
            return wrong("an address such as https://example.com/hooks");
        };
        match url.scheme() {
            "https" => {}
            "http" if self.rules.allow_http => {}
            _ => return wrong("an https address"),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return wrong("no user, password or fragment");
        }
        let Some(host) = url.host_str() else { return wrong("an address with a host") };
        if self.rules.refuses_host(host) {
            return wrong("an address on the public internet");
        }
        Ok(Address(url))
    }

    /// Asks for what lies at an address, all of it.
    ///
    /// # Errors
    /// [`Failure::TooLarge`] where that is more than is read of an answer.
    pub async fn get(&self, at: &Address, headers: HeaderMap) -> Result<Answer, Failure> {
        if self.rules.refuses_host(at.host()) {
            return Err(Failure::Unreached(NotPublic.to_string()));
        }
        let mut response = self.client.get(at.0.clone()).headers(headers).send().await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.answer_max {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status(), headers, body: body.freeze() })
    }

    /// Posts a body; answers what came back, cut off after what is read of an answer. A body that
    /// breaks off does not undo the status before it.
    pub async fn post(
        &self,
        to: &Address,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        // Addresses are kept for long, and what is refused may change meanwhile.
        if self.rules.refuses_host(to.host()) {
            return Err(Failure::Unreached(NotPublic.to_string()));
        }
        let request = self.client.post(to.0.clone()).headers(headers).body(body);
        let mut response = request.send().await?;
        let mut body = BytesMut::new();
        while body.len() < self.answer_max {
            let Ok(Some(chunk)) = response.chunk().await else { break };
            let room = self.answer_max - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status(), headers, body: body.freeze() })
    }
}

impl Rules {
    fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a host is one that is never looked up: a literal address, or this machine's name.
    fn refuses_host(&self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return !self.allows(address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local && !self.allows(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// A name that leads to no public address.
#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is not on the public internet")
    }
}

impl std::error::Error for NotPublic {}

/// The client's resolver: what it answers is what is connected to.
struct Looked(Arc<Rules>);

impl Resolve for Looked {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = Arc::clone(&self.0);
        let looking = rules.names.addresses(name.as_str());
        async move {
            let found = looking.await?;
            let vetted: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| rules.allows(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if vetted.is_empty() {
                return Err(NotPublic.into());
            }
            let addresses: Addrs = Box::new(vetted.into_iter());
            Ok(addresses)
        }
        .boxed()
    }
}

/// Whether an address is globally reachable, after IANA's registries of special-purpose addresses
/// (RFC 6890 and its updates).
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private use, loopback, multicast and what is reserved above it.
        (0 | 10 | 127 | 224..=255, ..)
        // Shared address space (carrier-grade NAT), link-local, private use, benchmarking.
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        | (192, 168, _)
        | (198, 18 | 19, _)
        // IETF protocol assignments, documentation, 6to4 relays.
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (198, 51, 100)
        | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast only (RFC 4291): no loopback, link-local, unique local, NAT64, multicast.
    let is_global = a & 0xe000 == 0x2000;
    // Teredo and other protocol assignments, documentation twice, 6to4.
    let is_special =
        matches!((a, b), (0x2001, ..0x0200 | 0x0db8) | (0x2002, _) | (0x3fff, ..0x1000));
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn addresses_of_special_purpose_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "193.0.0.1",
            "198.17.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860::8888",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn only_https_to_the_public_internet_is_taken_from_users() {
        let strict = Guarded::new(Options::default()).unwrap();
        for text in
            ["https://example.com/a?b=c", "https://1.1.1.1/", "https://[2606:4700::1]:8443/"]
        {
            assert!(strict.parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://u@example.com/",
            "https://u:p@example.com/",
            "https://example.com/#x",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://017700000001/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://0/",
            "https://ⅰ②⑦.0.0.1/\u{0}",
        ] {
            assert_eq!(strict.parse(text).unwrap_err().code(), "invalid_address", "{text}");
        }
        let networks = vec!["127.0.0.0/8".parse().unwrap()];
        let open = Guarded::new(Options { allow_http: true, networks, ..Options::default() });
        let open = open.unwrap();
        assert!(open.parse("http://127.0.0.1:8080/").is_ok());
        assert!(open.parse("http://localhost:8080/").is_ok());
        assert!(open.parse("http://10.0.0.1/").is_err(), "another network than that");
    }

    /// Answers these addresses, one after another, and the last one from then on.
    struct Turning(Vec<IpAddr>, AtomicUsize);

    impl Names for Turning {
        fn addresses(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            let turn = self.1.fetch_add(1, Ordering::Relaxed).min(self.0.len() - 1);
            let address = self.0[turn];
            async move { Ok(vec![address]) }.boxed()
        }
    }

    /// The next connection, after its request has come.
    async fn asked(listener: &TcpListener) -> TcpStream {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            socket.read_buf(&mut request).await.unwrap();
        }
        socket
    }

    #[tokio::test]
    async fn a_name_that_turns_private_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://hooks.example:{port}/");
        let post = async |guard: &Guarded| {
            let address = guard.parse(&url).unwrap();
            guard.post(&address, HeaderMap::new(), Bytes::new()).await
        };
        for private in ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"] {
            let names = Turning(vec![private.parse().unwrap()], AtomicUsize::new(0));
            let options =
                Options { allow_http: true, names: Arc::new(names), ..Options::default() };
            let refused = post(&Guarded::new(options).unwrap()).await.unwrap_err();
            assert!(refused.to_string().contains("not on the public internet"), "{refused}");
        }
        // Let through where the operator has said so, and then refused as soon as it moves away.
        let (here, there) = ("127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let options = Options {
            allow_http: true,
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            names: Arc::new(Turning(vec![here, there], AtomicUsize::new(0))),
            ..Options::default()
        };
        let guard = Guarded::new(options).unwrap();
        let serving = tokio::spawn(async move {
            let mut socket = asked(&listener).await;
            let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\nconnection: close\r\n\
                          content-length: 2\r\n\r\nok";
            socket.write_all(answer.as_bytes()).await.unwrap();
            // The listener stays open: nobody may come again.
            listener
        });
        let answer = post(&guard).await.unwrap();
        assert_eq!(answer.status, 302, "and no redirect is followed");
        let _listener = serving.await.unwrap();
        let refused = post(&guard).await.unwrap_err();
        assert!(refused.to_string().contains("not on the public internet"), "{refused}");
    }

    #[tokio::test]
    async fn no_more_is_read_of_an_answer_than_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let options = Options {
            allow_http: true,
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            answer_max: 10,
            ..Options::default()
        };
        let guard = Guarded::new(options).unwrap();
        let serving = tokio::spawn(async move {
            let mut socket = asked(&listener).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
            socket.write_all(head.as_bytes()).await.unwrap();
            while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        let address = guard.parse(&url).unwrap();
        let answer = guard.post(&address, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 10));
        drop(answer);
        serving.await.unwrap();
    }
}
