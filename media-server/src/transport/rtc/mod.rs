//! WebRTC transport: one UDP port, and the TCP port of the same number, for every session. The protocols are str0m's; which
//! session a datagram belongs to, and where one may be sent, is decided here. Nothing is sent to where nothing came from, and
//! little until who is there has shown that it hears us (`wire::reach`).

mod peer;
mod registry;
mod socket;
mod tcp;

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use str0m::change::SdpOffer;
use str0m::config::DtlsCert;
use str0m::net::TcpType;
use str0m::{Candidate, Rtc, RtcConfig};
use wire::sdp;

pub use peer::{Over, Peer};
pub use socket::{Sockets, listen};

use registry::Registry;

/// Where clients are told to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Addresses of this server as clients see them; a port of 0 stands for the one that is listened on.
    pub advertised: Vec<SocketAddr>,
    /// The machine's own addresses are told as well. They are where nothing is advertised.
    pub own_addresses: bool,
}

/// What became of datagrams that did not get to where they were to go.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// They belong to nobody, or are not what they should be.
    pub strays: Counter,
    /// A session was too slow for them, or its client.
    pub overflow: Counter,
    /// They were not sent: who is there has not shown that it hears us.
    pub held: Counter,
}

impl OpenError {
    /// The parser's words, without the line that says where: it has an address of our memory in it.
    fn syntax(error: &impl fmt::Display) -> Self {
        let text = error.to_string();
        let words: Vec<&str> = text.lines().filter(|line| !line.contains("0x")).collect();
        Self::Syntax(words.join(", "))
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no port.
    #[error("[webrtc] listens nowhere: set its listen address")]
    Closed,
    /// An offer that is none.
    #[error("the offer is no session description: {0}")]
    Syntax(String),
    /// An offer that cannot be answered.
    #[error("the offer cannot be accepted: {0}")]
    Offer(String),
    /// str0m could not begin.
    #[error("the session could not be made: {0}")]
    Library(String),
    /// No candidate to tell.
    #[error("no address of this server is known: set [webrtc] advertise")]
    Nowhere,
}

/// The port of every session. Clones share it.
#[derive(Clone)]
pub struct Port {
    registry: Arc<Registry>,
    terms: Arc<ArcSwap<Terms>>,
    certificate: DtlsCert,
    tally: Tally,
}

/// A session that was opened, and the answer to its offer.
pub struct Opened {
    /// The session.
    pub peer: Peer,
    /// A session description.
    pub answer: String,
}

impl Port {
    /// Makes the certificate that all sessions share. Once a process.
    pub fn new(terms: Terms, tally: Tally) -> Result<Self, OpenError> {
        let provider = str0m::crypto::from_feature_flags();
        let certificate = provider.dtls_provider.generate_certificate();
        let certificate = certificate.ok_or_else(|| OpenError::Library("no certificate".into()))?;
        provider.install_process_default();
        let terms = Arc::new(ArcSwap::from_pointee(terms));
        Ok(Self { registry: Arc::default(), terms, certificate, tally })
    }

    /// For sessions that begin from now on.
    pub fn set_terms(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }

    /// Accepts an offer. `local` is the address that its request came to: where that was reached, we are.
    pub fn open(&self, config: RtcConfig, offer: &str, local: Option<IpAddr>) -> Result<Opened, OpenError> {
        let at = self.registry.listening().ok_or(OpenError::Closed)?;
        let candidates = Candidates::new(&self.terms.load(), at, local)?;
        // ICE restarts come as the same offer with other credentials.
        let offer = sdp::without_candidates(offer);
        let parsed = SdpOffer::from_sdp_string(&offer).map_err(|error| OpenError::syntax(&error))?;
        let mut rtc = Box::new(config.set_dtls_cert(self.certificate.clone()).build(Instant::now()));
        for candidate in &candidates.bases {
            rtc.add_local_candidate(candidate.clone());
        }
        let answer = accept(&mut rtc, parsed, &candidates)?;
        let ufrag = rtc.direct_api().local_ice_credentials().ufrag;
        let (registration, inbox) = self.registry.enter(ufrag);
        let peer = Peer::new(rtc, registration, inbox, offer, candidates, self.tally.clone());
        Ok(Opened { peer, answer })
    }
}

/// Accepts; the answer names all of our candidates.
fn accept(rtc: &mut Rtc, offer: SdpOffer, candidates: &Candidates) -> Result<String, OpenError> {
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| OpenError::Offer(error.to_string()))?;
    let answer = answer.to_sdp_string();
    // Without a track there is nobody to connect to.
    if sdp::fragment(&answer).is_none() {
        return Err(OpenError::Offer("there is neither a picture nor a sound in it".into()));
    }
    Ok(sdp::with_candidates(&answer, &candidates.lines))
}

