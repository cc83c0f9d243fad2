#!/usr/bin/env python3
"""Make some 300 odd but honest picture files, decode them with Pillow and with ddpm, and compare.

Every optional part of the five formats that Pillow, libvips or ImageMagick have test pictures for, made here. What is wanted of
each is one of:

    same      the values of Pillow: ImageOps.exif_transpose, then convert("L"), ("RGB"), ("RGBA")
    array     values given here, because Pillow's are wrong or it refuses; REASONS says why
    refused   an error with certain words in it; Pillow must refuse too, or REASONS says why not

Tolerance: none for PNG, BMP, WebP and TIFF; 2 for JPEG, also inside TIFF, and for YCbCr in TIFF (other versions of the
libraries round differently); 1 for colours divided by alpha.

    python3 tests/pictures/make_odd_pictures.py --dump build/tests/pictures/picture_dump [--keep]

With --keep the cases marked so are written to tests/pictures/odd, for the test without Python.
Needs Pillow 13, tifffile, imagecodecs, NumPy.
"""
import argparse
import io
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import warnings

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps

from writers import *  # noqa: F403

HERE = pathlib.Path(__file__).parent
H, W = 9, 14
JH, JW = 12, 20
REASONS = {
    "16bit": "of 16 bits the high byte is taken; Pillow clips 16-bit grey at 255 or shifts it by kind",
    "trns": "a transparent grey of 2 or 4 bits: Pillow compares it with values of 8 bits",
    "big-endian-big": "big-endian BigTIFF: Pillow does not know it",
    "y": "Y alone in TIFF: libtiff refuses it",
    "webp": "WebP in TIFF: Pillow's libtiff is built without it",
    "range": "no range is stated in the file, and Pillow clips at 255",
    "minus": "signed samples: Pillow reads them as unsigned",
    "inks": "inks other than CMYK: Pillow takes the first four as CMYK",
    "lab": "Lab needs colour management",
    "lzma": "LZMA in TIFF: its memory cannot be bounded",
    "photometric": "no photometric interpretation: Pillow assumes that 0 is white",
    "checksum": "a wrong checksum of a chunk that is no part of the pixels is remarked upon; Pillow refuses the file",
    "garbage": "garbage between JPEG segments is passed over, as by libjpeg; Pillow refuses the file",
    "rle": "pixels that an RLE leaves out have the palette's first colour; Pillow refuses the file",
    "bmp-masks": "any masks of a BMP are read; Pillow knows a list",
    "bmp-palette": "a palette of more colours than the bits can name; Pillow refuses it",
    "bmp-2": "2 bits per pixel, of Windows CE; Pillow refuses them",
    "bmp-grey4": "a palette of greys with 4 bits a pixel: Pillow takes the rows for 8 bits a pixel",
    "riff": "the picture is whole, but the container is not; Pillow refuses the file",
    "arrangement": "TIFF arrangements that Pillow's table lacks",
    "planar": "uncompressed planes: Pillow reads extra planes or tiles of planes wrongly",
    "no-end": "all pixels are there; Pillow wants more bytes",
}
cases = []


def add(name, data, want="same", value=None, reason=None, keep=False, tolerance=None):
    assert reason is None or reason in REASONS, reason
    cases.append(dict(name=name, data=data, want=want, value=value, reason=reason, keep=keep, tolerance=tolerance))


# ---- what is expected ----

def views(image):
    image = ImageOps.exif_transpose(image)
    parts = [np.asarray(image.convert(mode)) for mode in ("L", "RGB", "RGBA")]
    return np.concatenate([parts[0][..., None], parts[1], parts[2]], -1).astype(np.uint8)


