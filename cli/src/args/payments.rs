//! The arguments of the commands around payments.

use super::values::{amount, digest, duration};
use clap::{Args, Subcommand};
use farthing_core::amount::Amount;
use farthing_core::hash::Digest;
use std::path::PathBuf;

/// With which key a transaction is signed, and how far to go.
#[derive(Debug, Args)]
pub struct SigningArgs {
    /// The name of the key to sign with
    #[arg(long, value_name = "NAME")]
    pub from: Option<String>,
    /// The account to act for, where the key is a delegated key of it
    #[arg(long, value_name = "ADDRESS|NAME")]
    pub account: Option<String>,
    /// Return as soon as a node has taken it, before it is final
    #[arg(long)]
    pub no_wait: bool,
    /// Do not ask whether you are sure (asked on a terminal only, and not on a local network)
    #[arg(long)]
    pub yes: bool,
    /// A file whose first line is the password of the key, "-" for standard input
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// A payout to many.
#[derive(Debug, Args)]
pub struct PayManyArgs {
    /// The CSV file. Its first line names the columns: "to" and "amount", optionally "reference" and "open" (yes or no)
    pub file: PathBuf,
    /// Check everything and show the totals, but pay nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Open an account for every payee that has none, which locks a reserve of yours for each
    #[arg(long)]
    pub open: bool,
    /// How many payments to put into one transaction
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub batch: u16,
    /// Save the receipts in this folder, and there a list of which row is in which: results.csv. Without it: FILE.receipts
    #[arg(long, value_name = "DIR")]
    pub receipts: Option<PathBuf>,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// A payment request.
#[derive(Debug, Args)]
pub struct RequestArgs {
    /// How much to ask for, with its unit; the payer chooses without it
    #[arg(value_name = "AMOUNT", num_args = 0..=2)]
    pub amount: Vec<String>,
    /// The account to be paid: an address, or the name of a key; your own key without it
    #[arg(long, value_name = "ADDRESS|NAME")]
    pub to: Option<String>,
    /// Your mark for this payment: 64 hexadecimal digits, or a text of at most 32 bytes; a random one without it
    #[arg(long, value_name = "HEX|TEXT")]
    pub reference: Option<String>,
    /// Who asks, for the payer to read
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// What for
    #[arg(long, value_name = "TEXT")]
    pub message: Option<String>,
    /// How long the request holds
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub expires: Option<u64>,
    /// Wait until it is paid, for at most --timeout
    #[arg(long)]
    pub wait: bool,
}

/// The payment of a request.
#[derive(Debug, Args)]
pub struct PayArgs {
    /// The request: "farthing:ADDRESS?..."
    #[arg(value_name = "URI")]
    pub uri: String,
    /// How much, if the request leaves that to you
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub amount: Option<Amount>,
    /// Open an account for the payee if there is none, which locks a reserve of yours
    #[arg(long)]
    pub open: bool,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// Commands on payment links.
#[derive(Debug, Subcommand)]
pub enum LinkCommand {
    /// Put money into a link: whoever has the link can claim it
    Create {
        /// How much the claimant gets, with its unit
        #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
        amount: Vec<String>,
        /// Do not pay the reserve of the claimant's account: for somebody who has one
        #[arg(long)]
        no_reserve: bool,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Take the money out of a link, into an account of yours, which is opened if there is none
    Claim {
        /// The link, or "-" to read it from standard input
        link: String,
        /// The account to be paid: an address, or the name of a key; your own key without it
        #[arg(long, value_name = "ADDRESS|NAME")]
        to: Option<String>,
    },
    /// List the links that you made, and whether they are claimed
    List,
}

/// Commands on holds.
#[derive(Debug, Subcommand)]
pub enum HoldCommand {
    /// Set money aside for a payee
    Open {
        /// The payee's address, or the name of a key of yours
        #[arg(value_name = "ADDRESS|NAME")]
        payee: String,
        /// How much, with its unit
        #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
        amount: Vec<String>,
        /// How long the payee can capture: at most 400d
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "7d")]
        expires: u64,
        /// The payee's mark: 64 hexadecimal digits, or a text of at most 32 bytes
        #[arg(long, value_name = "HEX|TEXT")]
        reference: Option<String>,
        /// Anybody can capture all of it for the payee with the 32 bytes whose SHA-256 this is: for swaps. See `hold secret`
        #[arg(long, value_name = "HEX", value_parser = digest)]
        hashlock: Option<Digest>,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Take from a hold that is for you; with --preimage, from any with a hashlock
    Capture {
        /// The hold
        #[arg(value_parser = digest)]
        hold: Digest,
        /// How much more to take, with its unit; all that is left without it
        #[arg(value_name = "AMOUNT", num_args = 0..=2)]
        amount: Vec<String>,
        /// Close the hold, and give the rest back
        #[arg(long = "final")]
        is_final: bool,
        /// The preimage of a hashlock, 64 hexadecimal digits
        #[arg(long, value_name = "HEX", value_parser = digest)]
        preimage: Option<Digest>,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Give a hold back: as the payee at any time, as anybody after its end
    Release {
        /// The hold
        #[arg(value_parser = digest)]
        hold: Digest,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Add to a hold of yours
    TopUp {
        /// The hold
        #[arg(value_parser = digest)]
        hold: Digest,
        /// How much, with its unit
        #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
        amount: Vec<String>,
        /// The new time until its end, from now on; the end stays as it is without it
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<u64>,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Show a hold
    Show {
        /// The hold
        #[arg(value_parser = digest)]
        hold: Digest,
    },
    /// List the holds of an account, newest first
    List {
        /// An address, or the name of a key; your own key without it
        #[arg(value_name = "ADDRESS|NAME")]
        account: Option<String>,
        /// How many to show
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Make 32 random bytes and their SHA-256, for holds with a hashlock
    Secret,
}

/// Commands on payment channels.
#[derive(Debug, Subcommand)]
pub enum ChannelCommand {
    /// Open a channel to a payee: sets money aside, of which vouchers pay
    Open {
        /// The payee's address, or the name of a key of yours
        #[arg(value_name = "ADDRESS|NAME")]
        payee: String,
        /// How much the vouchers can pay in all, with its unit
        #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
        amount: Vec<String>,
        /// How long the payee can settle: at most 400d
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30d")]
        expires: u64,
        /// How long the payee can still settle after you start closing: 1h to 30d
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1d")]
        close_delay: u64,
        /// The payee's mark: 64 hexadecimal digits, or a text of at most 32 bytes
        #[arg(long, value_name = "HEX|TEXT")]
        reference: Option<String>,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Make a voucher that pays so much more: give what is printed to the payee
    Pay {
        /// The channel: the id of its hold
        #[arg(value_parser = digest)]
        hold: Digest,
        /// How much more, with its unit
        #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
        amount: Vec<String>,
    },
    /// Check vouchers and keep the best one
    Receive {
        /// The vouchers, or "-" to read them from standard input, one a line
        #[arg(required = true, value_name = "VOUCHER")]
        vouchers: Vec<String>,
        /// Refuse them if they add less than this in all
        #[arg(long, value_name = "AMOUNT", value_parser = amount)]
        at_least: Option<Amount>,
        /// How long before its end a channel has to be settled: vouchers are not accepted any more then
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10m")]
        safety: u64,
    },
    /// Show the channels of this wallet
    Status {
        /// The channel; all without it
        #[arg(value_parser = digest)]
        hold: Option<Digest>,
    },
    /// As the payee: settle and close. As the payer: start closing, or take back what is left after the end
    Close(ClosingArgs),
    /// Settle the channels that are closing or near their end, now and again until stopped
    Guard {
        /// How often to look
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "1m")]
        every: u64,
        /// Look once, and stop
        #[arg(long)]
        once: bool,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
}

/// The end of a channel.
#[derive(Debug, Args)]
pub struct ClosingArgs {
    /// The channel: the id of its hold
    #[arg(value_parser = digest)]
    pub hold: Digest,
    /// As the payee: take what is due, and leave the channel open
    #[arg(long)]
    pub keep_open: bool,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// A delegation.
#[derive(Debug, Args)]
pub struct DelegateArgs {
    /// The key that may spend: 64 hexadecimal digits, or the name of a key of this wallet
    #[arg(value_name = "KEY|NAME")]
    pub key: String,
    /// At most so much a day
    #[arg(long, value_name = "AMOUNT", value_parser = amount, group = "period_limit")]
    pub per_day: Option<Amount>,
    /// At most so much an hour
    #[arg(long, value_name = "AMOUNT", value_parser = amount, group = "period_limit")]
    pub per_hour: Option<Amount>,
    /// At most so much in each --period
    #[arg(long, value_name = "AMOUNT", value_parser = amount, group = "period_limit", requires = "period")]
    pub per_period: Option<Amount>,
    /// The period of --per-period: 1s to 400d
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "per_period")]
    pub period: Option<u64>,
    /// No limit for a period: the key may spend all there is
    #[arg(long, group = "period_limit")]
    pub unlimited: bool,
    /// At most so much in one transaction
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    pub max: Option<Amount>,
    /// Whom it may pay, at most eight; anybody without it
    #[arg(long = "payee", value_name = "ADDRESS|NAME")]
    pub payees: Vec<String>,
    /// How long the key holds
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub expires: Option<u64>,
    /// What it may do
    #[arg(long, value_name = "OPERATION", value_delimiter = ',', default_value = "transfer")]
    pub allow: Vec<Allowed>,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// What a delegated key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Allowed {
    /// Pay
    Transfer,
    /// Open holds
    OpenHold,
    /// Capture holds
    Capture,
    /// Release holds
    Release,
    /// Top holds up
    TopUp,
    /// Reclaim accounts
    Reclaim,
    /// All of these
    All,
}

/// The end of a delegation.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The key: 64 hexadecimal digits, or the name of a key of this wallet
    #[arg(value_name = "KEY|NAME")]
    pub key: String,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// The policy of an account.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// What to do; show it without this
    #[command(subcommand)]
    pub command: Option<PolicyCommand>,
}

/// Commands on the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show the policy of an account
    Show {
        /// An address, or the name of a key; your own key without it
        #[arg(value_name = "ADDRESS|NAME")]
        account: Option<String>,
    },
    /// Change what is named, and leave the rest as it is. What is tighter is in force at once, what is looser after the raise delay
    Set {
        /// At most so much a day
        #[arg(long, value_name = "AMOUNT", value_parser = amount, group = "policy_limit")]
        per_day: Option<Amount>,
        /// At most so much an hour
        #[arg(long, value_name = "AMOUNT", value_parser = amount, group = "policy_limit")]
        per_hour: Option<Amount>,
        /// No limit
        #[arg(long, group = "policy_limit")]
        no_limit: bool,
        /// How long a loosening waits: at most 30d
        #[arg(long, value_name = "TIME", value_parser = duration)]
        raise_delay: Option<u64>,
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Let nothing leave the account
    Block {
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
    /// Let money leave the account again, after the raise delay
    Unblock {
        /// With which key.
        #[command(flatten)]
        signing: SigningArgs,
    },
}

/// A cancellation.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The number (nonce) of the transaction: `farthing pending --output json` shows it
    pub nonce: u64,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// A reclaim.
#[derive(Debug, Args)]
pub struct ReclaimArgs {
    /// The account to free
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// What to prove.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// An address, or the name of a key; your own key without it
    #[arg(value_name = "ADDRESS|NAME")]
    pub account: Option<String>,
    /// Prove a hold instead
    #[arg(long, value_name = "ID", value_parser = digest, conflicts_with_all = ["account", "key"])]
    pub hold: Option<Digest>,
    /// Prove a delegated key of the account instead: 64 hexadecimal digits, or the name of a key
    #[arg(long, value_name = "KEY|NAME")]
    pub key: Option<String>,
    /// Save the proof to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// What to watch.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// An address, or the name of a key; your own key without it
    #[arg(value_name = "ADDRESS|NAME")]
    pub account: Option<String>,
    /// Watch what is paid with a reference instead
    #[arg(long, value_name = "HEX|TEXT", group = "watched", conflicts_with = "account")]
    pub reference: Option<String>,
    /// Watch a hold instead
    #[arg(long, value_name = "ID", value_parser = digest, group = "watched", conflicts_with = "account")]
    pub hold: Option<Digest>,
    /// Watch blocks instead
    #[arg(long, group = "watched", conflicts_with = "account")]
    pub blocks: bool,
    /// Begin after this cursor; 0 for the beginning of the ledger, now without it
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Stop after so many events
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// Stop after so long
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub until: Option<u64>,
}
