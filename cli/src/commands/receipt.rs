//! `farthing receipt`: the proof of a payment, checked against the pinned genesis document and nothing else.

use super::{Context, explain, name_of, parse_id};
use crate::args::ReceiptArgs;
use crate::describe;
use crate::error::{Error, ErrorCode};
use crate::files;
use crate::network::Network;
use crate::output;
use farthing_client::{ClientError, Problem, ProblemCode, SignedTransactionJson};
use farthing_core::receipt::{RECEIPT_BYTES_MAX, Receipt, VerifiedReceipt};
use farthing_core::transaction::TransactionId;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most bytes of a saved receipt: in JSON, bytes are two digits, and headers have names.
pub const RECEIPT_FILE_BYTES_MAX: u64 = 4 * RECEIPT_BYTES_MAX as u64;

/// How often to ask for a certificate that is not there yet.
const POLL: Duration = Duration::from_millis(200);

/// Fetches or reads a receipt, checks it, and says what it proves.
pub async fn run(context: &Context, args: ReceiptArgs) -> Result<(), Error> {
    let id = args.id.as_deref().map(parse_id).transpose()?;
    let network = context.network()?;
    let receipt = match (&args.file, &id) {
        (Some(path), _) => read(path)?,
        (None, Some(id)) => fetch(context, &network, id).await?,
        (None, None) => unreachable!("the command line asks for one of the two"),
    };
    let verified = check(&network, &receipt)?;
    if let Some(id) = id.filter(|id| *id != verified.id) {
        let message = format!("this is the receipt of payment {}, not of {id}", verified.id);
        return Err(Error::new(ErrorCode::BadReceipt, message));
    }
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&receipt).expect("a receipt is plain data");
        files::write(path, text.as_bytes())?;
    }
    print(context, &network, &receipt, &verified, args.save.as_deref())
}

/// Fetches a receipt, as soon as there is one.
pub async fn fetch(context: &Context, network: &Network, id: &TransactionId) -> Result<Receipt, Error> {
    let deadline = Instant::now() + context.timeout;
    loop {
        let waiting = async |client: &farthing_client::Client| match client.receipt(id).await {
            Ok(receipt) => Ok(Some(receipt)),
            Err(ClientError::Problem(Problem { code: ProblemCode::NotCertifiedYet, .. })) => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(receipt) = network.ask(waiting).await? {
            return Ok(receipt);
        }
        if Instant::now() + POLL > deadline {
            return Err(Error::new(
                ErrorCode::OutcomeUnknown,
                format!("payment {id} is not certified yet: ask again in a moment"),
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Checks a receipt, and says what it proves.
pub fn check_and_print(context: &Context, network: &Network, receipt: &Receipt) -> Result<(), Error> {
    let verified = check(network, receipt)?;
    print(context, network, receipt, &verified, None)
}

/// What a receipt proves on this network.
pub fn check(network: &Network, receipt: &Receipt) -> Result<VerifiedReceipt, Error> {
    receipt
        .verify(&network.genesis)
        .map_err(|error| Error::new(ErrorCode::BadReceipt, format!("this receipt proves nothing: {error}")))
}

fn read(path: &Path) -> Result<Receipt, Error> {
    let bytes = files::read_named(path, RECEIPT_FILE_BYTES_MAX)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::usage(format!("{} is not a receipt: {error}", path.display())))
}

fn print(
    context: &Context,
    network: &Network,
    receipt: &Receipt,
    verified: &VerifiedReceipt,
    saved: Option<&Path>,
) -> Result<(), Error> {
    let validators = network.genesis.validators();
    let signers: Vec<&str> =
        verified.signers.iter().map(|index| validators[usize::from(*index)].name.as_str()).collect();
    let transaction = SignedTransactionJson::new(&receipt.transaction, network.prefix());
    let value = json!({
        "valid": true,
        "id": verified.id,
        "code": verified.code,
        "block": { "height": verified.height, "hash": verified.block, "timestamp_ms": verified.timestamp_ms },
        "position": receipt.position,
        "certified_by": signers,
        "validators": validators.len(),
        "transaction": transaction,
    });
    let signed = &receipt.transaction.transaction;
    let result = match verified.code.is_executed() {
        true => name_of(&verified.code),
        false => format!("rejected: {}; {}", explain(verified.code), describe::nothing(&signed.operation)),
    };
    let amount = describe::amount(&signed.operation);
    let amount = amount.map_or_else(|| "more than there can be".into(), |total| total.to_string());
    let mut fields = vec![("result", result)];
    match signed.outputs() {
        [] => fields.push(("what", describe::operation(&signed.operation, network.prefix()))),
        _ => fields.push(("amount", amount)),
    }
    fields.push(("from", transaction.sender.clone()));
    match signed.outputs() {
        [] => {}
        [output] => fields.push(("to", output.to.encode(network.prefix()))),
        outputs => fields.push(("to", format!("{} payees", outputs.len()))),
    }
    fields.extend([
        ("id", verified.id.to_string()),
        ("block", format!("{}  {}", verified.height, output::time(verified.timestamp_ms))),
        ("certified", format!("by {} of {} validators: {}", signers.len(), validators.len(), signers.join(", "))),
        ("checked", format!("against the genesis document of {}, chain {}", network.genesis.network(), network.chain)),
    ]);
    fields.extend(saved.map(|path| ("saved", path.display().to_string())));
    context.format.print(&value, &output::fields(&fields))
}
