// SPDX-License-Identifier: Apache-2.0
// Events for software GPUs: a management library with these functions in front of the software GPU's own, to which
// nothing ever happens. GPU number N has an Xid when the file N appears in the folder TEST_EVENTS, which is taken away
// for it; what is in the file is the Xid. A handle's low byte is its number.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { success = 0, invalid_argument = 2, not_supported = 3, timeout = 10 };
enum { gpus = 16, xid_type = 8, supported_types = 9 };

typedef struct { unsigned long long types[gpus]; } event_set;

typedef struct {
    void *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
} event_data;

int nvmlDeviceGetSupportedEventTypes(void *device, unsigned long long *types) {
    *types = supported_types;
    return success;
}

int nvmlEventSetCreate(event_set **set) {
    *set = calloc(1, sizeof **set);
    return success;
}

int nvmlEventSetFree(event_set *set) {
    free(set);
    return success;
}

int nvmlDeviceRegisterEvents(void *device, unsigned long long types, event_set *set) {
    if (types & ~(unsigned long long)supported_types) return not_supported;
    set->types[(uintptr_t)device % gpus] |= types;
    return success;
}

static int look(event_set *set, event_data *data) {
    for (int number = 0; number < gpus; number++) {
        if (!(set->types[number] & xid_type)) continue;
        char name[4096];
        snprintf(name, sizeof name, "%s/%d", getenv("TEST_EVENTS"), number);
        FILE *file = fopen(name, "r");
        if (!file) continue;
        int found = fscanf(file, "%llu", &data->data);
        fclose(file);
        if (found != 1 || unlink(name) != 0) continue;
        data->device = (void *)(uintptr_t)(0x53470000 + number);
        data->type = xid_type;
        data->gpu_instance = data->compute_instance = -1;
        return success;
    }
    return timeout;
}

int nvmlEventSetWait_v2(event_set *set, event_data *data, unsigned milliseconds) {
    int status = look(set, data);
    if (status != timeout || !milliseconds) return status;
    usleep(milliseconds * 1000);
    return look(set, data);
}
