//! A new configuration takes effect: validated whole, its sockets bound first, then every step; or nothing at all.

use std::net::SocketAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::listeners::{Bound, Door, bind, bind_quic, bind_udp, bind_webrtc};
use super::{Daemon, DaemonError, read_config, settings};
use crate::admin::{ReloadReport, StreamVerdict};
use crate::config::{self, Config, LiveStream, Plan, Step, Verdict};
use crate::ingest::{rtmp, srt};
use crate::live::Phase;
use crate::transport::rtc;
use crate::web::listener::{self, Limits};
use crate::web::quic;
use crate::web::respond::Cors;

/// Sockets that a plan needs, bound before anything is changed.
#[derive(Default)]
struct Sockets {
    rtmp: Option<Bound>,
    rtmps: Option<Bound>,
    srt: Option<srt::Sockets>,
    webrtc: Option<rtc::Sockets>,
    http: Option<Bound>,
    https: Option<Bound>,
    http3: Option<(SocketAddr, quinn::Endpoint)>,
    admin: Option<Bound>,
}

impl Daemon {
    /// Reads the file again and applies it, or keeps the old settings and says why.
    pub(super) async fn reload(&mut self) {
        let report = self.try_reload().await;
        self.admin.metrics.reload(report.outcome);
        if let Some(error) = &report.error {
            let outcome = report.outcome;
            tracing::error!(outcome, error, "configuration not applied; the old settings stay in force");
        } else {
            tracing::info!(outcome = report.outcome, steps = ?report.steps, "configuration reloaded");
        }
        for verdict in &report.streams {
            tracing::info!(stream = %verdict.stream, verdict = %verdict.verdict, reason = %verdict.reason, "reload");
        }
        self.admin.last_reload.store(Some(Arc::new(report)));
    }

    async fn try_reload(&mut self) -> ReloadReport {
        let mut report = ReloadReport {
            time: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            outcome: "applied",
            error: None,
            steps: Vec::new(),
            streams: Vec::new(),
        };
        let new = match read_config(self.path.as_deref()) {
            Ok(new) => new,
            Err(error) => {
                report.outcome = "rejected";
                report.error = Some(error.to_string());
                return report;
            }
        };
        let plan = config::diff(Some(&self.config), &new);
        report.streams = self.verdicts(&plan);
        report.steps = plan.steps.iter().map(ToString::to_string).collect();
        if plan.is_empty() {
            report.outcome = "unchanged";
        } else if !plan.restart.is_empty() {
            report.outcome = "refused";
            report.error = Some(format!(
                "{} can only change by a restart of the daemon: restart it, or take the change back",
                plan.restart.join(", ")
            ));
        } else if let Err(error) = self.apply(&plan, Some(new)).await {
            report.outcome = "rejected";
            report.error = Some(error.to_string());
        } else {
            self.write_ports();
        }
        report
    }

    fn verdicts(&self, plan: &Plan) -> Vec<StreamVerdict> {
        let snapshots = self.desk.directory.all().into_iter().map(|handle| handle.snapshot());
        snapshots
            .filter(|s| s.phase != Phase::Ended)
            .map(|s| {
                let chosen = s.ladder.as_ref().and_then(|ladder| ladder.profile.as_ref());
                let admitted = s.session.as_ref().map(|session| &session.profile);
                let profile = chosen.or(admitted).cloned().unwrap_or_default();
                let (verdict, reason) = plan.verdict(&LiveStream { name: s.name.to_string(), profile });
                let reason = if verdict == Verdict::Untouched { String::new() } else { reason };
                StreamVerdict { stream: s.name.to_string(), verdict: verdict.to_string(), reason }
            })
            .collect()
    }

