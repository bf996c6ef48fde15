//! The panel at the side: which model, how much of it, and what it takes.

use bantam::codec::Precision;
use eframe::egui::{self, Align, Button, Color32, Layout, RichText, TextEdit, Ui, vec2};

use crate::browser::Browser;
use crate::chat::{Action, Chat, Stage};
use crate::engine::Memory;
use crate::sizes::megabytes;
use crate::speaker::About;
use crate::theme::{ROUND, ROW, palette};

/// How much of the weights can be chosen, with what it means.
const PRECISIONS: [(Precision, &str, &str); 3] = [
    (Precision::Lossless, "Lossless", "All bits of every weight"),
    (Precision::Mantissa(5), "k5", "5 mantissa bits; the others are neither read nor kept"),
    (Precision::Mantissa(3), "k3", "3 mantissa bits; the others are neither read nor kept"),
];

/// Shows the panel. `device` is the name of what is computed on.
pub fn show(
    ui: &mut Ui,
    chat: &mut Chat,
    browser: &mut Browser,
    memory: Option<Memory>,
    device: &str,
) -> Option<Action> {
    let colors = palette(ui);
    ui.label(RichText::new("bantam").size(26.0).color(colors.accent));
    ui.add_space(-6.0);
    ui.label(RichText::new("chat with a compressed model").size(13.5).color(colors.weak));

    heading(ui, "MODEL");
    let mut action = folder(ui, chat, browser);
    action = action.or(opening(ui, chat));

    heading(ui, "PRECISION");
    action = action.or(precision(ui, chat));

    heading(ui, "DEVICE MEMORY");
    action = action.or(limit(ui, chat));
    device_meter(ui, memory.unwrap_or_default());
    if let Some(about) = &chat.about {
        heading(ui, "WEIGHTS");
        weights(ui, about);
    }
    ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
        ui.add(egui::Label::new(RichText::new(device).size(12.5).color(colors.weak)).truncate());
    });
    action
}

fn heading(ui: &mut Ui, text: &str) {
    ui.add_space(14.0);
    ui.label(RichText::new(text).size(11.5).color(palette(ui).weak).extra_letter_spacing(1.0));
}

/// The model's folder, and what opens it.
fn folder(ui: &mut Ui, chat: &mut Chat, browser: &mut Browser) -> Option<Action> {
    let field = TextEdit::singleline(&mut chat.folder)
        .hint_text("Path of a model folder")
        .desired_width(f32::INFINITY)
        .min_size(vec2(0.0, ROW))
        .align(egui::Align2::LEFT_CENTER);
    let field = ui.add(field);
    let entered = entered(ui, &field) | adapter(ui, chat);
    let clicked = ui.horizontal(|ui| {
        let width = (ui.available_width() - ui.spacing().item_spacing.x) / 2.0;
        if ui.add(Button::new("Browse…").min_size(vec2(width, ROW))).clicked() {
            browser.open(&chat.folder);
        }
        primary(ui, "Open", width).clicked()
    });
    (entered || clicked.inner).then_some(Action::Open)
}

/// The adapter's folder. Gives whether it was entered.
fn adapter(ui: &mut Ui, chat: &mut Chat) -> bool {
    let field = TextEdit::singleline(&mut chat.adapter)
        .hint_text("Adapter (LoRA), if there is one")
        .desired_width(f32::INFINITY)
        .min_size(vec2(0.0, ROW))
        .align(egui::Align2::LEFT_CENTER);
    let field = ui.add(field).on_hover_text("Path of a folder that PEFT or `bantam finetune` wrote");
    entered(ui, &field)
}

/// Whether a field was left with the Enter key.
fn entered(ui: &Ui, field: &egui::Response) -> bool {
    field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter))
}

/// A button for what is mostly wanted.
pub fn primary(ui: &mut Ui, text: &str, width: f32) -> egui::Response {
    let colors = palette(ui);
    let text = RichText::new(text).color(colors.on_accent);
    ui.add(Button::new(text).fill(colors.accent).min_size(vec2(width, ROW)))
}

