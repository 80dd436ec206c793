//! For whom a secret was given: it goes there and nowhere else, whatever the files say.

use std::fmt;

use url::Url;

/// What a secret was given for. Kept beside the secret, and sealed with it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(from = "String", into = "String")]
pub enum GivenFor {
    /// Remote servers at this place: scheme, host and port, as `https://a.example`.
    Place(String),
    /// The servers of the thread that run on the bot's machine.
    Local,
    /// Nobody knows any more: it goes nowhere, and is to be given anew.
    Unknown,
}

impl GivenFor {
    /// For the place of an address; [`GivenFor::Unknown`] where it is none.
    pub fn place_of(url: &str) -> Self {
        Url::parse(url).map_or(Self::Unknown, |url| Self::at(&url))
    }

    /// For the place of an address.
    pub fn at(url: &Url) -> Self {
        let origin = url.origin();
        if origin.is_tuple() {
            Self::Place(origin.ascii_serialization())
        } else {
            Self::Unknown
        }
    }

    /// Whether a secret that was given for this may go there.
    pub fn allows(&self, there: &Self) -> bool {
        *self != Self::Unknown && self == there
    }
}

/// As it is kept.
impl From<GivenFor> for String {
    fn from(given: GivenFor) -> Self {
        match given {
            GivenFor::Place(place) => place,
            GivenFor::Local => "local".to_owned(),
            GivenFor::Unknown => "unknown".to_owned(),
        }
    }
}

impl From<String> for GivenFor {
    fn from(text: String) -> Self {
        match text.as_str() {
            "local" => Self::Local,
            // Only what comes out as it went in: `https://a.example/x` is no place.
            text => match Self::place_of(text) {
                Self::Place(place) if place == text => Self::Place(place),
                Self::Place(_) | Self::Local | Self::Unknown => Self::Unknown,
            },
        }
    }
}

/// For people.
impl fmt::Display for GivenFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place(place) => place,
            Self::Local => "the servers on the bot's machine",
            Self::Unknown => "something that is not known any more",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_goes_to_the_place_it_was_given_for_and_no_other() {
        let given = GivenFor::place_of("https://a.example/mcp?x=1");
        for (there, goes) in [
            ("https://a.example/other", true),
            ("https://A.example:443/mcp", true),
            ("http://a.example/mcp", false),
            ("https://a.example:444/mcp", false),
            ("https://a.example.evil.example/mcp", false),
            ("https://a.example@evil.example/mcp", false),
            ("no address", false),
            ("data:text/plain,a", false),
        ] {
            assert_eq!(given.allows(&GivenFor::place_of(there)), goes, "{there}");
        }
        assert!(!given.allows(&GivenFor::Local));
        assert!(!GivenFor::Local.allows(&given));
        assert!(GivenFor::Local.allows(&GivenFor::Local));
        // Two places that are none are not the same place.
        assert!(!GivenFor::Unknown.allows(&GivenFor::Unknown));
    }

    #[test]
    fn what_is_kept_is_read_back_and_nothing_else_is_a_place() {
        for given in [
            GivenFor::place_of("https://[2001:db8::1]:8443/x"),
            GivenFor::Local,
            GivenFor::Unknown,
        ] {
            assert_eq!(GivenFor::from(String::from(given.clone())), given);
        }
        for text in ["", "Local", "https://a.example/x", "a.example", "null"] {
            assert_eq!(GivenFor::from(text.to_owned()), GivenFor::Unknown, "{text}");
        }
    }
}
