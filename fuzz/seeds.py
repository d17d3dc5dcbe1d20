#!/usr/bin/env python3
"""Makes the seeds of the targets codecs, push, ts and srt; needs ffmpeg with x264, x265 and aom."""
import pathlib, struct, subprocess, tempfile

CORPUS = pathlib.Path(__file__).parent / "corpus"


def box(file, name):
    at = file.find(name)
    return file[at + 4 : at - 4 + struct.unpack(">I", file[at - 4 : at])[0]]


def sizes(file):
    table = box(file, b"stsz")
    fixed, count = struct.unpack(">II", table[4:12])
    return [fixed] * count if fixed else list(struct.unpack(f">{count}I", table[12 : 12 + 4 * count]))


def codecs(folder):
    """First byte: which parser. Second: how much of what follows is the configuration record."""
    encoders = [
        (0, b"avcC", "libx264"),
        (1, b"hvcC", "libx265 -tag:v hvc1 -x265-params log-level=none"),
        (2, b"av1C", "libaom-av1 -cpu-used 8"),
    ]
    for which, record, encoder in encoders:
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            source = "-f lavfi -i testsrc=size=64x64:rate=5 -t 0.4 -pix_fmt yuv420p -c:v"
            subprocess.check_call(f"ffmpeg -loglevel error -y {source} {encoder} {file.name}".split())
            data = pathlib.Path(file.name).read_bytes()
        config, media, (key, inter) = box(data, record)[:255], box(data, b"mdat"), sizes(data)[:2]
        head = bytes([which, len(config)]) + config
        name = record.decode()
        (folder / f"{name}_key").write_bytes(head + media[:key][:1500])
        (folder / f"{name}_inter").write_bytes(head + media[key : key + inter][:1500])
        (folder / f"{name}_in_band").write_bytes(bytes([which, 0]) + media[:key][:1500])
    opus = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"
    (folder / "opus").write_bytes(bytes([3, len(opus)]) + opus + b"\xf8\x01\x02")
    # An element with its configuration, and one that has it from before.
    payload = "".join(f"{byte:08b}" for byte in b"\x05frame")
    first, second = "001" + "0" * 13 + f"{0x1190:016b}" + "000" + "1" * 8 + "00" + payload, "1" + payload
    first, second = (int(bits.ljust((len(bits) + 7) // 8 * 8, "0"), 2).to_bytes((len(bits) + 7) // 8, "big") for bits in (first, second))
    (folder / "latm").write_bytes(bytes([4, len(first)]) + first + second)
    mp2, ac3 = b"\xff\xfd\x14\x00".ljust(96, b"\1"), bytes.fromhex("0b7700000040e1f8").ljust(128, b"\1")
    for name, frame in (("mp2", mp2), ("ac3", ac3)):
        (folder / name).write_bytes(bytes([6, 60]) + frame * 2)
    (folder / "aac").write_bytes(bytes([5, 5]) + bytes.fromhex("119056e500"))


def amf0(*values):
    out = b""
    for value in values:
        if isinstance(value, str):
            out += b"\x02" + struct.pack(">H", len(value)) + value.encode()
        elif isinstance(value, dict):
            pairs = (struct.pack(">H", len(k)) + k.encode() + amf0(v) for k, v in value.items())
            out += b"\x03" + b"".join(pairs) + b"\0\0\x09"
        else:
            out += b"\x05" if value is None else b"\x00" + struct.pack(">d", value)
    return out


def message(chunk_stream, kind, stream, body):
    out = bytes([chunk_stream]) + b"\0\0\0" + struct.pack(">I", len(body))[1:] + bytes([kind]) + struct.pack("<I", stream)
    for at in range(0, len(body), 128):
        out += (bytes([0xC0 | chunk_stream]) if at else b"") + body[at : at + 128]
    return out


def push(folder):
    """What servers answer to a push: one that takes it, one that does not; and an address."""
    status = lambda level, code: {"level": level, "code": code}
    accepted = [
        message(2, 5, 0, struct.pack(">I", 2500000)),
        message(2, 1, 0, struct.pack(">I", 128)),
        message(3, 20, 0, amf0("_result", 1, {"fmsVer": "FMS/3,0,1,123"}, status("status", "NetConnection.Connect.Success"))),
        message(3, 20, 0, amf0("_result", 4, None, 1)),
        message(2, 4, 0, struct.pack(">HI", 6, 77)),
        message(5, 20, 1, amf0("onStatus", 0, None, status("status", "NetStream.Publish.Start"))),
    ]
    (folder / "accepted").write_bytes(b"".join(accepted))
    refused = amf0("_error", 1, None, status("error", "NetConnection.Connect.Rejected"))
    (folder / "refused").write_bytes(message(3, 20, 0, refused))
    (folder / "url").write_bytes(b"rtmps://live.example:8443/app/instance/key?a=b")


def ts(folder):
    """First byte: how it is cut. Then what muxers write: one program of picture and sound, as joined in the middle too."""
    sources = "-f lavfi -i testsrc=size=64x64:rate=5 -f lavfi -i sine -t 0.4 -pix_fmt yuv420p"
    for name, codecs in (("h264_aac", "-c:v libx264 -c:a aac"), ("hevc_opus", "-c:v libx265 -x265-params log-level=none -c:a libopus")):
        with tempfile.NamedTemporaryFile(suffix=".ts") as file:
            subprocess.check_call(f"ffmpeg -loglevel error -y {sources} {codecs} {file.name}".split())
            data = pathlib.Path(file.name).read_bytes()
        (folder / name).write_bytes(bytes([0x3F]) + data[:6016])
        (folder / f"{name}_joined").write_bytes(bytes([0x45]) + data[300:3000])


def srt(folder):
    """A second handshake (its cookie is put in place by the target), then packets, each with time and length in front."""
    framed = lambda ms, datagram: bytes([ms, len(datagram)]) + datagram
    control = lambda kind, info, body: struct.pack(">IIII", 0x80000000 | kind << 16, info, 5000, 7) + body
    sid = b"publish/key\0"
    sid = b"".join(sid[at : at + 4][::-1] for at in range(0, len(sid), 4))
    extensions = struct.pack(">HHIIHH", 1, 3, 0x010501, 0x2F, 20, 20) + struct.pack(">HH", 5, len(sid) // 4) + sid
    head = struct.pack(">IHHIIIIII", 5, 0, 5, 10, 1500, 8192, 0xFFFFFFFF, 99, 0) + bytes(16)
    asked = framed(0x80, control(0, 0, head + extensions))
    data = lambda n: struct.pack(">IIII", n, 0xC0000000 | n, n * 1000, 7) + b"\x47" + bytes(20)
    packets = [data(n) for n in (10, 11, 14, 12)] + [control(6, 1, b""), control(7, 0, struct.pack(">II", 13, 13))]
    packets += [data(15), control(0x7FFF, 0, bytes(20)), control(5, 0, bytes(4))]
    (folder / "caller").write_bytes(asked + b"".join(framed(7, packet) for packet in packets))


for make in (codecs, push, ts, srt):
    folder = CORPUS / make.__name__
    folder.mkdir(parents=True, exist_ok=True)
    make(folder)
