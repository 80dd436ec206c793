//! What a person is shown, before any front has rendered it.
//!
//! All text here is plain: a renderer escapes every string, whoever it came from.

use std::sync::Arc;

/// One message: blocks from top to bottom, then rows of buttons, then attachments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The text of the message.
    pub blocks: Vec<Block>,
    /// Links to the outside, a row each, above the buttons.
    pub links: Vec<Link>,
    /// Rows of buttons below it.
    pub buttons: Vec<Vec<Button>>,
    /// Files and pictures sent after it.
    pub attachments: Vec<Attachment>,
    /// Set when the message asks for an answer in text.
    pub question: Option<Question>,
    /// The view says that something was refused or failed (`switchboard do` exits with 1).
    pub is_error: bool,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The message's title.
    Heading(String),
    /// A paragraph.
    Text(Text),
    /// Points below each other.
    List(Vec<Text>),
    /// Verbatim lines: a command, a log, JSON.
    Code {
        /// The language for colouring, or empty.
        language: &'static str,
        /// The lines.
        text: String,
    },
    /// A unified diff.
    Diff(String),
    /// Names with values.
    Pairs(Vec<(String, Text)>),
}

/// A line of text with marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Vec<Span>);

/// A run of text with one mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Span {
    /// As it is.
    Plain(String),
    /// Emphasised.
    Bold(String),
    /// A name, a command or a value, in fixed width.
    Code(String),
}

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// One to three words.
    pub label: String,
    /// What comes back in `EventKind::Press`; at most 64 bytes (Bot API: `callback_data`).
    pub data: String,
}

/// A link to the outside that is opened by a press. Only addresses that the front's people can open: a page on the bot's
/// own machine is written into the text instead (Bot API: URL buttons need a host with a dot).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// One to three words.
    pub label: String,
    /// An https address.
    pub url: String,
}

/// A question that waits for text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// A short example for the input field; at most 64 characters (Bot API: `input_field_placeholder`).
    pub placeholder: String,
    /// In a group, only this person is asked.
    pub of: Option<crate::actor::ActorId>,
    /// The answer is a secret: where the front can, it is not shown while it is typed, and never kept in a history.
    pub secret: bool,
}

/// A file or picture that goes with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// How it is sent.
    pub kind: AttachmentKind,
    /// Its file name.
    pub name: String,
    /// Its content.
    pub bytes: Arc<[u8]>,
    /// A line under it, or empty.
    pub caption: String,
}

/// How an attachment is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachmentKind {
    /// A document.
    File,
    /// A picture, seen in the chat; falls back to a document where the front refuses it.
    Picture,
    /// A sound, playable in the chat; falls back likewise.
    Audio,
}

/// The small answer to the press of a button.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say: the message itself changes.
    #[default]
    Silent,
    /// A small line that goes away by itself.
    Toast(String),
    /// A refusal that must be read.
    Alert(String),
}

impl View {
    /// A message of one paragraph.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::default().with(Block::Text(text.into()))
    }

    /// A message that says that something was refused or failed.
    pub fn error(text: impl Into<Text>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// A message with a title.
    pub fn titled(title: impl Into<String>) -> Self {
        Self::default().with(Block::Heading(title.into()))
    }

    /// Adds a block.
    #[must_use]
    pub fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn line(self, text: impl Into<Text>) -> Self {
        self.with(Block::Text(text.into()))
    }

    /// Adds a row of buttons; an empty row is left out.
    #[must_use]
    pub fn row(mut self, buttons: impl IntoIterator<Item = Button>) -> Self {
        let row: Vec<Button> = buttons.into_iter().collect();
        if !row.is_empty() {
            self.buttons.push(row);
        }
        self
    }

    /// Adds a link to the outside.
    #[must_use]
    pub fn link(mut self, label: impl Into<String>, url: impl Into<String>) -> Self {
        self.links.push(Link {
            label: label.into(),
            url: url.into(),
        });
        self
    }

    /// Adds an attachment.
    #[must_use]
    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// Makes the message ask for an answer.
    #[must_use]
    pub fn asking(mut self, question: Question) -> Self {
        self.question = Some(question);
        self
    }
}

impl Text {
    /// Adds plain text.
    #[must_use]
    pub fn plain(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Plain(text.into()));
        self
    }

    /// Adds emphasised text.
    #[must_use]
    pub fn bold(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Bold(text.into()));
        self
    }

    /// Adds text in fixed width.
    #[must_use]
    pub fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::Code(text.into()));
        self
    }

    /// The text without its marks.
    pub fn to_plain(&self) -> String {
        self.0
            .iter()
            .map(|span| match span {
                Span::Plain(text) | Span::Bold(text) | Span::Code(text) => text.as_str(),
            })
            .collect()
    }
}

/// Text in which pieces between back-quotes are in fixed width. For texts of our own only; dynamic pieces go through
/// [`Text::code`] and [`Text::plain`].
impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let spans = text
            .split('`')
            .enumerate()
            .filter(|(_, piece)| !piece.is_empty())
            .map(|(index, piece)| {
                if index % 2 == 1 {
                    Span::Code(piece.to_owned())
                } else {
                    Span::Plain(piece.to_owned())
                }
            })
            .collect();
        Self(spans)
    }
}

/// Dynamic text is taken as it is, without marks.
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(vec![Span::Plain(text)])
    }
}

impl Button {
    /// A button.
    pub fn new(label: impl Into<String>, data: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            data: data.into(),
        }
    }
}
