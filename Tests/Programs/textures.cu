// SPDX-License-Identifier: Apache-2.0
// Arrays, textures and surfaces: every way to read an element is computed again on the CPU, from the definitions in the
// CUDA programming guide ("Texture Fetching").
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "check.h"

/// The texture of a resource, ended with the scope.
struct Texture {
    cudaTextureObject_t object = 0;
    Texture(const cudaResourceDesc &resource, const cudaTextureDesc &how, const cudaResourceViewDesc *view = nullptr) {
        CHECK(cudaCreateTextureObject(&object, &resource, &how, view));
    }
    Texture(const Texture &) = delete;
    ~Texture() { CHECK(cudaDestroyTextureObject(object)); }
};

struct Surface {
    cudaSurfaceObject_t object = 0;
    explicit Surface(cudaArray_t array) {
        cudaResourceDesc resource = {};
        resource.resType = cudaResourceTypeArray;
        resource.res.array.array = array;
        CHECK(cudaCreateSurfaceObject(&object, &resource));
    }
    Surface(const Surface &) = delete;
    ~Surface() { CHECK(cudaDestroySurfaceObject(object)); }
};

static cudaResourceDesc resourceOf(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    return resource;
}

static cudaTextureDesc reading(cudaTextureAddressMode mode, cudaTextureFilterMode filter, bool isNormalized,
                               cudaTextureReadMode read = cudaReadModeElementType) {
    cudaTextureDesc how = {};
    how.addressMode[0] = how.addressMode[1] = how.addressMode[2] = mode;
    how.filterMode = filter;
    how.normalizedCoords = isNormalized;
    how.readMode = read;
    return how;
}

template <typename T> cudaArray_t makeArray(int width, int height, const std::vector<T> &texels, unsigned flags = 0) {
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    CHECK(cudaMallocArray(&array, &format, width, height, flags));
    const int rows = std::max(height, 1);
    CHECK(cudaMemcpy2DToArray(array, 0, 0, texels.data(), width * sizeof(T), width * sizeof(T), rows,
                              cudaMemcpyHostToDevice));
    return array;
}

template <typename T>
cudaArray_t makeArray3D(cudaExtent extent, const std::vector<T> &texels, unsigned flags) {
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    CHECK(cudaMalloc3DArray(&array, &format, extent, flags));
    cudaMemcpy3DParms copy = {};
    const size_t rows = std::max<size_t>(extent.height, 1);
    copy.srcPtr = make_cudaPitchedPtr((void *)texels.data(), extent.width * sizeof(T), extent.width, rows);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(extent.width, rows, extent.depth);
    copy.kind = cudaMemcpyHostToDevice;
    CHECK(cudaMemcpy3D(&copy));
    return array;
}

// MARK: The reference

/// The element that a number means, or -1 for the border.
static int resolve(int index, int count, cudaTextureAddressMode mode) {
    if (index >= 0 && index < count) return index;
    if (mode == cudaAddressModeWrap) return ((index % count) + count) % count;
    if (mode == cudaAddressModeBorder) return -1;
    return index < 0 ? 0 : count - 1;
}

struct Axis {
    int first, second;
    float weight;
};

static Axis along(float x, int count, const cudaTextureDesc &how, int dimension) {
    cudaTextureAddressMode mode = how.addressMode[dimension];
    if (how.normalizedCoords) {
        const float whole = std::floor(x);
        if (mode == cudaAddressModeWrap) x -= whole;
        if (mode == cudaAddressModeMirror) x = (long)whole % 2 != 0 ? 1 - (x - whole) : x - whole;
        x *= count;
    } else if (mode == cudaAddressModeWrap || mode == cudaAddressModeMirror) {
        mode = cudaAddressModeClamp;
    }
    if (how.filterMode == cudaFilterModePoint) {
        const int index = resolve((int)std::floor(x), count, mode);
        return {index, index, 0};
    }
    const float shifted = x - 0.5f, low = std::floor(shifted);
    return {resolve((int)low, count, mode), resolve((int)low + 1, count, mode),
            std::floor((shifted - low) * 256 + 0.5f) / 256};
}

/// Texels as floats, and where they lie.
struct Image {
    std::vector<float> texels;
    int width, height, depth;
    float border = 0;
    float at(int x, int y, int z) const {
        if (x < 0 || y < 0 || z < 0) return border;
        return texels[((size_t)z * height + y) * width + x];
    }
};

