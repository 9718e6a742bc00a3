/* SPDX-License-Identifier: Apache-2.0 */
/*
 * avx_state.c - do vector registers survive being scheduled away? Several processes
 * each keep a pattern of their own in YMM7 (and ZMM23 and a mask register, where
 * there is AVX-512), and look whether it is still there, for some seconds.
 *
 *	avx_state [PROCESSES [SECONDS]]
 *
 * The loops call nothing: libc's memcmp() and memcpy() use these registers
 * themselves, and end in VZEROUPPER. A loop takes some tens of milliseconds, so that
 * nearly every end of a time slice falls into one; between loops the clock is read
 * and the pattern loaded anew.
 */
#include <cpuid.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 4000000u
#define MAX_PROCESSES 32

static uint64_t xcr0(void)
{
	uint32_t a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE) || !(c & bit_AVX))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

static int has_avx512(void)
{
	uint32_t a, b, c, d;

	return (xcr0() & 0xe6) == 0xe6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
	       (b & bit_AVX512F);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * ROUNDS times: yes or no, are all 32 bytes of YMM7 still @pattern? Everything between
 * loading and the last look is in this one block.
 */
static uint64_t look_ymm(uint64_t pattern, uint64_t rounds)
{
	uint64_t bad = 0;

	__asm__ volatile("vmovq %[p], %%xmm7\n\t"
			 "vpunpcklqdq %%xmm7, %%xmm7, %%xmm7\n\t"
			 "vinsertf128 $1, %%xmm7, %%ymm7, %%ymm7\n"
			 "1:\tvextractf128 $1, %%ymm7, %%xmm0\n\t"
			 "vmovq %%xmm7, %%rax\n\t"
			 "xor %[p], %%rax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "vpextrq $1, %%xmm7, %%rax\n\t"
			 "xor %[p], %%rax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "vmovq %%xmm0, %%rax\n\t"
			 "xor %[p], %%rax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "vpextrq $1, %%xmm0, %%rax\n\t"
			 "xor %[p], %%rax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "dec %[n]\n\t"
			 "jnz 1b"
			 : [bad] "+r"(bad), [n] "+r"(rounds)
			 : [p] "r"(pattern)
			 : "rax", "xmm0", "xmm7", "cc");
	return bad;
}

/* The same with ZMM23, which only AVX-512 has, and mask register k3. */
static uint64_t look_zmm(uint64_t pattern, uint64_t rounds)
{
	uint64_t bad = 0, mask = pattern & 0xffff;

	__asm__ volatile("vpbroadcastq %[p], %%zmm23\n\t"
			 "kmovw %k[m], %%k3\n"
			 "1:\tvpbroadcastq %[p], %%zmm24\n\t"
			 "vpcmpeqq %%zmm23, %%zmm24, %%k1\n\t"
			 "kmovw %%k1, %%eax\n\t"
			 "xor $0xff, %%eax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "kmovw %%k3, %%eax\n\t"
			 "xor %[m], %%rax\n\t"
			 "or %%rax, %[bad]\n\t"
			 "dec %[n]\n\t"
			 "jnz 1b"
			 : [bad] "+r"(bad), [n] "+r"(rounds)
			 : [p] "r"(pattern), [m] "r"(mask)
			 : "rax", "cc"
#ifdef __AVX512F__
			   , "xmm23", "xmm24", "k1", "k3"
#endif
			);
	return bad;
}

static int worker(unsigned id, unsigned seconds)
{
	uint64_t pattern = 0x1111111111111111ull * (id % 15 + 1), looks = 0;
	uint64_t end = now_ms() + seconds * 1000ull;
	int wide = has_avx512();

	do {
		if (look_ymm(pattern, ROUNDS) || (wide && look_zmm(pattern, ROUNDS))) {
			printf("process %u lost its pattern after %" PRIu64 " looks\n", id, looks);
			return 1;
		}
		looks += ROUNDS;
	} while (now_ms() < end);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 3;
	unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
	unsigned lost = 0;
	int status;

	if (n < 1 || n > MAX_PROCESSES)
		return 2;
	if ((xcr0() & 6) != 6) {
		puts("this CPU shows no AVX");
		return 77;
	}
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (!pid) {
			status = worker(i, seconds);
			fflush(stdout);
			_exit(status);
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (wait(&status) < 0 || status)
			lost++;
	printf("%u of %u processes corrupted, %s\n", lost, n, has_avx512() ? "AVX-512" : "AVX");
	return lost ? 1 : 0;
}
