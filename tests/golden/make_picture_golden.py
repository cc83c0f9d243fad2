#!/usr/bin/env python3
"""Make tests/golden/picture: small pictures of every kind that src/data decodes, and what Pillow makes of them.

For each picture NAME.ext there is NAME.npy, uint8 [H, W, 8]: convert("L"), convert("RGB") and convert("RGBA") side by side,
after ImageOps.exif_transpose. For resizing there is resize-NAME.png and resize-NAME-HxW.npy, uint8 [H, W, C], made with
torchvision's Resize and CenterCrop on Pillow pictures (version 13 or later). All pictures are generated here.

Needs Pillow, NumPy, torchvision:   python3 tests/golden/make_picture_golden.py
"""
import io
import pathlib
import struct
import zlib

import numpy as np
import torchvision.transforms as T
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).parent / "picture"
H, W = 7, 19
rng = np.random.default_rng(7)


def scene(height, width, channels):
    """A smooth picture with some noise: compressible, and no value is special."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [128 + 90 * np.sin(x / (4 + c) + c) * np.cos(y / (3 + c) - c) for c in range(channels)]
    noisy = np.stack(planes, -1) + rng.normal(0, 18, (height, width, channels))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def views(image):
    image = ImageOps.exif_transpose(image)
    parts = [np.asarray(image.convert(mode)) for mode in ("L", "RGB", "RGBA")]
    return np.concatenate([parts[0][..., None], parts[1], parts[2]], -1)


def views_of_array(array):
    """For 16-bit pictures, where the high byte is the definition and not Pillow's clipping."""
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[array.shape[2]]
    return views(Image.fromarray(array.squeeze() if mode == "L" else array, mode))


def keep(name, data, expected=None):
    (OUT / name).write_bytes(data)
    if expected is None:
        expected = views(Image.open(io.BytesIO(data)))
    np.save(OUT / (name.rsplit(".", 1)[0] + ".npy"), np.ascontiguousarray(expected, dtype=np.uint8))


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# ---- PNG of any colour type and depth, by hand ----

def pack_rows(samples, depth):
    """[h, w, c] integers to rows of bytes."""
    height = samples.shape[0]
    flat = samples.reshape(height, -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in flat]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in flat]
    rows = []
    for row in flat:
        bits = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth:].ravel()
        rows.append(np.packbits(bits).tobytes())
    return rows


def png(samples, depth, colour_type, interlaced=False, palette=None, transparency=None, exif=None):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    raw = b""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    for y, x, dy, dx in passes:
        part = samples[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + row for row in pack_rows(part, depth))
    out = b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced)))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparency is not None:
        out += chunk(b"tRNS", transparency)
    if exif is not None:
        out += chunk(b"eXIf", exif)
    return out + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def make_png():
    for depth in (1, 2, 4, 8):
        grey = scene(H, W, 1) >> (8 - depth)
        keep(f"png-grey{depth}.png", png(grey, depth, 0))
        colours = 1 << depth
        palette = rng.integers(0, 256, (colours, 3))
        keep(f"png-palette{depth}.png", png(grey, depth, 3, palette=palette))
    keep("png-palette-trns.png", png(grey, 8, 3, palette=palette, transparency=bytes(range(0, 250, 2))))
    keep("png-palette-interlaced.png", png(scene(H, W, 1) >> 4, 4, 3, interlaced=True, palette=palette[:16]))
    keep("png-rgb.png", png(scene(H, W, 3), 8, 2))
    keep("png-rgb-interlaced.png", png(scene(H, W, 3), 8, 2, interlaced=True))
    keep("png-rgba.png", png(scene(H, W, 4), 8, 6))
    keep("png-grey-alpha.png", png(scene(H, W, 2), 8, 4))
    rgb = scene(H, W, 3)
    rgb[3:6, 2:9] = (10, 200, 30)
    keep("png-rgb-trns.png", png(rgb, 8, 2, transparency=struct.pack(">HHH", 10, 200, 30)))
    grey = scene(H, W, 1)
    grey[3:6, 2:9] = 77
    keep("png-grey-trns.png", png(grey, 8, 0, transparency=struct.pack(">H", 77)))
    for channels, colour_type in ((1, 0), (2, 4), (3, 2), (4, 6)):
        high = scene(H, W, channels)
        wide = high.astype(int) * 256 + rng.integers(0, 256, high.shape)
        keep(f"png-16bit-{channels}.png", png(wide, 16, colour_type, interlaced=channels == 3), views_of_array(high))
    keep("png-exif.png", png(scene(H, W, 3), 8, 2, exif=exif_block(6)))


def exif_block(orientation):
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"


