//! How much of the network a local server is granted: `network` of its entry.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;
use url::Host;

use super::limits;

/// The port of a host that is named without one.
const HTTPS: u16 = 443;

/// `"none"`, `"public"`, `"host"`, or a list of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum NetworkGrant {
    /// The entry does not say: public where the proxy works, nothing where it does not.
    #[default]
    Unsaid,
    /// Nothing.
    None,
    /// These hosts alone, through the bot's proxy.
    Hosts(Vec<HostPattern>),
    /// Any public address, through the bot's proxy.
    Public,
    /// The host's own network, raw; only an operator grants it.
    Host,
}

/// A host that may be reached: `api.example.com`, `*.example.com` (every name below it, not itself), with `:port` where it is
/// not 443. Names are kept in ASCII and small letters, as they stand in DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    host: String,
    below: bool,
    port: u16,
}

/// Why a text is no host that can be granted; goes on from "`example`".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    /// No host name, or more than a host name.
    #[error(
        "is no host; write a name such as api.example.com, *.example.com or example.com:8443, without https:// and path"
    )]
    Form,
    /// The port is no number from 1 to 65535.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
    /// `*` stands elsewhere than in front of a name with a dot in it.
    #[error(
        "has a `*` that stands for too much; only *.example.com is allowed, for every name below example.com"
    )]
    Wild,
    /// An address that no server of the Internet has.
    #[error("is no public address, and only public ones can be granted")]
    NotPublic,
}

impl NetworkGrant {
    /// Reads the field as it stands in an entry; `None` where it is not valid.
    pub fn of(field: &Value) -> Option<Self> {
        match field {
            Value::String(word) => Self::of_word(word),
            Value::Array(hosts) if (1..=limits::HOSTS).contains(&hosts.len()) => hosts
                .iter()
                .map(|host| HostPattern::parse(host.as_str()?).ok())
                .collect::<Option<_>>()
                .map(Self::Hosts),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    /// The grant that is one word.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "public" => Some(Self::Public),
            "host" => Some(Self::Host),
            _ => None,
        }
    }

    /// As it stands in an entry; `None` where the entry does not say.
    pub fn to_field(&self) -> Option<Value> {
        match self {
            Self::Unsaid => None,
            Self::None => Some("none".into()),
            Self::Public => Some("public".into()),
            Self::Host => Some("host".into()),
            Self::Hosts(hosts) => Some(hosts.iter().map(ToString::to_string).collect()),
        }
    }

    /// The hosts, joined; for showing.
    pub fn listed(hosts: &[HostPattern]) -> String {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        hosts.join(", ")
    }
}