def of_array(array, mode=None):
    """The three views of an array [h, w, c] of bytes."""
    mode = mode or {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[array.shape[2]]
    array = np.ascontiguousarray(array.squeeze(2) if array.shape[2] == 1 else array, dtype=np.uint8)
    image = Image.frombytes(mode, array.shape[1::-1], array.tobytes())
    return views(image)


def of_pillow(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return views(Image.open(io.BytesIO(data)))


def scene(channels, height=H, width=W, seed=0):
    rng = np.random.default_rng([7, channels, height, width, seed])
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [128 + 90 * np.sin(x / (4 + c) + c) * np.cos(y / (3 + c) - c) for c in range(channels)]
    noisy = np.stack(planes, -1) + rng.normal(0, 18, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def wide(samples, seed=1):
    return samples.astype(int) * 256 + np.random.default_rng(seed).integers(0, 256, samples.shape)


def colours(count, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, 3)).astype(np.uint8)


def saved(image, kind, **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image.squeeze())
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# ---- PNG ----

def add_png():
    for depth, types in ((1, (0, 3)), (2, (0, 3)), (4, (0, 3)), (8, (0, 2, 3, 4, 6)), (16, (0, 2, 4, 6))):
        for kind in types:
            channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
            palette = colours(1 << depth) if kind == 3 else None
            for interlaced in (False, True):
                for height, width in ((H, W), (1, 1), (3, 2)):
                    high = scene(channels, height, width)
                    samples = wide(high) if depth == 16 else high >> (8 - depth)
                    name = f"png-{kind}-{depth}-{'i' if interlaced else 'p'}-{height}x{width}.png"
                    data = png(samples, depth, kind, interlaced, palette)
                    if depth == 16:
                        add(name, data, "array", of_array(high), "16bit")
                    else:
                        add(name, data, keep=height == H and interlaced and depth in (2, 8))
    add_png_transparency()
    add_png_orientation()
    add_png_damage()


def add_png_transparency():
    for depth in (1, 2, 4, 8):
        grey = scene(1) >> (8 - depth)
        data = png(grey, depth, 0, transparency=struct.pack(">H", int(grey[3, 4, 0])))
        scaled = grey.astype(int) * 255 // ((1 << depth) - 1)
        alpha = np.where(grey == grey[3, 4, 0], 0, 255)
        add(f"png-trns-grey{depth}.png", data, keep=depth == 2, **(
            dict(want="array", value=of_array(np.dstack([scaled, alpha])), reason="trns") if depth in (2, 4) else {}))
        palette = colours(1 << depth)
        for name, alpha in (("one", b"\xff\0"), ("all", bytes(range(0, 256, 256 >> depth))), ("short", b"\x80")):
            add(f"png-trns-palette{depth}-{name}.png", png(grey, depth, 3, palette=palette, transparency=alpha),
                keep=depth == 2)
    rgb = scene(3)
    rgb[2:5, 3:9] = 1, 2, 3
    add("png-trns-rgb.png", png(rgb, 8, 2, transparency=struct.pack(">HHH", 1, 2, 3)))
    high = wide(rgb)
    key = tuple(int(v) for v in high[2, 3])
    alpha = np.where((high == key).all(-1), 0, 255).astype(np.uint8)
    add("png-trns-rgb16.png", png(high, 16, 2, transparency=struct.pack(">HHH", *key)), "array",
        of_array(np.dstack([rgb, alpha])), "16bit")
    add("png-palette-short.png", png(scene(1) % 40, 8, 3, palette=colours(40)))


def add_png_orientation():
    rgb = scene(3)
    text = lambda kind, key, body: chunk(kind, key + b"\0" + body)  # noqa: E731
    packed = lambda data: b"\0" + zlib.compress(data)  # noqa: E731
    for kind, order, orientation in ((3, ">", 2), (3, "<", 3), (4, ">", 5), (4, "<", 6), (8, "<", 7), (9, ">", 8)):
        exif = exif_block(orientation, kind, order)
        add(f"png-exif-{kind}{'be' if order == '>' else 'le'}.png", png(rgb, 8, 2, before=chunk(b"eXIf", exif)),
            keep=kind == 4)
    exif = exif_block(6)
    add("png-exif-after.png", png(rgb, 8, 2, after=chunk(b"eXIf", exif)), keep=True)
    add("png-exif-prefixed.png", png(rgb, 8, 2, before=chunk(b"eXIf", b"Exif\0\0" + exif)))
    for name, kind, body in (("text", b"tEXt", raw_profile(exif)), ("ztext", b"zTXt", packed(raw_profile(exif))),
                             ("itext", b"iTXt", b"\0\0\0\0" + raw_profile(exif))):
        add(f"png-profile-{name}.png", png(rgb, 8, 2, before=text(kind, b"Raw profile type exif", body)),
            keep=name == "ztext")
    for name, body in (("attribute", xmp_packet(8)), ("element", xmp_packet(5, False)), ("nine", xmp_packet(9))):
        add(f"png-xmp-{name}.png", png(rgb, 8, 2, before=text(b"iTXt", b"XML:com.adobe.xmp", b"\0\0\0\0" + body)),
            keep=name == "element")
    add("png-xmp-packed.png", png(rgb, 8, 2, before=text(b"iTXt", b"XML:com.adobe.xmp",
                                                         b"\1\0\0\0" + zlib.compress(xmp_packet(3)))))
    both = chunk(b"eXIf", exif) + text(b"iTXt", b"XML:com.adobe.xmp", b"\0\0\0\0" + xmp_packet(3))
    add("png-exif-and-xmp.png", png(rgb, 8, 2, before=both))
    without = exif_block(1, before=()).replace(b"\x01\x12", b"\x01\x0f", 1)
    add("png-exif-without-and-xmp.png", png(rgb, 8, 2, before=chunk(b"eXIf", without) + both[len(chunk(b"eXIf", exif)):]))
    add("png-exif-twice.png", png(rgb, 8, 2, before=chunk(b"eXIf", exif_block(6, before=[(0x0112, 3, 1, 3)]))))
    add("png-exif-zero.png", png(rgb, 8, 2, before=chunk(b"eXIf", exif_block(0))))
    add("png-exif-count2.png", png(rgb, 8, 2, before=chunk(b"eXIf", exif_block(6, 3, count=2))))
    add("png-exif-byte.png", png(rgb, 8, 2, before=chunk(b"eXIf", exif_block(6, 1))))


def add_png_damage():
    rgb = scene(3)
    icc = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 3000))
    add("png-colour-chunks.png", png(rgb, 8, 2, before=b"first" + chunk(b"gAMA", struct.pack(">I", 100000)) + icc +
                                     chunk(b"cHRM", struct.pack(">8I", *[30000] * 8)) + chunk(b"sBIT", b"\5\5\5")))
    add("png-srgb-phys.png", png(rgb, 8, 2, before=b"first" + chunk(b"sRGB", b"\0") + chunk(b"pHYs", b"\0" * 9)))
    add("png-background.png", png(scene(4), 8, 6, before=chunk(b"bKGD", b"\0\1\0\2\0\3")))
    add("png-many-idat.png", png(rgb, 8, 2, pieces=40))
    add("png-stored.png", png(rgb, 8, 2, level=0))
    for filters in range(1, 5):
        add(f"png-filter{filters}.png", png(rgb, 8, 2, filters=filters))
    add("png-no-iend.png", png(rgb, 8, 2, end=False), keep=True)
    add("png-cut-checksum.png", png(rgb, 8, 2, cut=4), keep=True)
    add("png-cut-adler.png", png(rgb, 8, 2, cut=8), keep=True)
    add("png-cut-data.png", png(rgb, 8, 2, cut=60), "refused", "truncated", keep=True)
    add("png-trailer.png", png(rgb, 8, 2) + b"trailer" * 9, keep=True)
    add("png-wrong-idat.png", png(rgb, 8, 2, wrong=b"IDAT"), keep=True)
    add("png-wrong-ihdr.png", png(rgb, 8, 2, wrong=b"IHDR"), "refused", "checksum of chunk IHDR", keep=True)
    palette = colours(256)
    add("png-wrong-plte.png", png(scene(1), 8, 3, palette=palette, wrong=b"PLTE"), "refused", "checksum of chunk PLTE",
        keep=True)
    add("png-wrong-text.png", png(rgb, 8, 2, before=chunk(b"tEXt", b"Title\0x", True)), "array", of_array(rgb),
        "checksum", keep=True)
    control = struct.pack(">IIIIIHHBB", 0, W, H, 0, 0, 1, 10, 0, 0)
    second = chunk(b"fcTL", struct.pack(">I", 1) + control[4:]) + chunk(
        b"fdAT", struct.pack(">I", 2) + zlib.compress(b"".join(b"\0" + r for r in pack_rows(255 - rgb, 8))))
    add("png-animated.png", png(rgb, 8, 2, before=b"first" + chunk(b"acTL", struct.pack(">II", 2, 0)) +
                                chunk(b"fcTL", control), after=second), keep=True)
    first = struct.pack(">I", 0) + control[4:]
    add("png-animated-hidden-default.png", png(rgb, 8, 2, before=b"first" + chunk(b"acTL", struct.pack(">II", 1, 0)),
                                               after=chunk(b"fcTL", first) + second[len(chunk(b"fcTL", first)):]))
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2_000_000, 1, 8, 0, 0, 0, 0))
    add("png-wide.png", header + chunk(b"IDAT", zlib.compress(b"\0" * 2_000_001)) + chunk(b"IEND", b""), "refused",
        "sides of at most", "range", keep=True)


# ---- JPEG ----

