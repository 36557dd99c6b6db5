//! Which server is asked, and with what token.
//!
//! What is given on the command line counts first, then the environment, then the file that the
//! `mason dev` of this user has left.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::api::Token;
use crate::api::client::Client;
use crate::dev::Beacon;

/// Which server is asked, and with what token.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub(super) struct TargetArgs {
    /// Where a server answers, as http://host:port
    #[arg(long, global = true, env = "MASON_URL", value_name = "URL")]
    server: Option<String>,
    /// A file that holds the token that servers and agents ask for
    #[arg(long, global = true, env = "MASON_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TargetArgs {
    /// The token that was given: in a file, or in `MASON_TOKEN`.
    pub(super) fn token(&self) -> Result<Option<Token>> {
        if let Some(path) = &self.token_file {
            let context = || format!("--token-file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(context)?;
            return Ok(Some(Token::new(&text).with_context(context)?));
        }
        match std::env::var("MASON_TOKEN") {
            Ok(text) if !text.is_empty() => Ok(Some(Token::new(&text).context("MASON_TOKEN")?)),
            _ => Ok(None),
        }
    }

    /// Whoever is to be asked. The token of a `dev` is sent to that `dev` alone.
    pub(super) fn client(&self) -> Result<Client> {
        let token = self.token()?;
        if let Some(url) = &self.server {
            return Ok(Client::new(url, token.as_ref().map(Token::expose))?);
        }
        let Some(beacon) = Beacon::find()? else {
            bail!(
                "no server is known: start one with `mason dev`, or name it by --server or \
                 MASON_URL"
            );
        };
        let token = token.as_ref().map_or(&*beacon.token, Token::expose);
        Ok(Client::new(&beacon.url, Some(token))?)
    }
}
