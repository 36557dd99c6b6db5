//! Which server is asked, and with what token.
//!
//! What is given on the command line counts first, then the environment, then the file that the
//! `mason dev` of this user has left.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use super::site::Site;
use crate::api::Token;
use crate::api::client::Client;

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
    /// In which namespace names are looked for
    #[arg(long, short, global = true, env = "MASON_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = "default")]
    pub(super) namespace: String,
}

impl TargetArgs {
    /// The token that was given: in a file, or in `MASON_TOKEN`.
    pub(super) fn token(&self) -> Result<Option<Token>> {
        if let Some(path) = &self.token_file {
            let context = || format!("--token-file {}", path.display());
            let text = std::fs::read_to_string(path).with_context(context)?;
            return Token::new(&text).map(Some).with_context(context);
        }
        match std::env::var("MASON_TOKEN") {
            Ok(text) if !text.is_empty() => Token::new(&text).map(Some).context("MASON_TOKEN"),
            _ => Ok(None),
        }
    }

    /// A client of the server that is meant.
    pub(super) fn client(&self, token: Option<&Token>) -> Result<Client> {
        if let Some(url) = &self.server {
            return Ok(Client::new(url, token.map(Token::expose))?);
        }
        let Some(site) = Site::find()? else {
            bail!("which server? Start one by `mason dev`, or give --server or MASON_URL");
        };
        let token = token.map_or(site.token.as_str(), Token::expose);
        Ok(Client::new(&site.url, Some(token))?)
    }
}
