//! Bandwidth: fee-free admission.
//!
//! Nobody pays for a transaction. What bounds spam is bandwidth, which every account has by its balance, and which grows back:
//!
//! - `capacity = F + ⌊G × balance⌋` bytes ([`capacity_bytes`]), refilled evenly over W. It is kept in byte·milliseconds (bytes × W), so
//!   that refilling for Δ ms adds exactly `capacity × Δ`, whatever the steps: nothing is rounded.
//! - It is refreshed before any change of a balance, of recipients' too, by the capacity of the balance until then; a lower
//!   capacity clamps it. So money that moves about mints nothing. An account opened by a payment starts at F, one of the genesis
//!   document at its capacity.
//! - Genesis refuses `F > 2 × G × account reserve`: splitting a fortune over as many accounts as it can open at most doubles its
//!   bandwidth, however large F is.
//! - A transaction costs `(encoded bytes + charges) × m` bytes ([`charged_bytes`], [`Multiplier`]), executed or rejected: a charge for each
//!   output, and one for each object that it may create or signature that it has the ledger check.
//! - The multiplier m is in the state: 1 to 64. When more bytes are charged in a second than the target it rises, by half for each
//!   target's worth of excess (at most to the double); when fewer are it falls, by at most an eighth ([`Load`]). The target should be
//!   well below what the validators can bear, since m is what ends a flood: with a slower rise, short pulses are cheap.
//!
//! | | must hold after the charge |
//! |---|---|
//! | a mempool admits (`Ledger::check`) | bandwidth ≥ 0, for a delegated key ≥ 2,000 bytes, for `SetKey`, `RemoveKey` and `SetPolicy` ≥ −F |
//! | a block includes | bandwidth ≥ −F, for a delegated key ≥ 2,000 bytes; otherwise the transaction is dropped |
//!
//! The difference is for transactions that were ordered through several validators at once, or just before m rose. The floor of
//! delegated keys, and that of the operations for Root alone, keep Root able to remove them, also when m is high. The constants are [`BandwidthParameters`] of the genesis document.

use crate::amount::{Amount, MITES_PER_FAR};
use crate::transaction::{Operation, Proof};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The constants of fee-free admission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, BorshSerialize)]
#[serde(deny_unknown_fields, default)]
pub struct BandwidthParameters {
    /// F: the capacity in bytes that every account has, whatever its balance; 1 to 10^12.
    pub base_bytes: u64,
    /// G: the further capacity in bytes for each FAR of the balance; at most 10^16.
    pub bytes_per_far: u64,
    /// W: how long it takes to refill from nothing to the capacity, in milliseconds; a second to 30 days.
    pub refill_ms: u64,
    /// What each output is charged on top of its encoding, in bytes; at most 10^6.
    pub output_bytes: u64,
    /// What each object that a transaction may create (an account, hold or key), and each voucher it has checked, is charged on
    /// top of its encoding, in bytes; at most 10^6.
    pub object_bytes: u64,
    /// What transactions of delegated keys must leave, in bytes; at most F.
    pub key_floor_bytes: u64,
    /// The load, in charged bytes a second, above which the multiplier rises; 1 to 10^12.
    pub target_bytes_per_second: u64,
}

impl Default for BandwidthParameters {
    fn default() -> BandwidthParameters {
        BandwidthParameters {
            base_bytes: 20_000,
            bytes_per_far: 10_000,
            refill_ms: 86_400_000,
            output_bytes: 40,
            object_bytes: 200,
            key_floor_bytes: 2_000,
            target_bytes_per_second: 1_000_000,
        }
    }
}

impl BandwidthParameters {
    /// Constants under which developers and tests do not notice that there is such a thing: 50 million plain transfers a day for
    /// every account.
    pub fn generous() -> BandwidthParameters {
        BandwidthParameters {
            base_bytes: 10_000_000_000,
            bytes_per_far: 10_000_000_000,
            target_bytes_per_second: 1_000_000_000,
            ..BandwidthParameters::default()
        }
    }

