//! `farthing channel`: payment channels, on both sides.
//!
//! ```text
//! channels/<chain hash>/lock            held while a voucher is made or taken
//! channels/<chain hash>/<hold>.key      the seed of the key that signs the channel's vouchers: for at most what the hold holds
//! channels/<chain hash>/<hold>.payer    what was signed for (farthing_client::channel::Payer)
//! channels/<chain hash>/<hold>.payee    the best voucher (farthing_client::channel::Payee)
//! ```
//!
//! A voucher as text is the hexadecimal digits of its encoding.

use super::hold::{closed, expiry, read};
use super::send::{parse_amount, parse_reference};
use super::{Context, now_ms, proofs, random};
use crate::args::{ChannelCommand, ClosingArgs, SigningArgs};
use crate::error::{Error, ErrorCode};
use crate::files;
use crate::network::Network;
use crate::order::{Desk, Placed};
use crate::{keystore, output};
use farthing_client::HoldView;
use farthing_client::channel::{ChannelError, Payee, Payer, Terms};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_core::hold::{CLOSE_DELAY_MS, Condition, Hold};
use farthing_core::keys::SecretKey;
use farthing_core::state::SlotValue;
use farthing_core::transaction::{OpenHold, Operation, TransactionId};
use farthing_core::voucher::Voucher;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// The bytes of an encoded voucher.
const VOUCHER_BYTES: usize = 32 + 8 + 64;

/// The most vouchers that are taken at once.
const VOUCHERS_MAX: usize = 10_000;

/// The most bytes of a file with a key.
const KEY_BYTES_MAX: u64 = 128;

/// The most channels of one wallet that are looked at.
const CHANNELS_MAX: usize = 1_000;

/// Runs a command on channels.
pub async fn run(context: &Context, command: ChannelCommand) -> Result<(), Error> {
    let network = context.network()?;
    let channels = Channels::new(context, &network)?;
    match command {
        ChannelCommand::Open { payee, amount, expires, close_delay, reference, signing } => {
            let payee = keystore::resolve(&context.home, &payee, network.prefix())?;
            let amount = parse_amount(&amount)?;
            let reference = reference.as_deref().map(parse_reference).transpose()?.map(Digest);
            if !CLOSE_DELAY_MS.contains(&close_delay) {
                return Err(Error::usage("a --close-delay is 1h to 30d"));
            }
            let key = SecretKey::from_seed(&random()?);
            let condition = Condition::Voucher { key: key.public_key(), close_delay_ms: close_delay };
            let open = OpenHold { payee, amount, condition, expires_at_ms: expiry(expires)?, reference };
            channels.open(&key, open, &signing).await
        }
        ChannelCommand::Pay { hold, amount } => channels.pay(hold, parse_amount(&amount)?).await,
        ChannelCommand::Receive { vouchers, at_least, safety } => {
            channels.receive(&read_vouchers(&vouchers)?, at_least, safety).await
        }
        ChannelCommand::Status { hold } => channels.status(hold).await,
        ChannelCommand::Close(args) => channels.close(&args).await,
        ChannelCommand::Guard { every, once, signing } => channels.guard(every, once, &signing).await,
    }
}

/// The channels of a wallet on one network.
struct Channels<'a> {
    context: &'a Context,
    network: &'a Network,
    folder: PathBuf,
}

/// What one end of a channel has on disk.
enum End {
    Payer(Payer),
    Payee(Payee),
}

