//! `farthing pay-many`: pays every row of a CSV file, once.
//!
//! The rows go into transactions of up to 1,024 outputs, in order. A payout is known by the hash of its file, the payer and the size of its
//! batches, and has a folder in the wallet:
//!
//! ```text
//! payouts/<chain hash>/<payout>/lock       held while the payout is worked on
//! payouts/<chain hash>/<payout>/<n>.json   the signed bytes of batch n, written and synced before they go anywhere
//! ```
//!
//! So the same command again goes on where the last one stopped, and pays nothing twice: what is in the folder is sent again as it is, and a
//! batch is signed anew only when the old one is known never to execute. A file with other rows is another payout.

use super::send::parse_reference;
use super::{Context, receipt};
use crate::args::PayManyArgs;
use crate::delivery::{Finding, find_out};
use crate::error::{Error, ErrorCode};
use crate::files;
use crate::journal::Entry;
use crate::keystore;
use crate::network::Network;
use crate::order::{Desk, has_account};
use crate::output::{self, note};
use farthing_client::TransactionState;
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Operation, Output, SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction, TransactionId};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most bytes of a file.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The most rows of a file.
const ROWS_MAX: usize = 200_000;

/// The most wrong rows that are told at a time.
const MISTAKES_MAX: usize = 20;

/// How many payees are looked up at the same time.
const LOOKUPS_MAX: usize = 8;

/// One row of the file.
struct Row {
    /// Its line in the file.
    line: u64,
    to: Address,
    amount: Amount,
    reference: Option<[u8; 32]>,
    open: bool,
}

/// The file, and what paying it takes.
struct Payout {
    rows: Vec<Row>,
    total: Amount,
    /// The accounts that are to be opened.
    opened: usize,
    reserves: Amount,
    batch: usize,
}

/// A batch that was executed.
struct Paid {
    signed: SignedTransaction,
    id: TransactionId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchFile {
    transaction: String,
}

/// Pays the rows of a file.
pub async fn run(context: &Context, args: PayManyArgs) -> Result<(), Error> {
    let network = context.network()?;
    let desk = Desk::open(context, &network, &args.signing)?;
    let bytes = files::read_named(&args.file, FILE_BYTES_MAX)?;
    let rows = parse(context, &network, &bytes, args.open)?;
    let payout_id =
        Digest::of("payout/v1", &[&desk.account().0.0, &args.batch.to_le_bytes(), &[u8::from(args.open)], &bytes]);
    let folder = context.home.payouts(&network.chain).join(payout_id.to_string());
    let batches = rows.len().div_ceil(usize::from(args.batch));
    let begun = (0..batches).filter(|number| folder.join(format!("{number}.json")).exists()).count();
    let payout = check_payees(&network, &rows, begun * usize::from(args.batch)).await?;
    let payout = Payout { rows, batch: usize::from(args.batch), ..payout };
    let account = desk.look().await?;
    let needed = payout.total.checked_add(payout.reserves);
    let covered = begun > 0 || needed.is_some_and(|needed| needed <= account.balance);
    if args.dry_run || !covered {
        let text = totals(&payout, batches, begun, account.balance);
        if !covered {
            let message = format!("the balance does not cover it: nothing was paid\n{text}");
            return Err(Error::new(ErrorCode::InsufficientFunds, message));
        }
        return context.format.print(&totals_json(&payout, batches, begun), &text);
    }
    desk.confirm(&format!("Pay {} to {} payees, in {batches} transactions", payout.total, payout.rows.len()))?;
    let secret = desk.unlock()?;
    files::create_dir(&folder)?;
    let _lock = files::lock_file(&folder.join("lock"))?;
    let mut paid = Vec::with_capacity(batches);
    for (number, rows) in payout.rows.chunks(payout.batch).enumerate() {
        let batch = Batch { desk: &desk, secret: &secret, path: folder.join(format!("{number}.json")), rows };
        let done = batch.pay().await.map_err(|error| {
            let (first, last) = (rows[0].line, rows[rows.len() - 1].line);
            let message = format!(
                "{number} of {batches} transactions are final, and the one with lines {first} to {last} is not: {}\nthe same \
                 command again goes on from here, and pays nothing twice",
                error.message
            );
            Error { message, ..error }
        })?;
        note(&format!("{} of {batches} transactions are final", number + 1));
        paid.push(done);
    }
    let receipts = args.receipts.unwrap_or_else(|| with_suffix(&args.file, ".receipts"));
    save_receipts(context, &network, &payout, &paid, &receipts).await?;
    let value = json!({
        "rows": payout.rows.len(),
        "total": payout.total,
        "transactions": paid.iter().map(|paid| paid.id).collect::<Vec<_>>(),
        "receipts": receipts,
    });
    let text = format!(
        "paid {} in {} rows and {} transactions\nreceipts in {}, one row each in results.csv",
        payout.total,
        payout.rows.len(),
        paid.len(),
        receipts.display()
    );
    context.format.print(&value, &text)
}

/// One transaction of a payout.
struct Batch<'a> {
    desk: &'a Desk<'a>,
    secret: &'a SecretKey,
    path: PathBuf,
    rows: &'a [Row],
}

