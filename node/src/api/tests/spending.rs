//! Bandwidth, delegated keys and policies.

use super::Server;
use super::fake_node::{GENESIS_MS, address, key, prefix};
use farthing_client::{KeyLimitsJson, PolicyView, ProblemCode};
use farthing_core::amount::Amount;
use farthing_core::delegated_key::{KeyLimits, KeyOperations};
use farthing_core::policy::PolicySettings;
use farthing_core::spending_limit::SpendingLimit;
use farthing_core::state::SlotValue;
use farthing_core::transaction::{Authority, Operation, Output, SetKey, SignedTransaction};

const DAY_MS: u64 = 86_400_000;

fn text(number: u8) -> String {
    address(number).encode(&prefix())
}

fn limit(mites: u64) -> Option<SpendingLimit> {
    Some(SpendingLimit { amount: Amount::from_mites(mites), period_ms: DAY_MS })
}

#[tokio::test]
async fn bandwidth_says_what_is_left_and_when_it_is_full_again() {
    let server = Server::start().await;
    let client = server.client();
    let full = client.bandwidth(&text(2)).await.expect("an account");
    // The fake network is generous: 10^10 bytes, and as many for each of ten FAR.
    assert_eq!((full.available_bytes, full.capacity_bytes), (110_000_000_000, 110_000_000_000));
    assert_eq!((full.full_at_ms, full.multiplier, full.transfer_bytes), (GENESIS_MS, 1.0, 200));
    assert_eq!((full.transfers_left, full.next_transfer_at_ms), (550_000_000, Some(GENESIS_MS)));
    let output = Output { to: address(1), amount: Amount::from_mites(1), reference: None, open: false };
    server.post_encoded("", &[server.node.operation(2, 1, Operation::Transfer { outputs: vec![output] })]).await;
    let spent = client.bandwidth(&text(2)).await.expect("an account");
    assert_eq!(spent.available_bytes, 110_000_000_000 - 200);
    assert_eq!(spent.capacity_bytes, 110_000_000_000 - 10, "a mite paid takes ten bytes of capacity with it");
    assert!(spent.full_at_ms > spent.as_of.timestamp_ms && spent.next_transfer_at_ms == Some(spent.as_of.timestamp_ms));
    server.get(&format!("/v1/accounts/{}/bandwidth", text(9))).await.assert_problem(ProblemCode::NoSuchAccount, "");
}

#[tokio::test]
async fn delegated_keys_are_listed_with_what_they_spent_and_can_be_proven() {
    let server = Server::start().await;
    let client = server.client();
    let delegated = key(60).public_key();
    let limits = KeyLimits {
        operations: KeyOperations::TRANSFER,
        payees: Some(vec![address(2)]),
        transaction_max: Some(Amount::from_mites(50)),
        limit: limit(100),
        expires_at_ms: Some(GENESIS_MS + DAY_MS),
    };
    let shown = KeyLimitsJson::new(&limits, &prefix());
    let set = Operation::SetKey(Box::new(SetKey { public_key: delegated, limits }));
    assert!(client.keys(&text(1)).await.expect("an account").keys.is_empty());
    server.post_encoded("", &[server.node.operation(1, 1, set)]).await;
    let path = format!("/v1/accounts/{}/keys/{delegated}/proof", text(1));
    server.get(&path).await.assert_problem(ProblemCode::NotCertifiedYet, "again");

    // The key spends.
    let mut transaction = server.node.payment(1, &[(address(2), 40, false)]).transaction;
    transaction.authority = Authority::Key(delegated);
    let signature = key(60).sign(&transaction.id(&server.node.chain()));
    server.post_encoded("", &[SignedTransaction { transaction, signature }]).await;
    let view = client.keys(&text(1)).await.expect("an account");
    let [found] = &view.keys[..] else { panic!("{view:?}") };
    assert_eq!((found.public_key, &found.limits), (delegated, &shown));
    assert_eq!((found.spent.mites(), found.nonce_high, found.next_nonce, found.is_expired), (40, 1, 2, false));
    assert!(!found.is_fresh(1) && found.is_fresh(2));
    assert!(found.next_period_at_ms.is_some_and(|at_ms| at_ms.is_multiple_of(DAY_MS) && at_ms > GENESIS_MS));

    let proof = client.key_proof(&text(1), &delegated).await.expect("a proof");
    proof.verify(&client.genesis().await.expect("the genesis document")).expect("a good proof");
    let SlotValue::Key { owner, public_key, .. } = &proof.value else { panic!("{:?}", proof.value) };
    assert_eq!((*owner, *public_key), (address(1), delegated));
    let other = format!("/v1/accounts/{}/keys/{}/proof", text(1), key(61).public_key());
    server.get(&other).await.assert_problem(ProblemCode::NoSuchKey, "no delegated key");
    server
        .get(&format!("/v1/accounts/{}/keys/7/proof", text(1)))
        .await
        .assert_problem(ProblemCode::InvalidParameter, "key");
}

#[tokio::test]
async fn a_policy_shows_what_is_in_force_and_what_is_to_come() {
    let server = Server::start().await;
    let client = server.client();
    let none: PolicyView = client.policy(&text(1)).await.expect("an account");
    assert_eq!((none.settings.limit, none.settings.blocked, none.pending), (None, false, None));
    let set = |nonce, mites, blocked| {
        let settings = PolicySettings { limit: limit(mites), raise_delay_ms: DAY_MS, blocked };
        server.node.operation(1, nonce, Operation::SetPolicy(Box::new(settings)))
    };
    server.post_encoded("", &[set(1, 100, false)]).await;
    server.post_encoded("", &[server.node.payment(2, &[(address(2), 30, false)])]).await;
    let tight = client.policy(&text(1)).await.expect("an account");
    assert_eq!(tight.settings.limit.expect("a limit").amount.mites(), 100);
    assert_eq!((tight.spent.mites(), tight.pending), (30, None));
    server.post_encoded("", &[set(3, 200, true)]).await;
    let both = client.policy(&text(1)).await.expect("an account");
    assert!(both.settings.blocked, "what is tighter is in force at once");
    assert_eq!(both.settings.limit.expect("a limit").amount.mites(), 100);
    let pending = both.pending.expect("what is looser waits");
    assert_eq!(pending.settings.limit.expect("a limit").amount.mites(), 200);
    assert_eq!(pending.effective_at_ms, both.as_of.timestamp_ms + DAY_MS);
}
