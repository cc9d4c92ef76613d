//! Transactions: what people sign.
//!
//! `id = blake3("transaction/v1" ‖ chain hash ‖ borsh(transaction))`; the signature is over the id, so nothing signed for one
//! chain means anything on another. Encodings are canonical ([`crate::codec`]): a transaction has one id whoever encodes it.

use crate::address::Address;
use crate::amount::Amount;
use crate::codec::{self, CodecError};
use crate::delegated_key::{KeyLimits, LIMITS_BYTES_MAX};
use crate::hash::{ChainHash, Digest};
use crate::hold::Condition;
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::policy::PolicySettings;
use crate::signature::{self, SignatureError};
use borsh::{BorshDeserialize, BorshSerialize};

/// A transaction's id, also the id of what it creates.
pub type TransactionId = Digest;

/// The most outputs a transfer may have.
pub const OUTPUTS_MAX: usize = 1024;

/// The most bytes an encoded, signed transaction may take: a transfer of [`OUTPUTS_MAX`] outputs, each with a reference, by a
/// delegated key.
pub const SIGNED_TRANSACTION_BYTES_MAX: usize =
    SIGNATURE_BYTES + 32 + 33 + 8 + 8 + 1 + 4 + OUTPUTS_MAX * (32 + 8 + 33 + 1);

const SIGNATURE_BYTES: usize = 64;

const _: () = assert!(32 + LIMITS_BYTES_MAX < OUTPUTS_MAX * 74, "a transfer is the largest operation");

/// Who speaks for the sender. A tag, once given, is never used for anything else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, BorshSerialize, BorshDeserialize)]
pub enum Authority {
    /// The account's own key, which is its address.
    Root,
    /// A delegated key of the account.
    Key(PublicKey),
}

/// What a transaction does. A tag, once given, is never used for anything else.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub enum Operation {
    /// Pays up to [`OUTPUTS_MAX`] outputs, all or nothing.
    Transfer {
        /// 1 to [`OUTPUTS_MAX`] outputs, credited in order.
        #[borsh(deserialize_with = "read_outputs")]
        outputs: Vec<Output>,
    },
    /// Sets money aside for a payee, under a condition (see [`crate::hold`]).
    OpenHold(Box<OpenHold>),
    /// Pays the payee of a hold from it.
    Capture(Box<Capture>),
    /// Gives what is left in a hold back to its payer, or starts its closing.
    Release {
        /// The hold.
        hold: TransactionId,
    },
    /// Adds to a hold.
    TopUp {
        /// The hold.
        hold: TransactionId,
        /// How much, at least one mite.
        #[borsh(deserialize_with = "read_positive")]
        amount: Amount,
        /// The new expiry, not before the old one, in milliseconds since the Unix epoch.
        expires_at_ms: u64,
    },
    /// Delegates to a key, or changes its limits (see [`crate::delegated_key`]). Root alone.
    SetKey(Box<SetKey>),
    /// Ends a delegated key. Root alone.
    RemoveKey {
        /// The key.
        public_key: PublicKey,
    },
    /// Sets the owner's own limits (see [`crate::policy`]). Root alone.
    SetPolicy(Box<PolicySettings>),
    /// Frees an account that was empty for long (see [`crate::reclaim`]).
    Reclaim {
        /// The account.
        account: Address,
    },
}

impl Operation {
    /// Whether only Root may do it: whatever sets the limits of keys and of the account.
    pub fn is_for_root_alone(&self) -> bool {
        matches!(self, Operation::SetKey(_) | Operation::RemoveKey { .. } | Operation::SetPolicy(_))
    }
}

/// The opening of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct OpenHold {
    /// Whom it is for: another account than the sender's.
    pub payee: Address,
    /// How much is set aside, at least one mite.
    #[borsh(deserialize_with = "read_positive")]
    pub amount: Amount,
    /// What a capture needs.
    pub condition: Condition,
    /// The end, at most [`crate::hold::EXPIRY_AHEAD_MS_MAX`] ahead, in milliseconds since the Unix epoch.
    pub expires_at_ms: u64,
    /// The payee's own mark for this payment.
    pub reference: Option<Digest>,
}

/// A capture of a hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Capture {
    /// The hold.
    pub hold: TransactionId,
    /// How much of it in all is the payee's, what was captured before included. A hashlock always pays all of it.
    pub cumulative: Amount,
    /// What the hold's condition asks for.
    pub proof: Proof,
    /// Whether to close the hold and give the rest back: for the payee alone.
    pub is_final: bool,
}

/// What shows that the condition of a hold is met. A tag, once given, is never used for anything else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize)]
pub enum Proof {
    /// Nothing: the payee's own transaction is enough.
    None,
    /// The signature of a voucher for the capture's cumulative amount ([`crate::voucher`]).
    Voucher(Signature),
    /// What the digest of a hashlock was made of.
    Preimage([u8; 32]),
}

