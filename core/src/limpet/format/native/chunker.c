/* restic's cut points: the tables, the search in portable C, and the choice of a level at run time. */
#include "chunker.h"

/* Six fingerprints keep the load ports of today's processors busy: 600 MB/s with one, 1,400 with six. */
#define LANES 6

static size_t search_portable(const Chunker *chunker, const uint8_t *data, size_t lane_size) {
    uint64_t fingerprint[LANES];
    uint64_t mask = chunker->mask;
    size_t hit = NO_HIT;
    for (unsigned k = 0; k < LANES; k++) {
        fingerprint[k] = chunker_warm(chunker, data + k * lane_size - WINDOW_SIZE);
    }
    for (size_t i = 0; i < lane_size; i++) {
        uint64_t any = 0;
        for (unsigned k = 0; k < LANES; k++) {
            fingerprint[k] = chunker_roll(chunker, fingerprint[k], data + k * lane_size + i);
            any |= (fingerprint[k] & mask) - 1; /* its top bit is set where the masked bits are 0 */
        }
        if (any >> 63) {
            for (unsigned k = 0; k < LANES; k++) {
                size_t offset = k * lane_size + i;
                if (!(fingerprint[k] & mask) && offset < hit) {
                    hit = offset;
                }
            }
        }
    }
    return hit;
}

static const ChunkerLevel chunker_portable = {"portable", search_portable, NULL, LANES, 8192, 1};

const ChunkerLevel *const *chunker_levels(void) {
    static const ChunkerLevel *const portable[] = {&chunker_portable, NULL};
#ifdef HAVE_X86_CHUNKERS
    static const ChunkerLevel *const avx2[] = {&chunker_avx2, &chunker_portable, NULL};
    static const ChunkerLevel *const avx512[] = {&chunker_avx512, &chunker_avx2, &chunker_portable, NULL};
    if (!__builtin_cpu_supports("avx2")) {
        return portable;
    }
    int has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("gfni");
    return has_avx512 ? avx512 : avx2;
#else
    return portable;
#endif
}

static int degree_of(uint64_t polynomial) {
    int degree = -1;
    while (polynomial) {
        polynomial >>= 1;
        degree++;
    }
    return degree;
}

/* value * x^8 modulo the polynomial, bit by bit. */
static uint64_t times_x8(uint64_t value, uint64_t polynomial, int degree) {
    for (unsigned i = 0; i < 8; i++) {
        value <<= 1;
        if (value >> degree) {
            value ^= polynomial;
        }
    }
    return value;
}

void chunker_init(Chunker *chunker, uint64_t polynomial, size_t min_size, size_t max_size, unsigned average_bits,
                  const ChunkerLevel *level) {
    int degree = degree_of(polynomial);
    chunker->polynomial = polynomial;
    chunker->shift = (unsigned)degree - 8;
    chunker->mask = ((uint64_t)1 << average_bits) - 1;
    chunker->min_size = min_size;
    chunker->max_size = max_size;
    chunker->level = level;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = byte; /* below every polynomial of degree 8 or more */
        for (unsigned i = 0; i < WINDOW_SIZE - 1; i++) {
            value = times_x8(value, polynomial, degree);
        }
        chunker->out[byte] = value;
    }
    /* x^degree modulo the polynomial, then its multiples by the bytes. */
    uint64_t top = polynomial ^ (uint64_t)1 << degree;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint64_t value = 0;
        for (int bit = 7; bit >= 0; bit--) {
            value <<= 1;
            if (value >> degree) {
                value ^= polynomial;
            }
            if (byte >> bit & 1) {
                value ^= top;
            }
        }
        chunker->reduce[byte] = value ^ (uint64_t)byte << degree;
    }
    if (level->prepare != NULL) {
        level->prepare(chunker);
    }
}

uint64_t chunker_planes_of_top(const Chunker *chunker, uint8_t byte) {
    return (chunker->reduce[byte] & (((uint64_t)1 << MOST_DEGREE) - 1)) << PLANE_SHIFT;
}

uint64_t chunker_planes_of_out(const Chunker *chunker, uint8_t byte) {
    return times_x8(chunker->out[byte], chunker->polynomial, MOST_DEGREE) << PLANE_SHIFT;
}

size_t chunker_cut(const Chunker *chunker, const uint8_t *data, size_t size) {
    size_t end = size < chunker->max_size ? size : chunker->max_size;
    size_t position = chunker->min_size;
    if (end <= position) {
        return end;
    }
    uint64_t fingerprint = chunker_warm(chunker, data + position - WINDOW_SIZE);
    if (!(fingerprint & chunker->mask)) {
        return position;
    }
    const ChunkerLevel *level = chunker->level;
    while (position < end) {
        size_t lane_size = (end - position) / level->lanes / WINDOW_SIZE * WINDOW_SIZE;
        if (lane_size == 0) {
            break;
        }
        if (lane_size > level->lane_size) {
            lane_size = level->lane_size;
        }
        size_t hit = level->search(chunker, data + position, lane_size);
        if (hit != NO_HIT) {
            return position + hit + 1;
        }
        position += level->lanes * lane_size;
    }
    fingerprint = chunker_warm(chunker, data + position - WINDOW_SIZE);
    for (; position < end; position++) {
        fingerprint = chunker_roll(chunker, fingerprint, data + position);
        if (!(fingerprint & chunker->mask)) {
            return position + 1;
        }
    }
    return end;
}
