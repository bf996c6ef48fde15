//! `--context`: the maximum number of positions of a text.

use bantam::model::ModelConfig;

use super::print;

/// Parses a number of positions.
pub fn parse_context(text: &str) -> std::result::Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a context must have at least one position".into()),
        Ok(positions) => Ok(positions),
        Err(error) => Err(format!("{error}")),
    }
}

/// The positions to use. Warns if they are more than the model was made for.
pub fn room(wanted: Option<usize>, config: &ModelConfig) -> usize {
    let made_for = config.max_positions;
    let room = wanted.unwrap_or(made_for);
    if room > made_for {
        print::warning(format_args!(
            "the model was made for {made_for} positions (max_position_embeddings of its config.json), \
             not for {room}: its output beyond them may be nonsense"
        ));
    }
    room
}
