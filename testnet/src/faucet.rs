//! `farthing-testnet faucet`: pays a newcomer from the testnet's faucet account.

use crate::accounts;
use crate::ready::Find;
use crate::state::Counter;
use anyhow::{Context as _, bail};
use clap::Args;
use farthing_client::{SubmitQuery, TransactionState, TransactionStatus, Wait, transfer, validity_ms};
use farthing_core::address::Address;
use farthing_core::amount::Amount;
use farthing_core::transaction::{Output, SignedTransaction};
use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Options of `faucet`.
#[derive(Args, Debug)]
pub struct Options {
    /// Whom to pay; the account is opened if there is none
    address: String,
    /// How much, with its unit
    #[arg(long, default_value = "100FAR")]
    amount: Amount,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    find: Find,
}

/// Pays, waits until that is final and prints the transaction's id.
///
/// # Errors
/// If no testnet is found, or the payment does not become final.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let status = pay(&options).await?;
    let (id, ms, amount) = (status.id, started.elapsed().as_millis(), options.amount);
    let mut out = std::io::stdout().lock();
    if options.json {
        let height = status.block.map(|block| block.height);
        let summary = serde_json::json!({
            "id": id, "to": options.address, "amount": amount, "height": height, "latency_ms": u64::try_from(ms)?,
        });
        writeln!(out, "{summary}")?;
    } else {
        writeln!(out, "paid {amount} to {}\nfinal in {ms} ms  id {id}", options.address)?;
    }
    Ok(())
}

/// Pays and returns the executed transfer's status.
async fn pay(options: &Options) -> anyhow::Result<TransactionStatus> {
    let network = options.find.network()?;
    let (prefix, chain) = (network.genesis.prefix(), network.genesis.chain_hash());
    let to = Address::decode(&options.address, prefix)?;
    anyhow::ensure!(!options.amount.is_zero(), "--amount must be at least 1 mite");
    let clients = network.live_clients().await?;
    let key = accounts::key(accounts::FAUCET);

    // Payments made at the same time take turns at the nonce, which is stored before it is used.
    let path = network.lock_path("faucet.lock");
    let mut counter = tokio::task::spawn_blocking(move || Counter::lock(&path)).await??;
    let account = clients[0].account(&Address(key.public_key()).encode(prefix)).await?;
    let nonce = account.next_nonce.max(counter.read()?.saturating_add(1));
    counter.write(nonce)?;
    drop(counter);

    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let output = Output { to, amount: options.amount, reference: None, open: true };
    let valid_until_ms = now_ms + validity_ms(network.genesis.parameters());
    let signed = transfer(&chain, &key, nonce, valid_until_ms, vec![output])?;
    let status = submit_to_any(&clients, &signed).await?;
    if status.status != TransactionState::Executed {
        let detail = status.detail.unwrap_or_default();
        bail!("the faucet's payment {} is {:?}: {detail}", status.id, status.status);
    }
    Ok(status)
}

/// Submits the same bytes to one node after the other until one says what became of them.
async fn submit_to_any(
    clients: &[farthing_client::Client],
    signed: &SignedTransaction,
) -> anyhow::Result<TransactionStatus> {
    let query = SubmitQuery { wait: Wait::Final, timeout_ms: None };
    let mut failure = None;
    for client in clients {
        match client.submit(std::slice::from_ref(signed), query).await {
            Ok(answer) => return answer.transactions.into_iter().next().context("the node's answer is empty"),
            Err(error) if error.another_may_answer() => failure = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    Err(failure.expect("there is at least one node").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_network::{Behaviour, FakeNetwork};
    use crate::topology;

    fn options(network: &FakeNetwork, address: &str) -> Options {
        Options { address: address.into(), amount: Amount::from_mites(7), json: true, find: network.find() }
    }

    fn newcomer() -> String {
        Address(accounts::key("newcomer").public_key()).encode(&topology::address_prefix())
    }

    #[tokio::test]
    async fn payments_made_at_once_use_nonces_of_their_own() {
        let network = FakeNetwork::start(&[Behaviour::Executes], true).await;
        let options = options(&network, &newcomer());
        let (one, two, three) = tokio::join!(pay(&options), pay(&options), pay(&options));
        let ids = [one, two, three].map(|status| status.expect("paid").id);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(network.executed(), 3);
    }

    #[tokio::test]
    async fn an_address_of_another_network_is_refused() {
        let network = FakeNetwork::start(&[Behaviour::Executes], false).await;
        let address = Address(accounts::key("newcomer").public_key()).encode(&"far".parse().expect("a prefix"));
        let error = pay(&options(&network, &address)).await.expect_err("another network");
        assert!(error.to_string().contains("network \"far\""), "{error:#}");
        assert_eq!(network.executed(), 0);
    }
}
