//! Links of a view: buttons where Telegram takes their address, and text where it does not.

use teloxide::types::InlineKeyboardButton;
use url::{Host, Url};

use super::html::{clean, shorten};
use crate::chat::{Block, Link, Text, View};

/// Writes the links that cannot be buttons below the text, where a tap copies them.
pub(super) fn write_unfit(view: &mut View) {
    let (buttons, text) = std::mem::take(&mut view.links)
        .into_iter()
        .partition(|link| button(link).is_some());
    view.links = buttons;
    for Link { label, url } in text {
        let line = Text::default().plain(format!("{label}: ")).code(url);
        view.blocks.push(Block::Text(line));
    }
}

/// Writes all links below the text: Telegram refused one as a button. It makes them tappable itself.
pub(super) fn write_all(view: &mut View) {
    for Link { label, url } in std::mem::take(&mut view.links) {
        view.blocks.push(Block::Text(
            Text::default().plain(format!("{label}: {url}")),
        ));
    }
}

/// The button of a link, where its host is a name with a dot that people elsewhere can reach (Bot API: "Wrong HTTP URL").
pub(super) fn button(link: &Link) -> Option<InlineKeyboardButton> {
    let url = Url::parse(&link.url).ok()?;
    let reachable = match url.host()? {
        Host::Domain(name) => name.trim_matches('.').contains('.'),
        Host::Ipv4(_) | Host::Ipv6(_) => false,
    };
    let label = clean(&link.label).replace('\n', " ");
    let label = shorten(label.trim(), 64);
    (url.scheme() == "https" && reachable && !label.is_empty())
        .then(|| InlineKeyboardButton::url(label, url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_telegram_takes_become_buttons() {
        for (url, expected) in [
            ("https://bot.example/oauth/start/abc?x=1#y", true),
            ("https://t.me/bot?start=abc", true),
            ("https://bot.example:8443/", true),
            ("http://bot.example/", false),
            ("https://localhost/", false),
            ("https://localhost./", false),
            ("https://intranet:8443/", false),
            ("http://127.0.0.1:8787/oauth/start/abc", false),
            ("https://127.0.0.1/", false),
            ("https://[::1]/", false),
            ("tg://resolve?domain=bot", false),
            ("javascript:alert(1)", false),
            ("nonsense", false),
        ] {
            let link = Link {
                label: "Log in".to_owned(),
                url: url.to_owned(),
            };
            assert_eq!(button(&link).is_some(), expected, "{url}");
            let mut view = View::text("Here:");
            view.links.push(link);
            write_unfit(&mut view);
            assert_eq!(view.links.len(), usize::from(expected), "{url}");
            assert_eq!(view.blocks.len(), 2 - usize::from(expected), "{url}");
        }
    }
}
