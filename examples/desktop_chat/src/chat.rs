//! What the window shows, and how it changes: by what a person does and by what the engine says.
//!
//! Nothing here knows a window or a device.

use std::path::PathBuf;
use std::time::Duration;

use bantam::codec::Precision;
use bantam::text::Message;

use crate::engine::{Command, Event};
use crate::sizes::parse_bytes;
use crate::speaker::{About, Wanted};

/// What a person, or a script, wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open the model in [`Chat::folder`].
    Open,
    /// Have this much of the weights.
    SetPrecision(Precision),
    /// Send [`Chat::draft`].
    Send,
    /// Stop opening, or the reply.
    Stop,
    /// Forget the conversation.
    Clear,
    /// The notice was read.
    Dismiss,
}

/// What the engine is to do about it.
#[derive(Debug)]
pub enum Order {
    Begin(Command),
    Stop,
}

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Idle,
    /// Bytes that were loaded, of so many; 0 before anything is known.
    Opening {
        done: u64,
        total: u64,
    },
    Replying,
}

/// Who wrote a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Model,
}

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub text: String,
    /// Tokens of a reply so far.
    pub tokens: usize,
    /// From the first of them to the last.
    pub time: Duration,
}

impl Turn {
    fn new(role: Role, text: String) -> Self {
        Self { role, text, tokens: 0, time: Duration::ZERO }
    }

    /// Tokens a second after the first, where there are enough to tell.
    pub fn rate(&self) -> Option<f64> {
        (self.tokens > 1 && !self.time.is_zero()).then(|| (self.tokens - 1) as f64 / self.time.as_secs_f64())
    }
}

/// All that the window shows.
#[derive(Debug)]
pub struct Chat {
    /// The model's folder, as it was typed.
    pub folder: String,
    /// An adapter's folder, as it was typed; empty for none.
    pub adapter: String,
    /// The most device memory, as it was typed; empty for no limit.
    pub limit: String,
    /// What is being written.
    pub draft: String,
    pub precision: Precision,
    pub stage: Stage,
    /// The model that is open.
    pub about: Option<About>,
    pub turns: Vec<Turn>,
    /// What went wrong last.
    pub notice: Option<String>,
    /// The number of the command whose events count.
    command: u64,
}

impl Default for Chat {
    fn default() -> Self {
        Self {
            folder: String::new(),
            adapter: String::new(),
            limit: String::new(),
            draft: String::new(),
            precision: Precision::Lossless,
            stage: Stage::Idle,
            about: None,
            turns: Vec::new(),
            notice: None,
            command: 0,
        }
    }
}

impl Chat {
    /// Does what is wanted, as far as it is possible now.
    pub fn act(&mut self, action: Action) -> Option<Order> {
        match action {
            Action::Open => self.open(),
            Action::SetPrecision(precision) => {
                let changed = std::mem::replace(&mut self.precision, precision) != precision;
                let is_there = self.about.is_some() || matches!(self.stage, Stage::Opening { .. });
                (changed && is_there).then(|| self.open()).flatten()
            }
            Action::Send => self.send(),
            Action::Stop => (self.stage != Stage::Idle).then_some(Order::Stop),
            Action::Clear => {
                if self.stage == Stage::Idle {
                    self.turns.clear();
                }
                None
            }
            Action::Dismiss => {
                self.notice = None;
                None
            }
        }
    }

    /// A command that [`Chat::act`] gave has this number: events of others do not count any more.
    pub fn began(&mut self, command: u64) {
        self.command = command;
    }

    /// Takes note of what the engine says of a command.
    pub fn take(&mut self, command: u64, event: Event) {
        if command != self.command {
            return;
        }
        match event {
            Event::Progress { done, total } => self.stage = Stage::Opening { done, total },
            Event::Opened(about) => {
                self.stage = Stage::Idle;
                self.about = Some(*about);
            }
            Event::Piece { text, tokens, since_first } => {
                if let Some(turn) = self.turns.last_mut().filter(|turn| turn.role == Role::Model) {
                    turn.text += &text;
                    turn.tokens = tokens;
                    turn.time = since_first;
                }
            }
            Event::Ended | Event::Stopped => self.stage = Stage::Idle,
            Event::Failed(why) => self.fail(why),
        }
    }

    /// The engine is gone, and the model with it.
    pub fn lose(&mut self, why: String) {
        self.command = 0;
        self.about = None;
        self.fail(why);
    }

