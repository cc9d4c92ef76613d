//! `farthing keys`

use super::{Context, delegated};
use crate::args::{KeysCommand, Protection};
use crate::error::Error;
use crate::keyfile::KeyFile;
use crate::network::Network;
use crate::output::{self, Format};
use crate::{keystore, mnemonic, profile, prompt};
use farthing_core::address::{Address, AddressPrefix};
use farthing_core::keys::{PublicKey, SecretKey};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Runs a command on keys.
pub async fn run(context: &Context, command: KeysCommand) -> Result<(), Error> {
    match command {
        KeysCommand::New { name, protection } => new(context, &name, &protection),
        KeysCommand::Import { name, file, protection } => import(context, &name, file, &protection),
        KeysCommand::List { account: None } => list(context),
        KeysCommand::List { account: Some(account) } => delegated::list(context, &account).await,
        KeysCommand::Delegate(args) => delegated::delegate(context, args).await,
        KeysCommand::Remove(args) => delegated::remove(context, args).await,
        KeysCommand::Export { name, yes, password_file } => export(context, &name, yes, password_file.as_deref()),
    }
}

fn new(context: &Context, name: &str, protection: &Protection) -> Result<(), Error> {
    if keystore::find(&context.home, name)?.is_some() {
        return Err(Error::usage(format!("there is a key named {name:?} already: choose another --name")));
    }
    let words = mnemonic::generate()?;
    let key = mnemonic::key(&words)?;
    keystore::store(&context.home, name, &protect(&key, protection)?)?;
    let address = address_of(&key.public_key(), current_prefix(context)?.as_ref());
    let value = Zeroizing::new(
        json!({ "name": name, "address": address, "public_key": key.public_key(), "words": *words }).to_string(),
    );
    if context.format == Format::Json {
        return output::write_out(&value);
    }
    let mut text = Zeroizing::new(key_text(name, &key, address));
    text.push_str(
        "\nWrite these words down and keep them safe. They are shown this once, and whoever has them can spend.\n\n",
    );
    let numbered: Vec<String> =
        words.split_whitespace().enumerate().map(|(index, word)| format!("{:2} {word}", index + 1)).collect();
    text.push_str(&output::table(&numbered.chunks(6).map(<[String]>::to_vec).collect::<Vec<_>>()));
    output::write_out(text.trim_end())
}

fn import(context: &Context, name: &str, file: Option<PathBuf>, protection: &Protection) -> Result<(), Error> {
    let stdin = Some(Path::new("-"));
    if file.as_deref() == stdin && protection.password_file.as_deref() == stdin {
        return Err(Error::usage("standard input cannot be both the key and the password: put one into a file"));
    }
    let secret = match file {
        Some(path) => prompt::secret_text(&path)?,
        None => prompt::hidden("The 24 recovery words or the seed (not shown): ", "--file FILE")?,
    };
    let key = parse_secret(&secret)?;
    let created = keystore::store(&context.home, name, &protect(&key, protection)?)?;
    let address = address_of(&key.public_key(), current_prefix(context)?.as_ref());
    let mut text = key_text(name, &key, address.clone());
    if !created {
        text.push_str("It was there already and is left as it was.");
    }
    let value = json!({ "name": name, "address": address, "public_key": key.public_key(), "created": created });
    context.format.print(&value, &text)
}

fn parse_secret(text: &str) -> Result<SecretKey, Error> {
    let text = text.trim();
    if text.split_whitespace().count() != 1 {
        return mnemonic::key(text);
    }
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, &mut *seed)
        .map_err(|_| Error::usage("this is neither 24 recovery words nor a seed of 64 hexadecimal digits"))?;
    Ok(SecretKey::from_seed(&seed))
}

fn protect(key: &SecretKey, protection: &Protection) -> Result<KeyFile, Error> {
    if protection.no_password {
        return Ok(KeyFile::plain(key));
    }
    let password = prompt::new_password(protection.password_file.as_deref())?;
    KeyFile::encrypt(key, &password)
}

fn list(context: &Context) -> Result<(), Error> {
    let prefix = current_prefix(context)?;
    let (mut rows, mut values) = (Vec::new(), Vec::<Value>::new());
    for key in keystore::list(&context.home)? {
        let kind = if key.file.is_encrypted() { "encrypted" } else { "plain" };
        let address = address_of(&key.file.public_key(), prefix.as_ref());
        values.push(json!({
            "name": key.name, "address": address, "public_key": key.file.public_key(), "kind": kind,
        }));
        let shown = address.unwrap_or_else(|| key.file.public_key().to_string());
        rows.push(vec![key.name, shown, kind.into()]);
    }
    let text =
        if rows.is_empty() { "no keys yet: make one with `farthing keys new`".into() } else { output::table(&rows) };
    context.format.print(&json!({ "keys": values }), &text)
}

fn export(context: &Context, name: &str, yes: bool, password_file: Option<&Path>) -> Result<(), Error> {
    let key = keystore::select(&context.home, Some(name), None)?;
    let question = "The private seed will be shown in clear. Whoever sees it can spend. Go on?";
    if !yes && !prompt::confirm(question, "--yes")? {
        return Err(Error::usage("nothing was shown"));
    }
    let secret = key.unlock(password_file)?;
    let seed = Zeroizing::new(hex::encode(*secret.seed()));
    match context.format {
        Format::Text => output::write_out(&seed),
        Format::Json => {
            let value = json!({ "name": name, "public_key": secret.public_key(), "seed": *seed }).to_string();
            output::write_out(&Zeroizing::new(value))
        }
    }
}

fn key_text(name: &str, key: &SecretKey, address: Option<String>) -> String {
    let (label, shown) = match address {
        Some(address) => ("address", address),
        None => ("public key", key.public_key().to_string()),
    };
    output::fields(&[("key", name.into()), (label, shown)])
}

/// The address on the current network; none where there is no network yet.
fn address_of(key: &PublicKey, prefix: Option<&AddressPrefix>) -> Option<String> {
    prefix.map(|prefix| Address(*key).encode(prefix))
}

fn current_prefix(context: &Context) -> Result<Option<AddressPrefix>, Error> {
    let config = profile::Config::load(&context.home)?;
    if context.profile.is_none() && config.current.is_none() {
        return Ok(None);
    }
    Ok(Some(Network::open(&context.home, context.profile.as_deref())?.prefix().clone()))
}
