"""BMP: depths, headers, masks, runs."""
import struct

import numpy as np

from cases import *  # noqa: F403
from writers import *  # noqa: F403


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
    add("bmp-rle8-too-long.bmp", bmp(8, long + b"\0\1", W, H, 1, palette=palette.tobytes()), keep=True)
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
