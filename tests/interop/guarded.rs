//! The house before a server that demands a login: an authorization server, the server behind it, our pages, and Ann with
//! her browser.

use serde_json::{Value, json};
use switchboard::app::HouseOptions;
use switchboard::chat::{Block, Span, View};
use switchboard::thread::ThreadId;
use switchboard::web::Web;
use url::Url;

use crate::programs::{Server, Walk, browse, loopback};
use crate::support::chat::plain;
use crate::support::world::World;
use crate::talk;

/// The name of the server in the chat.
pub(crate) const NAME: &str = "guarded";

/// A public address of ours, which the browser and the authorization server find on loopback.
pub(crate) const PUBLIC: &str = "https://bot.example";

/// How people reach our pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// At the address where they are served: the browser runs on this machine.
    Here,
    /// At [`PUBLIC`].
    Public,
    /// Not at all.
    Nowhere,
}

/// All of it.
pub(crate) struct Guarded {
    pub(crate) world: World,
    pub(crate) provider: Server,
    pub(crate) server: Server,
    pages: Pages,
    /// Where our pages are, or would be.
    pub(crate) ours: String,
}

/// A client that somebody registered at the authorization server beforehand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) id: &'static str,
    pub(crate) secret: Option<&'static str>,
    /// The operator of the bot wrote it into the data folder.
    pub(crate) by_operator: bool,
}

impl Guarded {
    /// Starts everything.
    pub(crate) async fn start(pages: Pages) -> Self {
        Self::start_with(pages, None).await
    }

    /// The same with an authorization server that takes nobody but this client.
    pub(crate) async fn start_with(pages: Pages, known: Option<Known>) -> Self {
        let (web, ours) = bind("127.0.0.1:0").await;
        let known_at = format!("{PUBLIC}={ours}");
        let redirect = format!("{ours}/oauth/callback");
        let mut options: Vec<&str> = Vec::new();
        if pages == Pages::Public {
            options.extend(["--cimd-at", &known_at]);
        }
        if let Some(known) = known {
            options.extend(["--no-registration", "--no-cimd"]);
            options.extend(["--client-id", known.id, "--redirect-uri", &redirect]);
            options.extend(
                known
                    .secret
                    .iter()
                    .flat_map(|secret| ["--client-secret", *secret]),
            );
        }
        let provider = Server::start("provider.mjs", &options).await;
        let server = Server::start("protected.mjs", &["--issuer", provider.fact("issuer")]).await;
        let mut world = World::open_with(|options| {
            set(options, pages, &ours);
            if let Some(known) = known.filter(|known| known.by_operator) {
                let folder = options.data.join("admin");
                std::fs::create_dir_all(&folder).expect("a folder");
                let client = json!({"client_id": known.id, "client_secret": known.secret});
                let all = json!({provider.fact("issuer"): client}).to_string();
                std::fs::write(folder.join("oauth_clients.json"), all).expect("a file");
            }
        });
        serve(&mut world, pages, web);
        Self {
            world,
            provider,
            server,
            pages,
            ours,
        }
    }

