"""TIFF: arrangements, depths, extra samples, YCbCr, what is refused."""
import io

import numpy as np
import tifffile
from PIL import Image

from cases import *  # noqa: F403
from writers import *  # noqa: F403


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
    group4 = bytearray(saved(bilevel, "TIFF", compression="group4"))
    group4[10:14] = b"\0\0\0\0"  # in the middle of the strip
    add("tiff-bilevel-damaged.tif", bytes(group4), keep=True)


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
            if photometric == 3 and bits < 8 or (bits, photometric) == (8, 0):
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
            name = f"tiff-16-{channels}-{photometric}{'le' if order == '<' else 'be'}.tif"
            if channels == 1:
                add(name, data, "array", of_array(255 - high if photometric == 0 else high), "16bit", keep=order == ">")
            else:
                add(name, data)
    data = tiff_file(wide(scene(3)).astype(np.uint16), 2, compression="deflate", predictor=True)
    add("tiff-16-rgb-predictor.tif", data)


def add_tiff_extra(rows):
    for bits in (8, 16):
        def add_one(name, array, photometric, extra, mode, **more):
            data = rows(array if bits == 8 else wide(array), bits)  # noqa: B023
            marks = {} if extra is None else {"t338": ("H", extra)}
            tags = tags_for(H, W, bits, array.shape[2], photometric, **marks, **more)  # noqa: B023
            name = f"tiff-{name}-{bits}.tif"  # noqa: B023
            if bits == 16 and (photometric == 1 or extra == [999]):  # noqa: B023
                add(name, tiff([data], tags), "array", of_array(array[..., :len(mode)], mode), "arrangement")
            else:
                add(name, tiff([data], tags), keep=extra in ([0], [2]), tolerance=1 if extra == [1] else None)

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
    rgb = Image.fromarray(scene(3, 8, 16))
    ycc = np.asarray(rgb.convert("YCbCr"))
    tags = tags_for(8, 16, 8, 3, 6, t530=("H", [1, 1]))
    add("tiff-ycbcr-raw.tif", tiff([ycc.tobytes()], tags), keep=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        add(f"tiff-ycbcr-{compression}.tif", saved(rgb.convert("YCbCr"), "TIFF", compression=compression))
    for orientation in (2, 4, 6, 7):
        data = saved(rgb.convert("YCbCr"), "TIFF", compression="tiff_lzw", tiffinfo={274: orientation})
        add(f"tiff-ycbcr-orientation{orientation}.tif", data, keep=orientation == 7)
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
    old = tags_for(8, 16, 8, 3, 6, t259=("H", [6]), t513=("I", [8]), t514=("I", [len(jpeg)]), t512=("H", [1]),
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
        words = f"{bits}-bit " + {1: "unsigned", 2: "signed", 3: "floating-point"}[kind]
        add(f"tiff-{name}.tif", tiff([data], tags_for(H, W, bits, 1, 1, t339=("H", [kind]))), "refused", words,
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
