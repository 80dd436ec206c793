//! Where packages come from on this host: the registries that npm and uv are set up for, without their logins.
//!
//! The managers run with a home that is not the operator's, so what the operator set up for them is read here and handed
//! on: addresses and certificates, never a token. A registry that wants a login cannot be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use url::Url;

use super::recognise::Manager;
use crate::config::HostPattern;

const NPM: &str = "https://registry.npmjs.org/";
const PYPI: &str = "https://pypi.org/simple";
/// Where the files of `pypi.org` are.
const PYPI_FILES: &str = "files.pythonhosted.org";

/// What the host is set up for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::registry) struct Sources {
    npm: BTreeMap<String, String>,
    pip: BTreeMap<String, String>,
    certificates: Option<String>,
}

impl Sources {
    /// Reads the environment and the usual files. Blocks.
    pub(in crate::registry) fn of_this_host() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.into_string().ok()?))
        });
        Self::of(&variables.collect(), |path| {
            std::fs::read_to_string(path).ok()
        })
    }

    fn of(variables: &BTreeMap<String, String>, read: impl Fn(&Path) -> Option<String>) -> Self {
        let home = variables.get("HOME").map(PathBuf::from).unwrap_or_default();
        let mut sources = Self::default();
        let user = variables
            .get("NPM_CONFIG_USERCONFIG")
            .or_else(|| variables.get("npm_config_userconfig"))
            .map_or_else(|| home.join(".npmrc"), PathBuf::from);
        let npm = [
            PathBuf::from("/usr/etc/npmrc"),
            PathBuf::from("/usr/local/etc/npmrc"),
            PathBuf::from("/etc/npmrc"),
            user,
        ];
        for text in npm.iter().filter_map(|path| read(path)) {
            let fields = fields(&text).filter(|(key, _)| is_npm(key));
            sources.npm.extend(fields);
        }
        let pip = [
            PathBuf::from("/etc/pip.conf"),
            home.join(".pip/pip.conf"),
            home.join(".config/pip/pip.conf"),
        ];
        for text in pip.iter().filter_map(|path| read(path)) {
            let fields = fields(&text).filter(|(key, _)| is_pip(key));
            sources.pip.extend(fields);
        }
        for (name, value) in variables {
            let name = name.to_ascii_lowercase();
            if let Some(key) = name.strip_prefix("npm_config_").filter(|key| is_npm(key)) {
                sources.npm.insert(key.to_owned(), value.clone());
            }
            let key = match name.as_str() {
                "uv_default_index" | "uv_index_url" | "pip_index_url" => "index-url",
                "pip_cert" => "cert",
                _ => continue,
            };
            sources.pip.insert(key.to_owned(), value.clone());
        }
        let certificates = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"];
        sources.certificates = certificates
            .iter()
            .find_map(|name| variables.get(*name))
            .cloned();
        sources
    }

    /// What the manager is told of it.
    pub(super) fn variables(&self, manager: Manager) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut add = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
        match manager {
            Manager::Npm => {
                for (key, value) in &self.npm {
                    if !has_login(value) {
                        add(&format!("npm_config_{key}"), value);
                    }
                }
                if let Some(file) = &self.certificates {
                    add("NODE_EXTRA_CA_CERTS", file);
                }
            }
            Manager::Uv => {
                let index = self.index();
                if index != PYPI {
                    add("UV_DEFAULT_INDEX", index);
                }
                if let Some(file) = self.pip.get("cert").or(self.certificates.as_ref()) {
                    add("SSL_CERT_FILE", file);
                }
            }
        }
        all
    }

    /// The hosts that the manager fetches from.
    pub(super) fn patterns(&self, manager: Manager) -> Vec<HostPattern> {
        let urls: Vec<&str> = match manager {
            Manager::Npm => {
                let registries = self.npm.iter().filter(|(key, _)| key.ends_with("registry"));
                let mut urls: Vec<&str> = registries.map(|(_, url)| url.as_str()).collect();
                if !self.npm.contains_key("registry") {
                    urls.push(NPM);
                }
                urls
            }
            Manager::Uv => vec![self.index()],
        };
        let mut hosts: Vec<HostPattern> = urls
            .into_iter()
            .filter_map(|url| Url::parse(url).ok())
            .filter_map(|url| HostPattern::exactly(url.host_str()?, url.port_or_known_default()?))
            .collect();
        if manager == Manager::Uv && self.index().starts_with("https://pypi.org/") {
            hosts.extend(HostPattern::parse(PYPI_FILES));
        }
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// The same, for people.
    pub(super) fn hosts_of(&self, manager: Manager) -> Vec<String> {
        let hosts = self.patterns(manager);
        hosts.iter().map(ToString::to_string).collect()
    }

    fn index(&self) -> &str {
        let index = self.pip.get("index-url");
        index.map_or(PYPI, String::as_str)
    }
}

