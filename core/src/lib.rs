//! The ledger of Farthing: a deterministic state machine for accounts and fee-free signed transfers.
//!
//! `(state, commit) → (state', block, results)`. No I/O, clock, randomness, floats, threads or async; time and entropy come in as
//! arguments, and nothing depends on the order of a hash map (`clippy.toml` of this crate forbids all of these). Nothing happens
//! by itself: every change of the state is caused by a transaction, and time is the commit's timestamp. What follows is the
//! specification; each module has the details of its subject.
//!
//! # Accounts
//! An [`address`] is an ed25519 public key. Not every address is a point of the curve; money paid to one that is not, or whose
//! key nobody has, is out of reach, but still counted. An [`account`] holds a balance, the nonces its key has used, and the reserve
//! that was locked to open it. The accounts stand in the dense slots of the [`state`].
//!
//! # Transactions
//! `id = blake3("transaction/v1" ‖ chain hash ‖ borsh(transaction))`; the signature is over the id, under the one rule of
//! [`signature`]. The chain hash is that of the [`genesis`] document, so nothing replays on another network. The one operation so
//! far is `Transfer`: 1 to 1,024 outputs, all or nothing, the total debited first, then the outputs credited in order.
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
//! | `Expired` | the commit's timestamp > `valid_until_ms` |
//! | `ValidTooLong` | `valid_until_ms` > the commit's timestamp + `validity_max_ms` |
//! | `NonceUsed`, `NonceTooHigh` | the nonce is not fresh ([`replay`]) |
//!
//! Otherwise it consumes its nonce, has a leaf in the block, and is **rejected**, doing nothing else, for the first of these that
//! holds of any of its outputs:
//!
//! | code ([`block::ResultCode`]) | when |
//! |---|---|
//! | 1 `AmountOverflow` | the outputs add up to more than 2^64 − 1 mites |
//! | 2 `InsufficientBalance` | the sender's balance < the outputs' total |
//! | 3 `NoSuchAccount` | an output without `open` pays an address that has no account at its turn |
//! | 4 `InsufficientReserve` | what the sender's balance is at the turn of an output that opens an account < the reserve |
//!
//! or else is **executed** (code 0). So a (sender, nonce) has one result at most, for ever. The same transaction may be ordered
//! many times, under the same signature or another valid one: the first one counts, the others are dropped, since the nonce is used.
//!
//! # Replay protection
//! A sliding window of 128 nonces for each sender, and a `valid_until_ms`: see [`replay`]. That a transaction can never execute
//! any more is proven by an account proof later than its `valid_until_ms` with its nonce still fresh, or by the receipt of another
//! transaction with its sender and nonce.
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
//!   the first block of each second; an [`account_proof::AccountProof`] proves an account against it.
//! - Both end in a [`certificate`] and are verified offline, with nothing but the genesis document. Their trees are those of [`merkle`].
//!
//! # Encodings
//! Canonical, bounded borsh ([`codec`]): one encoding for each value, every count bounded, no trailing bytes. All digests are
//! BLAKE3 with a domain in front ([`hash`]).
//!
//! # Invariants, asserted
//! - Σ balances + Σ reserves = genesis supply, after every commit, by a running total; [`execution::Ledger::audit`] recounts it.
//! - A nonce is consumed at most once; no amount over- or underflows (checked arithmetic only).
//! - The state's tree and the state have the same slots at every root.
//! - Commits come in the order of their indices, and their time never falls.
//!
//! A ledger restored from a flush ([`flush`]) goes on exactly as if it had never stopped.
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic, clippy::disallowed_methods, clippy::disallowed_types)]

pub mod account;
pub mod account_proof;
pub mod address;
pub mod amount;
pub mod block;
pub mod certificate;
pub mod codec;
pub mod execution;
pub mod flush;
pub mod genesis;
pub mod hash;
mod index;
pub mod keys;
pub mod merkle;
pub mod receipt;
pub mod replay;
pub mod signature;
pub mod state;
pub mod state_chunk;
pub mod state_tree;
pub mod transaction;
mod transfer;
pub mod verification;
