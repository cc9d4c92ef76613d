//! The journal of payments in flight, and the nonces of an account.
//!
//! The ledger takes each nonce once, in a window of 128 below the highest it has seen. So a nonce must never be used for two
//! payments, not even by two processes or after a crash; and nonce k + 128 must not be used before k is settled, or k could
//! never be settled any more. An account has a folder, and so has each delegated key, whose nonces are its own:
//!
//! ```text
//! lock           held while a nonce is given out
//! high_water     the highest nonce given out, written and synced before it is used
//! <nonce>.json   a payment that is not settled: its signed bytes, written and synced before they are sent;
//!                locked by the process that is sending it, if one is
//! ```
//!
//! The bytes in the journal are all that is ever sent for a payment, however often and to whichever node: a transaction with
//! one id executes at most once. A file disappears when its payment is settled.

use crate::error::{Error, ErrorCode};
use crate::files::{self, Home};
use farthing_core::address::Address;
use farthing_core::hash::ChainHash;
use farthing_core::transaction::{Authority, SIGNED_TRANSACTION_BYTES_MAX, SignedTransaction, TransactionId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The width of the ledger's nonce window.
pub const WINDOW: u64 = 128;

/// The most bytes of a journal file: two hexadecimal digits a byte, and the rest.
const ENTRY_BYTES_MAX: u64 = 2 * SIGNED_TRANSACTION_BYTES_MAX as u64 + 1_024;

/// Who gives out nonces: an account's own key, or a delegated key of it. Each has nonces, and so a journal, of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signatory {
    /// The account.
    pub account: Address,
    /// Its own key, or a delegated one.
    pub authority: Authority,
}

impl Signatory {
    /// The name of the folder: the account's public key and, after a point, the delegated one.
    fn folder(&self) -> String {
        match self.authority {
            Authority::Root => self.account.0.to_string(),
            Authority::Key(key) => format!("{}.{key}", self.account.0),
        }
    }

    fn of_folder(name: &str) -> Option<Signatory> {
        let (account, authority) = match name.split_once('.') {
            None => (name, Authority::Root),
            Some((account, key)) => (account, Authority::Key(key.parse().ok()?)),
        };
        Some(Signatory { account: Address(account.parse().ok()?), authority })
    }
}

/// The journal of one signatory on one network.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    chain: ChainHash,
}

/// The right to give out nonces, held by one process at a time.
#[derive(Debug)]
pub struct NonceLock<'a> {
    journal: &'a Journal,
    _lock: File,
}

/// A payment that is not settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its id.
    pub id: TransactionId,
    /// When it was made, by this machine's clock, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The transaction, whose canonical encoding is what is sent.
    pub signed: SignedTransaction,
}

/// A payment that this process, and no other, is working on.
#[derive(Debug)]
pub struct InFlight {
    /// The payment.
    pub entry: Entry,
    path: PathBuf,
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    created_ms: u64,
    transaction: String,
}

impl Journal {
    /// The journal of a signatory. Creates its folder.
    pub fn open(home: &Home, chain: &ChainHash, signatory: &Signatory) -> Result<Journal, Error> {
        let folder = home.journals(chain).join(signatory.folder());
        files::create_dir(&folder)?;
        Ok(Journal { folder, chain: *chain })
    }

