//! `farthing-testnet status`: one line for each validator.

use crate::ready::{Find, Network};
use clap::Args;
use serde_json::{Value, json};
use std::io::Write as _;

/// Options of `status`.
#[derive(Args, Debug)]
pub struct Options {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    find: Find,
}

/// Asks every validator and prints how it is doing.
///
/// # Errors
/// If no testnet is found.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let rows = ask(&options.find.network()?).await;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", Value::from(rows))?;
        return Ok(());
    }
    for row in rows {
        writeln!(out, "{}", line(&row))?;
    }
    Ok(())
}

async fn ask(network: &Network) -> Vec<Value> {
    let mut rows = Vec::new();
    for (validator, client) in network.ready.validators.iter().zip(&network.clients) {
        let status = match client.status().await {
            Ok(status) => json!({
                "name": validator.name, "api": validator.api, "up": true, "ready": status.ready, "height": status.height,
                "certified_height": status.certified_height, "commit_index": status.commit_index, "round": status.round,
                "state_root": status.state_root, "peers_connected": status.peers_connected,
                "mempool_transactions": status.mempool_transactions, "catching_up": status.catching_up,
            }),
            Err(error) => {
                json!({ "name": validator.name, "api": validator.api, "up": false, "error": error.to_string() })
            }
        };
        rows.push(status);
    }
    rows
}

fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
    let name = text("name");
    if row["up"] != true {
        return format!("{name:<13} down      {}", text("error"));
    }
    let state = match (row["ready"] == true, row["catching_up"] == true) {
        (true, _) => "ready",
        (false, true) => "catching up",
        (false, false) => "starting",
    };
    let root = row["state_root"]["root"].as_str().unwrap_or_default();
    format!(
        "{name:<13} {state:<9} height {} (certified {})  commit {}  round {}  peers {}  root {} at height {}",
        row["height"],
        row["certified_height"],
        row["commit_index"],
        row["round"],
        row["peers_connected"],
        &root[..root.len().min(16)],
        row["state_root"]["height"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_network::{Behaviour, FakeNetwork};

    #[tokio::test]
    async fn each_validator_has_a_line() {
        let network = FakeNetwork::start(&[Behaviour::Executes], true).await;
        let rows = ask(&network.find().network().expect("running")).await;
        let lines: Vec<String> = rows.iter().map(line).collect();
        assert_eq!(
            lines[0],
            "validator-1   ready     height 5 (certified 5)  commit 5  round 1  peers 0  root 0101010101010101 at height 5"
        );
        assert!(lines[1].starts_with("validator-2   down      cannot connect to http://127.0.0.1:"), "{}", lines[1]);
        assert_eq!(lines.len(), 2);
    }
}