def add_jpeg():
    rgb, grey = Image.fromarray(scene(3, JH, JW)), Image.fromarray(scene(1, JH, JW).squeeze())
    cmyk = Image.frombytes("CMYK", (JW, JH), scene(4, JH, JW).tobytes())
    for sampling in ("411", "440"):
        add(f"jpeg-{sampling}.jpg", imagecodecs.jpeg8_encode(np.asarray(rgb), level=85, subsampling=sampling),
            keep=sampling == "440")
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            options = dict(quality=85, subsampling=sampling, progressive=progressive)
            add(f"jpeg-{sampling.replace(':', '')}-{'p' if progressive else 'b'}.jpg", saved(rgb, "JPEG", **options),
                keep=sampling == "4:2:0" and progressive)
            options["restart_marker_blocks"] = 1
            add(f"jpeg-{sampling.replace(':', '')}-{'p' if progressive else 'b'}-restart.jpg",
                saved(rgb, "JPEG", **options), keep=sampling == "4:2:0" and not progressive)
    for name, image in (("grey", grey), ("cmyk", cmyk), ("tiny", Image.fromarray(scene(3, 1, 1)))):
        for progressive in (False, True):
            data = saved(image, "JPEG", quality=85, progressive=progressive)
            add(f"jpeg-{name}-{'p' if progressive else 'b'}.jpg", data, keep=name == "cmyk" and not progressive)
    data = saved(cmyk, "JPEG", quality=85)
    at = data.index(b"Adobe")
    add("jpeg-ycck.jpg", data[:at + 11] + b"\2" + data[at + 12:], keep=True)
    parts, scans = segments(data)
    add("jpeg-cmyk-without-adobe.jpg", join_segments([p for p in parts if p[0] != 0xEE], scans))
    data = saved(rgb, "JPEG", quality=85, keep_rgb=True)
    add("jpeg-rgb-adobe0.jpg", data, keep=True)
    parts, scans = segments(data)
    add("jpeg-rgb-letters.jpg", join_segments([p for p in parts if p[0] != 0xEE], scans))
    parts, scans = segments(saved(rgb, "JPEG", quality=85))
    add("jpeg-no-jfif.jpg", join_segments([p for p in parts if p[0] != 0xE0], scans), keep=True)
    for quality in (1, 20, 50, 100):
        add(f"jpeg-quality{quality}.jpg", saved(rgb, "JPEG", quality=quality))
    add("jpeg-optimized.jpg", saved(rgb, "JPEG", quality=85, optimize=True))
    twelve = bytearray(saved(rgb, "JPEG", quality=85))
    twelve[twelve.index(b"\xff\xc0") + 4] = 12
    add("jpeg-12bit.jpg", bytes(twelve), "refused", "12 bits per sample", keep=True)
    lossless = bytearray(saved(rgb, "JPEG", quality=85))
    lossless[lossless.index(b"\xff\xc0") + 1] = 0xC3
    add("jpeg-lossless.jpg", bytes(lossless), "refused", "SOF", keep=True)
    two = bytearray(saved(grey, "JPEG", quality=85))
    at = two.index(b"\xff\xc0")
    two[at + 2:at + 4] = struct.pack(">H", 14)
    two[at + 9] = 2
    two[at + 13:at + 13] = b"\2\x11\0"
    add("jpeg-2-components.jpg", bytes(two), "refused", "components")
    for name in ("arithmetic", "arithmetic-progressive"):  # by cjpeg -arithmetic: no library of Python writes them
        data = (HERE / f"{name}.jpg").read_bytes()
        add(f"jpeg-{name}.jpg", data, keep=name == "arithmetic")
        add(f"jpeg-{name}-no-end.jpg", data[:-2], "refused", "truncated")
    add_jpeg_segments(saved(rgb, "JPEG", quality=85), saved(rgb, "JPEG", quality=85, progressive=True))


def add_jpeg_segments(data, progressive):
    app1 = lambda payload: with_segment(data, 0xE1, payload)  # noqa: E731
    for kind, order, orientation in ((3, ">", 2), (3, "<", 3), (4, ">", 5), (4, "<", 6), (8, "<", 7), (9, ">", 8),
                                     (6, "<", 4)):
        add(f"jpeg-exif-{kind}{'be' if order == '>' else 'le'}.jpg",
            app1(b"Exif\0\0" + exif_block(orientation, kind, order)), keep=kind == 4)
    add("jpeg-exif-byte.jpg", app1(b"Exif\0\0" + exif_block(6, 1)))
    add("jpeg-exif-zero.jpg", app1(b"Exif\0\0" + exif_block(0)))
    add("jpeg-exif-nine.jpg", app1(b"Exif\0\0" + exif_block(9)))
    add("jpeg-exif-cut.jpg", app1(b"Exif\0\0" + exif_block(6, before=[(0x010F, 3, 1, 1)])[:30]))
    add("jpeg-exif-empty.jpg", app1(b"Exif\0\0"))
    name = b"http://ns.adobe.com/xap/1.0/\0"
    add("jpeg-xmp.jpg", app1(name + xmp_packet(6)), keep=True)
    add("jpeg-xmp-then-exif.jpg", with_segment(app1(name + xmp_packet(6)), 0xE1, b"Exif\0\0" + exif_block(3)))
    add("jpeg-exif-then-xmp.jpg", with_segment(app1(b"Exif\0\0" + exif_block(3)), 0xE1, name + xmp_packet(6)))
    add("jpeg-exif-behind-comments.jpg", join_segments([(0xFE, b"c" * 999)] * 3 + [(0xE1, b"Exif\0\0" + exif_block(8))] +
                                                       segments(data)[0], segments(data)[1]))
    parts, scans = segments(data)
    add("jpeg-padded-markers.jpg", join_segments(parts, scans, b"\xff\xff\xff"), keep=True)
    pixels = of_pillow(data)
    add("jpeg-garbage-between.jpg", join_segments(parts, scans, b"\x12\x34"), "array", pixels, "garbage", keep=True)
    add("jpeg-icc.jpg", with_segment(data, 0xE2, b"ICC_PROFILE\0\1\1" + b"\0" * 500))
    add("jpeg-adobe-odd-transform.jpg", with_segment(data, 0xEE, b"Adobe\0\x64\0\0\0\0\7"))
    add("jpeg-jfif-version9.jpg", data.replace(b"JFIF\0\1", b"JFIF\0\x09", 1))
    for name, base in (("b", data), ("p", progressive)):
        add(f"jpeg-trailer-{name}.jpg", base + b"trailer" * 30)
        add(f"jpeg-trailer-zeros-{name}.jpg", base + b"\0" * 500)
        add(f"jpeg-twice-{name}.jpg", base + base)
        add(f"jpeg-no-end-{name}.jpg", base[:-2], "array", of_pillow(base), "no-end", keep=True)
        add(f"jpeg-half-end-{name}.jpg", base[:-1], "array", of_pillow(base), "no-end", keep=name == "b")
        add(f"jpeg-no-end-trailer-{name}.jpg", base[:-2] + b"\0" * 300, keep=True, **(
            {} if name == "b" else dict(want="array", value=of_pillow(base), reason="no-end")))
        add(f"jpeg-cut-{name}.jpg", base[:-60], "refused", "truncated", keep=True)
        early = base[:-60] + b"\xff\xd9"
        if name == "b":
            add("jpeg-early-end-b.jpg", early, keep=True)
        else:  # the cut goes through a segment's length
            add("jpeg-early-end-p.jpg", early, "refused", "")
    last = progressive.rindex(b"\xff\xda")
    add("jpeg-scan-missing.jpg", progressive[:last], "refused", "truncated", keep=True)
    add("jpeg-scan-missing-ended.jpg", progressive[:last] + b"\xff\xd9")
    restarts = saved(scene(3, JH, 2 * JW), "JPEG", quality=85, restart_marker_blocks=1)
    at = restarts.index(b"\xff\xd1")
    add("jpeg-restart-lost.jpg", restarts[:at] + restarts[at + 2:])
    frames = [Image.fromarray(scene(3, JH, JW, s)) for s in (1, 2)]
    add("jpeg-mpo.jpg", saved(frames[0], "MPO", save_all=True, append_images=frames[1:]), keep=True)


