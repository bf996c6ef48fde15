//! Sequences of tokens, made of records.

use std::collections::VecDeque;

use super::encoder::{Example, RecordEncoder};
use super::error::DataError;
use super::order::shuffled;
use super::position::Position;
use super::records::Records;

/// How sequences are made of records.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceOptions {
    /// Maximum tokens of a sequence, at least one.
    pub length: usize,
    /// Whether sequences go on from one record to the next, so that all of them are full. Otherwise each record is a
    /// sequence, cut to the length.
    pub packs: bool,
    /// The seed of the order. Every epoch has an order of its own, and there is no end. Without a seed, records come
    /// once, as they are in the file.
    pub seed: Option<u64>,
}

impl Default for SequenceOptions {
    fn default() -> Self {
        Self { length: 512, packs: true, seed: None }
    }
}

setters!(SequenceOptions { length: usize => with_length, packs: bool => with_packs, seed: Option<u64> => with_seed });

/// A sequence of tokens, and what should follow each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sequence {
    /// The tokens that a model is given.
    pub inputs: Vec<u32>,
    /// For each, the token that follows it; `None` if that does not count towards the loss.
    pub targets: Vec<Option<u32>>,
}

/// What sequences were made of so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SequenceCounts {
    /// Records that were read.
    pub records: u64,
    /// Sequences that were given out.
    pub sequences: u64,
    /// Tokens of these.
    pub tokens: u64,
    /// Tokens that count towards the loss.
    pub targets: u64,
    /// Records that were cut to the length.
    pub truncated_records: u64,
    /// Tokens that were cut off.
    pub truncated_tokens: u64,
    /// Sequences without a target, which were left out.
    pub without_targets: u64,
}

/// A token of a record, and where it is.
#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    counts: bool,
    at: Position,
}

/// Gives out the sequences of a file.
#[derive(Debug)]
pub struct Sequences {
    records: Records,
    encoder: RecordEncoder,
    options: SequenceOptions,
    /// The epoch's order; empty where records come as they are in the file.
    order: Vec<usize>,
    /// The record that is read next.
    next: Position,
    /// Tokens that were read and not yet given out as inputs.
    tokens: VecDeque<Token>,
    counts: SequenceCounts,
    /// Records in a row that had nothing to learn.
    barren: usize,
}

impl Sequences {
    /// The sequences of `records` from `position` on.
    pub fn new(
        records: Records,
        encoder: RecordEncoder,
        options: SequenceOptions,
        position: Position,
    ) -> Result<Self, DataError> {
        let options = SequenceOptions { length: options.length.max(1), ..options };
        let mut sequences = Self {
            order: options.seed.map_or(Vec::new(), |seed| shuffled(seed, position.epoch, records.len())),
            next: Position { token: 0, ..position },
            records,
            encoder,
            options,
            tokens: VecDeque::new(),
            counts: SequenceCounts::default(),
            barren: 0,
        };
        let lost = |sequences: &Self| DataError::Position {
            path: sequences.records.path().into(),
            records: sequences.records.len(),
            position,
        };
        if position.record > sequences.records.len() {
            return Err(lost(&sequences));
        }
        if position.token > 0 {
            let is_read = sequences.read_record()?;
            if !is_read || position.token >= sequences.tokens.len() {
                return Err(lost(&sequences));
            }
            sequences.tokens.drain(..position.token);
            sequences.counts = SequenceCounts::default();
        }
        Ok(sequences)
    }

    /// Where the next sequence begins.
    pub fn position(&self) -> Position {
        self.tokens.front().map_or(self.next, |token| token.at)
    }

    /// What was read and given out.
    pub fn counts(&self) -> SequenceCounts {
        self.counts
    }

    /// The next sequence; `None` at the end of records that come once.
    pub fn next_sequence(&mut self) -> Result<Option<Sequence>, DataError> {
        loop {
            let is_there = if self.options.packs { self.fill()? } else { self.take_record()? };
            if !is_there {
                return match self.counts.targets {
                    0 if self.counts.records > 0 => Err(self.no_targets()),
                    _ => Ok(None),
                };
            }
            let count = self.options.length.min(self.tokens.len().saturating_sub(1));
            let inputs: Vec<u32> = self.tokens.iter().take(count).map(|token| token.id).collect();
            let target = |token: &Token| token.counts.then_some(token.id);
            let targets: Vec<_> = self.tokens.iter().skip(1).take(count).map(target).collect();
            // The last target is the first input of the next sequence.
            self.tokens.drain(..count);
            if !self.options.packs {
                self.tokens.clear();
            }
            let learned = targets.iter().flatten().count() as u64;
            if learned == 0 {
                self.counts.without_targets += 1;
                continue;
            }
            self.counts.sequences += 1;
            self.counts.tokens += count as u64;
            self.counts.targets += learned;
            return Ok(Some(Sequence { inputs, targets }));
        }
    }

    /// Reads records until a sequence is full. Whether there is anything.
    fn fill(&mut self) -> Result<bool, DataError> {
        while self.tokens.len() <= self.options.length && self.read_record()? {}
        Ok(self.tokens.len() > 1)
    }

