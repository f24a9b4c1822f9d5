//! Random numbers that are the same in every replay.
//!
//! In: the seed of a context. Out: a sequence of numbers, by the xoshiro128** recurrence, which needs 32-bit
//! arithmetic only. Not for secrets. Nothing here reads randomness from anywhere.

/// A generator of random numbers, seeded by [`crate::Context::seed`].
///
/// ```
/// use refloat_policy::Random;
///
/// let mut random = Random::new((1, 2, 3, 4));
/// let pause = 10 + random.below(21);
/// assert!((10..=30).contains(&pause));
/// assert_eq!(Random::new((1, 2, 3, 4)).below(21), pause - 10);
/// ```
#[derive(Clone, Debug)]
pub struct Random {
    state: [u32; 4],
}

impl Random {
    /// A generator for this seed. Equal seeds give equal sequences.
    ///
    /// ```
    /// let random = refloat_policy::Random::new((0, 0, 0, 0));
    /// ```
    pub fn new(seed: (u32, u32, u32, u32)) -> Self {
        // A recurrence that starts at zero stays there, and small seeds start slowly; the odd constants and the first
        // rounds take care of both.
        let mut random = Self { state: [seed.0 ^ 0x9e37_79b9, seed.1 ^ 0x85eb_ca6b, seed.2, seed.3 | 1] };
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// The next number, each equally likely.
    ///
    /// ```
    /// let mut random = refloat_policy::Random::new((1, 2, 3, 4));
    /// assert_ne!(random.next(), random.next());
    /// ```
    #[expect(clippy::should_implement_trait, reason = "a generator never ends, so it is no iterator")]
    pub fn next(&mut self) -> u32 {
        let [a, b, c, d] = self.state;
        let number = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 9), d.rotate_left(11)];
        number
    }

    /// A number from 0 to `limit` - 1; 0 when `limit` is 0.
    ///
    /// ```
    /// let mut random = refloat_policy::Random::new((1, 2, 3, 4));
    /// assert!(random.below(6) < 6);
    /// ```
    pub fn below(&mut self, limit: u32) -> u32 {
        // The high half of the product; its bias is below one in 2^32 / limit, far less than any pause needs.
        ((u64::from(self.next()) * u64::from(limit)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_gives_a_sequence_of_its_own() {
        let first = |seed| Random::new(seed).next();
        let mut numbers: Vec<u32> = (0..64).map(|n| first((n, 0, 0, 0))).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 64);
    }

    #[test]
    fn numbers_spread_over_the_whole_range() {
        let mut random = Random::new((0, 0, 0, 0));
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
