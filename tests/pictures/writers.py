"""Pictures written byte by byte: what no library writes. Used by make_odd_pictures.py."""
import struct
import zlib

import numpy as np


def pack_rows(samples, depth, order=">"):
    """[h, w, c] integers to rows of bytes."""
    flat = samples.reshape(samples.shape[0], -1)
    if depth in (16, 32):
        return [row.astype(f"{order}u{depth // 8}").tobytes() for row in flat]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in flat]
    return [np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth:].ravel()).tobytes()
            for row in flat]


def exif_block(orientation, kind=3, order=">", count=1, before=(), big=False):
    """A TIFF header with one directory; `kind` is the type of the orientation: 3 SHORT, 4 LONG, …"""
    entries = [*before, (0x0112, kind, count, orientation)]
    out = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "IH", 8, len(entries))
    for tag, kind, count, value in entries:
        letter = {1: "Bxxx", 3: "Hxx", 4: "I", 6: "bxxx", 8: "hxx", 9: "i"}[kind]
        out += struct.pack(order + "HHI" + letter, tag, kind, count, value)
    return out + b"\0\0\0\0"


def xmp_packet(orientation, attribute=True):
    inner = f'tiff:Orientation="{orientation}"' if attribute else ""
    body = "" if attribute else f"<tiff:Orientation>{orientation}</tiff:Orientation>"
    return (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {inner}>{body}</rdf:Description></rdf:RDF>'
            f"</x:xmpmeta>").encode()


# ---- PNG ----

def chunk(kind, data, wrong=False):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def raw_profile(exif):
    """What ImageMagick wrote before there was eXIf."""
    digits = exif.hex()
    lines = "\n".join(digits[i:i + 72] for i in range(0, len(digits), 72))
    return f"\nexif\n{len(exif):8}\n{lines}\n".encode()


def png(samples, depth, colour_type, interlaced=False, palette=None, transparency=None, before=b"", after=b"",
        pieces=1, end=True, cut=0, wrong=b"", filters=0, level=9):
    """`before` and `after` are chunks around IDAT, `pieces` the number of IDATs, `cut` bytes taken off the last one's end
    with all that follows, `wrong` the chunk whose checksum is wrong."""
    height, width = samples.shape[:2]
    raw, passes = b"", [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    for y, x, dy, dx in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            raw += b"".join(bytes([filters]) + row for row in pack_rows(part, depth))
    out = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced)), wrong == b"IHDR")
    if before.startswith(b"first"):
        out, before = out + before[5:], b""
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes(), wrong == b"PLTE")
    if transparency is not None:
        out += chunk(b"tRNS", transparency, wrong == b"tRNS")
    data = zlib.compress(raw, level)
    step = -(-len(data) // pieces)
    for i in range(0, len(data), step):
        before += chunk(b"IDAT", data[i:i + step], wrong == b"IDAT")
    out += before
    if cut:
        return out[:-cut]
    return out + after + (chunk(b"IEND", b"") if end else b"")


# ---- BMP ----

def bmp(bits, body, width, height, compression=0, palette=b"", masks=b"", colours=0, header=40, offset=None, planes=1):
    """`body` is bytes, or rows that are padded to four bytes. `masks` belong to the header from 52 bytes on."""
    if not isinstance(body, bytes):
        body = b"".join(row + b"\0" * (-len(row) % 4) for row in body)
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, planes, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, width, height, planes, bits, compression, len(body), 2835, 2835,
                           colours, 0)
        if header > 40:
            head, masks = (head + masks).ljust(header, b"\0"), b""
    at = 14 + len(head) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at if offset is None else offset) + head + masks + \
        palette + body


# ---- TIFF ----

def tiff(blocks, tags, order="<", big=False, subfiles=b""):
    """Blocks are strips or tiles, as tag 322 is there or not; tags are {number: (letter of struct, values)}."""
    where, length = (324, 325) if 322 in tags else (273, 279)
    data, offsets, start = b"", [], 16 if big else 8
    for block in blocks:
        offsets.append(start + len(data))
        data += block + b"\0" * (len(block) % 2)
    tags = {**tags}
    tags.setdefault(where, ("I", offsets))
    tags.setdefault(length, ("I", [len(block) for block in blocks]))
    tags = {tag: value for tag, value in tags.items() if value is not None}
    data += b"\0" * (-len(data) % 8)
    at, entry, inside = start + len(data), 20 if big else 12, 8 if big else 4
    room = at + (8 if big else 2) + entry * len(tags) + inside
    directory, extra = b"", b""
    for tag, (letter, values) in sorted(tags.items()):
        packed = bytes(values) if letter == "B" else struct.pack(order + letter * len(values), *values)
        if len(packed) <= inside:
            field = packed.ljust(inside, b"\0")
        else:
            field = struct.pack(order + ("Q" if big else "I"), room + len(extra))
            extra += packed + b"\0" * (len(packed) % 2)
        kind = {"B": 1, "H": 3, "I": 4, "h": 8, "f": 11, "Q": 16}[letter]
        directory += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, len(values)) + field
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, at) if big else (42, at)))
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return head + data + count + directory + b"\0" * inside + extra


def tags_for(height, width, bits, samples, photometric, **more):
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * samples), 259: ("H", [1]),
            262: ("H", [photometric]), 277: ("H", [samples]), 278: ("I", [height])}
    tags.update({int(key[1:]): value for key, value in more.items()})
    return tags


# ---- WebP ----

def riff(chunks, claimed=None):
    body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
                              for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) if claimed is None else claimed) + body


def riff_chunks(data):
    at, out = 12, []
    while at + 8 <= len(data):
        size = struct.unpack_from("<I", data, at + 4)[0]
        out.append((data[at:at + 4], data[at + 8:at + 8 + size]))
        at += 8 + size + size % 2
    return out


def little24(value):
    return struct.pack("<I", value)[:3]


def vp8x(width, height, flags):
    return b"VP8X", bytes([flags, 0, 0, 0]) + little24(width - 1) + little24(height - 1)


# ---- JPEG ----

def segments(data):
    """[(marker, payload)], and what begins with the first scan."""
    at, out = 2, []
    while data[at + 1] != 0xDA:
        size = struct.unpack_from(">H", data, at + 2)[0]
        out.append((data[at + 1], data[at + 4:at + 2 + size]))
        at += 2 + size
    return out, data[at:]


def join_segments(parts, scans, between=b""):
    return b"\xff\xd8" + b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data + between
                                  for marker, data in parts) + scans


def with_segment(data, marker, payload):
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + data[2:]