    /// Ends the bot and starts it again, while everything else goes on.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            world,
            provider,
            server,
            pages,
            ours,
        } = self;
        let mut world = world
            .restarted_with(|options| set(options, pages, &ours))
            .await;
        let (web, _) = bind(ours.trim_start_matches("http://")).await;
        serve(&mut world, pages, web);
        Self {
            world,
            provider,
            server,
            pages,
            ours,
        }
    }

    pub(crate) async fn close(self) {
        self.world.close().await;
    }

    pub(crate) async fn says(&self, text: &str, expected: &str) -> String {
        talk::says(&self.world, text, expected).await
    }

    pub(crate) async fn presses(&self, label: &str, expected: &str) -> String {
        talk::presses(&self.world, label, expected).await
    }

    /// Waits for a message with this in it, whenever it came.
    pub(crate) async fn sees(&self, expected: &str) -> String {
        plain(&self.view(expected).await)
    }

    async fn view(&self, expected: &str) -> View {
        let shown = self.world.sees(ThreadId::Local, |shown| {
            plain(&shown.view).contains(expected)
        });
        shown.await.view
    }

    /// Connects the server by chat and applies; the link to log in at.
    pub(crate) async fn connects(&self, options: &str) -> String {
        let url = self.server.fact("url");
        let proposal = self
            .says(
                &format!("/mcp connect {NAME} {url}{options}"),
                "What to know before you apply it",
            )
            .await;
        assert!(proposal.contains("in your browser (OAuth)"), "{proposal}");
        self.world.ann().presses("Apply").await;
        self.link().await
    }

    /// The link of the newest invitation.
    pub(crate) async fn link(&self) -> String {
        let view = self.view("You log in at").await;
        if let Some(link) = view.links.first() {
            return link.url.clone();
        }
        let spans = view.blocks.iter().flat_map(spans);
        let link = spans.into_iter().find(|text| text.starts_with("http"));
        link.unwrap_or_else(|| panic!("no link in:\n{}", plain(&view)))
    }

    /// Ann follows the link, logs in there, agrees, and lands on our page.
    pub(crate) async fn agrees(&self, link: &str) -> Walk {
        let map = format!("{PUBLIC}={}", self.ours);
        let options: &[&str] = match self.pages {
            Pages::Public => &["--map", &map],
            Pages::Here | Pages::Nowhere => &[],
        };
        let walk = browse(link, options).await;
        assert!(walk.title.starts_with("Welcome back"), "{walk:?}");
        assert!(walk.text.contains("press Finish"), "{walk:?}");
        walk
    }

    /// The whole of a login, from the link to the tools.
    pub(crate) async fn logs_in(&self, link: &str) -> Walk {
        let walk = self.agrees(link).await;
        self.sees("You agreed there").await;
        let done = self.presses("Finish", "Logged in to").await;
        assert!(done.contains("2 tools"), "{done}");
        walk
    }

    /// Calls a tool of the server; what is answered.
    pub(crate) async fn calls(&self, tool: &str, expected: &str) -> String {
        self.says(&format!("/mcp call {NAME} {tool}"), expected)
            .await
    }

    /// What came to the authorization server at this path, with what is in its parameters by these names.
    pub(crate) async fn asked(&self, path: &str) -> Vec<Value> {
        let all = self.provider.pull("GET /requests").await;
        let all = all.as_array().expect("a list").iter();
        all.filter(|one| one["path"] == path).cloned().collect()
    }

    /// The token requests of this kind, by their status.
    pub(crate) async fn token_requests(&self, grant: &str) -> Vec<u64> {
        let all = self.asked("/token").await;
        let of_kind = all.iter().filter(|one| one["grant_type"] == grant);
        of_kind
            .map(|one| {
                assert_eq!(one["resource"], self.server.fact("url"), "{one}");
                one["status"].as_u64().expect("a status")
            })
            .collect()
    }

    /// The entry as it stands in the file.
    pub(crate) fn entry(&self) -> Value {
        let path = self.world.file(ThreadId::Local, "mcp_remote.json");
        let text = std::fs::read_to_string(path).expect("the file is there");
        let file: Value = serde_json::from_str(&text).expect("it is JSON");
        file["mcpServers"][NAME].clone()
    }
}

/// Everything that a message says in fixed width.
fn spans(block: &Block) -> Vec<String> {
    let Block::Text(text) = block else {
        return Vec::new();
    };
    let spans = text.0.iter().filter_map(|span| match span {
        Span::Code(text) => Some(text.clone()),
        Span::Plain(_) | Span::Bold(_) => None,
    });
    spans.collect()
}

async fn bind(address: &str) -> (Web, String) {
    let web = Web::bind(address.parse().expect("an address"))
        .await
        .expect("it is free");
    let at = web.address().expect("it is bound");
    (web, format!("http://{at}"))
}

fn set(options: &mut HouseOptions, pages: Pages, ours: &str) {
    options.net.rules = loopback();
    options.listen = ours
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    options.public_url = match pages {
        Pages::Here => Some(Url::parse(ours).expect("a URL")),
        Pages::Public => Some(Url::parse(PUBLIC).expect("a URL")),
        Pages::Nowhere => None,
    };
}

fn serve(world: &mut World, pages: Pages, web: Web) {
    match pages {
        Pages::Here | Pages::Public => world.house.serve(web),
        // Nobody reaches it, whatever the bot would serve.
        Pages::Nowhere => drop(web),
    }
}
