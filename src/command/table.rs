//! The one table of commands: what is read, what `/help` shows, what `/mcp help add` explains, what is suggested.

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The subcommand: `add-json`.
    pub name: &'static str,
    /// How it is typed: `/mcp add-json [NAME] JSON`.
    pub usage: &'static str,
    /// A line for lists, without full stop.
    pub summary: &'static str,
    /// A few sentences for `/mcp help NAME`, plain and kind.
    pub help: &'static str,
    /// One or two lines that can be sent as they are.
    pub examples: &'static [&'static str],
}

impl Entry {
    /// The command without its arguments: `/mcp add-json`.
    pub fn typed(&self) -> &'static str {
        // The usage begins with it (a test holds that); so it is a `'static` text without being written twice.
        self.usage
            .get(.."/mcp ".len() + self.name.len())
            .unwrap_or(self.usage)
    }
}

/// Every `/mcp` subcommand, in the order in which people meet them.
pub const TABLE: &[Entry] = &[
    Entry {
        name: "add",
        usage: "/mcp add [NAME [-e KEY=VALUE]… [--cwd FOLDER] [--network GRANT] -- COMMAND ARGUMENT…]",
        summary: "add a server, step by step or in one line",
        help: "Adds a server to this thread. Send /mcp add alone and I ask one question at a time. Or put it all in one \
               line: the name, then two dashes, then the command that starts the server. A variable of its \
               environment is given with -e, its working folder with --cwd, and what it may reach with --network: none, \
               public, or hosts with commas between them. Lines that begin with `claude mcp add` \
               can be pasted as they are. You see what will change first; nothing happens before you press Apply. No \
               Node on this machine? The second example needs none.",
        examples: &[
            "/mcp add everything -- npx -y @modelcontextprotocol/server-everything",
            "/mcp add demo -- switchboard demo-server",
        ],
    },
    Entry {
        name: "add-json",
        usage: "/mcp add-json [NAME] JSON",
        summary: "add servers from the JSON of a README",
        help: "Adds servers from JSON, as READMEs show it: one server, several by name, or a whole file with \
               `mcpServers`. Give a name in front where the JSON is one server only. Code fences and the curly quotes \
               of phones are fine. Nothing is written before you press Apply; a remote server among them gets a \
               button that connects it.",
        examples: &[
            r#"/mcp add-json memory {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"]}"#,
            r#"/mcp add-json {"mcpServers": {"demo": {"command": "switchboard", "args": ["demo-server"]}}}"#,
        ],
    },
    Entry {
        name: "connect",
        usage: "/mcp connect [NAME] [URL] [--header 'NAME: VALUE']… [--bearer | --api-key HEADER | --oauth | --none] [--client-id ID]",
        summary: "connect a server that is reached by a URL",
        help: "Connects a server elsewhere on the network. Send /mcp connect alone and I ask for its address; I try it \
               while you watch, and find out what it wants: nothing, a key or token, or a login in your browser. \
               Without a name it is named after its host. Keys and tokens are asked for in private and never shown. \
               You see what will change first; nothing is connected before you press Apply. With the name of a server \
               that is here already, its address or login is set anew.",
        examples: &[
            "/mcp connect https://mcp.linear.app/mcp",
            "/mcp connect docs https://mcp.example.com/mcp --bearer",
            "/mcp connect hub https://hub.example.com/mcp --api-key X-API-Key --header 'X-Team: blue'",
        ],
    },
    Entry {
        name: "login",
        usage: "/mcp login NAME [--client-id ID]",
        summary: "log in at a remote server",
        help: "Gives you a link to log in at a server that wants it. You agree there, come back here and press Finish; \
               from then on everybody in this chat uses that server's tools with your account. Only who began a login \
               can finish it, within 10 minutes. A client id is needed only where the server says so.",
        examples: &["/mcp login linear"],
    },
    Entry {
        name: "logout",
        usage: "/mcp logout NAME",
        summary: "forget the login at a remote server",
        help: "Forgets the login at a server, and tells the server that it is over where it can be told. The server \
               stays in the list; /mcp login brings its tools back.",
        examples: &["/mcp logout linear"],
    },
    Entry {
        name: "secrets",
        usage: "/mcp secrets [set NAME [for SERVER] | remove NAME]",
        summary: "the keys and tokens that are kept here",
        help: "Shows the names of the secrets that are kept for this thread, where they are used, and the last characters of \
               longer ones. With set I ask for a value in private and keep it sealed; write ${secret:NAME} in the \
               environment or the arguments of a server, or in a header, where it is needed. A key for a remote server \
               goes to that server and to no other. With remove it is forgotten.",
        examples: &[
            "/mcp secrets",
            "/mcp secrets set GITHUB_TOKEN",
            "/mcp secrets set HUB_KEY for hub",
        ],
    },
    Entry {
        name: "upload",
        usage: "/mcp upload",
        summary: "take servers from a JSON file",
        help: "Takes servers from a file such as mcp.json or claude_desktop_config.json. Send the command and then the \
               file, or send the file with the command as its caption. You see the difference to what is there now, \
               and nothing is written before you press Apply. Fields that I do not know are kept as they are.",
        examples: &["/mcp upload"],
    },
    Entry {
        name: "download",
        usage: "/mcp download [remote]",
        summary: "get this thread's servers as a file",
        help: "Sends this thread's mcp.json as a file, so that you can keep it or take it to another client. Values that \
               look secret are masked in it: fill them in for another client; sent back here, they stay as they are. \
               With the word remote it is mcp_remote.json, the servers reached by a URL.",
        examples: &["/mcp download", "/mcp download remote"],
    },
    Entry {
        name: "list",
        usage: "/mcp list",
        summary: "show the servers of this thread",
        help: "Lists the servers of this thread with how they are doing and how many tools they bring. Values that \
               look secret are masked.",
        examples: &["/mcp list"],
    },
    Entry {
        name: "show",
        usage: "/mcp show NAME",
        summary: "show one server in full",
        help: "Shows one server: its command, arguments, environment and folder, or its address and login, how it is \
               doing, and its tools. Values that look secret are masked.",
        examples: &["/mcp show everything"],
    },
    Entry {
        name: "edit",
        usage: "/mcp edit NAME [FIELD=VALUE]…",
        summary: "change a server",
        help: "Changes a server. With the name alone I go through its fields with you. Or name the fields in one line: \
               command, args, cwd, env.KEY for one variable, or env for all of them, and network for what it may reach \
               (none, public, or hosts with commas between them); of a remote server url, \
               headers.NAME and timeout_ms. Put quotes around a value with spaces; leave the value empty to take the \
               field away. You see the difference before anything is written.",
        examples: &[
            "/mcp edit everything",
            "/mcp edit everything network=api.github.com,*.githubusercontent.com",
            r#"/mcp edit files args="-y @modelcontextprotocol/server-filesystem /tmp" env.LOG=debug"#,
        ],
    },
    Entry {
        name: "rename",
        usage: "/mcp rename NAME NEW-NAME",
        summary: "give a server another name",
        help: "Gives a server another name; all else stays. Its tools carry the new name, since a tool is known as \
               server__tool.",
        examples: &["/mcp rename everything playground"],
    },
    Entry {
        name: "remove",
        usage: "/mcp remove NAME",
        summary: "remove a server and its tools",
        help: "Removes a server from this thread. It is stopped and its tools are gone as soon as you press Apply, \
               and so are the key or login of a remote one. Changed your mind later? Send /mcp undo.",
        examples: &["/mcp remove everything"],
    },
    Entry {
        name: "enable",
        usage: "/mcp enable NAME",
        summary: "switch a server on again",
        help: "Switches a server on that was disabled. You are asked before a program starts here or a server is reached.",
        examples: &["/mcp enable everything"],
    },
    Entry {
        name: "disable",
        usage: "/mcp disable NAME",
        summary: "switch a server off and keep it",
        help: "Switches a server off and keeps its configuration. It stops and its tools are gone at once; the answer \
               has an Undo button.",
        examples: &["/mcp disable everything"],
    },
    Entry {
        name: "tools",
        usage: "/mcp tools [NAME [TOOL [mode=always|ask|never]]]",
        summary: "show the tools, of all servers or of one, and switch them on and off",
        help: "Lists the tools of all servers of this thread, or of one, with what they look like they do; buttons switch \
               them on and off. With a tool's name it shows that tool: what it takes, why it is off, and how its calls \
               are made. With mode=ask somebody who configures here is asked before each call, with mode=always nobody \
               is, with mode=never it is not called.",
        examples: &[
            "/mcp tools",
            "/mcp tools everything",
            "/mcp tools everything echo mode=ask",
        ],
    },
    Entry {
        name: "allow",
        usage: "/mcp allow SERVER TOOL|PATTERN…",
        summary: "switch tools on that look risky",
        help: "Switches tools on. Tools that look risky (files, shells, whatever deletes) start off with a new server, \
               until somebody who configures here allows them by name or by a pattern, in which * stands for anything. \
               What is denied stays off. It works at once; the answer has an Undo button.",
        examples: &["/mcp allow files read_file", "/mcp allow files read_*"],
    },
    Entry {
        name: "deny",
        usage: "/mcp deny SERVER TOOL|PATTERN…",
        summary: "switch tools off",
        help: "Switches tools off, by name or by a pattern in which * stands for anything; also tools that come later. \
               A denial wins over everything that was allowed; to take it back, allow the same name or pattern. It works \
               at once; the answer has an Undo button.",
        examples: &["/mcp deny files write_*"],
    },
    Entry {
        name: "call",
        usage: "/mcp call SERVER TOOL [JSON or KEY=VALUE…]",
        summary: "call a tool and see its answer",
        help: "Calls a tool. Its arguments are one JSON object or key=value pairs, with quotes around a value that has \
               spaces. They are checked before the call, and I ask you for what is missing. Long calls show their \
               progress and a Stop button. A tool may also be written server__tool.",
        examples: &[
            r#"/mcp call everything echo message="hello there""#,
            r#"/mcp call everything get-sum {"a": 2, "b": 3}"#,
        ],
    },
    Entry {
        name: "test",
        usage: "/mcp test NAME",
        summary: "try a server stage by stage",
        help: "Tries a server stage by stage: is the command found and does the process start, or is the address found \
               and does it answer; in which version of the protocol, does it list its tools, is each tool's schema \
               sound. The first stage that fails says why and what to do.",
        examples: &["/mcp test everything"],
    },
    Entry {
        name: "status",
        usage: "/mcp status",
        summary: "how this thread's servers are doing",
        help: "Shows in numbers how the servers of this thread are doing: how many run or failed, how many tools there \
               are, health in per cent, response times and restarts.",
        examples: &["/mcp status"],
    },
    Entry {
        name: "logs",
        usage: "/mcp logs NAME",
        summary: "the last lines that a server printed",
        help: "Shows the last lines that a server wrote to its error output, which is where servers say what troubles \
               them. Of a remote server it shows the last requests, with status and time. Secrets are masked.",
        examples: &["/mcp logs everything"],
    },
    Entry {
        name: "restart",
        usage: "/mcp restart NAME",
        summary: "stop a server and start it again",
        help: "Stops a server and starts it again, at once. It also wakes one that was given up after failing too \
               often. The other servers go on undisturbed.",
        examples: &["/mcp restart everything"],
    },
    Entry {
        name: "history",
        usage: "/mcp history",
        summary: "what was changed here, when and by whom",
        help: "Shows every change that was applied in this thread: who made it, when, and its difference.",
        examples: &["/mcp history"],
    },
    Entry {
        name: "audit",
        usage: "/mcp audit [NUMBER | NAME | verify | file]",
        summary: "what happened here: calls, changes, logins, starts",
        help: "Shows the newest lines of what was written down here: who changed or called what, when, and what came of it. \
               Give a number for more lines, or a server's name for its own. With the word file I send all of it, and with \
               verify I look whether a line was edited or taken away on the bot's machine. Secrets are masked in it.",
        examples: &["/mcp audit", "/mcp audit verify"],
    },
    Entry {
        name: "undo",
        usage: "/mcp undo",
        summary: "take the last change back",
        help: "Proposes the reverse of the last change that was applied here. You see the difference, and nothing is \
               written before you press Apply.",
        examples: &["/mcp undo"],
    },
    Entry {
        name: "help",
        usage: "/mcp help [COMMAND]",
        summary: "explain a command",
        help: "Explains a command with an example that can be sent as it is. Alone it lists all of them.",
        examples: &["/mcp help add"],
    },
];