    /// Waits until no other process gives out nonces of this account.
    pub fn lock(&self) -> Result<NonceLock<'_>, Error> {
        Ok(NonceLock { journal: self, _lock: files::lock_file(&self.folder.join("lock"))? })
    }

    /// The nonces of the payments that are not settled, ascending. At most [`WINDOW`] by construction.
    pub fn open_nonces(&self) -> Result<Vec<u64>, Error> {
        let failed = |error: &std::io::Error| files::failure("read", &self.folder, error);
        let mut nonces = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|error| failed(&error))? {
            let name = file.map_err(|error| failed(&error))?.file_name();
            nonces.extend(name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok()));
        }
        nonces.sort_unstable();
        Ok(nonces)
    }

    /// Takes over a payment that no process is working on; `None` if one is, or if it is settled.
    pub fn claim(&self, nonce: u64) -> Result<Option<InFlight>, Error> {
        let path = self.path(nonce);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::failure("read", &path, &error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(files::failure("lock", &path, &error)),
        }
        // Whoever held the lock until now may have settled it meanwhile.
        if !path.exists() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = file.by_ref().take(ENTRY_BYTES_MAX).read_to_end(&mut bytes);
        read.map_err(|error| files::failure("read", &path, &error))?;
        let entry = self.parse(&bytes, &path)?;
        Ok(Some(InFlight { entry, path, _lock: file }))
    }

    fn parse(&self, bytes: &[u8], path: &Path) -> Result<Entry, Error> {
        let damaged = |reason: String| {
            Error::local(format!(
                "{} is damaged ({reason}): its payment may or may not have been made; look at `farthing history`, then move \
                 the file away",
                path.display()
            ))
        };
        let file: EntryFile = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let encoded = hex::decode(&file.transaction).map_err(|error| damaged(error.to_string()))?;
        let signed = SignedTransaction::decode(&encoded).map_err(|error| damaged(error.to_string()))?;
        if path != self.path(signed.transaction.nonce) {
            return Err(damaged("its nonce is not the one in its name".into()));
        }
        Ok(Entry { id: signed.transaction.id(&self.chain), created_ms: file.created_ms, signed })
    }

    fn path(&self, nonce: u64) -> PathBuf {
        self.folder.join(format!("{nonce}.json"))
    }
}

impl NonceLock<'_> {
    /// Gives out a nonce that was never given out before: above the local high water and above `used`, the highest that the
    /// ledger has seen. It counts as used from now on, whatever happens.
    ///
    /// # Errors
    /// [`ErrorCode::TooManyOpen`] if the oldest open payment would fall out of the ledger's window.
    pub fn next_nonce(&self, used: u64) -> Result<u64, Error> {
        let path = self.journal.folder.join("high_water");
        let given_out = self.high_water(&path)?;
        let nonce = given_out.max(used).checked_add(1).ok_or_else(|| Error::local("the account has no nonce left"))?;
        if let Some(oldest) = self.journal.open_nonces()?.first()
            && nonce >= oldest.saturating_add(WINDOW)
        {
            return Err(Error::new(
                ErrorCode::TooManyOpen,
                format!(
                    "payments of this account back to number {oldest} are still open, and there may be {WINDOW} at most: \
                     nothing was sent; wait a moment, and see `farthing pending`"
                ),
            ));
        }
        files::write(&path, nonce.to_string().as_bytes())?;
        Ok(nonce)
    }

    /// Writes a signed payment to the journal. Only after this may it be sent.
    pub fn record(&self, signed: SignedTransaction, created_ms: u64) -> Result<InFlight, Error> {
        let path = self.journal.path(signed.transaction.nonce);
        assert!(!path.exists(), "a nonce is given out once");
        let file = EntryFile { created_ms, transaction: hex::encode(signed.encode()) };
        let text = serde_json::to_string(&file).expect("an entry is plain data");
        let lock = files::write_locked(&path, text.as_bytes())?;
        let entry = Entry { id: signed.transaction.id(&self.journal.chain), created_ms, signed };
        Ok(InFlight { entry, path, _lock: lock })
    }

    fn high_water(&self, path: &Path) -> Result<u64, Error> {
        let Some(bytes) = files::read(path, 32)? else { return Ok(0) };
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| {
            Error::local(format!(
                "{} is damaged: when no payment of this account is open any more, delete it, and the next number will be \
                 read from the network",
                path.display()
            ))
        })
    }
}

impl InFlight {
    /// Forgets the payment: its outcome is known, or it was never sent.
    pub fn settle(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(|error| files::failure("remove", &self.path, &error))?;
        files::sync_dir(self.path.parent().expect("a journal file is in its folder"))
    }
}