# ---- BMP ----

def bgr(rows):
    return [row[:, ::-1].tobytes() for row in rows[::-1]]


def add_bmp():
    rgb = scene(3)
    for height, width in ((H, W), (1, 1), (2, 3), (3, 5)):
        add(f"bmp-24-{height}x{width}.bmp", bmp(24, bgr(scene(3, height, width)), width, height), keep=height == 1)
    for bits in (1, 4, 8):
        index = scene(1) >> (8 - bits)
        palette = np.dstack([colours(1 << bits)[None], np.zeros((1, 1 << bits, 1), np.uint8)]).tobytes()
        rows = pack_rows(index[::-1], bits)
        add(f"bmp-{bits}.bmp", bmp(bits, rows, W, H, palette=palette), keep=bits == 4)
        add(f"bmp-{bits}-colours.bmp", bmp(bits, rows, W, H, palette=palette, colours=1 << bits))
        add(f"bmp-{bits}-top-down.bmp", bmp(bits, pack_rows(index, bits), W, -H, palette=palette))
        os2 = colours(1 << bits).tobytes()
        add(f"bmp-{bits}-os2.bmp", bmp(bits, rows, W, H, palette=os2, header=12), keep=bits == 8)
        for header in (52, 56, 64, 108, 124):
            add(f"bmp-{bits}-v{header}.bmp", bmp(bits, rows, W, H, palette=palette, header=header), keep=header == 64)
    few = np.dstack([colours(5)[None], np.zeros((1, 5, 1), np.uint8)]).tobytes()
    add("bmp-8-few-colours.bmp", bmp(8, pack_rows((scene(1) % 5)[::-1], 8), W, H, palette=few, colours=5))
    add("bmp-8-beyond-palette.bmp", bmp(8, pack_rows((scene(1) % 9)[::-1], 8), W, H, palette=few, colours=5), keep=True)
    full = np.dstack([colours(256)[None], np.zeros((1, 256, 1), np.uint8)]).tobytes()
    add("bmp-8-oversized-palette.bmp", bmp(8, pack_rows(scene(1)[::-1], 8), W, H, palette=full + b"more" * 44, colours=300),
        "array", of_pillow(bmp(8, pack_rows(scene(1)[::-1], 8), W, H, palette=full)), "bmp-palette")
    add("bmp-24-palette.bmp", bmp(24, bgr(rgb), W, H, palette=full, colours=256), keep=True)
    index = scene(1) >> 6
    four = np.dstack([colours(4)[None], np.zeros((1, 4, 1), np.uint8)])
    add("bmp-2.bmp", bmp(2, pack_rows(index[::-1], 2), W, H, palette=four.tobytes(), colours=4), "array",
        of_array(four[0][index[..., 0]][..., 2::-1]), "bmp-2", keep=True)
    ramp = np.repeat(np.arange(16, dtype=np.uint8)[:, None] * 17, 4, 1)
    add("bmp-4-grey-ramp.bmp", bmp(4, pack_rows((scene(1) >> 4)[::-1], 4), W, H, palette=ramp.tobytes()))
    ones = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 4, 1)
    add("bmp-4-grey-steps.bmp", bmp(4, pack_rows((scene(1) >> 4)[::-1], 4), W, H, palette=ones.tobytes()), "array",
        of_array(scene(1) >> 4), "bmp-grey4")
    for name, first in (("white", 255), ("black", 0)):
        two = np.repeat(np.array([[first], [255 - first]], np.uint8), 4, 1)
        add(f"bmp-1-{name}.bmp", bmp(1, pack_rows((scene(1) >> 7)[::-1], 1), W, H, palette=two.tobytes(), colours=2))
    add("bmp-24-os2.bmp", bmp(24, bgr(rgb), W, H, header=12), keep=True)
    add("bmp-24-top-down.bmp", bmp(24, bgr(rgb[::-1]), W, -H))
    add("bmp-24-offset0.bmp", bmp(24, bgr(rgb), W, H, offset=0), keep=True)
    add("bmp-24-gap.bmp", bmp(24, b"gap!" * 5 + b"".join(r + b"\0" * (-len(r) % 4) for r in bgr(rgb)), W, H, offset=74))
    whole = bmp(24, bgr(scene(3, H, 15)), 15, H)
    add("bmp-24-no-padding.bmp", whole[:-3], keep=True)
    add("bmp-24-cut.bmp", whole[:-4], "refused", "truncated", keep=True)
    add("bmp-24-trailer.bmp", whole + b"trailer")
    add("bmp-header16.bmp", whole[:14] + struct.pack("<I", 16) + whole[18:], "refused", "header of 16 bytes", keep=True)
    add_bmp_masks(rgb)
    add_bmp_runs()


