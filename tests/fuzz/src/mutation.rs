//! Mutations: small and not so small changes of valid inputs.

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Inputs do not grow beyond this.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// The most mutations of one input.
const MUTATIONS_MAX: usize = 6;

/// Numbers at which lengths, counts and heights go wrong.
const NUMBERS: [u64; 16] =
    [0, 1, 2, 16, 17, 64, 65, 128, 129, 256, 1_024, 1_025, 1 << 20, (1 << 31) - 1, u32::MAX as u64, u64::MAX];

/// One change. Places are relative, so that a mutation fits any input.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    /// Flips one bit.
    FlipBit(Index),
    /// Replaces one byte.
    Replace(Index, u8),
    /// Writes a little-endian number of so many bytes over what is there.
    Number(Index, usize, u64),
    /// Adds bytes.
    Insert(Index, Vec<u8>),
    /// Adds one of the target's tokens.
    Token(Index, Index),
    /// Leaves out what is between two places.
    Remove(Index, Index),
    /// Repeats what is between two places so many times.
    Repeat(Index, Index, u8),
    /// Goes on with the end of another seed.
    Splice(Index, Index, Index),
    /// Ends early.
    Truncate(Index),
}

/// A seed, by its place, and what is done to it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    seed: Index,
    mutations: Vec<Mutation>,
}

impl Case {
    /// The input that this stands for.
    pub(crate) fn input(&self, seeds: &[Vec<u8>], tokens: &[&str]) -> Vec<u8> {
        let mut input = self.seed.get(seeds).clone();
        for mutation in &self.mutations {
            mutation.apply(&mut input, seeds, tokens);
            input.truncate(INPUT_BYTES_MAX);
        }
        input
    }
}

impl Mutation {
    fn apply(&self, input: &mut Vec<u8>, seeds: &[Vec<u8>], tokens: &[&str]) {
        let place = |index: &Index, length: usize| index.index(length + 1);
        let between = |input: &[u8], a: &Index, b: &Index| {
            let (a, b) = (place(a, input.len()), place(b, input.len()));
            a.min(b)..a.max(b)
        };
        match self {
            Mutation::FlipBit(at) if !input.is_empty() => {
                let bit = at.index(8 * input.len());
                input[bit / 8] ^= 1 << (bit % 8);
            }
            Mutation::Replace(at, byte) if !input.is_empty() => {
                let at = at.index(input.len());
                input[at] = *byte;
            }
            Mutation::FlipBit(_) | Mutation::Replace(..) => {}
            Mutation::Number(at, width, value) => {
                let at = place(at, input.len());
                let end = input.len().min(at + width);
                input[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            Mutation::Insert(at, bytes) => {
                let at = place(at, input.len());
                input.splice(at..at, bytes.iter().copied());
            }
            Mutation::Token(at, token) => {
                if !tokens.is_empty() {
                    let at = place(at, input.len());
                    input.splice(at..at, token.get(tokens).bytes());
                }
            }
            Mutation::Remove(a, b) => drop(input.drain(between(input, a, b))),
            Mutation::Repeat(a, b, times) => {
                let range = between(input, a, b);
                let part = input[range.clone()].repeat(usize::from(*times));
                input.splice(range.end..range.end, part);
            }
            Mutation::Splice(seed, at, from) => {
                let other = seed.get(seeds);
                input.truncate(place(at, input.len()));
                input.extend_from_slice(&other[place(from, other.len())..]);
            }
            Mutation::Truncate(at) => input.truncate(place(at, input.len())),
        }
    }
}

/// Cases for bytes, or for texts if there are tokens.
pub(crate) fn cases(is_text: bool) -> BoxedStrategy<Case> {
    let mutation = if is_text { text_mutation() } else { bytes_mutation() };
    (any::<Index>(), prop::collection::vec(mutation, 1..=MUTATIONS_MAX))
        .prop_map(|(seed, mutations)| Case { seed, mutations })
        .boxed()
}

/// The random numbers of a run: the same for the same number.
pub(crate) fn runner(config: Config, seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// An endless line of mutated seeds, always the same for the same seeds: for what cannot be a [`crate::Target`].
pub struct Mutants {
    seeds: Vec<Vec<u8>>,
    tokens: &'static [&'static str],
    cases: BoxedStrategy<Case>,
    runner: TestRunner,
}

impl Mutants {
    /// Mutants of these seeds, as texts if there are tokens.
    pub fn new(seeds: Vec<Vec<u8>>, tokens: &'static [&'static str]) -> Mutants {
        assert!(!seeds.is_empty(), "there is nothing to mutate");
        let runner = runner(Config::default(), crate::target::seed());
        Mutants { seeds, tokens, cases: cases(!tokens.is_empty()), runner }
    }
}

impl Iterator for Mutants {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let case = self.cases.new_tree(&mut self.runner).expect("no case is refused").current();
        Some(case.input(&self.seeds, self.tokens))
    }
}

fn bytes_mutation() -> BoxedStrategy<Mutation> {
    let number = prop_oneof![
        4 => prop::sample::select(NUMBERS.as_slice()),
        1 => any::<u64>(),
    ];
    let width = prop::sample::select([1usize, 2, 4, 8].as_slice());
    prop_oneof![
        4 => any::<Index>().prop_map(Mutation::FlipBit),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => (any::<Index>(), width, number).prop_map(|(at, width, value)| Mutation::Number(at, width, value)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => structural(),
    ]
    .boxed()
}

fn text_mutation() -> BoxedStrategy<Mutation> {
    let character = prop_oneof![6 => 0x20..0x7fu8, 1 => any::<u8>()];
    prop_oneof![
        1 => any::<Index>().prop_map(Mutation::FlipBit),
        4 => (any::<Index>(), character).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        5 => (any::<Index>(), any::<Index>()).prop_map(|(at, token)| Mutation::Token(at, token)),
        1 => (any::<Index>(), "\\PC{1,8}").prop_map(|(at, text)| Mutation::Insert(at, text.into_bytes())),
        3 => structural(),
    ]
    .boxed()
}

fn structural() -> BoxedStrategy<Mutation> {
    let (index, pair) = (any::<Index>(), (any::<Index>(), any::<Index>()));
    prop_oneof![
        2 => pair.clone().prop_map(|(a, b)| Mutation::Remove(a, b)),
        2 => (pair.clone(), 1..20u8).prop_map(|((a, b), times)| Mutation::Repeat(a, b, times)),
        2 => (index.clone(), pair).prop_map(|(seed, (at, from))| Mutation::Splice(seed, at, from)),
        1 => index.prop_map(Mutation::Truncate),
    ]
    .boxed()
}
