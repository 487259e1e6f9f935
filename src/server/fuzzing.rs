//! Random inputs for readers of what strangers send. Each case follows from a seed, which a failure prints.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::store::testing::steps;

/// How many there are of each kind of input where `WEIR_MODEL_STEPS` says nothing else.
const CASES: usize = 100_000;

/// So many eighths of a kind's random cases, each with a source of its own.
pub fn cases(eighths: usize, check: impl Fn(&mut Random)) {
    let cases = u32::try_from(steps(CASES) * eighths / 8).unwrap_or(u32::MAX);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&any::<u64>(), |seed| {
        check(&mut Random(seed));
        Ok(())
    });
    checked.unwrap();
}

/// Numbers that follow from a seed (splitmix64), which a failure prints. Strategies for every byte would take most of the time.
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