static float expectedAt(const Image &image, const cudaTextureDesc &how, float x, float y, float z) {
    const Axis ax = along(x, image.width, how, 0);
    const Axis ay = image.height > 1 ? along(y, image.height, how, 1) : Axis{0, 0, 0};
    const Axis az = image.depth > 1 ? along(z, image.depth, how, 2) : Axis{0, 0, 0};
    if (how.filterMode == cudaFilterModePoint) return image.at(ax.first, ay.first, az.first);
    float sum = 0;
    for (int n = 0; n < 8; n++) {
        const bool i = n & 1, j = n & 2, k = n & 4;
        const float weight = (i ? ax.weight : 1 - ax.weight) * (j ? ay.weight : 1 - ay.weight) *
                             (k ? az.weight : 1 - az.weight);
        if (weight != 0)
            sum += weight * image.at(i ? ax.second : ax.first, j ? ay.second : ay.first, k ? az.second : az.first);
    }
    return sum;
}

// MARK: One, two and three dimensions, all modes

__global__ void read1D(cudaTextureObject_t texture, const float *x, float *out, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = tex1D<float>(texture, x[i]);
}

__global__ void read2D(cudaTextureObject_t texture, const float *x, const float *y, float *out, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = tex2D<float>(texture, x[i], y[i]);
}

__global__ void read3D(cudaTextureObject_t texture, const float *x, const float *y, const float *z, float *out,
                       int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = tex3D<float>(texture, x[i], y[i], z[i]);
}

static std::vector<float> randomTexels(size_t count) {
    Random random;
    std::vector<float> texels(count);
    for (float &texel : texels) texel = random.unit() * 8 - 4;
    return texels;
}

/// Coordinates inside, outside and on the edges; multiples of 1/512 of the size, so that floats hold them exactly.
static std::vector<float> coordinates(int count, int size, bool isNormalized, unsigned seed) {
    Random random;
    random.state = seed;
    std::vector<float> values(count);
    for (float &value : values) {
        value = (float)((int)(random.next() % (unsigned)(3 * size * 64)) - size * 64) / 64;
        if (isNormalized) value /= (float)size;
    }
    return values;
}

static void readsAllModes() {
    const int count = 2000, width = 16, height = 8, depth = 4;
    const cudaTextureAddressMode modes[] = {cudaAddressModeWrap, cudaAddressModeClamp, cudaAddressModeMirror,
                                            cudaAddressModeBorder};
    Image line{randomTexels(width), width, 1, 1}, plane{randomTexels(width * height), width, height, 1};
    Image box{randomTexels(width * height * depth), width, height, depth};
    cudaArray_t array1D = makeArray(width, 0, line.texels), array2D = makeArray(width, height, plane.texels);
    cudaArray_t array3D = makeArray3D(make_cudaExtent(width, height, depth), box.texels, 0);
    for (cudaTextureAddressMode mode : modes)
        for (bool isNormalized : {false, true})
            for (cudaTextureFilterMode filter : {cudaFilterModePoint, cudaFilterModeLinear}) {
                cudaTextureDesc how = reading(mode, filter, isNormalized);
                how.borderColor[0] = line.border = plane.border = box.border = 0.75f;
                const std::vector<float> xs = coordinates(count, width, isNormalized, 1);
                const std::vector<float> ys = coordinates(count, height, isNormalized, 2);
                const std::vector<float> zs = coordinates(count, depth, isNormalized, 3);
                DeviceArray<float> x(xs), y(ys), z(zs), out(count);
                std::vector<float> expected1(count), expected2(count), expected3(count);
                for (int i = 0; i < count; i++) {
                    expected1[i] = expectedAt(line, how, xs[i], 0, 0);
                    expected2[i] = expectedAt(plane, how, xs[i], ys[i], 0);
                    expected3[i] = expectedAt(box, how, xs[i], ys[i], zs[i]);
                }
                Texture texture1(resourceOf(array1D), how), texture2(resourceOf(array2D), how);
                Texture texture3(resourceOf(array3D), how);
                read1D<<<(count + 127) / 128, 128>>>(texture1.object, x.data, out.data, count);
                expectClose(out.download(), expected1, 1e-6, "tex1D");
                read2D<<<(count + 127) / 128, 128>>>(texture2.object, x.data, y.data, out.data, count);
                expectClose(out.download(), expected2, 1e-6, "tex2D");
                read3D<<<(count + 127) / 128, 128>>>(texture3.object, x.data, y.data, z.data, out.data, count);
                expectClose(out.download(), expected3, 1e-6, "tex3D");
            }
    CHECK(cudaFreeArray(array1D));
    CHECK(cudaFreeArray(array2D));
    CHECK(cudaFreeArray(array3D));
}

