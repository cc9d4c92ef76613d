//! Payment links: money for somebody who has no account yet, or whose address is not known.
//!
//! The payer funds a throw-away account, whose key travels in the link; the claimant sweeps it into an account of its own. **Whoever sees
//! the link has the money**, the payer too, as long as nobody has claimed it.
//!
//! `farthing-link:PREFIX:SEED:MITES:CHECK`: the network's address prefix, the seed of the key (64 hexadecimal digits), what the claimant is to
//! get, and the first 8 hexadecimal digits of a hash of all that, against typing mistakes.

use farthing_core::address::{Address, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;

const SCHEME: &str = "farthing-link:";

/// A payment link. Its debug output does not show the key.
#[derive(Clone)]
pub struct PaymentLink {
    /// The key of the throw-away account.
    pub key: SecretKey,
    /// What the claimant is to get. What is left after the reserve of the claimant's new account goes back to the payer.
    pub amount: Amount,
}

/// A text that is no payment link of this network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentLinkError {
    /// It has another form.
    #[error("this is not a payment link: it begins with \"{SCHEME}\" and has four parts; copy all of it")]
    Malformed,
    /// Its check digits say something else.
    #[error("the payment link is mistyped or cut off: copy all of it")]
    Mistyped,
    /// It is of another network.
    #[error(
        "the payment link is of the network \"{found}\", not of \"{expected}\": choose the profile of that network"
    )]
    WrongNetwork {
        /// The prefix of this network.
        expected: String,
        /// The prefix in the link.
        found: String,
    },
}

impl PaymentLink {
    /// The throw-away account.
    pub fn address(&self) -> Address {
        Address(self.key.public_key())
    }

    /// The text form on the network with this prefix. Whoever sees it has the money.
    pub fn to_text(&self, prefix: &AddressPrefix) -> String {
        let body = format!("{prefix}:{}:{}", hex::encode(*self.key.seed()), self.amount.mites());
        format!("{SCHEME}{body}:{}", check_digits(&body))
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`PaymentLinkError`] says what is wrong with it.
    pub fn parse(text: &str, prefix: &AddressPrefix) -> Result<PaymentLink, PaymentLinkError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(PaymentLinkError::Malformed)?;
        let (body, check) = rest.rsplit_once(':').ok_or(PaymentLinkError::Malformed)?;
        let [network, seed, mites]: [&str; 3] =
            body.split(':').collect::<Vec<_>>().try_into().map_err(|_| PaymentLinkError::Malformed)?;
        if check != check_digits(body) {
            return Err(PaymentLinkError::Mistyped);
        }
        if network != prefix.as_str() {
            let (expected, found) = (prefix.to_string(), network.chars().take(12).collect());
            return Err(PaymentLinkError::WrongNetwork { expected, found });
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed, &mut bytes).map_err(|_| PaymentLinkError::Malformed)?;
        let amount = mites.parse().map_err(|_| PaymentLinkError::Malformed)?;
        let link = PaymentLink { key: SecretKey::from_seed(&bytes), amount: Amount::from_mites(amount) };
        // One link has one text: no capitals, no leading zeros.
        if link.amount.is_zero() || link.to_text(prefix) != text.trim() {
            return Err(PaymentLinkError::Malformed);
        }
        Ok(link)
    }
}

impl std::fmt::Debug for PaymentLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentLink").field("address", &self.address()).field("amount", &self.amount).finish()
    }
}

fn check_digits(body: &str) -> String {
    hex::encode(&Digest::of("payment-link/v1", &[body.as_bytes()]).as_bytes()[..4])
}
