//! The payload of a vertex: signed transactions, one after the other. Their encodings delimit themselves.

use borsh::BorshDeserialize;
use farthing_core::codec::CodecError;
use farthing_core::transaction::SignedTransaction;

/// The transactions of a payload. An empty payload has none.
///
/// # Errors
/// [`CodecError`] if any byte is not part of a canonical transaction: then the whole payload is void.
pub fn decode(payload: &[u8]) -> Result<Vec<SignedTransaction>, CodecError> {
    let mut rest = payload;
    let mut transactions = Vec::new();
    // Every round takes at least one byte, so this ends with the payload, whose size is bounded by validity.
    while !rest.is_empty() {
        let transaction = SignedTransaction::deserialize(&mut rest).map_err(|error| {
            CodecError::Malformed(format!("transaction {} of the payload: {error}", transactions.len()))
        })?;
        transactions.push(transaction);
    }
    Ok(transactions)
}
