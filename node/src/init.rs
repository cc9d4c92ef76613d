//! Making a node's home: keys, the statement that nothing was signed with them, and a configuration to edit.
//!
//! The statement matters (consensus.md §10): a validator that does not know what it signed must learn it from its peers
//! before it proposes again. Only key generation can say "nothing" truthfully. It says so in the file `nothing-signed`, which
//! the first run moves into the database; a home that is put together by hand, or whose database was lost, does not have it.

use crate::config::{CONFIG_FILE, NETWORK_KEY_FILE, NOTHING_SIGNED_FILE, VALIDATOR_KEY_FILE};
use crate::keys_file::{self, KeyFileError};
use farthing_core::keys::{PublicKey, SecretKey};
use libp2p::PeerId;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The configuration that a new home starts with: every key with its default and what it does.
pub const DEFAULT_CONFIG: &str = include_str!("config_default.toml");

/// What a new home holds, for its owner to publish.
#[derive(Debug, serde::Serialize)]
pub struct NewHome {
    /// The name for the genesis document. Absent for a full node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The public half of the validator key. Absent for a full node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// The public half of the network key.
    pub network_key: PublicKey,
    /// The libp2p peer id that follows from the network key.
    pub peer_id: String,
    /// The directory.
    pub home: PathBuf,
}

/// Why a home cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is somebody's home already.
    #[error("{} exists: choose another --home; nothing that may hold a key is ever overwritten", .0.display())]
    Exists(PathBuf),
    /// A name that no genesis document may hold.
    #[error("--name must be 1 to 64 printable ASCII characters")]
    Name,
    /// A key file cannot be written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Another file or the directory cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The operating system gives no entropy.
    #[error("no randomness from the operating system: {0}")]
    Entropy(getrandom::Error),
}

/// Makes a validator's home, or with `validator_name: None` a full node's, and syncs it to disk.
///
/// # Errors
/// [`InitError`] if any of the files exists already, or cannot be written.
pub fn init(home: &Path, validator_name: Option<&str>) -> Result<NewHome, InitError> {
    let printable =
        |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if validator_name.is_some_and(|name| !printable(name)) {
        return Err(InitError::Name);
    }
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| InitError::Io { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(at(home))?;
    for file in [VALIDATOR_KEY_FILE, NETWORK_KEY_FILE, CONFIG_FILE, NOTHING_SIGNED_FILE] {
        let path = home.join(file);
        // A dangling symbolic link is in the way as well, so `exists` would not do.
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists(path));
        }
    }
    let network_key = generate_key()?;
    keys_file::create(&home.join(NETWORK_KEY_FILE), &network_key)?;
    keys_file::create_private(&home.join(CONFIG_FILE), DEFAULT_CONFIG.as_bytes()).map_err(at(home))?;
    let mut public_key = None;
    if validator_name.is_some() {
        let validator_key = generate_key()?;
        public_key = Some(validator_key.public_key());
        keys_file::create(&home.join(VALIDATOR_KEY_FILE), &validator_key)?;
        // Last, so that it never stands beside a key that was there before.
        let statement = format!("{}\n", validator_key.public_key());
        keys_file::create_private(&home.join(NOTHING_SIGNED_FILE), statement.as_bytes()).map_err(at(home))?;
    }
    sync_directory(home).map_err(at(home))?;
    let absolute = home.canonicalize().map_err(at(home))?;
    if let Some(parent) = absolute.parent() {
        sync_directory(parent).map_err(at(parent))?;
    }
    let network_key = network_key.public_key();
    let peer_id = peer_id(&network_key).expect("a key made here is a point of the curve").to_string();
    Ok(NewHome { name: validator_name.map(Into::into), public_key, network_key, peer_id, home: absolute })
}

/// Whether the home states that nothing was ever signed with this validator key.
///
/// # Errors
/// An [`io::Error`] if the statement cannot be read; an absent one is `false`.
pub fn states_nothing_signed(home: &Path, key: &PublicKey) -> io::Result<bool> {
    match fs::read_to_string(home.join(NOTHING_SIGNED_FILE)) {
        Ok(text) => Ok(text.trim_end() == key.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the statement for good, before the first signature; one that is gone already is no error.
///
/// # Errors
/// An [`io::Error`] if it cannot be removed or the removal not be synced: then nothing may be signed.
pub fn remove_nothing_signed(home: &Path) -> io::Result<()> {
    match fs::remove_file(home.join(NOTHING_SIGNED_FILE)) {
        Ok(()) => sync_directory(home),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The libp2p peer id of a network key, or `None` if the key is not a point of the curve.
pub fn peer_id(network_key: &PublicKey) -> Option<PeerId> {
    let key = libp2p::identity::ed25519::PublicKey::try_from_bytes(&network_key.0).ok()?;
    Some(libp2p::identity::PublicKey::from(key).to_peer_id())
}

fn generate_key() -> Result<SecretKey, InitError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(InitError::Entropy)?;
    Ok(SecretKey::from_seed(&seed))
}

pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
