//! `farthing-testnet`: a Farthing network on this machine for developers, with a faucet and a load generator.
//!
//! `up` ([`up`]) makes keys and a genesis document once, runs the validators as processes on loopback, and sets up the wallet.
//! What it made and chose is kept in a state directory ([`state`], [`topology`]). While it runs, a ready file ([`ready`]) says
//! where everything is; the other commands find the network through it.
#![forbid(unsafe_code)]

mod accounts;
mod bench;
#[cfg(test)]
mod fake_network;
mod faucet;
mod load;
mod process;
mod ready;
mod state;
mod status;
mod topology;
mod up;
mod wallet;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "farthing-testnet", version, about = "A Farthing network on this machine, for developers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a network and run it until Ctrl-C
    Up(up::Options),
    /// Send transfers at a fixed rate and measure how soon they are final
    Load(load::Options),
    /// Measure what validators on this machine reach, beside the bound that signature checks set
    Bench(bench::Options),
    /// Pay an address from the faucet, opening its account if there is none
    Faucet(faucet::Options),
    /// Show how each validator is doing
    Status(status::Options),
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(options) => up::run(options).await,
        Command::Load(options) => load::run(options).await,
        Command::Bench(options) => bench::run(options).await,
        Command::Faucet(options) => faucet::run(options).await,
        Command::Status(options) => status::run(options).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("farthing-testnet: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, without those that the message before already tells.
fn describe(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
