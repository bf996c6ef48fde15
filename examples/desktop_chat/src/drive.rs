//! Using the window by a script, for tests and pictures, with nobody there.
//!
//! A script has one step a line; lines that are empty or begin with `#` are skipped. Each step is done as a
//! person would do it, and the next one begins when it is over. After the last one the window is closed.
//! Paths are relative to the folder that the program was started in.
//!
//! | step | |
//! |---|---|
//! | `open FOLDER` | opens a model, and waits until it is there |
//! | `adapter [FOLDER]` | writes an adapter's folder, or none, for the next `open` |
//! | `precision lossless`, `k5`, `k3` | chooses, and waits until the model is there again |
//! | `limit SIZE` | writes the most device memory, for the next `open` |
//! | `say TEXT` | sends a message when the model is idle, waits for the whole reply and prints it |
//! | `begin STEP` | begins `open` or `say`, and goes on when something has come |
//! | `stop` | stops what was begun |
//! | `refused STEP` | expects of `open` or `say` that an error is shown, and prints it |
//! | `clear` | begins a new conversation |
//! | `resize WIDTH HEIGHT` | gives the window another size |
//! | `screenshot FILE` | writes a picture of the window, as PNG |
//! | `lose` | destroys the device, and waits for the next window |

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use bantam::codec::Precision;
use eframe::egui::{self, ColorImage, ViewportCommand, vec2};
use eframe::wgpu;

use crate::chat::{Action, Chat, Role, Stage, Turn};
use crate::sizes::megabytes;

/// Frames from the last change to a picture of it: the first lays out, and the view then follows.
const FRAMES_TO_SETTLE: u32 = 4;

/// Smooth letters alone have more colours; a window that was not painted has one.
const FEWEST_COLOURS: usize = 32;

/// How often the script is looked at where nothing else happens.
const PACE: Duration = Duration::from_millis(250);

/// One step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Open(String),
    Adapter(String),
    Precision(Precision),
    Limit(String),
    Say(String),
    Begin(Box<Step>),
    Stop,
    Refused(Box<Step>),
    Clear,
    Resize([u16; 2]),
    Screenshot(PathBuf),
    Lose,
}

impl Step {
    /// Whether it sends a message.
    fn sends(&self) -> bool {
        match self {
            Step::Begin(step) | Step::Refused(step) => step.sends(),
            step => matches!(step, Step::Say(_)),
        }
    }
}

/// A script, and how far it has come.
#[derive(Debug)]
pub struct Drive {
    steps: Vec<Step>,
    at: usize,
    /// When the current step began; `None` before.
    since: Option<Instant>,
    /// Frames since then.
    frames: u32,
    /// Bytes of the reply as it was last seen, and how often it had grown.
    seen: (usize, u32),
    picture: Option<Receiver<Arc<ColorImage>>>,
    outcome: Option<Result<(), String>>,
}

