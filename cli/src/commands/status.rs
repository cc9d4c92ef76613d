//! `farthing status`: how the nodes of the profile are doing.

use super::{Context, name_of};
use crate::error::Error;
use crate::network::{failure_of, unreachable_error};
use crate::output;
use farthing_client::{ClientError, NodeStatus};
use serde_json::{Value, json};

/// Asks all nodes at once.
pub async fn run(context: &Context) -> Result<(), Error> {
    let network = context.network()?;
    let mut questions = tokio::task::JoinSet::new();
    for (index, node) in network.nodes().iter().enumerate() {
        let client = node.client.clone();
        questions.spawn(async move { (index, client.status().await) });
    }
    let mut answers = questions.join_all().await;
    answers.sort_by_key(|(index, _)| *index);

    let answers: Vec<(&str, Result<NodeStatus, ClientError>)> =
        network.nodes().iter().zip(answers).map(|(node, (_, answer))| (node.client.url(), answer)).collect();
    if answers.iter().all(|(_, answer)| answer.is_err()) {
        let failures: Vec<String> = network
            .nodes()
            .iter()
            .zip(&answers)
            .filter_map(|(node, (_, answer))| Some(failure_of(node, answer.as_ref().err()?)))
            .collect();
        return Err(unreachable_error(&failures));
    }
    let value = json!({
        "network": network.genesis.network(),
        "chain": network.chain,
        "nodes": answers.iter().map(|(url, answer)| to_json(url, answer)).collect::<Vec<Value>>(),
    });
    let mut rows =
        vec![["node", "role", "state", "block", "certified", "commit", "peers", "waiting"].map(String::from).to_vec()];
    rows.extend(answers.iter().map(|(url, answer)| row(url, answer, &network.chain)));
    let head = output::fields(&[("network", network.genesis.network().into()), ("chain", network.chain.to_string())]);
    context.format.print(&value, &format!("{head}\n{}", output::table(&rows)))
}

fn row(url: &str, answer: &Result<NodeStatus, ClientError>, chain: &farthing_core::hash::ChainHash) -> Vec<String> {
    let status = match answer {
        Ok(status) => status,
        Err(error) => return vec![url.into(), "-".into(), error.to_string()],
    };
    if status.chain != *chain {
        return vec![url.into(), "-".into(), format!("on another network: {}", status.network)];
    }
    let state = match (status.ready, status.catching_up) {
        (true, false) => "ready",
        (_, true) => "catching up",
        (false, false) => "not ready",
    };
    vec![
        url.into(),
        status.validator.clone().unwrap_or_else(|| name_of(&status.role)),
        state.into(),
        status.height.to_string(),
        status.certified_height.to_string(),
        status.commit_index.to_string(),
        status.peers_connected.to_string(),
        status.mempool_transactions.to_string(),
    ]
}

fn to_json(url: &str, answer: &Result<NodeStatus, ClientError>) -> Value {
    match answer {
        Ok(status) => json!({ "api": url, "status": status }),
        Err(error) => json!({ "api": url, "error": error.to_string() }),
    }
}
