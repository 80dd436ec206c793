//! A view as messages of Telegram: pages of HTML that fit, and files for what does not.
//!
//! Every page holds whole tags: a verbatim block that is split is closed and opened again. A page keeps its plain text
//! beside the HTML, for the case that Telegram refuses the entities.

use std::sync::Arc;

use super::html::{clean, cut, escape_into, units};
use crate::chat::{Attachment, AttachmentKind, Block, Span, Text, View};

/// The most a message may hold (Bot API: `sendMessage`).
pub(super) const MESSAGE_UNITS: usize = 4096;

/// The most messages that one view may become; beyond, its longest verbatim block becomes a file.
pub(super) const MAX_PAGES: usize = 3;

/// A verbatim block longer than this is a file from the start.
const VERBATIM_UNITS: usize = 3500;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// For `parse_mode=HTML`.
    pub(super) html: String,
    /// The same without marks.
    pub(super) plain: String,
}

/// What a view became.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    /// The messages; empty where the view had no text.
    pub(super) pages: Vec<Page>,
    /// Files to send after them, before the view's own attachments.
    pub(super) files: Vec<Attachment>,
}

/// Renders the blocks of a view into at most `max_pages` messages.
pub(super) fn render(view: &View, max_pages: usize) -> Rendered {
    let mut parts: Vec<Part<'_>> = view.blocks.iter().map(Part::of).collect();
    let mut files = Vec::new();
    for part in &mut parts {
        if part.verbatim_units() > VERBATIM_UNITS {
            part.move_to_file(&mut files);
        }
    }
    loop {
        let pages = paginate(&parts);
        if pages.len() <= max_pages {
            return Rendered { pages, files };
        }
        let longest = parts
            .iter_mut()
            .filter(|part| part.verbatim_units() > 0)
            .max_by_key(|part| part.verbatim_units());
        match longest {
            Some(part) => part.move_to_file(&mut files),
            None => return cut_short(pages, max_pages, files),
        }
    }
}

/// The beginning of a text that is too long even without verbatim blocks; the whole goes as a file.
fn cut_short(mut pages: Vec<Page>, max_pages: usize, mut files: Vec<Attachment>) -> Rendered {
    const NOTE: &str = "\n… the whole text is in message.txt.";
    let whole: Vec<&str> = pages.iter().map(|page| page.plain.as_str()).collect();
    files.push(text_file("message.txt", &whole.join("\n")));
    pages.truncate(max_pages);
    if let Some(last) = pages.last_mut() {
        // The last page loses its marks: cutting plain text can never cut a tag or an entity.
        let (head, _) = cut(&last.plain, MESSAGE_UNITS - units(NOTE));
        let plain = format!("{}{NOTE}", head.trim_end());
        last.html.clear();
        escape_into(&mut last.html, &plain);
        last.plain = plain;
    }
    Rendered { pages, files }
}

