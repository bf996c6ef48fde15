//! The window: it shows the chat, and carries what is done in it to the engine.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use eframe::egui::{self, CentralPanel, Frame, Margin, Panel, Ui, ViewportCommand};
use eframe::wgpu;

use crate::browser::Browser;
use crate::chat::{Action, Chat, Order};
use crate::conversation;
use crate::device::Watch;
use crate::drive::Drive;
use crate::engine::Engine;
use crate::{sidebar, theme};

/// From an event of the engine to the frame that shows it, and what came until then.
const PACE: Duration = Duration::from_millis(30);

/// The same where a processor stands in for the device: a frame takes it as long as a token, or longer.
const CPU_PACE: Duration = Duration::from_millis(200);

/// What outlives a window, whose device may be lost.
#[derive(Debug, Default)]
pub struct Kept {
    pub chat: Chat,
    /// The script that is followed, if there is one.
    pub drive: Option<Drive>,
    /// What the next frame begins with.
    pub begin_with: Option<Action>,
    /// Whether the last window was closed because its device was lost.
    pub is_lost: bool,
}

impl Kept {
    /// Takes note that the window's device was lost, and the model with it.
    pub fn lose(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_lost, true) {
            let notice = format!(
                "The device was lost ({why}), and the model with it. Open the model again to continue."
            );
            self.chat.lose(notice);
        }
    }
}

/// A window's application.
pub struct App {
    kept: Arc<Mutex<Kept>>,
    /// `None` where it could not be started.
    engine: Option<Engine>,
    device: wgpu::Device,
    device_name: String,
    watch: Watch,
    browser: Browser,
}

/// There is no render state: eframe drew with something else.
#[derive(Debug, thiserror::Error)]
#[error("the window has no wgpu device")]
pub struct NoDevice;

impl App {
    /// Begins in a new window. `scale` is how much larger than usual everything is.
    pub fn new(
        creation: &eframe::CreationContext<'_>,
        kept: Arc<Mutex<Kept>>,
        scale: f32,
    ) -> Result<Self, NoDevice> {
        let state = creation.wgpu_render_state.as_ref().ok_or(NoDevice)?;
        let context = &creation.egui_ctx;
        theme::apply(context);
        context.set_zoom_factor(scale);
        let info = state.adapter.get_info();
        let pace = if info.device_type == wgpu::DeviceType::Cpu { CPU_PACE } else { PACE };
        let wake = {
            let context = context.clone();
            move || context.request_repaint_after(pace)
        };
        let engine = Engine::start(state.device.clone(), state.queue.clone(), wake);
        let mut all = lock(&kept);
        all.is_lost = false;
        if let Err(error) = &engine {
            all.chat.notice = Some(format!("cannot start a thread for the model: {error}"));
        }
        drop(all);
        Ok(Self {
            kept,
            engine: engine.ok(),
            device: state.device.clone(),
            device_name: format!("{} ({:?})", info.name, info.backend),
            watch: Watch::new(&state.device, context.clone()),
            browser: Browser::default(),
        })
    }

    fn act(&mut self, chat: &mut Chat, action: Action) {
        let Some(engine) = &mut self.engine else { return };
        match chat.act(action) {
            Some(Order::Begin(command)) => chat.began(engine.send(command)),
            Some(Order::Stop) => engine.stop(),
            None => {}
        }
    }

    /// A folder that was dropped on the window is opened.
    fn dropped(&self, context: &egui::Context, chat: &mut Chat) -> Option<Action> {
        let dropped = context.input(|input| Some(input.raw.dropped_files.first()?.path().to_path_buf()))?;
        chat.folder = dropped.display().to_string();
        Some(Action::Open)
    }
}

impl eframe::App for App {
    fn logic(&mut self, context: &egui::Context, frame: &mut eframe::Frame) {
        self.watch.retry(frame);
        let kept = Arc::clone(&self.kept);
        let mut kept = lock(&kept);
        if let Some(why) = self.watch.loss() {
            // Another window takes over. Without an engine, nobody waits for this one's device.
            self.engine = None;
            kept.lose(&why);
            return context.send_viewport_cmd(ViewportCommand::Close);
        }
        let Kept { chat, drive, begin_with, .. } = &mut *kept;
        if let Some(engine) = &self.engine {
            while let Some((command, event)) = engine.event() {
                chat.take(command, event);
            }
        }
        if let Some(action) = begin_with.take().or_else(|| self.dropped(context, chat)) {
            self.act(chat, action);
        }
        if let Some(drive) = drive
            && let Some(action) = drive.go_on(chat, context, &self.device)
        {
            self.act(chat, action);
        }
    }

    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        // Nothing is drawn on a device that is gone.
        if self.watch.loss().is_some() {
            return;
        }
        let kept = Arc::clone(&self.kept);
        let chat = &mut lock(&kept).chat;
        let colors = theme::palette(ui);
        let memory = self.engine.as_ref().and_then(Engine::memory);
        let mut actions = Vec::new();
        let side = Frame::new().fill(colors.panel).inner_margin(Margin::symmetric(18, 18));
        Panel::left("side").exact_size(300.0).resizable(false).frame(side).show(ui, |ui| {
            actions.extend(sidebar::show(ui, chat, &mut self.browser, memory, &self.device_name));
        });
        let page = Frame::new().fill(colors.page);
        let foot = page.inner_margin(Margin { left: 0, right: 0, top: 8, bottom: 16 });
        Panel::bottom("input").show_separator_line(false).frame(foot).show(ui, |ui| {
            if let Some(text) = chat.notice.clone() {
                actions.extend(conversation::notice(ui, &text));
                ui.add_space(4.0);
            }
            actions.extend(conversation::input(ui, chat));
        });
        let head = page.inner_margin(Margin { left: 0, right: 0, top: 10, bottom: 4 });
        Panel::top("header").show_separator_line(false).frame(head).show(ui, |ui| {
            actions.extend(conversation::header(ui, chat));
        });
        CentralPanel::no_frame().frame(page).show(ui, |ui| conversation::show(ui, chat));
        if let Some(folder) = self.browser.show(ui.ctx()) {
            chat.folder = folder.display().to_string();
            actions.push(Action::Open);
        }
        if !actions.is_empty() {
            ui.ctx().request_repaint();
        }
        for action in actions {
            self.act(chat, action);
        }
    }

    /// The engine ends, and gives back what it has on the device, while the device is still there.
    fn on_exit(&mut self) {
        self.engine = None;
    }
}

/// What is kept, whatever became of the window that had it.
pub fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(|e| e.into_inner())
}
