//! The accounts of a benchmark, and transfers that are signed before they are needed.

use super::machine::cores;
use crate::accounts;
use farthing_client::{transfer, validity_ms};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::genesis::Parameters;
use farthing_core::hash::ChainHash;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::Output;
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys of the accounts, which send in turn.
pub struct Senders {
    keys: Vec<SecretKey>,
    /// Transfers signed so far: transfer `i` is number `i / accounts + 1` of account `i % accounts`.
    signed: u64,
}

/// Signed transfers, one after the other, all of one size.
pub struct Signed {
    bytes: Vec<u8>,
    size: usize,
}

impl Senders {
    /// The keys of `count` accounts. Takes about 20 µs of a core each.
    pub fn new(count: usize) -> Senders {
        Senders { keys: in_parallel(count, |index| accounts::key(&accounts::bencher(index + 1))), signed: 0 }
    }

    /// The addresses of the accounts.
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = Address> {
        self.keys.iter().map(|key| Address(key.public_key()))
    }

    /// Signs the next `count` transfers of one mite each, to accounts that are scattered over all of them.
    pub fn sign(&mut self, chain: &ChainHash, parameters: &Parameters, count: usize) -> Signed {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        let valid_until_ms = now_ms + validity_ms(parameters);
        let (first, keys) = (self.signed, &self.keys);
        let encodings = in_parallel(count, |index| {
            let number = first + index as u64;
            let accounts = keys.len() as u64;
            // An odd multiplier far from the number of accounts scatters the payees.
            let payee = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
            let to = Address(keys[(payee % accounts) as usize].public_key());
            let output = Output { to, amount: Amount::from_mites(1), reference: None, open: false };
            let key = &keys[(number % accounts) as usize];
            let signed = transfer(chain, key, number / accounts + 1, valid_until_ms, vec![output]);
            signed.expect("one output of one mite is a transfer").encode()
        });
        self.signed += count as u64;
        let size = encodings.first().map_or(0, Vec::len);
        assert!(encodings.iter().all(|encoding| encoding.len() == size), "these differ in numbers of fixed size only");
        Signed { bytes: encodings.concat(), size }
    }
}

impl Signed {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(self.size).unwrap_or(0)
    }

    /// The encoded size of each, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Makes the signature of one transfer in each `every` a bad one, at places that differ: it decodes, and no check of it holds.
    pub fn spoil_one_in(&mut self, every: usize) {
        for (number, transfers) in self.bytes.chunks_exact_mut(every * self.size).enumerate() {
            // An odd multiplier scatters the places.
            let place = number.wrapping_mul(0x9E37_79B1) % every;
            // The signature is what an encoding ends with: 32 bytes of R, then the scalar s, lowest byte first.
            transfers[(place + 1) * self.size - 32] ^= 1;
        }
    }

    /// The encodings of some of them, as a request carries them.
    pub fn body(&self, range: std::ops::Range<usize>) -> Vec<u8> {
        self.bytes[range.start * self.size..range.end * self.size].to_vec()
    }
}

/// `make` of 0 to `count − 1`, in order, made on all cores.
fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let share = count.div_ceil(cores()).max(1);
    let make = &make;
    std::thread::scope(|scope| {
        let part = |start: usize| scope.spawn(move || (start..count.min(start + share)).map(make).collect::<Vec<_>>());
        let parts: Vec<_> = (0..count).step_by(share).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no part panics")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use farthing_client::decode_concatenated;
    use farthing_core::hash::Digest;
    use std::collections::BTreeSet;

    #[test]
    fn every_transfer_is_good_and_used_once() {
        let (chain, parameters) = (Digest::of("chain/v1", &[]), Parameters::default());
        let mut senders = Senders::new(5);
        let mut seen = BTreeSet::new();
        for count in [7, 1, 12] {
            let signed = senders.sign(&chain, &parameters, count);
            assert_eq!(signed.len(), count);
            for signed in decode_concatenated(&signed.body(0..count)).expect("transfers") {
                let verified = signed.verify(&chain).expect("signed");
                let transaction = verified.transaction();
                assert!(senders.addresses().any(|address| address == transaction.outputs()[0].to));
                assert!(seen.insert((transaction.sender, transaction.nonce)));
            }
        }
        assert_eq!(seen.len(), 20);
        assert_eq!(seen.iter().map(|(_, nonce)| *nonce).max(), Some(4), "the accounts take turns");
    }

    #[test]
    fn one_signature_of_each_request_is_bad() {
        let (chain, parameters) = (Digest::of("chain/v1", &[]), Parameters::default());
        let mut signed = Senders::new(3).sign(&chain, &parameters, 38);
        signed.spoil_one_in(10);
        let bad = |range| {
            let transfers = decode_concatenated(&signed.body(range)).expect("transfers");
            let verdicts = transfers.into_iter().map(|signed| signed.verify(&chain).is_ok());
            (0..).zip(verdicts).filter(|(_, good)| !good).map(|(place, _)| place).collect::<Vec<usize>>()
        };
        let places = [0..10, 10..20, 20..30, 30..38].map(bad);
        assert!(places[..3].iter().all(|places| places.len() == 1), "one each: {places:?}");
        assert!(places[1] != places[2], "at different places: {places:?}");
        assert!(places[3].is_empty(), "less than a request is left as it is: {places:?}");
    }
}
