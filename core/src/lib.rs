//! The ledger of Farthing: a deterministic state machine for accounts and fee-free signed payments.
//!
//! `(state, commit) → (state', block, results)`. No I/O, clock, randomness, floats, threads or async; time and entropy come in as
//! arguments, and nothing depends on the order of a hash map (`clippy.toml` of this crate forbids all of these). Nothing happens
//! by itself: every change of the state is caused by a transaction, and time is the commit's timestamp. What follows is the
//! specification; each module has the details of its subject.
//!
//! # Accounts, holds, keys
//! An [`address`] is an ed25519 public key. Not every address is a point of the curve; money paid to one that is not, or whose
//! key nobody has, is out of reach, but still counted. An [`account`] holds a balance, the nonces its key has used, its [`bandwidth`], and
//! the reserve that was locked to open it. Money can be set aside in a [`hold`]; a [`delegated_key`] may spend a budget of an account; a
//! [`policy`] limits all spending of an account. Accounts, holds and keys stand in the dense slots of the [`state`]; each locks a
//! reserve that returns with its end, which bounds their number by the supply. An account ends by a [`reclaim`].
//!
//! # Transactions
//! `id = blake3("transaction/v1" ‖ chain hash ‖ borsh(transaction))`; the signature is over the id, under the one rule of
//! [`signature`]. The chain hash is that of the [`genesis`] document, so nothing replays on another network. The authority that
//! signs is the account's own key (Root) or one of its delegated keys.
//!
//! | operation | does | rules |
//! |---|---|---|
//! | `Transfer` | pays 1 to 1,024 outputs, all or nothing | below |
//! | `OpenHold`, `Capture`, `Release`, `TopUp` | sets money aside for a payee, pays it, returns it, adds to it | [`hold`], [`voucher`] |
//! | `SetKey`, `RemoveKey` | delegates to a key, ends that; Root alone | [`delegated_key`] |
//! | `SetPolicy` | sets the owner's own limits; Root alone | [`policy`] |
//! | `Reclaim` | frees an account that was empty for long | [`reclaim`] |
//!
//! Of a transfer the total is debited first, then the outputs are credited in order:
//! - Paying oneself is legal, and so is paying one account several times. A sender needs the whole total even for what it pays to
//!   itself.
//! - An output to an address without an account opens it, if the output says `open`: at its turn, the reserve moves from what the
//!   sender's balance then is into the new account's reserve, and the sender is the new account's sponsor. What an earlier output
//!   paid to the sender itself can pay for it.
//! - An output that does not say `open` may pay an account that an earlier output of the same transfer opens.
//!
//! # Dropped, rejected, executed
//! Each transaction of a commit, in order, meets one of three fates. It is **dropped** for the first of these that holds, which
//! consumes nothing, leaves no trace in the block, and lets it come again:
//!
//! | reason ([`block::DropReason`]) | when |
//! |---|---|
//! | `UnknownSender` | the sender has no account |
//! | `UnknownKey` | the authority is not a delegated key of the sender, or one past its expiry |
//! | `Expired` | the commit's timestamp > `valid_until_ms` |
//! | `ValidTooLong` | `valid_until_ms` > the commit's timestamp + `validity_max_ms` |
//! | `NonceUsed`, `NonceTooHigh` | the nonce is not fresh for this authority ([`replay`]) |
//! | `InsufficientBandwidth` | the account has sent more than its [`bandwidth`] allows |
//!
//! Otherwise it consumes its nonce and bandwidth, has a leaf in the block, and is **rejected**, doing nothing else, for the first of these
//! that holds, or else is **executed** (code 0). The columns: Transfer, OpenHold, Capture, Release, TopUp, SetKey, RemoveKey, SetPolicy,
//! Reclaim.
//!
//! | code ([`block::ResultCode`]) | when | T | O | C | R | U | S | M | P | L |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | 1 `OperationNotAllowed` | a delegated key may not use the operation | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ | ✓ |
//! | 2 `PayeeIsSender` | a hold for oneself | | ✓ | | | | | | | |
//! | 3 `NoSuchAccount` | no account: of an output without `open` at its turn, of a hold's payee, of what is to be reclaimed | ✓ | ✓ | | | | | | | ✓ |
//! | 4 `NoSuchHold` | there is no such hold, or no more | | | ✓ | ✓ | ✓ | | | | |
//! | 5 `NoSuchKey` | there is no such delegated key | | | | | | | ✓ | | |
//! | 6 `TooManyKeys` | 16 keys and tombstones | | | | | | ✓ | | | |
//! | 7 `NotEntitled` | the hold does not let the sender do this now | | | ✓ | ✓ | ✓ | | | | |
//! | 8 `HoldEnded` | the hold has ended | | | ✓ | | ✓ | | | | |
//! | 9 `HoldClosing` | the hold is closing | | | | | ✓ | | | | |
//! | 10 `ExpiryOutOfRange` | the expiry is not after the commit, more than 400 days ahead, or earlier than it was | | ✓ | | | ✓ | | | | |
//! | 11 `WrongCumulative` | more than the hold's amount | | | ✓ | | | | | | |
//! | 12 `BadProof` | the proof does not meet the hold's condition | | | ✓ | | | | | | |
//! | 13 `NotReclaimable` | the account is in use, or was not long enough out of it | | | | | | | | | ✓ |
//! | 14 `AmountOverflow` | the outputs, or all that was ever set aside in the hold, add up to more than 2^64 − 1 mites | ✓ | | | | ✓ | | | | |
//! | 15 `PayeeNotAllowed` | the delegated key may not pay one of the payees | ✓ | ✓ | | | ✓ | | | | |
//! | 16 `OverTransactionLimit` | more than the key may spend at a time | ✓ | ✓ | | | ✓ | | | | |
//! | 17 `OverKeyLimit` | more than the key may spend in this period | ✓ | ✓ | | | ✓ | | | | |
//! | 18 `AccountBlocked` | the policy blocks | ✓ | ✓ | | | ✓ | ✓ | | | |
//! | 19 `OverSpendingLimit` | more than the policy lets be spent in this period | ✓ | ✓ | | | ✓ | ✓ | | | |
//! | 20 `InsufficientBalance` | the balance < what is paid or set aside | ✓ | ✓ | | | ✓ | | | | |
//! | 21 `InsufficientReserve` | what is left of the balance (of a transfer: at the turn of the output) < the reserve | ✓ | ✓ | | | | ✓ | | | |
//!
//! (U is `TopUp`, M is `RemoveKey`, L is `Reclaim`; a reserve that `SetKey` locks counts as spent, a key that is there already locks none.)
//!
//! So a (sender, authority, nonce) has one result at most, for as long as the account is there; what holds when it is freed and opened
//! again is in [`reclaim`]. The same transaction may be ordered many times, under the same signature or another valid one: the first one
//! counts, the others are dropped, since the nonce is used.
//!
//! # Replay protection
//! A sliding window of 128 nonces for each authority of each sender, and a `valid_until_ms`: see [`replay`]. That a transaction can never
//! execute any more is proven by an account proof later than its `valid_until_ms` with its nonce still fresh, or by the receipt of
//! another transaction with its sender, authority and nonce whose block is at most `validity_max_ms` older than its `valid_until_ms`.
//!
//! # Blocks
//! Block 0 stands for the genesis document. A commit of which at least one transaction is executed or rejected makes a block; so does
//! the first other commit of a new second, if the state has changed since the last state root or the newest block's commit lies
//! [`execution::IDLE_COMMITS_MAX`] or more back. Nothing else makes a block. "A new second" is one, by ⌊timestamp ÷ 1000⌋, in
//! which no block lies yet. Headers are linked by hash ([`block`]).
//!
//! # Roots and proofs
//! - `transactions_root` is over the results of a block ([`receipt`]); a [`receipt::Receipt`] proves one of them.
//! - `state_root` is over the slots of the state ([`state_tree`]) **before** the block's transactions. It is carried by block 0 and by
//!   the first block of each second; a [`state_proof::StateProof`] proves an account, hold or key against it.
//! - Both end in a [`certificate`] and are verified offline, with nothing but the genesis document. Their trees are those of [`merkle`].
//!
//! # Encodings
//! Canonical, bounded borsh ([`codec`]): one encoding for each value, every count bounded, no trailing bytes. All digests are
//! BLAKE3 with a domain in front ([`hash`]).
//!
//! # Invariants, asserted
//! - Σ balances + Σ (amount − captured) of the holds + Σ reserves = genesis supply, after every commit, by a running total;
//!   [`execution::Ledger::audit`] recounts it.
//! - A nonce is consumed at most once; no amount over- or underflows (checked arithmetic only).
//! - The state's tree and the state have the same slots at every root.
//! - Commits come in the order of their indices, and their time never falls.
//!
//! A ledger restored from a flush ([`flush`]) goes on exactly as if it had never stopped.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod account;
pub mod address;
pub mod admission;
pub mod amount;
pub mod bandwidth;
mod bit_set;
pub mod block;
pub mod certificate;
pub mod codec;
mod context;
pub mod delegated_key;
pub mod execution;
pub mod flush;
pub mod genesis;
pub mod hash;
pub mod hold;
mod index;
pub mod keys;
pub mod merkle;
mod object;
pub mod policy;
pub mod receipt;
pub mod reclaim;
pub mod replay;
pub mod signature;
pub mod spending_limit;
pub mod state;
pub mod state_chunk;
pub mod state_proof;
pub mod state_tree;
pub mod transaction;
mod transfer;
pub mod verification;
pub mod voucher;
