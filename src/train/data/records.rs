//! A file of records, of which any one can be read.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::DataError;
use super::record::Record;
use crate::tensor::SpecialFile;

/// Maximum bytes of a record.
const MAX_RECORD: u64 = 64 << 20;

/// Bytes from which on a piece of plain text ends with the next line.
const PIECE: u64 = 32 << 10;

/// Maximum bytes of such a piece, if lines are long.
const MAX_PIECE: u64 = 1 << 20;

/// Bytes that are read at a time while a file is looked through.
const BLOCK: usize = 64 << 10;

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A JSON object a line.
    Lines,
    /// Text.
    Text,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, DataError> {
        match path.extension().map(|end| end.to_ascii_lowercase()) {
            Some(end) if end == "jsonl" => Ok(Self::Lines),
            Some(end) if end == "txt" => Ok(Self::Text),
            _ => Err(DataError::UnknownKind { path: path.into() }),
        }
    }
}

/// A file of records. It is looked through once; then each record is read when it is asked for, so that the file may
/// be larger than memory. Eight bytes are kept of each record.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    file: Mutex<File>,
    kind: Kind,
    /// Where records begin, and where the file ends.
    starts: Vec<u64>,
}

impl Records {
    /// Looks through a file: `.jsonl` has a JSON object a line, where blank lines are no records; `.txt` is plain text,
    /// which is cut into pieces of some 32 KiB at the ends of lines.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let kind = Kind::of(path)?;
        // Opening a pipe would wait for its writer.
        if let Some(kind) = SpecialFile::at(path) {
            return Err(DataError::Special { path: path.into(), kind });
        }
        let file = File::open(path).map_err(DataError::io(path))?;
        let starts = match kind {
            Kind::Lines => starts_of_lines(&file),
            Kind::Text => starts_of_pieces(&file),
        };
        let starts = starts.map_err(DataError::io(path))?;
        if starts.len() < 2 {
            return Err(DataError::Empty { path: path.into() });
        }
        Ok(Self { path: path.into(), file: Mutex::new(file), kind, starts })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of records, at least one.
    #[allow(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Reads record `i`, counted from 0.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    pub fn read(&self, i: usize) -> Result<Record, DataError> {
        let (start, end) = (self.starts[i], self.starts[i + 1]);
        if end - start > MAX_RECORD {
            return Err(self.wrong(i, format!("a record of more than {MAX_RECORD} bytes")));
        }
        let mut bytes = vec![0; (end - start) as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        drop(file);
        read.map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.wrong(i, "the file was cut short while it was read".into()),
            _ => DataError::io(&self.path)(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            self.wrong(i, format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
        })?;
        match self.kind {
            // The line that follows may be blank, and belongs to this record then.
            Kind::Lines => Record::of_json(text.trim()).map_err(|reason| self.wrong(i, reason)),
            Kind::Text => Ok(Record::Piece(text)),
        }
    }

    /// The line that record `i` begins with, counted from 1, as far as the file can still be read.
    ///
    /// # Panics
    ///
    /// If there is no such record.
    pub fn line(&self, i: usize) -> u64 {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut line, mut left, mut block) = (1, self.starts[i], vec![0; BLOCK]);
        let is_at_start = file.seek(SeekFrom::Start(0)).is_ok();
        while is_at_start && left > 0 {
            let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match file.read(&mut block[..most]) {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    line += block[..count].iter().filter(|&&byte| byte == b'\n').count() as u64;
                    left -= count as u64;
                }
            }
        }
        line
    }

    fn wrong(&self, i: usize, reason: String) -> DataError {
        DataError::Line { path: self.path.clone(), line: self.line(i), reason }
    }
}

/// Calls `each` with every byte of a file and its place, after a byte order mark if there is one.
fn each_byte(file: &File, mut each: impl FnMut(u64, u8)) -> std::io::Result<()> {
    let (mut reader, mut block, mut at) = (file, vec![0; BLOCK], 0u64);
    loop {
        let count = match reader.read(&mut block) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            count => count?,
        };
        let skipped = if at == 0 && block[..count].starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        for (i, &byte) in block[..count].iter().enumerate().skip(skipped) {
            each(at + i as u64, byte);
        }
        at += count as u64;
    }
}