// MARK: Formats

template <typename T> __global__ void readElements(cudaTextureObject_t texture, T *out, int width) {
    out[threadIdx.y * width + threadIdx.x] = tex2D<T>(texture, threadIdx.x + 0.5f, threadIdx.y + 0.5f);
}

template <typename T> void readsElements(const char *what) {
    const int width = 8, height = 4;
    std::vector<T> texels(width * height);
    Random random;
    for (size_t i = 0; i < texels.size() * sizeof(T); i++) ((unsigned char *)texels.data())[i] = random.next() & 0x3f;
    cudaArray_t array = makeArray(width, height, texels);
    DeviceArray<T> out(texels.size());
    {
        Texture texture(resourceOf(array), reading(cudaAddressModeClamp, cudaFilterModePoint, false));
        readElements<T><<<1, dim3(width, height)>>>(texture.object, out.data, width);
        CHECK(cudaDeviceSynchronize());
    }
    const std::vector<T> found = out.download();
    if (std::memcmp(found.data(), texels.data(), texels.size() * sizeof(T)) != 0) {
        std::fprintf(stderr, "elements of %s differ\n", what);
        std::exit(1);
    }
    CHECK(cudaFreeArray(array));
}

__global__ void readColours(cudaTextureObject_t texture, float4 *out) {
    out[threadIdx.x] = tex1D<float4>(texture, threadIdx.x + 0.5f);
}

static void expectFractions(const std::vector<float4> &found, const std::vector<float> &expected, const char *what) {
    std::vector<float> flat;
    for (const float4 &colour : found) flat.insert(flat.end(), {colour.x, colour.y, colour.z, colour.w});
    expectClose(flat, expected, 1e-6, what);
}

static void readsFractions() {
    const std::vector<uchar4> bytes = {make_uchar4(0, 1, 127, 255), make_uchar4(10, 20, 200, 128)};
    const std::vector<short4> words = {make_short4(0, 32767, -32767, -32768), make_short4(1, -1, 1000, -20000)};
    DeviceArray<float4> out(2);
    std::vector<float> expected, linear;
    for (const uchar4 &b : bytes) {
        for (unsigned char c : {b.x, b.y, b.z, b.w}) expected.push_back(c / 255.0f);
        for (unsigned char c : {b.x, b.y, b.z}) {
            const float v = c / 255.0f;
            linear.push_back(v <= 0.04045f ? v / 12.92f : std::pow((v + 0.055f) / 1.055f, 2.4f));
        }
        linear.push_back(b.w / 255.0f);
    }
    cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModePoint, false, cudaReadModeNormalizedFloat);
    cudaArray_t array = makeArray(2, 0, bytes);
    {
        Texture texture(resourceOf(array), how);
        readColours<<<1, 2>>>(texture.object, out.data);
        expectFractions(out.download(), expected, "fractions of bytes");
        how.sRGB = 1;
        Texture srgb(resourceOf(array), how);
        readColours<<<1, 2>>>(srgb.object, out.data);
        expectFractions(out.download(), linear, "sRGB");
        how.sRGB = 0;
    }
    CHECK(cudaFreeArray(array));
    expected.clear();
    for (const short4 &w : words)
        for (short c : {w.x, w.y, w.z, w.w}) expected.push_back(std::max(c / 32767.0f, -1.0f));
    array = makeArray(2, 0, words);
    {
        Texture texture(resourceOf(array), how);
        readColours<<<1, 2>>>(texture.object, out.data);
        expectFractions(out.download(), expected, "fractions of words");
        // Integers have no mean.
        cudaTextureObject_t none;
        const cudaResourceDesc resource = resourceOf(array);
        const cudaTextureDesc wrong = reading(cudaAddressModeClamp, cudaFilterModeLinear, false);
        EXPECT(cudaCreateTextureObject(&none, &resource, &wrong, nullptr) != cudaSuccess);
        (void)cudaGetLastError();
    }
    CHECK(cudaFreeArray(array));
}

