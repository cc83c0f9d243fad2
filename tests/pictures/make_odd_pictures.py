#!/usr/bin/env python3
"""Make about 500 unusual but valid picture files, decode them with Pillow and with ddpm, and compare.

Makes pictures for every optional feature of the five formats for which Pillow, libvips or ImageMagick have test
pictures. The expected result of each is one of:

    same      the values of Pillow: ImageOps.exif_transpose, then convert("L"), ("RGB"), ("RGBA")
    array     values given here, because Pillow's are wrong or it refuses; REASONS says why
    refused   an error with certain words in it; Pillow must refuse too, or REASONS says why not

Tolerance: none for PNG, BMP, WebP and TIFF; 2 for JPEG, also inside TIFF, and for YCbCr in TIFF (other versions of the
libraries round differently); 1 for colours divided by alpha.

    python3 tests/pictures/make_odd_pictures.py --dump build/tests/pictures/picture_dump [--keep]

--keep writes the cases that are marked "keep" to tests/pictures/odd, for the test that needs no Python.
Needs Pillow 13, tifffile, imagecodecs, NumPy.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from cases import HERE, cases, of_pillow
from odd_bmp import add_bmp
from odd_jpeg import add_jpeg
from odd_png import add_png
from odd_tiff import add_tiff
from odd_webp import add_webp


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
            return "Pillow reads it, and this case gives no reason why we do not"
        return None
    if error:
        return f"got an error: {error}; Pillow: {refusal or 'reads it'}"
    expected = pillow if case["want"] == "same" else case["value"]
    if expected is None:
        return f"Pillow refuses it: {refusal}"
    if case["want"] == "array" and pillow is not None and np.array_equal(pillow, expected):
        return "Pillow agrees: no exception is needed"
    array = np.load(got)
    if array.shape != expected.shape:
        return f"got shape {array.shape}, want {expected.shape}"
    worst = int(np.abs(array.astype(int) - expected.astype(int)).max())
    if worst > tolerance_of(case):
        return f"differs by up to {worst}, first at {np.argwhere(array != expected)[0].tolist()}"
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
