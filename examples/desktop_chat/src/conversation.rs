//! The conversation, and the field in which its next message is written.

use eframe::egui::{
    self, Align, Align2, Button, Frame, Key, Label, Layout, Margin, Modifiers, RichText, ScrollArea,
    TextEdit, TextStyle, TextWrapMode, Ui, WidgetText, vec2,
};

use crate::chat::{Action, Chat, Role, Stage, Turn};
use crate::sidebar::primary;
use crate::theme::{ROUND, ROW, font, palette};

/// Lines are no longer than is good to read.
const MOST_WIDTH: f32 = 720.0;

/// Height of a line of what is written and said.
const LINE: f32 = 23.0;

/// Shows what the conversation is with, and what begins another one.
pub fn header(ui: &mut Ui, chat: &Chat) -> Option<Action> {
    let colors = palette(ui);
    column(ui, |ui| {
        ui.horizontal(|ui| {
            if let Some(about) = &chat.about {
                ui.label(RichText::new(&about.name).size(15.5));
                let text = format!("{} layers · {} tokens of context", about.layers, about.context);
                ui.label(RichText::new(text).size(13.0).color(colors.weak));
            }
            let can_clear = chat.stage == Stage::Idle && !chat.turns.is_empty();
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = RichText::new("New conversation").size(13.5).color(colors.accent);
                let button = Button::new(text).frame(false);
                can_clear && ui.add(button).clicked()
            })
            .inner
        })
        .inner
    })
    .then_some(Action::Clear)
}

/// Shows what was said, from the top, and follows what comes.
pub fn show(ui: &mut Ui, chat: &Chat) {
    ScrollArea::vertical().auto_shrink(false).stick_to_bottom(true).show(ui, |ui| {
        column(ui, |ui| {
            ui.add_space(12.0);
            if chat.turns.is_empty() {
                welcome(ui, chat);
            }
            for (i, turn) in chat.turns.iter().enumerate() {
                let is_running = chat.stage == Stage::Replying && i + 1 == chat.turns.len();
                match turn.role {
                    Role::User => user_turn(ui, turn),
                    Role::Model => model_turn(ui, turn, is_running),
                }
            }
        });
    });
}

/// Shows the last error, which stays until it is dismissed.
pub fn notice(ui: &mut Ui, text: &str) -> Option<Action> {
    let colors = palette(ui);
    let mut action = None;
    column(ui, |ui| {
        let frame =
            Frame::new().fill(colors.error_tint).corner_radius(ROUND).inner_margin(Margin::symmetric(14, 10));
        frame.show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.label(RichText::new(text).color(colors.error));
            if ui.link(RichText::new("Dismiss").size(13.0).color(colors.error)).clicked() {
                action = Some(Action::Dismiss);
            }
        });
    });
    action
}

/// Shows the field for the next message. Enter sends it; with Shift it begins a new line.
pub fn input(ui: &mut Ui, chat: &mut Chat) -> Option<Action> {
    let colors = palette(ui);
    let lines = chat.draft.split('\n').count().clamp(1, 8);
    let height = ROW.max(lines as f32 * LINE + 12.0);
    let frame = Frame::new().fill(colors.field).stroke((1.0, colors.line)).corner_radius(12);
    column(ui, |ui| {
        frame.inner_margin(Margin { left: 14, right: 8, top: 8, bottom: 8 }).show(ui, |ui| {
            let size = vec2(ui.available_width(), height);
            let row = Layout::right_to_left(Align::Max);
            ui.allocate_ui_with_layout(size, row, |ui| send_or_stop(ui, chat).or(field(ui, chat, height)))
                .inner
        })
    })
    .inner
}

fn send_or_stop(ui: &mut Ui, chat: &Chat) -> Option<Action> {
    if chat.stage == Stage::Replying {
        return primary(ui, "Stop", 72.0).clicked().then_some(Action::Stop);
    }
    let can_send = chat.is_ready() && !chat.draft.trim().is_empty();
    ui.add_enabled_ui(can_send, |ui| primary(ui, "Send", 72.0).clicked()).inner.then_some(Action::Send)
}

/// The field itself, of that height.
fn field(ui: &mut Ui, chat: &mut Chat, height: f32) -> Option<Action> {
    let hint = match &chat.about {
        None => "Open a model first",
        Some(about) if about.chats => "Write a message",
        Some(_) => "Write a text for the model to continue",
    };
    let field = TextEdit::multiline(&mut chat.draft)
        .hint_text(hint)
        .frame(Frame::NONE)
        .margin(Margin::symmetric(0, 6))
        .font(font(15.5))
        .desired_rows(1)
        .desired_width(ui.available_width())
        .min_size(vec2(0.0, height))
        .align(Align2::LEFT_CENTER)
        .return_key(egui::KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter));
    let field = ui.add(field);
    // Nothing else takes the keyboard: what is typed is meant for this field.
    if chat.about.is_some() && ui.memory(|memory| memory.focused().is_none()) {
        field.request_focus();
    }
    let entered = ui.input(|input| input.key_pressed(Key::Enter) && !input.modifiers.shift);
    (field.has_focus() && entered).then_some(Action::Send)
}

