// SPDX-License-Identifier: Apache-2.0
// One process with three CUDA runtimes: the program's and one in each of two libraries it loads, unloads and loads again.
// They share the primary context and its memory. The libraries lie beside the program.
#include <dlfcn.h>
#include <libgen.h>
#include <unistd.h>

#include <string>

#include "../check.h"

typedef int (*Sum)(const int *, int, int *);

int main() {
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    EXPECT(length > 0);
    path[length] = 0;
    std::string folder = dirname(path);

    std::vector<int> values(1000);
    int expected = 0;
    for (int i = 0; i < 1000; i++) expected += values[i] = i * 3;
    DeviceArray<int> memory(values);
    for (int round = 0; round < 3; round++) {
        void *library[2];
        for (int l = 0; l < 2; l++) {
            std::string name = folder + "/several_runtimes-plugin-" + std::to_string(l) + ".so";
            library[l] = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
            if (!library[l]) std::fprintf(stderr, "%s\n", dlerror());
            EXPECT(library[l]);
        }
        for (int call = 1; call <= 3; call++)
            for (int l = 0; l < 2; l++) {
                int calls = 0;
                Sum sum = (Sum)dlsym(library[l], "pluginSum");
                EXPECT(sum != nullptr);
                EXPECT(sum(memory.data, 1000, &calls) == expected);
                // Each library has its own module, with variables of its own, as long as it is loaded.
                EXPECT(calls == call);
            }
        EXPECT(dlclose(library[0]) == 0 && dlclose(library[1]) == 0);
        for (int i = 0; i < 1000; i++) EXPECT(memory.download()[i] == values[i] || i > 3);
    }
    return succeed("several_runtimes");
}