static void readsFormats() {
    readsElements<unsigned char>("unsigned char");
    readsElements<char2>("char2");
    readsElements<uchar4>("uchar4");
    readsElements<short>("short");
    readsElements<ushort2>("ushort2");
    readsElements<short4>("short4");
    readsElements<int>("int");
    readsElements<uint2>("uint2");
    readsElements<int4>("int4");
    readsElements<float>("float");
    readsElements<float2>("float2");
    readsElements<float4>("float4");
    readsFractions();
}

// MARK: Ordinary memory

__global__ void fetchLinear(cudaTextureObject_t texture, int *out, int count) {
    const int i = (int)threadIdx.x - 2;
    if ((int)threadIdx.x < count + 4) out[threadIdx.x] = tex1Dfetch<int>(texture, i);
}

static void readsMemory() {
    const int count = 50;
    std::vector<int> values(count);
    for (int i = 0; i < count; i++) values[i] = i * i - 7;
    DeviceArray<int> data(values), out(count + 4);
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = data.data;
    resource.res.linear.desc = cudaCreateChannelDesc<int>();
    resource.res.linear.sizeInBytes = count * sizeof(int);
    {
        Texture texture(resource, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
        fetchLinear<<<1, 64>>>(texture.object, out.data, count);
        std::vector<int> expected(count + 4, 0);
        std::copy(values.begin(), values.end(), expected.begin() + 2);
        expectEqual(out.download(), expected, "tex1Dfetch");
    }
    const int width = 20, height = 6, points = 500;
    Image plane{randomTexels(width * height), width, height, 1};
    void *rows;
    size_t pitch;
    CHECK(cudaMallocPitch(&rows, &pitch, width * sizeof(float), height));
    CHECK(cudaMemcpy2D(rows, pitch, plane.texels.data(), width * 4, width * 4, height, cudaMemcpyHostToDevice));
    resource = {};
    resource.resType = cudaResourceTypePitch2D;
    resource.res.pitch2D.devPtr = rows;
    resource.res.pitch2D.desc = cudaCreateChannelDesc<float>();
    resource.res.pitch2D.width = width;
    resource.res.pitch2D.height = height;
    resource.res.pitch2D.pitchInBytes = pitch;
    {
        const cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModeLinear, false);
        Texture texture(resource, how);
        const std::vector<float> xs = coordinates(points, width, false, 4), ys = coordinates(points, height, false, 5);
        DeviceArray<float> x(xs), y(ys), found(points);
        std::vector<float> expected(points);
        for (int i = 0; i < points; i++) expected[i] = expectedAt(plane, how, xs[i], ys[i], 0);
        read2D<<<(points + 127) / 128, 128>>>(texture.object, x.data, y.data, found.data, points);
        expectClose(found.download(), expected, 1e-6, "pitch2D");
    }
    CHECK(cudaFree(rows));
}

// MARK: Layers, cubes, levels

__global__ void readLayers(cudaTextureObject_t lines, cudaTextureObject_t planes, float *out, int width, int height) {
    const int x = threadIdx.x, y = threadIdx.y, layer = blockIdx.x;
    const int index = (layer * height + y) * width + x;
    out[2 * index] = tex1DLayered<float>(lines, x + 0.5f, layer);
    out[2 * index + 1] = tex2DLayered<float>(planes, x + 0.5f, y + 0.5f, layer);
}

__global__ void readCube(cudaTextureObject_t cube, const float3 *directions, float *out, int count) {
    const int i = threadIdx.x;
    if (i < count) out[i] = texCubemap<float>(cube, directions[i].x, directions[i].y, directions[i].z);
}

__global__ void readLevels(cudaTextureObject_t texture, const float *levels, float *out, int count) {
    const int i = threadIdx.x;
    if (i < count) out[i] = tex2DLod<float>(texture, 0.5f, 0.5f, levels[i]);
}

__global__ void readGathered(cudaTextureObject_t texture, float4 *out) {
    *out = tex2Dgather<float4>(texture, 1.0f, 1.0f, 0);
}

