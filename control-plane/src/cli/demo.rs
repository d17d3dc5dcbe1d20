//! `admin init-demo`: an admin account with the channel `demo`, made once, and the file that says how to use it.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::admin::{InitDemo, made_up_password};
use super::{Failure, say};
use crate::account::rules::{Email, Password, Role, Username};
use crate::account::{self, store as accounts};
use crate::app::App;
use crate::channel::rules::Slug;
use crate::channel::store as channels;
use crate::clock;
use crate::http::address::Addresses;
use crate::onboarding::{self, NewAccount};
use crate::ports;
use crate::secrets::keyfile;
use crate::stream::rules::StreamKey;
use crate::stream::store as keys;

const LOGIN: &str = "admin";
const CHANNEL: &str = "demo";

/// Makes what is missing and leaves what is there; a second run changes nothing.
pub(super) async fn init(app: &App, arguments: &InitDemo) -> Result<(), Failure> {
    let before: Option<Value> =
        std::fs::read_to_string(&arguments.out).ok().and_then(|text| serde_json::from_str(&text).ok());
    let written_password =
        before.as_ref().and_then(|file| file.pointer("/admin/password")?.as_str()).map(str::to_owned);
    let (key, password) = match channels::find(app.db.read(), CHANNEL).await? {
        Some(channel) => (key_of(app, &channel.id).await?, password(app, written_password).await?),
        None => create(app).await?,
    };
    let file = describe(app, &arguments.host, &key, &password);
    if before.as_ref() != Some(&file) {
        keyfile::replace(&arguments.out, &serde_json::to_string_pretty(&file)?)?;
    }
    say(&arguments.out.display().to_string())
}

async fn create(app: &App) -> Result<(StreamKey, Zeroizing<String>), Failure> {
    let password = made_up_password();
    let new = NewAccount {
        username: Username::parse(LOGIN)?,
        email: Email::parse("admin@localhost")?,
        password: Password::parse(&password)?,
        role: Role::Admin,
        slug: Slug::parse(CHANNEL)?,
    };
    let opened = onboarding::open(&app.db, &app.key_ring, &app.hasher, &new).await?;
    Ok((opened.key, password))
}

async fn key_of(app: &App, channel_id: &str) -> Result<StreamKey, Failure> {
    let row = keys::current(app.db.read(), channel_id).await?;
    Ok(row.ok_or("the demo channel has no key; rotate it to get one")?.open(&app.key_ring)?)
}

/// The password that the file says. Where the file is gone there is no way to find it out, and the account gets
/// a new one.
async fn password(app: &App, written: Option<String>) -> Result<Zeroizing<String>, Failure> {
    if let Some(written) = written {
        return Ok(Zeroizing::new(written));
    }
    let user =
        accounts::find_by_login(app.db.read(), LOGIN).await?.ok_or("the demo channel is not the admin's")?;
    let password = made_up_password();
    let hash = app.hasher.hash(&Password::parse(&password)?).await?;
    let mut tx = app.db.write().await?;
    account::store::set_password(&mut tx, &user.id, &hash, clock::now()).await?;
    tx.commit().await?;
    Ok(password)
}

fn describe(app: &App, host: &str, key: &StreamKey, password: &str) -> Value {
    let settings = &app.config.media_server;
    let data = &app.config.data_dir;
    let key = key.expose();
    // A media server on ports of its own choice (port 0) has said which.
    let port =
        |name: &str, default: u16| ports::read(data, "media-server", name).map_or(default, |a| a.port());
    let addresses = Addresses::of_host(settings, host, port("http", 8080));
    let rtmp = settings.rtmp_url.clone().unwrap_or_else(|| match port("rtmp", 1935) {
        1935 => format!("rtmp://{host}/live"),
        other => format!("rtmp://{host}:{other}/live"),
    });
    let own = ports::read(data, "control-plane", "http").map_or(app.config.listen.port(), |a| a.port());
    json!({
        "channel": CHANNEL,
        "stream": CHANNEL,
        "key": key,
        "rtmp": format!("{}/{key}", rtmp.trim_end_matches('/')),
        "srt": format!("srt://{host}:{}?streamid=publish/{key}", port("srt", 8890)),
        "whip": addresses.whip(),
        "hls": addresses.hls(CHANNEL),
        "whep": addresses.whep(CHANNEL),
        "watch": format!("http://{host}:{own}/watch/{CHANNEL}"),
        "api": format!("http://{host}:{own}/api/v1"),
        "admin": { "login": LOGIN, "password": password },
    })
}
