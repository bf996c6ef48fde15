//! A desktop chat with a language model that computes from compressed weights, on the device that
//! draws the window.

mod app;
mod arguments;
mod browser;
mod chat;
mod conversation;
mod device;
mod drive;
mod engine;
mod sidebar;
mod sizes;
mod speaker;
mod theme;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eframe::egui::{IconData, ViewportBuilder, vec2};

use app::{App, Kept, lock};
use arguments::{Arguments, HELP};
use chat::Action;
use drive::Drive;

/// Size of the window at the usual scale.
const SIZE: [f32; 2] = [1080.0, 720.0];

/// Windows that may lose their device, one after the other, before the program gives up.
const MOST_WINDOWS: usize = 4;

/// What the program returns where its script did not end in time.
const TOO_LATE: i32 = 124;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.help {
        println!("{HELP}");
        return Ok(());
    }
    let mut kept = Kept::default();
    if let Some(script) = &arguments.drive {
        let text =
            std::fs::read_to_string(script).map_err(|error| format!("{}: {error}", script.display()))?;
        kept.drive = Some(Drive::parse(&text).map_err(|why| format!("{}, {why}", script.display()))?);
        end_after(arguments.limit);
    }
    kept.chat.folder = arguments.folder.clone().unwrap_or_default();
    kept.chat.adapter = arguments.adapter.unwrap_or_default();
    kept.begin_with = arguments.folder.map(|_| Action::Open);

    let kept = Arc::new(Mutex::new(kept));
    for _ in 0..MOST_WINDOWS {
        open_window(&kept, arguments.scale)?;
        if !lock(&kept).is_lost {
            return match lock(&kept).drive.as_ref().map(Drive::outcome) {
                None => Ok(()),
                Some(Some(outcome)) => outcome.clone(),
                Some(None) => Err("the window was closed before the script ended".into()),
            };
        }
    }
    Err("the device was lost several times".into())
}

/// Shows a window until it is closed.
fn open_window(kept: &Arc<Mutex<Kept>>, scale: f32) -> Result<(), String> {
    let viewport = ViewportBuilder::default()
        .with_title("bantam")
        .with_app_id("bantam-desktop-chat")
        .with_icon(IconData::default())
        .with_inner_size(vec2(SIZE[0], SIZE[1]) * scale)
        .with_min_inner_size(vec2(720.0, 560.0) * scale);
    let options = eframe::NativeOptions {
        viewport,
        wgpu_options: device::configuration(),
        ..eframe::NativeOptions::default()
    };
    let theirs = Arc::clone(kept);
    let app = Box::new(move |creation: &eframe::CreationContext<'_>| {
        Ok(Box::new(App::new(creation, theirs, scale)?) as Box<dyn eframe::App>)
    });
    let shown = catch_unwind(AssertUnwindSafe(|| eframe::run_native("bantam", options, app)));
    // The painter panics where the device is lost in the middle of a frame.
    let Ok(shown) = shown else {
        lock(kept).lose("in the middle of a frame");
        return Ok(());
    };
    shown.map_err(|error| format!("cannot open a window: {error}"))
}

/// Ends the program after that time, whatever hangs.
fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("error: the script took longer than {} s", limit.as_secs());
        std::process::exit(TOO_LATE);
    });
}
