//! Colours, sizes and spacing.

use eframe::egui::{self, Color32, CornerRadius, FontFamily, FontId, Stroke, TextStyle, Theme, Vec2, vec2};

/// The colours of a theme.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// Behind the conversation.
    pub page: Color32,
    /// Behind the panel at the side.
    pub panel: Color32,
    /// Fields that are written in.
    pub field: Color32,
    /// Thin lines, and what is empty in a bar.
    pub line: Color32,
    pub text: Color32,
    pub weak: Color32,
    pub accent: Color32,
    /// On the accent colour.
    pub on_accent: Color32,
    /// Behind what the user wrote.
    pub tint: Color32,
    pub error: Color32,
    pub error_tint: Color32,
}

const LIGHT: Palette = Palette {
    page: Color32::from_rgb(0xfd, 0xfc, 0xfa),
    panel: Color32::from_rgb(0xf4, 0xf2, 0xed),
    field: Color32::from_rgb(0xff, 0xff, 0xff),
    line: Color32::from_rgb(0xdf, 0xdb, 0xd2),
    text: Color32::from_rgb(0x23, 0x27, 0x2b),
    weak: Color32::from_rgb(0x74, 0x78, 0x7b),
    accent: Color32::from_rgb(0x1f, 0x6f, 0x6b),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    tint: Color32::from_rgb(0xe3, 0xef, 0xec),
    error: Color32::from_rgb(0x9c, 0x37, 0x2a),
    error_tint: Color32::from_rgb(0xfa, 0xe9, 0xe5),
};

const DARK: Palette = Palette {
    page: Color32::from_rgb(0x1b, 0x1d, 0x1f),
    panel: Color32::from_rgb(0x23, 0x26, 0x28),
    field: Color32::from_rgb(0x2b, 0x2e, 0x31),
    line: Color32::from_rgb(0x3b, 0x40, 0x43),
    text: Color32::from_rgb(0xe4, 0xe4, 0xe1),
    weak: Color32::from_rgb(0x98, 0x9d, 0xa0),
    accent: Color32::from_rgb(0x5c, 0xb5, 0xaa),
    on_accent: Color32::from_rgb(0x10, 0x22, 0x20),
    tint: Color32::from_rgb(0x27, 0x3c, 0x3a),
    error: Color32::from_rgb(0xe8, 0x9a, 0x8c),
    error_tint: Color32::from_rgb(0x42, 0x2b, 0x27),
};

/// Roundness of fields, buttons and what was said.
pub const ROUND: CornerRadius = CornerRadius::same(8);

/// Height of a button or a field of one line.
pub const ROW: f32 = 34.0;

/// The colours that `ui` is to have.
pub fn palette(ui: &egui::Ui) -> Palette {
    if ui.visuals().dark_mode { DARK } else { LIGHT }
}

/// Makes both themes look like this program.
pub fn apply(context: &egui::Context) {
    context.options_mut(|options| options.fallback_theme = Theme::Light);
    context.style_mut_of(Theme::Light, |style| restyle(style, &LIGHT));
    context.style_mut_of(Theme::Dark, |style| restyle(style, &DARK));
}

/// Letters of a size.
pub fn font(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

fn restyle(style: &mut egui::Style, palette: &Palette) {
    style.text_styles = [
        (TextStyle::Small, font(12.5)),
        (TextStyle::Body, font(15.0)),
        (TextStyle::Button, font(14.5)),
        (TextStyle::Heading, font(22.0)),
        (TextStyle::Monospace, FontId::new(13.5, FontFamily::Monospace)),
    ]
    .into();
    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(8.0, 8.0);
    spacing.button_padding = vec2(12.0, 7.0);
    spacing.interact_size = Vec2::new(40.0, ROW);
    spacing.scroll = egui::style::ScrollStyle::thin();

    let visuals = &mut style.visuals;
    visuals.panel_fill = palette.page;
    visuals.window_fill = palette.page;
    visuals.window_stroke = Stroke::new(1.0, palette.line);
    visuals.window_corner_radius = CornerRadius::same(12);
    visuals.extreme_bg_color = palette.line;
    visuals.text_edit_bg_color = Some(palette.field);
    visuals.weak_text_color = Some(palette.weak);
    visuals.hyperlink_color = palette.accent;
    visuals.selection.bg_fill = palette.accent.gamma_multiply(0.35);
    visuals.selection.stroke = Stroke::new(1.0, palette.accent);
    let widgets = &mut visuals.widgets;
    let all = [
        &mut widgets.noninteractive,
        &mut widgets.inactive,
        &mut widgets.hovered,
        &mut widgets.active,
        &mut widgets.open,
    ];
    for widget in all {
        widget.corner_radius = ROUND;
        widget.expansion = 0.0;
        widget.fg_stroke = Stroke::new(1.0, palette.text);
        widget.bg_stroke = Stroke::new(1.0, palette.line);
        widget.bg_fill = palette.field;
        widget.weak_bg_fill = palette.field;
    }
    visuals.widgets.hovered.bg_stroke = Stroke::new(1.0, palette.accent);
    visuals.widgets.active.bg_stroke = Stroke::new(1.5, palette.accent);
    visuals.widgets.hovered.weak_bg_fill = palette.tint;
    visuals.widgets.active.weak_bg_fill = palette.tint;
}
