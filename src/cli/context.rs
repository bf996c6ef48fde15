//! `--context`: how many positions a text may have.

use bantam::model::ModelConfig;

use super::print;

/// A number of positions.
pub fn parse_context(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a context has at least one position".into()),
        Ok(positions) => Ok(positions),
        Err(error) => Err(format!("{error}")),
    }
}

/// Positions there may be.
pub fn room(wanted: Option<usize>, config: &ModelConfig) -> usize {
    let made_for = config.max_positions;
    let room = wanted.unwrap_or(made_for);
    if room > made_for {
        print::warning(format_args!(
            "the model was made for {made_for} positions (max_position_embeddings of its config.json), \
             not for {room}: what it writes beyond them may be nonsense"
        ));
    }
    room
}
