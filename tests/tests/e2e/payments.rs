//! Every way of paying, as people use it: each scenario of `docs/payments.md`, with the wallet, on real processes.
//!
//! They share one testnet, each with accounts of its own, and run at the same time.

use super::testnet::{Ended, Home, Testnet, program, wait_for};
use super::{block_on, wait_for_agreement};
use farthing_client::Client;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::keys::SecretKey;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FAR: u64 = 1_000_000_000;

/// How many people are on the payroll.
const PAYROLL: usize = 5_000;

/// One way of paying.
type Scenario = fn(&Testnet<'_>);

/// Somebody with a wallet.
struct Person {
    home: PathBuf,
    /// The address of the key.
    address: String,
}

impl Person {
    /// Somebody whose wallet has the testnet and one new key, and who has no account yet.
    fn new(testnet: &Testnet<'_>, name: &str) -> Person {
        let home = testnet.home.path(name);
        let mut person = Person { home, address: String::new() };
        let genesis = testnet.genesis().to_str().expect("UTF-8");
        let mut add = vec!["profile", "add", "local", "--genesis", genesis, "--use"];
        let apis = testnet.apis();
        apis.iter().for_each(|api| add.extend(["--api", api]));
        person.run(&add).ok();
        person.run(&["keys", "new", "--name", "own", "--no-password"]).ok();
        let keys = person.json(&["keys", "list"]);
        person.address = keys["keys"][0]["address"].as_str().expect("an address").into();
        person
    }

    /// Somebody who has so many FAR, from a developer's account.
    fn with(testnet: &Testnet<'_>, name: &str, far: u64, from: &str) -> Person {
        let person = Person::new(testnet, name);
        dev(testnet, &["send", &person.address, &format!("{far} FAR"), "--open", "--from", from]).ok();
        person
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("farthing"));
        command.env("FARTHING_HOME", &self.home).stdin(Stdio::null()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().expect("the wallet runs").into()
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the wallet starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends").into()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[&["--output", "json"], arguments].concat()).ok().json()
    }

    fn balance(&self) -> u64 {
        mites(&self.json(&["balance"])["balance"])
    }
}

/// Runs the wallet with the developers' keys.
fn dev(testnet: &Testnet<'_>, arguments: &[&str]) -> Ended {
    testnet.home.wallet(arguments)
}

fn dev_json(testnet: &Testnet<'_>, arguments: &[&str]) -> Value {
    dev(testnet, &[&["--output", "json"], arguments].concat()).ok().json()
}

fn dev_balance(testnet: &Testnet<'_>, name: &str) -> u64 {
    mites(&dev_json(testnet, &["balance", name])["balance"])
}

fn mites(amount: &Value) -> u64 {
    amount.as_str().expect("an amount").parse().expect("mites")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Checks that a command failed with this exit code and says so.
#[track_caller]
fn refused(ended: Ended, code: i32, says: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    assert!(ended.stderr.contains(says), "{says:?} is not in {ended:?}");
}

/// Limits count by the day: a scenario that spends one must not run over midnight.
fn wait_out_midnight() {
    const DAY_MS: u128 = 86_400_000;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let left = DAY_MS - now_ms % DAY_MS;
    if left < 300_000 {
        std::thread::sleep(Duration::from_millis(left as u64 + 2_000));
    }
}

#[test]
fn every_way_of_paying() {
    let home = Home::new();
    let testnet = home.up(4);
    let scenarios: [(&str, Scenario); 10] = [
        ("tip", a_creator_without_an_account_is_tipped_by_a_link),
        ("articles", ten_articles_are_read_on_a_tab),
        ("bicycle", a_bicycle_is_hired_with_a_deposit),
        ("game", a_game_buys_until_its_budget_is_spent),
        ("meter", a_metered_api_is_paid_by_the_request_and_settled_once),
        ("payroll", a_payroll_is_paid_once_though_the_wallet_dies_on_the_way),
        ("swap", two_holds_are_swapped_by_one_preimage),
        ("phone", a_lost_phone_costs_no_more_than_the_policy_allows),
        ("request", a_request_is_paid_and_proven),
        ("limits", bandwidth_is_shown_numbers_are_cancelled_and_events_resumed),
    ];
    wait_out_midnight();
    std::thread::scope(|scope| {
        let threads = scenarios.map(|(name, scenario)| {
            let testnet = &testnet;
            let thread = std::thread::Builder::new().name(name.into());
            (name, thread.spawn_scoped(scope, move || scenario(testnet)).expect("a thread"))
        });
        let failed = threads.map(|(name, thread)| thread.join().is_err().then_some(name));
        let failed: Vec<_> = failed.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{failed:?} failed");
    });
    wait_for_agreement(&testnet.apis());
    testnet.load(100, 1, true);
}

fn a_creator_without_an_account_is_tipped_by_a_link(testnet: &Testnet<'_>) {
    let creator = Person::new(testnet, "creator");
    refused(creator.run(&["balance"]), 4, "no account yet");
    let before = dev_balance(testnet, "dev-2");
    let made = dev_json(testnet, &["link", "create", "0.05 FAR", "--from", "dev-2"]);
    let link = text(&made["link"]).to_string();
    assert_eq!(dev_balance(testnet, "dev-2"), before - FAR / 20 - 2 * FAR, "the tip and two reserves");
    assert_eq!(dev_json(testnet, &["link", "list"])["links"][0]["state"], "open");

    refused(creator.run(&["link", "claim", &link[..link.len() - 1]]), 2, "mistyped");
    let claimed = creator.json(&["link", "claim", &link]);
    assert_eq!((&claimed["amount"], &claimed["opened"]), (&"50000000".into(), &true.into()), "{claimed}");
    assert_eq!(creator.balance(), FAR / 20);
    refused(creator.run(&["link", "claim", &link]), 4, "claimed it already");
    assert_eq!(dev_json(testnet, &["link", "list"])["links"][0]["state"], "claimed");

    // Somebody who has an account gets the tip alone: the reserve goes back to whoever made the link.
    let made = dev_json(testnet, &["link", "create", "0.05 FAR", "--from", "dev-2"]);
    creator.run_with_input(&["link", "claim", "-"], text(&made["link"])).ok();
    assert_eq!(creator.balance(), FAR / 10);
    assert_eq!(dev_balance(testnet, "dev-2"), before - FAR / 10 - 3 * FAR);
}

fn ten_articles_are_read_on_a_tab(testnet: &Testnet<'_>) {
    let publisher = Person::with(testnet, "publisher", 5, "dev-3");
    let before = dev_balance(testnet, "dev-3");
    let opened = dev_json(testnet, &["channel", "open", &publisher.address, "1 FAR", "--from", "dev-3"]);
    let hold = text(&opened["hold"]);
    for article in 1..=10_u64 {
        let paid = dev_json(testnet, &["channel", "pay", hold, "0.02 FAR"]);
        let voucher = text(&paid["voucher"]);
        let received = publisher.json(&["channel", "receive", voucher, "--at-least", "0.02FAR"]);
        assert_eq!(mites(&received["cumulative"]), article * FAR / 50, "{received}");
        refused(publisher.run(&["channel", "receive", voucher]), 4, "adds");
    }
    refused(dev(testnet, &["channel", "pay", hold, "0.81 FAR"]), 5, "budget");
    dev_json(testnet, &["hold", "top-up", hold, "1 FAR", "--from", "dev-3"]);
    dev_json(testnet, &["channel", "pay", hold, "0.81 FAR"]);
    let closed = publisher.json(&["channel", "close", hold]);
    assert_eq!((mites(&closed["settled"]), &closed["state"]), (FAR / 5, &"closed".into()), "{closed}");
    assert_eq!(publisher.balance(), 5 * FAR + FAR / 5);
    assert_eq!(dev_balance(testnet, "dev-3"), before - FAR / 5, "the rest and the reserve are back");
    let status = publisher.json(&["channel", "status", hold]);
    assert_eq!(status["channels"][0]["state"], "closed", "{status}");
}

fn a_bicycle_is_hired_with_a_deposit(testnet: &Testnet<'_>) {
    let shop = Person::with(testnet, "bicycles", 5, "dev-4");
    let before = dev_balance(testnet, "dev-4");
    let deposit =
        ["hold", "open", &shop.address, "20 FAR", "--expires", "2d", "--reference", "bicycle 7", "--from", "dev-4"];
    let opened = dev_json(testnet, &deposit);
    let hold = text(&opened["hold"]);
    assert_eq!(dev_balance(testnet, "dev-4"), before - 20 * FAR - FAR / 4);
    let listed = shop.json(&["hold", "list"]);
    assert_eq!((&listed["holds"][0]["id"], &listed["holds"][0]["state"]), (&hold.into(), &"open".into()), "{listed}");
    refused(dev(testnet, &["hold", "capture", hold, "1 FAR", "--from", "dev-4"]), 4, "does not let");
    refused(dev(testnet, &["hold", "release", hold, "--from", "dev-4"]), 4, "does not let");
    refused(shop.run(&["hold", "capture", hold, "21 FAR"]), 5, "20 FAR left");
    shop.json(&["hold", "capture", hold, "3.5 FAR", "--final"]);
    assert_eq!(shop.balance(), 8 * FAR + FAR / 2);
    assert_eq!(dev_balance(testnet, "dev-4"), before - 3 * FAR - FAR / 2, "the rest is back at once");
    let shown = shop.json(&["hold", "show", hold]);
    assert_eq!((&shown["state"], &shown["captured"]), (&"closed".into(), &"3500000000".into()), "{shown}");
    let watched = shop.run(&["watch", "--reference", "bicycle 7", "--after", "0", "--count", "3"]).ok();
    assert!(watched.stdout.contains("open_hold") && watched.stdout.contains("+3.5 FAR"), "{watched:?}");
}

fn a_game_buys_until_its_budget_is_spent(testnet: &Testnet<'_>) {
    let (game, shop) = (Person::new(testnet, "game"), Person::with(testnet, "items", 1, "dev-5"));
    let owner = testnet.address(4);
    let key = text(&game.json(&["keys", "list"])["keys"][0]["public_key"]).to_string();
    let delegate = ["keys", "delegate", &key, "--per-day", "2FAR", "--payee", &shop.address, "--expires", "30d"];
    dev_json(testnet, &[&delegate[..], &["--from", "dev-5"]].concat());
    let buy = |amount: &str| game.run(&["send", &shop.address, amount, "--account", owner]);
    for _ in 0..4 {
        buy("0.5 FAR").ok();
    }
    refused(buy("1 mite"), 4, "in this period");
    refused(game.run(&["send", testnet.address(0), "1 mite", "--account", owner]), 4, "may not pay this payee");
    let open = ["hold", "open", &shop.address, "1 mite", "--account", owner];
    refused(game.run(&open), 4, "may not do this");
    let raise = ["keys", "delegate", &"11".repeat(32), "--unlimited", "--account", owner];
    refused(game.run(&raise), 4, "may not do this");
    assert_eq!(shop.balance(), 3 * FAR);
    let keys = dev_json(testnet, &["keys", "list", "--account", "dev-5"]);
    assert_eq!(keys["keys"][0]["spent"], "2000000000", "{keys}");
    let proof = dev_json(testnet, &["proof", "dev-5", "--key", &key]);
    assert_eq!(proof["proven"]["key"]["public_key"], key.as_str(), "{proof}");
}

fn a_metered_api_is_paid_by_the_request_and_settled_once(testnet: &Testnet<'_>) {
    const REQUESTS: u64 = 40;
    let api = Person::with(testnet, "api", 5, "dev-6");
    let opened = dev_json(testnet, &["channel", "open", &api.address, "1 FAR", "--expires", "7d", "--from", "dev-6"]);
    let hold = text(&opened["hold"]);
    let vouchers: Vec<String> = (0..REQUESTS)
        .map(|_| dev(testnet, &["channel", "pay", hold, "100 mite"]).ok().stdout.trim().to_string())
        .collect();
    for ten in vouchers.chunks(10) {
        api.run_with_input(&["channel", "receive", "-"], &ten.join("\n")).ok();
    }
    let mut forged = vouchers[REQUESTS as usize - 1].clone().into_bytes();
    forged[70] ^= 1;
    refused(api.run(&["channel", "receive", std::str::from_utf8(&forged).expect("digits")]), 4, "voucher");
    let settled = api.json(&["channel", "close", hold, "--keep-open"]);
    assert_eq!((mites(&settled["settled"]), &settled["state"]), (100 * REQUESTS, &"open".into()), "{settled}");
    assert_eq!(api.balance(), 5 * FAR + 100 * REQUESTS);
    refused(api.run(&["channel", "close", hold, "--keep-open"]), 2, "nothing to settle");

    // The payer starts closing, with one voucher that is not settled: a guard settles it in time.
    let last = dev(testnet, &["channel", "pay", hold, "77 mite"]).ok().stdout.trim().to_string();
    api.json(&["channel", "receive", &last]);
    let closing = dev_json(testnet, &["channel", "close", hold, "--from", "dev-6"]);
    assert_eq!(closing["state"], "closing", "{closing}");
    api.json(&["channel", "guard", "--once"]);
    assert_eq!(api.balance(), 5 * FAR + 100 * REQUESTS + 77);
    let history = api.json(&["history", "--limit", "100"]);
    let captures = history["entries"].as_array().expect("a list").iter();
    let captures = captures.filter(|entry| entry["operation"] == "capture" && entry["direction"] == "in");
    assert_eq!(captures.count(), 2, "{REQUESTS} payments were settled at once, and the last one: {history}");
}

fn a_payroll_is_paid_once_though_the_wallet_dies_on_the_way(testnet: &Testnet<'_>) {
    let prefix: AddressPrefix = testnet.address(0).split_once('1').expect("bech32").0.parse().expect("a prefix");
    let person = |number: usize| {
        let mut seed = [77; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Address(SecretKey::from_seed(&seed).public_key()).encode(&prefix)
    };
    let salary = |number: usize| 1_000_000 + number as u64;
    let mut csv = String::from("to,amount,reference\n");
    for number in 0..PAYROLL {
        writeln!(csv, "{},{} mite,salary {number}", person(number), salary(number)).expect("memory");
    }
    let file = testnet.home.path("payroll.csv");
    fs::write(&file, csv).expect("room");
    let file = file.to_str().expect("UTF-8");
    let pay = ["pay-many", file, "--from", "dev-7", "--open", "--batch", "500", "--timeout", "60"];
    let before = dev_balance(testnet, "dev-7");

    refused(dev(testnet, &["pay-many", file, "--from", "dev-7", "--dry-run"]), 4, "5000 payees have no account");
    let dry = dev_json(testnet, &[&pay[..], &["--dry-run"]].concat());
    let total: u64 = (0..PAYROLL).map(salary).sum();
    assert_eq!((&dry["rows"], mites(&dry["total"]), &dry["transactions"]), (&5_000.into(), total, &10.into()), "{dry}");
    assert_eq!(dev_balance(testnet, "dev-7"), before, "a dry run pays nothing");

    let mut command = testnet.home.command("farthing");
    let mut dying = command.args(pay).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the wallet starts");
    let mut said = BufReader::new(dying.stderr.take().expect("a pipe")).lines();
    let third = said.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("3 of 10")));
    assert!(third.is_some(), "it ended before its third transaction");
    dying.kill().expect("it runs");
    dying.wait().expect("it ends");

    let paid = dev_json(testnet, &pay);
    assert_eq!((&paid["rows"], mites(&paid["total"])), (&5_000.into(), total), "{paid}");
    let spent = before - dev_balance(testnet, "dev-7");
    assert_eq!(spent, total + PAYROLL as u64 * FAR, "each was paid once, and each account opened once");
    let again = dev_json(testnet, &pay);
    assert_eq!(again["transactions"], paid["transactions"], "the same command again pays nothing");
    assert_eq!(before - dev_balance(testnet, "dev-7"), spent);
    let client = Client::new(&testnet.apis()[0]).expect("a URL");
    for number in [0, 499, 500, 1_777, PAYROLL - 1] {
        let account = block_on(async { client.account(&person(number)).await.expect("an account") });
        assert_eq!(account.balance.mites(), salary(number));
    }

    let receipts = PathBuf::from(text(&paid["receipts"]));
    let results = fs::read_to_string(receipts.join("results.csv")).expect("a list");
    assert_eq!(results.lines().count(), PAYROLL + 1);
    let row: Vec<&str> = results.lines().nth(1_778).expect("a row").split(',').collect();
    assert_eq!((row[0], row[1]), ("1779", person(1_777).as_str()));
    let receipt = receipts.join(row[8]);
    let verified = dev_json(testnet, &["verify", receipt.to_str().expect("UTF-8")]);
    let output: usize = row[5].parse().expect("a number");
    let output = &verified["transaction"]["operation"]["transfer"]["outputs"][output];
    assert_eq!(output["to"], row[1], "the receipt of a row proves its payment");
    assert_eq!(mites(&output["amount"]), salary(1_777));
}

fn two_holds_are_swapped_by_one_preimage(testnet: &Testnet<'_>) {
    let (ann, bob) = (Person::with(testnet, "ann", 20, "dev-8"), Person::with(testnet, "bob", 20, "dev-8"));
    let secret = ann.json(&["hold", "secret"]);
    let (preimage, lock) = (text(&secret["preimage"]), text(&secret["hashlock"]));
    let to_bob = ann.json(&["hold", "open", &bob.address, "5 FAR", "--hashlock", lock, "--expires", "2d"]);
    let to_ann = bob.json(&["hold", "open", &ann.address, "7 FAR", "--hashlock", lock, "--expires", "1d"]);
    let (to_bob, to_ann) = (text(&to_bob["hold"]), text(&to_ann["hold"]));
    refused(bob.run(&["hold", "capture", to_bob]), 2, "--preimage");
    refused(bob.run(&["hold", "capture", to_bob, "--preimage", &"00".repeat(32)]), 2, "not the hold's hashlock");
    ann.json(&["hold", "capture", to_ann, "--preimage", preimage]);
    // What Ann had to show to take her side is for all to see.
    let seen = bob.run(&["--output", "json", "watch", "--hold", to_ann, "--after", "0", "--count", "2"]).ok();
    let capture: Value = serde_json::from_str(seen.stdout.lines().last().expect("two events")).expect("JSON");
    let receipt = bob.json(&["receipt", text(&capture["entry"]["id"])]);
    let shown = text(&receipt["transaction"]["operation"]["capture"]["preimage"]);
    assert_eq!(shown, preimage);
    bob.json(&["hold", "capture", to_bob, "--preimage", shown]);
    assert_eq!((ann.balance(), bob.balance()), (22 * FAR, 18 * FAR));
}

fn a_lost_phone_costs_no_more_than_the_policy_allows(testnet: &Testnet<'_>) {
    let (phone, thief) = (Person::new(testnet, "phone"), testnet.address(0));
    let owner = testnet.address(8);
    let key = text(&phone.json(&["keys", "list"])["keys"][0]["public_key"]).to_string();
    dev_json(testnet, &["keys", "delegate", &key, "--unlimited", "--from", "dev-9"]);
    let set = dev_json(testnet, &["policy", "set", "--per-day", "5FAR", "--raise-delay", "1d", "--from", "dev-9"]);
    assert_eq!(set["policy"]["settings"]["limit"]["amount"], "5000000000", "{set}");
    let steal = |amount: &str| phone.run(&["send", thief, amount, "--account", owner]);
    steal("4 FAR").ok();
    refused(steal("2 FAR"), 4, "policy allows");
    // Nobody loosens the policy at once, not even with the account's own key.
    let loosened = dev_json(testnet, &["policy", "set", "--no-limit", "--from", "dev-9"]);
    assert_eq!(loosened["policy"]["settings"]["limit"]["amount"], "5000000000", "{loosened}");
    assert!(loosened["policy"]["pending"]["effective_at_ms"].is_u64(), "{loosened}");
    dev_json(testnet, &["policy", "block", "--from", "dev-9"]);
    refused(steal("1 mite"), 4, "blocked");
    dev_json(testnet, &["keys", "remove", &key, "--from", "dev-9"]);
    refused(steal("1 mite"), 2, "no delegated key");
    let shown = dev(testnet, &["policy", "show", "dev-9"]).ok().stdout;
    assert!(shown.contains("BLOCKED") && shown.contains("to come"), "{shown}");
}

fn a_request_is_paid_and_proven(testnet: &Testnet<'_>) {
    let cafe = Person::with(testnet, "cafe", 1, "dev-10");
    let ask = [
        "request",
        "0.25 FAR",
        "--label",
        "Café",
        "--message",
        "two coffees",
        "--expires",
        "1h",
        "--reference",
        "order 17",
    ];
    let request = cafe.json(&ask);
    let uri = text(&request["uri"]);
    assert!(uri.starts_with(&format!("farthing:{}?amount=0.25FAR&reference=", cafe.address)), "{uri}");
    let drawn = cafe.run(&ask).ok().stdout;
    assert!(
        drawn.contains("█") && drawn.trim_end().rsplit('\n').next().is_some_and(|line| line.starts_with("farthing:"))
    );
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cafe.json(&[&ask[..], &["--wait", "--timeout", "60"]].concat()));
        let paid = dev(testnet, &["pay", uri, "--from", "dev-10"]).ok();
        assert!(paid.stderr.contains("Café: two coffees"), "{paid:?}");
        waiting.join().expect("it is paid")
    });
    assert_eq!(mites(&waiting["payment"]["amount"]), FAR / 4, "{waiting}");
    refused(dev(testnet, &["pay", &uri.replace("0.25FAR", "0FAR"), "--from", "dev-10"]), 2, "at least 1 mite");
    refused(dev(testnet, &["pay", uri, "--amount", "1FAR", "--from", "dev-10"]), 2, "asks for 0.25 FAR");
    let expired = format!("{}&expires=1", uri.split_once("&expires").expect("it expires").0);
    refused(dev(testnet, &["pay", &expired, "--from", "dev-10"]), 4, "expired");

    // What can be proven is proven offline: to a wallet without any node.
    let saved = testnet.home.path("cafe.json");
    let saved = saved.to_str().expect("UTF-8");
    wait_for("a proof of the account", || (cafe.run(&["proof", "--save", saved]).code == 0).then_some(()));
    let offline = Person { home: testnet.home.path("offline"), address: String::new() };
    let genesis = testnet.genesis().to_str().expect("UTF-8");
    offline.run(&["profile", "add", "local", "--api", "http://127.0.0.1:9", "--genesis", genesis, "--use"]).ok();
    let verified = offline.json(&["verify", saved]);
    assert_eq!(verified["proven"]["account"]["address"], cafe.address.as_str(), "{verified}");
    let damaged = fs::read_to_string(saved).expect("saved").replacen("\"balance\": \"", "\"balance\": \"1", 1);
    fs::write(saved, damaged).expect("room");
    refused(offline.run(&["verify", saved]), 4, "proves nothing");
}

