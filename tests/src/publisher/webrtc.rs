//! A WHIP client inside the test, down to its datagrams: for what no browser does.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{Method, Request, header};
use http_body_util::Full;
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::UdpSocket;

use crate::http_client::{Answer, HttpClient};

/// What went over the wire, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// To the server.
    pub sent: usize,
    /// From it.
    pub received: usize,
    /// DTLS came about.
    pub connected: bool,
}

/// See the module.
pub struct Client {
    rtc: Rtc,
    socket: UdpSocket,
    /// Its address of HTTP.
    pub session: String,
}

/// Posts an offer.
pub async fn post(client: &HttpClient, http: &str, key: Option<&str>, offer: &str) -> Result<Answer> {
    let mut request = Request::post(format!("{http}/whip")).header(header::CONTENT_TYPE, "application/sdp");
    if let Some(key) = key {
        request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
    }
    client.send(request.body(Full::new(offer.to_owned().into()))?).await
}

/// Any request to a session.
pub async fn call(
    client: &HttpClient,
    method: Method,
    url: &str,
    headers: &[(header::HeaderName, &str)],
    body: &str,
) -> Result<Answer> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    client.send(request.body(Full::new(body.to_owned().into()))?).await
}

/// An offer of sound and a picture, and who made it.
pub fn offer(at: SocketAddr) -> Result<(Rtc, SdpOffer, str0m::change::SdpPendingOffer)> {
    let mut rtc = Rtc::new(Instant::now());
    rtc.add_local_candidate(Candidate::host(at, "udp")?);
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    changes.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
    let (offer, pending) = changes.apply().context("an offer")?;
    Ok((rtc, offer, pending))
}

impl Client {
    /// Posts an offer, and takes the answer in.
    pub async fn open(client: &HttpClient, http: &str, key: &str) -> Result<Self> {
        Self::open_at("127.0.0.1:0", client, http, key).await
    }

    /// The same from an address of its own.
    pub async fn open_at(at: &str, client: &HttpClient, http: &str, key: &str) -> Result<Self> {
        let socket = UdpSocket::bind(at).await?;
        let (mut rtc, offer, pending) = offer(socket.local_addr()?)?;
        let answer = post(client, http, Some(key), &offer.to_sdp_string()).await?;
        anyhow::ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
        let session = format!("{http}{}", answer.header(header::LOCATION).context("no place")?);
        let answer = SdpAnswer::from_sdp_string(&answer.text())?;
        rtc.sdp_api().accept_answer(pending, answer)?;
        Ok(Self { rtc, socket, session })
    }

    /// Lives for a while; of what comes it takes in what `hears` says, the rest is only counted.
    pub async fn live(&mut self, time: Duration, hears: impl Fn(&[u8]) -> bool) -> Result<Traffic> {
        let end = Instant::now() + time;
        let (mut traffic, mut buffer) = (Traffic::default(), vec![0; 2048]);
        let here = self.socket.local_addr()?;
        while Instant::now() < end {
            let due = match self.rtc.poll_output()? {
                Output::Transmit(transmit) => {
                    traffic.sent += transmit.contents.len();
                    self.socket.send_to(&transmit.contents, transmit.destination).await?;
                    continue;
                }
                Output::Event(event) => {
                    traffic.connected |= matches!(event, Event::Connected);
                    continue;
                }
                Output::Timeout(due) => due.min(end),
            };
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, source) = received?;
                    traffic.received += length;
                    let Some(datagram) = buffer.get(..length).filter(|datagram| hears(datagram)) else { continue };
                    let receive = Receive::new(Protocol::Udp, source, here, datagram)?;
                    self.rtc.handle_input(Input::Receive(Instant::now(), receive))?;
                }
                () = tokio::time::sleep_until(due.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now()))?;
                }
            }
        }
        Ok(traffic)
    }
}