    /// Says which bound they break, given what opening an account locks.
    pub(crate) fn validate(&self, account_reserve: Amount) -> Result<(), &'static str> {
        let bounds = [
            ((1..=1_000_000_000_000).contains(&self.base_bytes), "\"base_bytes\" must be 1 to 10^12"),
            (self.bytes_per_far <= 10_000_000_000_000_000, "\"bytes_per_far\" must be at most 10^16"),
            ((1_000..=2_592_000_000).contains(&self.refill_ms), "\"refill_ms\" must be 1000 to 2592000000"),
            (self.output_bytes <= 1_000_000, "\"output_bytes\" must be at most 10^6"),
            (self.object_bytes <= 1_000_000, "\"object_bytes\" must be at most 10^6"),
            (self.key_floor_bytes <= self.base_bytes, "\"key_floor_bytes\" must be at most \"base_bytes\""),
            (
                (1..=1_000_000_000_000).contains(&self.target_bytes_per_second),
                "\"target_bytes_per_second\" must be 1 to 10^12",
            ),
        ];
        for (holds, message) in bounds {
            if !holds {
                return Err(message);
            }
        }
        let minted = u128::from(self.base_bytes) * u128::from(MITES_PER_FAR);
        if minted > 2 * u128::from(self.bytes_per_far) * u128::from(account_reserve.mites()) {
            return Err("splitting a fortune would mint bandwidth: \"base_bytes\" must be at most \
                        2 x \"bytes_per_far\" x \"account_reserve\" (in FAR)");
        }
        Ok(())
    }

    /// So many bytes, in the unit that bandwidth is kept in.
    pub fn byte_ms(&self, bytes: u128) -> i128 {
        i128::try_from(bytes * u128::from(self.refill_ms)).expect("the bounds of the parameters exclude it")
    }
}

/// The capacity of an account with this balance, in bytes.
pub fn capacity_bytes(parameters: &BandwidthParameters, balance: Amount) -> u128 {
    let by_balance = u128::from(parameters.bytes_per_far) * u128::from(balance.mites()) / u128::from(MITES_PER_FAR);
    u128::from(parameters.base_bytes) + by_balance
}

/// What a transaction is charged before the multiplier, in bytes: its encoding with the signature, and what it makes of work and
/// state on top. An output that may open an account is charged for it even if there is one already.
pub fn charged_bytes(parameters: &BandwidthParameters, encoded_bytes: u64, operation: &Operation) -> u64 {
    let (outputs, objects) = match operation {
        Operation::Transfer { outputs } => (outputs.len(), outputs.iter().filter(|output| output.open).count()),
        Operation::OpenHold(_) | Operation::SetKey(_) => (0, 1),
        Operation::Capture(capture) => (0, usize::from(matches!(capture.proof, Proof::Voucher(_)))),
        _ => (0, 0),
    };
    encoded_bytes + outputs as u64 * parameters.output_bytes + objects as u64 * parameters.object_bytes
}

/// How much an account may still send, as of a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// An `i128`, low half first: so an account needs no padding. Borsh encodes it as it would an `i128`.
    #[serde(serialize_with = "write_byte_ms", deserialize_with = "read_byte_ms")]
    byte_ms: [u64; 2],
    at_ms: u64,
}

impl Bandwidth {
    /// Of an account with so many bytes left at this time, in milliseconds since the Unix epoch.
    pub fn new(parameters: &BandwidthParameters, bytes: u128, at_ms: u64) -> Bandwidth {
        Bandwidth { byte_ms: halves(parameters.byte_ms(bytes)), at_ms }
    }

    /// What there was when it was last refreshed, in byte·milliseconds: bytes × [`BandwidthParameters::refill_ms`]. Negative if overdrawn.
    pub fn byte_ms(&self) -> i128 {
        (u128::from(self.byte_ms[1]) << 64 | u128::from(self.byte_ms[0])) as i128
    }

    /// When it was last refreshed, in milliseconds since the Unix epoch: the last time that the account used a nonce, paid or was paid.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// What there is at a later time, in byte·milliseconds, for an account that has had this capacity since the last refresh.
    pub fn available(&self, parameters: &BandwidthParameters, capacity_bytes: u128, now_ms: u64) -> i128 {
        let full = parameters.byte_ms(capacity_bytes);
        // From −F a refill to the capacity takes less than 2 W.
        let elapsed_ms = now_ms.saturating_sub(self.at_ms).min(2 * parameters.refill_ms);
        let refilled = i128::try_from(capacity_bytes).expect("a capacity") * i128::from(elapsed_ms);
        (self.byte_ms() + refilled).min(full)
    }

    /// When there will be so many byte·milliseconds, in milliseconds since the Unix epoch, if the balance stays as it is; `None` if
    /// that is more than the capacity.
    pub fn available_at_ms(
        &self,
        parameters: &BandwidthParameters,
        capacity_bytes: u128,
        now_ms: u64,
        wanted_byte_ms: i128,
    ) -> Option<u64> {
        if wanted_byte_ms > parameters.byte_ms(capacity_bytes) {
            return None;
        }
        let missing = wanted_byte_ms - self.available(parameters, capacity_bytes, now_ms);
        Some(refilled_at_ms(capacity_bytes, now_ms, missing))
    }

