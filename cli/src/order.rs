//! Orders: what the wallet has the ledger do.
//!
//! Whatever is ordered goes the same way: it gets a number under a lock, is signed, goes into the journal, is sent, and its outcome is
//! waited for. A payment is one kind of order.

use crate::args::SigningArgs;
use crate::commands::{Context, explain, name_of, now_ms, pending};
use crate::delivery::{Delivery, deliver};
use crate::describe;
use crate::error::{Error, ErrorCode};
use crate::journal::{Entry, InFlight, Journal, NonceLock, Signatory};
use crate::keystore::{self, StoredKey};
use crate::network::Network;
use crate::output;
use crate::prompt;
use farthing_client::{
    AccountView, DroppedReason, OperationJson, ProblemCode, TransactionState, TransactionStatus, Wait, validity_ms,
};
use farthing_core::address::Address;
use farthing_core::block::ResultCode;
use farthing_core::keys::SecretKey;
use farthing_core::transaction::{Authority, Operation, SignedTransaction, Transaction};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often to look whether the oldest open order is settled, when there are as many as may be.
const WINDOW_POLL: Duration = Duration::from_millis(250);

/// One account's orders: with which key, for which account, on which network.
pub struct Desk<'a> {
    context: &'a Context,
    network: &'a Network,
    args: &'a SigningArgs,
    key: StoredKey,
    signatory: Signatory,
}

/// An order that was executed, or that a node has taken.
pub struct Placed {
    /// What a node says of it.
    pub status: TransactionStatus,
    /// How long it took.
    pub took: Duration,
    /// What was sent.
    pub entry: Entry,
}

