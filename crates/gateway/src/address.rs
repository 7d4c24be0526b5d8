//! The client's address behind proxies.

use std::net::IpAddr;

use http::HeaderMap;
use kernel::Result;
use platform::network::Network;

/// The header in which proxies say whom they serve. One of them is believed and never the other:
/// a proxy that sets the one passes on what a client has put into the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy`.
    #[default]
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

/// The proxies that are believed when they say whom they serve. Everybody can send such a header;
/// only the part that a trusted proxy has added means anything, so it is read from the right.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    header: ForwardedHeader,
}

impl TrustedProxies {
    /// Networks as `10.0.0.0/8`, or single addresses.
    pub fn parse(networks: &[String]) -> Result<Self> {
        let networks = networks.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        Ok(Self { networks, header: ForwardedHeader::default() })
    }

    /// Reads another header.
    #[must_use]
    pub fn reading(self, header: ForwardedHeader) -> Self {
        Self { header, ..self }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// The client's address: the peer's own, or, behind trusted proxies, the rightmost address
    /// that is not one of theirs.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let (name, parse): (_, fn(&str) -> Option<IpAddr>) = match self.header {
            ForwardedHeader::XForwardedFor => ("x-forwarded-for", parse_address),
            ForwardedHeader::Forwarded => ("forwarded", parse_element),
        };
        let forwarded = headers.get_all(name);
        let mut client = peer;
        let texts: Vec<&str> = forwarded.iter().filter_map(|value| value.to_str().ok()).collect();
        for text in texts.iter().rev().flat_map(|text| text.rsplit(',')) {
            let Some(address) = parse(text.trim()) else { break };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// An address, with or without a port, with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .or_else(|_| text.parse::<std::net::SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| text.trim_matches(['[', ']']).parse())
        .ok()
        .map(|address| address.to_canonical())
}

/// The address in one element of `Forwarded` (RFC 7239, 4); none where the proxy hides it. Elements
/// are told apart by commas also inside of quotes: a client that opens a quote must not be able to
/// swallow what a proxy adds behind it.
fn parse_element(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    parse_address(node.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        by(ForwardedHeader::XForwardedFor, proxies, peer, forwarded)
    }

    fn by(header: ForwardedHeader, proxies: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let proxies: Vec<String> = proxies.iter().map(|text| (*text).to_owned()).collect();
        let proxies = TrustedProxies::parse(&proxies).unwrap().reading(header);
        let mut headers = HeaderMap::new();
        let names = ["x-forwarded-for", "forwarded"];
        let [name, other] = match header {
            ForwardedHeader::XForwardedFor => names,
            ForwardedHeader::Forwarded => [names[1], names[0]],
        };
        headers.append(other, "198.51.100.66".parse().unwrap());
        headers.append(other, "for=198.51.100.66".parse().unwrap());
        for value in forwarded {
            headers.append(name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_stranger_s_header_means_nothing() {
        assert_eq!(client(&[], "203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let proxies = ["10.0.0.0/8", "::1"];
        assert_eq!(client(&proxies, "10.1.1.1", &["1.2.3.4, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client(&proxies, "10.1.1.1", &["1.2.3.4", "203.0.113.9, 10.2.2.2"]),
            "203.0.113.9"
        );
        assert_eq!(client(&proxies, "::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client(&proxies, "10.1.1.1", &["nonsense"]), "10.1.1.1");
        assert_eq!(client(&proxies, "10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(client(&proxies, "::ffff:10.1.1.1", &["[2001:db8::2]:80"]), "2001:db8::2");
    }

    #[test]
    fn forwarded_is_read_where_it_is_what_the_proxy_sets() {
        let proxies = ["10.0.0.0/8"];
        let client =
            |forwarded: &[&str]| by(ForwardedHeader::Forwarded, &proxies, "10.1.1.1", forwarded);
        assert_eq!(client(&["for=203.0.113.9;proto=https;by=10.1.1.1"]), "203.0.113.9");
        assert_eq!(client(&["proto=https; For=\"[2001:db8::7]:4711\""]), "2001:db8::7");
        assert_eq!(client(&["for=1.2.3.4, for=203.0.113.9", "for=10.2.2.2"]), "203.0.113.9");
        for hidden in ["for=_hidden", "for=unknown", "proto=https", ""] {
            assert_eq!(client(&["for=203.0.113.9", hidden]), "10.1.1.1", "{hidden}");
        }
        assert_eq!(client(&["for=\"1.2.3.4", "for=203.0.113.9"]), "203.0.113.9", "an open quote");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
            assert!(TrustedProxies::parse(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
