//! Which addresses on the network the bot may speak to: public ones, and what the operator opens.
//!
//! What is public is the list of IANA's special-purpose registries (RFC 6890 and its updates), read so that a doubt refuses:
//! for IPv4 everything but what is listed, for IPv6 nothing but the global unicast range less what is listed. Whether an
//! address is this very host's is not known here, since that has to be asked of the system: [`crate::net::Net`] does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// What an operator opens beside the public addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// `http:` is allowed as well as `https:`.
    pub allow_http: bool,
    /// Ranges that are no public addresses and are allowed all the same.
    pub allow: Vec<IpNet>,
}

/// Why an address is not spoken to. Each is a few words that go on from "the address …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// It does not parse as a URL.
    #[error("is not a URL such as https://mcp.example.com/mcp")]
    NotAUrl,
    /// Neither https nor, where allowed, http.
    #[error("begins with `{0}:`, and only https addresses are allowed here")]
    Scheme(String),
    /// It has a user name or password in it.
    #[error("has a login in it; leave it out, I ask for a key or token in a moment")]
    Credentials,
    /// It has no host.
    #[error("has no host")]
    NoHost,
    /// The address is not a public one.
    #[error("leads to {0}, which is not a public address")]
    NotPublic(IpAddr),
    /// The address is public, and this host's own.
    #[error("leads to {0}, which is the host that I run on")]
    Ourselves(IpAddr),
}

impl AddressRules {
    /// Whether this address may be connected to. Mapped and NAT64 forms are judged as what they stand for.
    pub fn judge_ip(&self, address: IpAddr) -> Result<(), AddressProblem> {
        if self.opens(address) || is_public(meant(address)) {
            Ok(())
        } else {
            Err(AddressProblem::NotPublic(address))
        }
    }

    /// Whether the operator opened this address, in whichever form it is written.
    pub fn opens(&self, address: IpAddr) -> bool {
        let meant = meant(address);
        self.allow
            .iter()
            .any(|range| range.contains(&address) || range.contains(&meant))
    }

    /// Reads an address and judges what can be judged without asking the network: scheme, login, a literal IP (in any of
    /// the forms that the URL standard reads as one). Names are judged when they are resolved.
    pub fn judge_url(&self, text: &str) -> Result<Url, AddressProblem> {
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::EmptyHost => AddressProblem::NoHost,
            _ => AddressProblem::NotAUrl,
        })?;
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            other => return Err(AddressProblem::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressProblem::Credentials);
        }
        if let Some(address) = literal(&url) {
            self.judge_ip(address)?;
        } else if url
            .domain()
            .is_none_or(|name| name.trim_matches('.').is_empty())
        {
            return Err(AddressProblem::NoHost);
        }
        Ok(url)
    }
}

/// The IP address that stands in a URL instead of a name.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The address that is reached in the end: the IPv4 address in a mapped (`::ffff:a.b.c.d`), a compatible (`::a.b.c.d`) or a
/// NAT64 form (`64:ff9b::a.b.c.d`, RFC 6052).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [first @ .., high, low] = v6.segments();
    let holds_v4 = match first {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => true,
        [0, 0, 0, 0, 0, 0] => v6 != Ipv6Addr::UNSPECIFIED && v6 != Ipv6Addr::LOCALHOST,
        _ => false,
    };
    if holds_v4 {
        Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
    } else {
        address
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC
            .iter()
            .any(|&(range, bits)| shares(address.to_bits(), range.to_bits(), bits)),
        IpAddr::V6(address) => is_public_v6(address.segments()),
    }
}

/// What is no public unicast address of IPv4.
const NOT_PUBLIC: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8),            // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // behind a carrier's NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // the platform of Azure, from inside its machines
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local; 169.254.169.254 gives away a cloud machine's keys
    (Ipv4Addr::new(172, 16, 0, 0), 12),  // private
    (Ipv4Addr::new(192, 0, 0, 0), 24), // protocol assignments; the two public anycasts in it serve no HTTP
    (Ipv4Addr::new(192, 0, 2, 0), 24), // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays, given up by RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private
    (Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarking
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),  // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),  // reserved
    (Ipv4Addr::BROADCAST, 32),
];

fn shares(address: u32, range: u32, bits: u32) -> bool {
    (address ^ range).checked_shr(32 - bits).unwrap_or(0) == 0
}

