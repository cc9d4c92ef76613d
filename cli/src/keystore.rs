//! The keys of a wallet by name.

use crate::error::{Error, ErrorCode};
use crate::files::{self, Home};
use crate::keyfile::{KEY_FILE_BYTES_MAX, KeyFile};
use crate::prompt;
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::keys::SecretKey;
use std::path::{Path, PathBuf};

/// The most characters of a key's name: fewer than an address has, so that the two are never taken for each other.
const NAME_CHARACTERS_MAX: usize = 32;

/// The most keys of one wallet.
const KEYS_MAX: usize = 10_000;

/// The name of a key when the user gives none.
pub const NAME_DEFAULT: &str = "default";

/// A key of the wallet.
pub struct StoredKey {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: KeyFile,
}

impl StoredKey {
    /// The account that the key owns, by the file's word.
    pub fn address(&self) -> Address {
        Address(self.file.public_key())
    }

    /// The private key, with the password from `password_file` or a prompt where one is needed.
    pub fn unlock(&self, password_file: Option<&Path>) -> Result<SecretKey, Error> {
        if !self.file.is_encrypted() {
            return self.file.decrypt("");
        }
        let password = prompt::password(&format!("Password of key {}: ", self.name), password_file)?;
        self.file.decrypt(&password)
    }
}

/// Refuses names that would make bad file names or could be taken for addresses.
pub fn check_name(name: &str) -> Result<(), Error> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !plain || name.starts_with(['.', '-']) || !(1..=NAME_CHARACTERS_MAX).contains(&name.len()) {
        return Err(Error::usage(format!(
            "{:?} is not a name: use 1 to {NAME_CHARACTERS_MAX} letters, digits, \"-\", \"_\" or \".\"",
            name.chars().take(60).collect::<String>()
        )));
    }
    Ok(())
}

/// The key of this name, or `None` if there is none.
pub fn find(home: &Home, name: &str) -> Result<Option<StoredKey>, Error> {
    check_name(name)?;
    let path = path(home, name);
    let Some(bytes) = files::read(&path, KEY_FILE_BYTES_MAX)? else { return Ok(None) };
    Ok(Some(StoredKey { name: name.into(), file: KeyFile::parse(&bytes, &path.display().to_string())? }))
}

/// All keys, by name.
pub fn list(home: &Home) -> Result<Vec<StoredKey>, Error> {
    let folder = home.keys();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::failure("read", &folder, &error)),
    };
    let mut names = Vec::new();
    for entry in entries.take(KEYS_MAX) {
        let entry = entry.map_err(|error| files::failure("read", &folder, &error))?;
        let name = entry.file_name().into_string().unwrap_or_default();
        // Temporary files of a process that died begin with a point.
        if let Some(name) = name.strip_suffix(".json").filter(|name| check_name(name).is_ok()) {
            names.push(name.to_string());
        }
    }
    names.sort();
    names.iter().filter_map(|name| find(home, name).transpose()).collect()
}

/// Stores a key under a name; says whether it is new.
///
/// The same key under the same name is left as it is; another key is never overwritten.
pub fn store(home: &Home, name: &str, file: &KeyFile) -> Result<bool, Error> {
    check_name(name)?;
    let _lock = home.lock()?;
    if let Some(existing) = find(home, name)? {
        if existing.file.public_key() == file.public_key() {
            return Ok(false);
        }
        return Err(Error::usage(format!("there is another key named {name:?} already: choose another --name")));
    }
    files::create_dir(&home.keys())?;
    files::write(&path(home, name), file.to_json().as_bytes())?;
    Ok(true)
}

/// The key to pay with: the one named, else the profile's, else the only one, else the one called "default".
pub fn select(home: &Home, named: Option<&str>, of_profile: Option<&str>) -> Result<StoredKey, Error> {
    if let Some(name) = named.or(of_profile) {
        return find(home, name)?.ok_or_else(|| {
            Error::usage(format!("there is no key named {name:?}: `farthing keys list` shows those there are"))
        });
    }
    let mut keys = list(home)?;
    if keys.len() == 1 {
        return Ok(keys.remove(0));
    }
    if keys.is_empty() {
        return Err(Error::usage("this wallet has no key yet: make one with `farthing keys new`"));
    }
    keys.into_iter().find(|key| key.name == NAME_DEFAULT).ok_or_else(|| {
        Error::usage("there are several keys: say which one to use with its name (`farthing keys list` shows them)")
    })
}

/// The address that a text names: a key of this wallet by its name, or an address of the network.
pub fn resolve(home: &Home, text: &str, prefix: &AddressPrefix) -> Result<Address, Error> {
    if check_name(text).is_ok()
        && let Some(key) = find(home, text)?
    {
        return Ok(key.address());
    }
    Address::decode(text, prefix).map_err(|error| {
        let short = check_name(text).is_ok();
        let error = Error::from(error);
        if short && error.code == ErrorCode::MalformedAddress {
            return Error::new(error.code, format!("{} (nor is there a key of this name)", error.message));
        }
        error
    })
}

fn path(home: &Home, name: &str) -> PathBuf {
    home.keys().join(format!("{name}.json"))
}