/// Contents of a readable width, in the middle.
fn column<R>(ui: &mut Ui, contents: impl FnOnce(&mut Ui) -> R) -> R {
    let free = ui.available_width();
    let width = (free - 48.0).clamp(120.0, MOST_WIDTH);
    let mut rect = ui.available_rect_before_wrap();
    rect.set_left(rect.left() + (free - width).max(0.0) / 2.0);
    rect.set_width(width);
    ui.scope_builder(egui::UiBuilder::new().max_rect(rect), contents).inner
}

fn welcome(ui: &mut Ui, chat: &Chat) {
    let colors = palette(ui);
    let (title, text) = match (&chat.about, chat.stage) {
        (_, Stage::Opening { .. }) => ("One moment", "The model is being loaded.".to_string()),
        (None, _) => (
            "Open a model",
            "Write the path of a model folder at the left, or drop the folder on this window. \
             Compressed folders are read as they are, and so are others."
                .into(),
        ),
        (Some(about), _) => ("Say something", format!("{} is ready.", about.name)),
    };
    ui.add_space(ui.available_height() * 0.2);
    ui.label(RichText::new(title).size(24.0));
    ui.label(RichText::new(text).color(colors.weak));
}

fn user_turn(ui: &mut Ui, turn: &Turn) {
    let colors = palette(ui);
    let margin = Margin::symmetric(14, 10);
    let most = ui.available_width() * 0.8 - margin.sum().x;
    // As wide as its longest line.
    let galley = WidgetText::from(letters(&turn.text)).into_galley(
        ui,
        Some(TextWrapMode::Wrap),
        most,
        TextStyle::Body,
    );
    ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
        let frame = Frame::new().fill(colors.tint).corner_radius(12).inner_margin(margin);
        frame.show(ui, |ui| ui.add(Label::new(galley).selectable(true)));
    });
    ui.add_space(10.0);
}

fn model_turn(ui: &mut Ui, turn: &Turn, is_running: bool) {
    let colors = palette(ui);
    match (turn.text.trim().is_empty(), is_running) {
        (true, true) => drop(ui.label(RichText::new("…").size(20.0).color(colors.accent))),
        (true, false) => drop(ui.label(RichText::new("The model generated no text.").color(colors.weak))),
        (false, _) => words(ui, turn.text.trim_start_matches('\n')),
    }
    if let Some(rate) = turn.rate() {
        let text = format!("{} tokens · {rate:.1} tokens/s", turn.tokens);
        ui.label(RichText::new(text).size(12.5).color(if is_running { colors.accent } else { colors.weak }));
    }
    ui.add_space(18.0);
}

/// What was said, to be read and copied.
fn words(ui: &mut Ui, text: &str) {
    ui.add(Label::new(letters(text)).wrap().selectable(true));
}

fn letters(text: &str) -> RichText {
    RichText::new(text).size(15.5).line_height(Some(LINE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::tests::opened;

    /// Shows the field in frame after frame, each with its events, and gives what came of the last.
    fn type_in(chat: &mut Chat, frames: &[&[egui::Event]]) -> Option<Action> {
        let context = egui::Context::default();
        let mut action = None;
        // The field takes the keyboard in the first.
        for events in std::iter::once(&[][..]).chain(frames.iter().copied()) {
            let raw = egui::RawInput { events: events.to_vec(), ..egui::RawInput::default() };
            // Nobody paints it.
            context.run_ui(raw, |ui| action = input(ui, chat)).textures_delta.clear();
        }
        action
    }

    fn enter(modifiers: Modifiers) -> [egui::Event; 2] {
        let (key, physical_key) = (Key::Enter, None);
        let pressed = egui::Event::Key { key, physical_key, pressed: true, repeat: false, modifiers };
        [egui::Event::ModifiersChanged(modifiers), pressed]
    }

    #[test]
    fn enter_sends_and_with_shift_begins_a_line() {
        let mut chat = opened();
        let text = |text: &str| egui::Event::Text(text.into());
        let plain = [egui::Event::ModifiersChanged(Modifiers::NONE), text("two")];
        let frames = [&[text("one")][..], &enter(Modifiers::SHIFT), &plain];
        assert_eq!(type_in(&mut chat, &frames), None);
        assert_eq!(chat.draft, "one\ntwo");
        assert_eq!(type_in(&mut chat, &[&enter(Modifiers::NONE)]), Some(Action::Send));
        assert_eq!(chat.draft, "one\ntwo");
    }
}