/// Where lines begin that are not blank, and the end.
fn starts_of_lines(file: &File) -> std::io::Result<Vec<u64>> {
    let (mut starts, mut is_begun, mut end) = (Vec::new(), false, 0);
    each_byte(file, |at, byte| {
        if byte == b'\n' {
            is_begun = false;
        } else if !is_begun && !byte.is_ascii_whitespace() {
            is_begun = true;
            starts.push(at);
        }
        end = at + 1;
    })?;
    starts.push(end);
    Ok(starts)
}

/// Where pieces begin, and the end.
fn starts_of_pieces(file: &File) -> std::io::Result<Vec<u64>> {
    let (mut starts, mut ends_here, mut end) = (Vec::new(), true, 0);
    each_byte(file, |at, byte| {
        let is_inside = byte & 0xc0 == 0x80;
        let len = at - starts.last().copied().unwrap_or(at);
        if ends_here || (len >= MAX_PIECE && !is_inside) {
            starts.push(at);
        }
        let len = at + 1 - starts.last().copied().unwrap_or(at);
        ends_here = byte == b'\n' && len >= PIECE;
        end = at + 1;
    })?;
    starts.push(end);
    Ok(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, contents: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        (folder, path)
    }

    #[test]
    fn lines_are_records_and_blank_ones_are_none() {
        let text = "\u{feff}\n{\"text\": \"one\"}\r\n\n  \n {\"text\": \"two\"}\n{\"text\": \"three\"}";
        let (_folder, path) = written("train.jsonl", text);
        let records = Records::open(&path).unwrap();
        let read: Vec<_> = (0..records.len()).map(|i| records.read(i).unwrap()).collect();
        assert_eq!(read, ["one", "two", "three"].map(|text| Record::Text(text.into())));
        assert_eq!([0, 1, 2].map(|i| records.line(i)), [2, 5, 6]);
    }

    #[test]
    fn a_bad_line_is_named_by_file_and_number() {
        let (_folder, path) =
            written("train.jsonl", "{\"text\": \"one\"}\n\n{\"text\": 1}\n{\"text\": \"\u{e9}\"}\n");
        let records = Records::open(&path).unwrap();
        let error = records.read(1).unwrap_err().to_string();
        assert!(error.contains("train.jsonl, line 3: text is not a string"), "{error}");
        assert_eq!(records.read(2).unwrap(), Record::Text("\u{e9}".into()));
        // Cut in the middle of a character, and cut short while it is open.
        let bytes = std::fs::read(&path).unwrap();
        let (_other, cut) = written("cut.jsonl", &bytes[..bytes.len() - 4]);
        let error = Records::open(&cut).unwrap().read(2).unwrap_err().to_string();
        assert!(error.contains("line 4: not UTF-8"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        let error = records.read(2).unwrap_err().to_string();
        assert!(error.contains("cut short"), "{error}");
    }

    #[test]
    fn pieces_of_a_text_make_up_the_text() {
        let line = "A rooster crowed, and nobody but the \u{1f413} heard it. ".repeat(50);
        for end in ["\n", ""] {
            let text = format!("{line}{end}").repeat(800);
            let (_folder, path) = written("train.txt", &text);
            let records = Records::open(&path).unwrap();
            let pieces = (0..records.len()).map(|i| match records.read(i).unwrap() {
                Record::Piece(piece) => piece,
                other => panic!("{other:?}"),
            });
            let pieces: Vec<String> = pieces.collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() as u64 <= MAX_PIECE + 3));
            let whole_lines = pieces[..pieces.len() - 1].iter().all(|piece| piece.ends_with('\n'));
            assert_eq!(whole_lines, !end.is_empty());
        }
    }

    #[test]
    fn what_is_no_file_of_records_is_refused() {
        let (folder, path) = written("train.jsonl", "\n \n");
        assert!(matches!(Records::open(&path), Err(DataError::Empty { .. })));
        std::fs::write(&path, "").unwrap();
        assert!(matches!(Records::open(&path), Err(DataError::Empty { .. })));
        let other = folder.path().join("train.csv");
        assert!(matches!(Records::open(&other), Err(DataError::UnknownKind { .. })));
        let absent = folder.path().join("absent.txt");
        assert!(matches!(Records::open(&absent), Err(DataError::Io { .. })));
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe.jsonl");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert!(matches!(Records::open(&pipe), Err(DataError::Special { .. })));
        }
    }
}
