#include "common/base/philox.h"

#define ROUNDS 10
#define MULTIPLIER_0 0xd2e7470ee14c6c93u
#define MULTIPLIER_1 0xca5a826395121157u
#define WEYL_0 0x9e3779b97f4a7c15u /* the golden ratio */
#define WEYL_1 0xbb67ae8584caa73bu /* sqrt(3) - 1 */

void tw_philox_block(const uint64_t key[2], const uint64_t counter[4], uint64_t out[4]) {
    uint64_t k0 = key[0], k1 = key[1];
    uint64_t x0 = counter[0], x1 = counter[1], x2 = counter[2], x3 = counter[3];
    for (int round = 0; round < ROUNDS; round++) {
        unsigned __int128 product0 = (unsigned __int128)x0 * MULTIPLIER_0;
        unsigned __int128 product1 = (unsigned __int128)x2 * MULTIPLIER_1;
        x0 = (uint64_t)(product1 >> 64) ^ x1 ^ k0;
        x2 = (uint64_t)(product0 >> 64) ^ x3 ^ k1;
        x1 = (uint64_t)product1;
        x3 = (uint64_t)product0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = x0;
    out[1] = x1;
    out[2] = x2;
    out[3] = x3;
}