static void readsLayersAndCubes() {
    const int width = 8, height = 4, layers = 3;
    const std::vector<float> lines = randomTexels(width * layers), planes = randomTexels(width * height * layers);
    cudaArray_t array1D = makeArray3D(make_cudaExtent(width, 0, layers), lines, cudaArrayLayered);
    cudaArray_t array2D = makeArray3D(make_cudaExtent(width, height, layers), planes, cudaArrayLayered);
    {
        const cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModeLinear, false);
        Texture texture1(resourceOf(array1D), how), texture2(resourceOf(array2D), how);
        DeviceArray<float> out(2 * width * height * layers);
        readLayers<<<layers, dim3(width, height)>>>(texture1.object, texture2.object, out.data, width, height);
        std::vector<float> expected;
        for (int layer = 0; layer < layers; layer++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    expected.push_back(lines[layer * width + x]);
                    expected.push_back(planes[(layer * height + y) * width + x]);
                }
        expectEqual(out.download(), expected, "layers");
    }
    CHECK(cudaFreeArray(array1D));
    CHECK(cudaFreeArray(array2D));
    // Each face has one value: the six axes, and directions that lean towards one of them.
    std::vector<float> faces;
    for (int face = 0; face < 6; face++) faces.insert(faces.end(), 16, (float)face);
    cudaArray_t cube = makeArray3D(make_cudaExtent(4, 4, 6), faces, cudaArrayCubemap);
    {
        Texture texture(resourceOf(cube), reading(cudaAddressModeClamp, cudaFilterModePoint, true));
        std::vector<float3> directions;
        std::vector<float> expected;
        for (int face = 0; face < 6; face++) {
            float direction[3] = {0.2f, -0.3f, 0.1f};
            direction[face / 2] = face % 2 ? -1.0f : 1.0f;
            directions.push_back(make_float3(direction[0], direction[1], direction[2]));
            expected.push_back((float)face);
        }
        DeviceArray<float3> at(directions);
        DeviceArray<float> out(6);
        readCube<<<1, 32>>>(texture.object, at.data, out.data, 6);
        expectEqual(out.download(), expected, "cube");
    }
    CHECK(cudaFreeArray(cube));
}

static void readsLevels() {
    const int size = 16, levels = 5;
    cudaMipmappedArray_t mipmapped;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    CHECK(cudaMallocMipmappedArray(&mipmapped, &format, make_cudaExtent(size, size, 0), levels));
    for (int level = 0; level < levels; level++) {
        cudaArray_t array;
        CHECK(cudaGetMipmappedArrayLevel(&array, mipmapped, level));
        cudaExtent extent;
        CHECK(cudaArrayGetInfo(nullptr, &extent, nullptr, array));
        EXPECT(extent.width == (size_t)(size >> level) && extent.height == (size_t)(size >> level));
        const std::vector<float> texels(extent.width * extent.height, (float)(10 * level));
        CHECK(cudaMemcpy2DToArray(array, 0, 0, texels.data(), extent.width * 4, extent.width * 4, extent.height,
                                  cudaMemcpyHostToDevice));
    }
    cudaArray_t beyond;
    EXPECT(cudaGetMipmappedArrayLevel(&beyond, mipmapped, levels) != cudaSuccess);
    (void)cudaGetLastError();
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeMipmappedArray;
    resource.res.mipmap.mipmap = mipmapped;
    const std::vector<float> asked = {-1, 0, 0.25f, 0.75f, 1.5f, 2, 3.25f, 9};
    DeviceArray<float> at(asked), out(asked.size());
    for (bool isLinear : {false, true}) {
        cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModePoint, true);
        how.mipmapFilterMode = isLinear ? cudaFilterModeLinear : cudaFilterModePoint;
        how.minMipmapLevelClamp = 0.5f;
        how.maxMipmapLevelClamp = 3;
        Texture texture(resource, how);
        readLevels<<<1, 32>>>(texture.object, at.data, out.data, (int)asked.size());
        std::vector<float> expected;
        for (float level : asked) {
            const float clamped = std::min(std::max(level, 0.5f), 3.0f);
            expected.push_back(10 * (isLinear ? clamped : std::floor(clamped + 0.5f)));
        }
        expectClose(out.download(), expected, 1e-6, "levels");
    }
    CHECK(cudaFreeMipmappedArray(mipmapped));
    const std::vector<float> texels = {1, 2, 3, 4};
    cudaArray_t array = makeArray(2, 2, texels, cudaArrayTextureGather);
    {
        Texture texture(resourceOf(array), reading(cudaAddressModeClamp, cudaFilterModePoint, false));
        DeviceArray<float4> gathered(1);
        readGathered<<<1, 1>>>(texture.object, gathered.data);
        const float4 found = gathered.download()[0];
        EXPECT(found.x == 3 && found.y == 4 && found.z == 2 && found.w == 1);
    }
    CHECK(cudaFreeArray(array));
}

