//! The pages, one template. All text that comes from elsewhere goes through [`escaped`] and stands in a `<bdi>`, so that
//! it neither becomes markup nor turns the text around it about.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::oauth::{Arrival, StartPage, scope_words};

const STYLE: &str = include_str!("style.css");

/// The style stands in the page and is allowed by its hash: nothing else can be styled in.
static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(STYLE))));

/// A page.
pub(super) struct Page {
    status: StatusCode,
    title: String,
    /// Markup.
    body: String,
    /// Where its form may lead: the whole way of the redirect behind it counts (CSP 3, `form-action`).
    form: &'static str,
}

/// The form of a page without one.
const NO_FORM: &str = "'none'";

/// What a person sees before they leave.
pub(super) fn start(start: &StartPage) -> Page {
    let wants = if is_you(&start.who) {
        "You want".to_owned()
    } else {
        format!("{} wants", strong(&start.who))
    };
    let mut body = format!(
        "<p>{wants} to use {server} in {place}.</p>\n<dl>\n",
        server = strong(&start.server),
        place = text(&start.place),
    );
    row(&mut body, "Server", &text(&start.url));
    row(&mut body, "You log in at", &text(&start.issuer));
    let asked = if start.scopes.is_empty() {
        "it does not say; you will see it there".to_owned()
    } else {
        let items = start.scopes.iter();
        let items = items.map(|scope| match scope_words(scope) {
            Some(words) => format!("<li>{words}</li>"),
            None => format!("<li><code>{}</code></li>", escaped(scope)),
        });
        format!("<ul>{}</ul>", items.collect::<String>())
    };
    row(&mut body, "It asks for", &asked);
    let _ = write!(
        body,
        "</dl>\n<form method=\"post\"><button type=\"submit\">Continue to {}</button></form>",
        text(&start.issuer)
    );
    Page {
        status: StatusCode::OK,
        title: format!("Connect {}", start.server),
        body,
        form: if start.leads_to.starts_with("http:") {
            "'self' https: http:"
        } else {
            "'self' https:"
        },
    }
    .with_footer(&format!(
        "Whoever uses it in {} acts with the account that you log in with. If you {}did not ask for this, close this page: \
         nothing has happened yet.",
        text(&start.place),
        if is_you(&start.who) {
            String::new()
        } else {
            format!("are not {}, or ", text(&start.who))
        },
    ))
}

/// What a browser that came back is shown.
pub(super) fn arrival(arrival: &Arrival) -> Page {
    match arrival {
        Arrival::Welcome { server, place, who } => page(
            StatusCode::OK,
            "Welcome back",
            &format!(
                "<p>The login for {server} in {place} came through.</p>\n\
                 <p><strong>Return to the chat and press Finish.</strong> It works for {who} alone, and nothing is \
                 connected before.</p>\n<p>You can close this page.</p>",
                server = strong(server),
                place = text(place),
                who = text(who),
            ),
        ),
        Arrival::Denied { server, place } => page(
            StatusCode::OK,
            "Not connected",
            &format!(
                "<p>You said no, so {server} was not connected to {place}.</p>\n\
                 <p>If you change your mind, begin again in the chat with <code>/mcp login</code>.</p>",
                server = text(server),
                place = text(place),
            ),
        ),
        Arrival::Failed { server, place, why } => page(
            StatusCode::BAD_REQUEST,
            "The login failed",
            &format!(
                "<p>{server} was not connected to {place}:</p>\n<p>{why}</p>\n\
                 <p>Return to the chat and begin again with <code>/mcp login</code>.</p>",
                server = text(server),
                place = text(place),
                why = text(why),
            ),
        ),
        Arrival::Unknown => page(
            StatusCode::NOT_FOUND,
            "This link is old",
            "<p>A login can be used once and for 10 minutes, and this one is over or was never begun here.</p>\n\
             <p>If you came back a moment ago already, all is well: look into the chat. Else begin again there with \
             <code>/mcp login</code>.</p>",
        ),
        Arrival::WrongBrowser => page(
            StatusCode::FORBIDDEN,
            "Another browser",
            "<p>This login was begun in another browser, so it was not used.</p>\n\
             <p>Open the link from the chat again and stay in that browser to the end.</p>",
        ),
    }
}

