# SPDX-License-Identifier: Apache-2.0
"""Computes the Mandelbrot set on a GPU with Numba and writes it as a PNG.

    python mandelbrot_numba.py [FILE]

Nothing in it knows of a network: it runs on whatever GPU the CUDA driver library offers.
"""
import sys

import numpy as np
from numba import cuda
from PIL import Image

WIDTH, HEIGHT, LIMIT = 960, 640, 300


@cuda.jit
def mandelbrot(iterations):
    x, y = cuda.grid(2)
    if x >= iterations.shape[1] or y >= iterations.shape[0]:
        return
    real = -2.1 + 3.0 * x / iterations.shape[1]
    imaginary = -1.0 + 2.0 * y / iterations.shape[0]
    a, b, n = 0.0, 0.0, 0
    while n < LIMIT and a * a + b * b <= 4.0:
        a, b = a * a - b * b + real, 2.0 * a * b + imaginary
        n += 1
    iterations[y, x] = n


def colours(iterations):
    """From black inside through blue and white to orange, by the logarithm of the number of steps."""
    depth = np.log1p(iterations) / np.log1p(LIMIT)
    stops = np.array([0.0, 0.2, 0.45, 0.7, 0.95, 1.0])
    palette = np.array([[0, 7, 60], [10, 50, 140], [240, 250, 255], [255, 170, 0], [60, 10, 0], [0, 0, 0]])
    channels = [np.interp(depth, stops, palette[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else "mandelbrot.png"
    device = cuda.get_current_device()
    name = device.name.decode() if isinstance(device.name, bytes) else device.name
    iterations = cuda.device_array((HEIGHT, WIDTH), np.int32)
    threads = (16, 16)
    blocks = ((WIDTH + 15) // 16, (HEIGHT + 15) // 16)
    mandelbrot[blocks, threads](iterations)
    found = iterations.copy_to_host()

    # Points whose fate is known: the middle of the set never leaves it, the corner leaves at once.
    middle = found[HEIGHT // 2, int(WIDTH * 2.1 / 3.0)]
    if middle != LIMIT or found[0, 0] > 3:
        sys.exit(f"wrong numbers from the GPU: middle {middle}, corner {found[0, 0]}")
    Image.fromarray(colours(found), "RGB").save(path)
    print(f"{name}: wrote {path}")


if __name__ == "__main__":
    main()
