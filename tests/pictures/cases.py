"""What the makers of odd pictures share: the list of cases, scenes, what Pillow makes of a file."""
import io
import pathlib
import warnings

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
H, W = 9, 14
JH, JW = 12, 20
REASONS = {
    "16bit": "16-bit grey is reduced to its high byte, like 16-bit colours; Pillow clips grey at 255",
    "trns": "a transparent grey of 2 or 4 bits: Pillow compares it with values of 8 bits",
    "big-endian-big": "big-endian BigTIFF: Pillow does not support it",
    "y": "Y alone in TIFF: libtiff refuses it",
    "webp": "WebP in TIFF: Pillow's libtiff is built without it",
    "range": "the file states no range, and Pillow clips at 255",
    "minus": "signed samples: Pillow reads them as unsigned",
    "inks": "inks other than CMYK: Pillow takes the first four as CMYK",
    "lab": "Lab needs colour management",
    "lzma": "LZMA in TIFF: its memory cannot be bounded",
    "photometric": "no photometric interpretation: Pillow assumes that 0 is white",
    "checksum": "a chunk that is not part of the pixels has a wrong checksum: a warning here; Pillow refuses the file",
    "side": "no side may be longer than 1,000,000 pixels",
    "rle": "pixels that an RLE leaves out have the palette's first colour; Pillow refuses the file",
    "bmp-masks": "any BMP masks are read; Pillow supports a fixed list",
    "bmp-palette": "a palette with more colours than the bits can address; Pillow refuses it",
    "bmp-2": "2 bits per pixel, from Windows CE; Pillow refuses them",
    "bmp-grey4": "a palette of greys with 4 bits a pixel: Pillow reads the rows as 8 bits a pixel",
    "riff": "the picture is complete, but the container is not; Pillow refuses the file",
    "arrangement": "TIFF arrangements that Pillow's table lacks",
    "planar": "uncompressed planes: Pillow reads extra planes or tiles of planes wrongly",
    "no-end": "all pixels are present; Pillow wants more bytes",
}
cases = []


def add(name, data, want="same", value=None, reason=None, keep=False, tolerance=None):
    assert reason is None or reason in REASONS, reason
    cases.append(dict(name=name, data=data, want=want, value=value, reason=reason, keep=keep, tolerance=tolerance))


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
