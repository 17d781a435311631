//! Hashes of column chunks and pages, and where the footer keeps them (clauses CH-1 to CH-4).
//!
//! A chunk's hash serves two ends: whoever reads the chunk knows that it is undamaged, and two chunks with the
//! same hash have the same content, so that a diff skips them. For the second, what decides how bytes become
//! values is hashed along. A page's hash lets a lookup trust the one page that it reads. (Parquet has page CRCs
//! for that, but the library that writes the pages does not write them.)

use crate::model::Fingerprint;
use parquet::basic::CompressionCodec;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// Footer metadata: the format version.
pub(super) const FORMAT_KEY: &str = "pitlane.format";
/// Footer metadata: the fingerprint of the type of the values.
pub(super) const SCHEMA_KEY: &str = "pitlane.schema";
/// Footer metadata: the hashes of the column chunks.
pub(super) const CHUNKS_KEY: &str = "pitlane.chunks";
/// Footer metadata: the hashes of the pages.
pub(super) const PAGES_KEY: &str = "pitlane.pages";
/// Footer metadata: the number of key groups after which a row group ends; 0 if that is not fixed.
pub(super) const STRIDE_KEY: &str = "pitlane.stride";

/// Starts the hash of a column chunk (clause CH-1).
pub(super) fn chunk_hasher(chunk: &ColumnChunkMetaData) -> Xxh3 {
    let mut hasher = Xxh3::new();
    let codec: CompressionCodec = chunk.compression_codec();
    hasher.update(&(codec as i32).to_le_bytes());
    hasher.update(&(chunk.column_type() as i32).to_le_bytes());
    hasher.update(&chunk.encodings_mask().as_i32().to_le_bytes());
    hasher
}

/// Returns the hash of a page, given with its header (clause CH-3).
pub(super) fn page_hash(page: &[u8]) -> u32 {
    short(xxh3_64(page))
}

/// Cuts a 64-bit hash to what the footer keeps.
pub(super) fn short(hash: u64) -> u32 {
    hash as u32
}

/// The hashes of a state file, in the order of row groups, leaf columns and pages.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hashes {
    pub(super) chunks: Vec<u128>,
    pub(super) pages: Vec<u32>,
}

impl Hashes {
    /// Returns the footer metadata that hold the hashes.
    pub(super) fn to_metadata(&self) -> [KeyValue; 2] {
        let chunks: String = self.chunks.iter().map(|hash| format!("{hash:032x}")).collect();
        let pages: String = self.pages.iter().map(|hash| format!("{hash:08x}")).collect();
        [KeyValue::new(CHUNKS_KEY.to_owned(), chunks), KeyValue::new(PAGES_KEY.to_owned(), pages)]
    }

    /// Reads what [`to_metadata`](Self::to_metadata) made.
    pub(super) fn parse(chunks: &str, pages: &str) -> Option<Self> {
        let chunks = words::<32>(chunks)?.map(|hex| Some(number(&hex[..16])? << 64 | number(&hex[16..])?));
        let pages = words::<8>(pages)?.map(|hex| number(hex).map(|hash| hash as u32));
        Some(Self { chunks: chunks.collect::<Option<_>>()?, pages: pages.collect::<Option<_>>()? })
    }
}

/// Splits text into words of one length.
fn words<const N: usize>(text: &str) -> Option<impl Iterator<Item = &[u8; N]>> {
    let (words, rest) = text.as_bytes().as_chunks::<N>();
    rest.is_empty().then(|| words.iter())
}

/// Reads up to 16 lower-case hexadecimal digits. A file has tens of thousands of them, whenever it is opened.
fn number(digits: &[u8]) -> Option<u128> {
    /// The digit that a byte is, or 255.
    const DIGITS: [u8; 256] = {
        let mut digits = [255; 256];
        let mut digit = 0;
        while digit < 16 {
            digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
            digit += 1;
        }
        digits
    };
    let (mut number, mut wrong) = (0_u64, 0);
    for byte in digits {
        let digit = DIGITS[usize::from(*byte)];
        wrong |= digit;
        number = number << 4 | u64::from(digit & 15);
    }
    (wrong < 16).then_some(number.into())
}

/// Returns the footer metadata that every state file has.
pub(super) fn file_metadata(fingerprint: Fingerprint, stride: u16) -> Vec<KeyValue> {
    let (major, minor) = super::FORMAT;
    let fingerprint = crate::model::Digest(fingerprint.0).to_string();
    vec![
        KeyValue::new(FORMAT_KEY.to_owned(), format!("{major}.{minor}")),
        KeyValue::new(SCHEMA_KEY.to_owned(), fingerprint),
        KeyValue::new(STRIDE_KEY.to_owned(), stride.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clause CH-4.
    #[test]
    fn text_that_holds_no_hashes_is_refused() {
        for (chunks, pages) in
            [("0", ""), ("", "0000000"), ("", "0000000G"), ("", "0000000A"), ("", "+0000000")]
        {
            assert_eq!(Hashes::parse(chunks, pages), None, "{chunks:?} {pages:?}");
        }
        assert_eq!(Hashes::parse(&"ä".repeat(16), ""), None);
    }

    /// Clause CH-4.
    #[test]
    fn hashes_read_back_from_the_footer() {
        let hashes = Hashes { chunks: vec![0, u128::MAX, 0xAB], pages: vec![7, u32::MAX] };
        let [chunks, pages] = hashes.to_metadata();
        let text = |pair: &KeyValue| pair.value.clone().unwrap();
        assert_eq!(Hashes::parse(&text(&chunks), &text(&pages)), Some(hashes));
        assert_eq!(Hashes::parse("", ""), Some(Hashes::default()));
    }
}
