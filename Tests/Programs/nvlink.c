// SPDX-License-Identifier: Apache-2.0
// NVLinks for software GPUs: a management library with these functions in front of the software GPU's own, which has
// none. Each of four GPUs has a link to each other one; GPU 0 and GPU 1 have two to each other, and all have one to a
// switch. A handle's low byte is its number.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { success = 0, invalid_argument = 2, not_supported = 3 };
enum { gpus = 4, peer_links = 4, switch_link = 4, links = 6 };

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_info;

// The GPU at the other end; -1 for the switch, -2 for nothing.
static int other_end(void *device, unsigned link) {
    int own = (uintptr_t)device & 0xFF;
    if (link == switch_link) return -1;
    if (link == peer_links - 1) return own == 0 ? 1 : own == 1 ? 0 : -2;
    if (link >= links) return -2;
    return link < peer_links - 1 ? (own + 1 + (int)link) % gpus : -2;
}

int nvmlDeviceGetNvLinkState(void *device, unsigned link, unsigned *is_active) {
    if (link >= links) return invalid_argument;
    *is_active = other_end(device, link) != -2;
    return success;
}

int nvmlDeviceGetNvLinkRemotePciInfo_v2(void *device, unsigned link, pci_info *info) {
    int other = other_end(device, link);
    if (other == -2) return not_supported;
    memset(info, 0, sizeof *info);
    info->bus = other == -1 ? 0xC0 : 0x10 + other;
    snprintf(info->legacy, sizeof info->legacy, "0000:%02X:00.0", info->bus);
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus);
    return success;
}

int nvmlDeviceGetNvLinkRemoteDeviceType(void *device, unsigned link, unsigned *type) {
    int other = other_end(device, link);
    if (other == -2) return not_supported;
    *type = other == -1 ? 2 : 0;
    return success;
}

int nvmlDeviceGetNvLinkVersion(void *device, unsigned link, unsigned *version) {
    if (other_end(device, link) == -2) return not_supported;
    *version = 3;
    return success;
}

int nvmlDeviceGetNvLinkCapability(void *device, unsigned link, unsigned capability, unsigned *value) {
    if (other_end(device, link) == -2) return not_supported;
    // The first is access to the other GPU's memory.
    *value = capability == 0;
    return success;
}

int nvmlDeviceGetP2PStatus(void *device, void *other, unsigned capability, unsigned *status) {
    *status = 0;
    return success;
}