/// Other words for a subcommand, in lower case and with `-` for `_`.
const ALIASES: &[(&str, &str)] = &[
    ("addjson", "add-json"),
    ("rm", "remove"),
    ("del", "remove"),
    ("delete", "remove"),
    ("ls", "list"),
    ("get", "show"),
    ("import", "upload"),
    ("export", "download"),
    ("log", "logs"),
    ("on", "enable"),
    ("off", "disable"),
    ("signin", "login"),
    ("secret", "secrets"),
    ("vault", "secrets"),
    ("log-in", "login"),
    ("sign-in", "login"),
    ("auth", "login"),
    ("signout", "logout"),
    ("log-out", "logout"),
    ("sign-out", "logout"),
];

/// The entry of a subcommand or of another word for it, whatever its capitals.
pub fn help_for(name: &str) -> Option<&'static Entry> {
    let entry = |name: &str| {
        TABLE
            .iter()
            .find(|entry| entry.name.eq_ignore_ascii_case(name))
    };
    entry(name).or_else(|| entry(canonical(name)?))
}

/// The nearest of some names to a mistyped one, if one is near enough to offer.
///
/// Near is: one of two beginning with the other, or a third of the letters wrong at most. Capitals do not count.
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed
        .chars()
        .take(64)
        .flat_map(char::to_lowercase)
        .collect();
    let length = typed.chars().count();
    if length == 0 {
        return None;
    }
    let ranked = names.into_iter().filter_map(|name| {
        let lower = name.to_lowercase();
        let mistakes = strsim::damerau_levenshtein(&typed, &lower);
        let longer = length.max(lower.chars().count());
        let begins = lower.starts_with(&typed);
        let goes_on = lower.len() >= 3 && typed.starts_with(&lower);
        let near = mistakes <= (longer / 3).clamp(1, 3) && mistakes < length.min(longer);
        // A name cut short is a better guess than a mistake, and a name that goes on is the last one.
        (near || begins || goes_on).then_some(((!begins, !near, mistakes), name))
    });
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, name)| name)
}

/// The table's spelling of a subcommand: `ADD_JSON`, `addjson` and `add–json` are `add-json`, `rm` is `remove`.
pub(super) fn canonical(typed: &str) -> Option<&'static str> {
    let plain: String = typed
        .chars()
        .take(32)
        .map(|c| match c {
            '_' | '–' | '—' | '\u{2010}' | '\u{2011}' | '\u{2212}' => '-',
            _ => c.to_ascii_lowercase(),
        })
        .collect();
    let alias = ALIASES.iter().find(|(other, _)| *other == plain);
    let name = alias.map_or(plain.as_str(), |(_, name)| name);
    let entry = TABLE.iter().find(|entry| entry.name == name)?;
    Some(entry.name)
}