impl<'a> Channels<'a> {
    fn new(context: &'a Context, network: &'a Network) -> Result<Channels<'a>, Error> {
        let folder = context.home.channels(&network.chain);
        files::create_dir(&folder)?;
        Ok(Channels { context, network, folder })
    }

    async fn open(&self, key: &SecretKey, open: OpenHold, signing: &SigningArgs) -> Result<(), Error> {
        let desk = Desk::open(self.context, self.network, signing)?;
        desk.look().await?;
        let payee = output::shorten(&open.payee.encode(self.network.prefix()));
        desk.confirm(&format!("Open a channel of {} for {payee}", open.amount))?;
        let secret = desk.unlock()?;
        // The key is on disk before the money is in the channel.
        let keep_key = &mut |signed: &farthing_core::transaction::SignedTransaction| {
            let seed = Zeroizing::new(hex::encode(*key.seed()));
            files::write(&self.path(&signed.transaction.id(&self.network.chain), "key"), seed.as_bytes())
        };
        let placed = desk.send_recorded(&secret, Operation::OpenHold(Box::new(open)), keep_key).await?;
        let hold = placed.entry.id;
        let text = format!("{}\nchannel {hold}\npay with `farthing channel pay {hold} AMOUNT`", placed.text());
        self.context.format.print(&placed.to_json(self.network, json!({ "hold": hold })), &text)
    }

    async fn pay(&self, hold: TransactionId, amount: Amount) -> Result<(), Error> {
        let _lock = self.lock()?;
        let key = self.key(&hold)?;
        let path = self.path(&hold, "payer");
        let mut payer = match path.exists() {
            true => Payer::open(&path, key).map_err(failed)?,
            false => {
                let budget = read(self.network, &hold).await?.amount;
                Payer::create(&path, self.network.chain, hold, budget, key).map_err(failed)?
            }
        };
        let voucher = match payer.pay(amount) {
            Err(ChannelError::OverBudget { budget, .. }) => {
                // It may have been topped up.
                let held = read(self.network, &hold).await?.amount;
                if held > budget {
                    payer.set_budget(held).map_err(failed)?;
                }
                payer.pay(amount).map_err(failed)?
            }
            paid => paid.map_err(failed)?,
        };
        let text = hex::encode(codec::encode(&voucher));
        let left = payer.budget().checked_sub(payer.spent()).unwrap_or(Amount::ZERO);
        let value =
            json!({ "voucher": text, "hold": hold, "amount": amount, "cumulative": voucher.cumulative, "left": left });
        self.context.format.print(&value, &text)
    }

    async fn receive(&self, vouchers: &[Voucher], at_least: Option<Amount>, safety_ms: u64) -> Result<(), Error> {
        let Some(last) = vouchers.last() else { return Err(Error::usage("there is no voucher")) };
        if vouchers.iter().any(|voucher| voucher.hold != last.hold) {
            return Err(Error::usage("these are vouchers of several channels: give those of one at a time"));
        }
        let _lock = self.lock()?;
        let path = self.path(&last.hold, "payee");
        let mut payee = match path.exists() {
            true => {
                let mut payee = Payee::open(&path).map_err(failed)?;
                // A voucher can be checked without a node, but not whether the payer is closing.
                if let Err(error) = self.observe(&mut payee).await {
                    output::note(&format!("note: the channel could not be looked at: {error}"));
                }
                payee
            }
            false => {
                let terms = self.proven_terms(&last.hold).await?;
                Payee::create(&path, terms, safety_ms).map_err(failed)?
            }
        };
        let before = payee.best().map_or(Amount::ZERO, |best| best.cumulative).max(payee.terms().captured);
        let adds = last.cumulative.checked_sub(before).unwrap_or(Amount::ZERO);
        if let Some(wanted) = at_least.filter(|wanted| adds < *wanted) {
            return Err(failed(ChannelError::TooLittle { added: adds, wanted }));
        }
        let added = match vouchers {
            [only] => payee.accept(only, Amount::from_mites(1), now_ms()),
            many => payee.accept_all(many, now_ms(), ChaCha20Rng::from_seed(random()?)),
        };
        let added = added.map_err(failed)?;
        let terms = payee.terms();
        let due = last.cumulative.checked_sub(terms.captured).unwrap_or(Amount::ZERO);
        let next_check_ms = payee.next_check_ms(now_ms());
        let value = json!({
            "hold": last.hold, "added": added, "cumulative": last.cumulative, "due": due, "amount": terms.amount,
            "settle_before_ms": next_check_ms,
        });
        let text = format!(
            "received {added}: {due} to settle, before {}  channel {}",
            output::time(next_check_ms),
            output::shorten(&last.hold.to_string())
        );
        self.context.format.print(&value, &text)
    }

    async fn status(&self, only: Option<TransactionId>) -> Result<(), Error> {
        let (mut rows, mut values) = (Vec::new(), Vec::<Value>::new());
        for (hold, end) in self.ends()?.into_iter().filter(|(hold, _)| only.is_none_or(|only| only == *hold)) {
            // Without a node there is still something to say.
            let view = read(self.network, &hold).await.ok();
            let state = view.as_ref().map_or_else(|| "?".into(), |view| super::name_of(&view.state));
            let (role, amount, best) = match &end {
                End::Payer(payer) => ("payer", payer.budget(), payer.spent()),
                End::Payee(payee) => {
                    ("payee", payee.terms().amount, payee.best().map_or(Amount::ZERO, |best| best.cumulative))
                }
            };
            let captured = view.as_ref().and_then(|view| view.captured);
            values.push(json!({
                "hold": hold, "role": role, "state": state, "amount": amount, "vouchers": best, "captured": captured,
            }));
            let settled = captured.map_or_else(String::new, |captured| format!(", {captured} settled"));
            rows.push(vec![role.into(), state, format!("{best} of {amount} paid{settled}"), hold.to_string()]);
        }
        if let Some(hold) = only.filter(|_| rows.is_empty()) {
            return Err(Error::new(ErrorCode::NotFound, format!("this wallet has no vouchers of a channel {hold}")));
        }
        let text = if rows.is_empty() { "no channels".into() } else { output::table(&rows) };
        self.context.format.print(&json!({ "channels": values }), &text)
    }

    async fn close(&self, args: &ClosingArgs) -> Result<(), Error> {
        let hold = args.hold;
        let view = read(self.network, &hold).await?;
        let terms = view.to_hold(self.network.prefix())?.ok_or_else(|| closed(&hold))?;
        let desk = Desk::open(self.context, self.network, &args.signing)?;
        let operation = match *desk.account() {
            payee if payee == terms.payee => self.settlement(&hold, &terms, args.keep_open).await?,
            _ if args.keep_open => {
                return Err(Error::usage("--keep-open is for the payee, whom the channel pays"));
            }
            _ => Operation::Release { hold },
        };
        let placed = desk.place(operation).await?;
        let after = read(self.network, &hold).await?;
        self.print_closing(&placed, &view, &after)
    }

    fn print_closing(&self, placed: &Placed, before: &HoldView, after: &HoldView) -> Result<(), Error> {
        let [was, is] = [before, after].map(|view| view.captured.unwrap_or(Amount::ZERO));
        let settled = is.checked_sub(was).unwrap_or(Amount::ZERO);
        let value = placed.to_json(self.network, json!({ "settled": settled, "state": after.state }));
        let state = super::name_of(&after.state);
        let until = match &after.terms {
            Some(terms) if terms.closing_at_ms.is_some() => {
                format!(": run this again after {} to take the rest back", output::time(terms.end_ms))
            }
            _ => String::new(),
        };
        self.context
            .format
            .print(&value, &format!("settled {settled}; the channel is {state}{until}\n{}", placed.text()))
    }

    /// What the payee does in the end, or now.
    async fn settlement(&self, id: &TransactionId, hold: &Hold, keep_open: bool) -> Result<Operation, Error> {
        let _lock = self.lock()?;
        let path = self.path(id, "payee");
        let mut payee = match path.exists() {
            true => Some(Payee::open(&path).map_err(failed)?),
            false => None,
        };
        if let Some(payee) = &mut payee {
            payee.observe(Some(hold)).map_err(failed)?;
        }
        match payee {
            Some(payee) if keep_open => payee.capture().ok_or_else(nothing_to_settle),
            None if keep_open => Err(nothing_to_settle()),
            Some(mut payee) => payee.close().map_err(failed),
            None => Ok(Operation::Release { hold: *id }),
        }
    }

    /// Settles what is due, again and again.
    async fn guard(&self, every_ms: u64, once: bool, signing: &SigningArgs) -> Result<(), Error> {
        let desk = Desk::open(self.context, self.network, signing)?;
        let secret = desk.unlock()?;
        loop {
            for (hold, end) in self.ends()? {
                let End::Payee(mut payee) = end else { continue };
                match self.observe(&mut payee).await {
                    Err(error) if error.code == ErrorCode::NotFound => continue,
                    Err(error) => output::note(&format!("channel {hold} could not be looked at: {error}")),
                    Ok(()) => {}
                }
                let Some(operation) = payee.due(now_ms()) else { continue };
                match desk.send(&secret, operation).await {
                    Ok(placed) => output::note(&format!("settled channel {hold}: {}", placed.text())),
                    Err(error) => output::note(&format!("channel {hold} could not be settled: {error}")),
                }
            }
            if once {
                return self.status(None).await;
            }
            tokio::time::sleep(Duration::from_millis(every_ms.max(1_000))).await;
        }
    }

    /// Takes over what a node says of the hold now.
    async fn observe(&self, payee: &mut Payee) -> Result<(), Error> {
        let hold = payee.terms().hold;
        let seen = read(self.network, &hold).await?.to_hold(self.network.prefix())?;
        payee.observe(seen.as_ref()).map_err(failed)?;
        if seen.is_some() { Ok(()) } else { Err(closed(&hold)) }
    }

    /// The terms of a hold that pays a key of this wallet, by a certified proof.
    async fn proven_terms(&self, id: &TransactionId) -> Result<Terms, Error> {
        let proof = proofs::fetch(self.context, self.network, async |client| client.hold_proof(id).await).await?;
        proofs::check(self.network, &proof)?;
        let hold = match &proof.value {
            SlotValue::Hold { id: proven, hold } if proven == id => hold,
            _ => {
                return Err(Error::new(ErrorCode::BadProof, "the node's proof is of something else: ask another node"));
            }
        };
        if !keystore::list(&self.context.home)?.iter().any(|key| key.address() == hold.payee) {
            let payee = Address::encode(&hold.payee, self.network.prefix());
            return Err(Error::usage(format!("the channel pays {payee}, which is no key of this wallet")));
        }
        Terms::of(self.network.chain, *id, hold, &hold.payee).map_err(failed)
    }

    /// What there is on disk, by hold.
    fn ends(&self) -> Result<Vec<(TransactionId, End)>, Error> {
        let read = |error| files::failure("read", &self.folder, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(read)?.take(4 * CHANNELS_MAX) {
            names.extend(entry.map_err(read)?.file_name().into_string());
        }
        names.sort();
        let mut ends = Vec::new();
        for name in names {
            let Some((hold, kind)) = name.split_once('.') else { continue };
            let Ok(hold) = hold.parse::<Digest>() else { continue };
            let path = self.folder.join(&name);
            match kind {
                "payer" => ends.push((hold, End::Payer(Payer::open(&path, self.key(&hold)?).map_err(failed)?))),
                "payee" => ends.push((hold, End::Payee(Payee::open(&path).map_err(failed)?))),
                _ => {}
            }
        }
        Ok(ends)
    }

    fn key(&self, hold: &TransactionId) -> Result<SecretKey, Error> {
        let path = self.path(hold, "key");
        let bytes = files::read(&path, KEY_BYTES_MAX)?.map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| {
            let message = format!("this wallet cannot pay with channel {hold}: it did not open it");
            Error::new(ErrorCode::NotFound, message)
        })?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(bytes.as_slice(), &mut *seed)
            .map_err(|_| Error::local(format!("{} is damaged", path.display())))?;
        Ok(SecretKey::from_seed(&seed))
    }

    fn lock(&self) -> Result<File, Error> {
        files::lock_file(&self.folder.join("lock"))
    }

    fn path(&self, hold: &TransactionId, kind: &str) -> PathBuf {
        self.folder.join(format!("{hold}.{kind}"))
    }
}

