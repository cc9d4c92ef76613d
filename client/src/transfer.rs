//! Making signed transfers: what the wallet and the load generator share.

use farthing_core::address::Address;
use farthing_core::genesis::Parameters;
use farthing_core::hash::ChainHash;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Authority, OUTPUTS_MAX, Operation, Output, SignedTransaction, Transaction};

/// How long a transfer is valid unless somebody asks for something else: 10 minutes, in milliseconds.
pub const VALIDITY_MS_DEFAULT: u64 = 600_000;

/// Outputs that no transfer can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// No output, or too many.
    #[error("a transfer has 1 to {OUTPUTS_MAX} outputs, this one has {0}")]
    OutputCount(usize),
    /// An output of nothing.
    #[error("an output pays at least 1 mite")]
    NothingPaid,
}

/// How long a transfer should be valid on this network, in milliseconds: [`VALIDITY_MS_DEFAULT`], or half of what the network
/// allows where that is less, so that a clock that runs ahead of the network's does no harm.
pub fn validity_ms(parameters: &Parameters) -> u64 {
    VALIDITY_MS_DEFAULT.min(parameters.validity_max_ms / 2)
}

/// Makes and signs a transfer from the account of `key`, valid until `valid_until_ms` (milliseconds since the Unix epoch).
///
/// # Errors
/// [`TransferError`] for outputs that every node would refuse to decode.
pub fn transfer(
    chain: &ChainHash,
    key: &SecretKey,
    nonce: u64,
    valid_until_ms: u64,
    outputs: Vec<Output>,
) -> Result<SignedTransaction, TransferError> {
    if !(1..=OUTPUTS_MAX).contains(&outputs.len()) {
        return Err(TransferError::OutputCount(outputs.len()));
    }
    if outputs.iter().any(|output| output.amount.is_zero()) {
        return Err(TransferError::NothingPaid);
    }
    let transaction = Transaction {
        sender: Address(key.public_key()),
        authority: Authority::Root,
        nonce,
        valid_until_ms,
        operation: Operation::Transfer { outputs },
    };
    Ok(transaction.sign(chain, key))
}
