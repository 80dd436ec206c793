//! A front in memory: what people would see, as text, and what they press.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use async_trait::async_trait;
use switchboard::actor::{ActorId, Standing};
use switchboard::chat::{
    Answer, AttachmentKind, Block, Button, Capabilities, FileRef, Front, FrontError, MessageId,
    PressId, Span, Text, View,
};
use switchboard::thread::ThreadId;

/// One message as it stands now.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: MessageId,
    pub thread: ThreadId,
    pub view: View,
    pub edits: usize,
}

/// What becomes of a message of a person's that the bot takes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deletes {
    #[default]
    Done,
    /// The chat knows it and refuses.
    Refused,
    /// The chat does not know it.
    Unknown,
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Shown>,
    answers: Vec<Answer>,
    files: HashMap<String, Vec<u8>>,
    standings: HashMap<ActorId, Standing>,
    deleted: Vec<MessageId>,
    deletes: Deletes,
    /// No link leads into a private chat.
    no_private_chats: bool,
    /// What no message may hold, and those that did.
    forbidden: Vec<String>,
    leaks: Vec<String>,
}

impl State {
    /// Looks through all that a front is given, also what it shows to nobody.
    fn look_through(&mut self, view: &View) {
        let mut all = format!("{}\n{view:?}", plain(view));
        for attachment in &view.attachments {
            all.push_str(&String::from_utf8_lossy(&attachment.bytes));
        }
        if self.forbidden.iter().any(|word| all.contains(word)) {
            self.leaks.push(plain(view));
        }
    }
}

/// The front.
#[derive(Debug, Default)]
pub struct Chat {
    state: Mutex<State>,
}

impl Chat {
    pub fn messages(&self, thread: ThreadId) -> Vec<Shown> {
        self.state
            .lock()
            .unwrap()
            .messages
            .iter()
            .filter(|shown| shown.thread == thread)
            .cloned()
            .collect()
    }

    pub fn newest(&self, thread: ThreadId) -> Shown {
        self.messages(thread).pop().expect("nothing was shown")
    }

    /// What leads from the newest message into somebody's private chat.
    pub fn nonce(&self, thread: ThreadId) -> String {
        let link = self.newest(thread).view.links.remove(0).url;
        link.split("start=").nth(1).unwrap().to_owned()
    }

    pub fn answers(&self) -> Vec<Answer> {
        self.state.lock().unwrap().answers.clone()
    }

    pub fn deleted(&self) -> Vec<MessageId> {
        self.state.lock().unwrap().deleted.clone()
    }

    /// What no message may hold from now on, not even until it is edited.
    pub fn forbid(&self, words: impl IntoIterator<Item = String>) {
        self.state.lock().unwrap().forbidden.extend(words);
    }

    /// The messages that held what they may not.
    pub fn leaks(&self) -> Vec<String> {
        self.state.lock().unwrap().leaks.clone()
    }

    /// What becomes of messages that are taken away, from now on.
    pub fn deletes(&self, deletes: Deletes) {
        self.state.lock().unwrap().deletes = deletes;
    }

    /// A front that knows no private chats.
    pub fn forget_private_chats(&self) {
        self.state.lock().unwrap().no_private_chats = true;
    }

    pub fn put_file(&self, handle: &str, bytes: &[u8]) {
        self.state
            .lock()
            .unwrap()
            .files
            .insert(handle.to_owned(), bytes.to_vec());
    }

    pub fn set_standing(&self, actor: &ActorId, standing: Standing) {
        self.state
            .lock()
            .unwrap()
            .standings
            .insert(actor.clone(), standing);
    }

    /// The newest message with a button of this label, and the button.
    pub fn button(&self, thread: ThreadId, label: &str) -> (MessageId, Button) {
        let messages = self.messages(thread);
        let found = messages.iter().rev().find_map(|shown| {
            let button = shown
                .view
                .buttons
                .iter()
                .flatten()
                .find(|button| button.label == label)?;
            Some((shown.id, button.clone()))
        });
        found.unwrap_or_else(|| {
            panic!(
                "no button {label:?} in:\n{}",
                messages
                    .iter()
                    .map(|shown| plain(&shown.view))
                    .collect::<Vec<_>>()
                    .join("\n---\n")
            )
        })
    }
}

