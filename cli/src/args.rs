//! The command line.

mod payments;
mod values;

pub use payments::{
    Allowed, CancelArgs, ChannelCommand, ClosingArgs, DelegateArgs, HoldCommand, LinkCommand, PayArgs, PayManyArgs,
    PolicyArgs, PolicyCommand, ProofArgs, ReclaimArgs, RemoveArgs, RequestArgs, SigningArgs, WatchArgs,
};

use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The wallet of Farthing: send and receive tiny payments without fees.
#[derive(Debug, Parser)]
#[command(name = "farthing", version, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 local failure, 2 usage (also a wrong password or address), 3 no node answers, \
4 rejected, 5 insufficient funds, 6 outcome unknown.\n\
Files are kept in $FARTHING_HOME, by default ~/.config/farthing."
)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// How to print: text for people, or one JSON value on standard output, errors too
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub output: Format,
    /// The profile to use instead of the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// The folder of the wallet's files
    #[arg(long, global = true, env = "FARTHING_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// How long to wait for an outcome, in seconds
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, import, list and export keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show what an account holds
    Balance {
        /// An address, or the name of a key; your own key without it
        #[arg(value_name = "ADDRESS|NAME")]
        account: Option<String>,
        /// Take no node's word: show the newest balance of which there is a proof, and check that. Up to seconds old
        #[arg(long)]
        verify: bool,
    },
    /// Show what an account may still send, and when that grows back
    Bandwidth {
        /// An address, or the name of a key; your own key without it
        #[arg(value_name = "ADDRESS|NAME")]
        account: Option<String>,
    },
    /// Pay somebody and wait until the payment is final
    Send(SendArgs),
    /// Pay many: a CSV file with the columns "to", "amount" and, if you like, "reference" and "open"
    PayMany(PayManyArgs),
    /// Ask for a payment: prints a text and a QR code for the payer
    Request(RequestArgs),
    /// Pay a payment request
    Pay(PayArgs),
    /// Pay somebody who has no account yet, by a link
    #[command(subcommand)]
    Link(LinkCommand),
    /// Set money aside for somebody: deposits, authorisations, swaps
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Pay a little very often, off the ledger, and settle once
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Show the limits of your account, or change them
    Policy(PolicyArgs),
    /// Make sure that a transaction that is not final yet never will be
    Cancel(CancelArgs),
    /// Free an account that was empty for a day; its reserve goes back to whoever opened it
    Reclaim(ReclaimArgs),
    /// Show what happens, as it happens
    Watch(WatchArgs),
    /// Show what went in and out, newest first
    History(HistoryArgs),
    /// Fetch the proof of a payment and check it, or check a saved one offline
    Receipt(ReceiptArgs),
    /// Fetch the proof of what an account, a hold or a delegated key holds, and check it
    Proof(ProofArgs),
    /// Check a saved receipt or proof, without any network
    Verify {
        /// The file, "-" for standard input
        file: PathBuf,
    },
    /// Show the payments whose outcome is open; ask about them and send them again
    #[command(visible_alias = "resume")]
    Pending,
    /// Show how the nodes of the profile are doing
    Status,
    /// Say which network to use, through which nodes
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Commands on keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and show its 24 recovery words, once
    New {
        /// What to call the key
        #[arg(long, default_value = crate::keystore::NAME_DEFAULT)]
        name: String,
        /// How the key is protected.
        #[command(flatten)]
        protection: Protection,
    },
    /// Import a key from its 24 recovery words or its 32-byte seed
    Import {
        /// What to call the key
        #[arg(long, default_value = crate::keystore::NAME_DEFAULT)]
        name: String,
        /// A file with 24 words or 64 hexadecimal digits, "-" for standard input; without it you are asked
        #[arg(long, visible_alias = "seed-file", value_name = "FILE")]
        file: Option<PathBuf>,
        /// How the key is protected.
        #[command(flatten)]
        protection: Protection,
    },
    /// List the keys with their addresses, or the delegated keys of an account
    List {
        /// The account whose delegated keys to list: an address, or the name of a key
        #[arg(long, value_name = "ADDRESS|NAME")]
        account: Option<String>,
    },
    /// Let another key spend from your account, within limits
    Delegate(DelegateArgs),
    /// End a delegated key
    Remove(RemoveArgs),
    /// Show a key's private seed, for import elsewhere: whoever sees it can spend
    Export {
        /// The name of the key
        name: String,
        /// Do not ask whether you are sure
        #[arg(long)]
        yes: bool,
        /// A file whose first line is the password, "-" for standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// How a new key file is protected.
#[derive(Debug, Args)]
pub struct Protection {
    /// A file whose first line is the password, "-" for standard input; without it you are asked
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,
    /// Do not encrypt the key file: for throw-away keys of test networks
    #[arg(long)]
    pub no_password: bool,
}

/// A payment.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The payee's address, or the name of a key of yours
    #[arg(value_name = "ADDRESS|NAME")]
    pub to: String,
    /// How much, with its unit: "0.0025 FAR" or "2500000 mite"
    #[arg(value_name = "AMOUNT", num_args = 1..=2, required = true)]
    pub amount: Vec<String>,
    /// Open an account for the payee if there is none, which locks a reserve of yours
    #[arg(long)]
    pub open: bool,
    /// The payee's mark for this payment: 64 hexadecimal digits, or a text of at most 32 bytes
    #[arg(long, value_name = "HEX|TEXT")]
    pub reference: Option<String>,
    /// With which key.
    #[command(flatten)]
    pub signing: SigningArgs,
}

/// Which part of a history to show.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// An address, or the name of a key; your own key without it
    #[arg(value_name = "ADDRESS|NAME")]
    pub account: Option<String>,
    /// How many entries to show
    #[arg(long, default_value_t = farthing_client::HISTORY_LIMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(farthing_client::HISTORY_LIMIT_MAX)))]
    pub limit: u32,
    /// Where the page before ended
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Which receipt, and where it is kept.
#[derive(Debug, Args)]
pub struct ReceiptArgs {
    /// The id of the payment
    #[arg(required_unless_present = "file")]
    pub id: Option<String>,
    /// Save the receipt to this file
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub save: Option<PathBuf>,
    /// Check the receipt in this file instead, without any network
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Commands on profiles.
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// Add a network
    Add {
        /// What to call the profile
        name: String,
        /// The address of a node's API, such as http://127.0.0.1:8080; several are tried in turn
        #[arg(long, required = true, value_name = "URL")]
        api: Vec<String>,
        /// The network's genesis document, which is copied; without it the first node is asked for it
        #[arg(long, value_name = "FILE")]
        genesis: Option<PathBuf>,
        /// The chain hash that the genesis document must have
        #[arg(long, value_name = "HASH")]
        chain: Option<String>,
        /// The name of the key to pay with
        #[arg(long, value_name = "NAME")]
        from: Option<String>,
        /// Make it the current profile
        #[arg(long = "use")]
        make_current: bool,
        /// Replace a profile of another network
        #[arg(long)]
        force: bool,
        /// Trust the genesis document of the node without being asked
        #[arg(long)]
        yes: bool,
    },
    /// List the profiles
    List,
    /// Make a profile the current one
    Use {
        /// Its name
        name: String,
    },
    /// Show a profile
    Show {
        /// Its name; the current one without it
        name: Option<String>,
    },
}