impl Batch<'_> {
    /// Pays it, unless it is paid already.
    async fn pay(&self) -> Result<Paid, Error> {
        if let Some(signed) = self.read()?
            && let Some(paid) = self.go_on(signed).await?
        {
            return Ok(paid);
        }
        let placed = self.desk.send_recorded(self.secret, self.operation(), &mut |signed| self.write(signed)).await?;
        Ok(Paid { signed: placed.entry.signed, id: placed.entry.id })
    }

    /// What becomes of a transaction that was signed before; `None` if it never executed and never will.
    async fn go_on(&self, signed: SignedTransaction) -> Result<Option<Paid>, Error> {
        if signed.transaction.operation != self.operation() {
            return Err(Error::local(format!("{} holds other payments than the file", self.path.display())));
        }
        let id = signed.transaction.id(&self.desk.network().chain);
        let entry = Entry { id, created_ms: 0, signed: signed.clone() };
        match find_out(self.desk.network(), &entry).await? {
            Finding::Settled(status) if status.status == TransactionState::Executed => Ok(Some(Paid { signed, id })),
            Finding::Settled(_) | Finding::NeverExecuted => Ok(None),
            Finding::Open { .. } => match self.desk.send_again(signed.clone()).await {
                Ok(_) => Ok(Some(Paid { signed, id })),
                Err(error) => Err(error),
            },
            Finding::NonceUsed => Err(Error::new(
                ErrorCode::OutcomeUnknown,
                format!(
                    "what became of transaction {id} is too long ago for the nodes to say: look for it in `farthing history`; if it \
                     is not there, delete {} to pay these rows",
                    self.path.display()
                ),
            )),
        }
    }

    fn operation(&self) -> Operation {
        let output = |row: &Row| Output { to: row.to, amount: row.amount, reference: row.reference, open: row.open };
        Operation::Transfer { outputs: self.rows.iter().map(output).collect() }
    }

    fn read(&self) -> Result<Option<SignedTransaction>, Error> {
        let Some(bytes) = files::read(&self.path, 4 * SIGNED_TRANSACTION_BYTES_MAX as u64)? else { return Ok(None) };
        let damaged = |reason: String| {
            Error::local(format!(
                "{} is damaged ({reason}): look at `farthing history` whether its payments were made before you delete it",
                self.path.display()
            ))
        };
        let file: BatchFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let encoded = hex::decode(&file.transaction).map_err(|error| damaged(error.to_string()))?;
        SignedTransaction::decode(&encoded).map(Some).map_err(|error| damaged(error.to_string()))
    }

    fn write(&self, signed: &SignedTransaction) -> Result<(), Error> {
        let file = BatchFile { transaction: hex::encode(signed.encode()) };
        files::write(&self.path, serde_json::to_string(&file).expect("it is plain data").as_bytes())
    }
}

/// Reads the rows, or tells what is wrong with them, line by line.
fn parse(context: &Context, network: &Network, bytes: &[u8], open_all: bool) -> Result<Vec<Row>, Error> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(false).from_reader(bytes);
    let wrong = |error: csv::Error| Error::usage(format!("the file is no CSV: {error}"));
    let header = reader.headers().map_err(wrong)?.clone();
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let (Some(to), Some(amount)) = (column("to"), column("amount")) else {
        return Err(Error::usage(
            "the first line of the file must name the columns: to,amount and, if you like, reference,open",
        ));
    };
    if let Some(unknown) =
        header.iter().find(|name| !["to", "amount", "reference", "open"].contains(&&*name.to_ascii_lowercase()))
    {
        return Err(Error::usage(format!(
            "the column {unknown:?} is unknown: there are to, amount, reference and open"
        )));
    }
    let (reference, open) = (column("reference"), column("open"));
    let (mut rows, mut mistakes) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).filter(|cell| !cell.is_empty());
        let row = || -> Result<Row, Error> {
            let to = keystore::resolve(&context.home, cell(Some(to)).unwrap_or_default(), network.prefix())?;
            let amount: Amount =
                cell(Some(amount)).unwrap_or_default().parse().map_err(|error| Error::usage(format!("{error}")))?;
            if amount.is_zero() {
                return Err(Error::usage("a payment is of at least 1 mite"));
            }
            let reference = cell(reference).map(parse_reference).transpose()?;
            let open = open_all || yes_or_no(cell(open))?;
            Ok(Row { line, to, amount, reference, open })
        };
        match row() {
            Ok(row) => rows.push(row),
            Err(error) => mistakes.push(format!("line {line}: {}", error.message)),
        }
        if mistakes.len() == MISTAKES_MAX || rows.len() > ROWS_MAX {
            break;
        }
    }
    if !mistakes.is_empty() {
        return Err(Error::usage(format!("nothing was paid:\n{}", mistakes.join("\n"))));
    }
    match rows.len() {
        0 => Err(Error::usage("the file has no rows")),
        count if count > ROWS_MAX => Err(Error::usage(format!("the file has more than {ROWS_MAX} rows: split it"))),
        _ => Ok(rows),
    }
}

