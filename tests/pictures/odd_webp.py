"""WebP: lossy, lossless, alpha, metadata, animations."""
from PIL import Image

from cases import *  # noqa: F403
from writers import *  # noqa: F403


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