impl HostPattern {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let (text, below) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if text.contains('*') {
            return Err(BadHost::Wild);
        }
        // A bracketed address has colons of its own.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None => HTTPS,
            Some(port) if port.starts_with('+') => return Err(BadHost::Port),
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(BadHost::Port),
                Ok(port) => port,
            },
        };
        match read_host(host).ok_or(BadHost::Form)? {
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) if host.len() > limits::HOST_BYTES => {
                Err(BadHost::Form)
            }
            Host::Domain(name) if below && !name.contains('.') => Err(BadHost::Wild),
            Host::Domain(name) => Ok(Self {
                host: name,
                below,
                port,
            }),
            Host::Ipv4(_) | Host::Ipv6(_) if below => Err(BadHost::Wild),
            Host::Ipv4(address) => Self::of_address(address.into(), port),
            Host::Ipv6(address) => Self::of_address(address.into(), port),
        }
    }

    /// The pattern for one host and port and nothing else; `None` where the host is none that can be granted.
    pub fn exactly(host: &str, port: u16) -> Option<Self> {
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Self::parse(&format!("{host}:{port}")).ok()
    }

    /// Whether it stands for this host (a name in ASCII and small letters without a last dot, or an address) and port.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if port != self.port {
            return false;
        }
        if self.below {
            host.strip_suffix(self.host.as_str())
                .and_then(|start| start.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty())
        } else {
            host == self.host
        }
    }

    // The filter judges every connect, by what the operator opened too; this only tells at once of a list that can never
    // work.
    fn of_address(address: IpAddr, port: u16) -> Result<Self, BadHost> {
        let is_special = match address.to_canonical() {
            IpAddr::V4(v4) => {
                v4.is_unspecified()
                    || v4.is_loopback()
                    || v4.is_private()
                    || v4.is_link_local()
                    || v4.is_multicast()
                    || v4.is_broadcast()
                    || v4.is_documentation()
            }
            IpAddr::V6(v6) => v6.segments()[0] & 0xe000 != 0x2000,
        };
        if is_special {
            return Err(BadHost::NotPublic);
        }
        Ok(Self {
            host: address.to_string(),
            below: false,
            port,
        })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            f.write_str("*.")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port == HTTPS {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

/// A host as the URL standard reads one, without a last dot. What the standard would quietly change (`%41`, a tab) is none.
pub fn read_host(text: &str) -> Option<Host<String>> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || !text.chars().all(is_plain) {
        return None;
    }
    match Host::parse(text).ok()? {
        Host::Domain(name) if name.split('.').any(str::is_empty) => None,
        host => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_dns_writes_them() {
        use BadHost::{Form, NotPublic, Port, Wild};
        for (text, expected) in [
            ("api.github.com", Ok("api.github.com")),
            ("API.GitHub.com.", Ok("api.github.com")),
            ("*.githubusercontent.com", Ok("*.githubusercontent.com")),
            ("example.com:8443", Ok("example.com:8443")),
            ("example.com:443", Ok("example.com")),
            ("*.example.com:80", Ok("*.example.com:80")),
            ("bücher.example", Ok("xn--bcher-kva.example")),
            ("localhost:9000", Ok("localhost:9000")),
            ("8.8.8.8", Ok("8.8.8.8")),
            ("[2606:4700::1111]", Ok("[2606:4700::1111]")),
            ("[2606:4700::1111]:8443", Ok("[2606:4700::1111]:8443")),
            ("", Err(Form)),
            (".", Err(Form)),
            ("a..b", Err(Form)),
            ("https://example.com", Err(Port)),
            ("example.com/path", Err(Form)),
            ("me@example.com", Err(Form)),
            ("exa mple.com", Err(Form)),
            ("example.com:", Err(Port)),
            ("example.com:0", Err(Port)),
            ("example.com:+1", Err(Port)),
            ("example.com:65536", Err(Port)),
            ("*", Err(Wild)),
            ("*.com", Err(Wild)),
            ("*.*.com", Err(Wild)),
            ("a*.example.com", Err(Wild)),
            ("*.8.8.8.8", Err(Wild)),
            ("127.0.0.1", Err(NotPublic)),
            ("2130706433", Err(NotPublic)),
            ("0x7f.1:8080", Err(NotPublic)),
            ("169.254.169.254", Err(NotPublic)),
            ("10.0.0.1", Err(NotPublic)),
            ("[::1]", Err(NotPublic)),
            ("[fd00::1]:443", Err(NotPublic)),
            ("[::ffff:127.0.0.1]", Err(NotPublic)),
        ] {
            let read = HostPattern::parse(text).map(|host| host.to_string());
            assert_eq!(read.as_deref(), expected.as_ref().copied(), "{text:?}");
            if let Ok(host) = read {
                let again = HostPattern::parse(&host).map(|host| host.to_string());
                assert_eq!(again, Ok(host));
            }
        }
    }

    #[test]
    fn a_pattern_matches_its_hosts_alone() {
        for (pattern, host, port, expected) in [
            ("example.com", "example.com", 443, true),
            ("example.com", "example.com", 80, false),
            ("example.com", "www.example.com", 443, false),
            ("*.example.com", "www.example.com", 443, true),
            ("*.example.com", "a.b.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("*.example.com", "badexample.com", 443, false),
            ("*.example.com", ".example.com", 443, false),
            ("example.com:8443", "example.com", 8443, true),
            ("[2606:4700::1111]", "2606:4700::1111", 443, true),
        ] {
            let pattern = HostPattern::parse(pattern).unwrap();
            assert_eq!(
                pattern.matches(host, port),
                expected,
                "{pattern} {host}:{port}"
            );
        }
    }

    #[test]
    fn a_grant_is_written_as_it_is_read() {
        for text in [
            r#""none""#,
            r#""public""#,
            r#""host""#,
            r#"["api.github.com","*.example.com","example.com:8443"]"#,
        ] {
            let field: Value = serde_json::from_str(text).unwrap();
            let grant = NetworkGrant::of(&field).unwrap();
            assert_eq!(grant.to_field(), Some(field));
        }
        for text in ["null", "true", "[]", r#""all""#, r#"["a", 1]"#, r#"["*"]"#] {
            let field: Value = serde_json::from_str(text).unwrap();
            assert_eq!(NetworkGrant::of(&field), None, "{text}");
        }
    }
}