fn yes_or_no(cell: Option<&str>) -> Result<bool, Error> {
    match cell.unwrap_or("no").to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" => Ok(false),
        other => Err(Error::usage(format!("{other:?} in the column \"open\" is neither yes nor no"))),
    }
}

/// Looks which payees have an account, beginning with this row: those before are in transactions that are signed.
async fn check_payees(network: &Network, rows: &[Row], from: usize) -> Result<Payout, Error> {
    let from = from.min(rows.len());
    let payees: BTreeSet<Address> = rows[from..].iter().map(|row| row.to).collect();
    let known: BTreeMap<Address, bool> = futures::stream::iter(payees)
        .map(|payee| async move { Ok::<_, Error>((payee, has_account(network, &payee).await?)) })
        .buffer_unordered(LOOKUPS_MAX)
        .try_collect()
        .await?;
    let mut opened = BTreeSet::new();
    let mut missing = Vec::new();
    for row in &rows[from..] {
        let is_there = known.get(&row.to).copied().unwrap_or(true) || opened.contains(&row.to);
        match (is_there, row.open) {
            (true, _) => {}
            (false, true) => drop(opened.insert(row.to)),
            (false, false) => missing.push(row),
        }
    }
    if !missing.is_empty() {
        let lines = missing.iter().take(MISTAKES_MAX);
        let lines = lines.map(|row| format!("line {}: {} has no account", row.line, row.to.encode(network.prefix())));
        let reserve = network.genesis.parameters().account_reserve;
        return Err(Error::new(
            ErrorCode::NoSuchAccount,
            format!(
                "{} payees have no account: check the addresses; if you are sure, --open opens their accounts, which locks {reserve} of \
                 yours for each; nothing was paid\n{}",
                missing.len(),
                lines.collect::<Vec<_>>().join("\n")
            ),
        ));
    }
    let too_much = || Error::usage("the amounts add up to more than there can be");
    let total = Amount::checked_sum(rows.iter().map(|row| row.amount)).ok_or_else(too_much)?;
    let reserve = network.genesis.parameters().account_reserve;
    let reserves = Amount::checked_sum(opened.iter().map(|_| reserve)).ok_or_else(too_much)?;
    Ok(Payout { rows: Vec::new(), total, opened: opened.len(), reserves, batch: 0 })
}

fn totals(payout: &Payout, batches: usize, begun: usize, balance: Amount) -> String {
    let mut fields = vec![
        ("rows", payout.rows.len().to_string()),
        ("total", payout.total.to_string()),
        ("accounts to open", format!("{}, which locks {}", payout.opened, payout.reserves)),
        ("transactions", batches.to_string()),
        ("balance", balance.to_string()),
    ];
    if begun > 0 {
        fields.push(("begun", format!("{begun} of the transactions were signed before")));
    }
    output::fields(&fields)
}

fn totals_json(payout: &Payout, batches: usize, begun: usize) -> serde_json::Value {
    json!({
        "dry_run": true,
        "rows": payout.rows.len(),
        "total": payout.total,
        "opens": payout.opened,
        "reserves": payout.reserves,
        "transactions": batches,
        "begun": begun,
    })
}

/// Saves the receipt of each transaction, and a list that says for each row which receipt proves its payment, and as which output.
async fn save_receipts(
    context: &Context,
    network: &Network,
    payout: &Payout,
    paid: &[Paid],
    folder: &Path,
) -> Result<(), Error> {
    files::create_dir(folder)?;
    let mut list = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| Error::local(format!("cannot write the list of receipts: {error}"));
    let columns = ["line", "to", "amount", "reference", "transaction", "output", "block", "timestamp_ms", "receipt"];
    list.write_record(columns).map_err(failed)?;
    for (paid, rows) in paid.iter().zip(payout.rows.chunks(payout.batch)) {
        let proof = receipt::fetch(context, network, &paid.id).await?;
        let verified = receipt::check(network, &proof)?;
        let is_paid = verified.id == paid.id && verified.code.is_executed() && proof.transaction == paid.signed;
        if !is_paid {
            let message = "the node's receipt is of something else: ask another node";
            return Err(Error::new(ErrorCode::BadReceipt, message));
        }
        let name = format!("{}.json", paid.id);
        let text = serde_json::to_string(&proof).expect("a receipt is plain data");
        files::write(&folder.join(&name), text.as_bytes())?;
        for (output, row) in rows.iter().enumerate() {
            list.write_record([
                row.line.to_string(),
                row.to.encode(network.prefix()),
                row.amount.to_string(),
                row.reference.map(hex::encode).unwrap_or_default(),
                paid.id.to_string(),
                output.to_string(),
                verified.height.to_string(),
                verified.timestamp_ms.to_string(),
                name.clone(),
            ])
            .map_err(failed)?;
        }
    }
    let bytes =
        list.into_inner().map_err(|error| Error::local(format!("cannot write the list of receipts: {error}")))?;
    files::write(&folder.join("results.csv"), &bytes)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