    /// Reads one record, and cuts it to the length. Whether there was one.
    fn take_record(&mut self) -> Result<bool, DataError> {
        self.tokens.clear();
        if !self.read_record()? {
            return Ok(false);
        }
        let cut = self.tokens.len().saturating_sub(self.options.length + 1);
        if cut > 0 {
            self.counts.truncated_records += 1;
            self.counts.truncated_tokens += cut as u64;
            self.tokens.truncate(self.options.length + 1);
        }
        self.note(self.tokens.iter().any(|token| token.counts))?;
        Ok(true)
    }

    /// Appends the tokens of the next record. Whether there was one.
    fn read_record(&mut self) -> Result<bool, DataError> {
        if self.next.record == self.records.len() {
            let Some(seed) = self.options.seed else { return Ok(false) };
            self.next = Position { epoch: self.next.epoch + 1, record: 0, token: 0 };
            self.order = shuffled(seed, self.next.epoch, self.records.len());
        }
        let at = self.next;
        let i = self.order.get(at.record).copied().unwrap_or(at.record);
        let Example { tokens, counts } = self.encoder.encode(&self.records, i)?;
        if self.options.packs {
            self.note(counts.contains(&true))?;
        }
        let all = tokens.into_iter().zip(counts).enumerate();
        self.tokens.extend(all.map(|(token, (id, counts))| Token {
            id,
            counts,
            at: Position { token, ..at },
        }));
        self.next.record += 1;
        self.counts.records += 1;
        Ok(true)
    }

    /// Notes whether a record has something to learn. An error if none has.
    fn note(&mut self, has_targets: bool) -> Result<(), DataError> {
        self.barren = if has_targets { 0 } else { self.barren + 1 };
        if self.barren > self.records.len() { Err(self.no_targets()) } else { Ok(()) }
    }

    fn no_targets(&self) -> DataError {
        DataError::NoTargets { path: self.records.path().into(), length: self.options.length }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::text::{ChatTemplate, Tokenizer};

    fn tokenizer() -> Tokenizer {
        Tokenizer::open(&demo()).unwrap()
    }

    fn demo() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo")
    }