impl<'a> Desk<'a> {
    /// Chooses the key that the arguments name. Asks nobody.
    pub fn open(context: &'a Context, network: &'a Network, args: &'a SigningArgs) -> Result<Desk<'a>, Error> {
        let key = keystore::select(&context.home, args.from.as_deref(), network.profile.from.as_deref())?;
        let own = key.address();
        let account = match &args.account {
            Some(text) => keystore::resolve(&context.home, text, network.prefix())?,
            None => own,
        };
        let authority = if account == own { Authority::Root } else { Authority::Key(own.0) };
        Ok(Desk { context, network, args, key, signatory: Signatory { account, authority } })
    }

    /// The account that acts.
    pub fn account(&self) -> &Address {
        &self.signatory.account
    }

    /// The network.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The account as a node has it, after a look at what earlier commands left open.
    pub async fn look(&self) -> Result<AccountView, Error> {
        pending::settle_quietly(self.context, self.network).await;
        let address = self.signatory.account.encode(self.network.prefix());
        self.network.ask(async |client| client.account(&address).await).await.map_err(|error| match error.code {
            ErrorCode::NoSuchAccount => Error::new(
                ErrorCode::InsufficientFunds,
                format!(
                    "{address} has no account yet, so it has nothing to pay with: have somebody pay to it with --open first"
                ),
            ),
            _ => error,
        })
    }

    /// Asks whether to go on, where there is something to lose and somebody to ask.
    pub fn confirm(&self, question: &str) -> Result<(), Error> {
        if !self.args.yes && !self.network.profile.is_local() && prompt::is_interactive() {
            let question = format!("{question} on {}?", self.network.genesis.network());
            if !prompt::confirm(&question, "--yes")? {
                return Err(Error::usage("nothing was sent"));
            }
        }
        Ok(())
    }

    /// The private key, with its password where one is needed.
    pub fn unlock(&self) -> Result<SecretKey, Error> {
        self.key.unlock(self.args.password_file.as_deref())
    }

    /// What to wait for, by the arguments.
    pub fn wait(&self) -> Wait {
        if self.args.no_wait { Wait::Accepted } else { Wait::Final }
    }

    /// Asks, signs, sends and waits.
    pub async fn place(&self, operation: Operation) -> Result<Placed, Error> {
        self.look().await?;
        let mut question = describe::operation(&operation, self.network.prefix());
        if let Some(first) = question.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        self.confirm(&question)?;
        let secret = self.unlock()?;
        self.send(&secret, operation).await
    }

    /// Signs, sends and waits.
    pub async fn send(&self, secret: &SecretKey, operation: Operation) -> Result<Placed, Error> {
        self.send_recorded(secret, operation, &mut |_| Ok(())).await
    }

    /// Signs and sends as [`Desk::send`] does, after `record` has noted the signed bytes for itself.
    pub async fn send_recorded(
        &self,
        secret: &SecretKey,
        operation: Operation,
        record: &mut dyn FnMut(&SignedTransaction) -> Result<(), Error>,
    ) -> Result<Placed, Error> {
        let in_flight = self.prepare(secret, operation, self.deadline(), record).await?;
        self.finish(in_flight).await
    }

    /// Sends what is in the journal already, or what `signed` puts there, and waits.
    pub async fn send_again(&self, signed: SignedTransaction) -> Result<Placed, Error> {
        let journal = self.journal()?;
        let in_flight = match self.claim(&journal, signed.transaction.nonce).await? {
            Some(in_flight) => in_flight,
            None => journal.lock()?.record(signed, now_ms())?,
        };
        self.finish(in_flight).await
    }

    /// Takes over what is in the journal under a number; `None` if there is nothing. Another command may be asking about it, or sending
    /// it: this waits for that.
    ///
    /// # Errors
    /// If the other one is not done in time.
    pub async fn claim(&self, journal: &Journal, nonce: u64) -> Result<Option<InFlight>, Error> {
        let deadline = self.deadline();
        loop {
            if let Some(in_flight) = journal.claim(nonce)? {
                return Ok(Some(in_flight));
            }
            if !journal.open_nonces()?.contains(&nonce) {
                return Ok(None);
            }
            if Instant::now() + WINDOW_POLL > deadline {
                return Err(Error::usage(format!(
                    "another process of this wallet is sending number {nonce} just now: try again in a moment"
                )));
            }
            tokio::time::sleep(WINDOW_POLL).await;
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.context.timeout
    }

    /// The journal of this key.
    pub fn journal(&self) -> Result<Journal, Error> {
        Journal::open(&self.context.home, &self.network.chain, &self.signatory)
    }

    /// The highest nonce that the ledger has seen of this key.
    pub async fn nonce_high(&self) -> Result<u64, Error> {
        let address = self.signatory.account.encode(self.network.prefix());
        match self.signatory.authority {
            Authority::Root => Ok(self.network.ask(async |client| client.account(&address).await).await?.nonce_high),
            Authority::Key(public_key) => {
                let keys = self.network.ask(async |client| client.keys(&address).await).await?.keys;
                let key = keys.iter().find(|key| key.public_key == public_key).ok_or_else(|| {
                    Error::usage(format!(
                        "key {} is no delegated key of {address}: `farthing keys list --account {address}` shows those there are",
                        self.key.name
                    ))
                })?;
                Ok(key.nonce_high)
            }
        }
    }

    /// When what was rejected for a limit of its period would pass; `None` if it was rejected for something else, or no node says.
    async fn next_period_at_ms(&self, status: &TransactionStatus) -> Option<u64> {
        let address = self.signatory.account.encode(self.network.prefix());
        match (status.code?, self.signatory.authority) {
            (ResultCode::OverSpendingLimit, _) => {
                self.network.ask(async |client| client.policy(&address).await).await.ok()?.next_period_at_ms
            }
            (ResultCode::OverKeyLimit, Authority::Key(public_key)) => {
                let keys = self.network.ask(async |client| client.keys(&address).await).await.ok()?.keys;
                keys.iter().find(|key| key.public_key == public_key)?.next_period_at_ms
            }
            _ => None,
        }
    }

    /// Signs an operation with a nonce.
    pub fn sign(&self, secret: &SecretKey, nonce: u64, operation: Operation) -> SignedTransaction {
        let Signatory { account: sender, authority } = self.signatory;
        let valid_until_ms = now_ms() + validity_ms(self.network.genesis.parameters());
        Transaction { sender, authority, nonce, valid_until_ms, operation }.sign(&self.network.chain, secret)
    }

    /// Numbers and signs an order and writes it to the journal. Waits while there are as many open ones as may be.
    async fn prepare(
        &self,
        secret: &SecretKey,
        operation: Operation,
        deadline: Instant,
        record: &mut dyn FnMut(&SignedTransaction) -> Result<(), Error>,
    ) -> Result<InFlight, Error> {
        let used = self.nonce_high().await?;
        let journal = self.journal()?;
        loop {
            let lock: NonceLock<'_> = journal.lock()?;
            match lock.next_nonce(used) {
                Ok(nonce) => {
                    let signed = self.sign(secret, nonce, operation);
                    record(&signed)?;
                    return lock.record(signed, now_ms());
                }
                Err(error) if error.code == ErrorCode::TooManyOpen && Instant::now() + WINDOW_POLL < deadline => {
                    // Others need the lock to settle theirs.
                    drop(lock);
                    tokio::time::sleep(WINDOW_POLL).await;
                    pending::settle_quietly(self.context, self.network).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what is in the journal, and settles it wherever the outcome is known. The time to wait begins here: how long it took until
    /// it was in the journal is no reason not to send it.
    async fn finish(&self, in_flight: InFlight) -> Result<Placed, Error> {
        let started = Instant::now();
        let delivery = deliver(self.network, &in_flight.entry, self.wait(), self.deadline()).await;
        let took = started.elapsed();
        let (id, entry) = (in_flight.entry.id.to_string(), in_flight.entry.clone());
        let operation = &entry.signed.transaction.operation;
        let error = match delivery {
            Delivery::Settled(status) if status.status == TransactionState::Executed => {
                in_flight.settle()?;
                return Ok(Placed { status, took, entry });
            }
            // It stays in the journal until a later command has seen it settled.
            Delivery::Accepted(status) => return Ok(Placed { status, took, entry }),
            Delivery::Settled(status) if status.status == TransactionState::Rejected => {
                let error = rejected(&status, operation);
                match self.next_period_at_ms(&status).await {
                    Some(at_ms) => {
                        let message = format!("{}; the next period begins at {}", error.message, output::time(at_ms));
                        Error { message, ..error }.with("passes_at_ms", at_ms)
                    }
                    None => error,
                }
            }
            Delivery::Settled(status) => Error::new(
                ErrorCode::Expired,
                detailed(
                    &format!("it expired before it was in a block: it never will be; {}", describe::nothing(operation)),
                    &status,
                ),
            ),
            Delivery::Refused(status) => refused(&status, operation),
            Delivery::NotSent(error) => error,
            Delivery::Unknown { last } => return Err(unknown(&in_flight, &last).with("id", id)),
        };
        in_flight.settle()?;
        Err(error.with("id", id))
    }
}

impl Placed {
    /// "final in 210 ms  block 7  id …", or "accepted in …".
    pub fn text(&self) -> String {
        let took = self.took.as_millis();
        let block = self.status.block.map(|block| format!("  block {}", block.height)).unwrap_or_default();
        let how = if self.status.status == TransactionState::Executed { "final" } else { "accepted" };
        format!("{how} in {took} ms{block}  id {}", self.entry.id)
    }

    /// The same for programs, with `more` fields.
    pub fn to_json(&self, network: &Network, more: Value) -> Value {
        let transaction = &self.entry.signed.transaction;
        let mut value = json!({
            "id": self.entry.id,
            "status": self.status.status,
            "block": self.status.block,
            "latency_ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "from": transaction.sender.encode(network.prefix()),
            "nonce": transaction.nonce,
            "valid_until_ms": transaction.valid_until_ms,
        });
        let fields = value.as_object_mut().expect("it is one");
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        if let [output] = transaction.outputs() {
            fields.insert("to".into(), json!(output.to.encode(network.prefix())));
            fields.insert("amount".into(), json!(output.amount));
            fields.insert("reference".into(), json!(output.reference.map(hex::encode)));
        } else if transaction.outputs().is_empty() {
            fields.insert("operation".into(), json!(OperationJson::new(&transaction.operation, network.prefix())));
        }
        value
    }
}

/// Whether an address has an account.
pub async fn has_account(network: &Network, address: &Address) -> Result<bool, Error> {
    let text = address.encode(network.prefix());
    network
        .ask(async |client| match client.account(&text).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(ProblemCode::NoSuchAccount) => Ok(false),
            Err(error) => Err(error),
        })
        .await
}

fn rejected(status: &TransactionStatus, operation: &Operation) -> Error {
    let nothing = describe::nothing(operation);
    let Some(code) = status.code else {
        return Error::new(ErrorCode::Rejected, detailed("it was rejected", status));
    };
    let kind = match code {
        ResultCode::InsufficientBalance | ResultCode::InsufficientReserve => ErrorCode::InsufficientFunds,
        ResultCode::NoSuchAccount => ErrorCode::NoSuchAccount,
        _ => ErrorCode::Rejected,
    };
    let block = status.block.map(|block| format!(" in block {}", block.height)).unwrap_or_default();
    Error::new(kind, format!("rejected{block}: {}; {nothing}", explain(code))).with("result", name_of(&code))
}

fn refused(status: &TransactionStatus, operation: &Operation) -> Error {
    let nothing = describe::nothing(operation);
    let (kind, what) = match status.reason {
        Some(DroppedReason::Expired | DroppedReason::ValidTooLong) => (
            ErrorCode::Expired,
            "the network's clock and this machine's differ too much: set the clock and pay again".into(),
        ),
        Some(DroppedReason::NonceUsed) => (
            ErrorCode::Dropped,
            "another wallet with the same key used this payment's number: look at `farthing history` and pay again"
                .into(),
        ),
        Some(DroppedReason::InsufficientBandwidth) => {
            let when = match status.passes_at_ms {
                Some(at_ms) => format!("from {} on it would pass", output::time(at_ms)),
                None => "it costs more than the account can ever have: a higher balance has more".into(),
            };
            (ErrorCode::Dropped, format!("the account has used up its bandwidth: {when}; see `farthing bandwidth`"))
        }
        _ if matches!(operation, Operation::Transfer { .. }) => (ErrorCode::Dropped, "no node took the payment".into()),
        _ => (ErrorCode::Dropped, "no node took it".into()),
    };
    let mut error = Error::new(kind, detailed(&format!("{what}; {nothing}"), status));
    if let Some(reason) = &status.reason {
        error = error.with("reason", name_of(reason));
    }
    match status.passes_at_ms {
        Some(at_ms) => error.with("passes_at_ms", at_ms),
        None => error,
    }
}

fn unknown(in_flight: &InFlight, last: &str) -> Error {
    let transaction = &in_flight.entry.signed.transaction;
    Error::new(
        ErrorCode::OutcomeUnknown,
        format!(
            "the outcome is not known: {last}\nthe payment may have been made, or may still be until {}: do not pay again before \
             you know; `farthing pending` asks about it and sends the same payment again\nid {}",
            output::time(transaction.valid_until_ms),
            in_flight.entry.id
        ),
    )
    .with("valid_until_ms", transaction.valid_until_ms)
}

fn detailed(text: &str, status: &TransactionStatus) -> String {
    match &status.detail {
        Some(detail) => format!("{text} ({detail})"),
        None => text.into(),
    }
}
