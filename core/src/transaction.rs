//! Transactions: what people sign.
//!
//! `id = blake3("transaction/v1" ‖ chain hash ‖ borsh(transaction))`; the signature is over the id, so nothing signed for one
//! chain means anything on another. Encodings are canonical ([`crate::codec`]): a transaction has one id whoever encodes it.

use crate::address::Address;
use crate::amount::Amount;
use crate::codec::{self, CodecError};
use crate::hash::{ChainHash, Digest};
use crate::keys::{PublicKey, SecretKey, Signature};
use crate::signature::{self, Claim, DecodedKey, SignatureError};
use borsh::{BorshDeserialize, BorshSerialize};

/// A transaction's id, also the id of what it creates.
pub type TransactionId = Digest;

/// The most outputs a transfer may have.
pub const OUTPUTS_MAX: usize = 1024;

/// The most bytes an encoded, signed transaction may take: a transfer of [`OUTPUTS_MAX`] outputs, each with a reference.
pub const SIGNED_TRANSACTION_BYTES_MAX: usize = 64 + 50 + 4 + OUTPUTS_MAX * (32 + 8 + 33 + 1);

/// Who speaks for the sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, BorshSerialize, BorshDeserialize)]
pub enum Authority {
    /// The account's own key, which is its address.
    Root,
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

/// A transaction whose signature was checked. It can be had from [`SignedTransaction::verify`] and the batch checks only, or
/// from a node's own storage, where it was written after being checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedTransaction {
    id: TransactionId,
    signed: SignedTransaction,
}

impl Transaction {
    /// What this transaction is called, and what is signed.
    pub fn id(&self, chain: &ChainHash) -> TransactionId {
        Digest::of("transaction/v1", &[chain.as_bytes(), &codec::encode(self)])
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
        }
    }

    /// The outputs of a transfer.
    pub fn outputs(&self) -> &[Output] {
        match &self.operation {
            Operation::Transfer { outputs } => outputs,
        }
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

    /// The first half of the signature check: the id, and a [`Claim`] for a batch.
    ///
    /// # Errors
    /// [`SignatureError`] if the key or the signature is encoded in a way the rule refuses.
    pub fn claim(&self, chain: &ChainHash) -> Result<(TransactionId, Claim), SignatureError> {
        let id = self.transaction.id(chain);
        let key = DecodedKey::decode(&self.transaction.signer())?;
        Ok((id, Claim::new(&key, &self.signature, &id)?))
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`SignatureError`] says which part of the rule failed.
    pub fn verify(self, chain: &ChainHash) -> Result<VerifiedTransaction, SignatureError> {
        let (id, claim) = self.claim(chain)?;
        claim.check()?;
        Ok(VerifiedTransaction { id, signed: self })
    }

    /// Checks all signatures of a payload as one batch: all or nothing.
    ///
    /// `rng` must be seeded from the operating system's entropy ([`signature::verify_batch`]).
    ///
    /// # Errors
    /// [`SignatureError`] if any of them is bad; which one is not looked for.
    pub fn verify_payload<R: rand_core::CryptoRng>(
        transactions: Vec<SignedTransaction>,
        chain: &ChainHash,
        rng: &mut R,
    ) -> Result<Vec<VerifiedTransaction>, SignatureError> {
        let mut claims = Vec::with_capacity(transactions.len());
        let verified = transactions
            .into_iter()
            .map(|signed| {
                let (id, claim) = signed.claim(chain)?;
                claims.push(claim);
                Ok(VerifiedTransaction { id, signed })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if signature::verify_batch(&claims, rng) { Ok(verified) } else { Err(SignatureError::Mismatch) }
    }

    /// Checks many signatures as one batch; the result stands at the place of its transaction.
    ///
    /// `rng` must be seeded from the operating system's entropy ([`signature::verify_batch`]).
    pub fn verify_all<R: rand_core::CryptoRng>(
        transactions: Vec<SignedTransaction>,
        chain: &ChainHash,
        rng: &mut R,
    ) -> Vec<Result<VerifiedTransaction, SignatureError>> {
        let (mut claims, mut places) = (Vec::with_capacity(transactions.len()), Vec::with_capacity(transactions.len()));
        let mut results: Vec<_> = transactions
            .into_iter()
            .enumerate()
            .map(|(place, signed)| {
                let (id, claim) = signed.claim(chain)?;
                claims.push(claim);
                places.push(place);
                Ok(VerifiedTransaction { id, signed })
            })
            .collect();
        for bad in signature::find_invalid(&claims, rng) {
            results[places[bad]] = Err(SignatureError::Mismatch);
        }
        results
    }
}

impl VerifiedTransaction {
    /// Takes a transaction that this node has checked before: from its own storage, where only checked ones are written, or after a
    /// look at its verdicts ([`VerifiedTransaction::verdict_key`]).
    pub fn from_own_storage(signed: SignedTransaction, chain: &ChainHash) -> VerifiedTransaction {
        VerifiedTransaction { id: signed.transaction.id(chain), signed }
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

    /// What a signature verdict is remembered under: never the id, since a stranger can publish a body with another signature.
    pub fn verdict_key(id: &TransactionId, signature: &Signature) -> Digest {
        Digest::of_bytes(&[id.as_bytes().as_slice(), signature.0.as_slice()].concat())
    }
}

fn read_outputs<R: std::io::Read>(reader: &mut R) -> std::io::Result<Vec<Output>> {
    codec::bounded_vec(reader, 1, OUTPUTS_MAX)
}

fn read_positive<R: std::io::Read>(reader: &mut R) -> std::io::Result<Amount> {
    let amount = Amount::deserialize_reader(reader)?;
    if amount.is_zero() {
        return Err(codec::malformed("an output of nothing: an amount is at least 1 mite"));
    }
    Ok(amount)
}