    /// Executes a plan. Everything that can fail is done before anything is changed. Without `new`, the present
    /// configuration is put into force (the first start).
    pub(super) async fn apply(&mut self, plan: &Plan, new: Option<Config>) -> Result<(), DaemonError> {
        let first = new.is_none();
        let config = new.unwrap_or_else(|| self.config.clone());
        let mut sockets = Sockets::default();
        for step in &plan.steps {
            match step {
                Step::BindRtmp(Some(address)) => sockets.rtmp = Some(bind("RTMP", "rtmp", *address).await?),
                Step::BindRtmps(Some(address)) => {
                    sockets.rtmps = Some(bind("RTMPS", "rtmp", *address).await?);
                }
                Step::BindSrt(Some(address)) => {
                    sockets.srt = Some(bind_udp("SRT", "srt", *address, self.desk.lanes.count())?);
                }
                Step::BindWebrtc(Some(address)) => sockets.webrtc = Some(bind_webrtc(*address)?),
                Step::BindHttp(Some(address)) => sockets.http = Some(bind("HTTP", "http", *address).await?),
                Step::BindHttps(Some(address)) => {
                    sockets.https = Some(bind("HTTPS", "http", *address).await?);
                }
                Step::BindHttp3(Some(address)) => {
                    // Where the port is any, both have the same.
                    let beside = sockets.https.as_ref().map(|bound| bound.address);
                    let address = beside.or(self.listeners.address(Door::Https)).unwrap_or(*address);
                    sockets.http3 =
                        Some((address, quic::endpoint(bind_quic(address)?, Arc::clone(&self.tls.http3))?));
                }
                Step::BindAdmin(address) => {
                    sockets.admin = Some(bind("the admin API", "admin", *address).await?);
                }
                _ => {}
            }
        }
        if !first && plan.steps.contains(&Step::SetAdmission) {
            settings::set_admission(&self.desk.admission, &self.endpoint, &config)?;
        }
        if plan.steps.contains(&Step::SetTls) {
            self.tls.set(&config.tls)?;
        }
        self.config = config;
        for step in &plan.steps {
            self.step(step, &mut sockets);
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, sockets: &mut Sockets) {
        let config = &self.config;
        match step {
            Step::SetLog => self.logging.set(config.log.format),
            // Done before, because it can fail.
            Step::SetAdmission | Step::SetTls => {}
            Step::SetRules => {
                self.preset.store(Arc::new(config.transcode.preset.clone()));
                self.slate.store(Arc::new(settings::slate(config)));
                self.restreams.trust(config.restream.ca_file.clone());
                self.desk.rules.store(Arc::new(settings::rules(config)));
            }
            Step::SetThumbnails => self.thumbnails.store(Arc::new(settings::thumbnails(config))),
            Step::SetPulls => self.pulls.configure(&settings::sources(config)),
            Step::SetCors => self.cors.store(Arc::new(Cors::new(&config.http.cors_origins))),
            Step::SetWebrtc => self.webrtc.set(config),
            Step::BindWebrtc(_) => {
                let port = self.webrtc.port.clone();
                let socket = sockets.webrtc.take().map(|sockets| (sockets.address(), sockets));
                self.listeners.set_any(Door::Webrtc, socket, |sockets, close, stop| {
                    rtc::listen(sockets, port, close, stop)
                });
            }
            Step::BindRtmp(_) => {
                let (desk, most) = (self.desk.clone(), config.rtmp.max_connections);
                self.listeners.set(Door::Rtmp, sockets.rtmp.take(), |listener, close, stop| {
                    rtmp::listen(listener, None, desk, most, close, stop)
                });
            }
            Step::BindRtmps(_) => {
                let (desk, most) = (self.desk.clone(), config.rtmp.max_connections);
                let tls = self.tls.rtmps.clone();
                self.listeners.set(Door::Rtmps, sockets.rtmps.take(), |listener, close, stop| {
                    rtmp::listen(listener, Some(tls), desk, most, close, stop)
                });
            }
            Step::BindSrt(_) => {
                let (desk, most) = (self.desk.clone(), config.srt.max_connections);
                let socket = sockets.srt.take().map(|sockets| (sockets.address(), sockets));
                self.listeners.set_any(Door::Srt, socket, |sockets, close, stop| {
                    srt::listen(sockets, desk, most, close, stop)
                });
            }
            Step::BindHttp(_) => {
                let (public, webrtc, limits) = (self.public.clone(), self.webrtc.clone(), self.limits());
                self.listeners.set(Door::Http, sockets.http.take(), |socket, close, stop| {
                    listener::serve((socket, None), limits, close, stop, move |request| {
                        let (public, webrtc) = (public.clone(), webrtc.clone());
                        async move { webrtc.answer(&public, request).await }
                    })
                });
            }
            Step::BindHttps(_) => {
                let (public, webrtc, limits) = (self.public.clone(), self.webrtc.clone(), self.limits());
                let tls = self.tls.clone();
                self.listeners.set(Door::Https, sockets.https.take(), |socket, close, stop| {
                    listener::serve((socket, Some(tls.https.clone())), limits, close, stop, move |request| {
                        let (public, webrtc, tls) = (public.clone(), webrtc.clone(), tls.clone());
                        async move { tls.answer((&public, &webrtc), request).await }
                    })
                });
            }
            Step::BindHttp3(_) => {
                let (public, webrtc, limits) = (self.public.clone(), self.webrtc.clone(), self.limits());
                self.tls.tell(sockets.http3.as_ref().map(|(address, _)| address.port()));
                self.listeners.set_any(Door::Http3, sockets.http3.take(), |endpoint, close, stop| {
                    quic::serve(endpoint, limits, close, stop, move |request| {
                        let (public, webrtc) = (public.clone(), webrtc.clone());
                        async move { webrtc.answer(&public, request).await }
                    })
                });
            }
            Step::BindAdmin(_) => {
                let limits =
                    Limits { connections: 256, gauge: prometheus_client::metrics::gauge::Gauge::default() };
                let admin = self.admin.clone();
                self.listeners.set(Door::Admin, sockets.admin.take(), |socket, close, stop| {
                    listener::serve((socket, None), limits, close, stop, move |request| {
                        let admin = admin.clone();
                        async move { admin.answer(request).await }
                    })
                });
            }
        }
    }

    /// Bounds of each public listener.
    fn limits(&self) -> Limits {
        Limits {
            connections: self.config.http.max_connections,
            gauge: self.admin.metrics.http_connections.clone(),
        }
    }

    /// Tells scripts which ports are open (`media-server.ports.json` in the data folder).
    pub(super) fn write_ports(&self) {
        let ports = serde_json::json!({
            "rtmp": self.listeners.address(Door::Rtmp),
            "rtmps": self.listeners.address(Door::Rtmps),
            "srt": self.listeners.address(Door::Srt),
            "webrtc": self.listeners.address(Door::Webrtc),
            "http": self.listeners.address(Door::Http),
            "https": self.listeners.address(Door::Https),
            "http3": self.listeners.address(Door::Http3),
            "admin": self.listeners.address(Door::Admin),
        });
        let path = self.config.data_dir.join("media-server.ports.json");
        let temp = path.with_extension("tmp");
        let written =
            std::fs::write(&temp, format!("{ports}\n")).and_then(|()| std::fs::rename(&temp, &path));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "could not write the port list");
        }
    }
}
