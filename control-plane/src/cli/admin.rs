//! `control-plane admin …`: works on the database, also while a server runs on it.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use rand::Rng;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Failure, demo, say};
use crate::account::rules::{Email, Password, Role, Username};
use crate::app::App;
use crate::channel::rules::Slug;
use crate::channel::store::{self as channels, Channel};
use crate::config::Config;
use crate::onboarding::{self, NewAccount};
use crate::outside::media_server::Dropped;
use crate::stream::{rotation, store as keys};
use crate::{account, clock};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account with its channel and stream key
    CreateUser(CreateUser),
    /// Give a channel a new stream key; the old one dies at once, and its live session with it
    RotateKey(OfChannel),
    /// Show a channel's stream key
    ShowKey(OfChannel),
    /// List all channels and whether they are live
    ListChannels(Format),
    /// Make the demo channel, once, and write what is needed to use it
    InitDemo(InitDemo),
}

#[derive(Debug, Args)]
pub(super) struct CreateUser {
    /// 3 to 25 of a-z, 0-9, `_` and `-`
    #[arg(long)]
    username: String,
    /// E-mail address
    #[arg(long)]
    email: String,
    /// The channel's name in addresses; by default the user name
    #[arg(long)]
    channel: Option<String>,
    /// May run the place
    #[arg(long)]
    admin: bool,
    /// Read the password from standard input; without this, one is made up and printed once
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct OfChannel {
    /// Its slug or id
    channel: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InitDemo {
    /// Where to write it (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// The host in the addresses that are written
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) host: String,
}

pub(super) async fn execute(command: Command, config: Config) -> Result<(), Failure> {
    let app = App::open(config).await?;
    let done = match command {
        Command::CreateUser(arguments) => create_user(&app, arguments).await,
        Command::RotateKey(arguments) => rotate_key(&app, &arguments).await,
        Command::ShowKey(arguments) => show_key(&app, &arguments).await,
        Command::ListChannels(format) => list_channels(&app, &format).await,
        Command::InitDemo(arguments) => demo::init(&app, &arguments).await,
    };
    app.db.close().await;
    done
}

/// 24 letters and digits that cannot be taken for one another: more than 110 bits.
pub(super) fn made_up_password() -> Zeroizing<String> {
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut random = rand::rng();
    let letter = |_| char::from(LETTERS.get(random.random_range(0..LETTERS.len())).copied().unwrap_or(b'a'));
    Zeroizing::new((0..24).map(letter).collect())
}

fn stdin_password() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin().take(Password::MAX_BYTES as u64 + 3).read_to_string(&mut text)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

async fn create_user(app: &App, arguments: CreateUser) -> Result<(), Failure> {
    let named = |error: account::rules::Rejected| format!("{} {error}", error.field);
    let username = Username::parse(&arguments.username).map_err(named)?;
    let slug = Slug::parse(arguments.channel.as_deref().unwrap_or(username.as_str())).map_err(named)?;
    let text = if arguments.password_stdin { stdin_password()? } else { made_up_password() };
    let new = NewAccount {
        email: Email::parse(&arguments.email).map_err(named)?,
        password: Password::parse(&text).map_err(named)?,
        role: if arguments.admin { Role::Admin } else { Role::Creator },
        username,
        slug,
    };
    let opened = onboarding::open(&app.db, &app.key_ring, &app.hasher, &new).await?;
    let shown_password = (!arguments.password_stdin).then_some(text.as_str());
    if arguments.format.json {
        return say(&json!({
            "user": opened.user, "username": new.username.as_str(), "channel": new.slug.as_str(),
            "channelId": opened.channel, "key": opened.key.expose(), "password": shown_password,
        })
        .to_string());
    }
    say(&format!("account     {} ({})", new.username, opened.user))?;
    if let Some(password) = shown_password {
        say(&format!("password    {password}   (shown this once)"))?;
    }
    say(&format!("channel     {} ({})", new.slug.as_str(), opened.channel))?;
    say(&format!("stream key  {}", opened.key.expose()))
}

async fn channel(app: &App, slug_or_id: &str) -> Result<Channel, Failure> {
    let found = channels::find(app.db.read(), slug_or_id).await?;
    found
        .ok_or_else(|| format!("there is no channel `{slug_or_id}`; `admin list-channels` lists them").into())
}

async fn rotate_key(app: &App, arguments: &OfChannel) -> Result<(), Failure> {
    let channel = channel(app, &arguments.channel).await?;
    let rotated =
        rotation::rotate(&app.db, &app.key_ring, &app.media_server, &channel, "operator", None).await?;
    let session = match &rotated.dropped {
        Ok(Dropped::Live) => "dropped".to_owned(),
        Ok(Dropped::NotLive) => "not live".to_owned(),
        Err(error) => format!("not dropped: {error}"),
    };
    if arguments.format.json {
        return say(&json!({
            "channel": channel.slug, "keyId": rotated.key_id, "key": rotated.key.expose(),
            "sessionDropped": matches!(rotated.dropped, Ok(Dropped::Live)), "session": session,
        })
        .to_string());
    }
    say(&format!("stream key  {}", rotated.key.expose()))?;
    say(&format!("session     {session}"))
}

async fn show_key(app: &App, arguments: &OfChannel) -> Result<(), Failure> {
    let channel = channel(app, &arguments.channel).await?;
    let row = keys::current(app.db.read(), &channel.id)
        .await?
        .ok_or("the channel has no key; rotate it to get one")?;
    let key = row.open(&app.key_ring)?;
    let mut tx = app.db.write().await?;
    account::store::audit(&mut tx, "operator", "stream-key.reveal", &row.id, None, clock::now()).await?;
    tx.commit().await?;
    if arguments.format.json {
        return say(&json!({"channel": channel.slug, "keyId": row.id, "key": key.expose()}).to_string());
    }
    say(key.expose())
}

async fn list_channels(app: &App, format: &Format) -> Result<(), Failure> {
    const PAGE: u32 = 200;
    let mut after = String::new();
    loop {
        let page = channels::list(app.db.read(), &after, PAGE).await?;
        for channel in &page {
            let status = channels::status(app.db.read(), &channel.slug).await?;
            let live = status.live_since.is_some();
            if format.json {
                say(&json!({"id": channel.id, "slug": channel.slug, "name": channel.name, "live": live,
                            "since": status.since()})
                .to_string())?;
            } else {
                let state = if live { "live" } else { "offline" };
                say(&format!("{:<26} {state:<8} {}", channel.slug, status.since().unwrap_or_default()))?;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE as usize => after.clone_from(&last.slug),
            _ => return Ok(()),
        }
    }
}