/// Where one session's client is told to send.
#[derive(Clone, Debug)]
struct Candidates {
    /// One of each family and transport: whatever came to us came to these, as far as ICE is concerned.
    bases: Vec<Candidate>,
    /// Attributes for the answer.
    lines: Vec<String>,
}

impl Candidates {
    /// `at`: what is listened on; addresses of this machine that this does not reach are not told.
    fn new(terms: &Terms, at: SocketAddr, local: Option<IpAddr>) -> Result<Self, OpenError> {
        let port = at.port();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let given = |address: &SocketAddr| {
            SocketAddr::new(address.ip(), if address.port() == 0 { port } else { address.port() })
        };
        addresses.extend(terms.advertised.iter().map(given));
        if terms.own_addresses || addresses.is_empty() {
            let reached = |ip: &IpAddr| match at.ip() {
                // Of both families, as a rule.
                IpAddr::V6(any) if any.is_unspecified() => true,
                IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4(),
                one => *ip == one,
            };
            let own = local.map(|ip| ip.to_canonical()).into_iter().chain(routed());
            let one = Some(at.ip()).filter(|ip| !ip.is_unspecified());
            let own = own.filter(|ip| !ip.is_unspecified() && reached(ip)).chain(one);
            addresses.extend(own.map(|ip| SocketAddr::new(ip, port)));
        }
        let mut known: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        let mut bases = Vec::new();
        let mut lines = Vec::new();
        for udp in [true, false] {
            for address in &known {
                let candidate = if udp {
                    Candidate::builder().udp().host(*address).build()
                } else {
                    Candidate::builder().tcp().host(*address).tcptype(TcpType::Passive).build()
                };
                let Ok(candidate) = candidate else { continue };
                let is_base = |base: &Candidate| {
                    base.proto() == candidate.proto() && base.addr().is_ipv4() == address.is_ipv4()
                };
                lines.push(candidate.to_sdp_string());
                if !bases.iter().any(is_base) {
                    bases.push(candidate);
                }
            }
        }
        if bases.is_empty() { Err(OpenError::Nowhere) } else { Ok(Self { bases, lines }) }
    }

    /// What came from `source` came to this, as far as ICE is concerned.
    fn base(&self, udp: bool, source: SocketAddr) -> Option<SocketAddr> {
        let fits = |base: &&Candidate| {
            (base.proto() == str0m::net::Protocol::Udp) == udp && base.addr().is_ipv4() == source.is_ipv4()
        };
        self.bases.iter().find(fits).map(Candidate::addr)
    }
}

/// The addresses from which this machine reaches others. Nothing is sent to find them.
fn routed() -> impl Iterator<Item = IpAddr> {
    // Of documentation (RFC 5737, RFC 3849): routed as any other is.
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    ways.into_iter().filter_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 8189))
    }

    #[test]
    fn clients_are_told_what_is_advertised_and_nothing_else() {
        let terms = Terms { advertised: vec!["203.0.113.7:0".parse().unwrap()], own_addresses: false };
        let local = Some("10.0.0.1".parse().unwrap());
        let told = Candidates::new(&terms, any(), local).unwrap();
        assert_eq!(told.lines.len(), 2, "{told:?}");
        assert!(told.lines[0].contains(" udp ") && told.lines[0].contains(" 203.0.113.7 8189 typ host"));
        assert!(told.lines[1].contains(" tcp ") && told.lines[1].ends_with("tcptype passive"));
        let both = Candidates::new(&Terms { own_addresses: true, ..terms }, any(), local).unwrap();
        assert!(both.lines.iter().any(|line| line.contains(" 10.0.0.1 8189 ")));
        assert_eq!(both.base(true, "192.0.2.9:5".parse().unwrap()), "203.0.113.7:8189".parse().ok());
    }

    #[test]
    fn without_a_word_clients_are_told_where_their_request_came_to() {
        let local = Some("::ffff:127.0.0.1".parse().unwrap());
        let told = Candidates::new(&Terms::default(), any(), local).unwrap();
        assert!(told.lines[0].contains(" 127.0.0.1 8189 typ host"), "{told:?}");
        assert!(!told.lines.iter().any(|line| line.contains("::")), "that port has no IPv6: {told:?}");
        let one = Candidates::new(&Terms::default(), "192.0.2.7:8189".parse().unwrap(), local).unwrap();
        assert_eq!(one.lines.len(), 2, "{one:?}");
        assert!(one.lines[0].contains(" 192.0.2.7 8189 "), "{one:?}");
    }
}
