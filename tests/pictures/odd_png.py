"""PNG: every colour type and depth, transparency, orientation, damage."""
import struct
import zlib

import numpy as np

from cases import *  # noqa: F403
from writers import *  # noqa: F403


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
                    if depth == 16 and kind == 0:
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
        "sides of at most", "side", keep=True)
