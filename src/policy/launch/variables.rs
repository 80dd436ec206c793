//! Which variables a local server may set.

use super::super::HostPolicy;
use super::super::glob::matches;
use super::Denied;

/// Variables that change what a program loads, runs or fetches, whatever its command says. The bot sets `PATH` and `HOME`
/// itself.
const VARIABLES: [&str; 58] = [
    "_JAVA_OPTIONS",
    "BASH_ENV",
    "BASH_FUNC_*",
    "BASHOPTS",
    "BUN_*",
    "CDPATH",
    "CLASSPATH",
    "COMPLUS_*",
    "COR_*",
    "CORECLR_*",
    "COREPACK_*",
    "DENO_*",
    "DOTNET_*",
    "DYLD_*",
    "ENV",
    "GCONV_PATH",
    "GEM_*",
    "GETCONF_DIR",
    "GIT_*",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LD_*",
    "LOCALDOMAIN",
    "LOCPATH",
    "LUA_*",
    "MALLOC_*",
    "NIS_PATH",
    "NLSPATH",
    "NODE_EXTRA_CA_CERTS",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_REPL_EXTERNAL_MODULE",
    "NPM_CONFIG_*",
    "OPENSSL_*",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PHP_INI_SCAN_DIR",
    "PHPRC",
    "PIP_*",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHON*",
    "R_PROFILE*",
    "RES_OPTIONS",
    "RESOLV_HOST_CONF",
    "RUBYLIB",
    "RUBYOPT",
    "SHELLOPTS",
    "TZDIR",
    "UV_*",
    "YARN_*",
];

impl HostPolicy {
    /// Whether a local server may set these variables.
    pub fn may_set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Denied> {
        for name in names {
            let among = |list: &[String]| list.iter().any(|pattern| matches(pattern, name));
            let denied = among(&self.env.deny);
            let is_risky =
                !among(&self.env.allow) && VARIABLES.iter().any(|pattern| matches(pattern, name));
            if denied || is_risky {
                return Err(Denied::Variable {
                    name: name.to_owned(),
                    denied,
                });
            }
        }
        Ok(())
    }
}
