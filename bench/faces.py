#!/usr/bin/env python3
"""Draw the faces of docs/recipes.md: pictures in which the layout matters, unlike texture.

    faces.py OUT.npy [COUNT]      uint8 [COUNT,32,32,3], 2,880 by default

Each is a head in the middle with hair, two eyes, brows, nose and mouth, of random colours, sizes and places. Needs
NumPy and Pillow. The pictures are the same in every run.
"""
import sys

import numpy as np
from PIL import Image, ImageDraw

SIDE = 128  # drawn this large, then reduced
OUT = 32
HAIR = [[40, 25, 15], [90, 60, 30], [200, 170, 90], [20, 20, 20], [130, 130, 130]]
SKIN = [[240, 205, 180], [205, 150, 115], [140, 90, 60], [95, 60, 40]]


def colour(values):
    return tuple(int(v) for v in np.clip(values, 0, 255))


def ellipse(draw, x, y, half_width, half_height, fill, lower=None):
    """`lower`: half of the height below the centre, if it differs."""
    lower = half_height if lower is None else lower
    draw.ellipse([x - half_width, y - half_height, x + half_width, y + lower], fill=fill)


def draw_eyes(draw, rng, x, y, w, h, hair):
    """Returns where the bridge of the nose begins."""
    eye_y = y - h * rng.uniform(.05, .2)
    apart = w * rng.uniform(.35, .48)
    size = w * rng.uniform(.1, .16)
    iris = colour(rng.integers(20, 140, 3))
    for side in (-1, 1):
        eye_x = x + side * apart
        ellipse(draw, eye_x, eye_y, size * 1.5, size, (245, 245, 245))
        ellipse(draw, eye_x, eye_y, size * .8, size * .8, iris)
        left, right = eye_y - size * rng.uniform(1.8, 2.6), eye_y - size * rng.uniform(1.8, 2.6)
        draw.line([eye_x - size * 2, left, eye_x + size * 2, right], fill=hair, width=3)
    return eye_y + h * .1


def draw_mouth(draw, rng, x, y, w, h):
    half = w * rng.uniform(.3, .5)
    mouth_y = y + h * rng.uniform(.5, .6)
    lips = (int(rng.uniform(150, 210)), int(rng.uniform(50, 90)), int(rng.uniform(60, 100)))
    if rng.random() < .5:
        draw.arc([x - half, mouth_y - half * .7, x + half, mouth_y + half * .5], 20, 160, fill=lips, width=5)
    else:
        ellipse(draw, x, mouth_y, half, half * .25, lips, half * .3)


def face(rng):
    picture = Image.new("RGB", (SIDE, SIDE), colour(rng.integers(30, 226, 3)))
    draw = ImageDraw.Draw(picture)
    x, y, w, h = (SIDE * rng.uniform(*bounds) for bounds in ((.46, .54), (.48, .56), (.22, .32), (.3, .38)))
    hair = colour(rng.choice(HAIR))
    skin = np.array(SKIN)[rng.integers(4)] + rng.integers(-10, 11, 3)
    ellipse(draw, x, y, w * 1.15, h * 1.2, hair, h * rng.uniform(.2, 1.0))
    ellipse(draw, x, y, w, h, colour(skin))
    bridge = draw_eyes(draw, rng, x, y, w, h, hair)
    shade = tuple(int(v * .75) for v in np.clip(skin, 0, 255))
    draw.line([x, bridge, x - w * .1, y + h * .25, x + w * .08, y + h * .27], fill=shade, width=3)
    draw_mouth(draw, rng, x, y, w, h)
    return np.asarray(picture.resize((OUT, OUT), Image.LANCZOS))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    rng = np.random.default_rng(3)
    count = int(sys.argv[2]) if len(sys.argv) == 3 else 2880
    np.save(sys.argv[1], np.stack([face(rng) for _ in range(count)]).astype(np.uint8))


if __name__ == "__main__":
    main()