impl Drive {
    /// Reads a script. An error names the line.
    pub fn parse(script: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        for (i, line) in script.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                steps.push(step(line).map_err(|why| format!("line {}: {why}", i + 1))?);
            }
        }
        Ok(Self { steps, at: 0, since: None, frames: 0, seen: (0, 0), picture: None, outcome: None })
    }

    /// How it ended; `None` where the window was closed before the script was over.
    pub fn outcome(&self) -> Option<&Result<(), String>> {
        self.outcome.as_ref()
    }

    /// Looks whether the current step is over, and begins the next one if it is.
    pub fn go_on(
        &mut self,
        chat: &mut Chat,
        context: &egui::Context,
        device: &wgpu::Device,
    ) -> Option<Action> {
        if self.outcome.is_some() {
            return None;
        }
        context.request_repaint_after(PACE);
        let Some(step) = self.steps.get(self.at).cloned() else {
            self.end(context, Ok(()));
            return None;
        };
        let Some(since) = self.since else {
            // The window sends nothing before the model is there: a person would wait for it.
            if step.sends() && chat.stage != Stage::Idle {
                return None;
            }
            self.since = Some(Instant::now());
            self.frames = 0;
            self.seen = (0, 0);
            return self.begin(&step, chat, context, device);
        };
        self.frames += 1;
        self.look_at_reply(chat);
        match self.is_over(&step, chat, context, since) {
            Ok(true) => {
                self.at += 1;
                self.since = None;
                context.request_repaint();
            }
            Ok(false) => {}
            Err(why) => self.end(context, Err(format!("{step:?}: {why}"))),
        }
        None
    }

    /// Counts the frames that show more of a reply than the one before.
    fn look_at_reply(&mut self, chat: &Chat) {
        let len = chat.turns.last().filter(|turn| turn.role == Role::Model).map_or(0, |turn| turn.text.len());
        if chat.stage == Stage::Replying && len > self.seen.0 {
            self.seen = (len, self.seen.1 + 1);
        }
    }

    fn end(&mut self, context: &egui::Context, outcome: Result<(), String>) {
        self.outcome = Some(outcome);
        context.send_viewport_cmd(ViewportCommand::Close);
    }

    fn begin(
        &self,
        step: &Step,
        chat: &mut Chat,
        context: &egui::Context,
        device: &wgpu::Device,
    ) -> Option<Action> {
        match step {
            Step::Open(folder) => {
                chat.folder.clone_from(folder);
                Some(Action::Open)
            }
            Step::Precision(precision) => Some(Action::SetPrecision(*precision)),
            Step::Adapter(folder) => {
                chat.adapter.clone_from(folder);
                None
            }
            Step::Limit(limit) => {
                chat.limit.clone_from(limit);
                None
            }
            Step::Say(text) => {
                chat.draft.clone_from(text);
                Some(Action::Send)
            }
            Step::Begin(step) | Step::Refused(step) => self.begin(step, chat, context, device),
            Step::Stop => Some(Action::Stop),
            Step::Clear => Some(Action::Clear),
            Step::Resize([width, height]) => {
                let size = vec2(f32::from(*width), f32::from(*height));
                context.send_viewport_cmd(ViewportCommand::InnerSize(size));
                None
            }
            Step::Screenshot(_) => None,
            Step::Lose => {
                device.destroy();
                None
            }
        }
    }

    fn is_over(
        &mut self,
        step: &Step,
        chat: &Chat,
        context: &egui::Context,
        since: Instant,
    ) -> Result<bool, String> {
        let is_idle = chat.stage == Stage::Idle;
        match step {
            Step::Begin(_) if is_idle => no_error(chat).map(|()| true),
            Step::Begin(_) => Ok(match chat.stage {
                Stage::Opening { done, .. } => done > 0,
                _ => chat.turns.last().is_some_and(|turn| turn.tokens > 1),
            }),
            Step::Lose => Ok(chat.about.is_none() && chat.notice.is_some()),
            Step::Screenshot(file) => self.picture(file, context),
            Step::Resize(_) => {
                context.request_repaint();
                Ok(self.frames >= FRAMES_TO_SETTLE)
            }
            _ if !is_idle => Ok(false),
            Step::Refused(_) => {
                let notice = chat.notice.as_ref().ok_or("no error was shown")?;
                println!("error: {notice}");
                Ok(true)
            }
            Step::Open(_) | Step::Precision(_) => no_error(chat).map(|()| {
                if let Some(about) = &chat.about {
                    let (name, bytes) = (&about.name, megabytes(about.device_bytes));
                    println!("opened: {name}, {bytes} in {:.2} s", since.elapsed().as_secs_f64());
                }
                true
            }),
            Step::Say(_) => no_error(chat).and_then(|()| {
                let turn = chat.turns.last().filter(|turn| turn.role == Role::Model);
                self.print_reply(turn.ok_or("nothing was sent")?);
                Ok(true)
            }),
            Step::Adapter(_) | Step::Limit(_) | Step::Stop | Step::Clear => Ok(true),
        }
    }

    fn print_reply(&self, turn: &Turn) {
        let (tokens, rate, frames) = (turn.tokens, turn.rate().unwrap_or(0.0), self.seen.1);
        let words: Vec<&str> = turn.text.split_whitespace().collect();
        let (count, line) = (words.len(), words.join(" "));
        println!("reply: {count} words, {tokens} tokens in {frames} frames, {rate:.1} tokens/s: {line}");
    }

    /// Asks for a picture as soon as the window has settled, and writes it when it is there.
    fn picture(&mut self, file: &Path, context: &egui::Context) -> Result<bool, String> {
        let Some(picture) = &self.picture else {
            context.request_repaint();
            if self.frames >= FRAMES_TO_SETTLE {
                let (there, picture) = mpsc::channel();
                self.picture = Some(picture);
                // It comes on whichever thread polls the device next.
                context.request_screenshot(move |image| drop(there.send(image)));
            }
            return Ok(false);
        };
        let Ok(image) = picture.try_recv() else { return Ok(false) };
        self.picture = None;
        let colours: HashSet<_> = image.pixels.iter().collect();
        if colours.len() < FEWEST_COLOURS {
            return Err(format!("the window has no more than {} colours", colours.len()));
        }
        let [width, height] = image.size;
        let bytes: Vec<u8> = image.pixels.iter().flat_map(|pixel| pixel.to_array()).collect();
        image::save_buffer(file, &bytes, width as u32, height as u32, image::ColorType::Rgba8)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        println!("screenshot: {} of {width} x {height}", file.display());
        Ok(true)
    }
}

