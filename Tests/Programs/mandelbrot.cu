// SPDX-License-Identifier: Apache-2.0
// The Mandelbrot set: loops whose length differs between neighbouring threads. With a file name as argument the
// picture is also written, as a PGM.
#include "check.h"

__host__ __device__ inline int escapeTime(double cx, double cy, int limit) {
    double x = 0, y = 0;
    int n = 0;
    while (n < limit && x * x + y * y <= 4.0) {
        // The products are kept apart by explicit fused operations, so that host and device round alike.
        double nextX = fma(x, x, fma(-y, y, cx));
        y = fma(2.0 * x, y, cy);
        x = nextX;
        n++;
    }
    return n;
}

__global__ void mandelbrot(unsigned char *pixels, int width, int height, int limit) {
    int px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    if (px >= width || py >= height) return;
    pixels[py * width + px] = (unsigned char)escapeTime(-2.2 + 3.0 * px / width, -1.2 + 2.4 * py / height, limit);
}

int main(int argc, char **argv) {
    const int width = 300, height = 240, limit = 200;
    DeviceArray<unsigned char> device(width * height);
    mandelbrot<<<dim3((width + 15) / 16, (height + 15) / 16), dim3(16, 16)>>>(device.data, width, height, limit);
    CHECK(cudaGetLastError());
    std::vector<unsigned char> pixels = device.download();
    // A pixel at the very edge of the set may differ where host and device contract an expression differently.
    int differing = 0, inside = 0;
    for (int py = 0; py < height; py++)
        for (int px = 0; px < width; px++) {
            int expected = escapeTime(-2.2 + 3.0 * px / width, -1.2 + 2.4 * py / height, limit);
            differing += pixels[py * width + px] != expected;
            inside += pixels[py * width + px] == limit;
        }
    EXPECT(differing <= width * height / 1000);
    EXPECT(inside > width * height / 10 && inside < width * height / 2);
    if (argc > 1) {
        FILE *file = std::fopen(argv[1], "wb");
        EXPECT(file != nullptr);
        std::fprintf(file, "P5\n%d %d\n%d\n", width, height, limit);
        EXPECT(std::fwrite(pixels.data(), 1, pixels.size(), file) == pixels.size());
        EXPECT(std::fclose(file) == 0);
    }
    return succeed("mandelbrot");
}