    /// Refills and clamps, before a change of the balance.
    pub(crate) fn refresh(&mut self, parameters: &BandwidthParameters, capacity_bytes: u128, now_ms: u64) {
        assert!(now_ms >= self.at_ms, "the time of commits never falls");
        self.byte_ms = halves(self.available(parameters, capacity_bytes, now_ms));
        self.at_ms = now_ms;
    }

    /// Takes a cost off a bandwidth that was refreshed just now.
    pub(crate) fn spend(&mut self, cost_byte_ms: i128) {
        self.byte_ms = halves(self.byte_ms() - cost_byte_ms);
    }
}

/// When so many byte·milliseconds more will have grown back, in milliseconds since the Unix epoch; at once if none are missing.
pub(crate) fn refilled_at_ms(capacity_bytes: u128, now_ms: u64, missing_byte_ms: i128) -> u64 {
    let wait_ms = missing_byte_ms.max(0).unsigned_abs().div_ceil(capacity_bytes);
    now_ms.saturating_add(u64::try_from(wait_ms).unwrap_or(u64::MAX))
}

fn halves(byte_ms: i128) -> [u64; 2] {
    let bits = byte_ms as u128;
    [bits as u64, (bits >> 64) as u64]
}

fn write_byte_ms<S: Serializer>(halves: &[u64; 2], serializer: S) -> Result<S::Ok, S::Error> {
    let value = (u128::from(halves[1]) << 64 | u128::from(halves[0])) as i128;
    serializer.collect_str(&value)
}

fn read_byte_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u64; 2], D::Error> {
    let text = <std::borrow::Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
    let value: i128 = text.parse().map_err(serde::de::Error::custom)?;
    Ok(halves(value))
}

/// The factor by which load makes every transaction dearer: 1 to 64, in steps of 2^−16.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct Multiplier(u32);

impl Multiplier {
    /// 1: no more load than the target.
    pub const ONE: Multiplier = Multiplier(1 << 16);
    /// 64, the highest.
    pub const MAX: Multiplier = Multiplier(64 << 16);

    /// The factor times 2^16.
    pub fn sixteen_bits(self) -> u32 {
        self.0
    }

    /// So many bytes times the factor, rounded up.
    pub fn times(self, bytes: u64) -> u128 {
        (u128::from(bytes) * u128::from(self.0)).div_ceil(u128::from(Multiplier::ONE.0))
    }

    /// What follows a second in which so many bytes were charged: `m × (1 + excess / (2 × target))`, at most the double, or
    /// `m × (1 − shortfall / (8 × target))`.
    pub fn after_second(self, charged_bytes: u64, target_bytes: u64) -> Multiplier {
        let (m, target) = (i128::from(self.0), i128::from(target_bytes));
        let excess = (i128::from(charged_bytes) - target).min(2 * target);
        let change = if excess > 0 { m * excess / (2 * target) } else { m * excess / (8 * target) };
        let next = (m + change).clamp(i128::from(Multiplier::ONE.0), i128::from(Multiplier::MAX.0));
        Multiplier(u32::try_from(next).expect("clamped"))
    }
}

/// The load as the state has it: the multiplier, and what is charged in the present second of commit time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// The multiplier of the second.
    pub multiplier: Multiplier,
    /// ⌊commit time ÷ 1000⌋ of the newest transaction in a block.
    pub second: u64,
    /// What the transactions of that second were charged, before the multiplier, in bytes.
    pub charged_bytes: u64,
}

impl Load {
    /// No load, at this time in milliseconds since the Unix epoch.
    pub fn none(now_ms: u64) -> Load {
        Load { multiplier: Multiplier::ONE, second: now_ms / 1_000, charged_bytes: 0 }
    }

    /// The load at a later time (the same second or after), before anything is charged then.
    pub fn at(&self, parameters: &BandwidthParameters, now_ms: u64) -> Load {
        let second = now_ms / 1_000;
        if second <= self.second {
            return *self;
        }
        let target = parameters.target_bytes_per_second;
        let mut multiplier = self.multiplier.after_second(self.charged_bytes, target);
        let mut idle_seconds = second - self.second - 1;
        // From 64 down to 1 it takes 32 idle seconds.
        while idle_seconds > 0 && multiplier > Multiplier::ONE {
            multiplier = multiplier.after_second(0, target);
            idle_seconds -= 1;
        }
        Load { multiplier, second, charged_bytes: 0 }
    }

    /// The load after a transaction of its second.
    pub(crate) fn plus(self, charged_bytes: u64) -> Load {
        let charged_bytes = self.charged_bytes.saturating_add(charged_bytes);
        Load { charged_bytes, ..self }
    }
}