/// Where a secret is entered; `trouble` is why the last one was none.
pub(super) fn entry(what: &str, trouble: Option<&str>) -> Page {
    let trouble = trouble.map_or_else(String::new, |why| format!("<p>{}</p>\n", strong(why)));
    let mut page = page(
        StatusCode::OK,
        "Enter a secret",
        &format!(
            "<p>Switchboard was asked in a chat to keep {what}.</p>\n{trouble}\
             <form method=\"post\" autocomplete=\"off\"><p><label for=\"value\">The value itself</label>\
             <textarea id=\"value\" name=\"value\" rows=\"4\" required autocomplete=\"off\" autocapitalize=\"off\" \
             spellcheck=\"false\"></textarea></p><button type=\"submit\">Keep it</button></form>\n\
             <p>It is sealed and shown to nobody. This page works once. If nobody you know asked for this, close it.</p>",
            what = strong(what),
        ),
    );
    page.form = "'self'";
    page
}

/// It was entered.
pub(super) fn entry_taken(what: &str) -> Page {
    page(
        StatusCode::OK,
        "Thank you",
        &format!(
            "<p>I have {}. It goes on in the chat.</p>\n<p>You can close this page.</p>",
            text(what)
        ),
    )
}

/// The address of such a page that is used up.
pub(super) fn entry_over() -> Page {
    page(
        StatusCode::NOT_FOUND,
        "This page is over",
        "<p>A page to enter a secret works once and for 15 minutes. Ask for another one in the chat.</p>",
    )
}

/// A path that leads nowhere.
pub(super) fn nothing_here() -> Page {
    page(
        StatusCode::NOT_FOUND,
        "Nothing here",
        "<p>There is no page at this address. Links to log in come from the chat.</p>",
    )
}

/// The headers that every answer has.
pub(super) fn safe(mut response: Response<Body>) -> Response<Body> {
    const HEADERS: [(HeaderName, &str); 5] = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Page {
    /// The page with its headers.
    pub(super) fn into_response(self) -> Response<Body> {
        let policy = format!(
            "default-src 'none'; style-src {}; form-action {}; base-uri 'none'; frame-ancestors 'none'",
            *STYLE_HASH, self.form
        );
        let mut response = safe(Response::new(Body::from(self.html())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        // Under `no-referrer` browsers send a form with `Origin: null` (Fetch, "append a request `Origin` header"), and a
        // form of ours could not be told from another site's. Outside this origin nothing is named either way.
        if self.form != NO_FORM {
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        }
        response
    }

    /// The markup.
    pub(super) fn html(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title} · Switchboard</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
            title = escaped(&self.title),
            body = self.body,
        )
    }

    fn with_footer(mut self, footer: &str) -> Self {
        self.body = format!(
            "<section>\n<h1>{}</h1>\n{}\n</section>\n<footer>{footer}</footer>\n",
            text(&self.title),
            self.body
        );
        self
    }
}

fn page(status: StatusCode, title: &str, body: &str) -> Page {
    Page {
        status,
        title: title.to_owned(),
        body: format!(
            "<section>\n<h1>{}</h1>\n{body}\n</section>\n",
            escaped(title)
        ),
        form: NO_FORM,
    }
}

fn row(body: &mut String, name: &str, markup: &str) {
    let _ = writeln!(body, "<dt>{name}</dt><dd>{markup}</dd>");
}

/// Text from elsewhere, as markup.
fn text(text: &str) -> String {
    format!("<bdi>{}</bdi>", escaped(text))
}

/// What stands out of a sentence, such as a server's name.
fn strong(words: &str) -> String {
    format!("<strong>{}</strong>", text(words))
}

/// The person at a terminal has no other name.
fn is_you(who: &str) -> bool {
    who == "you"
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
