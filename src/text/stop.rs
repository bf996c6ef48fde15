//! Ends a text at stop strings.

/// Returns text as it arrives, up to the first stop string. Text that may be the beginning of one is withheld
/// until more text has arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Ignores empty strings, which every text contains.
    pub fn new(strings: impl IntoIterator<Item = String>) -> Self {
        Self { strings: strings.into_iter().filter(|s| !s.is_empty()).collect(), held: String::new() }
    }

    /// Takes more text, and returns the text before any stop string, and whether one was found: the text ends
    /// there.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held += text;
        let found = self.strings.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = found {
            let mut held = std::mem::take(&mut self.held);
            held.truncate(at);
            return (held, true);
        }
        let free = self.held.len() - self.may_begin_one();
        let later = self.held.split_off(free);
        (std::mem::replace(&mut self.held, later), false)
    }

    /// Returns the withheld text, when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The number of bytes at the end of the withheld text that are the beginning of a stop string.
    fn may_begin_one(&self) -> usize {
        let held = self.held.as_str();
        let of = |stop: &String| {
            let lengths = (1..stop.len()).rev().filter(|&len| stop.is_char_boundary(len));
            lengths.into_iter().find(|&len| held.ends_with(&stop[..len])).unwrap_or(0)
        };
        self.strings.iter().map(of).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces that are returned, and whether a stop string ended the text.
    fn cut(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut strings = StopStrings::new(stops.iter().map(|stop| stop.to_string()));
        let mut out = Vec::new();
        for piece in pieces {
            let (text, found) = strings.push(piece);
            out.push(text);
            if found {
                return (out, true);
            }
        }
        out.push(strings.finish());
        (out, false)
    }

    fn owned(pieces: &[&str]) -> Vec<String> {
        pieces.iter().map(|piece| piece.to_string()).collect()
    }

    #[test]
    fn text_ends_before_the_first_of_several_however_it_is_cut() {
        assert_eq!(cut(&["b", "a"], &["xxaxb"]), (owned(&["xx"]), true));
        assert_eq!(
            cut(&["\nUser:"], &["Hi", "\n", "Us", "er", ": no"]),
            (owned(&["Hi", "", "", "", ""]), true)
        );
        let text = "ab🦀cabcab";
        for stop in ["abc", "🦀c", "b🦀", "cab"] {
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (out, found) = cut(&[stop], &pieces);
            assert_eq!((out.concat().as_str(), found), (&text[..text.find(stop).unwrap()], true), "{stop}");
        }
    }

    #[test]
    fn what_only_began_like_one_is_given_out() {
        assert_eq!(cut(&["aab"], &["aaa", "ab"]), (owned(&["a", "a"]), true));
        assert_eq!(cut(&["aab"], &["a", "a", "c"]), (owned(&["", "", "aac", ""]), false));
        assert_eq!(cut(&["end"], &["the e", "n"]), (owned(&["the ", "", "en"]), false));
        assert_eq!(cut(&[""], &["all"]), (owned(&["all", ""]), false));
    }
}
