"""JPEG: sampling, coding, colours, segments, ends."""
import struct

import imagecodecs
import numpy as np
from PIL import Image

from cases import *  # noqa: F403
from writers import *  # noqa: F403


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
    for name in ("arithmetic", "arithmetic-progressive"):  # from cjpeg -arithmetic: no Python library writes them
        data = (HERE / f"{name}.jpg").read_bytes()
        add(f"jpeg-{name}.jpg", data, keep=name == "arithmetic")
        add(f"jpeg-{name}-no-end.jpg", data[:-2], "refused", "truncated")
    separate = (HERE / "separate.jpg").read_bytes()  # from cjpeg -scans, a scan for each component
    add("jpeg-separate.jpg", separate, keep=True)
    add("jpeg-separate-no-end.jpg", separate[:-2], "array", of_pillow(separate), "no-end")
    last = separate.rindex(b"\xff\xda")
    add("jpeg-separate-scan-missing.jpg", separate[:last], "refused", "truncated", keep=True)
    add("jpeg-separate-scan-missing-ended.jpg", separate[:last] + b"\xff\xd9", keep=True)
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
    add("jpeg-garbage-between.jpg", join_segments(parts, scans, b"\x12\x34"), keep=True)
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
    add("jpeg-scan-missing-ended.jpg", progressive[:last] + b"\xff\xd9", keep=True)
    restarts = saved(scene(3, JH, 2 * JW), "JPEG", quality=85, restart_marker_blocks=1)
    at = restarts.index(b"\xff\xd1")
    add("jpeg-restart-lost.jpg", restarts[:at] + restarts[at + 2:])
    frames = [Image.fromarray(scene(3, JH, JW, s)) for s in (1, 2)]
    add("jpeg-mpo.jpg", saved(frames[0], "MPO", save_all=True, append_images=frames[1:]), keep=True)