/// `key = value` lines; comments and sections are passed over.
fn fields(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), value.trim().trim_matches('"'));
        let is_field = !key.is_empty() && !key.starts_with(['#', ';', '[']) && !value.is_empty();
        // A reference to a variable may be to a secret one.
        (is_field && !value.contains("${")).then(|| (key.to_owned(), value.to_owned()))
    })
}

/// Addresses and certificates, and nothing that lets anybody in.
fn is_npm(key: &str) -> bool {
    let is_scope = key.starts_with('@') && key.ends_with(":registry");
    matches!(key, "registry" | "cafile") || is_scope
}

fn is_pip(key: &str) -> bool {
    matches!(key, "index-url" | "cert")
}

fn has_login(value: &str) -> bool {
    Url::parse(value).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(variables: &[(&str, &str)], npmrc: &str, pip: &str) -> Sources {
        let mut all: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        all.insert("HOME".to_owned(), "/h".to_owned());
        Sources::of(&all, |path| match path.to_str()? {
            "/h/.npmrc" => Some(npmrc.to_owned()),
            "/etc/pip.conf" => Some(pip.to_owned()),
            _ => None,
        })
    }

    #[test]
    fn without_anything_they_are_the_public_registries() {
        let none = sources(&[], "", "");
        assert_eq!(none.hosts_of(Manager::Npm), ["registry.npmjs.org"]);
        let hosts = ["files.pythonhosted.org", "pypi.org"];
        assert_eq!(none.hosts_of(Manager::Uv), hosts);
        assert_eq!(none.variables(Manager::Npm), []);
        assert_eq!(none.variables(Manager::Uv), []);
    }

    #[test]
    fn mirrors_and_certificates_are_handed_on_and_logins_are_not() {
        let npmrc = "; mine\nregistry = https://npm.corp.example:8443/all/\n@team:registry=https://team.example/\n\
            cafile=/etc/ca.pem\n//npm.corp.example/:_authToken=canary\n_auth=canary\nproxy=http://u:canary@p\n\
            @x:registry=https://u:canary@x.example/\n";
        let pip = "[global]\nindex-url = https://pypi.corp.example/simple\ncert=/etc/pip.pem\n";
        let found = sources(
            &[
                ("TELOXIDE_TOKEN", "canary"),
                ("SSL_CERT_FILE", "/etc/s.pem"),
            ],
            npmrc,
            pip,
        );
        let told = |manager| {
            let variables = found.variables(manager).into_iter();
            let told: Vec<String> = variables
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            told.join(" ")
        };
        assert_eq!(
            told(Manager::Npm),
            "npm_config_@team:registry=https://team.example/ npm_config_cafile=/etc/ca.pem \
             npm_config_registry=https://npm.corp.example:8443/all/ NODE_EXTRA_CA_CERTS=/etc/s.pem"
        );
        assert_eq!(
            told(Manager::Uv),
            "UV_DEFAULT_INDEX=https://pypi.corp.example/simple SSL_CERT_FILE=/etc/pip.pem"
        );
        assert_eq!(
            found.hosts_of(Manager::Npm),
            ["npm.corp.example:8443", "team.example", "x.example"]
        );
        assert_eq!(found.hosts_of(Manager::Uv), ["pypi.corp.example"]);
        assert!(!told(Manager::Npm).contains("canary"));
    }
}
