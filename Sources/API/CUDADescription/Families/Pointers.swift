// SPDX-License-Identifier: Apache-2.0

let pointersFunctions: [Function] = [
    Function("cuPointerGetAttribute", 4000, "void *data, CUpointer_attribute attribute, CUdeviceptr ptr"),
    Function(
        "cuPointerGetAttributes", 7000,
        "unsigned int numAttributes, CUpointer_attribute *attributes, void **data, CUdeviceptr ptr"),
    Function("cuPointerSetAttribute", 6000, "const void *value, CUpointer_attribute attribute, CUdeviceptr ptr"),
]