// MARK: Surfaces

__global__ void writeSurface(cudaSurfaceObject_t surface, int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x < width && y < height) surf2Dwrite(make_float2((float)x, (float)(10 * y)), surface, x * 8, y);
}

__global__ void readSurface(cudaSurfaceObject_t surface, float2 *out, int width) {
    const int x = threadIdx.x, y = blockIdx.x;
    surf2Dread(&out[y * width + x], surface, x * 8, y);
}

__global__ void boundaries(cudaSurfaceObject_t surface, float2 *out) {
    surf2Dread(&out[0], surface, -8, 0, cudaBoundaryModeZero);
    surf2Dread(&out[1], surface, 8 * 1000, 1, cudaBoundaryModeClamp);
    surf2Dwrite(make_float2(-1, -1), surface, 8 * 1000, 0, cudaBoundaryModeZero);
}

__global__ void writeVolume(cudaSurfaceObject_t box, cudaSurfaceObject_t layers) {
    const int x = threadIdx.x, y = threadIdx.y, z = threadIdx.z;
    surf3Dwrite((unsigned short)(x + 10 * y + 100 * z), box, x * 2, y, z);
    surf2DLayeredwrite((unsigned char)(x + 10 * y + 50 * z), layers, x, y, z);
}

__global__ void writeOutside(cudaSurfaceObject_t surface) { surf2Dwrite(make_float2(0, 0), surface, 0, 1 << 20); }

static void writesSurfaces() {
    const int width = 100, height = 7;
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float2>();
    CHECK(cudaMallocArray(&array, &format, width, height, cudaArraySurfaceLoadStore));
    std::vector<float2> back(width * height), zero(width * height);
    {
        Surface surface(array);
        writeSurface<<<dim3(4, height), 32>>>(surface.object, width, height);
        CHECK(cudaMemcpy2DFromArray(back.data(), width * 8, array, 0, 0, width * 8, height, cudaMemcpyDeviceToHost));
        for (int i = 0; i < width * height; i++) EXPECT(back[i].x == i % width && back[i].y == 10 * (i / width));
        DeviceArray<float2> out(width * height);
        readSurface<<<height, width>>>(surface.object, out.data, width);
        EXPECT(std::memcmp(out.download().data(), back.data(), back.size() * 8) == 0);
        boundaries<<<1, 1>>>(surface.object, out.data);
        const std::vector<float2> found = out.download();
        EXPECT(found[0].x == 0 && found[0].y == 0 && found[1].x == width - 1 && found[1].y == 10);
    }
    CHECK(cudaFreeArray(array));
    const cudaExtent extent = make_cudaExtent(8, 4, 3);
    const std::vector<unsigned short> words(96);
    const std::vector<unsigned char> bytes(96);
    cudaArray_t box = makeArray3D(extent, words, cudaArraySurfaceLoadStore);
    cudaArray_t layers = makeArray3D(extent, bytes, cudaArraySurfaceLoadStore | cudaArrayLayered);
    {
        Surface surface(box), planes(layers);
        writeVolume<<<1, dim3(8, 4, 3)>>>(surface.object, planes.object);
        std::vector<unsigned short> found(96);
        std::vector<unsigned char> foundBytes(96);
        cudaMemcpy3DParms copy = {};
        copy.srcArray = box;
        copy.dstPtr = make_cudaPitchedPtr(found.data(), 16, 8, 4);
        copy.extent = extent;
        copy.kind = cudaMemcpyDeviceToHost;
        CHECK(cudaMemcpy3D(&copy));
        copy.srcArray = layers;
        copy.dstPtr = make_cudaPitchedPtr(foundBytes.data(), 8, 8, 4);
        CHECK(cudaMemcpy3D(&copy));
        for (int i = 0; i < 96; i++) {
            EXPECT(found[i] == i % 8 + 10 * (i / 8 % 4) + 100 * (i / 32));
            EXPECT(foundBytes[i] == i % 8 + 10 * (i / 8 % 4) + 50 * (i / 32));
        }
    }
    CHECK(cudaFreeArray(box));
    CHECK(cudaFreeArray(layers));
}

