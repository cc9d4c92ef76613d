//! `farthing request` and `farthing pay`: payment requests as texts and QR codes.

use super::send::{parse_amount, parse_reference, pay as pay_output};
use super::watch::wait_for_payment;
use super::{Context, now_ms, random, span};
use crate::args::{PayArgs, RequestArgs};
use crate::error::{Error, ErrorCode};
use crate::order::Desk;
use crate::output::{self, Format};
use farthing_client::{PaymentRequest, PaymentRequestError};
use farthing_core::address::AddressPrefix;
use farthing_core::hash::Digest;
use farthing_core::transaction::Output;
use qrcode::{EcLevel, QrCode};
use serde_json::json;

/// Prints a payment request and, if asked, waits until it is paid.
pub async fn request(context: &Context, args: RequestArgs) -> Result<(), Error> {
    let network = context.network()?;
    let to = context.account(&network, args.to.as_deref())?;
    let amount = if args.amount.is_empty() { None } else { Some(parse_amount(&args.amount)?) };
    let reference = match args.reference.as_deref() {
        Some(text) => Digest(parse_reference(text)?),
        None => Digest(random()?),
    };
    let expires_at_ms = args.expires.map(|span_ms| now_ms().saturating_add(span_ms));
    let (label, message) = (args.label, args.message);
    let request = PaymentRequest { to, amount, reference: Some(reference), label, message, expires_at_ms };
    let uri = request.to_uri(network.prefix());
    // What a payer could not read back is no request.
    parse(&uri, network.prefix())?;
    let value = json!({ "uri": uri, "reference": reference, "amount": amount, "expires_at_ms": expires_at_ms });
    if !args.wait {
        return context.format.print(&value, &format!("{}\n{uri}", qr_code(&uri)?));
    }
    if context.format == Format::Text {
        output::note(&format!("{}\n{uri}\nwaiting for the payment …", qr_code(&uri)?));
    } else {
        output::note(&uri);
    }
    let paid = wait_for_payment(context, &network, &request).await?;
    let text = format!("paid {}  id {}", paid.amount, paid.id);
    context.format.print(&json!({ "request": value, "payment": paid }), &text)
}

/// Pays a payment request.
pub async fn pay(context: &Context, args: PayArgs) -> Result<(), Error> {
    let network = context.network()?;
    let request = parse(&args.uri, network.prefix())?;
    if request.expires_at_ms.is_some_and(|expires| expires <= now_ms()) {
        let message = "the payment request has expired: ask for another one; nothing was paid";
        return Err(Error::new(ErrorCode::Expired, message));
    }
    let amount = match (request.amount, args.amount) {
        (Some(asked), Some(given)) if asked != given => {
            return Err(Error::usage(format!("the request asks for {asked}, not for {given}: leave --amount out")));
        }
        (asked, given) => asked.or(given).ok_or_else(|| Error::usage("the request names no amount: give --amount"))?,
    };
    let who = [&request.label, &request.message].into_iter().flatten().cloned().collect::<Vec<_>>().join(": ");
    let left =
        request.expires_at_ms.map(|expires| format!("the request holds for another {}", span(expires - now_ms())));
    for line in [Some(who), left].into_iter().flatten().filter(|line| !line.is_empty()) {
        output::note(&line);
    }
    let desk = Desk::open(context, &network, &args.signing)?;
    let reference = request.reference.map(|reference| reference.0);
    pay_output(context, &desk, Output { to: request.to, amount, reference, open: args.open }).await
}

fn parse(uri: &str, prefix: &AddressPrefix) -> Result<PaymentRequest, Error> {
    PaymentRequest::parse(uri, prefix).map_err(|error| match error {
        PaymentRequestError::Address(error) => Error::from(error),
        error => Error::usage(error.to_string()),
    })
}

/// The text as a QR code for terminals: two rows of modules a line, dark on light, with the quiet zone of four modules.
fn qr_code(text: &str) -> Result<String, Error> {
    const QUIET: i32 = 4;
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Error::usage(format!("the request is too long for a QR code: {error}")))?;
    let width = i32::try_from(code.width()).expect("at most 177");
    let is_dark = |x: i32, y: i32| {
        let inside = (0..width).contains(&x) && (0..width).contains(&y);
        inside && code[(x as usize, y as usize)] == qrcode::Color::Dark
    };
    let mut drawn = String::new();
    for y in (-QUIET..width + QUIET).step_by(2) {
        for x in -QUIET..width + QUIET {
            // Light is what is printed, so that the code reads on dark terminals, which most are.
            drawn.push(match (is_dark(x, y), is_dark(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            });
        }
        drawn.push('\n');
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_finder_patterns_and_a_quiet_zone() {
        let code = qr_code("farthing:farl1qqq").unwrap();
        let lines: Vec<Vec<char>> = code.lines().map(|line| line.chars().collect()).collect();
        let width = lines[0].len();
        assert!(lines.iter().all(|line| line.len() == width) && lines.len() == width.div_ceil(2));
        assert!(lines[0].iter().chain(&lines[1]).all(|module| *module == '█'), "four light rows above");
        assert!(lines.iter().all(|line| line[..4].iter().chain(&line[width - 4..]).all(|module| *module == '█')));
        let row = |line: usize| lines[line][4..11].iter().collect::<String>();
        assert_eq!([row(2), row(3), row(4), row(5)], [" ▄▄▄▄▄ ", " █   █ ", " █▄▄▄█ ", "▄▄▄▄▄▄▄"]);
    }
}
