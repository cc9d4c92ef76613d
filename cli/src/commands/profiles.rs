//! `farthing profile`

use super::Context;
use crate::args::ProfileCommand;
use crate::error::{Error, ErrorCode};
use crate::profile::{self, API_ADDRESSES_MAX, Config, GENESIS_BYTES_MAX, Profile};
use crate::{files, keystore, output, prompt};
use farthing_client::Client;
use farthing_core::genesis::Genesis;
use farthing_core::hash::ChainHash;
use serde_json::{Value, json};
use std::path::Path;

/// Runs a command on profiles.
pub async fn run(context: &Context, command: ProfileCommand) -> Result<(), Error> {
    match command {
        ProfileCommand::Add { name, api, genesis, chain, from, make_current, force, yes } => {
            let api = normalized(&api)?;
            let genesis = find_genesis(&api, genesis.as_deref(), chain.as_deref(), yes).await?;
            if let Some(key) = &from {
                keystore::check_name(key)?;
            }
            let profile = Profile { api, chain: genesis.chain_hash(), from };
            add(context, &name, profile, &genesis, make_current, force)
        }
        ProfileCommand::List => list(context),
        ProfileCommand::Use { name } => make_current(context, &name),
        ProfileCommand::Show { name } => {
            let name = name.as_deref().or(context.profile.as_deref());
            let (name, profile) = Config::load(&context.home)?.select(name)?;
            show(context, &name, &profile)
        }
    }
}

fn normalized(api: &[String]) -> Result<Vec<String>, Error> {
    if api.len() > API_ADDRESSES_MAX {
        return Err(Error::usage(format!("a profile has at most {API_ADDRESSES_MAX} API addresses")));
    }
    api.iter().map(|url| Ok(Client::new(url)?.url().to_string())).collect()
}

async fn find_genesis(api: &[String], file: Option<&Path>, chain: Option<&str>, trust: bool) -> Result<Genesis, Error> {
    let expected = chain.map(str::parse::<ChainHash>).transpose();
    let expected = expected.map_err(|error| Error::usage(format!("--chain: {error}")))?;
    let genesis = match file {
        Some(path) => {
            profile::parse_genesis(&files::read_named(path, GENESIS_BYTES_MAX)?, &path.display().to_string())?
        }
        None => Client::new(&api[0])?.genesis().await?,
    };
    let found = genesis.chain_hash();
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        let message =
            format!("the genesis document has the chain hash {found}, not {expected}: it is of another network");
        return Err(Error::new(ErrorCode::WrongNetwork, message));
    }
    if file.is_none() && expected.is_none() && !trust {
        let question = format!(
            "{} is on network {:?}, chain {found}. Is this the network that you want?",
            api[0],
            genesis.network()
        );
        if !prompt::confirm(&question, "--genesis FILE, --chain HASH, or --yes to trust the node")? {
            return Err(Error::usage("the profile was not added"));
        }
    }
    Ok(genesis)
}

fn add(
    context: &Context,
    name: &str,
    profile: Profile,
    genesis: &Genesis,
    make_current: bool,
    force: bool,
) -> Result<(), Error> {
    let _lock = context.home.lock()?;
    let mut config = Config::load(&context.home)?;
    config.add(name, profile.clone(), force)?;
    if make_current {
        config.current = Some(name.into());
    }
    // The document first: a profile must not point to one that is not there.
    profile::pin_genesis(&context.home, genesis)?;
    config.save(&context.home)?;
    show(context, name, &profile)
}

fn make_current(context: &Context, name: &str) -> Result<(), Error> {
    let _lock = context.home.lock()?;
    let mut config = Config::load(&context.home)?;
    let (_, profile) = config.select(Some(name))?;
    config.current = Some(name.into());
    config.save(&context.home)?;
    show(context, name, &profile)
}

fn list(context: &Context) -> Result<(), Error> {
    let config = Config::load(&context.home)?;
    let (mut rows, mut values) = (Vec::new(), Vec::<Value>::new());
    for (name, profile) in &config.profiles {
        let current = config.current.as_deref() == Some(name);
        values.push(json!({ "name": name, "current": current, "chain": profile.chain, "api": profile.api }));
        rows.push(vec![if current { "*" } else { "" }.into(), name.clone(), profile.api.join(" ")]);
    }
    let text = if rows.is_empty() {
        "no profiles yet: see `farthing profile add --help`".into()
    } else {
        output::table(&rows)
    };
    context.format.print(&json!({ "profiles": values }), &text)
}

fn show(context: &Context, name: &str, profile: &Profile) -> Result<(), Error> {
    let genesis = profile::pinned_genesis(&context.home, profile)?;
    let value = json!({
        "name": name, "network": genesis.network(), "chain": profile.chain, "address_prefix": genesis.prefix(),
        "api": profile.api, "from": profile.from,
    });
    let mut fields = vec![
        ("profile", name.to_string()),
        ("network", genesis.network().into()),
        ("chain", profile.chain.to_string()),
        ("api", profile.api.join(" ")),
    ];
    fields.extend(profile.from.clone().map(|key| ("from", key)));
    context.format.print(&value, &output::fields(&fields))
}