    /// The sequences of a file with this name and contents.
    fn sequences(
        (name, contents): (&str, &str),
        completions_only: bool,
        options: SequenceOptions,
        position: Position,
    ) -> Result<Sequences, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        let template = ChatTemplate::open(&demo()).unwrap();
        let encoder = RecordEncoder::new(tokenizer(), template, completions_only);
        // The file stays open.
        Sequences::new(Records::open(&path)?, encoder, options, position)
    }

    /// Up to `most` sequences, and the position before each.
    fn taken(sequences: &mut Sequences, most: usize) -> Vec<(Position, Sequence)> {
        let mut all = Vec::new();
        while all.len() < most {
            let position = sequences.position();
            match sequences.next_sequence().unwrap() {
                Some(sequence) => all.push((position, sequence)),
                None => break,
            }
        }
        all
    }

    /// Texts of very different length.
    fn texts(count: usize) -> String {
        let text = |i: usize| "the rooster went out to look for corn ".repeat(1 + i * i % 9) + &i.to_string();
        (0..count).map(|i| format!("{{\"text\": \"{}\"}}\n", text(i))).collect()
    }

    fn targets_text(sequence: &Sequence) -> String {
        let targets: Vec<u32> = sequence.targets.iter().flatten().copied().collect();
        tokenizer().decode_with_special(&targets).unwrap()
    }

    #[test]
    fn packed_sequences_are_all_of_the_tokens_in_order() {
        let texts = texts(12);
        let options = SequenceOptions::default().with_length(20);
        let mut packed = sequences(("a.jsonl", &texts), false, options.clone(), Position::default()).unwrap();
        let all = taken(&mut packed, usize::MAX);
        let mut whole = sequences(
            ("a.jsonl", &texts),
            false,
            options.with_packs(false).with_length(9999),
            Position::default(),
        )
        .unwrap();
        let records = taken(&mut whole, usize::MAX);
        assert_eq!(records.len(), 12);
        assert!(all[..all.len() - 1].iter().all(|(_, sequence)| sequence.inputs.len() == 20));
        // One target is left out between records, and is the next one's beginning.
        let of_all = |all: &[(Position, Sequence)]| -> Vec<u32> {
            all.iter().flat_map(|(_, sequence)| sequence.targets.iter().flatten().copied()).collect()
        };
        assert_eq!(of_all(&all), of_all(&records));
        for (_, Sequence { inputs, targets }) in &all {
            let following =
                inputs[1..].iter().zip(targets).filter_map(|(input, target)| Some((input, (*target)?)));
            assert!(following.into_iter().all(|(input, target)| *input == target));
        }
        assert_eq!(packed.counts().tokens, all.iter().map(|(_, s)| s.inputs.len() as u64).sum::<u64>());
        assert_eq!((packed.counts().records, packed.counts().truncated_records), (12, 0));
    }

    #[test]
    fn going_on_from_any_position_gives_the_same_sequences() {
        for packs in [true, false] {
            for seed in [None, Some(7)] {
                let options = SequenceOptions::default().with_length(17).with_packs(packs).with_seed(seed);
                let texts = texts(9);
                let from =
                    |position| sequences(("a.jsonl", &texts), false, options.clone(), position).unwrap();
                let all = taken(&mut from(Position::default()), 40);
                assert!(seed.is_none() || (all.len() == 40 && all[39].0.epoch > 0));
                for (i, (position, _)) in all.iter().enumerate() {
                    let position: Position =
                        serde_json::from_value(serde_json::to_value(position).unwrap()).unwrap();
                    assert_eq!(
                        taken(&mut from(position), all.len() - i),
                        all[i..],
                        "{packs} {seed:?} {position:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_position_that_the_file_does_not_have_is_an_error() {
        for position in [
            Position { epoch: 0, record: 4, token: 0 },
            Position { epoch: 0, record: 3, token: 1 },
            Position { epoch: 0, record: 0, token: 500 },
        ] {
            let error =
                sequences(("a.jsonl", &texts(3)), false, SequenceOptions::default(), position).unwrap_err();
            assert!(error.to_string().contains("has changed"), "{error}");
        }
    }

    #[test]
    fn only_completions_count_where_that_is_asked_for() {
        let conversation = r#"{"messages": [{"role": "user", "content": "hello"},
            {"role": "assistant", "content": "good day"}, {"role": "user", "content": "more"},
            {"role": "assistant", "content": "corn"}]}"#
            .replace('\n', " ");
        let completion = r#"{"prompt": "hello", "completion": "good day"}"#;
        let options = SequenceOptions::default().with_packs(false);
        let targets = |line: &str, completions_only| {
            let position = Position::default();
            let mut all = sequences(("a.jsonl", line), completions_only, options.clone(), position).unwrap();
            targets_text(&all.next_sequence().unwrap().unwrap())
        };
        assert_eq!(targets(&conversation, true), "good day</s>corn</s>");
        let whole = targets(&conversation, false);
        assert!(whole.contains("hello") && whole.contains("more") && whole.ends_with("corn</s>"), "{whole}");
        assert_eq!(targets(completion, true), "good day</s>");
        assert!(targets(completion, false).contains("hello"));
        // Without a template, a prompt and its completion are one text.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, r#"{"prompt": "hello", "completion": " and good day"}"#).unwrap();
        let encoder = RecordEncoder::new(tokenizer(), None, true);
        let mut all =
            Sequences::new(Records::open(&path).unwrap(), encoder, options, Position::default()).unwrap();
        assert_eq!(targets_text(&all.next_sequence().unwrap().unwrap()).trim(), "and good day</s>");
        std::fs::write(&path, &conversation).unwrap();
        let encoder = RecordEncoder::new(tokenizer(), None, true);
        let error = encoder.encode(&Records::open(&path).unwrap(), 0).unwrap_err().to_string();
        assert!(error.contains("line 1: has messages, but the model has no chat template"), "{error}");
    }

    #[test]
    fn what_is_cut_off_is_counted_and_data_without_targets_is_an_error() {
        let options = SequenceOptions::default().with_length(8).with_packs(false);
        let mut cut = sequences(("a.jsonl", &texts(9)), false, options.clone(), Position::default()).unwrap();
        let all = taken(&mut cut, usize::MAX);
        assert!(all.iter().all(|(_, sequence)| sequence.inputs.len() == 8));
        assert!(
            cut.counts().truncated_records == 9 && cut.counts().truncated_tokens > 100,
            "{:?}",
            cut.counts()
        );
        // The completions begin behind what is cut.
        let line =
            format!("{{\"prompt\": \"{}\", \"completion\": \"yes\"}}\n", "hello ".repeat(30)).repeat(3);
        for seed in [None, Some(1)] {
            let options = options.clone().with_seed(seed);
            let mut none = sequences(("a.jsonl", &line), true, options, Position::default()).unwrap();
            let error = none.next_sequence().unwrap_err();
            assert!(matches!(error, DataError::NoTargets { length: 8, .. }), "{error}");
        }
        let packed = options.with_packs(true).with_seed(Some(1));
        let mut some = sequences(("a.jsonl", &line), true, packed, Position::default()).unwrap();
        assert!(taken(&mut some, 9).iter().all(|(_, sequence)| sequence.targets.iter().any(Option::is_some)));
        assert!(some.counts().without_targets > 0);
    }

    #[test]
    fn plain_text_is_learned_from_its_beginning_to_its_end() {
        let text = "A rooster crowed.\nNobody heard it but the moon.\n".repeat(2000);
        let options = SequenceOptions::default().with_length(64);
        let mut all = sequences(("a.txt", &text), true, options, Position::default()).unwrap();
        let sequences = taken(&mut all, usize::MAX);
        assert!(all.counts().records > 2);
        let learned: u64 = sequences.iter().map(|(_, s)| s.targets.iter().flatten().count() as u64).sum();
        // The first token of a piece follows nothing.
        let tokens = all.counts().tokens + 1;
        assert_eq!(learned, tokens - all.counts().records);
    }
}