#[async_trait]
impl Front for Chat {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            edit: true,
            delete_theirs: self.state.lock().unwrap().deletes != Deletes::Unknown,
            files: true,
            buttons: true,
        }
    }

    async fn send(&self, thread: ThreadId, view: View) -> Result<MessageId, FrontError> {
        check(&view);
        let mut state = self.state.lock().unwrap();
        state.look_through(&view);
        let id = MessageId(i64::try_from(state.messages.len()).unwrap() + 1);
        state.messages.push(Shown {
            id,
            thread,
            view,
            edits: 0,
        });
        Ok(id)
    }

    async fn edit(
        &self,
        thread: ThreadId,
        message: MessageId,
        view: View,
    ) -> Result<(), FrontError> {
        check(&view);
        let mut state = self.state.lock().unwrap();
        state.look_through(&view);
        let shown = state
            .messages
            .iter_mut()
            .find(|shown| shown.id == message && shown.thread == thread);
        let shown =
            shown.ok_or_else(|| FrontError::NotEditable("there is no such message".to_owned()))?;
        shown.view = view;
        shown.edits += 1;
        Ok(())
    }

    async fn delete(&self, _: ThreadId, message: MessageId) -> Result<(), FrontError> {
        let mut state = self.state.lock().unwrap();
        if state.deletes == Deletes::Refused {
            return Err(FrontError::Other("it is too old".to_owned()));
        }
        state.deleted.push(message);
        Ok(())
    }

    async fn fetch(&self, file: &FileRef, limit: usize) -> Result<Vec<u8>, FrontError> {
        let bytes = self.state.lock().unwrap().files.get(&file.handle).cloned();
        let bytes = bytes.ok_or_else(|| FrontError::Other("there is no such file".to_owned()))?;
        if bytes.len() > limit {
            Err(FrontError::TooLarge { limit })
        } else {
            Ok(bytes)
        }
    }

    async fn answer(&self, _: &PressId, answer: Answer) -> Result<(), FrontError> {
        let mut state = self.state.lock().unwrap();
        let said = format!("{answer:?}");
        if state.forbidden.iter().any(|word| said.contains(word)) {
            state.leaks.push(said);
        }
        state.answers.push(answer);
        Ok(())
    }

    fn private_link(&self, nonce: &str) -> Option<String> {
        let is_nonce = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!((1..=64).contains(&nonce.len()) && nonce.chars().all(is_nonce));
        let is_private = !self.state.lock().unwrap().no_private_chats;
        is_private.then(|| format!("https://t.example/SwitchboardBot?start={nonce}"))
    }

    async fn standing(
        &self,
        _: ThreadId,
        actor: &ActorId,
        _: bool,
    ) -> Result<Standing, FrontError> {
        let standing = self.state.lock().unwrap().standings.get(actor).copied();
        standing.ok_or_else(|| FrontError::Other("the chat does not tell".to_owned()))
    }
}

/// What every front may rely on.
fn check(view: &View) {
    for button in view.buttons.iter().flatten() {
        assert!(
            (1..=64).contains(&button.data.len()),
            "the button {button:?} does not fit"
        );
        assert!(!button.label.is_empty(), "a button without a label");
    }
    for link in &view.links {
        let url = url::Url::parse(&link.url).expect("a link is an address");
        assert!(
            matches!(url.scheme(), "http" | "https") && !link.label.is_empty(),
            "the link {link:?} leads nowhere"
        );
    }
    assert!(
        !view.blocks.is_empty() || !view.attachments.is_empty(),
        "an empty message"
    );
}

/// A view as text, for assertions and snapshots.
pub fn plain(view: &View) -> String {
    let mut text = String::new();
    for block in &view.blocks {
        match block {
            Block::Heading(heading) => writeln!(text, "# {heading}").unwrap(),
            Block::Text(line) => writeln!(text, "{}", marked(line)).unwrap(),
            Block::List(lines) => lines
                .iter()
                .for_each(|line| writeln!(text, "- {}", marked(line)).unwrap()),
            Block::Code {
                language,
                text: code,
            } => writeln!(text, "```{language}\n{}\n```", code.trim_end()).unwrap(),
            Block::Diff(diff) => writeln!(text, "```diff\n{}\n```", diff.trim_end()).unwrap(),
            Block::Pairs(pairs) => pairs
                .iter()
                .for_each(|(name, value)| writeln!(text, "{name}: {}", marked(value)).unwrap()),
        }
    }
    for link in &view.links {
        writeln!(text, "[{}]({})", link.label, link.url).unwrap();
    }
    if view
        .question
        .as_ref()
        .is_some_and(|question| question.secret)
    {
        writeln!(text, "<the answer is not shown>").unwrap();
    }
    for row in &view.buttons {
        let labels: Vec<String> = row
            .iter()
            .map(|button| format!("[{}]", button.label))
            .collect();
        writeln!(text, "{}", labels.join(" ")).unwrap();
    }
    for attachment in &view.attachments {
        let kind = match attachment.kind {
            AttachmentKind::File => "file",
            AttachmentKind::Picture => "picture",
            AttachmentKind::Audio => "audio",
        };
        writeln!(text, "<{kind} {} {}>", attachment.name, attachment.caption).unwrap();
    }
    text
}

fn marked(text: &Text) -> String {
    text.0
        .iter()
        .map(|span| match span {
            Span::Plain(text) => text.clone(),
            Span::Bold(text) => format!("*{text}*"),
            Span::Code(text) => format!("`{text}`"),
        })
        .collect()
}

/// A screen for a snapshot: our program's path and measured times are the same in every run.
pub fn steady(screen: &str) -> String {
    let screen = screen.replace(super::world::PROGRAM, "/opt/switchboard");
    let mut words = Vec::new();
    for line in screen.lines() {
        let mut pieces: Vec<String> = Vec::new();
        for piece in line.split(' ') {
            let is_unit = matches!(piece.trim_end_matches(['.', ',', ')']), "ms" | "s");
            let number = pieces.last().is_some_and(|last| {
                !last.is_empty() && last.chars().all(|c| c.is_ascii_digit() || c == '.')
            });
            if is_unit && number {
                pieces.pop();
                if pieces.last().is_some_and(|last| last == "under") {
                    pieces.pop();
                }
                pieces.push("TIME".to_owned());
                let rest = piece.trim_start_matches(['m', 's']);
                if let Some(last) = pieces.last_mut() {
                    last.push_str(rest);
                }
            } else {
                pieces.push(piece.to_owned());
            }
        }
        let line = pieces.join(" ");
        // Only a stage that takes long tells its time.
        let is_stage = line.starts_with("- ✅ ") || line.starts_with("- ❌ ");
        let stage = line.strip_suffix(" · TIME").filter(|_| is_stage);
        words.push(stage.unwrap_or(&line).to_owned());
    }
    words.join("\n")
}