    /// Whether a model is there and has nothing to do.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Idle && self.about.is_some()
    }

    fn open(&mut self) -> Option<Order> {
        let folder = self.folder.trim();
        if folder.is_empty() {
            self.notice = Some("Write the path of a model folder first.".into());
            return None;
        }
        let limit = self.limit.trim();
        let budget = match (!limit.is_empty()).then(|| parse_bytes(limit)).transpose() {
            Ok(budget) => budget,
            Err(why) => {
                self.notice = Some(format!("The limit {limit:?} is not a size: {why}"));
                return None;
            }
        };
        let adapter = self.adapter.trim();
        let adapter = (!adapter.is_empty()).then(|| PathBuf::from(adapter));
        let wanted = Wanted { folder: PathBuf::from(folder), adapter, precision: self.precision, budget };
        self.give_up_reply();
        self.notice = None;
        self.about = None;
        self.stage = Stage::Opening { done: 0, total: 0 };
        Some(Order::Begin(Command::Open(wanted)))
    }

    fn send(&mut self) -> Option<Order> {
        if !self.is_ready() || self.draft.trim().is_empty() {
            return None;
        }
        let chats = self.about.as_ref().is_some_and(|about| about.chats);
        let draft = std::mem::take(&mut self.draft);
        // Where text is only continued, a space at its beginning may be meant.
        let text = if chats { draft.trim().into() } else { draft.trim_end().to_string() };
        self.notice = None;
        self.turns.push(Turn::new(Role::User, text));
        let messages = self.turns.iter().map(message).collect();
        self.turns.push(Turn::new(Role::Model, String::new()));
        self.stage = Stage::Replying;
        Some(Order::Begin(Command::Reply(messages)))
    }

    fn fail(&mut self, why: String) {
        self.give_up_reply();
        self.stage = Stage::Idle;
        self.notice = Some(why);
    }

    /// A reply of which nothing has come is not shown any more; what was asked can be sent again.
    fn give_up_reply(&mut self) {
        let is_empty = |turn: &Turn| turn.role == Role::Model && turn.tokens == 0;
        if self.stage == Stage::Replying && self.turns.last().is_some_and(is_empty) {
            self.turns.pop();
            if let Some(asked) = self.turns.pop().filter(|_| self.draft.is_empty()) {
                self.draft = asked.text;
            }
        }
    }
}