fn no_error(chat: &Chat) -> Result<(), String> {
    chat.notice.clone().map_or(Ok(()), Err)
}

fn step(line: &str) -> Result<Step, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let inner = || {
        let inner = step(rest)?;
        match inner {
            Step::Open(_) | Step::Say(_) => Ok(Box::new(inner)),
            _ => Err(format!("{word} is followed by open or say")),
        }
    };
    let given = match rest {
        "" => Err(format!("{word} needs an argument")),
        rest => Ok(rest.to_string()),
    };
    Ok(match word {
        "open" => Step::Open(given?),
        "adapter" => Step::Adapter(rest.into()),
        "precision" => Step::Precision(match rest {
            "lossless" => Precision::Lossless,
            "k5" => Precision::Mantissa(5),
            "k3" => Precision::Mantissa(3),
            _ => return Err("precision is lossless, k5 or k3".into()),
        }),
        "limit" => Step::Limit(rest.into()),
        "say" => Step::Say(given?),
        "begin" => Step::Begin(inner()?),
        "stop" => Step::Stop,
        "refused" => Step::Refused(inner()?),
        "clear" => Step::Clear,
        "resize" => {
            let numbers: Option<Vec<u16>> = rest.split_whitespace().map(|n| n.parse().ok()).collect();
            let size = numbers.and_then(|numbers| numbers.try_into().ok());
            Step::Resize(size.ok_or("resize is followed by a width and a height")?)
        }
        "screenshot" => Step::Screenshot(given?.into()),
        "lose" => Step::Lose,
        _ => return Err(format!("there is no step {word:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_line_by_line() {
        let script = "# a comment\n\nopen a folder\nbegin say  hello you \nprecision k3\nstop\n";
        let say = Step::Begin(Box::new(Step::Say("hello you".into())));
        let steps = [Step::Open("a folder".into()), say, Step::Precision(Precision::Mantissa(3)), Step::Stop];
        assert_eq!(Drive::parse(script).unwrap().steps, steps);
    }

    #[test]
    fn what_is_wrong_with_a_script_is_said_with_its_line() {
        for (script, why) in [
            ("open", "line 1: open needs an argument"),
            ("stop\nfly", "line 2: there is no step \"fly\""),
            ("begin stop", "line 1: begin is followed by open or say"),
            ("precision k4", "line 1: precision is lossless, k5 or k3"),
            ("resize 100", "line 1: resize is followed by a width and a height"),
        ] {
            assert_eq!(Drive::parse(script).unwrap_err(), why);
        }
    }
}