/// The setting of a delegated key.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct SetKey {
    /// The key.
    pub public_key: PublicKey,
    /// What it may do from now on.
    pub limits: KeyLimits,
}

/// One payment of a transfer.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Output {
    /// Who is paid. Paying oneself, and the same payee twice, are legal.
    pub to: Address,
    /// How much, at least one mite.
    #[borsh(deserialize_with = "read_positive")]
    pub amount: Amount,
    /// The payee's own mark for this payment, such as the hash of an invoice.
    pub reference: Option<[u8; 32]>,
    /// Whether the payee's account may be opened if there is none, which locks a reserve of the sender's.
    pub open: bool,
}

/// A transaction: an operation, by whom, and within which bounds it may execute.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// Whose account pays.
    pub sender: Address,
    /// Which key signs.
    pub authority: Authority,
    /// A number that this sender and authority use once; the first is 1 (see [`crate::replay`]).
    pub nonce: u64,
    /// The last commit timestamp, in milliseconds since the Unix epoch, at which this may execute.
    pub valid_until_ms: u64,
    /// What to do.
    pub operation: Operation,
}

/// A transaction and a signature over its id that nobody has checked yet.
#[derive(Clone, PartialEq, Eq, Debug, BorshSerialize, BorshDeserialize)]
pub struct SignedTransaction {
    /// The transaction.
    pub transaction: Transaction,
    /// The authority's signature over the transaction's id.
    pub signature: Signature,
}

/// A transaction whose signature was checked. It can be had from [`SignedTransaction::verify`] and from [`crate::verification`] only, or
/// from a node's own storage, where it was written after being checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedTransaction {
    id: TransactionId,
    signed: SignedTransaction,
}

impl Transaction {
    /// What this transaction is called, and what is signed.
    pub fn id(&self, chain: &ChainHash) -> TransactionId {
        Digest::of_encoding("transaction/v1", &[chain.as_bytes()], self)
    }

    /// Signs with the key of the authority.
    pub fn sign(self, chain: &ChainHash, key: &SecretKey) -> SignedTransaction {
        let signature = key.sign(&self.id(chain));
        SignedTransaction { transaction: self, signature }
    }

    /// The public key that must have signed.
    pub fn signer(&self) -> PublicKey {
        match self.authority {
            Authority::Root => self.sender.0,
            Authority::Key(key) => key,
        }
    }

    /// The outputs of a transfer; none for any other operation.
    pub fn outputs(&self) -> &[Output] {
        match &self.operation {
            Operation::Transfer { outputs } => outputs,
            _ => &[],
        }
    }

    /// How many bytes the transaction takes when it is signed and encoded.
    pub fn signed_bytes(&self) -> u64 {
        let bytes = borsh::object_length(self).expect("counting bytes cannot fail");
        (bytes + SIGNATURE_BYTES) as u64
    }
}

impl SignedTransaction {
    /// Decodes one signed transaction.
    ///
    /// # Errors
    /// [`CodecError`] for anything but its canonical encoding within the bounds of every count.
    pub fn decode(bytes: &[u8]) -> Result<SignedTransaction, CodecError> {
        codec::decode(bytes, SIGNED_TRANSACTION_BYTES_MAX)
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Checks the signature. Whoever has many to check does so in batches ([`crate::verification`]).
    ///
    /// # Errors
    /// [`SignatureError`] says which part of the rule failed.
    pub fn verify(self, chain: &ChainHash) -> Result<VerifiedTransaction, SignatureError> {
        let id = self.transaction.id(chain);
        signature::verify(&self.transaction.signer(), &self.signature, &id)?;
        Ok(VerifiedTransaction { id, signed: self })
    }
}

impl VerifiedTransaction {
    /// Takes a transaction from this node's own storage, where only checked ones are written.
    pub fn from_own_storage(signed: SignedTransaction, chain: &ChainHash) -> VerifiedTransaction {
        VerifiedTransaction { id: signed.transaction.id(chain), signed }
    }

    /// Takes a transaction that was checked just now ([`crate::verification`]).
    pub(crate) fn from_checked(id: TransactionId, signed: SignedTransaction) -> VerifiedTransaction {
        VerifiedTransaction { id, signed }
    }

    /// The id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.signed.transaction
    }

    /// The transaction with its signature.
    pub fn signed(&self) -> &SignedTransaction {
        &self.signed
    }
}

fn read_outputs<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Output>> {
    codec::bounded_vec(reader, 1, OUTPUTS_MAX)
}

fn read_positive<R: std::io::Read>(reader: &mut R) -> std::io::Result<Amount> {
    let amount = Amount::deserialize_reader(reader)?;
    if amount.is_zero() {
        return Err(codec::malformed("a payment of nothing: an amount is at least 1 mite"));
    }
    Ok(amount)
}
