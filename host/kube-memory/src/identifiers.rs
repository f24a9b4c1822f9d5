//! What kube-apiserver draws at random, drawn from the seed instead.
//!
//! In: the seed and how many were drawn before. Out: uids and suffixes of generated names.
//! The same seed and the same order of requests give the same ones; nothing else does.

use sha2::{Digest as _, Sha256};

/// Letters of generated names (`apimachinery/pkg/util/rand`): no vowels, so that no words come out.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters that are added to a `generateName` (`apiserver/pkg/storage/names/generate.go`).
const SUFFIX_LETTERS: usize = 5;
/// Longest part of a `generateName` that is kept, by the same source.
const LONGEST_BASE: usize = 58;

/// Draws in order.
#[derive(Debug)]
pub(crate) struct Identifiers {
    seed: u64,
    drawn: u64,
}

impl Identifiers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn = self.drawn.saturating_add(1);
        let mut digest = Sha256::new();
        digest.update(self.seed.to_be_bytes());
        digest.update(self.drawn.to_be_bytes());
        digest.finalize().into()
    }

    /// A version 4 UUID by its form.
    pub(crate) fn uid(&mut self) -> String {
        let text = hex::encode(self.draw());
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
    }

    /// A name that begins with `base`.
    pub(crate) fn name(&mut self, base: &str) -> String {
        let mut name = base.get(..LONGEST_BASE).unwrap_or(base).to_owned();
        for byte in self.draw().iter().take(SUFFIX_LETTERS) {
            let letter = ALPHABET.get(usize::from(*byte) % ALPHABET.len());
            name.push(letter.map_or('x', |letter| char::from(*letter)));
        }
        name
    }
}