/// How far loading has come, while there is any.
fn opening(ui: &mut Ui, chat: &Chat) -> Option<Action> {
    let Stage::Opening { done, total } = chat.stage else { return None };
    let colors = palette(ui);
    let share = if total > 0 { done as f32 / total as f32 } else { 0.0 };
    bar(ui, &[(share, colors.accent)]);
    ui.horizontal(|ui| {
        let text = match total {
            0 => "Opening…".into(),
            // Kernels are compiled then.
            _ if done >= total => "Preparing kernels…".into(),
            _ => format!("{} of {}", megabytes(done), megabytes(total)),
        };
        ui.label(RichText::new(text).size(13.0).color(colors.weak));
        let cancel = |ui: &mut Ui| ui.button("Cancel").clicked();
        ui.with_layout(Layout::right_to_left(Align::Center), cancel).inner.then_some(Action::Stop)
    })
    .inner
}

fn precision(ui: &mut Ui, chat: &Chat) -> Option<Action> {
    let colors = palette(ui);
    let mut action = None;
    ui.horizontal(|ui| {
        let gaps = 2.0 * ui.spacing().item_spacing.x;
        let width = (ui.available_width() - gaps) / 3.0;
        for (precision, name, meaning) in PRECISIONS {
            let chosen = chat.precision == precision;
            let (fill, color) =
                if chosen { (colors.tint, colors.accent) } else { (colors.field, colors.text) };
            let button = Button::new(RichText::new(name).color(color)).fill(fill).min_size(vec2(width, ROW));
            let button = if chosen { button.stroke((1.0, colors.accent)) } else { button };
            if ui.add(button).on_hover_text(meaning).clicked() {
                action = Some(Action::SetPrecision(precision));
            }
        }
    });
    action
}

fn limit(ui: &mut Ui, chat: &mut Chat) -> Option<Action> {
    let colors = palette(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new("At most").color(colors.weak));
        let field = TextEdit::singleline(&mut chat.limit)
            .hint_text("no limit")
            .desired_width(f32::INFINITY)
            .min_size(vec2(0.0, ROW))
            .align(egui::Align2::LEFT_CENTER);
        let field = ui.add(field).on_hover_text("Such as 500 MB. Layers that do not fit are streamed.");
        entered(ui, &field).then_some(Action::Open)
    })
    .inner
}

/// What is in use now, and what was at most.
fn device_meter(ui: &mut Ui, memory: Memory) {
    let colors = palette(ui);
    let whole = memory.budget.unwrap_or(memory.peak).max(memory.peak).max(1) as f32;
    let share = |bytes: u64| bytes as f32 / whole;
    let light = colors.accent.gamma_multiply(0.35);
    bar(ui, &[(share(memory.peak), light), (share(memory.used), colors.accent)]);
    figure(ui, "In use", &megabytes(memory.used));
    figure(ui, "Peak", &megabytes(memory.peak));
    figure(ui, "Budget", &memory.budget.map_or("none".into(), megabytes));
}

/// What the weights take, next to what they were.
fn weights(ui: &mut Ui, about: &About) {
    let colors = palette(ui);
    let whole = about.original_bytes.max(1) as f32;
    let percent = |bytes: u64| format!("{} · {:.0} %", megabytes(bytes), 100.0 * bytes as f32 / whole);
    bar(ui, &[(about.device_bytes as f32 / whole, colors.accent)]);
    figure(ui, "Original", &megabytes(about.original_bytes));
    figure(ui, "In the file", &percent(about.file_bytes));
    figure(ui, "On the device", &percent(about.device_bytes));
    if about.streamed > 0 {
        figure(ui, "Streamed", &format!("{} of {} layers", about.streamed, about.layers));
    }
    if !about.compressed {
        let advice = "Not compressed. `bantam compress` makes it about a third smaller.";
        ui.label(RichText::new(advice).size(12.5).color(colors.weak));
    }
}

/// A name at the left and a value at the right.
fn figure(ui: &mut Ui, name: &str, value: &str) {
    let colors = palette(ui);
    ui.scope(|ui| {
        ui.spacing_mut().interact_size.y = 18.0;
        ui.horizontal(|ui| {
            ui.label(RichText::new(name).size(13.5).color(colors.weak));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.label(RichText::new(value).size(13.5));
            });
        });
    });
    ui.add_space(-4.0);
}

/// A bar of the full width, filled by each part from its beginning.
fn bar(ui: &mut Ui, parts: &[(f32, Color32)]) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 8.0), egui::Sense::hover());
    ui.painter().rect_filled(rect, ROUND, palette(ui).line);
    for &(share, color) in parts {
        let mut part = rect;
        part.set_width(rect.width() * share.clamp(0.0, 1.0));
        // Narrower than that it would be a spot.
        if part.width() >= 4.0 {
            ui.painter().rect_filled(part, ROUND, color);
        }
    }
}
