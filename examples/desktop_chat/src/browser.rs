//! Choosing a model folder from a list.
//!
//! A desktop's own dialog would need a library for each desktop, or a service to talk to; this one works
//! wherever the window does.

use std::path::{Path, PathBuf};

use eframe::egui::{self, Button, Id, Modal, RichText, ScrollArea, Ui, vec2};

use crate::theme::{ROW, palette};

/// The list of a folder's folders. Closed at first.
#[derive(Debug, Default)]
pub struct Browser {
    shown: Option<Listing>,
}

/// One folder's folders.
#[derive(Debug)]
struct Listing {
    at: PathBuf,
    /// Each with whether it has a model.
    folders: Vec<(PathBuf, bool)>,
    /// Why there are none, where the system refused.
    refused: Option<String>,
}

impl Browser {
    /// Shows the list from the closest folder to `path` that there is.
    pub fn open(&mut self, path: &str) {
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let wanted = here.join(path.trim());
        let closest = wanted.ancestors().find(|folder| folder.is_dir()).unwrap_or(&here);
        self.shown =
            Some(Listing::of(if is_model(closest) { closest.parent().unwrap_or(closest) } else { closest }));
    }

    /// Shows the list, if it is open. Gives the model that was chosen.
    pub fn show(&mut self, context: &egui::Context) -> Option<PathBuf> {
        let listing = self.shown.as_ref()?;
        let modal = Modal::new(Id::unique("browser")).show(context, |ui| listing.show(ui));
        let closed = modal.should_close();
        match modal.inner {
            Choice::Model(folder) => {
                self.shown = None;
                return Some(folder);
            }
            Choice::Folder(folder) => self.shown = Some(Listing::of(&folder)),
            Choice::Close => self.shown = None,
            Choice::Nothing if closed => self.shown = None,
            Choice::Nothing => {}
        }
        None
    }
}

/// What was clicked.
enum Choice {
    Nothing,
    Folder(PathBuf),
    Model(PathBuf),
    Close,
}

/// Whether a folder looks like a model.
fn is_model(folder: &Path) -> bool {
    folder.join("config.json").is_file() && folder.join("tokenizer.json").is_file()
}

impl Listing {
    fn of(at: &Path) -> Self {
        let entries = std::fs::read_dir(at);
        let refused = entries.as_ref().err().map(|error| format!("This folder cannot be read: {error}"));
        let is_hidden =
            |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let mut folders: Vec<_> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir() && !is_hidden(path))
            .map(|path| (path.clone(), is_model(&path)))
            .collect();
        // Models first.
        folders.sort_by_key(|(path, is_model)| (!is_model, path.clone()));
        Self { at: at.into(), folders, refused }
    }

    fn show(&self, ui: &mut Ui) -> Choice {
        let colors = palette(ui);
        let mut choice = Choice::Nothing;
        ui.set_width(440.0);
        ui.label(RichText::new("Choose a model folder").size(20.0));
        ui.add(egui::Label::new(RichText::new(self.at.display().to_string()).color(colors.weak)).truncate());
        if let Some(why) = &self.refused {
            ui.label(RichText::new(why).color(colors.error));
        }
        ScrollArea::vertical().max_height(320.0).auto_shrink([false, true]).show(ui, |ui| {
            for (folder, is_model) in &self.folders {
                let name = folder.file_name().map_or_else(Default::default, |n| n.to_string_lossy());
                let mark = if *is_model { "model" } else { "›" };
                let button = Button::new(name.as_ref())
                    .right_text(RichText::new(mark).size(13.0).color(colors.accent))
                    .min_size(vec2(ui.available_width(), ROW));
                if ui.add(button).clicked() {
                    choice = if *is_model {
                        Choice::Model(folder.clone())
                    } else {
                        Choice::Folder(folder.clone())
                    };
                }
            }
        });
        ui.horizontal(|ui| {
            if let Some(parent) = self.at.parent()
                && ui.button("One folder up").clicked()
            {
                choice = Choice::Folder(parent.into());
            }
            if ui.button("Close").clicked() {
                choice = Choice::Close;
            }
        });
        choice
    }
}