def make_jpeg():
    rgb, grey, cmyk = (Image.fromarray(scene(H, W, c).squeeze()) for c in (3, 1, 3))
    cmyk = Image.fromarray(scene(H, W, 4), "CMYK")
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        keep(f"jpeg-{name}.jpg", saved(rgb, "JPEG", quality=85, subsampling=sampling))
    keep("jpeg-progressive.jpg", saved(rgb, "JPEG", quality=60, progressive=True))
    keep("jpeg-grey.jpg", saved(grey, "JPEG", quality=85))
    keep("jpeg-rgb.jpg", saved(rgb, "JPEG", quality=85, keep_rgb=True))
    data = saved(cmyk, "JPEG", quality=85)
    keep("jpeg-cmyk.jpg", data)
    at = data.index(b"Adobe")
    keep("jpeg-ycck.jpg", data[:at + 11] + b"\x02" + data[at + 12:])
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"jpeg-exif{orientation}.jpg", saved(rgb, "JPEG", quality=50, exif=exif.tobytes()))


def make_webp():
    rgb, rgba = Image.fromarray(scene(H, W, 3)), Image.fromarray(scene(H, W, 4))
    keep("webp-lossy.webp", saved(rgb, "WEBP", quality=80))
    keep("webp-lossless.webp", saved(rgb, "WEBP", lossless=True))
    keep("webp-alpha.webp", saved(rgba, "WEBP", quality=80))
    keep("webp-alpha-lossless.webp", saved(rgba, "WEBP", lossless=True, exact=True))
    keep("webp-exif.webp", saved(rgb, "WEBP", quality=80, exif=b"Exif\0\0" + exif_block(8)))


# ---- BMP ----

def bmp(bits, rows, width, height, compression=0, palette=b"", extra=b"", colours=0):
    body = b"".join(row + b"\0" * (-len(row) % 4) for row in rows) if compression in (0, 3) else rows
    offset = 54 + len(extra) + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + head + extra + palette + body


def make_bmp():
    rgb = scene(H, W, 3)
    keep("bmp-24.bmp", saved(Image.fromarray(rgb), "BMP"))
    keep("bmp-24-top-down.bmp", bmp(24, [row[:, ::-1].tobytes() for row in rgb], W, -H))
    keep("bmp-32.bmp", bmp(32, [np.dstack([row[None, :, ::-1], row[None, :, :1]]).tobytes() for row in rgb[::-1]], W, H))
    keep("bmp-grey.bmp", saved(Image.fromarray(rgb[..., 0]), "BMP"))
    keep("bmp-1.bmp", saved(Image.fromarray(rgb[..., 0]).convert("1"), "BMP"))
    palette = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    palette[:, 3] = 0
    index = scene(H, W, 1).squeeze() >> 4
    keep("bmp-palette4.bmp", bmp(4, pack_rows(index[::-1, :, None], 4), W, H, palette=palette[:16].tobytes(), colours=16))
    keep("bmp-palette8.bmp", bmp(8, pack_rows(index[::-1, :, None], 8), W, H, palette=palette.tobytes(), colours=256))
    words = (rgb >> 3).astype(int) @ np.array([1 << 10, 1 << 5, 1])
    keep("bmp-555.bmp", bmp(16, [row.astype("<u2").tobytes() for row in words[::-1]], W, H))
    words = (rgb >> np.array([3, 2, 3], np.uint8)).astype(int) @ np.array([1 << 11, 1 << 5, 1])
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    keep("bmp-565.bmp", bmp(16, [row.astype("<u2").tobytes() for row in words[::-1]], W, H, 3, extra=masks))
    runs = b""
    flat = np.repeat(index[:, ::3], 3, axis=1)[:, :W]
    for row in flat[::-1]:
        runs += bytes([3, row[0]]) + bytes([0, W - 3]) + row[3:].tobytes() + b"\0" * ((W - 3) % 2) + b"\0\0"
    keep("bmp-rle8.bmp", bmp(8, runs + b"\0\1", W, H, 1, palette=palette.tobytes(), colours=256))


# ---- TIFF ----

def tiff(blocks, tags, order="<"):
    """Blocks are strips or tiles; their tags are 273/279 or 324/325 according to whether tag 322 is there."""
    where, length = (324, 325) if 322 in tags else (273, 279)
    data, offsets = b"", []
    for block in blocks:
        offsets.append(8 + len(data))
        data += block + b"\0" * (len(block) % 2)
    tags = dict(tags)
    tags[where], tags[length] = ("I", offsets), ("I", [len(block) for block in blocks])
    directory, extra = b"", b""
    start = 8 + len(data)
    room = start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(order + kind * len(values), *values)
        if len(packed) <= 4:
            field = packed.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", room + len(extra))
            extra += packed
        directory += struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + field
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(tags)) + directory + b"\0\0\0\0" + extra


