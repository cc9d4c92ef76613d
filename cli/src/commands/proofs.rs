//! `farthing proof` and `farthing verify`: proofs of state, and everything that can be checked without a network.

use super::{Context, public_key, receipt};
use crate::args::ProofArgs;
use crate::error::{Error, ErrorCode};
use crate::files;
use crate::network::Network;
use crate::output;
use farthing_client::{AsOf, Client, ClientError, HoldView, KeyLimitsJson, Problem, ProblemCode};
use farthing_core::receipt::Receipt;
use farthing_core::state::SlotValue;
use farthing_core::state_proof::{STATE_PROOF_BYTES_MAX, StateProof};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// The most bytes of a saved proof: in JSON, bytes are two digits, and fields have names.
const PROOF_FILE_BYTES_MAX: u64 = 8 * STATE_PROOF_BYTES_MAX as u64 + receipt::RECEIPT_FILE_BYTES_MAX;

/// How often to ask for a certificate that is not there yet.
const POLL: Duration = Duration::from_millis(200);

/// Fetches a proof, checks it, and says what it proves.
pub async fn proof(context: &Context, args: ProofArgs) -> Result<(), Error> {
    let network = context.network()?;
    let (proof, is_asked_for) = match (&args.hold, &args.key) {
        (Some(hold), _) => {
            let proof = fetch(context, &network, async |client| client.hold_proof(hold).await).await?;
            let fits = matches!(&proof.value, SlotValue::Hold { id, .. } if id == hold);
            (proof, fits)
        }
        (None, Some(key)) => {
            let account = context.account(&network, args.account.as_deref())?;
            let (address, key) = (account.encode(network.prefix()), public_key(&context.home, key)?);
            let proof = fetch(context, &network, async |client| client.key_proof(&address, &key).await).await?;
            let fits = matches!(&proof.value, SlotValue::Key { owner, public_key, .. } if *owner == account && *public_key == key);
            (proof, fits)
        }
        (None, None) => {
            let account = context.account(&network, args.account.as_deref())?;
            let address = account.encode(network.prefix());
            let proof = fetch(context, &network, async |client| client.account_proof(&address).await).await?;
            let fits = proof.account().is_some_and(|(proven, _)| *proven == account);
            (proof, fits)
        }
    };
    if !is_asked_for {
        return Err(Error::new(ErrorCode::BadProof, "the node's proof is of something else: ask another node"));
    }
    check(&network, &proof)?;
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&proof).expect("a proof is plain data");
        files::write(path, text.as_bytes())?;
    }
    print(context, &network, &proof, args.save.as_deref())
}

/// Checks a file: a receipt or a proof. Asks nobody.
pub fn verify(context: &Context, path: &Path) -> Result<(), Error> {
    let network = context.network()?;
    let bytes = files::read_named(path, PROOF_FILE_BYTES_MAX)?;
    if let Ok(found) = serde_json::from_slice::<Receipt>(&bytes) {
        return receipt::check_and_print(context, &network, &found);
    }
    let proof: StateProof = serde_json::from_slice(&bytes)
        .map_err(|error| Error::usage(format!("{} is neither a receipt nor a proof: {error}", path.display())))?;
    check(&network, &proof)?;
    print(context, &network, &proof, None)
}

/// Asks until there is a certified proof.
pub async fn fetch(
    context: &Context,
    network: &Network,
    question: impl AsyncFn(&Client) -> Result<StateProof, ClientError>,
) -> Result<StateProof, Error> {
    let deadline = Instant::now() + context.timeout;
    loop {
        let waiting = async |client: &Client| match question(client).await {
            Ok(proof) => Ok(Some(proof)),
            Err(ClientError::Problem(Problem { code: ProblemCode::NotCertifiedYet, .. })) => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(proof) = network.ask(waiting).await? {
            return Ok(proof);
        }
        if Instant::now() + POLL > deadline {
            return Err(Error::new(
                ErrorCode::OutcomeUnknown,
                "there is no certified proof yet: ask again in a moment",
            ));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Refuses a proof that proves nothing on this network.
pub fn check(network: &Network, proof: &StateProof) -> Result<(), Error> {
    proof
        .verify(&network.genesis)
        .map_err(|error| Error::new(ErrorCode::BadProof, format!("this proof proves nothing: {error}")))
}

fn print(context: &Context, network: &Network, proof: &StateProof, saved: Option<&Path>) -> Result<(), Error> {
    let header = &proof.header;
    let (mut fields, proven) = describe(network, proof);
    let as_of = format!("before block {} of {}", header.height, output::time(header.timestamp_ms));
    fields.push(("as of", as_of));
    fields.push((
        "checked",
        format!("against the genesis document of {}, chain {}", network.genesis.network(), network.chain),
    ));
    fields.extend(saved.map(|path| ("saved", path.display().to_string())));
    let value = json!({
        "valid": true,
        "proven": proven,
        "before_height": header.height,
        "timestamp_ms": header.timestamp_ms,
        "block_hash": header.hash(),
    });
    context.format.print(&value, &output::fields(&fields))
}

/// What stood in the slot, for people and for programs.
fn describe(network: &Network, proof: &StateProof) -> (Vec<(&'static str, String)>, Value) {
    let prefix = network.prefix();
    match &proof.value {
        SlotValue::Account { address, account } => {
            let address = address.encode(prefix);
            let keys: Vec<String> = account.keys().iter().map(ToString::to_string).collect();
            let fields = vec![
                ("account", address.clone()),
                ("balance", account.balance.to_string()),
                ("reserve", account.reserve.to_string()),
                ("holds", account.holds().to_string()),
                ("delegated keys", keys.len().to_string()),
            ];
            let policy = account
                .policy()
                .map(|policy| farthing_client::PolicyJson::from(policy.settings_at(proof.header.timestamp_ms)));
            let value = json!({ "account": {
                "address": address, "balance": account.balance, "reserve": account.reserve, "keys": keys, "policy": policy,
                "nonce_high": account.nonces.high(), "holds": account.holds(),
            }});
            (fields, value)
        }
        SlotValue::Hold { id, hold } => {
            let header = &proof.header;
            let as_of =
                AsOf { height: header.height, commit_index: header.commit_index, timestamp_ms: header.timestamp_ms };
            let view = HoldView::new(*id, hold, prefix, as_of);
            let fields = vec![
                ("hold", id.to_string()),
                ("amount", hold.amount.to_string()),
                ("captured", hold.captured.to_string()),
                ("payer", view.payer.clone()),
                ("payee", view.payee.clone()),
                ("ends", output::time(hold.end_ms())),
            ];
            (fields, json!({ "hold": view }))
        }
        SlotValue::Key { owner, public_key, key } => {
            let owner = owner.encode(prefix);
            let limits = KeyLimitsJson::new(&key.limits, prefix);
            let fields = vec![
                ("key", public_key.to_string()),
                ("of account", owner.clone()),
                ("limits", serde_json::to_string(&limits).expect("limits are plain data")),
            ];
            (fields, json!({ "key": { "public_key": public_key, "account": owner, "limits": limits } }))
        }
        other => (vec![("slot", format!("{other:?}"))], json!({ "slot": proof.slot })),
    }
}