def add_bmp_masks(rgb):
    words = (rgb >> 3).astype(int) @ np.array([1 << 10, 1 << 5, 1])
    rows16 = lambda values: [row.astype("<u2").tobytes() for row in values[::-1]]  # noqa: E731
    rows32 = lambda values: [row.astype("<u4").tobytes() for row in values[::-1]]  # noqa: E731
    pack = lambda *masks: struct.pack("<%dI" % len(masks), *masks)  # noqa: E731
    add("bmp-16.bmp", bmp(16, rows16(words), W, H))
    add("bmp-16-top.bmp", bmp(16, rows16(words[::-1]), W, -H))
    add("bmp-555.bmp", bmp(16, rows16(words), W, H, 3, masks=pack(0x7C00, 0x3E0, 0x1F)))
    words6 = (rgb >> np.array([3, 2, 3], np.uint8)).astype(int) @ np.array([1 << 11, 1 << 5, 1])
    for header in (40, 52, 56, 108, 124):
        add(f"bmp-565-v{header}.bmp", bmp(16, rows16(words6), W, H, 3, masks=pack(0xF800, 0x7E0, 0x1F), header=header),
            keep=header == 52)
    words4 = (rgb >> 4).astype(int) @ np.array([1 << 8, 1 << 4, 1])
    add("bmp-444.bmp", bmp(16, rows16(words4), W, H, 3, masks=pack(0xF00, 0xF0, 0xF)), "array",
        of_array((rgb >> 4) * 17), "bmp-masks", keep=True)
    add("bmp-24-masks.bmp", bmp(24, bgr(rgb), W, H, 3, masks=pack(0xFF0000, 0xFF00, 0xFF)), keep=True)
    rgba = scene(4).astype(np.int64)
    for name, masks in (("bgrx", (0xFF0000, 0xFF00, 0xFF, 0)), ("xbgr", (0xFF000000, 0xFF0000, 0xFF00, 0)),
                        ("abgr", (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), ("rgba", (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
                        ("bgra", (0xFF0000, 0xFF00, 0xFF, 0xFF000000))):
        shifts = [(mask & -mask).bit_length() - 1 if mask else 0 for mask in masks]
        words = sum((rgba[..., c] << shifts[c]) * bool(masks[c]) for c in range(4))
        for header in (56, 108, 124):
            add(f"bmp-32-{name}-v{header}.bmp", bmp(32, rows32(words), W, H, 3, masks=pack(*masks), header=header),
                keep=header == 108 and name in ("bgra", "xbgr"))
        if not masks[3]:
            add(f"bmp-32-{name}-v40.bmp", bmp(32, rows32(words), W, H, 3, masks=pack(*masks[:3])))
    words = sum(rgba[..., c] << s for c, s in enumerate((16, 8, 0, 24)))
    add("bmp-32-raw.bmp", bmp(32, rows32(words), W, H), keep=True)
    add("bmp-32-raw-v5.bmp", bmp(32, rows32(words), W, H, masks=pack(0xFF0000, 0xFF00, 0xFF, 0xFF000000), header=124))
    add("bmp-32-no-masks.bmp", bmp(32, rows32(words), W, H, 3, masks=pack(0, 0, 0, 0), header=108), keep=True)
    add("bmp-16-no-masks.bmp", bmp(16, rows16(words4), W, H, 3, masks=pack(0, 0, 0)), "refused", "masks of 0", keep=True)
    rgb10 = wide(rgb) >> 6
    words = sum(rgb10[..., c].astype(np.int64) << s for c, s in enumerate((20, 10, 0)))
    add("bmp-32-10bit.bmp", bmp(32, rows32(words), W, H, 3, masks=pack(0x3FF00000, 0xFFC00, 0x3FF)), "array",
        of_array((rgb10 * 255 // 1023).astype(np.uint8)), "bmp-masks", keep=True)
    for compression, name in ((4, "jpeg"), (5, "png"), (11, "cmyk")):
        add(f"bmp-in-{name}.bmp", bmp(24, bgr(rgb), W, H, compression), "refused", f"compression {compression}")
    add("bmp-huffman-os2.bmp", bmp(1, bgr(rgb), W, H, 3, header=64), "refused", "compression 3", keep=True)


def add_bmp_runs():
    index = scene(1).squeeze() >> 4
    flat = np.repeat(index[:, ::7], 7, axis=1)[:, :W]
    palette = np.dstack([colours(256)[None], np.zeros((1, 256, 1), np.uint8)])
    sixteen = palette[:, :16].tobytes()
    table = palette[0][:, 2::-1]
    nibbles = lambda row: pack_rows(row[None, :, None], 4)[0]  # noqa: E731
    even = lambda data: data + b"\0" * (len(data) % 2)  # noqa: E731
    runs = b"".join(bytes([7, r[0], 7, r[7], 0, 0]) for r in flat[::-1])
    add("bmp-rle8-runs.bmp", bmp(8, runs + b"\0\1", W, H, 1, palette=palette.tobytes()), keep=True)
    absolute = b"".join(bytes([0, W]) + even(r.tobytes()) + b"\0\0" for r in index[::-1])
    add("bmp-rle8-absolute.bmp", bmp(8, absolute + b"\0\1", W, H, 1, palette=palette.tobytes()))
    odd = b"".join(bytes([1, r[0], 0, 13]) + even(r[1:].tobytes()) + b"\0\0" for r in index[::-1])
    add("bmp-rle8-odd.bmp", bmp(8, odd + b"\0\1", W, H, 1, palette=palette.tobytes()))
    runs4 = b"".join(bytes([7, r[0] * 17, 7, r[7] * 17, 0, 0]) for r in flat[::-1])
    add("bmp-rle4-runs.bmp", bmp(4, runs4 + b"\0\1", W, H, 2, palette=sixteen), keep=True)
    pairs = b"".join(bytes([W, r[0] << 4 | r[1], 0, 0]) for r in index[::-1])
    add("bmp-rle4-pairs.bmp", bmp(4, pairs + b"\0\1", W, H, 2, palette=sixteen))
    absolute4 = b"".join(bytes([0, W]) + even(nibbles(r)) + b"\0\0" for r in index[::-1])
    add("bmp-rle4-absolute.bmp", bmp(4, absolute4 + b"\0\1", W, H, 2, palette=sixteen), keep=True)
    odd4 = b"".join(bytes([1, r[0] << 4, 0, 13]) + even(nibbles(r[1:])) + b"\0\0" for r in index[::-1])
    add("bmp-rle4-odd.bmp", bmp(4, odd4 + b"\0\1", W, H, 2, palette=sixteen))
    add("bmp-rle8-no-end.bmp", bmp(8, runs[:-2], W, H, 1, palette=palette.tobytes()), keep=True)
    long = b"".join(bytes([W + 9, r[0], 0, 0]) for r in flat[::-1])
    add("bmp-rle8-too-long.bmp", bmp(8, long + b"\0\1", W, H, 1, palette=palette.tobytes()))
    short = np.repeat(flat[:, :7], 2, 1)
    short[:, 7:] = 0
    short[:, :7] = flat[:, :7]
    add("bmp-rle8-short-rows.bmp", bmp(8, b"".join(bytes([7, r[0], 0, 0]) for r in flat[::-1]) + b"\0\1", W, H, 1,
                                       palette=palette.tobytes()))
    jump = flat.copy()
    jump[:] = 0
    jump[-1, :7] = flat[-1, 0]
    jump[-3, 9:] = flat[-3, 0]
    data = bytes([7, flat[-1, 0], 0, 2, 2, 2, 5, flat[-3, 0], 0, 1])
    add("bmp-rle8-jump.bmp", bmp(8, data, W, H, 1, palette=palette.tobytes()), "array", of_array(table[jump]), "rle",
        keep=True)
    add("bmp-rle8-cut.bmp", bmp(8, runs[:20], W, H, 1, palette=palette.tobytes()), "refused", "truncated", keep=True)


# ---- TIFF ----

def add_tiff():
    rgb, grey, rgba = scene(3), scene(1), scene(4)
    rows = lambda array, bits=8, order="<": b"".join(pack_rows(array, bits, order))  # noqa: E731
    kinds = {"rgb": (rgb, 2), "grey": (grey, 1), "cmyk": (rgba, 5)}
    for name, (array, photometric) in kinds.items():
        samples = array.shape[2]
        tags = lambda **more: tags_for(H, W, 8, samples, photometric, **more)  # noqa: E731,B023
        for order in "<>":
            for big in (False, True):
                strips = [rows(array[y:y + 4]) for y in range(0, H, 4)]
                more = {}
                if big and order == ">":
                    value = of_array(array, "CMYK" if samples == 4 else None)
                    more = dict(want="array", value=value, reason="big-endian-big")
                add(f"tiff-{name}-{'le' if order == '<' else 'be'}{'-big' if big else ''}.tif",
                    tiff(strips, tags(t278=("I", [4])), order, big), keep=big and name == "grey", **more)
        padded = np.zeros((16, 32, samples), np.uint8)
        padded[:H, :W] = array
        add(f"tiff-{name}-tile.tif", tiff([rows(padded[:, :16])], tags(t322=("I", [16]), t323=("I", [16]), t278=None)))
        for compression in ("lzw", "deflate", "packbits", "zstd", "webp", "jpeg", "lzma"):
            if compression == "webp" and samples != 3 or compression == "jpeg" and samples == 4:
                continue
            options = dict(compression=compression)
            if compression in ("lzw", "deflate", "zstd"):
                options["predictor"] = True
            data = tiff_file(array, photometric, **options)
            if compression == "lzma":
                add(f"tiff-{name}-lzma.tif", data, "refused", "LZMA", "lzma", keep=name == "grey")
            elif compression == "webp":
                add(f"tiff-{name}-webp.tif", data, "array", of_array(array), "webp")
            else:
                add(f"tiff-{name}-{compression}.tif", data, keep=name == "rgb" and compression in ("lzw", "zstd"))
            if compression in ("lzw", "deflate"):
                add(f"tiff-{name}-{compression}-tiles.tif", tiff_file(scene(samples, 20, 37), photometric, tile=(16, 16),
                                                                    **options))
                if samples > 1:
                    add(f"tiff-{name}-{compression}-planes.tif",
                        tiff_file(np.moveaxis(array, 2, 0), photometric, planarconfig="separate", **options),
                        keep=compression == "lzw" and name == "rgb")
        planes = tiff([rows(array[..., c:c + 1]) for c in range(samples)], tags(t284=("H", [2])))
        add(f"tiff-{name}-planes.tif", planes)
    for orientation in range(1, 9):
        add(f"tiff-orientation{orientation}.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t274=("H", [orientation]))),
            keep=orientation == 6)
    add("tiff-orientation-long.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t274=("I", [8]))))
    add("tiff-orientation9.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t274=("H", [9]))))
    add("tiff-xmp.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t700=("B", xmp_packet(6)))), keep=True)
    add_tiff_bits(rows)
    add_tiff_extra(rows)
    add_tiff_ycbcr()
    add_tiff_refused(rows)
    pages = io.BytesIO()
    tifffile.imwrite(pages, np.stack([rgb, 255 - rgb]), photometric="rgb")
    add("tiff-pages.tif", pages.getvalue(), keep=True)
    add("tiff-cut.tif", tiff_file(rgb, 2)[:-20], "refused", "truncated", keep=True)
    strips = tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t278=None))
    add("tiff-no-rows-per-strip.tif", strips)
    add("tiff-rows-unlimited.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t278=("I", [2**32 - 1]))))
    add("tiff-no-byte-counts.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t279=None)))
    add("tiff-bits-once.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t258=("H", [8]))), keep=True)
    add("tiff-subfile.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t254=("I", [1]))))
    add("tiff-icc-and-private.tif", tiff([rows(rgb)], tags_for(H, W, 8, 3, 2, t34675=("B", [1] * 500),
                                                               t65000=("H", [7] * 99))))
    bilevel = Image.fromarray(grey.squeeze()).convert("1")
    for compression in ("group3", "group4", "tiff_ccitt", "packbits", "tiff_lzw"):
        add(f"tiff-bilevel-{compression}.tif", saved(bilevel, "TIFF", compression=compression),
            keep=compression == "group4")


PHOTOMETRIC = {1: "minisblack", 2: "rgb", 5: "separated"}


def tiff_file(array, photometric, **options):
    out = io.BytesIO()
    if array.shape[-1] == 1:
        array = array[..., 0]
    tifffile.imwrite(out, array, photometric=PHOTOMETRIC[photometric], metadata=None, **options)
    return out.getvalue()


def add_tiff_bits(rows):
    grey = scene(1)
    for bits in (1, 2, 4, 8):
        samples = grey >> (8 - bits)
        for photometric in (0, 1, 3):
            more = {}
            if photometric == 3:
                table = wide(colours(1 << bits)).T.reshape(-1)
                more["t320"] = ("H", [int(v) for v in table])
            add(f"tiff-{bits}-{photometric}.tif", tiff([rows(samples, bits)], tags_for(H, W, bits, 1, photometric, **more)),
                keep=bits == 2)
            reversed_bits = bytes(int(f"{b:08b}"[::-1], 2) for b in rows(samples, bits))
            if photometric == 3 or (bits, photometric) == (8, 0):
                plain = of_pillow(tiff([rows(samples, bits)], tags_for(H, W, bits, 1, photometric, **more)))
                expected = dict(want="array", value=plain, reason="arrangement")
            else:
                expected = {}
            add(f"tiff-{bits}-{photometric}-fill2.tif",
                tiff([reversed_bits], tags_for(H, W, bits, 1, photometric, t266=("H", [2]), **more)), keep=bits == 4,
                **expected)
    for channels, photometric in ((1, 1), (1, 0), (3, 2), (4, 5)):
        high = scene(channels)
        for order in "<>":
            data = tiff([rows(wide(high), 16, order)], tags_for(H, W, 16, channels, photometric), order)
            expected = of_array(255 - high if photometric == 0 else high, "CMYK" if channels == 4 else None)
            add(f"tiff-16-{channels}-{photometric}{'le' if order == '<' else 'be'}.tif", data, "array", expected, "16bit",
                keep=order == ">" and channels == 1)
    data = tiff_file(wide(scene(3)).astype(np.uint16), 2, compression="deflate", predictor=True)
    add("tiff-16-rgb-predictor.tif", data, "array", of_array(scene(3)), "16bit")


def add_tiff_extra(rows):
    for bits in (8, 16):
        def add_one(name, array, photometric, extra, mode, pillow=True, **more):
            data = rows(array if bits == 8 else wide(array), bits)  # noqa: B023
            marks = {} if extra is None else {"t338": ("H", extra)}
            tags = tags_for(H, W, bits, array.shape[2], photometric, **marks, **more)  # noqa: B023
            name = f"tiff-{name}-{bits}.tif"  # noqa: B023
            if bits == 8 and pillow:  # noqa: B023
                add(name, tiff([data], tags), keep=extra in ([0], [2]), tolerance=1 if extra == [1] else None)
            else:
                reason = "16bit" if bits == 16 else "arrangement"  # noqa: B023
                add(name, tiff([data], tags), "array", of_array(array[..., :len(mode)], mode), reason)

        add_one("la", scene(2), 1, [2], "LA")
        add_one("lx", scene(2), 1, [0], "L")
        add_one("rgba", scene(4), 2, [2], "RGBA")
        add_one("rgbx", scene(4), 2, [0], "RGB")
        add_one("rgba-unmarked", scene(4), 2, None, "RGBA")
        add_one("rgba-corel", scene(4), 2, [999], "RGBA")
    five, six = scene(5), scene(6)
    add("tiff-rgbxx.tif", tiff([rows(five)], tags_for(H, W, 8, 5, 2, t338=("H", [0, 0]))))
    add("tiff-rgbax.tif", tiff([rows(five)], tags_for(H, W, 8, 5, 2, t338=("H", [2, 0]))))
    add("tiff-rgbxxx.tif", tiff([rows(six)], tags_for(H, W, 8, 6, 2, t338=("H", [0, 0, 0]))))
    add("tiff-cmykx.tif", tiff([rows(five)], tags_for(H, W, 8, 5, 5, t338=("H", [0]))), keep=True)
    rgba = scene(4)
    rgba[2:4, :5, 3] = 0
    rgba[5:6, :5, 3] = 255
    premultiplied = (rgba.astype(int) * np.where(np.arange(4) < 3, rgba[..., 3:], 255) // 255).astype(np.uint8)
    add("tiff-premultiplied.tif", tiff([rows(premultiplied)], tags_for(H, W, 8, 4, 2, t338=("H", [1]))), keep=True)
    la = premultiplied[..., [0, 3]]
    divided = la.astype(int)
    divided[..., 0] = np.minimum(divided[..., 0] * 255 // np.maximum(divided[..., 1], 1), 255)
    add("tiff-premultiplied-la.tif", tiff([rows(la)], tags_for(H, W, 8, 2, 1, t338=("H", [1]))), "array",
        of_array(divided), "arrangement")
    table = [int(v) for v in wide(colours(256)).T.reshape(-1)]
    for name, extra in (("px", 0), ("pa", 2)):
        add(f"tiff-{name}.tif", tiff([rows(scene(2))], tags_for(H, W, 8, 2, 3, t338=("H", [extra]), t320=("H", table))),
            keep=True)
    planes = tiff([rows(scene(4)[..., c:c + 1]) for c in range(4)], tags_for(H, W, 8, 4, 2, t338=("H", [2]), t284=("H", [2])))
    add("tiff-rgba-planes.tif", planes)
    planes = tiff([rows(scene(4)[..., c:c + 1]) for c in range(4)], tags_for(H, W, 8, 4, 2, t338=("H", [0]), t284=("H", [2])))
    add("tiff-rgbx-planes.tif", planes, "array", of_array(scene(4)[..., :3]), "planar")


def add_tiff_ycbcr():
    rgb = Image.fromarray(scene(3, 16, 24))
    ycc = np.asarray(rgb.convert("YCbCr"))
    tags = tags_for(16, 24, 8, 3, 6, t530=("H", [1, 1]))
    add("tiff-ycbcr-raw.tif", tiff([ycc.tobytes()], tags), keep=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        add(f"tiff-ycbcr-{compression}.tif", saved(rgb.convert("YCbCr"), "TIFF", compression=compression))
    for subsampling in ((1, 1), (2, 1), (2, 2)):
        out = io.BytesIO()
        tifffile.imwrite(out, np.asarray(rgb), photometric="ycbcr", compression="jpeg", subsampling=subsampling,
                         metadata=None)
        add(f"tiff-ycbcr-jpeg-{subsampling[0]}{subsampling[1]}.tif", out.getvalue(), keep=subsampling == (2, 2))
        out = io.BytesIO()
        tifffile.imwrite(out, scene(3, 40, 50), photometric="ycbcr", compression="jpeg", subsampling=subsampling,
                         tile=(32, 32), metadata=None)
        add(f"tiff-ycbcr-jpeg-tiles-{subsampling[0]}{subsampling[1]}.tif", out.getvalue())
    add("tiff-y-alone.tif", tiff([scene(1).tobytes()], tags_for(H, W, 8, 1, 6)), "refused", "", "y")
    jpeg = saved(rgb, "JPEG", quality=90, subsampling="4:4:4")
    old = tags_for(16, 24, 8, 3, 6, t259=("H", [6]), t513=("I", [8]), t514=("I", [len(jpeg)]), t512=("H", [1]),
                   t530=("H", [1, 1]), t273=("I", [8]), t279=("I", [len(jpeg)]))
    add("tiff-old-jpeg.tif", tiff([jpeg], old))


def add_tiff_refused(rows):
    three = scene(3)
    for bits in (8, 16):
        data = rows(three if bits == 8 else wide(three), bits)
        add(f"tiff-three-greys-{bits}.tif", tiff([data], tags_for(H, W, bits, 3, 1)), "refused", "samples per pixel",
            keep=True)
        add(f"tiff-three-greys-marked-{bits}.tif", tiff([data], tags_for(H, W, bits, 3, 1, t338=("H", [0, 0]))), "refused",
            "samples per pixel", keep=True)
    add("tiff-two-greys.tif", tiff([rows(scene(2))], tags_for(H, W, 8, 2, 1)), "refused", "samples per pixel")
    add("tiff-five-rgb.tif", tiff([rows(scene(5))], tags_for(H, W, 8, 5, 2)), "refused", "samples per pixel")
    add("tiff-two-rgb.tif", tiff([rows(scene(2))], tags_for(H, W, 8, 2, 2)), "refused", "samples per pixel")
    for kind, bits, name in ((3, 32, "float"), (1, 32, "uint32"), (2, 32, "int32"), (2, 16, "int16"), (2, 8, "int8"),
                             (3, 64, "double"), (3, 16, "half")):
        data = b"\0" * (H * W * bits // 8)
        pillow = name not in ("double", "half")
        add(f"tiff-{name}.tif", tiff([data], tags_for(H, W, bits, 1, 1, t339=("H", [kind]))), "refused", "sample format",
            ("minus" if kind == 2 and bits < 32 else "range") if pillow else None, keep=name in ("float", "int8"))
    twelve = b"\x12\x34\x56" * (H * W // 2)
    add("tiff-12.tif", tiff([twelve], tags_for(H, W, 12, 1, 1)), "refused", "12 bits", "range")
    add("tiff-lab.tif", tiff([rows(three)], tags_for(H, W, 8, 3, 8)), "refused", "photometric interpretation 8", "lab",
        keep=True)
    add("tiff-no-photometric.tif", tiff([rows(scene(1))], tags_for(H, W, 8, 1, 1, t262=None)), "refused",
        "no photometric", "photometric", keep=True)
    add("tiff-inks.tif", tiff([rows(scene(4))], tags_for(H, W, 8, 4, 5, t332=("H", [2]), t334=("H", [4]))), "refused",
        "inks", "inks", keep=True)
    add("tiff-no-strips.tif", tiff([rows(three)], tags_for(H, W, 8, 3, 2, t273=None, t279=None)), "refused", "")
    add("tiff-cfa.tif", tiff([rows(scene(1))], tags_for(H, W, 8, 1, 32803)), "refused", "photometric interpretation 32803")


# ---- WebP ----

def add_webp():
    rgb, rgba = scene(3), scene(4)
    for name, array in (("rgb", rgb), ("rgba", rgba)):
        for quality in (5, 50, 95):
            for method in (0, 6):
                add(f"webp-{name}-{quality}-{method}.webp", saved(array, "WEBP", quality=quality, method=method),
                    keep=quality == 50 and method == 6)
        for method in (0, 6):
            add(f"webp-{name}-lossless-{method}.webp", saved(array, "WEBP", lossless=True, method=method, exact=True),
                keep=method == 6)
    add("webp-alpha-quality.webp", saved(rgba, "WEBP", quality=60, alpha_quality=10))
    flat = Image.fromarray(scene(3)).quantize(4).convert("RGB")
    add("webp-lossless-palette.webp", saved(flat, "WEBP", lossless=True))
    add("webp-tiny.webp", saved(scene(3, 1, 1), "WEBP", quality=80))
    still = saved(rgb, "WEBP", quality=80)
    (kind, data), = [c for c in riff_chunks(still) if c[0] in (b"VP8 ", b"VP8L")]
    for name, flags, more in (("exif", 8, (b"EXIF", exif_block(6))), ("exif-long", 8, (b"EXIF", exif_block(8, 4, "<"))),
                              ("exif-prefixed", 8, (b"EXIF", b"Exif\0\0" + exif_block(5))),
                              ("xmp", 4, (b"XMP ", xmp_packet(7)))):
        add(f"webp-{name}.webp", riff([vp8x(W, H, flags), (kind, data), more]), keep=name != "exif")
    add("webp-exif-and-xmp.webp", riff([vp8x(W, H, 12), (kind, data), (b"EXIF", exif_block(3)), (b"XMP ", xmp_packet(6))]))
    add("webp-icc.webp", riff([vp8x(W, H, 32), (b"ICCP", b"\0" * 400), (kind, data)]))
    add("webp-unknown-chunk.webp", riff([vp8x(W, H, 0), (b"ABCD", b"xyz"), (kind, data)]))
    add("webp-trailer.webp", still + b"trailer")
    extended = riff([vp8x(W, H, 8), (kind, data), (b"EXIF", exif_block(6))])
    add("webp-cut-exif.webp", extended[:-10], "array", of_pillow(riff([(kind, data)])), "riff", keep=True)
    add("webp-cut.webp", still[:-20], "refused", "truncated", keep=True)
    add_webp_animations(rgb, rgba)


def add_webp_animations(rgb, rgba):
    for name, first in (("rgb", rgb), ("rgba", rgba)):
        frames = [Image.fromarray(first), Image.fromarray(255 - first)]
        for lossless in (False, True):
            data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=lossless, duration=100,
                         background=(9, 90, 200, 128))
            add(f"webp-animated-{name}-{'lossless' if lossless else 'lossy'}.webp", data, keep=not lossless)
    frame = lambda x, y, array, flags, **options: (  # noqa: E731
        b"ANMF", little24(x // 2) + little24(y // 2) + little24(array.shape[1] - 1) + little24(array.shape[0] - 1) +
        little24(100) + bytes([flags]) + saved_chunks(array, **options))
    control = (b"ANIM", bytes([1, 2, 3, 255, 0, 0]))
    for alpha in (False, True):
        small = scene(4 if alpha else 3, 4, 6)
        for lossless in (False, True):
            chunks = [vp8x(W, H, 2 | 16 * alpha), control, frame(4, 2, small, 0, lossless=lossless),
                      frame(0, 0, scene(3), 2)]
            add(f"webp-animated-inset-{'rgba' if alpha else 'rgb'}-{'lossless' if lossless else 'lossy'}.webp",
                riff(chunks), keep=not lossless)
    chunks = [vp8x(W, H, 2 | 8), control, frame(0, 0, scene(3), 0), (b"EXIF", exif_block(6))]
    add("webp-animated-exif.webp", riff(chunks))
    outside = [vp8x(W, H, 2), control, frame(12, 2, scene(3, 4, 6), 0)]
    add("webp-animated-outside.webp", riff(outside), "refused", "", keep=True)
    add("webp-animated-empty.webp", riff([vp8x(W, H, 2), control]), "refused", "truncated", keep=True)


def saved_chunks(array, **options):
    parts = [c for c in riff_chunks(saved(array, "WEBP", quality=80, **options)) if c[0] in (b"ALPH", b"VP8 ", b"VP8L")]
    return riff(parts)[12:]


# ---- comparing ----

def tolerance_of(case):
    if case["tolerance"] is not None:
        return case["tolerance"]
    return 2 if case["name"].startswith("jpeg") or "jpeg" in case["name"] or "ycbcr" in case["name"] else 0


def judge(case, out):
    """None, or what is wrong with ddpm's result."""
    got = out / (case["name"] + ".npy")
    text = out / (case["name"] + ".txt")
    error = text.read_text().strip() if text.exists() else None
    try:
        pillow, refusal = of_pillow(case["data"]), None
    except Exception as reason:  # Pillow raises whatever comes
        pillow, refusal = None, f"{type(reason).__name__}: {reason}"
    if case["want"] == "refused":
        if error is None or case["value"] not in error:
            return f'want an error with "{case["value"]}", got {error or "a picture"}'
        if pillow is not None and not case["reason"]:
            return "Pillow reads it, and no reason is given why we do not"
        return None
    if error:
        return f"got an error: {error}; Pillow: {refusal or 'reads it'}"
    expected = pillow if case["want"] == "same" else case["value"]
    if expected is None:
        return f"Pillow refuses it: {refusal}"
    array = np.load(got)
    if array.shape != expected.shape:
        return f"got shape {array.shape}, want {expected.shape}"
    worst = int(np.abs(array.astype(int) - expected.astype(int)).max())
    if worst > tolerance_of(case):
        return f"differs by up to {worst} in {np.argwhere(np.abs(array.astype(int) - expected.astype(int)) > 0)[:3].tolist()}"
    case["expected"] = expected
    return None


def keep_case(case, folder):
    (folder / case["name"]).write_bytes(case["data"])
    if case["want"] == "refused":
        (folder / (case["name"] + ".txt")).write_text(case["value"] + "\n")
    else:
        expected = case["expected"]
        assert (expected[..., 1:4] == expected[..., 4:7]).all()  # alpha is dropped, not blended
        np.save(folder / (case["name"] + ".npy"), np.ascontiguousarray(expected[..., [0, 4, 5, 6, 7]]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dump", required=True, help="the program picture_dump")
    parser.add_argument("--keep", action="store_true", help="write tests/pictures/odd")
    parser.add_argument("--only", default="", help="names that contain this")
    options = parser.parse_args()
    for make in (add_png, add_jpeg, add_bmp, add_tiff, add_webp):
        make()
    chosen = [case for case in cases if options.only in case["name"]]
    assert len({case["name"] for case in cases}) == len(cases)
    folder = HERE / "odd"
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        out = pathlib.Path(work) / "out"
        out.mkdir()
        for case in chosen:
            (pathlib.Path(work) / case["name"]).write_bytes(case["data"])
        subprocess.run([options.dump, out] + [pathlib.Path(work) / case["name"] for case in chosen], check=True)
        if options.keep:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for case in chosen:
            problem = judge(case, out)
            if problem:
                wrong += 1
                print(f"{case['name']}: {problem}")
            elif options.keep and case["keep"]:
                keep_case(case, folder)
    excepted = sum(case["reason"] is not None for case in chosen)
    print(f"{len(chosen)} pictures, {wrong} wrong, {excepted} by a listed exception")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
