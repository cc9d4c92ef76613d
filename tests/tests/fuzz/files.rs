//! What a node reads from its disk: its configuration, its key files, and what it stored.

use crate::canonical;
use crate::fixtures::{address, chain, commits, genesis, key};
use farthing_consensus::vertex::VertexRef;
use farthing_core::amount::Amount;
use farthing_core::block::ResultCode;
use farthing_core::certificate::CertificateAttestation;
use farthing_core::codec;
use farthing_core::hash::Digest;
use farthing_fuzz::Target;
use farthing_node::config::{CONFIG_FILE, Config};
use farthing_node::init::DEFAULT_CONFIG;
use farthing_node::keys_file;
use farthing_node::storage::rocks::BlockBody;
use farthing_node::storage::{
    BlockEntry, BlockRecord, Direction, HistoryRecord, IndexedTransaction, OperationKind, PayloadRecord,
    TransactionPosition,
};
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

const TOML: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "=",
    "\"",
    "\n",
    "#",
    "true",
    "-1",
    "0",
    "1e9",
    "9223372036854775808",
    "{",
    "}",
    ",",
    ".",
    "[network]\n",
    "[[network.peers]]\n",
    "listen = ",
    "\"/ip4/127.0.0.1/tcp/1\"",
    "[api]\n",
    "'''",
    "\\u0000",
    "1979-05-27",
];

#[test]
fn configurations() {
    let home = tempfile::tempdir_in(farthing_fuzz::scratch()).expect("a temporary directory");
    let full = r#"
genesis = "../genesis.json"
[network]
listen = ["/ip4/0.0.0.0/tcp/1", "/ip6/::/tcp/2"]
followers_max = 0
[[network.peers]]
validator = "b"
address = "/ip4/10.0.0.1/tcp/3"
[api]
listen = "[::1]:4"
[storage]
retain_blocks = 5
[log]
format = "json"
filter = "warn,farthing_node=debug"
"#;
    Target::text("config", vec![String::new(), full.into(), DEFAULT_CONFIG.into()], TOML, |input| {
        fs::write(home.path().join(CONFIG_FILE), input).expect("written");
        let config = Config::load(home.path(), None).map_err(|error| {
            let text = error.to_string();
            assert!(!text.is_empty(), "an error without a word");
            text
        })?;
        assert!(config.genesis.starts_with(home.path()) || config.genesis.is_absolute());
        assert_eq!(
            Config::load(home.path(), None).ok().as_ref(),
            Some(&config),
            "reading twice gives two configurations"
        );
        Ok(())
    })
    // Error messages and the log filter's parser take some room of their own.
    .allocating(256 << 10, 256)
    .check();
}

#[test]
fn key_files() {
    let home = tempfile::tempdir_in(farthing_fuzz::scratch()).expect("a temporary directory");
    let path = home.path().join("validator.key");
    let digits = "0b".repeat(32);
    let seeds = vec![digits.clone(), format!("{digits}\n"), format!(" {}\r\n", digits.to_uppercase())];
    Target::text("key-file", seeds, &["0", "f", " ", "\n", "\t", "0x", "g"], |input| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).expect("opened");
        std::io::Write::write_all(&mut file, input).expect("written");
        let key = keys_file::load(&path).map_err(|error| {
            let text = error.to_string();
            assert!(!text.contains("0b0b0b0b"), "the message tells the secret: {text}");
            text
        })?;
        let text = std::str::from_utf8(input).expect("hexadecimal digits are text");
        assert!(
            text.trim().eq_ignore_ascii_case(&key.seed().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        );
        Ok(())
    })
    .check();
}

/// What is stored is written by the node alone, but a disk may give back anything.
#[test]
fn stored_records() {
    let chain = chain();
    let id = chain.receipts[0].transaction.transaction.id(&genesis().chain_hash());
    let block = BlockRecord {
        header: chain.headers[0].clone(),
        payloads: vec![
            PayloadRecord { vertex: commits()[0].leader, void: false },
            PayloadRecord { vertex: commits()[1].leader, void: true },
        ],
        entries: [1, 3, 4, 7].map(|place| BlockEntry { payload: 0, place, id, code: ResultCode::Executed }).to_vec(),
    };
    let empty = BlockRecord { payloads: Vec::new(), entries: Vec::new(), ..block.clone() };
    let blocks = [block, empty].iter().map(|block| codec::encode(&BlockBody::of(block))).collect();
    let ids = |_: &VertexRef| Ok::<_, Infallible>(vec![id; 8]);
    Target::bytes("stored-block", blocks, |input| {
        let body: BlockBody = canonical(input, input.len())?;
        match body.entries(ids).expect("there are ids") {
            Some(entries) => assert!(entries.iter().all(|entry| entry.place < 8), "of no transaction of the payload"),
            None => return Err("it tells of more transactions than there are".into()),
        }
        Ok(())
    })
    .check();

    let position = TransactionPosition { height: 4, position: 2 };
    let indexed = IndexedTransaction { position, code: ResultCode::InsufficientBalance }.to_stored().to_vec();
    Target::bytes("stored-index", vec![indexed], |input| {
        let indexed = IndexedTransaction::from_stored(input).ok_or("not an entry")?;
        assert_eq!(indexed.to_stored(), input, "the entry has another encoding");
        Ok(())
    })
    .check();

    let line = HistoryRecord {
        account: address(1),
        height: 4,
        position: 2,
        line: 1,
        id,
        code: ResultCode::Executed,
        operation: OperationKind::Capture,
        direction: Direction::In,
        counterparty: address(2),
        amount: Amount::from_mites(7),
        reference: Some([1; 32]),
        hold: Some(id),
        output_count: 1,
        timestamp_ms: 9,
    };
    let bare = HistoryRecord { reference: None, hold: None, direction: Direction::Out, ..line.clone() };
    let lines = [line, bare].iter().map(codec::encode).collect();
    Target::bytes("stored-history", lines, |input| canonical::<HistoryRecord>(input, input.len()).map(drop)).check();

    let signature = key(101).sign(&Digest::ZERO);
    let attestation = CertificateAttestation { validator: 2, height: 4, signature };
    let certificates = [vec![], vec![attestation; 3]].iter().map(codec::encode).collect();
    Target::bytes("stored-certificate", certificates, |input| {
        canonical::<Vec<CertificateAttestation>>(input, input.len()).map(drop)
    })
    .check();
}