// MARK: Copies

static void copiesArrays() {
    const int width = 300, height = 200;
    const std::vector<float> texels = randomTexels(width * height);
    cudaArray_t one = makeArray(width, height, texels);
    cudaArray_t other = makeArray(width, height, std::vector<float>(width * height));
    // A part, from array to array, through device memory, and back.
    CHECK(cudaMemcpy2DArrayToArray(other, 40, 5, one, 80, 10, 400, 100, cudaMemcpyDeviceToDevice));
    DeviceArray<float> middle(width * height);
    CHECK(cudaMemcpy2DFromArray(middle.data, width * 4, other, 0, 0, width * 4, height, cudaMemcpyDeviceToDevice));
    std::vector<float> expected(width * height);
    for (int y = 0; y < 100; y++)
        for (int x = 0; x < 100; x++) expected[(y + 5) * width + x + 10] = texels[(y + 10) * width + x + 20];
    expectEqual(middle.download(), expected, "arrays");
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    float *pinned;
    CHECK(cudaMallocHost((void **)&pinned, width * height * 4));
    CHECK(cudaMemcpy2DFromArrayAsync(pinned, width * 4, one, 0, 0, width * 4, height, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(std::vector<float>(pinned, pinned + width * height), texels, "to pinned memory");
    for (int i = 0; i < width * height; i++) pinned[i] = (float)i;
    CHECK(cudaMemcpy2DToArrayAsync(one, 0, 0, pinned, width * 4, width * 4, height, cudaMemcpyHostToDevice, stream));
    CHECK(cudaMemcpy2DFromArrayAsync(middle.data, width * 4, one, 0, 0, width * 4, height, cudaMemcpyDeviceToDevice,
                                     stream));
    CHECK(cudaStreamSynchronize(stream));
    expectEqual(middle.download(), std::vector<float>(pinned, pinned + width * height), "from pinned memory");
    // Outside of the array.
    EXPECT_ERROR(cudaErrorInvalidValue, cudaMemcpy2DToArray(one, 4, 0, pinned, width * 4, width * 4, height,
                                                            cudaMemcpyHostToDevice));
    (void)cudaGetLastError();
    CHECK(cudaFreeHost(pinned));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFreeArray(one));
    CHECK(cudaFreeArray(other));
}

static void countsMemory() {
    size_t before, during, after, total;
    CHECK(cudaMemGetInfo(&before, &total));
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float4>();
    CHECK(cudaMallocArray(&array, &format, 1024, 1024));
    CHECK(cudaMemGetInfo(&during, &total));
    EXPECT(before - during >= 16u << 20);
    CHECK(cudaFreeArray(array));
    CHECK(cudaMemGetInfo(&after, &total));
    EXPECT(after == before);
    EXPECT_ERROR(cudaErrorInvalidValue, cudaMallocArray(&array, &format, 1 << 28, 1 << 20));
    (void)cudaGetLastError();
}

int main() {
    readsAllModes();
    readsFormats();
    readsMemory();
    readsLayersAndCubes();
    readsLevels();
    writesSurfaces();
    copiesArrays();
    countsMemory();
    // A write outside of a surface ends the kernel and with it the context; the last thing that is tried.
    cudaArray_t array;
    const cudaChannelFormatDesc format = cudaCreateChannelDesc<float2>();
    CHECK(cudaMallocArray(&array, &format, 8, 8, cudaArraySurfaceLoadStore));
    cudaSurfaceObject_t surface;
    const cudaResourceDesc resource = resourceOf(array);
    CHECK(cudaCreateSurfaceObject(&surface, &resource));
    writeOutside<<<1, 1>>>(surface);
    EXPECT_ERROR(cudaErrorLaunchFailure, cudaDeviceSynchronize());
    return succeed("textures");
}
