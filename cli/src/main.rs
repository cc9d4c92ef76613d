//! `farthing`, the wallet: keys, payments, and proofs of payments.
//!
//! The wallet trusts its own files and the genesis document that it pinned. Nodes may be down, wrong or on another network:
//! it asks the next one, refuses, or says that it does not know. Four rules keep money safe:
//! - private keys leave a key file only into memory, and come in only by prompt, file or standard input ([`keyfile`]);
//! - a payment is in the journal, synced, before it is sent ([`journal`]);
//! - whatever is sent for it, however often, are those bytes ([`delivery`]); all orders go the same way ([`order`]);
//! - a number (nonce) is never given to two payments, by however many processes ([`journal::NonceLock`]).
//!
//! With `--output json` standard output holds exactly one JSON value (`farthing watch` prints one a line): the result, or
//! `{"error": {"code", "exit_code", "message", …}}` ([`error::ErrorCode`]). Notes and prompts go to standard error. Exit codes: 0 ok, 1 local
//! failure, 2 usage, 3 no node answers, 4 rejected, 5 insufficient funds, 6 outcome unknown.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod delivery;
mod describe;
mod error;
mod files;
#[cfg(test)]
mod fuzz_tests;
mod journal;
mod keyfile;
mod keystore;
mod mnemonic;
mod network;
mod order;
mod output;
mod profile;
mod prompt;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use commands::Context;
use error::Error;
use output::Format;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain_usage(&error),
    };
    let format = cli.global.output;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            format.print_error(&error);
            ExitCode::from(error.code.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    if let Command::Completions { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "farthing", &mut script);
        return output::write_out(String::from_utf8_lossy(&script).trim_end());
    }
    let context = Context {
        home: files::Home::locate(cli.global.home)?,
        format: cli.global.output,
        profile: cli.global.profile,
        timeout: Duration::from_secs(cli.global.timeout),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::local(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        match cli.command {
            Command::Keys(command) => commands::keys::run(&context, command).await,
            Command::Balance { account, verify: false } => {
                commands::account::balance(&context, account.as_deref()).await
            }
            Command::Balance { account, verify: true } => {
                commands::account::proven_balance(&context, account.as_deref()).await
            }
            Command::Bandwidth { account } => commands::bandwidth::run(&context, account.as_deref()).await,
            Command::Send(args) => commands::send::run(&context, args).await,
            Command::PayMany(args) => commands::pay_many::run(&context, args).await,
            Command::Request(args) => commands::request::request(&context, args).await,
            Command::Pay(args) => commands::request::pay(&context, args).await,
            Command::Link(command) => commands::link::run(&context, command).await,
            Command::Hold(command) => commands::hold::run(&context, command).await,
            Command::Channel(command) => commands::channel::run(&context, command).await,
            Command::Policy(args) => commands::policy::run(&context, args.command).await,
            Command::Cancel(args) => commands::cancel::run(&context, args).await,
            Command::Reclaim(args) => commands::reclaim::run(&context, args).await,
            Command::Watch(args) => commands::watch::run(&context, args).await,
            Command::Proof(args) => commands::proofs::proof(&context, args).await,
            Command::Verify { file } => commands::proofs::verify(&context, &file),
            Command::History(args) => commands::account::history(&context, args).await,
            Command::Receipt(args) => commands::receipt::run(&context, args).await,
            Command::Pending => commands::pending::run(&context).await,
            Command::Status => commands::status::run(&context).await,
            Command::Profile(command) => commands::profiles::run(&context, command).await,
            Command::Completions { .. } => unreachable!("answered above"),
        }
    })
}

/// Help, the version, or a wrong command line; in the format that was asked for, as far as that can be told.
fn explain_usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    if error.use_stderr() && wants_json {
        let text = error.to_string();
        Format::Json.print_error(&Error::usage(text.trim_start_matches("error: ").trim_end()));
    } else if error.print().is_err() {
        return ExitCode::from(1);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