fn bandwidth_is_shown_numbers_are_cancelled_and_events_resumed(testnet: &Testnet<'_>) {
    let somebody = Person::with(testnet, "somebody", 10, "dev-1");
    let bandwidth = somebody.json(&["bandwidth"]);
    assert_eq!(bandwidth["transfer_bytes"], "200", "{bandwidth}");
    assert!(somebody.run(&["bandwidth"]).ok().stdout.contains("plain transfers"));

    // A number that was never used is used up; then it is too late for another.
    let cancelled = somebody.json(&["cancel", "1"]);
    assert_eq!(cancelled["cancelled"], 1, "{cancelled}");
    refused(somebody.run(&["cancel", "1"]), 4, "too late");
    refused(somebody.run(&["cancel", "1000"]), 2, "no transaction has the number");
    let sent = somebody.json(&["send", testnet.address(0), "3 mite"]);
    assert_eq!(sent["nonce"], 2, "{sent}");
    refused(somebody.run(&["reclaim", testnet.address(0)]), 4, "in use");

    let watch = |more: &[&str]| {
        let arguments = [&["--output", "json", "watch", "--count", "1"], more].concat();
        let line = somebody.run(&arguments).ok().stdout;
        serde_json::from_str::<Value>(line.trim()).expect("one JSON value a line")
    };
    let first = watch(&["--after", "0"]);
    assert_eq!((&first["entry"]["direction"], mites(&first["entry"]["amount"])), (&"in".into(), 10 * FAR), "{first}");
    let second = watch(&["--after", text(&first["cursor"])]);
    assert_eq!(second["entry"]["operation"], "release", "the cancellation: {second}");
    let block = watch(&["--blocks", "--after", "1"]);
    assert_eq!(block["block"]["height"], 2, "{block}");
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch(&["--until", "60s"]));
        // Whenever the stream begins, something comes after it.
        while !waiting.is_finished() {
            std::thread::sleep(Duration::from_millis(700));
            dev_json(testnet, &["send", &somebody.address, "7 mite", "--from", "dev-1"]);
        }
        waiting.join().expect("an event")
    });
    assert_eq!(waiting["entry"]["amount"], "7", "{waiting}");
}