fn message(turn: &Turn) -> Message {
    match turn.role {
        Role::User => Message::user(&turn.text),
        Role::Model => Message::assistant(&turn.text),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn about(chats: bool) -> About {
        About {
            name: "model".into(),
            layers: 2,
            streamed: 0,
            context: 64,
            chats,
            compressed: true,
            original_bytes: 100,
            file_bytes: 66,
            device_bytes: 75,
        }
    }

    /// A chat with a model that has nothing to do.
    pub fn opened() -> Chat {
        let mut chat = Chat { folder: "model".into(), ..Chat::default() };
        assert!(matches!(chat.act(Action::Open), Some(Order::Begin(Command::Open(_)))));
        chat.began(1);
        chat.take(1, Event::Opened(Box::new(about(true))));
        chat
    }

    fn piece(text: &str, tokens: usize) -> Event {
        Event::Piece { text: text.into(), tokens, since_first: Duration::from_secs(tokens as u64 - 1) }
    }

    /// Sends a message, whose reply has the number `command`.
    fn say(chat: &mut Chat, text: &str, command: u64) -> Vec<Message> {
        chat.draft = text.into();
        let Some(Order::Begin(Command::Reply(messages))) = chat.act(Action::Send) else {
            panic!("nothing was sent")
        };
        chat.began(command);
        messages
    }

    #[test]
    fn a_conversation_goes_back_and_forth() {
        let mut chat = opened();
        assert_eq!(say(&mut chat, " hello \n", 2), [Message::user("hello")]);
        assert_eq!((chat.stage, chat.draft.as_str()), (Stage::Replying, ""));
        chat.take(2, piece("Good", 1));
        chat.take(2, piece(" day", 2));
        chat.take(2, Event::Ended);
        let turn = chat.turns.last().unwrap();
        assert_eq!((turn.text.as_str(), turn.rate()), ("Good day", Some(1.0)));
        let messages = say(&mut chat, "and you?", 3);
        assert_eq!(messages[1..], [Message::assistant("Good day"), Message::user("and you?")]);
        // Not in the middle of a reply.
        chat.draft = "more".into();
        assert!(chat.act(Action::Send).is_none());
        assert!(chat.act(Action::Clear).is_none());
        assert_eq!(chat.turns.len(), 4);
    }

    #[test]
    fn a_model_without_a_template_keeps_the_beginning_as_it_was_written() {
        let mut chat = opened();
        chat.about = Some(about(false));
        assert_eq!(say(&mut chat, " and then ", 2), [Message::user(" and then")]);
    }

    #[test]
    fn what_is_stopped_stays_and_can_be_gone_on_from() {
        let mut chat = opened();
        say(&mut chat, "hello", 2);
        chat.take(2, piece("Good", 1));
        assert!(matches!(chat.act(Action::Stop), Some(Order::Stop)));
        // What was on its way still comes.
        chat.take(2, piece(" day", 2));
        chat.take(2, Event::Stopped);
        assert!(chat.is_ready());
        assert_eq!(chat.turns[1].text, "Good day");
        assert!(chat.act(Action::Stop).is_none());
    }

    #[test]
    fn a_reply_that_fails_before_it_begins_can_be_asked_for_again() {
        let mut chat = opened();
        say(&mut chat, "hello", 2);
        chat.take(2, Event::Failed("out of memory".into()));
        assert_eq!((chat.turns.len(), chat.draft.as_str()), (0, "hello"));
        assert_eq!(chat.notice.as_deref(), Some("out of memory"));
        assert!(chat.is_ready());
        chat.act(Action::Dismiss);
        assert_eq!(chat.notice, None);
    }

    #[test]
    fn another_precision_opens_the_model_again_and_ends_the_reply() {
        let mut chat = opened();
        assert!(chat.act(Action::SetPrecision(Precision::Lossless)).is_none());
        say(&mut chat, "hello", 2);
        chat.take(2, piece("Good", 1));
        let order = chat.act(Action::SetPrecision(Precision::Mantissa(3)));
        let Some(Order::Begin(Command::Open(wanted))) = order else { panic!("{order:?}") };
        assert_eq!(wanted.precision, Precision::Mantissa(3));
        chat.began(3);
        // The reply that was ended has nothing to say any more.
        chat.take(2, piece(" day", 2));
        chat.take(2, Event::Stopped);
        assert_eq!((chat.stage, chat.turns[1].text.as_str()), (Stage::Opening { done: 0, total: 0 }, "Good"));
        chat.take(3, Event::Progress { done: 5, total: 9 });
        assert_eq!(chat.stage, Stage::Opening { done: 5, total: 9 });
        // Cancelled: no model is there.
        chat.take(3, Event::Stopped);
        assert_eq!((chat.stage, chat.is_ready()), (Stage::Idle, false));
        // Without one, a choice is only noted.
        assert!(chat.act(Action::SetPrecision(Precision::Mantissa(5))).is_none());
        assert_eq!(chat.precision, Precision::Mantissa(5));
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let mut chat = Chat::default();
        assert!(chat.act(Action::Open).is_none());
        assert!(chat.notice.take().is_some());
        chat.folder = "model".into();
        chat.limit = "much".into();
        assert!(chat.act(Action::Open).is_none());
        assert!(chat.notice.take().unwrap().starts_with("The limit \"much\" is not a size"));
        chat.limit = " 2 MB ".into();
        chat.adapter = " tone ".into();
        let Some(Order::Begin(Command::Open(wanted))) = chat.act(Action::Open) else { panic!() };
        assert_eq!((wanted.budget, wanted.adapter), (Some(2_000_000), Some("tone".into())));
        chat.draft = "too early".into();
        assert!(chat.act(Action::Send).is_none());
    }

    #[test]
    fn a_lost_device_takes_the_model_and_leaves_the_conversation() {
        let mut chat = opened();
        say(&mut chat, "hello", 2);
        chat.take(2, piece("Good", 1));
        chat.lose("gone".into());
        chat.take(2, piece(" day", 2));
        assert_eq!((chat.stage, chat.is_ready(), chat.turns.len()), (Stage::Idle, false, 2));
        assert_eq!((chat.turns[1].text.as_str(), chat.notice.as_deref()), ("Good", Some("gone")));
    }
}
