//! Bodies out of their codings.

use super::message::Answer;
use std::io::Read;

/// As much of `bytes` as can be decoded.
pub(crate) fn decoded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    // What is cut short ends with an error.
    let _ = match coding {
        "zstd" => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut body),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut body),
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut body),
        other => panic!("no such coding: {other}"),
    };
    body
}

impl Answer {
    /// The body as it was before it was encoded, if it was.
    pub(crate) fn content(&self) -> Vec<u8> {
        match self.head.get("content-encoding") {
            Some(coding) => decoded(coding, &self.body.data),
            None => self.body.data.clone(),
        }
    }
}