/// The vouchers on the command line, or those on standard input.
fn read_vouchers(texts: &[String]) -> Result<Vec<Voucher>, Error> {
    let mut vouchers = Vec::new();
    for text in texts {
        if text != "-" {
            vouchers.push(parse_voucher(text)?);
            continue;
        }
        for line in std::io::stdin().lock().lines().take(VOUCHERS_MAX) {
            let line = line.map_err(|error| Error::local(format!("cannot read standard input: {error}")))?;
            if !line.trim().is_empty() {
                vouchers.push(parse_voucher(&line)?);
            }
        }
    }
    Ok(vouchers)
}

fn parse_voucher(text: &str) -> Result<Voucher, Error> {
    let wrong = || Error::usage(format!("this is not a voucher: one has {} hexadecimal digits", 2 * VOUCHER_BYTES));
    let text = text.trim();
    if text.len() != 2 * VOUCHER_BYTES {
        return Err(wrong());
    }
    let bytes = hex::decode(text).map_err(|_| wrong())?;
    codec::decode(&bytes, VOUCHER_BYTES).map_err(|_| wrong())
}

fn nothing_to_settle() -> Error {
    Error::usage("there is nothing to settle: every voucher is captured already")
}

fn failed(error: ChannelError) -> Error {
    let code = match &error {
        ChannelError::File { .. } | ChannelError::NotThisChannel { .. } => ErrorCode::LocalFailure,
        ChannelError::OverBudget { .. } => ErrorCode::InsufficientFunds,
        ChannelError::NothingPaid | ChannelError::BudgetTooLow { .. } | ChannelError::SafetyTooLong { .. } => {
            ErrorCode::Usage
        }
        ChannelError::NotAChannel
        | ChannelError::OtherHold(_)
        | ChannelError::OverHold { .. }
        | ChannelError::TooLittle { .. }
        | ChannelError::EndsTooSoon
        | ChannelError::NotForMe
        | ChannelError::OtherKey
        | ChannelError::Closed
        | ChannelError::Signature(_) => ErrorCode::Rejected,
    };
    Error::new(code, error.to_string())
}
