/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.cc - a bounded proof of the token bucket (vmm/bucket.c): the same code, with words of
 * six bits in place of 64 and the wide ones of twelve, for every rate, burst, level, rest
 * and both times. A word here ends the program when a result does not fit, so no sum and no
 * product wraps; the bounds that keep them from it (rates, debt) have the same share of
 * the word's bits as the real ones. In exact arithmetic:
 *
 *	filling adds rate x time, up to the burst, and nothing else
 *	what it says to wait is the least time after which there is something
 *	taking takes that much, down to the deepest debt
 *
 * Each holds for every state, so it holds for any row of calls: between two moments no more is
 * taken than the burst, rate x time, and the debt of one request.
 *
 * C++ alone lets the words be types of our own: those of C become int before they wrap.
 */
extern "C" {
#include "vmm/base.h"
}

template <int LO, int HI> struct num {
	int v;

	num() : v(0) {}
	num(int x) : v(x) { BUG_ON(x < LO || x > HI); }
	template <int L, int H> num(num<L, H> x) : num(x.v) {}
	num operator~() const { return HI - v; }
	num operator-() const { return -v; }
	num &operator+=(num x) { return *this = v + x.v; }
};

#define EITHER template <int L, int H, int M, int I>
#define WIDER num<(M < L ? M : L), (I > H ? I : H)>
#define MATH(op) \
	EITHER static WIDER operator op(num<L, H> a, num<M, I> b) { return a.v op b.v; } \
	template <int L, int H> static num<L, H> operator op(num<L, H> a, int b) \
		{ return a op num<L, H>(b); } \
	template <int L, int H> static num<L, H> operator op(int a, num<L, H> b) \
		{ return num<L, H>(a) op b; }
#define COMPARE(op) \
	EITHER static bool operator op(num<L, H> a, num<M, I> b) { return a.v op b.v; } \
	template <int L, int H> static bool operator op(num<L, H> a, int b) { return a.v op b; }
MATH(+) MATH(-) MATH(*) MATH(/) MATH(%)
COMPARE(<) COMPARE(>) COMPARE(<=) COMPARE(>=) COMPARE(==)

#define BITS 6
typedef num<0, (1 << BITS) - 1> bucket_word;
typedef num<-(1 << (BITS - 1)), (1 << (BITS - 1)) - 1> bucket_level;
typedef num<0, (1 << 2 * BITS) - 1> bucket_wide;

enum { NS = 7, RATE_MAX = 13, DEBT_MAX = 16, WORD_MAX = (1 << BITS) - 1 };
#define BUCKET_NS (bucket_word(NS))
#define BUCKET_RATE_MAX (bucket_word(RATE_MAX))
#define BUCKET_DEBT_MAX (bucket_word(DEBT_MAX))
#include "vmm/bucket.c"

static unsigned long long waits, takes;

/* All that is in it, in parts of a unit. */
static int parts(const struct bucket *b)
{
	return b->level.v * NS + b->rest.v;
}

static void check_state(const struct bucket *b)
{
	BUG_ON(b->level.v > b->burst.v || b->level.v < -DEBT_MAX);
	BUG_ON(b->rest.v >= NS || (b->level.v == b->burst.v && b->rest.v));
}

static void check_wait(const struct bucket *was, int now)
{
	struct bucket b = *was;
	int ns = bucket_wait(&b, now).v;
	int passed = now > was->at.v ? now - was->at.v : 0;
	int want = parts(was) + passed * was->rate.v, rate = was->rate.v;

	waits++;
	check_state(&b);
	BUG_ON(b.rate.v != rate || b.burst.v != was->burst.v || b.at.v != was->at.v + passed);
	BUG_ON(parts(&b) != (want < b.burst.v * NS ? want : b.burst.v * NS));
	BUG_ON((ns == 0) != (b.level.v >= 1));
	if (!ns)
		return;
	BUG_ON(parts(&b) + ns * rate < NS && ns != WORD_MAX);
	BUG_ON(parts(&b) + (ns - 1) * rate >= NS);
}

static void check_take(const struct bucket *was, int n)
{
	struct bucket b = *was;
	int left = was->level.v - (n < RATE_MAX ? n : RATE_MAX);

	bucket_take(&b, n);
	takes++;
	check_state(&b);
	BUG_ON(b.level.v != (left < -DEBT_MAX ? -DEBT_MAX : left) || b.rest.v != was->rest.v);
	BUG_ON(b.rate.v != was->rate.v || b.burst.v != was->burst.v || b.at.v != was->at.v);
}

static void every_time(struct bucket *b)
{
	for (int at = 0; at <= WORD_MAX; at++) {
		b->at = at;
		for (int now = 0; now <= WORD_MAX; now++)
			check_wait(b, now);
	}
	for (int n = 0; n <= WORD_MAX; n++)
		check_take(b, n);
}

static void every_level(int rate, int burst)
{
	struct bucket b;

	bucket_init(&b, rate, burst, WORD_MAX);
	BUG_ON(b.rate.v != rate || b.burst.v != (burst ? burst : rate >= 10 ? rate / 10 : 1));
	BUG_ON(parts(&b) != b.burst.v * NS || b.at.v != WORD_MAX);
	if (!rate) {
		bucket_take(&b, WORD_MAX);
		BUG_ON(bucket_wait(&b, 0).v || parts(&b) != b.burst.v * NS);
		return;
	}
	for (int level = -DEBT_MAX; level <= b.burst.v; level++)
		for (int rest = 0; rest < (level < b.burst.v ? NS : 1); rest++) {
			b.level = level;
			b.rest = rest;
			every_time(&b);
		}
}

int main(void)
{
	for (int rate = 0; rate <= RATE_MAX; rate++)
		for (int burst = 0; burst <= RATE_MAX; burst++)
			every_level(rate, burst);
	printf("ok prove bucket: %llu waits and %llu takes, all there are in six bits\n", waits,
	       takes);
	return 0;
}
