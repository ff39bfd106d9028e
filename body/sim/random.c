/*
 * The schedule's source of choices: splitmix64, so that neighbouring seeds have nothing in common.
 */
#include "body/sim/engine.h"

void sim_random_seed(uint64_t seed) { sim.random_state = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du; }

uint64_t sim_random64(void)
{
    uint64_t z = sim.random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t sim_random(uint32_t bound) { return bound ? (uint32_t)(((sim_random64() >> 32) * bound) >> 32) : 0; }