/// Global unicast is `2000::/3` (RFC 4291), and not all of it.
fn is_public_v6(segments: [u16; 8]) -> bool {
    let [first, second, ..] = segments;
    let refused = match first {
        0x2001 => second < 0x200 || second == 0xdb8, // protocol assignments with Teredo; documentation
        0x2002 => true,                              // 6to4, which holds any IPv4 address
        0x3fff => second < 0x1000,                   // documentation (RFC 9637)
        _ => false,
    };
    first & 0xe000 == 0x2000 && !refused
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(allow: &[&str], allow_http: bool) -> AddressRules {
        AddressRules {
            allow_http,
            allow: allow.iter().map(|range| range.parse().unwrap()).collect(),
        }
    }

    fn is_allowed(rules: &AddressRules, address: &str) -> bool {
        rules.judge_ip(address.parse().unwrap()).is_ok()
    }

    /// Both ends of each refused range, and the neighbours that are public.
    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn only_public_addresses_are_spoken_to() {
        let refused = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.10",
            "192.0.0.255",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.254",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "100::1",
            "1fff::1",
            "2001::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ];
        let public = [
            "1.0.0.0",
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "::8.8.8.8",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "3fff:1000::1",
            "3ffe::1",
        ];
        for (addresses, expected) in [(&refused[..], false), (&public[..], true)] {
            for address in addresses {
                assert_eq!(
                    is_allowed(&AddressRules::default(), address),
                    expected,
                    "{address}"
                );
            }
        }
    }

    #[test]
    fn what_the_operator_opens_is_open_in_every_form_and_nothing_else_is() {
        for (range, address, expected) in [
            ("127.0.0.1/32", "127.0.0.1", true),
            ("127.0.0.1/32", "::ffff:127.0.0.1", true),
            ("127.0.0.1/32", "::127.0.0.1", true),
            ("127.0.0.1/32", "64:ff9b::127.0.0.1", true),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("127.0.0.1/32", "::1", false),
            ("0.0.0.0/0", "::1", false),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("0.0.0.0/0", "fd00::1", false),
            ("::1/128", "::1", true),
            ("::1/128", "127.0.0.1", false),
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("fd00::/8", "fdab::1", true),
            ("fd00::/8", "fc00::1", false),
        ] {
            assert_eq!(
                is_allowed(&rules(&[range], false), address),
                expected,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn every_way_to_write_loopback_is_read_as_loopback() {
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0x7F.0.0.0x1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.01",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "１２７.0.0.1",
            "%31%32%37.0.0.1",
            "127.0.0.1:8443",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[::1]:8443",
        ] {
            let judged = AddressRules::default().judge_url(&format!("https://{host}/mcp"));
            assert!(
                matches!(judged, Err(AddressProblem::NotPublic(_))),
                "{host}: {judged:?}"
            );
        }
    }

    #[test]
    fn d22_urls_are_judged_as_far_as_they_can_be_without_the_network() {
        use AddressProblem::{Credentials, NoHost, NotAUrl, NotPublic, Scheme};
        let scheme = |name: &str| Err(Scheme(name.to_owned()));
        let cases: [(&str, Result<&str, AddressProblem>); 31] = [
            (
                "https://mcp.example.com/mcp",
                Ok("https://mcp.example.com/mcp"),
            ),
            (" https://Example.COM \n", Ok("https://example.com/")),
            (
                "https://example.com:8443/a?b=c#d",
                Ok("https://example.com:8443/a?b=c#d"),
            ),
            ("https://8.8.8.8/", Ok("https://8.8.8.8/")),
            (
                "https://[2606:4700::1111]/",
                Ok("https://[2606:4700::1111]/"),
            ),
            // A name is judged when it is resolved.
            ("https://localhost/", Ok("https://localhost/")),
            ("https://localhost./", Ok("https://localhost./")),
            ("https://127.0.0.1.nip.io/", Ok("https://127.0.0.1.nip.io/")),
            ("http://example.com/", scheme("http")),
            ("HTTP://127.0.0.1/", scheme("http")),
            ("ftp://example.com/", scheme("ftp")),
            ("file:///etc/passwd", scheme("file")),
            ("javascript:alert(1)", scheme("javascript")),
            ("data:text/html,x", scheme("data")),
            ("unix:/run/docker.sock", scheme("unix")),
            ("ws://example.com/", scheme("ws")),
            ("localhost:8080", scheme("localhost")),
            ("https://me@example.com/", Err(Credentials)),
            ("https://me:secret@example.com/", Err(Credentials)),
            ("https://:secret@example.com/", Err(Credentials)),
            ("https://example.com@127.0.0.1/", Err(Credentials)),
            (
                "https://10.0.0.1/",
                Err(NotPublic(IpAddr::from([10, 0, 0, 1]))),
            ),
            (
                "https:/\\10.0.0.1/",
                Err(NotPublic(IpAddr::from([10, 0, 0, 1]))),
            ),
            ("https://", Err(NoHost)),
            ("https://./", Err(NoHost)),
            ("", Err(NotAUrl)),
            ("example.com/mcp", Err(NotAUrl)),
            ("https://[fe80::1%25eth0]/", Err(NotAUrl)),
            ("https://256.256.256.256/", Err(NotAUrl)),
            ("https://example.0x7f/", Err(NotAUrl)),
            ("https://exa mple.com/", Err(NotAUrl)),
        ];
        for (text, expected) in cases {
            let judged = AddressRules::default().judge_url(text);
            assert_eq!(
                judged.as_ref().map(Url::as_str),
                expected.as_ref().copied(),
                "{text:?}"
            );
        }
        let open = rules(&["127.0.0.1/32"], true);
        for (text, is_fine) in [
            ("http://127.0.0.1:8080/mcp", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("http://example.com/", true),
            ("http://127.0.0.2/", false),
            ("http://me@127.0.0.1/", false),
            ("ftp://127.0.0.1/", false),
        ] {
            assert_eq!(open.judge_url(text).is_ok(), is_fine, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = AddressRules::default().judge_url(&text);
            let _ = AddressRules::default().judge_url(&format!("https://{text}"));
        }

        /// Whatever form an address is written in, it is judged alike.
        #[test]
        fn every_form_is_judged_alike(bits: u32) {
            let plain = Ipv4Addr::from_bits(bits);
            let rules = AddressRules::default();
            let judge = |host: String| rules.judge_url(&format!("https://{host}/")).is_ok();
            let expected = judge(plain.to_string());
            prop_assert_eq!(rules.judge_ip(plain.into()).is_ok(), expected);
            prop_assert_eq!(judge(bits.to_string()), expected);
            prop_assert_eq!(judge(format!("{bits:#x}")), expected);
            prop_assert_eq!(judge(format!("[::ffff:{plain}]")), expected);
            prop_assert_eq!(judge(format!("[64:ff9b::{plain}]")), expected);
        }
    }
}