def tags_for(bits, samples, photometric, **more):
    tags = {256: ("I", [W]), 257: ("I", [H]), 258: ("H", [bits] * samples), 259: ("H", [1]),
            262: ("H", [photometric]), 277: ("H", [samples]), 278: ("I", [H])}
    tags.update({int(key[1:]): value for key, value in more.items()})
    return tags


def make_tiff():
    rgb, grey, rgba = scene(H, W, 3), scene(H, W, 1), scene(H, W, 4)
    for name, compression in (("raw", None), ("lzw", "tiff_lzw"), ("deflate", "tiff_adobe_deflate"),
                              ("packbits", "packbits"), ("jpeg", "jpeg")):
        keep(f"tiff-rgb-{name}.tif", saved(Image.fromarray(rgb), "TIFF", compression=compression))
    keep("tiff-grey.tif", saved(Image.fromarray(grey.squeeze()), "TIFF"))
    keep("tiff-bilevel.tif", saved(Image.fromarray(grey.squeeze()).convert("1"), "TIFF", compression="group4"))
    keep("tiff-palette.tif", saved(Image.fromarray(rgb).quantize(40), "TIFF"))
    keep("tiff-cmyk.tif", saved(Image.fromarray(rgba, "CMYK"), "TIFF"))
    keep("tiff-rgba.tif", saved(Image.fromarray(rgba), "TIFF", compression="tiff_lzw"))
    rows = lambda array, bits=8: b"".join(pack_rows(array, bits))
    premultiplied = (rgba.astype(int) * np.where(np.arange(4) < 3, rgba[..., 3:], 255) // 255).astype(np.uint8)
    keep("tiff-associated-alpha.tif", tiff([rows(premultiplied)], tags_for(8, 4, 2, t338=("H", [1]))))
    keep("tiff-miniswhite4.tif", tiff([rows(grey >> 4, 4)], tags_for(4, 1, 0)))
    keep("tiff-planar.tif", tiff([rows(rgb[..., c:c + 1]) for c in range(3)], tags_for(8, 3, 2, t284=("H", [2]))))
    tiles = []
    padded = np.zeros((16, 32, 3), np.uint8)
    padded[:H, :W] = rgb
    for x in (0, 16):
        tiles.append(rows(padded[:, x:x + 16]))
    tiled = tags_for(8, 3, 2, t322=("I", [16]), t323=("I", [16]))
    keep("tiff-tiled.tif", tiff(tiles, tiled))
    keep("tiff-strips-big-endian.tif", tiff([rows(rgb[y:y + 4]) for y in range(0, H, 4)],
                                            tags_for(8, 3, 2, t278=("I", [4])), ">"))
    wide = grey.astype(int) * 256 + rng.integers(0, 256, grey.shape)
    keep("tiff-16bit-big-endian.tif", tiff([wide.astype(">u2").tobytes()], tags_for(16, 1, 1), ">"), views_of_array(grey))
    wide = rgb.astype(int) * 256 + rng.integers(0, 256, rgb.shape)
    keep("tiff-16bit-rgb.tif", tiff([wide.astype("<u2").tobytes()], tags_for(16, 3, 2)), views_of_array(rgb))
    keep("tiff-orientation.tif", tiff([rows(rgb)], tags_for(8, 3, 2, t274=("H", [6]))),
         views(Image.fromarray(np.rot90(rgb, -1))))


# ---- resizing ----

def cover_and_crop(image, height, width):
    """Scale until both sides cover the target, as torchvision's Resize does for a square; then its CenterCrop."""
    if height == width:
        resized = T.Resize(height)(image)
    elif height * image.width >= width * image.height:
        resized = image.resize((height * image.width // image.height, height), Image.BILINEAR)
    else:
        resized = image.resize((width, width * image.height // image.width), Image.BILINEAR)
    return np.asarray(T.CenterCrop((height, width))(resized))


def make_resize():
    sizes = ((16, 16), (33, 33), (60, 60), (12, 40), (40, 12), (47, 47))
    for name, array in (("rgb", scene(47, 62, 3)), ("grey", scene(62, 47, 1)), ("rgba", scene(45, 47, 4)),
                        ("tall", scene(90, 31, 3))):
        image = Image.fromarray(array.squeeze())
        (OUT / f"resize-{name}.png").write_bytes(saved(image, "PNG", optimize=True))
        for height, width in {"rgb": sizes, "tall": sizes[1:2]}.get(name, sizes[:3]):
            result = cover_and_crop(image, height, width).reshape(height, width, -1)
            np.save(OUT / f"resize-{name}-{height}x{width}.npy", result)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (make_png, make_jpeg, make_webp, make_bmp, make_tiff, make_resize):
        make()
