"""Publishes a test picture and a tone by WHIP with GStreamer's webrtcbin: ENDPOINT KEY CODEC [HOST PORT].

With HOST and PORT it sends there, in place of where the server says that it is. Ends when it is killed."""

import sys
import threading
import urllib.error
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

ENCODERS = {
    "H264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=1000"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency",
    "H265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=60 bitrate=1000 ! h265parse config-interval=-1 ! rtph265pay",
    "VP8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60 target-bitrate=1000000 ! rtpvp8pay",
    "VP9": "vp9enc deadline=1 cpu-used=8 row-mt=true keyframe-max-dist=60 target-bitrate=1000000 ! rtpvp9pay",
}


def routed(answer: str, path: tuple[str, ...]) -> str:
    lines = answer.split("\r\n")
    for index, line in enumerate(lines):
        words = line.split(" ")
        if path and line.startswith("a=candidate:"):
            lines[index] = " ".join(words[:4] + list(path) + words[6:]) if words[2] == "udp" else "a=x"
    return "\r\n".join(lines)


def main(endpoint: str, key: str, codec: str, *path: str) -> None:
    Gst.init(None)
    pipeline = Gst.parse_launch(
        "webrtcbin name=peer bundle-policy=max-bundle"
        " videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! videoconvert"
        f" ! {ENCODERS[codec]} pt=96 ! application/x-rtp,media=video,encoding-name={codec},payload=96,clock-rate=90000 ! peer."
        " audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2"
        " ! opusenc bitrate=96000 ! rtpopuspay pt=97"
        " ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000 ! peer."
    )
    peer = pipeline.get_by_name("peer")
    loop = GLib.MainLoop()

    def end(reason: str) -> None:
        print(reason, file=sys.stderr, flush=True)
        loop.quit()

    def post(offer: str) -> None:
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(endpoint, offer.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                text = routed(reply.read().decode(), path).encode()
        except urllib.error.HTTPError as error:
            return end(f"{error.code} {error.read().decode()}")
        except OSError as error:
            return end(str(error))
        _, sdp = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(text, sdp)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        peer.emit("set-remote-description", answer, Gst.Promise.new())

    def offered(promise, *_) -> None:
        # The description lives as long as the reply.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        text = offer.sdp.as_text()
        peer.emit("set-local-description", offer, Gst.Promise.new())
        threading.Thread(target=post, args=(text,), daemon=True).start()

    def needed(*_) -> None:
        for index in range(2):
            transceiver = peer.emit("get-transceiver", index)
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            transceiver.set_property("do-nack", True)
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered, None))

    peer.connect("on-negotiation-needed", needed)
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message::error", lambda _, message: end(str(message.parse_error())))
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    sys.exit(1)


main(*sys.argv[1:])
