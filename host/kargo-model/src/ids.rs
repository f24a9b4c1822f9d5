//! Where the model's names and identifiers come from: a ULID per Promotion or AnalysisRun, a UUID per verification.
//! In go a seed and the time, out come ids that rise with time and repeat for the same seed.
//! It must not read a clock or a random source.

use jiff::Timestamp;
use ulid::Ulid;

/// A source of ids. Two ULIDs from one source sort in the order in which they were asked for, as long as the time
/// does not run backwards: Kargo's queue and its recording compare names.
pub trait IdSource {
    /// A ULID of 26 lower-case characters.
    fn ulid(&mut self, now: Timestamp) -> String;
    /// A UUID in the usual form.
    fn uuid(&mut self) -> String;
}

/// Ids that follow from a seed and a counter.
#[derive(Clone, Debug)]
pub struct SeededIds {
    seed: u64,
    counter: u64,
}

impl SeededIds {
    /// A source that gives the same ids for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    fn next(&mut self, salt: u64) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        mixed(self.seed ^ mixed(self.counter ^ salt))
    }
}

impl IdSource for SeededIds {
    fn ulid(&mut self, now: Timestamp) -> String {
        let noise = u128::from(self.next(1) & 0xff_ffff_ffff);
        let millis = u64::try_from(now.as_millisecond()).unwrap_or_default();
        // The counter in front keeps names made within one millisecond in order.
        let tail = (u128::from(self.counter) << 40) | noise;
        Ulid::from_parts(millis, tail).to_string().to_lowercase()
    }

    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(2), self.next(3));
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | (low >> 48) & 0x3fff,
            low & 0xffff_ffff_ffff,
        )
    }
}

/// SplitMix64's output function: every bit of the input moves every bit of the output.
fn mixed(value: u64) -> u64 {
    let a = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_of_one_millisecond_rise_and_repeat_for_the_same_seed() {
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let mut ids = SeededIds::new(7);
        let made: Vec<String> = (0..50).map(|_| ids.ulid(now)).collect();
        assert!(made.is_sorted(), "{made:?}");
        assert_eq!(made.first(), Some(&SeededIds::new(7).ulid(now)));
        assert!(made.iter().all(|id| id.len() == 26));
        assert_eq!(ids.uuid().len(), 36);
    }
}
