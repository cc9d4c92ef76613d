//! A decoder under test.

use crate::mutation::{Case, cases, runner};
use crate::{allocation, corpus};
use proptest::test_runner::{Config, TestCaseError, TestError};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long each target is tried unless the environment says otherwise, in seconds.
pub const SECONDS_DEFAULT: f64 = 0.6;

/// The longest that one input may take, at the best of three tries: what it shows is work that grows faster than the input.
pub const CASE_MAX: Duration = Duration::from_secs(5);

/// Inputs between two looks at the clock.
const CHUNK: u32 = 128;

/// Inputs that a corpus is chosen from.
const CORPUS_CASES: u32 = 8_000;

/// A decoder under test, with valid inputs for it.
pub struct Target<'a> {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    tokens: &'static [&'static str],
    bytes_fixed: usize,
    bytes_per_byte: usize,
    decode: Decode<'a>,
}

/// Whether the input was accepted, or why not. It panics if something is wrong.
type Decode<'a> = Box<dyn Fn(&[u8]) -> Result<(), String> + 'a>;

impl<'a> Target<'a> {
    /// A decoder of bytes; `name` is that of its corpus too. `decode` says whether an input was accepted, or why not, and panics if
    /// something is wrong.
    pub fn bytes(
        name: &'static str,
        seeds: Vec<Vec<u8>>,
        decode: impl Fn(&[u8]) -> Result<(), String> + 'a,
    ) -> Target<'a> {
        assert!(!seeds.is_empty(), "{name} has no seed");
        Target { name, seeds, tokens: &[], bytes_fixed: 64 << 10, bytes_per_byte: 128, decode: Box::new(decode) }
    }

    /// A decoder of texts, written with these tokens among others.
    pub fn text(
        name: &'static str,
        seeds: Vec<String>,
        tokens: &'static [&'static str],
        decode: impl Fn(&[u8]) -> Result<(), String> + 'a,
    ) -> Target<'a> {
        assert!(!tokens.is_empty(), "{name} has no tokens");
        Target { tokens, ..Target::bytes(name, seeds.into_iter().map(String::into_bytes).collect(), decode) }
    }

    /// With another bound than usual on what is allocated at one time: `fixed` bytes, and `per_byte` for each byte of the input.
    #[must_use]
    pub fn allocating(mut self, fixed: usize, per_byte: usize) -> Target<'a> {
        (self.bytes_fixed, self.bytes_per_byte) = (fixed, per_byte);
        self
    }

    /// Runs the seeds, the corpus, and mutated seeds until the time is up.
    ///
    /// # Panics
    /// If anything is wrong; the input is kept in the corpus.
    pub fn check(self) {
        for (number, seed) in self.seeds.iter().enumerate() {
            match self.run(seed) {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => panic!("{}: the valid seed {number} is refused: {refused}", self.name),
                Err(failure) => panic!("{}: the valid seed {number}: {failure}", self.name),
            }
        }
        for (file, input) in corpus::read(self.name) {
            if let Err(failure) = self.run(&input) {
                panic!("{}: the kept input {file}: {failure}", self.name);
            }
        }
        if std::env::var_os("FARTHING_FUZZ_WRITE_CORPUS").is_some() {
            self.write_corpus();
        }
        self.mutate();
    }

    fn mutate(&self) {
        let (seed, seconds) = (seed(), seconds().unwrap_or(SECONDS_DEFAULT));
        let started = Instant::now();
        let (tried, accepted) = (Cell::new(0u64), Cell::new(0u64));
        for chunk in 0.. {
            let chunk_seed = corpus::fingerprint(self.name.as_bytes()).wrapping_add(seed).wrapping_add(chunk);
            self.run_chunk(CHUNK, chunk_seed, |_, outcome| {
                tried.set(tried.get() + 1);
                accepted.set(accepted.get() + u64::from(outcome.is_ok()));
            });
            if started.elapsed().as_secs_f64() >= seconds {
                break;
            }
        }
        println!("fuzz {}: {} inputs, {} accepted, FARTHING_FUZZ_SEED={seed}", self.name, tried.get(), accepted.get());
        assert!(accepted.get() < tried.get(), "{}: nothing is ever refused", self.name);
    }

    /// Keeps the smallest input for each way to be refused.
    fn write_corpus(&self) {
        let refused = std::cell::RefCell::new(BTreeMap::<String, Vec<u8>>::new());
        self.run_chunk(CORPUS_CASES, 0, |input, outcome| {
            if let Err(reason) = outcome {
                // The same reason at another place is no other way.
                let way: String = reason.chars().filter(|c| c.is_alphabetic()).take(48).collect();
                let mut refused = refused.borrow_mut();
                let smallest = refused.entry(way).or_insert_with(|| input.to_vec());
                if input.len() < smallest.len() {
                    *smallest = input.to_vec();
                }
            }
        });
        corpus::write(self.name, &self.seeds, &refused.into_inner());
    }

    fn run_chunk(&self, count: u32, seed: u64, note: impl Fn(&[u8], &Result<(), String>)) {
        let config = Config { cases: count, failure_persistence: None, max_shrink_iters: 4_096, ..Config::default() };
        let input_of = |case: &Case| case.input(&self.seeds, self.tokens);
        let outcome = runner(config, seed).run(&cases(!self.tokens.is_empty()), |case| {
            let input = input_of(&case);
            let outcome = self.run(&input).map_err(TestCaseError::fail)?;
            note(&input, &outcome);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(failure, case)) => {
                let input = input_of(&case);
                let path = corpus::keep_failure(self.name, &input);
                panic!(
                    "{}: {failure}; the input, made small, is kept in {}: {}",
                    self.name,
                    path.display(),
                    String::from_utf8_lossy(&input[..input.len().min(400)]).escape_debug()
                );
            }
            Err(TestError::Abort(reason)) => panic!("{}: {reason}", self.name),
        }
    }

    /// What becomes of an input, or what is wrong.
    fn run(&self, input: &[u8]) -> Result<Result<(), String>, String> {
        let (outcome, mut took) = self.run_once(input)?;
        // The machine may have been busy with something else.
        for _ in 0..2 {
            if took > CASE_MAX {
                took = took.min(self.run_once(input)?.1);
            }
        }
        if took > CASE_MAX {
            return Err(format!("{} bytes took {} ms", input.len(), took.as_millis()));
        }
        Ok(outcome)
    }

    fn run_once(&self, input: &[u8]) -> Result<(Result<(), String>, Duration), String> {
        let started = Instant::now();
        let (outcome, bytes) = allocation::peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.decode)(input))));
        let took = started.elapsed();
        let outcome = outcome.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).into())).unwrap_or_default()
        })?;
        let bytes_max = self.bytes_fixed + self.bytes_per_byte * input.len();
        if bytes > bytes_max {
            return Err(format!("{bytes} bytes were allocated for {}, at most {bytes_max} should be", input.len()));
        }
        Ok((outcome, took))
    }
}

fn seconds() -> Option<f64> {
    let text = std::env::var("FARTHING_FUZZ_SECONDS").ok()?;
    Some(text.parse().expect("FARTHING_FUZZ_SECONDS is a number of seconds"))
}

/// What this run's random numbers begin with: given, or the time where there is much of it, or always the same.
pub(crate) fn seed() -> u64 {
    if let Ok(text) = std::env::var("FARTHING_FUZZ_SEED") {
        return text.parse().expect("FARTHING_FUZZ_SEED is a whole number");
    }
    match seconds() {
        Some(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64),
        None => 0,
    }
}
