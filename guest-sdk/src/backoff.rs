//! How long to wait before the next attempt.
//!
//! In: a rule and the number of attempts so far. Out: whole seconds. Pure: the jitter comes from the seed.

use crate::Random;

/// A pause that grows with every attempt.
///
/// ```
/// use refloat_policy::{Backoff, Jitter};
///
/// let rule = Backoff { base_seconds: 30, factor: 2.0, cap_seconds: 1_800, jitter: Jitter::None };
/// let pauses: Vec<u32> = (0..4).map(|attempt| rule.delay_seconds(attempt, (1, 2, 3, 4))).collect();
/// assert_eq!(pauses, [30, 60, 120, 240]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The pause before the first attempt, in seconds, before jitter.
    pub base_seconds: u32,
    /// What each further pause is multiplied by.
    pub factor: f64,
    /// The longest pause, in seconds.
    pub cap_seconds: u32,
    /// How much of it is left to chance.
    pub jitter: Jitter,
}

/// How much of a pause is left to chance, so that what failed together does not come back together.
///
/// ```
/// use refloat_policy::Jitter;
///
/// assert_eq!(Jitter::from_name("equal"), Some(Jitter::Equal));
/// assert_eq!(Jitter::from_name("some"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from [`Backoff::FLOOR_SECONDS`] to the whole pause.
    Full,
    /// Anything from half the pause to the whole.
    Equal,
    /// Nothing.
    None,
}

impl Jitter {
    /// The jitter of that name: `full`, `equal` or `none`.
    ///
    /// ```
    /// assert_eq!(refloat_policy::Jitter::from_name("full"), Some(refloat_policy::Jitter::Full));
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "full" => Some(Self::Full),
            "equal" => Some(Self::Equal),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

impl Backoff {
    /// No delivery starts sooner: the host raises every pause to this, so a shorter one would only make the sentence
    /// about it wrong.
    pub const FLOOR_SECONDS: u32 = 10;

    /// The pause, in seconds, after `attempt` attempts: 0 for the first one. The same seed gives the same pause.
    ///
    /// ```
    /// use refloat_policy::{Backoff, Jitter};
    ///
    /// let rule = Backoff { base_seconds: 30, factor: 2.0, cap_seconds: 1_800, jitter: Jitter::Full };
    /// assert!((10..=30).contains(&rule.delay_seconds(0, (1, 2, 3, 4))));
    /// ```
    pub fn delay_seconds(&self, attempt: u32, seed: (u32, u32, u32, u32)) -> u32 {
        let whole = self.whole_seconds(attempt);
        let least = match self.jitter {
            Jitter::Full => Self::FLOOR_SECONDS.min(whole),
            Jitter::Equal => whole / 2,
            Jitter::None => whole,
        };
        let mut random = Random::new((seed.0, seed.1, seed.2, seed.3.wrapping_add(attempt << 1)));
        (least + random.below((whole - least).saturating_add(1))).max(Self::FLOOR_SECONDS)
    }

    /// The pause before jitter. Multiplied step by step: `powi` may round differently from one machine to the next.
    fn whole_seconds(&self, attempt: u32) -> u32 {
        let cap = f64::from(self.cap_seconds);
        let mut pause = f64::from(self.base_seconds).min(cap);
        for _ in 0..attempt.min(64) {
            pause = (pause * self.factor).min(cap);
        }
        pause as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(jitter: Jitter) -> Backoff {
        Backoff { base_seconds: 30, factor: 2.0, cap_seconds: 100, jitter }
    }

    #[test]
    fn pauses_grow_up_to_the_cap() {
        let pauses: Vec<u32> =
            [0, 1, 2, 60].map(|n| rule(Jitter::None).delay_seconds(n, (0, 0, 0, 0))).to_vec();
        assert_eq!(pauses, [30, 60, 100, 100]);
    }

    #[test]
    fn jitter_keeps_to_its_bounds_and_uses_them() {
        for (jitter, bounds) in [(Jitter::Full, 10..=30), (Jitter::Equal, 15..=30)] {
            let pauses: Vec<u32> = (0..500).map(|n| rule(jitter).delay_seconds(0, (n, 0, 0, 0))).collect();
            assert!(pauses.iter().all(|pause| bounds.contains(pause)), "{jitter:?} {pauses:?}");
            assert!(pauses.contains(bounds.start()) && pauses.contains(bounds.end()), "{jitter:?}");
        }
    }

    #[test]
    fn a_factor_below_one_shrinks_to_the_floor() {
        let rule = Backoff { factor: 0.5, ..rule(Jitter::None) };
        assert_eq!(rule.delay_seconds(9, (0, 0, 0, 0)), Backoff::FLOOR_SECONDS);
    }
}