/// A block on its way to pages.
enum Part<'a> {
    Heading(&'a str),
    Lines(Vec<Vec<Run>>),
    Verbatim { language: &'a str, text: String },
}

/// A run of text with one mark and no line end.
type Run = (Mark, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Plain,
    Bold,
    Code,
}

impl<'a> Part<'a> {
    fn of(block: &'a Block) -> Self {
        match block {
            Block::Heading(title) => Self::Heading(title),
            Block::Text(text) => Self::Lines(lines_of(text)),
            Block::List(points) => Self::Lines(points.iter().flat_map(point).collect()),
            Block::Pairs(pairs) => Self::Lines(pairs.iter().flat_map(pair).collect()),
            Block::Code { language, text } => Self::Verbatim {
                language,
                text: clean(text.trim_end_matches('\n')).into_owned(),
            },
            Block::Diff(text) => Self::Verbatim {
                language: "diff",
                text: clean(text.trim_end_matches('\n')).into_owned(),
            },
        }
    }

    fn verbatim_units(&self) -> usize {
        match self {
            Self::Verbatim { text, .. } => units(text),
            Self::Heading(_) | Self::Lines(_) => 0,
        }
    }

    fn move_to_file(&mut self, files: &mut Vec<Attachment>) {
        let Self::Verbatim { language, text } = self else {
            return;
        };
        let (stem, extension, what) = match *language {
            "diff" => ("change", "diff", "The change"),
            _ => ("output", "txt", "The text"),
        };
        let same = files
            .iter()
            .filter(|file| file.name.starts_with(stem))
            .count();
        let name = if same == 0 {
            format!("{stem}.{extension}")
        } else {
            format!("{stem}-{}.{extension}", same + 1)
        };
        files.push(text_file(&name, text));
        let note = Text::default()
            .plain(format!("{what} is too long for a message; it is in "))
            .code(name)
            .plain(".");
        *self = Self::Lines(lines_of(&note));
    }
}

fn text_file(name: &str, text: &str) -> Attachment {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(b'\n');
    Attachment {
        kind: AttachmentKind::File,
        name: name.to_owned(),
        bytes: Arc::from(bytes),
        caption: String::new(),
    }
}

fn lines_of(text: &Text) -> Vec<Vec<Run>> {
    let mut lines = vec![Vec::new()];
    for span in &text.0 {
        let (mark, text) = match span {
            Span::Plain(text) => (Mark::Plain, text),
            Span::Bold(text) => (Mark::Bold, text),
            Span::Code(text) => (Mark::Code, text),
        };
        for (index, piece) in clean(text).split('\n').enumerate() {
            if index > 0 {
                lines.push(Vec::new());
            }
            if !piece.is_empty()
                && let Some(line) = lines.last_mut()
            {
                line.push((mark, piece.to_owned()));
            }
        }
    }
    lines
}

fn point(text: &Text) -> Vec<Vec<Run>> {
    let mut lines = lines_of(text);
    lines[0].insert(0, (Mark::Plain, "• ".to_owned()));
    lines
}

fn pair((key, value): &(String, Text)) -> Vec<Vec<Run>> {
    let mut lines = lines_of(value);
    let key = clean(key).replace('\n', " ");
    lines[0].splice(0..0, [(Mark::Bold, key), (Mark::Plain, ": ".to_owned())]);
    lines
}

fn paginate(parts: &[Part<'_>]) -> Vec<Page> {
    let mut pages = Pages::default();
    let mut after_heading = false;
    for part in parts {
        if !after_heading {
            pages.gap();
        }
        after_heading = false;
        match part {
            Part::Heading(title) => {
                for line in clean(title).split('\n') {
                    pages.line(&[(Mark::Bold, line.to_owned())]);
                }
                after_heading = true;
            }
            Part::Lines(lines) => lines.iter().for_each(|line| pages.line(line)),
            Part::Verbatim { language, text } => {
                text.split('\n')
                    .for_each(|line| pages.verbatim(language, line));
                pages.close();
            }
        }
    }
    pages.finish()
}

/// Fills pages line by line.
#[derive(Default)]
struct Pages {
    done: Vec<Page>,
    page: Page,
    used: usize,
    gap: bool,
    /// Whether a verbatim block is open on the page.
    open: bool,
}

impl Pages {
    /// A blank line before what comes next, unless a page begins there.
    fn gap(&mut self) {
        self.gap = !self.page.plain.is_empty();
    }

    fn line(&mut self, runs: &[Run]) {
        let whole: usize = runs.iter().map(|(_, text)| units(text)).sum();
        self.make_room(whole.min(MESSAGE_UNITS));
        self.break_line();
        for (mark, text) in runs {
            let mut rest = text.as_str();
            while !rest.is_empty() {
                if self.used >= MESSAGE_UNITS - 1 {
                    self.turn_page();
                }
                let (head, tail) = cut(rest, MESSAGE_UNITS - self.used);
                self.run(*mark, head);
                rest = tail;
            }
        }
    }

    fn verbatim(&mut self, language: &str, line: &str) {
        let mut rest = line;
        loop {
            let (head, tail) = cut(rest, MESSAGE_UNITS - 2);
            self.make_room(units(head));
            self.break_line();
            if !self.open {
                self.page.html.push_str("<pre>");
                if !language.is_empty() {
                    self.page.html.push_str("<code class=\"language-");
                    escape_into(&mut self.page.html, language);
                    self.page.html.push_str("\">");
                }
                self.open = true;
            }
            self.run(Mark::Plain, head);
            rest = tail;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn run(&mut self, mark: Mark, text: &str) {
        let (before, after) = match mark {
            Mark::Plain => ("", ""),
            Mark::Bold => ("<b>", "</b>"),
            Mark::Code => ("<code>", "</code>"),
        };
        self.page.html.push_str(before);
        escape_into(&mut self.page.html, text);
        self.page.html.push_str(after);
        self.page.plain.push_str(text);
        self.used += units(text);
    }

    fn make_room(&mut self, wanted: usize) {
        let breaks = usize::from(!self.page.plain.is_empty()) + usize::from(self.gap);
        if self.used > 0 && self.used + breaks + wanted > MESSAGE_UNITS {
            self.turn_page();
        }
    }

    fn break_line(&mut self) {
        let breaks = match (self.page.plain.is_empty(), std::mem::take(&mut self.gap)) {
            (true, _) => return,
            (false, false) => 1,
            (false, true) => 2,
        };
        for _ in 0..breaks {
            self.page.html.push('\n');
            self.page.plain.push('\n');
        }
        self.used += breaks;
    }

    /// Ends an open verbatim block.
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let code = self
                .page
                .html
                .rfind("<pre>")
                .is_some_and(|at| self.page.html[at..].starts_with("<pre><code"));
            self.page
                .html
                .push_str(if code { "</code></pre>" } else { "</pre>" });
        }
    }

    fn turn_page(&mut self) {
        self.close();
        self.gap = false;
        self.used = 0;
        let page = std::mem::take(&mut self.page);
        // Telegram refuses a message of white space only.
        if !page.plain.trim().is_empty() {
            self.done.push(page);
        }
    }

    fn finish(mut self) -> Vec<Page> {
        self.turn_page();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn html(view: &View) -> Vec<String> {
        render(view, MAX_PAGES)
            .pages
            .into_iter()
            .map(|page| page.html)
            .collect()
    }

    #[test]
    fn blocks_become_html_with_every_text_escaped() {
        let view = View::titled("Add <github>?")
            .line(
                Text::default()
                    .plain("runs ")
                    .code("npx -y <x> & co")
                    .bold(" now"),
            )
            .with(Block::List(vec!["one".into(), "two\nlines".into()]))
            .with(Block::Pairs(vec![(
                "command".into(),
                Text::default().code("a\"b"),
            )]))
            .with(Block::Diff("-a\n+<b>\n".into()))
            .with(Block::Code {
                language: "",
                text: "x && y".into(),
            });
        insta::assert_snapshot!(html(&view).join("\n---\n"), @r#"
        <b>Add &lt;github&gt;?</b>
        runs <code>npx -y &lt;x&gt; &amp; co</code><b> now</b>

        • one
        • two
        lines

        <b>command</b>: <code>a&quot;b</code>

        <pre><code class="language-diff">-a
        +&lt;b&gt;</code></pre>

        <pre>x &amp;&amp; y</pre>
        "#);
    }

    #[test]
    fn a_view_without_text_has_no_message() {
        assert_eq!(html(&View::default()), Vec::<String>::new());
        assert_eq!(html(&View::text("  \n ")), Vec::<String>::new());
    }

    #[test]
    fn long_diff_is_a_file_with_a_note() {
        let diff = "+line\n".repeat(1000);
        let rendered = render(
            &View::titled("Edit").with(Block::Diff(diff.clone())),
            MAX_PAGES,
        );
        assert_eq!(
            rendered.pages[0].plain,
            "Edit\nThe change is too long for a message; it is in change.diff."
        );
        assert_eq!(rendered.files[0].name, "change.diff");
        assert_eq!(&*rendered.files[0].bytes, diff.as_bytes());
    }

    #[test]
    fn blocks_beyond_three_messages_become_files_longest_first() {
        let mut view = View::titled("Logs");
        for size in [3000, 3100, 3200, 3300] {
            view = view.with(Block::Code {
                language: "",
                text: "x".repeat(size),
            });
        }
        let rendered = render(&view, MAX_PAGES);
        assert!(rendered.pages.len() <= MAX_PAGES);
        assert_eq!(rendered.files.len(), 1);
        assert_eq!(rendered.files[0].bytes.len(), 3301);
    }

    #[test]
    fn a_split_block_is_closed_and_opened_again() {
        let view = View::text("a".repeat(2000)).with(Block::Code {
            language: "json",
            text: format!("{}\n{}", "b".repeat(1500), "c".repeat(1500)),
        });
        let pages = html(&view);
        assert_eq!(pages.len(), 2);
        assert!(pages[0].ends_with("b</code></pre>"), "{}", pages[0]);
        assert!(pages[1].starts_with("<pre><code class=\"language-json\">c"));
    }

    #[test]
    fn text_too_long_for_three_messages_is_cut_and_sent_whole() {
        let rendered = render(&View::text("word ".repeat(4000)), MAX_PAGES);
        assert_eq!(rendered.pages.len(), MAX_PAGES);
        assert!(rendered.pages[2].plain.ends_with("message.txt."));
        assert_eq!(rendered.files[0].name, "message.txt");
        assert!(rendered.files[0].bytes.len() >= 4000 * 5 - 3);
    }

    fn any_block() -> impl Strategy<Value = Block> {
        let text = prop_oneof!["\\PC{0,80}", "[a-z<&😀\n ]{0,300}", "x{3000,5000}"];
        (0..5_u8, text).prop_map(|(kind, text)| match kind {
            0 => Block::Heading(text),
            1 => Block::Text(Text::default().bold(text.clone()).code(text)),
            2 => Block::List(vec![text.clone().into(), text.into()]),
            3 => Block::Code {
                language: "json",
                text,
            },
            _ => Block::Diff(text),
        })
    }

    proptest! {
        #[test]
        fn pages_always_fit_and_hold_whole_tags(
            blocks in proptest::collection::vec(any_block(), 0..12),
            max_pages in 1..4_usize,
        ) {
            let rendered = render(&View { blocks, ..View::default() }, max_pages);
            prop_assert!(rendered.pages.len() <= max_pages);
            for page in rendered.pages {
                prop_assert!(units(&page.plain) <= MESSAGE_UNITS, "{} units", units(&page.plain));
                prop_assert!(!page.plain.trim().is_empty());
                for tag in ["b", "pre"] {
                    let opened = page.html.matches(&format!("<{tag}>")).count();
                    prop_assert_eq!(opened, page.html.matches(&format!("</{tag}>")).count());
                }
                prop_assert_eq!(page.html.matches("<code").count(), page.html.matches("</code>").count());
                let stripped = page.html.replace("<b>", "").replace("</b>", "").replace("<pre>", "")
                    .replace("</pre>", "").replace("<code>", "").replace("</code>", "")
                    .replace("<code class=\"language-json\">", "").replace("<code class=\"language-diff\">", "")
                    .replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
                prop_assert_eq!(stripped, page.plain);
            }
        }
    }
}