/// The signatories on a network that have a journal, by public key.
pub fn signatories(home: &Home, chain: &ChainHash) -> Result<Vec<Signatory>, Error> {
    let folder = home.journals(chain);
    let folders = match fs::read_dir(&folder) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::failure("read", &folder, &error)),
    };
    let mut signatories = Vec::new();
    for entry in folders {
        let entry = entry.map_err(|error| files::failure("read", &folder, &error))?;
        signatories.extend(entry.file_name().to_str().and_then(Signatory::of_folder));
    }
    signatories.sort_by_key(Signatory::folder);
    Ok(signatories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use farthing_client::transfer;
    use farthing_core::amount::Amount;
    use farthing_core::hash::Digest;
    use farthing_core::keys::SecretKey;
    use farthing_core::transaction::Output;

    const CHAIN: Digest = Digest([3; 32]);

    fn key() -> SecretKey {
        SecretKey::from_seed(&[7; 32])
    }

    fn journal(folder: &tempfile::TempDir) -> Journal {
        let home = Home::locate(Some(folder.path().to_path_buf())).unwrap();
        let signatory = Signatory { account: Address(key().public_key()), authority: Authority::Root };
        Journal::open(&home, &CHAIN, &signatory).unwrap()
    }

    fn payment(nonce: u64) -> SignedTransaction {
        let output =
            Output { to: Address(key().public_key()), amount: Amount::from_mites(5), reference: None, open: false };
        transfer(&CHAIN, &key(), nonce, 1_000, vec![output]).unwrap()
    }

    #[test]
    fn nonces_rise_above_both_what_was_given_out_and_what_the_ledger_saw() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        let next = |used| journal.lock().unwrap().next_nonce(used).unwrap();
        assert_eq!([next(0), next(0), next(10), next(4)], [1, 2, 11, 12]);
    }

    #[test]
    fn the_nonce_128_above_an_open_one_is_refused_until_that_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        let lock = journal.lock().unwrap();
        let open = lock.record(payment(lock.next_nonce(9).unwrap()), 0).unwrap();
        assert_eq!(open.entry.signed.transaction.nonce, 10);
        assert_eq!(lock.next_nonce(136).unwrap(), 137);
        assert_eq!(lock.next_nonce(0).unwrap_err().code, ErrorCode::TooManyOpen, "138 = 10 + 128");
        open.settle().unwrap();
        assert_eq!(lock.next_nonce(0).unwrap(), 138, "a refusal uses up no nonce");
    }

    #[test]
    fn an_entry_comes_back_as_the_same_bytes_and_only_when_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        let lock = journal.lock().unwrap();
        let held = lock.record(payment(lock.next_nonce(0).unwrap()), 77).unwrap();
        assert!(journal.claim(1).unwrap().is_none(), "its maker is working on it");
        let entry = held.entry.clone();
        drop(held);
        let claimed = journal.claim(1).unwrap().unwrap();
        assert_eq!(claimed.entry, entry);
        assert_eq!(claimed.entry.signed, payment(1));
        assert_eq!(journal.open_nonces().unwrap(), [1]);
        claimed.settle().unwrap();
        assert!(journal.claim(1).unwrap().is_none());
        assert_eq!(journal.open_nonces().unwrap(), [0; 0]);
    }

    #[test]
    fn an_account_and_its_delegated_keys_have_journals_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(folder.path().to_path_buf())).unwrap();
        let account = Address(key().public_key());
        let delegated = Authority::Key(SecretKey::from_seed(&[8; 32]).public_key());
        let both = [Authority::Root, delegated].map(|authority| Signatory { account, authority });
        for signatory in &both {
            let journal = Journal::open(&home, &CHAIN, signatory).unwrap();
            assert_eq!(journal.lock().unwrap().next_nonce(0).unwrap(), 1, "{signatory:?}");
        }
        assert_eq!(signatories(&home, &CHAIN).unwrap(), both);
    }

    #[test]
    fn damaged_files_are_reported_and_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder);
        std::fs::write(journal.path(4), b"{\"created_ms\":1,\"transaction\":\"00\"}").unwrap();
        assert!(journal.claim(4).unwrap_err().message.contains("damaged"));
        let text = serde_json::to_string(&EntryFile { created_ms: 1, transaction: hex::encode(payment(6).encode()) });
        std::fs::write(journal.path(5), text.unwrap()).unwrap();
        assert!(journal.claim(5).unwrap_err().message.contains("nonce"), "a file under another's name");
        std::fs::write(journal.folder.join("high_water"), b"12x").unwrap();
        assert!(journal.lock().unwrap().next_nonce(0).unwrap_err().message.contains("damaged"));
    }
}
