//! Who is counted.

use std::net::{IpAddr, Ipv6Addr};

use uuid::Uuid;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    Address(IpAddr),
    Id(Uuid),
    Text(&'a str),
    /// A name from an address: somebody guessing at one account.
    Pair(&'a str, IpAddr),
    /// An account on one of its devices.
    Device(Uuid, Uuid),
    /// All callers together.
    Everyone,
}

impl<'a> Subject<'a> {
    /// An IPv6 customer holds at least a /64, so that is what is counted; an IPv4 address is
    /// itself, also where it is written as IPv6.
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(network(ip))
    }

    pub fn pair(name: &'a str, ip: IpAddr) -> Self {
        Self::Pair(name, network(ip))
    }

    /// Unambiguous bytes, the same in every process.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let ip = |ip: IpAddr, out: &mut Vec<u8>| match ip {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        };
        match self {
            Self::Address(address) => {
                out.push(b'a');
                ip(address, out);
            }
            Self::Id(id) => {
                out.push(b'i');
                out.extend_from_slice(id.as_bytes());
            }
            Self::Text(text) => {
                out.push(b't');
                out.extend_from_slice(text.as_bytes());
            }
            Self::Pair(name, address) => {
                out.push(b'p');
                out.extend_from_slice(&(name.len() as u64).to_be_bytes());
                out.extend_from_slice(name.as_bytes());
                ip(address, out);
            }
            Self::Device(account, device) => {
                out.push(b'd');
                out.extend_from_slice(account.as_bytes());
                out.extend_from_slice(device.as_bytes());
            }
            Self::Everyone => out.push(b'e'),
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}
