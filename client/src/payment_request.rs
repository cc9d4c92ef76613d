//! Payment requests: what a payee asks for, as a text that fits a link or a QR code.
//!
//! `farthing:ADDRESS?amount=0.25FAR&reference=HEX&label=TEXT&message=TEXT&expires=MS`, all parameters optional, in any order, each at most once:
//!
//! | parameter | meaning |
//! |---|---|
//! | `amount` | how much, with its unit, `FAR` or `mite`; without it the payer chooses |
//! | `reference` | the payee's own mark, 64 hexadecimal digits: what to look for in `/v1/references` |
//! | `label` | who asks, for people |
//! | `message` | what for, for people |
//! | `expires` | from when on it should not be paid any more, in milliseconds since the Unix epoch |
//!
//! Texts are UTF-8, percent-encoded (RFC 3986). What a wallet does not know it passes over, but for names that begin with `req-`: such a
//! request it must refuse (as in BIP 21). Nothing in a request is signed: whoever shows it could have changed it.

use farthing_core::address::{Address, AddressError, AddressPrefix};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;

/// The most bytes of a request: what a QR code holds with room to spare.
pub const PAYMENT_REQUEST_BYTES_MAX: usize = 2_000;

/// The most characters of a label or a message.
const TEXT_CHARACTERS_MAX: usize = 256;

const SCHEME: &str = "farthing:";

/// What a payee asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PaymentRequest {
    /// Whom to pay.
    pub to: Address,
    /// How much; the payer chooses without it.
    pub amount: Option<Amount>,
    /// The payee's own mark.
    pub reference: Option<Digest>,
    /// Who asks.
    pub label: Option<String>,
    /// What for.
    pub message: Option<String>,
    /// From when on it should not be paid any more, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// A text that is no payment request of this network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRequestError {
    /// It does not begin with the scheme.
    #[error("a payment request begins with \"{SCHEME}\" and an address")]
    Scheme,
    /// It is too long.
    #[error("a payment request has at most {PAYMENT_REQUEST_BYTES_MAX} bytes")]
    TooLong,
    /// The address is mistyped or of another network.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A parameter with a value that it cannot have.
    #[error("the payment request's {name} is malformed: {reason}")]
    Parameter {
        /// Which.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter twice.
    #[error("the payment request has two of {0:?}")]
    Twice(String),
    /// Something that a wallet must know.
    #[error("the payment request requires {0:?}, which this version does not know: ask for another one, or update")]
    Required(String),
}

impl PaymentRequest {
    /// A request for any amount.
    pub fn new(to: Address) -> PaymentRequest {
        PaymentRequest { to, amount: None, reference: None, label: None, message: None, expires_at_ms: None }
    }

    /// The text form on the network with this prefix.
    pub fn to_uri(&self, prefix: &AddressPrefix) -> String {
        let text = |text: &Option<String>| text.as_deref().map(percent_encoded);
        let parameters = [
            ("amount", self.amount.map(|amount| amount.to_string().replace(' ', ""))),
            ("reference", self.reference.map(|reference| reference.to_string())),
            ("label", text(&self.label)),
            ("message", text(&self.message)),
            ("expires", self.expires_at_ms.map(|expires| expires.to_string())),
        ];
        let given = parameters.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        let query = given.collect::<Vec<_>>().join("&");
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{SCHEME}{}{separator}{query}", self.to.encode(prefix))
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`PaymentRequestError`] says what is wrong with it.
    pub fn parse(text: &str, prefix: &AddressPrefix) -> Result<PaymentRequest, PaymentRequestError> {
        let text = text.trim();
        if text.len() > PAYMENT_REQUEST_BYTES_MAX {
            return Err(PaymentRequestError::TooLong);
        }
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let rest = &text[scheme.ok_or(PaymentRequestError::Scheme)?.len()..];
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut request = PaymentRequest::new(Address::decode(address, prefix)?);
        let mut seen = Vec::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if seen.contains(&name) {
                return Err(PaymentRequestError::Twice(name.into()));
            }
            seen.push(name);
            request.set(name, value)?;
        }
        Ok(request)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), PaymentRequestError> {
        let wrong = |reason: String| PaymentRequestError::Parameter { name: name.into(), reason };
        match name {
            "amount" => {
                let text = percent_decoded(value).map_err(wrong)?;
                let amount: Amount = text.parse().map_err(|error| wrong(format!("{error}")))?;
                if amount.is_zero() {
                    return Err(wrong("a payment is of at least 1 mite".into()));
                }
                self.amount = Some(amount);
            }
            "reference" => self.reference = Some(value.parse().map_err(|error| wrong(format!("{error}")))?),
            "label" => self.label = Some(text_of(value).map_err(wrong)?),
            "message" => self.message = Some(text_of(value).map_err(wrong)?),
            "expires" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let expires = value.parse().ok().filter(|_| digits);
                let reason = || wrong("it is a number of milliseconds since the Unix epoch".into());
                self.expires_at_ms = Some(expires.ok_or_else(reason)?);
            }
            name if name.starts_with("req-") => return Err(PaymentRequestError::Required(name.into())),
            _ => {}
        }
        Ok(())
    }
}

fn text_of(value: &str) -> Result<String, String> {
    let text = percent_decoded(value)?;
    if text.chars().count() > TEXT_CHARACTERS_MAX {
        return Err(format!("it has more than {TEXT_CHARACTERS_MAX} characters"));
    }
    Ok(text)
}

/// All but the unreserved characters of RFC 3986 as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn percent_decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let mut byte = [0];
        let digits = after.get(..2).ok_or("a \"%\" is not followed by two hexadecimal digits")?;
        hex::decode_to_slice(digits, &mut byte)
            .map_err(|_| "a \"%\" is not followed by two hexadecimal digits".to_string())?;
        bytes.push(byte[0]);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".into())
}
