//! Whether an address may be connected to: by the rules, and by asking the system whether it is this very host's.
//!
//! A service of the host that listens on its public address trusts whoever comes from the host itself no less than one on
//! loopback does. Addresses come and go, so the system is asked each time; no packet is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::policy::{AddressProblem, AddressRules};

#[derive(Debug)]
pub(super) struct Judge {
    rules: AddressRules,
}

impl Judge {
    pub(super) fn new(rules: AddressRules) -> Self {
        Self { rules }
    }

    pub(super) fn rules(&self) -> &AddressRules {
        &self.rules
    }

    pub(super) fn judge(&self, address: IpAddr) -> Result<(), AddressProblem> {
        self.rules.judge_ip(address)?;
        if !self.rules.opens(address) && is_ours(address) {
            return Err(AddressProblem::Ourselves(address));
        }
        Ok(())
    }
}

/// Whether the system takes the address for its own: packets to it would come from it, or a socket can be bound to it
/// (which tells of second addresses too, but nothing where the system binds to any address).
fn is_ours(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let (any, foreign): (IpAddr, IpAddr) = match address {
        // An address of the documentation belongs to nobody.
        IpAddr::V4(_) => (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        IpAddr::V6(_) => (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    };
    comes_from_itself(any, address) || (can_bind(address) && !can_bind(foreign))
}

fn comes_from_itself(any: IpAddr, address: IpAddr) -> bool {
    // Connecting a UDP socket sends nothing; it chooses the address that packets would come from.
    UdpSocket::bind(SocketAddr::new(any, 0))
        .and_then(|socket| {
            socket.connect(SocketAddr::new(address, 9))?;
            socket.local_addr()
        })
        .is_ok_and(|from| from.ip() == address)
}

fn can_bind(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address of this machine's own stands in for a public one; no test can give the machine one.
    #[test]
    fn the_host_knows_its_own_addresses() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("::ffff:127.0.0.1", true),
            ("8.8.8.8", false),
            ("192.0.2.1", false),
            ("2606:4700::1111", false),
        ] {
            assert_eq!(is_ours(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_is_opened_is_not_asked_about() {
        let judge = Judge::new(AddressRules {
            allow_http: false,
            allow: vec!["127.0.0.1/32".parse().unwrap()],
        });
        assert_eq!(judge.judge(IpAddr::from([127, 0, 0, 1])), Ok(()));
        assert_eq!(judge.judge(IpAddr::from([8, 8, 8, 8])), Ok(()));
        let other = IpAddr::from([127, 0, 0, 2]);
        assert_eq!(judge.judge(other), Err(AddressProblem::NotPublic(other)));
    }
}
