//! The files that hold a node's secret keys: 64 hexadecimal digits, the key's seed, readable by their owner only.

use crate::config::{Config, NETWORK_KEY_FILE, VALIDATOR_KEY_FILE};
use farthing_core::genesis::Genesis;
use farthing_core::keys::SecretKey;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

/// The longest key file that is read: the digits with a few line ends to spare.
const FILE_BYTES_MAX: u64 = 80;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("the key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("the key file {} is open to other users (mode {mode:03o}): run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not 64 hexadecimal digits. What it holds is not shown: it may be most of a secret.
    #[error("the key file {} must hold 64 hexadecimal digits and nothing else: restore it from your backup", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The validator key belongs to no validator of the network.
    #[error(
        "the key {public_key} in {} is not a validator's in the genesis document of \"{network}\": use that network's genesis \
         document, or move the key file away to run a full node",
        path.display()
    )]
    NotAValidator {
        /// The validator key's file.
        path: PathBuf,
        /// The key's public half.
        public_key: String,
        /// The network's name.
        network: String,
    },
    /// The genesis document names another network key for this validator, so its peers would refuse it.
    #[error(
        "{} has the public key {found}, but the genesis document says {expected} for \"{validator}\": restore the key file that was \
         made together with the validator key",
        path.display()
    )]
    NetworkKeyDiffers {
        /// The network key's file.
        path: PathBuf,
        /// The validator's name.
        validator: String,
        /// The public key in the genesis document.
        expected: String,
        /// The public key of the file.
        found: String,
    },
}

/// Who a node is.
pub struct Identity {
    /// The key of the libp2p identity.
    pub network_key: SecretKey,
    /// The validator that the node is; `None` for a full node.
    pub validator: Option<ValidatorIdentity>,
}

/// The validator that a node is.
pub struct ValidatorIdentity {
    /// The index in the genesis document, which is the author number.
    pub author: u16,
    /// The name in the genesis document.
    pub name: String,
    /// The key that signs vertices and attestations.
    pub key: SecretKey,
}

impl Identity {
    /// Loads the keys in the node's home. A home without a validator key is a full node's.
    ///
    /// # Errors
    /// [`KeyFileError`] if a file is unusable, or does not fit the genesis document.
    pub fn load(config: &Config, genesis: &Genesis) -> Result<Identity, KeyFileError> {
        let network_key_path = config.home.join(NETWORK_KEY_FILE);
        let network_key = load(&network_key_path)?;
        let path = config.home.join(VALIDATOR_KEY_FILE);
        if !path.try_exists().map_err(|source| KeyFileError::Io { path: path.clone(), source })? {
            return Ok(Identity { network_key, validator: None });
        }
        let key = load(&path)?;
        let public_key = key.public_key();
        let found = genesis.validators().iter().enumerate().find(|(_, validator)| validator.public_key == public_key);
        let Some((author, validator)) = found else {
            return Err(KeyFileError::NotAValidator {
                path,
                public_key: public_key.to_string(),
                network: genesis.network().into(),
            });
        };
        if validator.network_key != network_key.public_key() {
            return Err(KeyFileError::NetworkKeyDiffers {
                path: network_key_path,
                validator: validator.name.clone(),
                expected: validator.network_key.to_string(),
                found: network_key.public_key().to_string(),
            });
        }
        let author = u16::try_from(author).expect("a genesis document has at most 128 validators");
        Ok(Identity { network_key, validator: Some(ValidatorIdentity { author, name: validator.name.clone(), key }) })
    }
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError`] if it cannot be read, is open to other users, or holds anything but 64 hexadecimal digits and white space
/// around them.
pub fn load(path: &Path) -> Result<SecretKey, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.into(), source };
    let file = File::open(path).map_err(io_error)?;
    let mode = file.metadata().map_err(io_error)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Permissions { path: path.into(), mode });
    }
    // Room for one byte more than is read, so that the buffer never moves and leaves a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 2));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(io_error)?;
    let malformed = || KeyFileError::Malformed { path: path.into() };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(malformed());
    }
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim_ascii(), seed.as_mut_slice()).map_err(|_| malformed())?;
    Ok(SecretKey::from_seed(&seed))
}

/// Writes a new key file and syncs it. The caller syncs the directory.
///
/// # Errors
/// [`KeyFileError::Io`], also if the file exists: a key is never overwritten.
pub fn create(path: &Path, key: &SecretKey) -> Result<(), KeyFileError> {
    let mut text = hex::encode(key.seed().as_slice());
    text.push('\n');
    let written = create_private(path, text.as_bytes());
    text.zeroize();
    written.map_err(|source| KeyFileError::Io { path: path.into(), source })
}

/// Writes a new file that only its owner may read, and syncs it.
pub(crate) fn create_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
