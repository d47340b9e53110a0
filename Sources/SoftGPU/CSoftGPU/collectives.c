// SPDX-License-Identifier: Apache-2.0
// Warp collectives: shuffles, votes, matches and reductions, answered once every lane that takes part has arrived.
#include "internal.h"

static int matches(const struct sg_thread *a, const struct sg_thread *b) {
    // Lanes may reach the collective through different copies of the instruction, so only its meaning is compared.
    if (a->wait != b->wait || a->mask != b->mask) return 0;
    const int has_kind =
        a->wait == SG_SHUFFLE || a->wait == SG_VOTE || a->wait == SG_REDUX || a->wait == SG_ACTIVE_MASK;
    return !has_kind || a->a == b->a;
}

static uint32_t waiting_like(const struct sg_thread *threads, uint32_t waiting, uint32_t lane) {
    uint32_t same = 0;
    for (uint32_t rest = waiting; rest; rest &= rest - 1) {
        const uint32_t other = (uint32_t)__builtin_ctz(rest);
        if (matches(&threads[lane], &threads[other])) same |= 1u << other;
    }
    return same;
}

static void shuffle(struct sg_thread *threads, uint32_t members) {
    uint32_t values[SG_WARP];
    for (uint32_t rest = members; rest; rest &= rest - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctz(rest);
        values[lane] = (uint32_t)threads[lane].value;
    }
    for (uint32_t rest = members; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        struct sg_thread *t = &threads[lane];
        const int b = (int)(t->b & 31), clamp = (int)(t->c & 31), segment = (int)(t->c >> 8 & 31);
        const int highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment;
        int source, inside;
        switch (t->a) {
        case SG_SHUFFLE_UP: source = lane - b; inside = source >= highest; break;
        case SG_SHUFFLE_DOWN: source = lane + b; inside = source <= highest; break;
        case SG_SHUFFLE_BFLY: source = lane ^ b; inside = source <= highest; break;
        default: source = lowest | (b & ~segment); inside = source <= highest; break;
        }
        if (!inside) source = lane;
        // The value of a lane that takes no part is undefined; the lane's own is as good as any.
        t->result = members >> source & 1 ? values[source] : values[lane];
        t->predicate = (uint32_t)inside;
    }
}

static void vote(struct sg_thread *threads, uint32_t members) {
    uint32_t ballot = 0;
    for (uint32_t rest = members; rest; rest &= rest - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctz(rest);
        if (threads[lane].value) ballot |= 1u << lane;
    }
    for (uint32_t rest = members; rest; rest &= rest - 1) {
        struct sg_thread *t = &threads[__builtin_ctz(rest)];
        switch (t->a) {
        case SG_VOTE_ALL: t->result = ballot == members; break;
        case SG_VOTE_ANY: t->result = ballot != 0; break;
        case SG_VOTE_UNI: t->result = ballot == members || ballot == 0; break;
        default: t->result = ballot; break;
        }
    }
}

static void match(struct sg_thread *threads, uint32_t members, int all) {
    for (uint32_t rest = members; rest; rest &= rest - 1) {
        struct sg_thread *t = &threads[__builtin_ctz(rest)];
        uint32_t same = 0;
        for (uint32_t others = members; others; others &= others - 1) {
            const uint32_t other = (uint32_t)__builtin_ctz(others);
            if (threads[other].value == t->value) same |= 1u << other;
        }
        t->predicate = same == members;
        t->result = all ? (same == members ? members : 0) : same;
    }
}

static void redux(struct sg_thread *threads, uint32_t members, uint32_t operation) {
    uint32_t result = (uint32_t)threads[__builtin_ctz(members)].value;
    for (uint32_t rest = members & (members - 1); rest; rest &= rest - 1) {
        const uint32_t v = (uint32_t)threads[__builtin_ctz(rest)].value;
        switch (operation) {
        case SG_REDUX_ADD: result += v; break;
        case SG_REDUX_AND: result &= v; break;
        case SG_REDUX_OR: result |= v; break;
        case SG_REDUX_XOR: result ^= v; break;
        case SG_REDUX_MIN_U: result = v < result ? v : result; break;
        case SG_REDUX_MAX_U: result = v > result ? v : result; break;
        case SG_REDUX_MIN_S: result = (int32_t)v < (int32_t)result ? v : result; break;
        default: result = (int32_t)v > (int32_t)result ? v : result; break;
        }
    }
    for (uint32_t rest = members; rest; rest &= rest - 1) threads[__builtin_ctz(rest)].result = result;
}

static void answer(struct sg_thread *threads, uint32_t members) {
    struct sg_thread *first = &threads[__builtin_ctz(members)];
    switch (first->wait) {
    case SG_SHUFFLE: shuffle(threads, members); break;
    case SG_VOTE: vote(threads, members); break;
    case SG_MATCH_ANY: match(threads, members, 0); break;
    case SG_MATCH_ALL: match(threads, members, 1); break;
    case SG_REDUX: redux(threads, members, first->a); break;
    case SG_ACTIVE_MASK:
        for (uint32_t rest = members; rest; rest &= rest - 1) threads[__builtin_ctz(rest)].result = members;
        break;
    default: break;
    }
    for (uint32_t rest = members; rest; rest &= rest - 1) threads[__builtin_ctz(rest)].wait = SG_READY;
}

uint32_t sg_warp_resolve(struct sg_block *block, uint32_t warp, uint32_t waiting) {
    struct sg_thread *threads = block->threads + warp * SG_WARP;
    const uint32_t alive = block->alive[warp];
    uint32_t resolved = 0;
    for (uint32_t pending = waiting; pending;) {
        const uint32_t lane = (uint32_t)__builtin_ctz(pending);
        const uint32_t group = waiting_like(threads, pending, lane);
        pending &= ~group;
        // Without named members, those take part who have come when no lane of the warp can run any further: now.
        if (threads[lane].mask != SG_MASK_CONVERGED) {
            const uint32_t members = (threads[lane].mask | 1u << lane) & alive;
            if (members & ~group) continue;
        }
        answer(threads, group);
        resolved |= group;
    }
    return resolved;
}
